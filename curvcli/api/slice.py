"""``curvcli slice`` as a function."""

from __future__ import annotations

from curvcli.analysis.options.slice import SliceOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.study import Study


def slice(
    model: AnyModel,
    *,
    along: Patterns = (),
    towards: StrPath | None = None,
    points: int | None = None,
    reach: float | None = None,
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
    workers: int | str = 1,
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
    """The loss along one or two directions, as ``curvcli slice`` evaluates it.

    Errors, warnings and the arguments that all take are `diagonal`'s. All parameters of the chosen layers are moved
    together. Its own:

    - ``along``: one or two of ``top``, ``top:2``, ``bottom``, ``bottom:2`` …, ``gradient``, ``random``, ``random:2`` ….
    - ``towards``: the path of another saved model, the line to which is the first direction.
    - ``points``: per direction.
    - ``reach``: how far to go each way, in steps of the direction.

    Returns:
        The table ``slice`` with a row per direction: ``slope`` and ``curvature`` at the saved parameters, ``barrier``;
        and the arrays ``coordinate_1``, ``coordinate_2``, ``loss`` and ``quadratic``, the quadratic model, over them.

    Example:
        >>> import curvcli
        >>> along = curvcli.slice("sample_models/mlp_tanh.pt", layer="fc3", limit=64, points=11)
        >>> along.array("loss").shape, along.table()["top"].about.startswith("eigenvector of")
        ((11,), True)
    """
    return Study(computed("slice", SliceOptions, locals()), "slice")
