"""``curvcli eigs``, ``curvcli density`` and ``curvcli hessian`` as functions."""

from __future__ import annotations

from curvcli.analysis.options.quantities import DensityOptions, EigenOptions, HessianOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.results import Results, by_layer
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord


def eigenvalues(
    model: AnyModel,
    *,
    k: int = EigenOptions.k,
    which: str = EigenOptions.which,
    layer: Patterns = (),
    exclude: Patterns = (),
    whole_model: bool = False,
    matrix: str = EigenOptions.matrix,
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
    verify: bool = True,
    memory_limit: int | str | None = None,
    tolerance: float | None = None,
    method: str = EigenOptions.method,
    max_products: int = EigenOptions.max_products,
    vectors: bool = EigenOptions.vectors,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Results[EigenRecord]:
    """Some eigenvalues of the Hessian with their residuals, as ``curvcli eigs`` computes them.

    Errors, warnings and the arguments that all take are `diagonal`'s; ``whole_model`` and ``matrix`` are
    `trace`'s. Its own:

    - ``k``: how many.
    - ``which``: ``largest``, ``smallest`` (the most negative), ``magnitude``, or ``both``: k of each end.
    - ``tolerance``: residual at which a pair has converged, relative to the largest magnitude. Default: 1e-4 in
      float32, 1e-8 in float64.
    - ``method``: ``auto`` is the whole block up to 512 entries, the Gram matrix where exact and smaller, else
      ``lanczos``.
    - ``max_products``: stop there, with a warning.
    - ``vectors``: keep the eigenvectors.

    Returns:
        By layer: ``values``, descending, ``residuals`` and ``converged``, each (k,), float64 and bool; ``vectors`` by
        parameter, (k, *shape), or None.

    Example:
        >>> import curvcli
        >>> eigenpairs = curvcli.eigenvalues("sample_models/mlp_tanh.pt", k=2, whole_model=True, limit=64)
        >>> top = eigenpairs["(whole model)"]
        >>> top.values.round(1), bool(top.converged.all())
        (array([21.8, 11.4]), True)
    """
    report = computed("eigs", EigenOptions, locals())
    return by_layer(report, EigenRecord)


def density(
    model: AnyModel,
    *,
    layer: Patterns = (),
    exclude: Patterns = (),
    whole_model: bool = False,
    matrix: str = DensityOptions.matrix,
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
    verify: bool = True,
    memory_limit: int | str | None = None,
    method: str = DensityOptions.method,
    probes: int = DensityOptions.probes,
    steps: int = DensityOptions.steps,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Results[DensityRecord]:
    """The spectral density of the Hessian, as ``curvcli density`` computes it.

    Errors, warnings and the arguments that all take are `diagonal`'s; ``whole_model`` and ``matrix`` are
    `trace`'s. Its own:

    - ``probes``: random start vectors.
    - ``steps``: Lanczos steps from each.
    - ``method``: ``auto`` is all eigenvalues up to 512 entries or by the Gram matrix, else ``lanczos``.

    Returns:
        By layer: ``grid`` and ``density`` on it, with ``density_stderr``, (g,); ``nodes`` and ``weights``, (probes,
        steps); ``weight_at_zero``; all float64.

    Example:
        >>> import curvcli
        >>> fc3 = curvcli.density("sample_models/mlp_tanh.pt", layer="fc3", limit=64)["fc3"]
        >>> fc3.exact, fc3.grid.shape == fc3.density.shape
        (True, True)
    """
    report = computed("density", DensityOptions, locals())
    return by_layer(report, DensityRecord)


def hessian(
    model: AnyModel,
    *,
    layer: Patterns = (),
    exclude: Patterns = (),
    whole_model: bool = False,
    matrix: str = HessianOptions.matrix,
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
    verify: bool = True,
    memory_limit: int | str | None = None,
    budget: int | None = None,
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Results[BlockRecord]:
    """The full Hessian of blocks that fit, as ``curvcli hessian`` computes it.

    Errors, warnings and the arguments that all take are `diagonal`'s; ``whole_model`` and ``matrix`` are
    `trace`'s. Its own:

    - ``budget``: products that a full block may cost, one per entry. Default: as many rows as fit into memory.

    Returns:
        By layer: ``entries``, (n, n) in the order of the layer's parameters, raveled, or None where it is too large;
        ``eigenvalues``, (n,), ``inertia``, ``condition``, ``frobenius``.

    Example:
        >>> import curvcli
        >>> norm = curvcli.hessian("sample_models/mlp_tanh.pt", layer="norm", limit=64)["norm"]
        >>> norm.entries.shape, sum(norm.inertia)
        ((64, 64), 64)
    """
    report = computed("hessian", HessianOptions, locals())
    return by_layer(report, BlockRecord)
