"""Reads the shape of a package off its source: imports between files and rooms, circles, long files.

    python tests/house/structure.py [FOLDER]

prints the figures of a checkout.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONG = 300


@dataclass(frozen=True)
class House:
    """The modules of ``curvcli`` under a folder, and what each imports; ``TYPE_CHECKING`` and inner imports count."""

    folder: Path
    package: str = "curvcli"

    @cached_property
    def files(self) -> dict[str, Path]:
        """Module name to file."""
        found = {}
        for path in sorted((self.folder / self.package).rglob("*.py")):
            parts = path.relative_to(self.folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Module to the modules it imports, of this package by file, of others by their first name."""
        return {name: set(self._imported(path)) - {name} for name, path in self.files.items()}

    def _imported(self, path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (self._file_of(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in self.files else self._file_of(node.module)

    def _file_of(self, name: str) -> str:
        return name if name.split(".")[0] == self.package else name.split(".")[0]

    @cached_property
    def circles(self) -> list[list[str]]:
        """Groups of files of which each is imported, over others, by itself."""
        own = {name: {other for other in others if other in self.files} for name, others in self.imports.items()}
        reach = {name: _reached(own, name) for name in own}
        found: list[list[str]] = []
        for name in own:
            if name in reach[name] and not any(name in circle for circle in found):
                found.append(sorted(other for other in reach[name] if name in reach[other]))
        return found

    @cached_property
    def room_imports(self) -> dict[tuple[str, str], int]:
        """How many imports lead from one room to another."""
        found: dict[tuple[str, str], int] = {}
        for name, others in self.imports.items():
            for other in others:
                if other in self.files and room(name) != room(other):
                    found[room(name), room(other)] = found.get((room(name), room(other)), 0) + 1
        return dict(sorted(found.items()))

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Lines per module."""
        return {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in self.files.items()}


def room(module: str) -> str:
    """``curvcli.cli.main`` → ``cli``; what all rooms share stands at the top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else "(shared)" if len(parts) == 2 and parts[1] not in ROOMS else parts[-1]


ROOMS = ("cli", "api", "analysis", "engine", "curvature", "losses", "models", "data", "spec", "report")


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    left = list(graph[start])
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += graph[name]
    return reached


def main(folder: Path) -> None:
    """Print the figures."""
    house = House(folder)
    long = {name: lines for name, lines in house.lengths.items() if lines > LONG}
    say = sys.stdout.write
    say(f"{len(house.files)} files, {sum(house.lengths.values())} lines\n")
    say(f"{len(house.room_imports)} ways between rooms, {sum(house.room_imports.values())} imports:\n")
    for (source, target), count in house.room_imports.items():
        say(f"  {source} -> {target}: {count}\n")
    say(f"{len(house.circles)} circles of {sum(map(len, house.circles))} files\n")
    for circle in house.circles:
        say(f"  {' '.join(circle)}\n")
    say(f"{len(long)} files over {LONG} lines: {', '.join(f'{n} {lines}' for n, lines in long.items())}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
