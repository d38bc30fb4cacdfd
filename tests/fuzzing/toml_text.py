"""TOML with keys and values that nobody would write."""

from __future__ import annotations

import random
import re

from .mutations import STRANGE_TEXTS, mutated

VALUES = (
    "nan",
    "-inf",
    "true",
    "[]",
    "[1, 2]",
    '["a"]',
    "[[1]]",
    "{}",
    "{ a = 1 }",
    "0",
    "-1",
    "1.5",
    "1e400",
    "9" * 40,
    "0x" + "f" * 5000,
    "9" * 5000,
    '""',
    '"x"',
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "[" * 3000,
    "[" * 200 + "]" * 200,
    "{ a = " * 300 + "1" + " }" * 300,
    '"' + "k" * 1_000_000 + '"',
)
KEYS = (
    "strange",
    "k" * 1_000_000,
    "a." * 5000 + "a",
    "a." * 40 + "a",
    '"\\u001b[31m"',
    '"\\u202e"',
    '""',
    "version",
    "inputs",
    "source.path",
    "model",
)
PATHS = (
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "pipe",
    "loop",
    ".",
    "",
    "~",
    "~nobody-at-all/x",
    "x" * 5000,
    "../outside/secret.txt",
    "a\\u0000b",
    "model.pt",
    "/",
)


def value(rng: random.Random) -> str:
    """A value as it is written."""
    kind = rng.randrange(3)
    if kind == 0:
        return f'"{rng.choice(PATHS)}"'
    if kind == 1:
        text = rng.choice(STRANGE_TEXTS).replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\u{ord(c[0]):04x}", text) + '"'
    return rng.choice(VALUES)


def strange(rng: random.Random, text: str) -> tuple[str | bytes, str]:
    """Return a changed text, and how it was changed."""
    lines, told = text.splitlines(), []
    for _ in range(rng.randint(1, 3)):
        way = rng.choice(["value", "value", "value", "key", "drop", "double", "table", "many"])
        at = rng.randrange(len(lines)) if lines else 0
        settings = [i for i, line in enumerate(lines) if "=" in line]
        match way:
            case "value" if settings:
                at = rng.choice(settings)
                lines[at] = f"{lines[at].partition('=')[0]}= {value(rng)}"
            case "key":
                lines.insert(at, f"{rng.choice(KEYS)} = {value(rng)}")
            case "drop" if lines:
                del lines[at]
            case "double" if lines:
                lines.insert(at, lines[at])
            case "table":
                lines.append(rng.choice(["[a.b]", "[[source]]", "[inputs]", "[loss.name]", f"[{'t' * 100_000}]"]))
            case _:
                count = rng.choice([20, 2000, 20_000])
                lines += [f'[inputs.x{i}]\ncolumn = "x"' for i in range(count)]
        told.append(way)
    text = "\n".join(lines)
    if rng.random() < 0.25:
        data, damage = mutated(rng, text.encode())
        return data, f"{', '.join(told)}; {damage}"
    return text, ", ".join(told)
