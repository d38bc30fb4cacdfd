"""What every computing command does first: find the spec, open data and model, check one against the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from curvcli.analysis.mistakes import joined, misfits, with_others, wrong_output
from curvcli.analysis.options.shared import DataOptions, ModelOptions, Selection
from curvcli.analysis.progress import Remarks
from curvcli.analysis.subset import Subset
from curvcli.curvature.operator import Block, MatrixProducts
from curvcli.curvature.rounding import Multiply, Twins
from curvcli.curvature.tasks import Data
from curvcli.data.interface import Samples
from curvcli.data.registry import FORMATS, TABLES
from curvcli.data.samples import open_samples
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.errors import CurvcliError, DataError, ModelError, SpecError, UsageError
from curvcli.models.base import Array
from curvcli.models.model import Model, ModelObjective
from curvcli.models.open import format_of, open_model
from curvcli.models.threads import use_threads
from curvcli.report.records.random_data import SAID
from curvcli.spec.dataset import LoadedSpec, with_overrides
from curvcli.spec.lookup import FoundSpec, find_dataset_spec
from curvcli.spec.patterns import select
from curvcli.wording import option

# Samples whose products are repeated in float64, of no more numbers together than this if several.
_FEW, _NUMBERS = 8, 1 << 14
# A parameter in float64, its first derivative, vectors and products.
_TWIN_BYTES = 40


@dataclass(frozen=True)
class Opened:
    """A model and its data, each opened, and not yet held against each other."""

    path: Path
    model: Model
    loaded: LoadedSpec
    samples: Samples
    device: str
    dtype: str

    @property
    def drawn(self) -> bool:
        """Whether the samples are drawn at random."""
        return FORMATS[self.loaded.spec.source.format].drawn


@dataclass(frozen=True)
class Session(Opened):
    """An opened model with its data, and the objective they make.

    Attributes:
        subset: what is known of the samples as a part of all; None where nobody asked.
    """

    objective: ModelObjective
    subset: Subset | None = None


def open_files(model: ModelOptions, data: DataOptions, voice: Remarks) -> Opened:
    """Open model and data; cheap mistakes are found before a framework is imported.

    Raises:
        CurvcliError: whatever is wrong with path, spec, data or model.
    """
    path = model.model
    format_of(path)
    spec = find_dataset_spec(path, data.data, Path.cwd())
    voice.detail(f"dataset spec: {spec.source_description}")
    opener = partial(
        open_model, path, device=model.device, dtype=model.dtype, choice=model.choice, threads=model.threads
    )
    loaded, samples = _data(spec, data, opener)
    opened = opener()
    return _told(Opened(path, opened, loaded, samples, model.device, model.dtype), voice)


def _data(spec: FoundSpec, data: DataOptions, opener: Callable[[], Model]) -> tuple[LoadedSpec, Samples]:
    """The spec and its samples; where something is wrong with them, the model is looked at for more."""
    try:
        loaded = overridden(spec.load(TABLES), data)
        samples = open_samples(loaded)
        _ = samples.digest  # reads every input once: a NaN is found now and not in the middle
    except (SpecError, DataError) as error:
        raise with_others(error, spec, opener) from None
    return loaded, samples


def overridden(loaded: LoadedSpec, data: DataOptions) -> LoadedSpec:
    """A spec with what the options say of its samples.

    Raises:
        SpecError: a value out of range.
    """
    return with_overrides(
        loaded,
        limit=data.limit,
        batch_size=data.batch_size,
        seed=data.seed,
        stratify=data.stratify,
        shuffle=data.shuffle,
    )


def _told(opened: Opened, voice: Remarks) -> Opened:
    if opened.drawn:
        voice.warn(f"{opened.loaded.path.name}: the data are {SAID}")
    return opened


def with_data(model: Model, options: ModelOptions, data: DataOptions, voice: Remarks) -> Opened:
    """A model that is open already, and its data.

    Raises:
        CurvcliError: whatever is wrong with the spec or the data.
    """
    use_threads(model.backend, options.threads, options.device)
    spec = find_dataset_spec(options.model, data.data, Path.cwd())
    loaded, samples = _data(spec, data, lambda: model)
    return _told(Opened(options.model, model, loaded, samples, options.device, options.dtype), voice)


def open_session(model: ModelOptions, data: DataOptions, voice: Remarks, *, needs_layers: bool = True) -> Session:
    """Open everything.

    Raises:
        CurvcliError: whatever is wrong with path, spec, data or model, or with one against the other.
    """
    return session_of(open_files(model, data, voice), needs_layers=needs_layers)


def session_of(opened: Opened, *, needs_layers: bool = True) -> Session:
    """Hold an opened model and its data against each other.

    Raises:
        SpecError: the spec does not fit the model.
        DataError: the data do not.
        ModelError: layers are needed and the model has none, or its forward pass fails.
    """
    if needs_layers and not opened.model.layers:
        raise ModelError(opened.model.why_no_layers)
    try:
        size = fitting_batch_size(opened)
    except SpecError as error:
        others = wrong_output(opened.model, opened.loaded.spec.loss.output)
        raise joined(error, [error, *map(UsageError, others)]) from None
    objective = objective_of(opened, opened.samples, size)
    return Session(**{one.name: getattr(opened, one.name) for one in fields(Opened)}, objective=objective)


def objective_of(opened: Opened, samples: Samples, batch_size: int) -> ModelObjective:
    """The spec's loss of the model over some samples.

    Raises:
        SpecError: the loss declaration contradicts the model.
        DataError: targets that do not fit the output.
        ModelError: the forward pass fails.
    """
    loss = opened.loaded.spec.loss
    try:
        return opened.model.objective(samples, loss, batch_size)
    except SpecError as error:
        if not isinstance(loss.from_logits, bool):
            raise
        try:  # whatever else is wrong, were this right
            opened.model.objective(samples, loss.model_copy(update={"from_logits": "auto"}), batch_size)
        except CurvcliError as other:
            raise joined(error, [error, other]) from None
        raise


def twins(opened: Opened, memory: int) -> Twins:
    """Makes products of a few samples in the run's dtype, and in float64; None where that is not possible.

    Args:
        opened: the model and data.
        memory: bytes that may be taken: a second model's parameters have to fit.
    """

    def made() -> tuple[Multiply, Multiply] | None:
        size = sum(one.size for one in opened.model.layers)
        if _TWIN_BYTES * size > memory:
            return None
        numbers = sum(prod(shape) for shape in opened.samples.input_shapes.values())
        fixed = fixed_batch(opened.model)
        few = min(fixed or max(1, min(_FEW, _NUMBERS // max(numbers, 1))), len(opened.samples))
        samples = open_samples(with_overrides(opened.loaded, limit=few))
        try:
            precise = replace_model(opened, opened.model.precise())
            return _product_of(objective_of(opened, samples, few)), _product_of(objective_of(precise, samples, few))
        except CurvcliError:
            return None  # an operation that float64 has not, or a file that has gone

    return made


def _product_of(objective: Data) -> Multiply:
    """What multiplies by the Hessian of an objective, and holds nothing in between."""
    engine = SerialEngine(objective)

    def multiply(block: Block, vector: Array) -> Array:
        (product,) = computed(MatrixProducts(block, vector[None]), engine)
        objective.memory.release()
        return np.asarray(product)

    return multiply


def replace_model(opened: Opened, model: Model) -> Opened:
    """The same data for another form of the model."""
    return Opened(opened.path, model, opened.loaded, opened.samples, opened.device, "float64")


def with_samples(opened: Opened, limit: int) -> Opened:
    """The same model with another number of samples of its data.

    Raises:
        DataError: the data are wrong.
    """
    loaded = with_overrides(opened.loaded, limit=limit)
    samples = open_samples(loaded)
    _ = samples.digest  # see `_data`
    own = {one.name: getattr(opened, one.name) for one in fields(Opened)}
    return Opened(**{**own, "loaded": loaded, "samples": samples})


def fixed_batch(model: Model) -> int | None:
    """How many samples a model takes at a time, if the file fixes it."""
    return next((port.shape[0] for port in model.inputs if port.shape and port.shape[0]), None)


def chosen_layers(model: Model, selection: Selection) -> list[int]:
    """Places in the model of the layers that the patterns choose.

    Raises:
        UsageError: nothing matches, or a pattern is ambiguous.
    """
    return select([layer.name for layer in model.layers], selection.layer, selection.exclude)


def fitting_batch_size(opened: Opened) -> int:
    """Compare the inputs' names and shapes; return the batch size to use, the model's own if that is fixed.

    Raises:
        SpecError: the spec feeds other inputs than the model takes, or of another shape.
    """
    model, samples, loaded = opened.model, opened.samples, opened.loaded
    if wrong := misfits(model, list(samples.input_shapes), samples.input_shapes, loaded.path.name):
        raise SpecError("\n".join(wrong))
    size = loaded.spec.sampling.batch_size
    for port in model.inputs:
        fixed = port.shape[0] if port.shape else None
        if fixed is not None:
            if len(samples) % fixed:
                raise SpecError(
                    f"{model.path} takes exactly {fixed} samples at a time, and there are {len(samples)}.\n"
                    f"Use {option('limit', max(fixed, len(samples) // fixed * fixed))}."
                )
            size = fixed
    return size
