"""What of a wrong spec can still be held against data and model, so that all mistakes are told at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from curvcli.spec.columns import InputSpec, TargetSpec
from curvcli.spec.dataset import DatasetSpec, LoadedSpec, SamplingSpec, Tables
from curvcli.spec.loss import LossSpec
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Table
from curvcli.toml import TomlError, parse_toml

_MOST_REPAIRS: Final = 16
_OUTPUT: Final = LossSpec(name="output")

T = TypeVar("T", bound=Table)


@dataclass(frozen=True)
class Salvaged:
    """The sound parts of a spec that is wrong elsewhere.

    Attributes:
        inputs: the names that it feeds, those of wrong tables too.
        output: of the model, that its loss is taken of; None if it names none.
        has_loss: whether there is a table that could name one.
        loaded: a spec of the sound parts alone, to open data by: without what is wrong, whose loss is the model's own
            where the target is not sound. None where no data can be opened.
    """

    inputs: tuple[str, ...]
    output: str | None
    loaded: LoadedSpec | None
    has_loss: bool = True


def salvaged(text: str, tables: Tables, *, path: Path, model: Path | None) -> Salvaged | None:
    """The sound parts of a spec's text; None where it is no TOML.

    Args:
        text: TOML.
        tables: what ``[source]`` may be, one per format.
        path: the file it came from.
        model: that it lies in, if it does.
    """
    try:
        tree = parse_toml(text)
    except TomlError:
        return None
    inputs, loss = tree.get("inputs"), tree.get("loss")
    inputs, loss = (one if isinstance(one, dict) else {} for one in (inputs, loss))
    output = loss.get("output")
    sound = {name: one for name, table in inputs.items() if (one := _repaired(InputSpec, table)) is not None}
    target = _repaired(TargetSpec, tree.get("target"))
    source = _source(tree.get("source"), tables)
    loaded = None
    if source is not None and (sound or target is not None):
        weighed = _repaired(LossSpec, loss) or _OUTPUT
        kept = {"sample_weight": weighed.sample_weight, "ignore_nan": weighed.ignore_nan}
        # Not validated: a target without a loss of its own is looked for all the same.
        spec = DatasetSpec.model_construct(
            version=1,
            source=source,
            inputs=sound,
            target=target,
            loss=_OUTPUT.model_copy(update=kept),
            sampling=SamplingSpec(),
        )
        loaded = LoadedSpec(spec, path, text, model)
    named = output if isinstance(output, str) and output else None
    return Salvaged(tuple(inputs), named, loaded, bool(loss) and (named is not None or output is None))


def _source(table: Any, tables: Tables) -> SourceTable | None:
    for one in tables:
        if isinstance(table, dict) and (repaired := _repaired(one, table)) is not None:
            return repaired
    return None


def _repaired(kind: type[T], table: Any) -> T | None:
    """A table without the keys that are wrong; None where it can't do without them."""
    if not isinstance(table, dict):
        return None
    left = dict(table)
    for _ in range(_MOST_REPAIRS):
        try:
            return kind.model_validate(left)
        except ValidationError as error:
            wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]} & left.keys()
            if not wrong:
                return None
            left = {key: value for key, value in left.items() if key not in wrong}
    return None
