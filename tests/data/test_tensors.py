"""Tensors that torch stored, read without torch and without a pickle's code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvcli.errors import DataError

from .reading import read

TENSORS = {
    "tensor": (lambda: torch.arange(6.0).reshape(3, 2), "d", lambda t: t),
    "list": (lambda: [torch.arange(3), torch.ones(3)], "1", lambda t: t[1]),
    "tuple": (lambda: (torch.arange(3), torch.ones(3)), "0", lambda t: t[0]),
    "nested": (lambda: {"train": {"x": torch.eye(3)}, "n": 3}, "train.x", lambda t: t["train"]["x"]),
    "bfloat16": (lambda: {"x": torch.randn(4, 3).bfloat16()}, "x", lambda t: t["x"].float()),
    "half": (lambda: {"x": torch.randn(4, 3).half()}, "x", lambda t: t["x"]),
    "uint16": (lambda: {"x": torch.tensor([5, 65535], dtype=torch.uint16)}, "x", lambda t: t["x"]),
    "parameter": (lambda: {"x": torch.nn.Parameter(torch.ones(2, 2))}, "x", lambda t: t["x"].detach()),
    "shared": (lambda: {"a": (t := torch.arange(12.0).reshape(6, 2)), "b": t[::2, 1]}, "b", lambda t: t["b"]),
    "expanded": (lambda: {"x": torch.ones(1, 3).expand(4, 3)}, "x", lambda t: t["x"]),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_are_those_that_torch_loads(case: str, tmp_path: Path) -> None:
    make, name, of = TENSORS[case]
    torch.save(make(), tmp_path / "d.pt")
    expected = of(torch.load(tmp_path / "d.pt", weights_only=True))
    values = read("torch", tmp_path, (name,), path="d.pt")[name]
    np.testing.assert_array_equal(values, expected.numpy())
    assert values.dtype == expected.numpy().dtype


class Harm:
    """Made a call by a pickle."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harmed"),))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Harm(), "is an object, not a plain tensor"),
        (torch.utils.data.TensorDataset(torch.ones(3)), "TensorDataset, not a plain tensor; store plain ones"),
        (torch.ones(3).to_sparse(), "not a plain tensor"),
        (torch.ones(3, dtype=torch.complex64), "not a plain tensor"),
        ([1, 2, 3], "is of Python's type list; store a tensor"),
        ("text", "is of Python's type str"),
        (np.ones(3), "not a plain tensor"),
    ],
)
def test_what_is_no_plain_tensor_is_told_and_nothing_is_run(
    value: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": value, "y": torch.ones(3)}, tmp_path / "d.pt")
    with pytest.raises(DataError, match=said):
        read("torch", tmp_path, ("x",), path="d.pt")
    np.testing.assert_array_equal(read("torch", tmp_path, ("y",), path="d.pt")["y"], np.ones(3))
    assert not (tmp_path / "harmed").exists()


def test_a_tensor_declared_beyond_its_bytes_is_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.arange(40.0)}, tmp_path / "good.pt")
    for old, new in ((b"K(\x85", b"K)\x85"), (b"K(t", b"K)t")):
        with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "d.pt", "w") as bad:
            for name in good.namelist():
                data = good.read(name)
                bad.writestr(name, data.replace(old, new) if name.endswith("data.pkl") else data)
        with pytest.raises(
            DataError, match=r"is declared over data of 40 numbers|declares 164 bytes where there are 160"
        ):
            read("torch", tmp_path, ("x",), path="d.pt")


def test_torchs_old_format_and_models_are_told_apart(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"is of a torch before 1\.6; write it again: torch\.save\(torch\.load"):
        read("torch", tmp_path, ("x",), path="old.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(DataError, match="it is a TorchScript model"):
        read("torch", tmp_path, ("x",), path="model.pt")
