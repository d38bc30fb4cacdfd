"""``curvcli inputs`` as a function."""

from __future__ import annotations

from functools import partial

from curvcli.analysis.options.quantities import InputOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.results import Results
from curvcli.report.records.inputs import InputsRecord


def inputs(
    model: AnyModel,
    *,
    of: Patterns = (),
    input: Patterns = (),
    method: str = InputOptions.method,
    full: bool = False,
    order: int | None = None,
    coordinate: Patterns = (),
    residual: str | None = None,
    gradient_only: bool = False,
    budget: int | None = None,
    probes: int = InputOptions.probes,
    data: AnyData | None = None,
    loss: Loss | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    stratify: bool = False,
    shuffle: bool = False,
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
    memory_limit: int | str | None = None,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Results[InputsRecord]:
    """Derivatives by the model's inputs, per sample, as ``curvcli inputs`` computes them.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``of``: ``loss`` (the default), an output, or an entry of it (``logits[3]``); one or several.
    - ``input``: only by these inputs. Default: all.
    - ``method``: ``taylor``, ``products``, or ``auto``, the cheaper one.
    - ``full``: also the full Hessian by the inputs.
    - ``order``: also all derivatives up to this one, along ``coordinate`` (``x[0]``) or inputs of one number.
    - ``residual``: a column of the data to subtract from the Laplacian.
    - ``gradient_only``: no second derivatives.
    - ``budget``: estimate second derivatives of more coordinates than this, from ``probes`` random vectors.

    Returns:
        By function: ``value`` and ``laplacian``, (samples,), float64; ``gradient`` and ``diagonal`` by input, (samples,
        *shape); ``hessian``, (samples, n, n), or None; ``derivatives`` by coordinate, (samples, order + 1), or None;
        ``residual``, or None.

    Example:
        >>> import curvcli
        >>> u = curvcli.inputs("sample_models/poisson_tanh.pt", of="u", residual="rhs", dtype="float64")["u"]
        >>> u.laplacian.shape, u.residual.mean_abs < 0.01
        ((256,), True)
    """
    report = computed("inputs", InputOptions, locals())
    return Results(report, {row.name: partial(report.inputs_record, row.name) for row in report.inputs})
