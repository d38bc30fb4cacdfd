"""``.keras`` files that would import, run, read or allocate something when Keras opens them: refused before that."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from curvcli.cli.main import run
from curvcli.errors import ModelError
from curvcli.models.open import open_model
from curvcli.models.tensorflow.keras_archive import read_keras

Members = dict[str, bytes]
Config = dict[str, Any]
DTYPE = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}


def layer(name: str, config: Config, **changes: Any) -> Config:
    return {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None, **changes}


def model(*layers: Config) -> Config:
    start = layer("InputLayer", {"batch_shape": [None, 2], "dtype": "float32", "name": "x"})
    config = {"name": "sequential", "trainable": True, "dtype": DTYPE, "layers": [start, *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def dense(**changes: Any) -> Config:
    config = {"name": "one", "trainable": True, "dtype": DTYPE, "units": 1, "activation": "linear"} | changes
    return layer("Dense", config, build_config={"input_shape": [None, 2]})


def weights(fill: Callable[[h5py.File], None] | None = None) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        group = file.create_group("layers/dense/vars")
        group["0"], group["1"] = np.ones((2, 1), np.float32), np.ones(1, np.float32)
        group.attrs["name"] = "one"
        if fill is not None:
            fill(file)
    return stream.getvalue()


def written(path: Path, config: Config | bytes, h5: bytes | None = None, **members: bytes) -> Path:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    with zipfile.ZipFile(path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", weights() if h5 is None else h5)
        for name, content in members.items():
            archive.writestr(name, content)
    return path / "m.keras"


def function(module: str, name: str) -> Config:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


# Where a name may stand, and what Keras would do with it.
CODE: dict[str, Config] = {
    "module of Python": layer("Popen", {"args": ["touch", "x"]}, module="subprocess"),
    "function of Python": dense(activation=function("os", "system")),
    "function of Keras": dense(activation=function("keras.utils", "get_file")),
    "function under the name of an activation": dense(activation=function("os", "relu")),
    "registered under another name": layer("Dense", {"units": 1}, registered_name="my>Dense"),
    "class of Keras that is no layer": layer("get_file", {"fname": "x", "origin": "file:///x"}, module="keras.utils"),
    "no module": {"class_name": "Lambda", "config": {"function": ["4wE", None, None]}},
    "an old file's class": {"class_name": "Dense", "config": {"units": 1}},
    "Lambda": layer("Lambda", {"name": "l", "function": {"class_name": "__lambda__", "config": {"value": "4wE"}}}),
    "lambda": dense(activation={"class_name": "__lambda__", "config": {"value": "4wE"}}),
    "typespec": dense(activation={"class_name": "__typespec__", "module": "os", "config": [], "spec_name": "system"}),
    "torch module": layer("TorchModuleWrapper", {"module": "gASV"}),
    "SavedModel layer": layer("TFSMLayer", {"filepath": "/tmp/evil"}),
    "jax": layer("JaxLayer", {"call_fn": "f"}),
    "vocabulary": layer("StringLookup", {"name": "words", "vocabulary": "/etc/passwd"}),
    "text": layer("TextVectorization", {"name": "words", "vocabulary": "/etc/passwd"}),
    "within a layer": layer("TimeDistributed", {"layer": layer("Lambda", {"name": "inner"})}),
    "within arguments": dense(kernel_initializer=layer("system", {}, module="os")),
    "within a call": dense() | {"inbound_nodes": [{"args": [layer("system", {}, module="posix")], "kwargs": {}}]},
    "loop of functions": layer("WhileLoop", {"cond": None, "body": None}, module="keras.src.ops.core"),
    "quantised": dense(dtype=DTYPE | {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}),
}


@pytest.mark.parametrize("name", CODE)
def test_what_is_none_of_keras_own_parts_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """Wherever in the configuration it stands; Keras is not imported for it."""
    with pytest.raises(ModelError, match=r"it contains .*which curvcli does not run from a Keras file\.\n.*export"):
        read_keras(written(tmp_path, model(dense(), CODE[name])))


def test_how_a_model_was_compiled_is_left_out(tmp_path: Path) -> None:
    """Optimizers and losses may be anybody's own, for nothing of them is made; in models within models too."""
    compiled = {"optimizer": layer("system", {}, module="os"), "loss": function("my", "loss")}
    inner = model(dense()) | {"compile_config": compiled}
    archive = read_keras(written(tmp_path, model(inner) | {"compile_config": compiled}))
    assert "compile_config" not in json.dumps(archive.config)


