"""What every computing command does first: find the spec, open data and model, check one against the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curvcli.cli.console import Voice
from curvcli.data.interface import Samples
from curvcli.data.samples import open_samples
from curvcli.errors import SpecError
from curvcli.models.base import Objective
from curvcli.models.open import backend_of, open_model
from curvcli.spec.dataset import LoadedSpec, with_overrides
from curvcli.spec.lookup import find_dataset_spec
from curvcli.spec.patterns import select

if TYPE_CHECKING:
    from curvcli.models.savedmodel import SavedModel
    from curvcli.models.torchscript import TorchScriptModel


@dataclass(frozen=True)
class Session:
    """An opened model with its data."""

    path: Path
    model: TorchScriptModel | SavedModel
    loaded: LoadedSpec
    samples: Samples
    objective: Objective
    device: str
    dtype: str


def open_session(
    path: Path,
    voice: Voice,
    *,
    data: Path | None,
    limit: int | None,
    batch_size: int | None,
    seed: int | None,
    device: str,
    dtype: str,
) -> Session:
    """Open everything; cheap mistakes are found before a framework is imported.

    Raises:
        CurvcliError: whatever is wrong with path, spec, data or model.
    """
    backend_of(path)
    found = find_dataset_spec(path, data, Path.cwd())
    voice.detail(f"dataset spec: {found.source_description}")
    loaded = with_overrides(found.load(), limit=limit, batch_size=batch_size, seed=seed)
    samples = open_samples(loaded)
    _ = samples.digest  # reads every input once: a NaN is found now and not in the middle
    model = open_model(path, device=device, dtype=dtype)
    size = _check_inputs(model, samples, loaded)
    spec = loaded.spec
    objective = model.objective(
        samples,
        spec.loss,
        output=spec.loss.output,
        batch_size=size,
        target_column=samples.target_column or "target",
    )
    return Session(path, model, loaded, samples, objective, device, dtype)


def chosen_layers(
    model: TorchScriptModel | SavedModel, include: tuple[str, ...], exclude: tuple[str, ...]
) -> list[int]:
    """Places in the model of the layers that the patterns choose.

    Raises:
        UsageError: nothing matches, or a pattern is ambiguous.
    """
    return select([layer.name for layer in model.layers], include, exclude)


def _check_inputs(model: TorchScriptModel | SavedModel, samples: Samples, loaded: LoadedSpec) -> int:
    """Compare names and shapes; return the batch size to use."""
    where = loaded.path.name
    expected, given = [p.name for p in model.inputs], list(samples.input_shapes)
    if set(expected) != set(given):
        raise SpecError(
            f"{where}: inputs: the spec feeds {', '.join(given)}; {model.path} takes {', '.join(expected)}.\n"
            f"Name the table [inputs.{expected[0] if expected else '…'}]."
        )
    size = loaded.spec.sampling.batch_size
    for port in model.inputs:
        if port.shape is None:
            continue
        shape = samples.input_shapes[port.name]
        wanted = port.shape[1:]
        if len(wanted) != len(shape) or any(w not in (None, s) for w, s in zip(wanted, shape, strict=True)):
            pretty = "×".join("?" if n is None else str(n) for n in wanted) or "one number"
            raise SpecError(
                f"{where}: inputs.{port.name}: one sample has shape {'×'.join(map(str, shape)) or 'one number'}, "
                f"{model.path} takes {pretty}.\nUse shape or layout in [inputs.{port.name}]."
            )
        fixed = port.shape[0] if port.shape else None
        if fixed is not None:
            if len(samples) % fixed:
                raise SpecError(
                    f"{model.path} takes exactly {fixed} samples at a time, and there are {len(samples)}.\n"
                    f"Use --limit {max(fixed, len(samples) // fixed * fixed)}."
                )
            size = fixed
    return size
