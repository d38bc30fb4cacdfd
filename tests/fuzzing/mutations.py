"""Bytes and texts, damaged at random."""

from __future__ import annotations

import random
from collections.abc import Callable

# Numbers at the ends of what formats can hold.
ENDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _number(rng: random.Random, data: bytearray) -> None:
    width = rng.choice([1, 2, 4, 8])
    at = rng.randrange(max(1, len(data) - width))
    number = rng.choice(ENDS) & ((1 << 8 * width) - 1)
    data[at : at + width] = number.to_bytes(width, "little")


def _splice(rng: random.Random, data: bytearray) -> None:
    size = rng.randrange(1, max(2, len(data) // 4))
    start, to = rng.randrange(len(data)), rng.randrange(len(data))
    data[to : to + size] = data[start : start + size]


def _insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice([1, 4, 100, 5000]))


def _delete(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice([1, 4, 100, 5000])]


def _blank(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    size = min(rng.choice([8, 64, 1024]), len(data) - at)
    data[at : at + size] = bytes([rng.choice([0, 0xFF])]) * size


MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip,
    _flip,
    _number,
    _number,
    _truncate,
    _splice,
    _insert,
    _delete,
    _blank,
)


def mutated(rng: random.Random, data: bytes, *, most: int = 3) -> tuple[bytes, str]:
    """Return damaged bytes, and how they were damaged."""
    result, told = bytearray(data), []
    for _ in range(rng.randint(1, most)):
        if not result:
            break
        mutation = rng.choice(MUTATIONS)
        mutation(rng, result)
        told.append(mutation.__name__.strip("_"))
    return bytes(result), ", ".join(told)


# Text that terminals, paths, parsers and spreadsheets stumble over.
STRANGE_TEXTS = (
    "",
    " ",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\rb",
    "tab\there",
    "\u202eright to left",
    "\u2066isolate",
    "\u200b",
    "=cmd|' /C calc'!A0",
    "../../../etc/passwd",
    "/etc/passwd",
    "~nobody-at-all/x",
    "-rf",
    "[red]markup[/red]",
    "re:(",
    "*",
    "%s%n",
    "::error::x",
    "x" * 300,
    "\U0001f600",
    "é" * 70_000,
    "line\nbreak",
    "a/b/c",
    ".",
    "..",
    "{}",
    "nan",
)
