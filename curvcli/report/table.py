"""What a column is, whatever it is shown or stored in; `columns` has all that a report may have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from curvcli.report.records.matrices import named_together

Kind = Literal[
    "text",  # a name or a word
    "prose",  # a sentence, or whatever else a person wrote
    "words",  # several names
    "shape",
    "inputs",  # names and shapes of a function's inputs
    "status",
    "outcome",
    "flag",
    "count",
    "number",  # a float
    "share",  # a float from 0 to 1, shown as per cent
    "numbers",  # by rank
    "signs",  # three counts: positive, zero, negative
]
Quantity = Literal["layer", "gradient", "diagonal", "trace", "eigen", "density", "hessian", "split", "inputs", "checks"]
Place = Literal["hdf5", "json", "csv", "export"]
# In which direction a property gets worse; ``lower``: the farther below zero.
Worse = Literal["larger", "lower"]

EVERYWHERE: Final[frozenset[Place]] = frozenset({"hdf5", "json", "csv", "export"})

COMMANDS: Final[dict[Quantity, str]] = {
    "layer": "diag",
    "gradient": "diag",
    "diagonal": "diag",
    "trace": "trace",
    "eigen": "eigs",
    "density": "density",
    "hessian": "hessian",
    "split": "split",
    "inputs": "inputs",
    "checks": "check",
}


@dataclass(frozen=True)
class Heading:
    """How a printed table shows a column.

    Attributes:
        text: above it.
        place: its position, ascending.
        folds: where the window is too narrow, the column with the largest goes first; 0 always stays.
        when: it is left out of a table of which none of these is true; empty for one that is always there.
    """

    text: str
    place: int
    folds: int = 0
    when: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One value per row.

    Attributes:
        name: in files, and of the row's field.
        kind: what its values are, which says how they are stored and shown.
        long_name: what it is, for whoever opens the file alone; ``{}`` stands for the matrix.
        unit: empty for text and codes.
        of: the quantity that it belongs to; what is not computed is missing.
        heading: in printed tables; ``None`` where these do not show it.
        role: what `compare` and `assert` make of it: a ``property`` of the network is compared and can be held against
            a threshold; its ``quality`` says how well something was computed, and is held against thresholds alone.
        defines: whether it says what the row's properties are: where two reports differ in it, they are not compared.
        worse: the direction in which a property gets worse; ``None`` where neither is.
        tolerance: absolute change that `compare` allows by default.
        error: the column with its standard error; without one it is as exact as the row says.
        unknown: whether NaN stands for what is not known, whatever the status.
        infinite: whether infinity is an answer, and no failure.
        plotted: whether `plot` draws a bar of it per layer.
        blank: whether an empty text or 0 stands for what was not computed.
        later: whether reports of earlier versions lack it.
        inside: the files that have it.
        value: of a row, where it is not the field of that name.
    """

    name: str
    kind: Kind
    long_name: str
    unit: str = ""
    of: Quantity = "layer"
    heading: Heading | None = None
    role: Literal["", "property", "quality"] = ""
    defines: bool = False
    worse: Worse | None = None
    tolerance: float = 0.0
    error: str = ""
    unknown: bool = False
    infinite: bool = False
    plotted: bool = False
    blank: bool = False
    later: bool = False
    inside: frozenset[Place] = EVERYWHERE
    value: Callable[[Any], Any] | None = None

    def of_row(self, row: Any) -> Any:
        """Return its value of one row, a record such as `LayerSummary`."""
        return getattr(row, self.name) if self.value is None else self.value(row)

    def described(self, matrices: Iterable[str]) -> str:
        """Return the long name for numbers of these matrices."""
        return self.long_name.format(named_together(matrices))

    @property
    def numeric(self) -> bool:
        """Whether it stands at the right."""
        return self.kind in {"count", "number", "share"}


@dataclass(frozen=True)
class Table:
    """Columns over the rows of one sort.

    Attributes:
        group: of the report, that keeps it.
        dimension: the scale of its rows' names.
        columns: in the order that JSON, CSV and exports have.
        title: above it where it is printed; empty for the rows that a report is first of all of.
        most: rows up to which it is printed; ``None`` for any number. Files and look-ups have all of them.
    """

    group: str
    dimension: str
    columns: tuple[Column, ...]
    title: str = ""
    most: int | None = None

    def inside(self, place: Place) -> tuple[Column, ...]:
        """Return the columns that a file of this sort has."""
        return tuple(column for column in self.columns if place in column.inside)

    def printed(self, held: frozenset[str]) -> tuple[tuple[Column, Heading], ...]:
        """Return the columns of a printed table with their headings, where these words are true of what it is of."""
        headed = [(column, column.heading) for column in self.columns if column.heading is not None]
        shown = [(column, head) for column, head in headed if not head.when or held.intersection(head.when)]
        return tuple(sorted(shown, key=lambda pair: pair[1].place))

    def find(self, name: str) -> Column | None:
        """Return the column of this name."""
        return next((column for column in self.columns if column.name == name), None)
