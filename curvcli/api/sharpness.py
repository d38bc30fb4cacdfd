"""``curvcli sharpness`` as a function."""

from __future__ import annotations

from curvcli.analysis.options.sharpness import SharpnessOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.study import Study


def sharpness(
    model: AnyModel,
    *,
    measure: Patterns = (),
    rho: float | None = None,
    minibatch: int | None = None,
    minibatches: int | None = None,
    probes: int | None = None,
    alpha: float | None = None,
    steps: int | None = None,
    preconditioner: StrPath | None = None,
    damping: float | None = None,
    layer: Patterns = (),
    exclude: Patterns = (),
    whole_model: bool = False,
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
    output: StrPath | None = None,
    force: bool = False,
    resume: bool = True,
    verbose: bool = False,
) -> Study:
    """How sharp a minimum is, as ``curvcli sharpness`` measures it.

    Errors, warnings and the arguments that all take are `diagonal`'s. All parameters of the chosen layers are one
    block. Its own:

    - ``measure``: names of measures; by default all but ``preconditioned`` and ``effective_dimension``.
    - ``rho``: of ``sam``, 0.05 by default.
    - ``minibatch``, ``minibatches``: samples in a random mini-batch, 32 by default, and how many of them at most, 64.
    - ``probes``: random vectors for what is estimated, 32 by default.
    - ``alpha``: of ``effective_dimension``, which it requests.
    - ``steps``: of Lanczos's for ``effective_dimension``, 100 by default.
    - ``preconditioner``: of ``preconditioned``, which it requests: the path of an ``.npz`` file.
    - ``damping``: of the diagonal where there is no such file, 0.001 of its largest magnitude by default.

    Returns:
        The tables ``sharpness``, a row per measure with ``value``, ``stderr``, ``unit``, ``definition``;
        ``relative_flatness``, a row per kernel; and ``batch_sharpness``, a row per mini-batch.

    Example:
        >>> import curvcli
        >>> fc3 = curvcli.sharpness("sample_models/mlp_tanh.pt", layer="fc3", limit=64, measure="largest_eigenvalue")
        >>> row = fc3.table()["largest_eigenvalue"]
        >>> row.exact, row.value > 0
        (True, True)
    """
    return Study(computed("sharpness", SharpnessOptions, locals()), "sharpness")
