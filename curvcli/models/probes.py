"""Random vectors that depend on (seed, name, number) alone, never on what was drawn before or on the order of calls."""

from __future__ import annotations

import hashlib

import numpy as np

from curvcli.models.base import Array

# The signs that a byte's bits stand for, the highest first, (256, 8).
_SIGNS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * 2.0 - 1.0


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
    flat = np.empty(int(np.prod(shape)))
    fill_signs(flat, seed, name, number)
    return flat.reshape(shape)


def fill_signs(row: Array, seed: int, name: str, number: int) -> None:
    """The same into a contiguous array, (size,), in its dtype.

    A random byte makes eight entries at once, as they stand in a table: 0.4 ns each.
    """
    size = len(row)
    octets = sign_bits(seed, name, number, size)
    table, whole = _SIGNS.astype(row.dtype), size // 8
    np.take(table, octets[:whole], axis=0, out=row[: whole * 8].reshape(whole, 8), mode="clip")
    row[whole * 8 :] = table[octets[whole : whole + 1]].ravel()[: size % 8]


def sign_bits(seed: int, name: str, number: int, size: int) -> Array:
    """The same as bits, one for +1, the highest of each byte first: (⌈size / 8⌉,), uint8."""
    words = np.asarray(_generator(seed, name, number).random_raw(-(-size // 64)), dtype="<u8")
    octets: Array = words.view(np.uint8)[: -(-size // 8)]
    return octets


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
