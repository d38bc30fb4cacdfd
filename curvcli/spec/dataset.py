"""The dataset spec: which columns enter the model, what they are compared with, by which loss, and how many."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import Field, ValidationError, ValidationInfo, create_model, field_validator, model_validator

from curvcli.errors import SpecError
from curvcli.spec.columns import InputSpec, TargetSpec
from curvcli.spec.loss import LossSpec
from curvcli.spec.mistakes import sentences
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import LARGEST, Table, mistake
from curvcli.text import cut
from curvcli.toml import TomlError, parse_toml, read_toml_text
from curvcli.wording import option

# More inputs than any model has.
_MOST_INPUTS = 1000

Tables = Sequence[type[SourceTable]]


class SamplingSpec(Table):
    """Which samples, and how many at once.

    Attributes:
        limit: a random subset of so many; all if None, or if there are fewer.
        batch_size: changes speed and memory, never results beyond rounding.
        seed: of the subset.
        stratify: whether each class has the share in the subset that it has in the data.
        shuffle: whether samples come in a random order, so that batches are random groups of them.
    """

    limit: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=LARGEST)] = 64
    seed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    stratify: bool = False
    shuffle: bool = False


class DatasetSpec(Table):
    """A whole dataset spec; ``target`` is None only for the loss ``output``."""

    version: Literal[1]
    source: SourceTable
    inputs: Annotated[dict[str, InputSpec], Field(min_length=1, max_length=_MOST_INPUTS)]
    loss: LossSpec
    target: TargetSpec | None
    sampling: SamplingSpec = SamplingSpec()

    @model_validator(mode="before")
    @classmethod
    def _output_needs_no_target(cls, tree: Any) -> Any:
        # Elsewhere `target` stays a required field: its absence is then found even if `loss` is wrong itself.
        match tree:
            case {"target": _}:
                return tree
            case {"loss": {"name": "output"} | LossSpec(name="output")}:
                return {**tree, "target": None}
        return tree

    @field_validator("version", mode="before")
    @classmethod
    def _known_version(cls, version: Any) -> Any:
        if version != 1:
            raise mistake(f"must be 1, the version this curvcli reads; found {cut(repr(version))}")
        return version

    @field_validator("target")
    @classmethod
    def _target_is_used(cls, target: TargetSpec | None, validation: ValidationInfo) -> TargetSpec | None:
        loss = validation.data.get("loss")
        if loss is None or (loss.name == "output") == (target is None):
            return target
        if target is None:
            raise mistake(f"missing; the loss {loss.name} compares the model's output with it")
        raise mistake('the loss "output" is the model\'s own scalar and has no target; remove [target]')


@dataclass(frozen=True)
class LoadedSpec:
    """A spec with the text it was read from.

    Attributes:
        spec: validated, command-line overrides applied.
        path: the file that holds the text (a torch archive if the spec lies inside one).
        text: as written, for the report.
        model: that the spec lies in; such a spec came with the model, and may name only files in and beside it. None
            for a spec that lies elsewhere, which may name any file.
    """

    spec: DatasetSpec
    path: Path
    text: str
    model: Path | None = None

    def resolve(self, path: str) -> Path:
        """A path as written in the spec; a relative one starts from the spec's folder.

        Raises:
            SpecError: the home folder in it is nobody's, or the spec may not name that file.
        """
        try:
            resolved = self.path.parent / Path(path).expanduser()
        except RuntimeError:
            raise SpecError(f"{self.path.name}: source: {cut(path, 200)}: there is no such home folder.") from None
        if self.model is not None and not _comes_with(Path(os.path.realpath(resolved)), self.model):
            raise SpecError(
                f"{self.path.name}: source: {cut(path, 200)}: a spec inside a model may name only files in and beside "
                f"the model.\nCopy it elsewhere and name it with {option('data')} if you trust it."
            )
        return resolved


def load_dataset_spec(path: Path, tables: Tables) -> LoadedSpec:
    """Read a spec file.

    Args:
        path: of the file.
        tables: what ``[source]`` may be, one per format.

    Raises:
        SpecError: unreadable or wrong; all mistakes at once, one per line.
    """
    return parse_dataset_spec(read_text(path), tables, path=path)


def read_text(path: Path) -> str:
    """The text of a spec, with or without byte order mark.

    Raises:
        SpecError: there is no such file, it is none or too large, or it can't be read.
    """
    return read_toml_text(path, "a dataset spec", shown=path.name, error=SpecError)


def parse_dataset_spec(
    text: str, tables: Tables, *, path: Path, label: str | None = None, model: Path | None = None
) -> LoadedSpec:
    """Validate a spec's text.

    Args:
        text: TOML.
        tables: what ``[source]`` may be, one per format.
        path: the file it came from; relative paths start from its folder.
        label: what messages begin with; the file's name if None.
        model: that the spec lies in, if it does.

    Raises:
        SpecError: all mistakes at once, one per line.
    """
    label = label or path.name
    try:
        spec = _spec_model(tuple(tables)).model_validate(parse_toml(text))
    except TomlError as error:
        raise SpecError(f"{label}: {error}") from None
    except ValidationError as error:
        raise SpecError(
            "\n".join(f"{label}: {line}" for line in sentences(error, partial(_table_at, tables)))
        ) from None
    return LoadedSpec(spec, path, text, model)


def with_overrides(
    loaded: LoadedSpec,
    *,
    limit: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    stratify: bool = False,
    shuffle: bool = False,
) -> LoadedSpec:
    """The same with sampling from the command line; ``text`` stays as written.

    What is None or False keeps what the spec says.

    Raises:
        SpecError: a value out of range.
    """
    overrides = {"limit": limit, "batch_size": batch_size, "seed": seed, "stratify": stratify, "shuffle": shuffle}
    changes = {key: value for key, value in overrides.items() if value is not None and value is not False}
    try:
        sampling = SamplingSpec.model_validate({**loaded.spec.sampling.model_dump(), **changes})
    except ValidationError as error:
        lines = sentences(error, lambda _: SamplingSpec)
        raise SpecError("\n".join(f"command line: {line}" for line in lines)) from None
    return replace(loaded, spec=loaded.spec.model_copy(update={"sampling": sampling}))


def _comes_with(file: Path, model: Path) -> bool:
    """Whether a file lies in a model or beside it, or is an array in a folder beside it; links are resolved."""
    root = Path(os.path.realpath(model))
    beside = file.parent == root.parent or (file.suffix == ".npy" and file.parent.parent == root.parent)
    return beside or file.is_relative_to(root)


@cache
def _spec_model(tables: tuple[type[SourceTable], ...]) -> type[DatasetSpec]:
    """`DatasetSpec` with a ``source`` that is one of these tables, told apart by ``format``."""
    sources: Any = Annotated[Union[tables], Field(discriminator="format")]  # noqa: UP007 - made of what is registered
    return create_model("DatasetSpec", __base__=DatasetSpec, source=(sources, ...))


def _table_at(tables: Tables, place: Sequence[Hashable]) -> type[Table]:
    """The table that holds the key at ``place``, a pydantic location."""
    match place:
        case ["source", tag, _, *_]:
            return next(table for table in tables if tag in get_args(table.model_fields["format"].annotation))
        case ["inputs", _, _, *_]:
            return InputSpec
        case ["target", _, *_]:
            return TargetSpec
        case ["loss", _, *_]:
            return LossSpec
        case ["sampling", _, *_]:
            return SamplingSpec
    return DatasetSpec
