"""torch.export archives: damaged bytes, and members edited with checksums that fit."""

from __future__ import annotations

import json
import random
import tempfile
import warnings
from functools import cache
from pathlib import Path

import torch

from .archives import Archives, Members, edited_json
from .bases import Net
from .mutations import mutated

# What may stand in the place of an operator.
TARGETS = """aten.relu.default aten.tanh.default aten.save.default aten.from_file.default aten.as_strided.default
aten.set_.default aten.resize_.default aten.empty.memory_format aten.bernoulli.default aten.linear.default
aten.sym_size.int aten.item.default aten.view.default aten.detach.default aten.log.default aten.neg.default
aten.unsqueeze.default aten.sum.default higher_order.cond higher_order.while_loop foreign.op.default""".split()


@cache
def exported() -> bytes:
    """The network of the other cases, exported."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("batch")},)
        path = Path(folder) / "model.pt2"
        torch.export.save(torch.export.export(Net().eval(), (torch.zeros(4, 4),), dynamic_shapes=free), path)
        return path.read_bytes()


class ExportArchives(Archives):
    """Exported programs: JSON and the bytes of weights."""

    name = "export"
    framework = "torch"
    file = "model.pt2"
    kinds = ("bytes", "value", "value", "value", "target", "node", "config", "data", "members")
    commands = ("diag", "diag", "layers", "eigs")
    options = ("--data", "model.pt.toml")

    def sound(self, folder: Path) -> bytes:
        return exported()

    def _member(self, members: Members, end: str) -> str:
        return next(name for name in members if name.endswith(end))

    def _value(self, rng: random.Random, members: Members, end: str = "models/model.json") -> str:
        name = self._member(members, end)
        members[name], told = edited_json(rng, members[name])
        return told

    def _config(self, rng: random.Random, members: Members) -> str:
        return self._value(rng, members, "weights_config.json")

    def _target(self, rng: random.Random, members: Members) -> str:
        name = self._member(members, "models/model.json")
        record = json.loads(members[name])
        target = "torch.ops." + rng.choice(TARGETS)
        rng.choice(record["graph_module"]["graph"]["nodes"])["target"] = target
        members[name] = json.dumps(record).encode()
        return target

    def _node(self, rng: random.Random, members: Members) -> str:
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

    def _data(self, rng: random.Random, members: Members) -> str:
        name = rng.choice([name for name in members if "/weight_" in name])
        members[name], told = mutated(rng, members[name])
        return told
