"""``curvcli activations`` as a function."""

from __future__ import annotations

from collections.abc import Sequence

from curvcli.analysis.options.activations import ActivationsOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.study import Study


def activations(
    model: AnyModel,
    *,
    of: str | None = None,
    bits: int | Sequence[int] = (),
    scheme: str | None = None,
    method: str | None = None,
    budget: int | None = None,
    probes: int | None = None,
    rtol: float | None = None,
    layer: Patterns = (),
    exclude: Patterns = (),
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
) -> Study:
    """Curvature of the loss by activations, and what rounding them does, as ``curvcli activations`` computes it.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``of``: which activation z of a layer: its ``output``, or the ``input`` that its kernel reads.
    - ``bits``: per entry of z, one number or several; 8 and 4.
    - ``scheme``: ``asymmetric`` with a zero point, or ``symmetric`` about zero.
    - ``method``: ``auto``, ``exact`` or ``probes``.
    - ``budget``: passes per batch that an exact diagonal may cost under ``auto``; four times the probes.
    - ``probes``: random vectors per estimate, at most; 64, or 1000 with ``rtol``.
    - ``rtol``: standard error of a trace, relative to it, at which to stop.

    Returns:
        The tables ``activations``, a row per layer; ``missing_activations``, why a layer has none;
        ``quantized_activations``, a row per layer and bits; ``activation_ranks``; and ``activation_channels``. The
        arrays ``diagonal/LAYER``, the mean over samples of ∂²ℓ/∂z_j² in the shape of one sample's z, and
        ``diagonal_stderr/LAYER`` of estimated ones.

    Example:
        >>> import curvcli
        >>> found = curvcli.activations("sample_models/mlp_tanh.pt", layer=["fc2", "fc3"], bits=4, limit=64)
        >>> row = found.table("activations")["fc3"]
        >>> row.z_entries, row.z_method, found.exact, found.array("diagonal/fc2").shape
        (10, 'unit_vectors', True, (32,))
    """
    return Study(computed("activations", ActivationsOptions, locals()), "activations")
