"""``curvcli diag`` and ``curvcli trace`` as functions."""

from __future__ import annotations

from functools import partial

from curvcli.analysis.options.quantities import DiagonalOptions, TraceOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.report import Report
from curvcli.api.results import Results, by_layer
from curvcli.report.records.layers import ParameterRecord
from curvcli.report.records.quantities import TraceRecord


def diagonal(
    model: AnyModel,
    *,
    layer: Patterns = (),
    exclude: Patterns = (),
    matrix: str = DiagonalOptions.matrix,
    data: AnyData | None = None,
    loss: Loss | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    stratify: bool = False,
    shuffle: bool = False,
    data_rtol: float | None = None,
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
    method: str = DiagonalOptions.method,
    budget: int | None = None,
    probes: int = DiagonalOptions.probes,
    rtol: float | None = None,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Results[ParameterRecord]:
    """The Hessian diagonal and the gradient of every parameter, as ``curvcli diag`` computes them.

    Args:
        model: of `open_model`, or what that takes: a path, or a model in memory. An opened one is not read again.
        layer: names, parts of a path (``conv4_3``), globs, ``re:REGEX``, or an opened model's layers; one or several.
            Default: all. An empty list is refused.
        exclude: leave these out.
        matrix: whose diagonal: ``hessian``, ``gauss_newton``, ``fisher`` or ``empirical_fisher``.
        data: the path of a dataset spec (TOML), or samples in memory, as `open_model` takes them. Default: what the
            model was opened with, the spec in or beside it, then ``curvcli.toml`` here.
        loss: of samples in memory, as `open_model` takes it.
        limit: use a random subset of this many samples.
        batch_size: samples at once: memory and speed, never the result.
        seed: of all that is random.
        stratify: with ``limit``, keep the shares of the classes; for losses by classes.
        shuffle: take samples in a random order, so that errors over batches hold for sorted data too.
        data_rtol: use a random subset, grown until the standard error over the data is this part of each layer's sum of
            the diagonal, at most; `trace` and `run` take it too. The same as ``limit`` and ``shuffle`` with the number
            found, which is in the report.
        device: for a path; default ``cpu``.
        dtype: for a path; ``float32``, the default, or ``float64``.
        threads: to compute on, in this call alone. Default: what the model was opened with; else as many as the
            framework has in this process. TensorFlow's can be set only before it is first used. Other numbers may
            change the last bits of results.
        workers: processes that share the work, each with its share of ``threads``, or ``"auto"``: as many as processors
            where it takes longer than a minute. Results are those of one process with as many threads as each has.
            Default: one; with Ray as many as there is room for, of ``threads`` each.
        engine: what carries several workers: ``"local"``, processes of this machine, or ``"ray"``, Ray's actors.
        address: with Ray, a cluster that is there: ``"auto"``, ``"HOST:PORT"``, ``"ray://HOST:PORT"``. Default: one of
            this machine, started and ended by the call, or the one that this process is connected to.
        ship: send model, spec and data to the cluster's nodes, which have not the same files.
        signature: for the path of a SavedModel that has several. Default: the only one, or ``serving_default``.
        tag_set: for the path of a SavedModel that has several graphs. Default: the only one, or ``serve``.
        verify: check results in the run itself, by products of their own and by float64 on a few samples.
        allow_random: compute a model that answers differently each time all the same; nothing is called exact then.
        memory_limit: bytes in use at most, or text such as ``4GiB``. Default: half of what is free.
        method: forces one; an exact one is refused where it would not be exact.
        budget: estimate what would need more backward passes per batch than this. Default: always exact.
        probes: products per estimate, at most.
        rtol: stop an estimate at this relative standard error.
        output: where the report goes. Default: a temporary folder, deleted with the result. With a path, an interrupted
            call goes on from where it stopped.
        force: replace a report of another command, model or dataset spec at ``output``; refused otherwise.
        resume: False computes all anew.
        verbose: progress and notes on standard error.

    Returns:
        By the parameter's full name: ``gradient``, ``diagonal`` and, where it is an estimate, ``diagonal_stderr``, each
        in the parameter's own shape and the dtype of the computation; ``method``, ``exact``, ``reason``, ``status``.

    Raises:
        UsageError: an argument, path, layer, spec or data are wrong.
        ModelError: the model can't be opened or differentiated.
        NotFiniteError: the loss is NaN or infinite.

    Warns:
        CurvcliWarning: an estimate has not met ``rtol``, or something is not finite.

    Example:
        >>> import curvcli
        >>> diagonals = curvcli.diagonal("sample_models/mlp_tanh.pt", layer="fc3", limit=64)
        >>> weight = diagonals["fc3.weight"]
        >>> weight.diagonal.shape, str(weight.diagonal.dtype), weight.method, weight.exact
        ((10, 32), 'float32', 'gauss_newton', True)
        >>> round(diagonals.loss, 4)
        0.0536
    """
    report = computed("diag", DiagonalOptions, locals())
    names = {p.name: (row.name, p.label) for row in report.layers for p in row.parameters}
    return Results(report, {name: partial(_parameter, report, *place) for name, place in names.items()})


def trace(
    model: AnyModel,
    *,
    layer: Patterns = (),
    exclude: Patterns = (),
    whole_model: bool = False,
    matrix: str = TraceOptions.matrix,
    data: AnyData | None = None,
    loss: Loss | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    stratify: bool = False,
    shuffle: bool = False,
    data_rtol: float | None = None,
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
    method: str = TraceOptions.method,
    budget: int | None = None,
    probes: int | None = None,
    rtol: float | None = None,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Results[TraceRecord]:
    """The Hessian's trace with its errors, as ``curvcli trace`` computes it.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``whole_model``: one block of all parameters, called ``(whole model)``; with ``layer``, besides the layers.
    - ``matrix``: ``hessian``, ``gauss_newton``, ``fisher`` or ``empirical_fisher``.
    - ``method``: ``auto`` is exact where that costs no more than the budget, else ``xtrace``.
    - ``budget``: backward passes per batch that an exact trace may cost. Default: four times the probes.
    - ``probes``: products per estimate, at most. Default: 64, or 1000 with ``rtol``.
    - ``rtol``: stop at this standard error relative to the trace.

    Returns:
        By layer: ``value``, ``stderr`` over probes (0 where exact), ``data_stderr`` over batches, ``method``,
        ``exact``, ``converged`` and ``samples``, float64 (probes,).

    Example:
        >>> import curvcli
        >>> traces = curvcli.trace("sample_models/mlp_tanh.pt", layer="fc*", limit=64)
        >>> {name: (round(one.value, 2), one.exact) for name, one in traces.items()}
        {'fc1': (60.17, True), 'fc2': (2.73, True), 'fc3': (0.64, True)}
    """
    report = computed("trace", TraceOptions, locals())
    return by_layer(report, TraceRecord)


def _parameter(report: Report, layer: str, label: str) -> ParameterRecord:
    return next(p for p in report.layer(layer).parameters if p.label == label)
