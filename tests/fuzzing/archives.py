"""Models that are zip archives: damaged bytes, and members edited with checksums that fit."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .interface import Bases, Case
from .mutations import mutated

Members = dict[str, bytes]
# What may stand in the place of any value of JSON.
VALUES = (-1, 0, 1, 2, 3, 10**6, 10**12, 2**62, -(2**63), 10**30, 1e300, None, True, "", "x", "NaN", "\x1b[31m", [], {})


class Archives:
    """The model itself is what somebody else made.

    A kind of edit is a method of its name, which changes members and says how.

    Attributes:
        file: the model's name.
        kinds: of edits; ``bytes`` damages the archive itself.
        commands: that open it; ``layers`` without data.
        options: of the other commands.
    """

    file: str
    kinds: Sequence[str]
    commands: Sequence[str]
    options: Sequence[str] = ()

    def sound(self, folder: Path) -> bytes:
        """The archive to begin with."""
        return (folder / self.file).read_bytes()

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        path = folder / self.file
        path.write_bytes(self.sound(folder))
        kind = rng.choice(self.kinds)
        if kind == "bytes":
            data, story = mutated(rng, path.read_bytes())
            path.write_bytes(data)
        else:
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            story = f"{kind}: {getattr(self, f'_{kind}')(rng, members)}"
            with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        command = rng.choice(self.commands)
        if command == "layers":
            return Case(["layers", self.file], {}, "", story)
        # A report of another model stands in the way.
        return Case([command, self.file, *self.options, "-q", "--force", "-o", "out.h5"], {}, "out.h5", story)

    def _members(self, rng: random.Random, members: Members) -> str:
        name = rng.choice(sorted(members))
        edit = rng.choice(["gone", "renamed", "elsewhere", "empty", "another"])
        if edit == "another":
            other = rng.choice([*members, "other", "assets/x", "/etc/passwd", "a/" * 300 + "b", "\x1b[31m"])
            members[other] = members[name]
            return f"{name} also as {other[:40]!r}"
        data = members.pop(name)
        if edit == "renamed":
            members[name[:-1]] = data
        elif edit == "elsewhere":
            members[f"../{name}"] = data
        elif edit == "empty":
            members[name] = b""
        return f"{name} {edit}"


def edited_json(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """JSON with some values anywhere in it replaced, taken out or put twice; and which."""
    record = json.loads(data)
    told = []
    for _ in range(rng.randint(1, 3)):
        places = list(_places(record))
        if not places:
            break
        holder, key = rng.choice(places)
        edit = rng.choice(["replaced", "replaced", "gone", "another"])
        if edit == "gone":
            del holder[key]
        else:
            holder[key] = rng.choice(VALUES) if edit == "replaced" else _copy(rng.choice(places))
        told.append(f"{key} {edit}")
    return json.dumps(record).encode(), ", ".join(told)


def _places(record: Any) -> list[tuple[Any, Any]]:
    """Every holder of a value, and its key there."""
    children = list(
        record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    )
    return [(record, key) for key, _ in children] + [place for _, value in children for place in _places(value)]


def _copy(place: tuple[Any, Any]) -> Any:
    holder, key = place
    return json.loads(json.dumps(holder[key]))
