"""``curvcli coupling`` as a function."""

from __future__ import annotations

from curvcli.analysis.options.coupling import CouplingOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.study import Study


def coupling(
    model: AnyModel,
    *,
    method: str | None = None,
    probes: int | None = None,
    rtol: float | None = None,
    matrix: str | None = None,
    layer: Patterns = (),
    exclude: Patterns = (),
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
    """How strongly layers are coupled by the Hessian, as ``curvcli coupling`` computes it.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``method``: ``exact``, by unit vectors; ``probes``, by random ones; ``auto``, what is cheaper for each layer.
    - ``probes``: random vectors of each layer, at most.
    - ``rtol``: standard error of every coupling, relative to it, at which to stop.
    - ``matrix``: as `trace` has it.

    Returns:
        The table ``coupled_layers`` with a row per layer: ``outside`` is the share of the squares in its rows of the
        matrix that its own block leaves out; the table ``coupling`` with a row per pair, ``one~two``; and the arrays
        ``coupling``, ``coupling_stderr``, ``norm`` and ``norm_stderr``, (layers, layers), in the order of the rows.

    Example:
        >>> import curvcli
        >>> pairs = curvcli.coupling("sample_models/mlp_tanh.pt", layer=["fc2", "fc3"], limit=64, probes=8)
        >>> pairs.array("coupling").shape, list(pairs.table("coupling"))
        ((2, 2), ['fc2~fc3'])
    """
    return Study(computed("coupling", CouplingOptions, locals()), "coupling")
