"""``curvcli run`` as a function: several quantities in one report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from curvcli.analysis.options.record import changed
from curvcli.analysis.options.request import Request, request_of
from curvcli.analysis.run_config import TOGETHER, quantity_options, read_run_config
from curvcli.api.arguments import SHARED, Patterns, StrPath, flag_of, path_of, read_arguments
from curvcli.api.computed import carried_out
from curvcli.api.live import AnyData, AnyModel, Loss, in_files
from curvcli.api.model import settled
from curvcli.api.report import Report
from curvcli.api.turn import IN_PYTHON, TURN
from curvcli.api.voice import QuietVoice
from curvcli.errors import UsageError
from curvcli.wording import shell_option

Table = Mapping[str, object]
# What may stand beside a config.
_BESIDE_CONFIG = ("config", "force", "resume", "verbose")


def run(
    model: AnyModel | None = None,
    *,
    config: StrPath | None = None,
    diag: Table | None = None,
    trace: Table | None = None,
    eigs: Table | None = None,
    density: Table | None = None,
    hessian: Table | None = None,
    sharpness: Table | None = None,
    slice: Table | None = None,
    coupling: Table | None = None,
    sensitivity: Table | None = None,
    activations: Table | None = None,
    evidence: Table | None = None,
    layer: Patterns = (),
    exclude: Patterns = (),
    whole_model: bool = False,
    data: AnyData | None = None,
    loss: Loss | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    workers: int | str | None = None,
    engine: str = "local",
    address: str | None = None,
    ship: bool = False,
    signature: str | None = None,
    tag_set: str | None = None,
    allow_random: bool = False,
    verify: bool = True,
    memory_limit: int | str | None = None,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Report:
    """Several quantities of the same layers in one report, as ``curvcli run`` computes them; work is shared.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``config``: the config of ``curvcli run``, instead of all others but ``force``, ``resume`` and ``verbose``; the
      report goes where it says.
    - ``diag``, ``trace``, ``eigs``, ``density``, ``hessian``, ``sharpness``, ``slice``, ``coupling``, ``sensitivity``,
      ``activations``, ``evidence``: each requests that quantity, with its function's own arguments by name; ``{}`` for
      their defaults.

    Returns:
        The report; ``report.layer(name)`` has all quantities of a layer.

    Example:
        >>> import curvcli
        >>> report = curvcli.run("sample_models/mlp_tanh.pt", layer="fc3", limit=64, diag={}, eigs={"k": 2})
        >>> fc3 = report.layer("fc3")
        >>> fc3.parameters[0].diagonal.shape, fc3.eigen.values.shape
        ((10, 32), (2,))
    """
    with IN_PYTHON, TURN, in_files(dict(locals())) as arguments:
        voice = QuietVoice(flag_of("verbose", verbose))
        if config is not None:
            request, line = _by_config(path_of("config", config), arguments)
            model = request.model.model
        elif (model := arguments["model"]) is None:
            raise UsageError("model: name a model, or a config with config=.")
        else:
            request = _by_tables({**arguments, **settled(model, arguments)})
            line = shlex.join(["python", "-c", f"import curvcli; {_call(request)}"])
        return carried_out(request, model, voice, line, stacklevel=0)


def _by_config(path: Path, arguments: Mapping[str, Any]) -> tuple[Request, str]:
    """The request of a config, and the command that does the same.

    Raises:
        UsageError: the config is wrong, or other arguments stand beside it.
    """
    others = [name for name, value in arguments.items() if name not in _BESIDE_CONFIG and _given(name, value)]
    if others:
        raise UsageError(f"config: leave out {', '.join(others)}; the config says it.")
    request = read_run_config(path, others=("format", "quiet", "q", "verbose", "v", "log-file")).request
    force, resume = (flag_of(name, arguments[name]) for name in ("force", "resume"))
    output = request.output
    output = replace(output, force=force or output.force, resume=resume and output.resume, dry_run=False)
    flags = [shell_option("force", True)] * force + [shell_option("resume", False)] * (not resume)
    return replace(request, output=output), shlex.join(["curvcli", "run", *flags, str(path)])


def _given(name: str, value: object) -> bool:
    """Whether an argument is another than its default."""
    default = signature(run).parameters[name].default
    return value is not default and not (isinstance(value, bool | int | str | tuple) and value == default)


def _by_tables(arguments: Mapping[str, Any]) -> Request:
    """The request of the tables that are there.

    Raises:
        UsageError: there is none, or a value is not allowed.
    """
    tables = {name: arguments[name] for name in TOGETHER if arguments[name] is not None}
    if not tables:
        raise UsageError(
            f"Nothing to compute: name one of {', '.join(f'{name}=' for name in TOGETHER)}; {{}} means its defaults."
        )
    by_quantity = {name: quantity_options(name, table, f"{name}", f"{name}: ") for name, table in tables.items()}
    return request_of("run", by_quantity, read_arguments(SHARED, arguments))


def _call(request: Request) -> str:
    """The call in Python that makes a request."""
    shared = (request.selection, request.computing, request.data, request.model, request.output)
    tables = {name: dict(changed(options)) for name, options in request.own.items()}
    arguments = {**tables, **{name: value for options in shared for name, value in changed(options)}}
    model = arguments.pop("model")
    words = [repr(str(model)), *(f"{name}={_plain(value)!r}" for name, value in arguments.items())]
    return f"curvcli.run({', '.join(words)})"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
