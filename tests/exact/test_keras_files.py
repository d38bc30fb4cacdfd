"""``.keras`` files against the eager float64 model, by nested tapes; and against the SavedModel of the same network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import slow

from curvcli.cli.main import run
from curvcli.models.open import open_model
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.report.hdf5.read import read_report

from .conftest import Outcome, assert_close
from .test_savedmodel import DECLARED, LOGITS, by_tape, data, network

ONE_BATCH = True
Diag = Callable[..., Outcome]


@pytest.fixture(scope="module")
def tf() -> Any:
    return tensorflow()


def saved(exact: Any, model: Any, path: Path) -> Any:
    """Give both networks the same random float32 weights, and save the second."""
    rng = np.random.default_rng(5)
    for wide, fast in zip(exact.weights, model.weights, strict=True):
        value = rng.uniform(0.5, 1.5, fast.shape) if "var" in fast.name else rng.standard_normal(fast.shape) * 0.6
        fast.assign(value.astype(np.float32))
        wide.assign(value.astype(np.float32).astype(np.float64))
    model.save(path)
    return exact


@pytest.mark.parametrize("name", ["smooth", *slow(["convolutions", "attention"])])
def test_the_diagonal_is_the_dense_hessians(tf: Any, name: str, diag: Diag, tmp_path: Path) -> None:
    """All parameters of a saved Keras model, to 1e-9."""
    exact = saved(network(name, "float64"), network(name, "float32"), tmp_path / "m.keras")
    x, y = data(exact)
    result = diag(tmp_path / "m.keras", {"x": x}, y, DECLARED if name == "smooth" else LOGITS)
    assert result.code == 0
    expected = by_tape(tf, exact, x, y)
    if name == "attention":  # a bias of the keys, which softmax does not see
        expected = {key: value for key, value in expected.items() if np.abs(value).max() > 1e-9}
        result.diagonal = {key: result.diagonal[key] for key in expected}
    assert_close(result.diagonal, expected, 1e-9)


def test_weights_are_tensors_in_the_dtype_that_they_have(tf: Any, diag: Diag, tmp_path: Path) -> None:
    """Without ``--dtype`` nothing is converted: a variable would be left one, which no graph can be fed."""
    tf = pytest.importorskip("tensorflow")
    exact = saved(network("smooth", "float64"), network("smooth", "float32"), tmp_path / "m.keras")
    x, y = data(exact)
    result = diag(tmp_path / "m.keras", {"x": x}, y, DECLARED, "--dtype", "float32")
    assert result.code == 0
    assert_close(result.diagonal, by_tape(tf, exact, x, y), 1e-4)


@pytest.mark.slow
def test_both_files_of_a_network_give_the_same(diag: Diag, tmp_path: Path) -> None:
    """model.save and model.export: layers, inputs and outputs of the same names, diagonals equal to 1e-12."""
    exact = saved(network("convolutions", "float64"), model := network("convolutions", "float32"), tmp_path / "m.keras")
    model.export(str(tmp_path / "m"), verbose=False)
    x, y = data(exact)
    first, second = (diag(tmp_path / name, {"x": x}, y, LOGITS) for name in ("m.keras", "m"))
    assert_close(first.diagonal, second.diagonal, 1e-12)
    opened = [open_model(tmp_path / name) for name in ("m.keras", "m")]
    assert opened[0].inputs == opened[1].inputs
    assert opened[0].outputs == opened[1].outputs


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_mixed_precision_is_widened(tf: Any, policy: str, diag: Diag, tmp_path: Path) -> None:
    """What was trained in 16 bits is computed in the precision of --dtype: the dense float64 Hessian, to 1e-9."""
    import keras
    from keras import layers as K

    def made(dtype: str) -> Any:
        x = keras.Input((6, 6, 2), name="x", dtype="float64" if dtype == "float64" else "float32")
        h = K.Conv2D(3, 3, activation="tanh", name="one", dtype=dtype)(x)
        h = K.BatchNormalization(name="norm", dtype=dtype)(K.MaxPooling2D(dtype=dtype)(h))
        h = K.Flatten(dtype=dtype)(h)
        return keras.Model(x, K.Dense(3, name="two", dtype=dtype)(h))

    exact = saved(made("float64"), made(policy), tmp_path / "m.keras")
    x, y = data(exact)
    result = diag(tmp_path / "m.keras", {"x": x}, y, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, by_tape(tf, exact, x, y), 1e-9)
    assert read_report(result.report).provenance.widened


def test_frozen_layers_have_parameters_without_weight_decay(tmp_path: Path) -> None:
    """As in TorchScript; where all are frozen the file says nothing."""
    model = network("convolutions", "float32")
    for frozen in (("first", "norm"), [layer.name for layer in model.layers]):
        for layer in model.layers:
            layer.trainable = layer.name not in frozen
        model.save(tmp_path / "m.keras")
        layers = {one.name: one for one in open_model(tmp_path / "m.keras").layers}
        assert [p.label for p in layers["norm"].parameters] == ["gamma", "beta"]
        trained = {name: {p.trained for p in one.parameters} for name, one in layers.items()}
        untrained = {"first", "norm"} if len(frozen) == 2 else set()
        assert trained == {name: {name not in untrained} for name in layers}


def test_a_sequential_of_nested_models_and_a_model_of_many_inputs(tmp_path: Path) -> None:
    """Inputs and outputs have the names that model.export gives them."""
    import keras
    from keras import layers as K

    first, second = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = K.Concatenate()([first, second])
    inner = keras.Sequential([keras.Input((5,)), K.Dense(4, name="hidden")], name="inner")
    outputs = {"u": K.Dense(2, name="one")(inner(joined)), "v": K.Dense(1, name="two")(joined * 2.0 + 1.0)}
    model = keras.Model({"a": first, "b": second}, outputs)
    model.save(tmp_path / "m.keras")
    opened = open_model(tmp_path / "m.keras")
    assert [port.name for port in opened.inputs] == ["a", "b"]
    assert [port.name for port in opened.outputs] == ["u", "v"]
    assert {layer.name for layer in opened.layers} == {"hidden", "one", "two"}


@pytest.mark.parametrize(
    ("name", "told"), [("custom", "my>Scale 'scale', a class of its own"), ("lambda", "a Lambda layer, which holds")]
)
def test_code_in_a_file_is_refused_by_name(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the line that helps is given."""
    import keras
    from keras import layers as K

    @keras.saving.register_keras_serializable(package="my")
    class Scale(K.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    x = keras.Input((3,))
    layer = Scale(name="scale") if name == "custom" else K.Lambda(lambda t: t * 2, name="double")
    keras.Model(x, K.Dense(2)(layer(x))).save(tmp_path / "m.keras")
    assert run(["layers", str(tmp_path / "m.keras")]) == 3
    message = capsys.readouterr().err
    assert told in message
    assert "model.export(FOLDER)" in message
    assert len(message.splitlines()) == 2


@pytest.fixture(autouse=True)
def _forget(tf: Any) -> Iterator[None]:
    yield
    import keras

    keras.backend.clear_session()
    keras.saving.get_custom_objects().clear()
