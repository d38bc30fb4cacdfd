"""The same mistake ends with the same exit code, whatever the format of the model."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact.exported import exported
from torch import nn

from curvcli.cli.main import run

pytestmark = pytest.mark.filterwarnings("ignore")
SPEC = """version = 1
[source]
format = "npz"
path = "data.npz"
[inputs.{input}]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
"""
FORMATS = ("m.pt2", "m.pt", "m.keras", "saved")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network in each format, with its spec beside it."""
    import keras

    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.standard_normal((6, 3)).astype(np.float32), y=rng.integers(0, 2, 6))
    x = torch.randn(6, 3)
    module = nn.Sequential(nn.Linear(3, 2)).eval()
    exported(module, (x,), folder / "m.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, x).save(str(folder / "m.pt"))
    model = keras.Sequential([keras.Input((3,), name="input"), keras.layers.Dense(2)])
    model.save(folder / "m.keras")
    model.export(str(folder / "saved"), verbose=False)
    for name in FORMATS:
        (folder / f"{name}.toml").write_text(SPEC.format(input="input"))
    return folder


def truncated(folder: Path, name: str) -> None:
    path = folder / name
    path = path / "saved_model.pb" if path.is_dir() else path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def removed(folder: Path, name: str) -> None:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def other_input(folder: Path, name: str) -> None:
    (folder / f"{name}.toml").write_text(SPEC.format(input="elsewhere"))


def other_width(folder: Path, name: str) -> None:
    np.savez(folder / "data.npz", x=np.zeros((6, 5), np.float32), y=np.zeros(6, np.int64))


def other_classes(folder: Path, name: str) -> None:
    np.savez(folder / "data.npz", x=np.zeros((6, 3), np.float32), y=np.arange(6))


def not_a_number(folder: Path, name: str) -> None:
    np.savez(folder / "data.npz", x=np.full((6, 3), np.nan, np.float32), y=np.zeros(6, np.int64))


def other_output(folder: Path, name: str) -> None:
    (folder / f"{name}.toml").write_text(SPEC.format(input="input") + 'output = "nowhere"\n')


MISTAKES = [
    pytest.param(removed, [], 2, id="a path where nothing is"),
    pytest.param(truncated, [], 3, id="half of a file"),
    pytest.param(None, ["--layer", "nothing"], 2, id="a layer that is not there"),
    pytest.param(None, ["--device", "cuda:7"], 2, id="a device that is not there"),
    pytest.param(other_input, [], 2, id="an input that the model has not"),
    pytest.param(other_output, [], 2, id="an output that the model has not"),
    pytest.param(other_width, [], 2, id="data of another shape"),
    pytest.param(other_classes, [], 2, id="classes that the model has not"),
    pytest.param(not_a_number, [], 2, id="data that are no numbers"),
]


@pytest.mark.parametrize(("spoil", "words", "code"), MISTAKES)
def test_the_same_mistake_has_the_same_code(
    spoil: Any, words: list[str], code: int, models: Path, tmp_path: Path, *, capsys: Any
) -> None:
    """In every format, in at most three lines."""
    folder = shutil.copytree(models, tmp_path / "models")
    codes, said = {}, {}
    for name in FORMATS:
        if spoil is not None:
            spoil(folder, name)
        codes[name] = run(["diag", str(folder / name), "-q", "-o", str(tmp_path / f"{name}.h5"), *words])
        said[name] = capsys.readouterr().err
    assert codes == dict.fromkeys(FORMATS, code), said
    assert all(len(text.splitlines()) <= 3 for text in said.values()), said
