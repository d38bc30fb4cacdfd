"""``curvcli split`` as a function."""

from __future__ import annotations

from functools import partial

from curvcli.analysis.options.kinds import Size
from curvcli.analysis.options.quantities import SplitOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.report import Report
from curvcli.api.results import Results
from curvcli.errors import ReportError
from curvcli.report.records.split import SplitRecord


def split(
    model: AnyModel,
    *,
    at: Patterns,
    by: Patterns = (),
    jacobian_limit: int | str = Size.spelled(SplitOptions.jacobian_limit),
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
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Results[SplitRecord]:
    """The gradient in two parts at a layer's output z, as ``curvcli split`` computes it.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``at``: the layers at whose output to split, chosen like ``layer`` elsewhere.
    - ``by``: parameters or inputs to differentiate by. Default: all parameters of the layer.
    - ``jacobian_limit``: bytes, or text such as ``1GiB``; Jacobians of one layer are kept whole up to it.

    Returns:
        By layer: ``output_gradient``, ∂L/∂z, ``(samples, *z_shape)``, and ``parts``, each with ``jacobian``, ∂z/∂W,
        ``(samples, *z_shape, *shape)``, or None where it was not kept, the ``product`` of both, the direct ``gradient``
        and the ``relative_difference`` of the two. Looking up a layer without a single output raises a `ReportError`.

    Example:
        >>> import curvcli
        >>> fc3 = curvcli.split("sample_models/mlp_tanh.pt", at="fc3", by="weight", limit=64, dtype="float64")["fc3"]
        >>> fc3.output_gradient.shape, fc3.parts[0].jacobian.shape
        ((64, 10), (64, 10, 10, 32))
        >>> fc3.parts[0].relative_difference < 1e-12
        True
    """
    report = computed("split", SplitOptions, locals())
    return Results(report, {row.name: partial(_of_layer, report, row.name) for row in report.layers})


def _of_layer(report: Report, layer: str) -> SplitRecord:
    record = report.split(layer)
    if record is None:
        raise ReportError(report.layer(layer).parameters[0].reason)
    return record
