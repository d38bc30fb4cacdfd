"""``curvcli slice`` as a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curvcli.analysis.options.slice import SliceOptions
from curvcli.api.arguments import Patterns, StrPath, path_of
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss, in_files
from curvcli.api.model import Model
from curvcli.api.study import Study
from curvcli.api.turn import IN_PYTHON, TURN
from curvcli.models.live import kind_of


def slice(
    model: AnyModel,
    *,
    along: Patterns = (),
    towards: AnyModel | None = None,
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
    """The loss along one or two directions, as ``curvcli slice`` evaluates it.

    Errors, warnings and the arguments that all take are `diagonal`'s. All parameters of the chosen layers are moved
    together. Its own:

    - ``along``: one or two of ``top``, ``top:2``, ``bottom``, ``bottom:2`` …, ``gradient``, ``random``, ``random:2`` ….
    - ``towards``: another checkpoint of the same network, a path or in memory like ``model``; the line to it is the
      first direction.
    - ``points``: per direction.
    - ``reach``: how far to go each way, in steps of the direction; of a line, how far beyond both models.

    Returns:
        The table ``slice`` with a row per direction: ``slope`` and ``curvature`` at the saved parameters, and of a
        line ``barrier``, ``other_loss``, ``slope_at_other`` and ``curvature_at_other``; and the arrays
        ``coordinate_1``, ``coordinate_2``, ``loss`` and ``quadratic``, the quadratic model, over them.

    Example:
        >>> import curvcli
        >>> along = curvcli.slice("sample_models/mlp_tanh.pt", layer="fc3", limit=64, points=11)
        >>> along.array("loss").shape, along.table()["top"].about.startswith("eigenvector of")
        ((11,), True)
    """
    arguments = locals()
    with _in_file(towards, arguments) as path:
        return Study(computed("slice", SliceOptions, {**arguments, "towards": path}), "slice")


@contextmanager
def _in_file(towards: AnyModel | None, arguments: Mapping[str, Any]) -> Iterator[Path | None]:
    """Where the other model is; one from memory is saved as the first one is, and for as long.

    Raises:
        CurvcliError: it is no model, or can't be saved.
    """
    if towards is None or isinstance(towards, Model):
        yield None if towards is None else towards.path
    elif kind_of(towards) is None:
        yield path_of("towards", towards, "the path of another saved model, or one in memory")
    else:
        with IN_PYTHON, TURN, in_files({**arguments, "model": towards}) as values:
            yield values["model"].path
