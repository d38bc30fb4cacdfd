"""Commands run in process, and their reports compared with a gradient and a dense Hessian had in another way."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.cli.main import run
from curvcli.errors import ExitCode
from curvcli.report.hdf5.read import Report
from curvcli.report.records.layers import LayerRecord

COMMANDS: Mapping[str, Sequence[str]] = {
    "diag": ["diag"],
    "hessian": ["hessian"],
    "eigs": ["eigs", "-k", "3", "--which", "both", "--whole-model", "--layer", "*"],
    "trace": ["trace", "--whole-model", "--layer", "*", "--budget", "100000"],
}


@dataclass(frozen=True)
class Expected:
    """What must come out, over all parameters joined.

    Attributes:
        loss: L(θ).
        gradient: ∇L, (n,).
        hessian: ∇²L, (n, n).
        place: each parameter's rows.
        trainable: names that a report must hold.
        tolerance: relative to a layer's largest entry.
    """

    loss: float
    gradient: np.ndarray
    hessian: np.ndarray
    place: Mapping[str, np.ndarray]
    trainable: frozenset[str]
    tolerance: float

    @property
    def floor(self) -> float:
        """How far numbers may be off that cancel to nearly nothing."""
        return max(1e-12, self.tolerance * 1e-3) * max(1.0, float(np.abs(self.hessian).max()))


def run_command(words: Sequence[str]) -> tuple[int, str]:
    """Run a command; its exit code and what it said on standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = run(words)
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):  # which the command line takes for its own
        raise KeyboardInterrupt
    return code, err.getvalue()


def differences(command: str, report: Report, expected: Expected) -> list[str]:
    """Every figure of a report that is not what was expected, a sentence each."""
    found = _far("loss", report.provenance.loss_value, expected.loss, 1e-9 * abs(expected.loss) + 1e-12)
    held = {p.name for row in report.layers for p in row.parameters}
    if command == "diag" and not expected.trainable <= held:
        found.append(f"no word of {sorted(expected.trainable - held)}")
    for row in report.layers:
        names = [p.name for p in row.parameters] or list(expected.place)
        found += _OF_LAYER[command](report.layer(row.name), names, expected)
    return found


def _far(name: str, found: object, expected: object, allowed: float) -> list[str]:
    if np.shape(found) != np.shape(expected):
        return [f"{name} has shape {np.shape(found)}, not {np.shape(expected)}"]
    if not np.size(expected):
        return []
    error = float(np.abs(np.asarray(found) - np.asarray(expected)).max())
    return [] if error <= allowed else [f"{name} off by {error:.3g} of {float(np.abs(expected).max()):.3g}"]


def _block(names: Sequence[str], expected: Expected) -> tuple[np.ndarray, float]:
    where = np.concatenate([expected.place[n] for n in names])
    block = expected.hessian[np.ix_(where, where)]
    return block, expected.tolerance * float(np.abs(block).max()) + expected.floor


def _diagonal(record: LayerRecord, names: Sequence[str], expected: Expected) -> list[str]:
    found = []
    where = np.concatenate([expected.place[n] for n in names])
    for label, truth in (("gradient", expected.gradient), ("diagonal", np.diag(expected.hessian))):
        allowed = expected.tolerance * float(np.abs(truth[where]).max()) + expected.floor
        for p in record.parameters:
            array = getattr(p, label)
            if array is None:
                found.append(f"{p.name}: no {label}")
            else:
                found += _far(f"{p.name} {label} ({p.method})", np.ravel(array), truth[expected.place[p.name]], allowed)
    return found


def _whole_block(record: LayerRecord, names: Sequence[str], expected: Expected) -> list[str]:
    if record.block is None or record.block.entries is None:
        return [f"{record.name}: no block"]
    block, allowed = _block(names, expected)
    values = np.linalg.eigvalsh(block)[::-1]
    return [
        *_far(f"{record.name} block", record.block.entries, block, allowed),
        *_far(f"{record.name} spectrum", record.block.eigenvalues, values, allowed * len(block)),
    ]


def _ends(record: LayerRecord, names: Sequence[str], expected: Expected) -> list[str]:
    if record.eigen is None:
        return [f"{record.name}: no eigenvalues"]
    block, allowed = _block(names, expected)
    values = np.linalg.eigvalsh(block)[::-1]
    ends = values if len(values) <= 6 else np.concatenate([values[:3], values[-3:]])
    if len(record.eigen.values) != len(ends):
        return [f"{record.name}: {len(record.eigen.values)} eigenvalues, not {len(ends)}"]
    sure = record.eigen.converged
    return _far(f"{record.name} eigenvalues", record.eigen.values[sure], ends[sure], allowed * len(block))


def _trace(record: LayerRecord, names: Sequence[str], expected: Expected) -> list[str]:
    if record.trace is None:
        return [f"{record.name}: no trace"]
    block, allowed = _block(names, expected)
    if not record.trace.exact:
        return []
    return _far(f"{record.name} trace", record.trace.value, np.trace(block), allowed * len(block))


_OF_LAYER: Mapping[str, Callable[[LayerRecord, Sequence[str], Expected], list[str]]] = {
    "diag": _diagonal,
    "hessian": _whole_block,
    "eigs": _ends,
    "trace": _trace,
}