@pytest.mark.parametrize("name", ["relu", "Variable", "convert_to_tensor", "Nothing", "Operation"])
def test_an_operation_has_to_be_one(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not whatever else a module of Keras has by that name."""
    operation = layer(name, {"name": "op"}, module="keras.src.ops.numpy", registered_name=name)
    path = written(tmp_path, model(dense(), operation))
    assert run(["layers", str(path)]) == 3
    assert f"keras.src.ops.numpy.{name}, which is no operation of Keras" in capsys.readouterr().err


def test_layers_larger_than_the_file_are_not_allocated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """400 bytes that ask for 4 TiB."""
    path = written(tmp_path, model(layer("Dense", {"name": "one", "dtype": DTYPE, "units": 10**12})))
    assert run(["layers", str(path)]) == 3
    assert "its layers have more weights than the file holds" in capsys.readouterr().err


def linked(file: h5py.File) -> None:
    file["layers/dense/vars/2"] = h5py.ExternalLink("/etc/hostname", "/")


def soft(file: h5py.File) -> None:
    file["layers/other"] = h5py.SoftLink("/layers")


def twice(file: h5py.File) -> None:
    file["layers/other"] = file["layers/dense"]


def outside(file: h5py.File) -> None:
    file.create_dataset("layers/x", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
    file.create_virtual_dataset("layers/x", layout)


def huge(file: h5py.File) -> None:
    file.create_dataset("layers/x", (1 << 50,), "f4", chunks=(1 << 20,))


def compound(file: h5py.File) -> None:
    file["layers/x"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def attribute(file: h5py.File) -> None:
    file["layers"].attrs["x"] = np.zeros(5000)


@pytest.mark.parametrize("fill", [linked, soft, twice, outside, virtual, huge, compound, attribute])
def test_weights_that_reach_out_of_the_file_or_explode(fill: Callable[[h5py.File], None], tmp_path: Path) -> None:
    """Refused before any number is read."""
    with pytest.raises(ModelError, match=r"model\.weights\.h5: .*save the model again"):
        read_keras(written(tmp_path, model(dense()), weights(fill)))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "describes no model"),
        (b"{", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b'{"class_name": 3, "config": {}}', "a class of its own"),
        (b'{"class_name": [], "module": {}, "config": {}}', "a class of its own"),
        (b'{"class_name": "function", "module": [], "config": {}}', "a function of its own"),
    ],
)
def test_a_configuration_that_is_none(content: bytes, told: str, tmp_path: Path) -> None:
    """In a line."""
    with pytest.raises(ModelError, match=told):
        read_keras(written(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("assets/vocabulary.txt", "a file that a layer reads"),
        ("../../evil", "not what Keras 3 saves"),
        ("model.weights.npz", "not what Keras 3 saves"),
    ],
)
def test_members_that_are_not_needed(name: str, told: str, tmp_path: Path) -> None:
    """Vocabularies, paths out of the folder, NumPy files with pickles in them."""
    with pytest.raises(ModelError, match=told):
        read_keras(written(tmp_path, model(dense()), **{name: b""}))


def test_an_archive_that_inflates(tmp_path: Path) -> None:
    """A kilobyte per byte."""
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (80 << 20))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ModelError, match=r"config\.json unpacks to 80 MiB"):
        read_keras(tmp_path / "m.keras")


def test_files_cut_off_anywhere_are_damaged(tmp_path: Path) -> None:
    """And files of something else under the name."""
    whole = written(tmp_path, model(dense())).read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 3):
        (tmp_path / "m.keras").write_bytes(whole[:size])
        with pytest.raises(ModelError, match="damaged"):
            read_keras(tmp_path / "m.keras")


def test_a_file_of_keras_2_is_told(tmp_path: Path) -> None:
    """By its own metadata."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.15.0"}')
        archive.writestr("config.json", b"{}")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ModelError, match=r"saved by Keras 2\.15\.0"):
        read_keras(path)


def opened_layers(path: Path) -> list[str]:
    """Names of layers, and of their parameters."""
    opened = open_model(path)
    return [f"{one.name}/{name}" for one in opened.layers for name in one.parameters]


def test_weights_in_another_place_are_refused_in_one_line_of_ours(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keras warns before it raises; that is not for the user."""

    def moved(file: h5py.File) -> None:
        file.move("layers/dense", "layers/dense_7")

    assert run(["layers", str(written(tmp_path, model(dense()), weights(moved)))]) == 3
    assert re.fullmatch(
        r"Error: .*: its weights don't fit its layers: Layer 'one' expected.*\n", capsys.readouterr().err
    )
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]


def test_layers_in_a_list_without_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keras tries them with mismatches allowed, which may leave them as they were drawn."""
    import keras

    cells = [keras.layers.SimpleRNNCell(2), keras.layers.SimpleRNNCell(1)]
    made = keras.Sequential([keras.Input((3, 2)), keras.layers.RNN(cells)])
    made.save(tmp_path / "m.keras")
    assert run(["layers", str(tmp_path / "m.keras")]) == 0
    capsys.readouterr()
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    stream = io.BytesIO(members["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        file.move("layers/rnn/cell/cells", "elsewhere")
    members["model.weights.h5"] = stream.getvalue()
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert run(["layers", str(tmp_path / "m.keras")]) == 3
    assert "save the model again" in capsys.readouterr().err


def test_the_state_of_an_optimizer_is_no_room_for_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def state(file: h5py.File) -> None:
        file["optimizer/vars/0"] = np.zeros(1000, np.float32)

    assert run(["layers", str(written(tmp_path, model(dense(units=2)), weights(state)))]) == 3
    assert "more weights than the file holds" in capsys.readouterr().err
    assert run(["layers", str(written(tmp_path, model(dense()), weights(state)))]) == 0


def test_names_do_not_depend_on_what_was_opened_before(tmp_path: Path) -> None:
    """Layers and variables without a name of their own have numbers from the beginning; others go on with theirs."""
    import keras

    scale = layer("LayerScale", {"dtype": DTYPE, "init_values": 0.1, "projection_dim": 2, "trainable": True})
    scale |= {"module": "keras.src.applications.convnext", "build_config": {"input_shape": [None, 2]}}
    scale["registered_name"] = "LayerScale"

    def fill(file: h5py.File) -> None:
        del file["layers/dense"]
        file["layers/layer_scale/vars/0"] = np.ones(2, np.float32)

    path = written(tmp_path, model(scale), weights(fill))
    keras.Variable(np.ones(1))
    keras.layers.Dense(1)
    before = keras.layers.Dense(1).name
    names = opened_layers(path)
    assert opened_layers(path) == names
    assert not any(name.rstrip("0123456789") != name for name in names), names
    assert int(keras.layers.Dense(1).name.rpartition("_")[2]) == int(before.rpartition("_")[2]) + 1
