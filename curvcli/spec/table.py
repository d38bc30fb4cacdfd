"""What all tables of a spec share: no unknown keys, no silent conversions, no changes after validation."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

Text = Annotated[str, Field(min_length=1)]
# What a report keeps a whole number in.
LARGEST = 2**63 - 1


class Table(BaseModel):
    """A TOML table. TOML has types of its own, so ``"64"`` or ``true`` is never read as a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def mistake(sentence: str) -> PydanticCustomError:
    """An error whose message is ``sentence`` as it stands, for a validator to raise."""
    return PydanticCustomError("mistake", "{sentence}", {"sentence": sentence})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# Strict validation takes no list for a tuple, and TOML has only lists.
FromList = BeforeValidator(_tuple)
