"""One architecture: saved in each of its formats, computed by the command line, compared with an eager reference.

    python -m architectures.rows NAME FOLDER

writes a line of JSON per format; `table` runs it in a process of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
from exact.conftest import Outcome

from curvcli.cli.main import run

from .case import KERAS, SAMPLES, SAVED, Architecture, Arrays

# Entries whose reference is computed: of each parameter, of all; the block whose trace is.
EACH, MOST, BLOCK = 3, 60, 100
NOTHING = "not opened"


@dataclass
class Row:
    """The cells of a row, in the table's order."""

    name: str
    format: str
    opens: str = "yes"
    layers: str = NOTHING
    gradient: str = NOTHING
    trace: str = NOTHING
    methods: str = NOTHING
    agreement: str = NOTHING
    seconds: str = NOTHING


class Reference(Protocol):
    """An eager float64 model that its own framework differentiates twice.

    Attributes:
        keys: of each parameter, ``layer/label`` as a report may have it.
        gradient: of each parameter.
    """

    keys: dict[str, set[str]]
    gradient: Arrays

    def diagonal(self, name: str, entries: Sequence[int]) -> np.ndarray:
        """Second derivatives by flat entries of a parameter."""
        ...


def called(*arguments: str) -> tuple[int, str, str]:
    """Run a command; exit code, output and errors."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = run(list(arguments))
    return code, output.getvalue(), errors.getvalue()


def told(code: int, errors: str) -> str:
    """A refusal as a cell has it: the sentence, on one line."""
    text = " ".join(errors.split()).replace("|", "\\|")
    return f"exit {code}: {text if len(text) <= 300 else text[:297] + '…'}"


def bound(error: float) -> str:
    """An error as a bound that does not depend on the machine."""
    for limit in ("1e-12", "1e-9", "1e-6"):
        if error <= float(limit):
            return f"within {limit}"
    return f"**off by {error:.1g}**"


def chosen_layers(listing: str, traced: bool) -> tuple[list[str], str, int]:
    """Names of the layers to compute, of the one whose trace is, and how many there are.

    All of a small network; of others some small layers from the first to the last. Of TensorFlow fewer: it traces a
    graph for every kind of product.
    """
    whole, most, few = (120, 40, 3) if traced else (600, BLOCK, 6)
    sizes = {one["name"]: one["entries"] for one in json.loads(listing)["layers"] if one["entries"]}
    by_size = sorted(sizes, key=sizes.__getitem__)
    small = [name for name in sizes if sizes[name] <= most or name in by_size[: few - 1]]
    if len(small) > few:
        small = [small[round(i * (len(small) - 1) / (few - 1))] for i in range(few)]
    names = list(sizes) if sum(sizes.values()) <= whole else small
    block = [name for name in names if sizes[name] <= most] or by_size[:1]
    return names, block[len(block) // 2], len(sizes)


def exactly(name: str) -> str:
    """The pattern that matches one layer."""
    return (
        name
        if all(c.isalnum() or c in "._/-" for c in name)
        else "re:^" + "".join(c if c.isalnum() or c == "_" else f"\\{c}" for c in name) + "$"
    )


def compared(reference: Reference, outcome: Outcome) -> tuple[float, float, int]:
    """Greatest errors of gradient and diagonal, relative to the parameter's largest entry; how many were compared."""
    rng = np.random.default_rng(11)
    by_key = {key: name for name, keys in reference.keys.items() for key in keys}
    pairs = [(key, by_key[key]) for key in outcome.diagonal if key in by_key]
    largest = max((float(np.abs(outcome.diagonal[key]).max(initial=0)) for key, _ in pairs), default=0.0)
    steepest = max((float(np.abs(outcome.gradient[key]).max(initial=0)) for key, _ in pairs), default=0.0)
    gradient = diagonal = 0.0
    count = 0
    each = max(1, min(EACH, MOST // max(1, len(pairs))))
    for key, name in pairs:
        slopes = reference.gradient[name]
        scale = max(float(np.abs(slopes).max()), 1e-6 * steepest, 1e-300)
        gradient = max(gradient, float(np.abs(outcome.gradient[key] - slopes).max()) / scale)
        found = outcome.diagonal[key].reshape(-1)
        # One of them is the largest: a random one of a sparse diagonal is zero on both sides.
        entries = [int(np.abs(found).argmax()), *map(int, rng.integers(0, found.size, each - 1))]
        values = reference.diagonal(name, entries)
        count += len(entries)
        scale = max(float(np.abs(found).max()), float(np.abs(values).max()), 1e-6 * largest, 1e-300)
        diagonal = max(diagonal, float(np.abs(found[entries] - values).max()) / scale)
    return gradient, diagonal, count


def trace_cell(reference: Reference, report: Path, layer: str) -> str:
    """A layer's trace against the sum of the reference's whole diagonal."""
    with h5py.File(report) as file:
        (group,) = file["layers"].values()
        attributes = dict(group["trace"].attrs)
    names = [name for name, keys in reference.keys.items() if any(key.rpartition("/")[0] == layer for key in keys)]
    if not names:
        return "no parameter of that name"
    diagonal = np.concatenate([reference.diagonal(n, range(reference.gradient[n].size)) for n in names])
    value, error = float(attributes["value"]), float(attributes["stderr"])
    if bool(attributes["exact"]):
        scale = max(float(np.abs(diagonal).sum()), 1e-12)
        return f"{attributes['method']}, {bound(abs(value - diagonal.sum()) / scale)}"
    inside = abs(value - diagonal.sum()) <= 4 * error
    return f"{attributes['method']}, {'within' if inside else '**outside**'} 4 standard errors"


def computed(row: Row, architecture: Architecture, model: Path, reference: Reference, count: int) -> None:
    """Fill a row from a saved model."""
    start = time.monotonic()
    folder = model.parent
    spec = folder / "data.toml"
    spec.write_text(architecture.spec("data"))
    code, listing, errors = called("layers", str(model), "--format", "json", "-q")
    if code:
        row.opens = f"no: {told(code, errors)}"
        return
    try:
        names, block, of = chosen_layers(listing, architecture.formats[0] in (SAVED, KERAS))
    except ValueError:
        row.opens = "no: no layers"
        return
    (name,) = [one["name"] for one in json.loads(listing)["inputs"]][:1]
    if len(architecture.data()[0]) == 1:  # a subclassed model's has no name of its own
        (own,) = architecture.data()[0]
        spec.write_text(architecture.spec("data", {own: name}))
    keys = {f"{one['name']}/{p['label']}" for one in json.loads(listing)["layers"] for p in one["parameters"]}
    row.layers = f"{sum(bool(own & keys) for own in reference.keys.values())} of {count} parameters"
    common = [str(model), "--data", str(spec), "--dtype", "float64", "-q"]
    patterns = [part for name in names for part in ("--layer", exactly(name))]
    report = folder / f"{model.name}.diag.h5"
    code, _, errors = called("diag", *common, *patterns, "-o", str(report))
    outcome = Outcome(code, report)
    if code and not outcome.diagonal:
        row.methods, row.gradient, row.agreement = told(code, errors), "no report", "no report"
    else:
        gradient, diagonal, entries = compared(reference, outcome)
        methods = Counter(outcome.method[key] for key in outcome.diagonal)
        row.methods = ", ".join(f"{n} × {method}" for method, n in sorted(methods.items()))
        if len(names) < of:
            row.methods += f" ({len(names)} of {of} layers)"
        if code:
            row.methods += f"; {told(code, errors)}"
        row.gradient = bound(gradient) if entries else "no parameter of the reference's names"
        row.agreement = f"{bound(diagonal)}, {entries} entries" if entries else "no parameter of the reference's names"
    report = folder / f"{model.name}.trace.h5"
    code, _, errors = called("trace", *common, "--layer", exactly(block), "-o", str(report))
    row.trace = trace_cell(reference, report, block) if report.exists() else told(code, errors)
    if code and report.exists():
        row.trace += f"; {told(code, errors)}"
    row.seconds = f"{time.monotonic() - start:.1f}"


def rows(architecture: Architecture, folder: Path) -> Iterator[Row]:
    """One row per format, in order."""
    if architecture.family in ("Keras", "TensorFlow"):
        from . import tensorflow_models as framework
    else:
        from . import torch_models as framework  # type: ignore[no-redef]
    arrays, target = architecture.data()
    assert all(len(values) == SAMPLES for values in arrays.values())
    np.savez(folder / "data.npz", **arrays, **({} if target is None else {"target": target}))
    saved = framework.Saved(architecture, folder)
    for format_ in architecture.formats:
        row = Row(architecture.name, format_)
        try:
            model = saved.path(format_)
        except Exception as error:
            row.opens = f"not saved: {type(error).__name__}: {' '.join(str(error).split())[:200]}".replace("|", "\\|")
        else:
            computed(row, architecture, model, saved.reference, saved.count)
        yield row
    for format_, reason in architecture.absent.items():
        yield Row(architecture.name, format_, f"not saved: {reason}", *["not saved"] * 6)


def main(name: str, folder: str) -> None:
    """Print the rows as JSON."""
    from .registry import ARCHITECTURES

    (architecture,) = (one for one in ARCHITECTURES if one.name == name)
    for row in rows(architecture, Path(folder)):
        sys.stdout.write(f"ROW {json.dumps(asdict(row))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
