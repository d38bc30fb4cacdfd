"""Inside the report imports run one way: records, columns, storage, then what stands on a report side by side."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import curvcli.report

ROOT = Path(curvcli.report.__file__).parent
# Each may import those before it and its own; rooms in one line are side by side.
STAGES = (
    ("units", "numbers", "records"),
    ("table", "columns", "missing"),
    ("studies",),
    ("hdf5",),
    ("alignment", "computed", "documents", "lookup", "study_values"),
    ("render", "verdicts"),
    ("compare", "export"),
    ("course",),
    ("rules", "plot"),
)
PLACE = {name: stage for stage, names in enumerate(STAGES) for name in names}


def part(module: str) -> str:
    """``curvcli.report.hdf5.read`` is in ``hdf5``."""
    return module.removeprefix("curvcli.report.").split(".")[0]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_what_stands_before_it(path: Path) -> None:
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    if own == "__init__":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("curvcli.report")):
            continue
        modules = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "curvcli.report" else []
        for module in modules or [node.module]:
            assert part(module) == own or PLACE[part(module)] <= PLACE[own], module
