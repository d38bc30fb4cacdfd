"""The options as records: what the command line fills in, and the line that a record is typed as."""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from curvcli.analysis.options.kinds import File, Flag, Kind, Names, Number, OneOf, Size, Text, Whole
from curvcli.analysis.options.quantities import (
    CheckOptions,
    DensityOptions,
    DiagonalOptions,
    EigenOptions,
    HessianOptions,
    InputOptions,
    SplitOptions,
    TraceOptions,
)
from curvcli.analysis.options.record import Options, filled, kinds_of
from curvcli.analysis.options.request import Request, request_of, words
from curvcli.analysis.options.shared import ComputingOptions, DataOptions, ModelOptions, OutputOptions, Selection
from curvcli.errors import UsageError

RECORDS: dict[str, type[Options]] = {
    "diag": DiagonalOptions,
    "trace": TraceOptions,
    "eigs": EigenOptions,
    "density": DensityOptions,
    "hessian": HessianOptions,
    "split": SplitOptions,
    "inputs": InputOptions,
    "check": CheckOptions,
}
SHARED = (ModelOptions, DataOptions, Selection, ComputingOptions, OutputOptions)
REQUESTS = [
    Request("diag", {"diag": DiagonalOptions()}, ModelOptions(Path("m.pt"))),
    Request(
        "diag",
        {"diag": DiagonalOptions(method="xdiag", budget=9, probes=4, rtol=1e-3)},
        ModelOptions(Path("-m.pt"), "cuda:1", "float64"),
        DataOptions(Path("a b.toml"), 5, 6, 0),
        Selection(("conv*", "-x", "it's"), ("re:^b",)),
        ComputingOptions(3 << 20, verify=False, allow_random=True),
        OutputOptions(Path("-o.h5"), force=True, resume=False, dry_run=True),
    ),
    Request(
        "eigs",
        {"eigs": EigenOptions(k=7, which="both", vectors=True, tolerance=0.25)},
        ModelOptions(Path("m")),
        selection=Selection(whole_model=True),
        computing=ComputingOptions(memory_limit=1_000_001),
    ),
    Request(
        "split",
        {"split": SplitOptions(by=("weight", "x"), jacobian_limit=1 << 40)},
        ModelOptions(Path("m")),
        selection=Selection(("fc1", "fc2")),
    ),
    Request(
        "inputs",
        {"inputs": InputOptions(of=("u[1,2]",), order=3, coordinate=("x[0]",), residual="f", full=True)},
        ModelOptions(Path("m")),
    ),
    Request("check", {"check": CheckOptions(against=Path("o"), against_data=Path("o.toml"))}, ModelOptions(Path("m"))),
]


def parsed(command: str, line: list[str]) -> dict[str, Any]:
    """What click makes of the words behind a command's name."""
    return import_module(f"curvcli.cli.{command}").command.make_context(command, line).params


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: " ".join(words(request)))
def test_the_line_of_a_request_makes_that_request(request_: Request) -> None:
    """Typed in a shell, whatever its values look like."""
    name, *line = words(request_)
    values = parsed(name, line)
    record = type(request_.own[name])
    assert request_of(name, {name: filled(record, values)}, values) == request_


@pytest.mark.parametrize("command", RECORDS)
def test_every_option_of_a_record_is_one_of_the_command(command: str) -> None:
    """With its default; nothing that a command takes is lost on the way."""
    needed = ["--at", "it"] if command == "split" else []
    values = parsed(command, [*needed, "m.pt"])
    for record in (RECORDS[command], *SHARED):
        for field in fields(record):
            if field.name in values and field.default is not MISSING:
                assert values[field.name] == field.default
    assert {field.name for field in fields(RECORDS[command])} <= values.keys()
    known = {field.name for record in (RECORDS[command], *SHARED) for field in fields(record)}
    shown = {"output_format", "quiet", "verbose"}
    assert values.keys() <= known | shown | ({"at"} if command == "split" else set())


WRONG: list[tuple[Kind, object, str]] = [
    (Whole(2), 1, "must be 2 or more, found 1"),
    (Whole(0), True, "must be a whole number, found true"),
    (Whole(0), 1.5, "must be a whole number, found 1.5"),
    (Whole(0), "many", "must be a whole number, found 'many'"),
    (Whole(0), "9" * 5000, "must be a whole number, found '99999"),
    (Whole(0), 10**500, "must be 9223372036854775807 or less, found a number of 501 digits"),
    (Number(0, above=True), 0, "must be above 0, found 0"),
    (Number(0, 30), 31, "must be 30 or less, found 31"),
    (Number(0), -1e-9, "must be 0 or more, found -1e-09"),
    (Number(0), float("inf"), "must be a finite number, found inf"),
    (Number(0), 10**400, "must be a finite number, found a number of 401 digits"),
    (Number(0), [1], "must be a number, found a list"),
    (OneOf(("a", "b")), "c", "must be a or b, found 'c'"),
    (OneOf(("a", "b")), ["a"], "must be a or b, found a list"),
    (Flag(), 1, "must be True or False, found 1"),
    (Size(), "0", "must be a size"),
    (Size(), "-1", "must be a size"),
    (Size(), "4 GB/s", "must be a size"),
    (Size(), True, "must be a size"),
    (Size(), 1 << 63, "must be a size"),
    (Text(), 3, "must be text, found 3"),
    (Names(), ["a", 3], "must be names, found a list"),
    (File(), b"x", "must be a path, found b'x'"),
]


@pytest.mark.parametrize(("kind", "value", "said"), WRONG, ids=[f"{k} {said}" for k, _, said in WRONG])
def test_a_value_of_another_kind_is_refused(kind: Kind, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        kind.read(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("500M", 500 << 20), ("4GiB", 4 << 30), ("1.5k", 1536), (" 2 tb ", 2 << 40), ("17", 17), (1 << 20, 1 << 20)],
)
def test_a_size_is_in_powers_of_1024(text: str | int, size: int) -> None:
    """As other limits of memory are; and spelled so that it is read again."""
    assert Size().read(text) == size
    assert Size().read(Size.spelled(size)) == size


def test_options_that_do_not_go_together_are_refused_when_they_are_made() -> None:
    """By command line and Python alike."""
    with pytest.raises(UsageError, match=r"^--method lobpcg finds one end"):
        EigenOptions(method="lobpcg", which="magnitude")
    with pytest.raises(UsageError, match=r"^--full needs second derivatives"):
        InputOptions(gradient_only=True, full=True)
    with pytest.raises(UsageError, match=r"^--coordinate goes with --order"):
        InputOptions(coordinate=("x[0]",))


def test_every_field_has_a_kind() -> None:
    """None is set unchecked."""
    for record in (*RECORDS.values(), *SHARED):
        assert kinds_of(record).keys() == {field.name for field in fields(record)}
