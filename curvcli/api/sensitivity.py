"""``curvcli sensitivity`` as a function."""

from __future__ import annotations

from collections.abc import Sequence

from curvcli.analysis.options.sensitivity import SensitivityOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.study import Study


def sensitivity(
    model: AnyModel,
    *,
    bits: int | Sequence[int] = (),
    scheme: str | None = None,
    granularity: str | None = None,
    sparsity: float | Sequence[float] = (),
    target_bits: float | None = None,
    allot_by: str | None = None,
    bits_output: StrPath | None = None,
    obs: int | None = None,
    damping: float | None = None,
    budget: int | None = None,
    probes: int | None = None,
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
    """What quantised and removed weights do to the loss, as ``curvcli sensitivity`` predicts and measures it.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``bits``: per weight, one number or several; 8, 4 and 3.
    - ``scheme``: ``symmetric`` about zero, or ``asymmetric`` with a zero point.
    - ``granularity``: which weights share a scale: ``channel``, ``tensor`` or ``group:N`` of a channel's.
    - ``sparsity``: shares of weights to remove.
    - ``target_bits``: mean bits per weight that are allotted to the layers, each one of ``bits``.
    - ``allot_by``: the figure whose sum over layers is made least: ``quadratic``, ``measured``, the larger of these
      two, ``both``, or ``predicted``, ``curvature``, ``hawq_v2``.
    - ``bits_output``: a JSON file that these are written to.
    - ``obs``: invert the Hessians of layers with so many parameters at most, for Optimal Brain Surgeon.
    - ``damping``: added to their diagonals.
    - ``budget``, ``probes``: as `diagonal`'s.

    Returns:
        The tables ``quantization``, a row per layer and bits; ``bit_budgets``, all layers together;
        ``sensitivity_ranks``; ``allocation``; ``pruning``, a row per layer and sparsity; ``saliency``; and those of
        channels. The arrays ``saliency/NAME``, ½ H_jj w_j² of a parameter, and ``obs/NAME``.

    Example:
        >>> import curvcli
        >>> rises = curvcli.sensitivity("sample_models/mlp_tanh.pt", layer="fc3", bits=4, sparsity=0.5, limit=64)
        >>> row = rises.table("quantization")["fc3/4"]
        >>> row.weights, rises.exact, rises.array("saliency/fc3.weight").shape
        (320, True, (10, 32))
    """
    return Study(computed("sensitivity", SensitivityOptions, locals()), "sensitivity")
