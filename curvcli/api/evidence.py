"""``curvcli evidence`` as a function."""

from __future__ import annotations

from collections.abc import Sequence

from curvcli.analysis.options.evidence import EvidenceOptions
from curvcli.api.arguments import Patterns, StrPath
from curvcli.api.computed import computed
from curvcli.api.live import AnyData, AnyModel, Loss
from curvcli.api.study import Study


def evidence(
    model: AnyModel,
    *,
    prior: float | str | Sequence[float] | None = None,
    noise: float | str | None = None,
    method: str | None = None,
    matrix: str | None = None,
    probes: int | None = None,
    steps: int | None = None,
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
    """The Laplace evidence of layers, or of the whole model, as ``curvcli evidence`` computes it.

    Errors, warnings and the arguments that all take are `diagonal`'s. Its own:

    - ``prior``: α of the normal prior, or several for a curve; ``search``, the default, for that of the largest
      evidence; ``decay`` for that of the spec's weight decay.
    - ``noise``: σ of the noise, for the loss ``mse``; ``search``, the default, for that of the largest evidence.
    - ``method``: as `density` has it.
    - ``matrix``: ``gauss_newton``, the default, ``hessian`` or ``fisher``.
    - ``probes``, ``steps``: random vectors where the spectrum is estimated, 16 by default, and Lanczos steps, 100.

    Returns:
        The table ``evidence`` with a row per block: ``log_evidence`` in nats with ``evidence_stderr``,
        ``prior_precision``, ``effective_parameters``, ``newton_decrement`` …; the table ``evidence_curve`` with a row
        per block and precision where several were given; and arrays along α, (blocks, points): ``prior_precision``,
        ``log_evidence``, ``evidence_stderr``, ``log_likelihood``, ``log_occam``, ``effective_parameters``.

    Example:
        >>> import curvcli
        >>> last = curvcli.evidence("sample_models/mlp_tanh.pt", layer="fc3", limit=64).table()["fc3"]
        >>> last.exact, last.log_evidence < last.log_likelihood
        (True, True)
    """
    return Study(computed("evidence", EvidenceOptions, locals()), "evidence")
