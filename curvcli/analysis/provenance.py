"""What a run's numbers depend on: the key by which it is resumed, and what its report says of their origin."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curvcli.analysis.session import Opened, Session
from curvcli.files import lasting
from curvcli.models.model import Model
from curvcli.report.hdf5.origin import Origin
from curvcli.report.records.layers import Provenance
from curvcli.version import __version__


def run_key(session: Opened, command: str) -> dict[str, Any]:
    """What every run's numbers depend on; a command adds its own options."""
    spec = session.loaded.spec
    return {
        "command": command,
        "curvcli": __version__,
        "model": session.model.sha256,
        **session.model.part,
        "data": session.samples.digest,
        "loss": spec.loss.model_dump(mode="json"),
        "seed": spec.sampling.seed,
        "batch_size": spec.sampling.batch_size,
        "shuffle": spec.sampling.shuffle,
        "dtype": session.dtype,
        "device": session.device,
        "threads": session.model.threads,
        "versions": versions(session.model.backend),
    }


def provenance(
    session: Opened,
    command: str,
    report: Path,
    options: Mapping[str, Any],
    loss_value: float,
    denominator: float,
    *,
    samples: int | None = None,
    line: str | None = None,
    deterministic: bool = True,
    verification_passes: int = 0,
    likelihood: str = "",
) -> Provenance:
    """Where a report comes from.

    Args:
        session: the opened model and data.
        command: its name.
        report: the output path.
        options: of the command, resolved.
        loss_value: L(θ), weight decay included.
        denominator: what the sum over samples was divided by.
        samples: how many were used; all if None.
        line: the command as one would type it; as it was typed if None.
        deterministic: whether the model gave the same answer twice.
        verification_passes: backward passes planned for checks of the results, over all batches.
        likelihood: the loss's, if it has one.
    """
    spec = session.loaded.spec
    subset = session.subset if isinstance(session, Session) else None
    return Provenance(
        model_path=lasting(session.path),
        model_sha256=session.model.sha256,
        dataset_digest=session.samples.digest,
        spec_text=session.loaded.text,
        config_json=json.dumps(
            {**session.model.part, **options, **spec.sampling.model_dump(mode="json")}, sort_keys=True
        ),
        command_line=shlex.join(["curvcli", *sys.argv[1:]]) if line is None else line,
        backend=session.model.backend,
        device=session.device,
        dtype=session.dtype,
        seed=spec.sampling.seed,
        loss=spec.loss.name,
        reduction=spec.loss.reduction,
        samples=len(session.samples) if samples is None else samples,
        denominator=denominator,
        loss_value=loss_value,
        versions=versions(session.model.backend),
        threads=session.model.threads,
        deterministic=deterministic,
        widened=session.objective.widened if isinstance(session, Session) else False,
        verification_passes=verification_passes,
        random_data=session.drawn,
        likelihood=likelihood,
        available=session.samples.available if subset is None else subset.available,
        data_rtol=0.0 if subset is None else subset.rtol,
        data_error=0.0 if subset is None else subset.error,
        data_worst="" if subset is None else subset.worst,
        **Origin(command, session.path, session.loaded.path).locations(report),
    )


def decay_term(session: Session) -> float:
    """(λ/2)‖θ‖² over all trainable parameters."""
    return decay_term_of(session.model, session.loaded.spec.loss.weight_decay)


def decay_term_of(model: Model, decay: float) -> float:
    """The same of any model, for this λ."""
    if not decay:
        return 0.0
    trained = [p for one in model.layers for p in one.parameters if p.trained]
    return decay / 2 * sum(float((model.values(p.name) ** 2).sum()) for p in trained)


def versions(backend: str) -> dict[str, str]:
    """Package name to version."""
    from importlib.metadata import version

    framework = {"torch": ["torch"], "tensorflow": ["tensorflow", "keras"]}[backend]
    version_by_name = {}
    for name in ("numpy", "scipy", *framework):
        module = sys.modules.get(name)
        version_by_name[name] = str(getattr(module, "__version__", None) or version(name))
    return version_by_name
