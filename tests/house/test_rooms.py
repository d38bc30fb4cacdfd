"""The rules of the house: rooms know the rooms below them, no file is in a circle, none is too long."""

from __future__ import annotations

from pathlib import Path

import pytest

from .structure import ROOT, House, room

HOUSE = House(ROOT)
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax"}
# What all rooms stand on; each stands on errors and on the others alone.
SHARED = (
    "curvcli.errors",
    "curvcli.memory",
    "curvcli.files",
    "curvcli.arrays",
    "curvcli.hdf5",
    "curvcli.toml",
    "curvcli.text",
    "curvcli.wording",
)
# What of models/ the rooms above see: the protocols, vectors and what draws them, never an adapter.
PROTOCOLS = (
    "curvcli.models.base",
    "curvcli.models.bundle",
    "curvcli.models.device_memory",
    "curvcli.models.pointwise",
    "curvcli.models.vectors",
    "curvcli.models.probes",
)
ADAPTERS = ("curvcli.models.torch", "curvcli.models.tensorflow")
VERSION = "curvcli.version"
BELOW = {
    "spec": (),
    "data": ("curvcli.spec",),
    "report": (VERSION,),
    "losses": ("curvcli.spec", *PROTOCOLS),
    "models": ("curvcli.losses", "curvcli.data", "curvcli.spec"),
    "curvature": ("curvcli.losses", *PROTOCOLS),
    "engine": ("curvcli.curvature", *PROTOCOLS, VERSION),
    "analysis": (
        "curvcli.engine",
        "curvcli.curvature",
        "curvcli.models",
        "curvcli.report",
        "curvcli.data",
        "curvcli.spec",
        VERSION,
    ),
    "api": ("curvcli.analysis", "curvcli.models", "curvcli.report", "curvcli.data", "curvcli.spec"),
    "cli": ("curvcli.analysis", "curvcli.models", "curvcli.report", "curvcli.data", "curvcli.spec", VERSION),
}
LONGEST = 350


def within(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether a module is one of these or stands in one of them."""
    return any(module == one or module.startswith(f"{one}.") for one in rooms)


def imports_of(name: str) -> list[tuple[str, str]]:
    """Every import of a room's files: module and what it imports."""
    own = f"curvcli.{name}"
    return [(module, other) for module, others in HOUSE.imports.items() if within(module, (own,)) for other in others]


@pytest.mark.parametrize("name", BELOW)
def test_a_room_knows_only_the_rooms_below_it(name: str) -> None:
    allowed = (f"curvcli.{name}", *SHARED, *BELOW[name])
    wrong = [f"{a} imports {b}" for a, b in imports_of(name) if b.startswith("curvcli") and not within(b, allowed)]
    assert not wrong


@pytest.mark.parametrize("name", SHARED)
def test_what_all_rooms_share_knows_no_room(name: str) -> None:
    assert {other for other in HOUSE.imports[name] if other.startswith("curvcli")} <= set(SHARED)


def test_every_room_has_its_rule() -> None:
    """A folder that is added needs a line above."""
    rooms = {path.name for path in (ROOT / "curvcli").iterdir() if (path / "__init__.py").exists()}
    assert rooms == BELOW.keys()


def test_only_the_adapters_import_a_framework() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in HOUSE.imports.items()
        for other in others
        if other in FRAMEWORKS and not within(module, ADAPTERS)
    ]
    assert not wrong


def test_the_adapters_never_see_each_other() -> None:
    for own, other in (("torch", "tensorflow"), ("tensorflow", "torch")):
        wrong = [
            (a, b) for a, b in imports_of(f"models.{own}") if b == other or within(b, (f"curvcli.models.{other}",))
        ]
        assert not wrong


def test_adapters_are_reached_by_opening_a_file() -> None:
    """No room above names one."""
    wrong = [
        f"{module} imports {other}"
        for module, others in HOUSE.imports.items()
        for other in others
        if within(other, ADAPTERS) and room(module) != "models"
    ]
    assert not wrong


def test_only_the_command_line_knows_click() -> None:
    wrong = [name for name, others in HOUSE.imports.items() if "click" in others and not within(name, ("curvcli.cli",))]
    assert not wrong


def test_only_one_room_of_the_report_knows_hdf5() -> None:
    wrong = [name for name, others in HOUSE.imports.items() if "h5py" in others and within(name, ("curvcli.report",))]
    assert not [name for name in wrong if not within(name, ("curvcli.report.hdf5",))]


def test_no_file_is_in_a_circle() -> None:
    """Imports for type checkers and inside functions count."""
    assert HOUSE.circles == []


def test_no_file_is_too_long() -> None:
    assert {name: lines for name, lines in HOUSE.lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize(
    ("source", "circles"),
    [
        ({"a": "import p.b", "b": "from p import c", "c": "import os"}, []),
        ({"a": "import p.b", "b": "def f():\n    from p import a"}, [["p.a", "p.b"]]),
        ({"a": "from p.b import x", "b": "if TYPE_CHECKING:\n    from p.a import y"}, [["p.a", "p.b"]]),
        ({"a": "import p.b", "b": "import p.c", "c": "import p.a"}, [["p.a", "p.b", "p.c"]]),
    ],
)
def test_circles_are_found(source: dict[str, str], circles: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for name, text in {"__init__": "", **source}.items():
        (tmp_path / "p" / f"{name}.py").write_text(text)
    assert House(tmp_path, "p").circles == circles
