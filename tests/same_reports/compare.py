"""Lists what differs between the reports of two folders: arrays, attributes, and what stands in one only.

    python tests/same_reports/compare.py BEFORE AFTER

Times, paths and versions of curvcli itself are left out. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# Of one run, not of its numbers.
_OF_ONE_RUN = ("command_line", "model_path", "spec_path", "config", "created", "host", "seconds", "digest")


def _of_one_run(name: str) -> bool:
    return name == "provenance/command" or any(word in name.rsplit("/", 1)[-1] for word in _OF_ONE_RUN)


def contents(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of a report, by its path; ``@`` stands before an attribute's name."""
    found: dict[str, Any] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]
        for key, value in item.attrs.items():
            if key not in {"DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates"}:
                found[f"{name}@{key}"] = value

    with h5py.File(path) as file:
        add("", file)
        file.visititems(add)
    return {name: value for name, value in found.items() if not _of_one_run(name)}


def equal(left: Any, right: Any) -> bool:
    """Bit for bit, NaN equal to itself."""
    a, b = np.asarray(left), np.asarray(right)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def differences(before: Path, after: Path) -> Iterator[str]:
    """A line each."""
    left, right = contents(before), contents(after)
    for name in sorted(left | right):
        if name not in right:
            yield f"{name}: only before"
        elif name not in left:
            yield f"{name}: only after"
        elif not equal(left[name], right[name]):
            yield f"{name}: {_apart(left[name], right[name])}"


def _apart(left: Any, right: Any) -> str:
    a, b = np.asarray(left), np.asarray(right)
    if a.shape == b.shape and a.dtype.kind == b.dtype.kind == "f" and a.size:
        return f"apart by {np.nanmax(np.abs(a - b)):.3g} of {np.nanmax(np.abs(a)):.3g}, {a.dtype} and {b.dtype}"
    return f"{left!r:.100} and {right!r:.100}"


def main(before: Path, after: Path) -> int:
    """Compare all reports of two folders."""
    names = sorted({path.name for folder in (before, after) for path in folder.glob("*.h5")})
    unequal = 0
    for name in names:
        if not ((before / name).exists() and (after / name).exists()):
            lines = ["missing on one side"]
        else:
            lines = list(differences(before / name, after / name))
        unequal += bool(lines)
        sys.stdout.write(f"{name}: {'equal' if not lines else f'{len(lines)} differences'}\n")
        sys.stdout.writelines(f"  {line}\n" for line in lines)
    sys.stdout.write(f"{len(names) - unequal} of {len(names)} equal\n")
    return int(unequal > 0)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
