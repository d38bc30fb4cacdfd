"""Runs the command line on random torch networks and compares with dense float64 Hessians of the eager modules.

``python -m tests.random_networks.harness 0 300`` prints a line per seed and a table of outcomes by ingredient; with
``export`` after it, of the networks as torch exports them.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curvcli.report.hdf5.read import read_report

from .comparison import COMMANDS, Expected, differences, run_command
from .torch_networks import Case, random_network
from .torch_reference import Reference, UnfitError, float64

_TOLERANCE = 1e-7
# Where the reference is made of differences of gradients.
_TOLERANCE_OF_DIFFERENCES = 2e-6


@dataclass
class Outcome:
    """What came of one case.

    Attributes:
        kind: ``equal``, ``WRONG``, ``refused``, ``crash``, or ``unfit`` where torch itself can't save the network, or
            its derivatives disagree with differences.
        message: what differs, or what the commands said.
        commands: the kind per command.
        passed_over: earlier draws of the seed that were unfit, and why.
    """

    kind: str
    message: str = ""
    commands: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)


def save(case: Case, folder: Path, *, exported: bool = False) -> tuple[Path, Path]:
    """Model and spec as files; as TorchScript unless it is to be exported.

    Raises:
        UnfitError: the format can't hold the module, or what it holds answers differently.
    """
    arrays = {f"in_{k}": v for k, v in case.inputs.items()} | ({} if case.target is None else {"target": case.target})
    np.savez(folder / "data.npz", **arrays)
    lines = ["version = 1", "[source]", 'format = "npz"', 'path = "data.npz"']
    for name in case.inputs:
        lines += [f"[inputs.{name}]", f'column = "in_{name}"']
    if case.target is not None:
        lines += ["[target]", 'column = "target"']
    spec, path = folder / "spec.toml", folder / ("model.pt2" if exported else "model.pt")
    spec.write_text("\n".join([*lines, "[loss]", *case.loss, "[sampling]", f"batch_size = {case.batch_size}"]))
    dtype = next(case.module.parameters()).dtype

    def arguments(start: int) -> list[Tensor]:
        found = [torch.from_numpy(a[start : start + case.batch_size].copy()) for a in case.inputs.values()]
        return [t.to(dtype) if t.is_floating_point() else t for t in found]

    state = {name: value.clone() for name, value in case.module.state_dict().items()}
    how = "export" if exported else case.save
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = _exported(case, path, arguments(0)) if exported else _scripted(case, path, arguments(0))
            for start in range(0, len(next(iter(case.inputs.values()))), case.batch_size):
                with torch.jit.optimized_execution(False):
                    found = _tensors(loaded(*arguments(start)))
                for one, two in zip(found, _tensors(case.module(*arguments(start))), strict=True):
                    if one.shape != two.shape or not torch.allclose(one, two, 1e-4, 1e-4):
                        raise UnfitError("the saved module answers differently from the eager one")
        except (RuntimeError, torch.jit.Error, TypeError, ValueError, AssertionError) as error:
            raise UnfitError(f"torch can't {how} it: {(str(error).strip().splitlines() or ['?'])[-1][:120]}") from error
        finally:
            case.module.load_state_dict(state)  # it may change its buffers
    if set(dict(loaded.named_parameters())) != set(dict(case.module.named_parameters())):
        raise UnfitError("the saved module's parameters have other names")
    return path, spec


def _scripted(case: Case, path: Path, arguments: list[Tensor]) -> Any:
    """The network as TorchScript, read back."""
    if case.save == "script":
        scripted = torch.jit.script(case.module)
    else:
        scripted = torch.jit.trace(case.module, tuple(arguments), check_trace=False, strict=False)
    torch.jit.save(scripted, str(path))
    return torch.jit.load(str(path)).eval()


def _exported(case: Case, path: Path, arguments: list[Tensor]) -> Any:
    """The network as torch exports it, with any number of samples."""
    if "trick:one_storage" in case.why:
        raise UnfitError("two parameters in one place of memory are one parameter to an archive")
    free = tuple({0: torch.export.Dim.AUTO} for _ in arguments)
    program = torch.export.export(case.module, tuple(arguments), dynamic_shapes=free)
    torch.export.save(program, path)
    return program.module()


def _tensors(result: Any) -> list[Tensor]:
    held = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
    return [tensor for tensor in held if tensor is not None]


def judge_seed(
    seed: int,
    folder: Path,
    commands: Sequence[str] = tuple(COMMANDS),
    *,
    exported: bool = False,
    draw: Callable[..., Case] = random_network,
) -> tuple[Case, Outcome]:
    """Judge the first network of a seed that is fit, as ``draw(seed, first=attempt)`` makes them."""
    attempt = 0
    passed_over: list[str] = []
    while True:
        case = draw(seed, first=attempt)
        outcome = judge(case, folder, commands, exported=exported)
        outcome.passed_over = passed_over
        if outcome.kind != "unfit":
            return case, outcome
        passed_over.append(f"{seed}/{case.attempt}: {outcome.message} [{' '.join(case.why)}]")
        attempt = case.attempt + 1


def expectation(case: Case) -> Expected:
    """What must come out of a case.

    Raises:
        UnfitError: torch's derivatives disagree with differences, or are not moderate numbers.
    """
    with float64():
        reference = Reference(case)
        gradient = reference.gradient().detach().numpy()
        hessian = reference.hessian()
        loss = float(reference.objective().detach())
    if not np.isfinite(hessian).all() or np.abs(hessian).max() > 1e6:
        raise UnfitError("the Hessian is not finite, or huge")
    tolerance = _TOLERANCE_OF_DIFFERENCES if reference.by_differences else _TOLERANCE
    return Expected(loss, gradient, hessian, reference.place, frozenset(reference.trainable), tolerance)


def judge(case: Case, folder: Path, commands: Sequence[str] = tuple(COMMANDS), *, exported: bool = False) -> Outcome:
    """Save a case, run the commands on it, and compare."""
    try:
        path, spec = save(case, folder, exported=exported)
        expected = expectation(case)
    except UnfitError as error:
        return Outcome("unfit", str(error))
    result = Outcome("equal")
    messages = []
    for command in commands:
        report = folder / f"{command}.h5"
        places = [str(path), "--data", str(spec), "-o", str(report)]
        code, said = run_command([*COMMANDS[command], *places, "--dtype", "float64", "-q"])
        said = said.strip().replace(str(folder), "FOLDER")
        if report.exists():
            found = differences(command, read_report(report), expected)
            kind, text = ("WRONG" if found else "equal"), "; ".join(found)
        else:
            clear = code in (2, 3, 4) and "This is a bug" not in said and "Traceback" not in said
            kind, text = ("refused" if clear else "crash"), f"exit {code}: {said}"
        result.commands[command] = kind
        if text:
            messages.append(f"{command}: {text}")
    result.kind = min(result.commands.values(), key=("WRONG", "crash", "refused", "equal").index)
    result.message = "\n".join(messages)
    return result


def main(first: int, last: int, *, exported: bool = False) -> None:
    """Judge seeds, a line each, then a table."""
    outcomes: Counter[str] = Counter()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(first, last):
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                case, outcome = judge_seed(seed, Path(folder), exported=exported)
            except Exception:
                case, outcome = random_network(seed), Outcome("harness", traceback.format_exc())
        outcomes[outcome.kind] += 1
        for word in set(case.why):
            table[word][outcome.kind] += 1
        lines = [f"passed over {line}" for line in outcome.passed_over]
        lines.append(f"{seed} {outcome.kind} {time.monotonic() - begun:.1f}s [{' '.join(case.why)}]")
        lines += [f"    {line}" for line in outcome.message.splitlines()]
        _say(lines)
    _say([str(dict(outcomes))])
    _say(
        [
            f"{word:30s} " + " ".join(f"{k}={n}" for k, n in counts.most_common())
            for word, counts in sorted(table.items())
        ]
    )


def _say(lines: Sequence[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), exported="export" in sys.argv[3:])
