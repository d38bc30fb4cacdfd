"""The file a report speaks of is the file that was loaded, and whole."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import curvcli.analysis.session as session_module
from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report

from .batchwise import batchwise, cross_entropies, scripted
from .conftest import SAMPLES, Outcome, assert_close, write_spec

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(6)
X, Y = RNG.standard_normal((SAMPLES, 3)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
COMMANDS = {
    "diag": ("diag",),
    "trace": ("trace",),
    "eigs": ("eigs", "-k", "1"),
    "inputs": ("inputs",),
    "split": ("split", "--at", "one"),
}


class Net(nn.Module):
    """With a parameter, a buffer and a constant in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 3)
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3]))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x - self.mean)))


def saved(folder: Path, name: str, seed: int) -> tuple[Net, Path]:
    torch.manual_seed(seed)
    module = Net()
    return module, scripted(module, folder / name)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_hash_is_of_the_bytes_that_were_loaded(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file put in the model's place right after it was opened changes neither the numbers nor the hash."""
    module, path = saved(tmp_path, "m.pt", 0)
    _, other = saved(tmp_path, "other.pt", 1)
    own, spec, report = digest(path), write_spec(tmp_path, "d", {"x": X}, Y, LOGITS), tmp_path / "r.h5"
    bare = session_module.open_model

    def replaced(where: Path, **options: str) -> object:
        model = bare(where, **options)
        path.write_bytes(other.read_bytes())
        return model

    monkeypatch.setattr(session_module, "open_model", replaced)
    word, *options = COMMANDS[command]
    assert run([word, str(path), "--data", str(spec), "-o", str(report), "-q", "--dtype", "float64", *options]) == 0
    assert digest(path) == digest(other) != own
    with h5py.File(report) as file:
        assert file["provenance"].attrs["model_sha256"] == own
    if command == "diag":
        assert_close(Outcome(0, report).diagonal, batchwise(module, X, Y, cross_entropies), 1e-9)


def test_a_replaced_file_is_not_measured_against(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding in float32 is told by the same file in float64: another one in its place is no measure of it."""
    _, path = saved(tmp_path, "m.pt", 0)
    _, other = saved(tmp_path, "other.pt", 1)
    spec, report = write_spec(tmp_path, "d", {"x": X}, Y, LOGITS), tmp_path / "r.h5"
    bare = session_module.open_model

    def replaced(where: Path, **options: str) -> object:
        model = bare(where, **options)
        path.write_bytes(other.read_bytes())
        return model

    monkeypatch.setattr(session_module, "open_model", replaced)
    assert run(["diag", str(path), "--data", str(spec), "-o", str(report), "-q"]) == 0
    for parameter in read_report(report).layer("one").parameters:
        assert parameter.diagonal is not None
        assert parameter.rounding <= 1e-3 * np.abs(parameter.diagonal).max()


def members(path: Path) -> list[str]:
    """Those with entries in them; every byte of these counts."""
    with zipfile.ZipFile(path) as archive:
        return [info.filename for info in archive.infolist() if info.file_size]


def position(path: Path, member: str) -> int:
    """Where the middle byte of a stored member lies in the file."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        assert info.compress_type == zipfile.ZIP_STORED
        start = info.header_offset
    header = path.read_bytes()[start : start + 30]
    assert header[:4] == b"PK\x03\x04"
    name, extra = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    return start + 30 + name + extra + info.file_size // 2


def test_a_flipped_byte_in_any_tensor_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each tensor's file in the archive, one bit wrong in it: exit 3, and the member is named."""
    _, path = saved(tmp_path, "m.pt", 0)
    whole = path.read_bytes()
    spec, report = write_spec(tmp_path, "d", {"x": X}, Y, LOGITS), tmp_path / "r.h5"
    tensors = [name for name in members(path) if "/data/" in name or "/constants/" in name]
    assert len(tensors) >= 5
    for member in tensors:
        place = position(path, member)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert run(["diag", str(path), "--data", str(spec), "-o", str(report), "-q"]) == 3, member
        said = capfd.readouterr().err
        assert member in said
        assert "damaged" in said
        assert not report.exists()
        path.write_bytes(whole)
    assert run(["diag", str(path), "--data", str(spec), "-o", str(report), "-q"]) == 0


def test_a_flipped_byte_in_the_code_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Code and pickles are held against their checksums as well."""
    _, path = saved(tmp_path, "m.pt", 0)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        stored = {i.filename for i in archive.infolist() if i.compress_type == zipfile.ZIP_STORED and i.file_size}
    others = [name for name in stored if name.endswith((".pkl", "version", "byteorder"))]
    assert others
    for member in others:
        place = position(path, member)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
        assert run(["layers", str(path)]) == 3, member
        assert member in capfd.readouterr().err


def test_two_members_of_one_name_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A checksum would be of one of them, and torch might load the other."""
    _, path = saved(tmp_path, "m.pt", 0)
    member = next(name for name in members(path) if "/data/" in name)
    with zipfile.ZipFile(path) as archive:
        first = archive.read(member)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, bytes(len(first)))
    assert run(["layers", str(path)]) == 3
    assert "one name" in capfd.readouterr().err
