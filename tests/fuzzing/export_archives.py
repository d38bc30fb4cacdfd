"""torch.export archives: damaged bytes, and members edited with checksums that fit."""

from __future__ import annotations

import json
import random
import tempfile
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from .bases import Net
from .interface import Bases, Case
from .mutations import mutated

# What may stand in the place of an operator.
TARGETS = """aten.relu.default aten.tanh.default aten.save.default aten.from_file.default aten.as_strided.default
aten.set_.default aten.resize_.default aten.empty.memory_format aten.bernoulli.default aten.linear.default
aten.sym_size.int aten.item.default aten.view.default aten.detach.default aten.log.default aten.neg.default
aten.unsqueeze.default aten.sum.default higher_order.cond higher_order.while_loop foreign.op.default""".split()
# What may stand in the place of any value.
VALUES = (-1, 0, 1, 2, 3, 10**6, 10**12, 2**62, -(2**63), 10**30, 1e300, None, True, "", "x", "NaN", "\x1b[31m", [], {})


@cache
def sound() -> bytes:
    """The network of the other cases, exported."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("batch")},)
        path = Path(folder) / "model.pt2"
        torch.export.save(torch.export.export(Net().eval(), (torch.zeros(4, 4),), dynamic_shapes=free), path)
        return path.read_bytes()


class ExportArchives:
    """The model itself is what somebody else made."""

    name = "export"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        path = folder / "model.pt2"
        path.write_bytes(sound())
        kind = rng.choice(["bytes", "value", "value", "value", "target", "node", "config", "data", "members"])
        if kind == "bytes":
            data, story = mutated(rng, sound())
            path.write_bytes(data)
        else:
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            story = f"{kind}: {getattr(self, f'_{kind}')(rng, members)}"
            with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        command = rng.choice(["diag", "diag", "layers", "eigs"])
        if command == "layers":
            return Case(["layers", "model.pt2"], {}, "", story)
        words = [command, "model.pt2", "--data", "model.pt.toml", "-q", "-o", "out.h5"]
        return Case(words, {}, "out.h5", story)

    def _member(self, members: dict[str, bytes], end: str) -> str:
        return next(name for name in members if name.endswith(end))

    def _value(self, rng: random.Random, members: dict[str, bytes], end: str = "models/model.json") -> str:
        """Some values anywhere in the JSON, each replaced, taken out or put twice."""
        name = self._member(members, end)
        record = json.loads(members[name])
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
        members[name] = json.dumps(record).encode()
        return ", ".join(told)

    def _config(self, rng: random.Random, members: dict[str, bytes]) -> str:
        return self._value(rng, members, "weights_config.json")

    def _target(self, rng: random.Random, members: dict[str, bytes]) -> str:
        name = self._member(members, "models/model.json")
        record = json.loads(members[name])
        target = "torch.ops." + rng.choice(TARGETS)
        rng.choice(record["graph_module"]["graph"]["nodes"])["target"] = target
        members[name] = json.dumps(record).encode()
        return target

    def _node(self, rng: random.Random, members: dict[str, bytes]) -> str:
        name = self._member(members, "models/model.json")
        record = json.loads(members[name])
        nodes = record["graph_module"]["graph"]["nodes"]
        one, other = rng.randrange(len(nodes)), rng.randrange(len(nodes))
        edit = rng.choice(["gone", "twice", "swapped"])
        if edit == "gone":
            del nodes[one]
        elif edit == "twice":
            nodes.insert(other, nodes[one])
        else:
            nodes[one], nodes[other] = nodes[other], nodes[one]
        members[name] = json.dumps(record).encode()
        return f"{one} {edit} with {other}"

    def _data(self, rng: random.Random, members: dict[str, bytes]) -> str:
        name = rng.choice([name for name in members if "/weight_" in name])
        members[name], told = mutated(rng, members[name])
        return told

    def _members(self, rng: random.Random, members: dict[str, bytes]) -> str:
        name = rng.choice(sorted(members))
        edit = rng.choice(["gone", "renamed", "elsewhere", "empty"])
        data = members.pop(name)
        if edit == "renamed":
            members[name[:-1]] = data
        elif edit == "elsewhere":
            members[f"../{name}"] = data
        elif edit == "empty":
            members[name] = b""
        return f"{name} {edit}"


def _places(record: Any) -> list[tuple[Any, Any]]:
    """Every holder of a value, and its key there."""
    children = list(
        record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    )
    return [(record, key) for key, _ in children] + [place for _, value in children for place in _places(value)]


def _copy(place: tuple[Any, Any]) -> Any:
    holder, key = place
    return json.loads(json.dumps(holder[key]))
