"""Random vectors that depend on (seed, name, number) alone, never on what was drawn before or on the order of calls."""

from __future__ import annotations

import hashlib

import numpy as np

from curvcli.models.base import Array


def _generator(seed: int, name: str, number: int) -> np.random.Philox:
    """A counter-based generator (Philox 4×64, Salmon et al. 2011): the name makes the key, the number the counter."""
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], "little")
    return np.random.Philox(key=key, counter=[0, 0, number, 0])


def generator(seed: int, name: str, number: int) -> np.random.Generator:
    """A stream of its own for numbers of any distribution; see ``signs`` for the arguments."""
    return np.random.Generator(_generator(seed, name, number))


def signs(seed: int, name: str, number: int, shape: tuple[int, ...]) -> Array:
    """Independent entries ±1 (Rademacher), float64.

    Args:
        seed: of the run.
        name: what they are for: a block, a z and batch.
        number: which of its probes.
        shape: of the result.
    """
    size = int(np.prod(shape))
    words = _generator(seed, name, number).random_raw(-(-size // 64))
    bits = np.unpackbits(np.asarray(words, dtype="<u8").view(np.uint8), count=size)
    return (bits * 2.0 - 1.0).reshape(shape)


def normals(seed: int, name: str, number: int, size: int) -> Array:
    """Independent standard normal entries, float64, (size,)."""
    return np.random.Generator(_generator(seed, name, number)).standard_normal(size)


def sphere(seed: int, name: str, number: int, size: int) -> Array:
    """A vector uniform on the sphere of radius √size, float64, (size,)."""
    vector = normals(seed, name, number, size)
    scaled: Array = vector * (np.sqrt(size) / np.linalg.norm(vector))
    return scaled


def uniform(seed: int, name: str, number: int) -> float:
    """A number drawn uniformly from [0, 1)."""
    return float(np.random.Generator(_generator(seed, name, number)).random())
