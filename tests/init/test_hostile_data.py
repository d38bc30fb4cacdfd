"""Damaged data, strange folders: an error with the file's name, or a spec; never anything else."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from data.tables import FORMATS, Written
from torch import nn

from curvcli.analysis.guessing.guess import Wishes, guess_spec
from curvcli.analysis.guessing.said import Guesses
from curvcli.errors import CurvcliError, DataError
from curvcli.models.model import Model
from curvcli.models.open import open_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("model") / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Sequential(nn.Linear(10, 3))), path)
    return open_model(path)


def guessed(model: Model, data: Path) -> str:
    return guess_spec(model, str(data), data.with_name("s.toml"), Wishes(), Guesses(lambda _: None)).text


def mutated(whole: bytes, rng: random.Random) -> bytes:
    """Cut, with other bytes, or with a part of it twice."""
    data = bytearray(whole)
    place = rng.randrange(len(data))
    match rng.randrange(3):
        case 0:
            return bytes(data[:place])
        case 1:
            for _ in range(rng.randrange(1, 20)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 2:
            data[place:place] = data[rng.randrange(len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("way", FORMATS, ids=lambda way: way.name)
def test_damaged_data_are_refused_in_a_sentence_or_guessed(way: Written, model: Model, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    columns = {f"f{i}": numbers.standard_normal(40).astype("f4") for i in range(10)}
    path, rng = tmp_path / f"data{way.suffix}", random.Random(1)
    way.write(path, columns | {"y": numbers.integers(0, 3, 40)}, rng)
    assert "cross_entropy" in guessed(model, path)
    whole = path.read_bytes()
    for _ in range(15):
        path.write_bytes(mutated(whole, rng))
        try:
            guessed(model, path)
        except CurvcliError as error:
            assert len(str(error).splitlines()) < 12


def test_paths_of_any_characters_are_written_as_they_are(model: Model, tmp_path: Path) -> None:
    """The spec that names them is read."""
    path = tmp_path / 'a "b"\n[loss] \x1b#.npz'
    np.savez(path, x=np.zeros((4, 10)), y=np.arange(4) % 3)
    text = guessed(model, path)
    assert "\x1b" not in text
    assert text.count("\n[loss]\n") == 1


def test_what_is_no_file_is_refused(model: Model, tmp_path: Path) -> None:
    """A pipe that nobody writes to is not waited for."""
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("pipe.npz", "loop", "x" * 300, "no*.npz"):
        with pytest.raises(DataError):
            guessed(model, tmp_path / name)
    with pytest.raises(DataError, match="device"):
        guessed(model, Path("/dev/zero"))
