"""What people take for a model is named, and the line that helps is given: exit 3, without a framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curvcli.cli.main import run

# What lies there, the path that is given, and what the message says: what it is, and what to run.
CASES = [
    pytest.param({"m.h5": b"\x89HDF\r\n\x1a\n"}, "m.h5", ["Keras model of the old format", ".save("], id="h5"),
    pytest.param({"m": b"\x89HDF\r\n\x1a\n"}, "m", ["HDF5", ".keras"], id="hdf5 by content"),
    pytest.param({"m.weights.h5": b""}, "m.weights.h5", ["weights alone", "model.export"], id="keras weights"),
    pytest.param({"m.tflite": b""}, "m.tflite", ["TensorFlow Lite", "model.export"], id="tflite"),
    pytest.param({"m.bin": b"\x1c\0\0\0TFL3"}, "m.bin", ["TensorFlow Lite", "model.export"], id="tflite by content"),
    pytest.param({"graph.pb": b""}, "graph.pb", ["frozen", "model.export"], id="frozen graph"),
    pytest.param(
        {"c/checkpoint": b"", "c/x-1.index": b""}, "c", ["checkpoint", "model.export"], id="checkpoint folder"
    ),
    pytest.param(
        {"c/x.index": b"", "c/x.data-00000-of-00001": b""}, "c", ["checkpoint", "model.export"], id="unlisted"
    ),
    pytest.param({"x-1.index": b""}, "x-1", ["checkpoint", "model.export"], id="checkpoint prefix"),
    pytest.param({"x-1.index": b""}, "x-1.index", ["checkpoint", "model.export"], id="checkpoint index"),
    pytest.param({"x.data-00000-of-00001": b""}, "x.data-00000-of-00001", ["checkpoint", "model.export"], id="data"),
    pytest.param({"m.safetensors": b""}, "m.safetensors", ["weights alone", "torch.export.save"], id="safetensors"),
    pytest.param(
        {"m": b'\x10\0\0\0\0\0\0\0{"__metadata__"'},
        "m",
        ["safetensors", "torch.export.save"],
        id="safetensors by content",
    ),
    pytest.param(
        {"h/config.json": b"", "h/model-00001-of-00002.safetensors": b""},
        "h",
        ["Hugging Face", "torch.export.save"],
        id="hugging face",
    ),
    pytest.param(
        {"h/config.json": b"", "h/pytorch_model.bin": b""},
        "h",
        ["Hugging Face", "torch.export.save"],
        id="older hugging face",
    ),
    pytest.param({"m.onnx": b""}, "m.onnx", ["ONNX", "torch.export.save"], id="onnx"),
    pytest.param({"m.gguf": b"GGUF"}, "m.gguf", ["quantised", "torch.export.save"], id="gguf"),
    pytest.param({"m.pth": b"\x80\x02\x8a\n"}, "m.pth", ["a pickle", "torch.export.save"], id="pickle of an old torch"),
    pytest.param({"j/model.json": b"", "j/group1-shard1of1.bin": b""}, "j", ["TensorFlow.js", "model.export"], id="js"),
]


@pytest.mark.parametrize(("files", "name", "told"), CASES)
def test_a_file_of_another_kind_is_named_with_a_recipe(
    files: dict[str, bytes], name: str, told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most three lines: where, what it is, what to run instead."""
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content)
    assert run(["layers", str(tmp_path / name)]) == 3
    message = capsys.readouterr().err
    assert message.startswith(f"Error: {tmp_path / name}: ")
    assert all(words in message for words in told)
    assert len(message.splitlines()) <= 3


def test_no_framework_is_imported_to_refuse(tmp_path: Path) -> None:
    """Which takes seconds."""
    (tmp_path / "m.tflite").write_bytes(b"")
    code = (
        "import sys; from curvcli.cli.main import run; "
        f"assert run(['layers', {str(tmp_path / 'm.tflite')!r}]) == 3; "
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_the_protocol_buffer_of_a_saved_model_is_not_called_frozen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the folder around it that is wanted."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert run(["layers", str(tmp_path / "saved_model.pb")]) == 2
    assert f"give the directory it lies in: {tmp_path}" in capsys.readouterr().err
