"""Whatever a file or an option says: a clear end, nothing written elsewhere, no earlier report lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .bases import make_bases
from .interface import Bases
from .registry import GENERATORS
from .runner import Servers, try_case

IN_GATE, IN_ALL = 50, 1000


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as servers:
        yield servers


@pytest.fixture(scope="module")
def bases(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    folder = tmp_path_factory.mktemp("bases") / "work"
    folder.mkdir()
    return make_bases(servers["torch"], folder)


def check(cases: range, bases: Bases, servers: Servers, folder: Path) -> None:
    wrong = []
    for number in cases:
        generator = GENERATORS[number % len(GENERATORS)]
        wrong += try_case(generator, number, folder / str(number), bases, servers[generator.framework])
    assert not wrong, "\n\n".join([f"{len(wrong)} of {len(cases)}:", *wrong])


@pytest.mark.timeout(300)
def test_no_case_ends_badly(bases: Bases, servers: Servers, tmp_path: Path) -> None:
    """No traceback, bug, hang, gigabytes, file elsewhere, lost report, or control character: the first cases."""
    check(range(IN_GATE), bases, servers, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_no_case_of_a_thousand_ends_badly(part: int, bases: Bases, servers: Servers, tmp_path: Path) -> None:
    """All others."""
    size = IN_ALL // 10
    check(range(IN_GATE + part * size, IN_GATE + (part + 1) * size), bases, servers, tmp_path)


def test_cases_are_the_same_each_time(bases: Bases, tmp_path: Path) -> None:
    """A seed means the same words and the same files."""
    import random
    import shutil

    for generator in GENERATORS:
        found = []
        for attempt in range(2):
            folder = tmp_path / f"{generator.name} {attempt}" / "work"
            folder.mkdir(parents=True)
            for name in ("model.pt", "model.pt.toml", "data.npz"):
                shutil.copy(bases.folder / name, folder / name)
            case = generator.make(random.Random(7), folder, bases)
            found.append((case.words, case.env, sorted(path.name for path in folder.rglob("*"))))
        assert found[0] == found[1], generator.name
