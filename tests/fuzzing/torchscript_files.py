"""TorchScript archives: damaged bytes, and members edited with checksums that fit."""

from __future__ import annotations

import random
import re

from .archives import Archives, Members
from .mutations import mutated

# What may stand in the place of an operator: other operators, what touches files, and nothing there is.
OPERATORS = "relu tanh save from_file as_strided set_ resize_ zeros empty dropout mm foreign view item sum".split()
STATEMENTS = (
    "y = torch.zeros([1000000, 1000000])",
    "y = torch.as_strided(x, [1000000000], [1])",
    'torch.save(x, "hacked")',
    'ops.aten.save(x, "hacked")',
    'y = torch.from_file("model.pt.toml", True, 4)',
    "x = torch.rand_like(x)",
    "print(x)",
    'print("\\x1b[31mred")',
    "x = torch.div(x, 0.)",
    "x = torch.log(torch.neg(torch.abs(x)))",
    'ops.prim.RaiseException("stop\\x1b[31m")',
    "x = torch.to(x, 5)",
    "x = torch.to(x, 15)",
    "x = torch.slice(x, 0, 0, 0)",
    "x = torch.unsqueeze(x, 5)",
    "x = torch.detach(x)",
    "y = uninitialized(Tensor)",
    "y = CONSTANTS.c9",
    "y = self.nothing",
    "y = (" * 500 + "x" + ")" * 500,
)


class TorchScriptFiles(Archives):
    """Scripts: their code, pickles and the bytes of weights."""

    name = "torchscript"
    framework = "torch"
    file = "model.pt"
    kinds = ("bytes", "code", "code", "code", "statement", "statement", "pickle", "data", "members")
    commands = ("diag", "diag", "layers", "check", "eigs")

    def _some(self, rng: random.Random, members: Members, pattern: str) -> str:
        return rng.choice([name for name in members if re.search(pattern, name) and members[name]])

    def _code(self, rng: random.Random, members: Members) -> str:
        name = self._some(rng, members, r"\.py$")
        code, told = members[name].decode(), []
        for _ in range(rng.randint(1, 3)):
            edit = rng.choice(["operator", "number", "line", "twice", "swap", "word"])
            lines = code.splitlines()
            at = rng.randrange(len(lines))
            if edit == "operator":
                found = list(re.finditer(r"torch\.(\w+)", code))
                if found:
                    one = rng.choice(found)
                    code = code[: one.start(1)] + rng.choice(OPERATORS) + code[one.end(1) :]
            elif edit == "number":
                found = list(re.finditer(r"\b\d+\b", code))
                if found:
                    one = rng.choice(found)
                    code = code[: one.start()] + rng.choice(["-1", "0", "999999999999", "1e400"]) + code[one.end() :]
            elif edit == "word":
                found = list(re.finditer(r"\w+", code))
                one, other = rng.choice(found), rng.choice(found)
                code = code[: one.start()] + other[0] + code[one.end() :]
            else:
                if edit == "line":
                    del lines[at]
                elif edit == "twice":
                    lines.insert(at, lines[at])
                else:
                    to = rng.randrange(len(lines))
                    lines[at], lines[to] = lines[to], lines[at]
                code = "\n".join(lines) + "\n"
            told.append(edit)
            if not code.strip():
                break
        members[name] = code.encode()
        return ", ".join(told)

    def _statement(self, rng: random.Random, members: Members) -> str:
        name = self._some(rng, members, r"bases\.py$|\.py$")
        statement = rng.choice(STATEMENTS)
        members[name] = members[name].replace(b"    return ", f"    {statement}\n    return ".encode(), 1)
        return statement[:60]

    def _pickle(self, rng: random.Random, members: Members) -> str:
        name = self._some(rng, members, r"\.pkl$")
        members[name], told = mutated(rng, members[name])
        return told

    def _data(self, rng: random.Random, members: Members) -> str:
        name = self._some(rng, members, r"/data/\d+$")
        members[name], told = mutated(rng, members[name])
        return told
