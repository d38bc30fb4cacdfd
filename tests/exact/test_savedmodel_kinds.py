"""SavedModels that are made otherwise than by Keras's export of a functional model: opened, named, and exact."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import curvcli
from curvcli.cli.main import run
from curvcli.models.open import open_model
from curvcli.models.tensorflow.runtime import tensorflow

from .conftest import Arrays, Outcome, assert_close
from .test_savedmodel import LOGITS, build, by_tape, data, network

ONE_BATCH = True
Diag = Callable[..., Outcome]


@pytest.fixture(scope="module")
def tf() -> Any:
    return tensorflow()


def of_version_1(tf: Any, path: Path, *, several: bool = False) -> Arrays:
    """A network with reference variables, one of them not trained, saved by TensorFlow 1; its trained weights.

    With ``several`` under two sets of tags, the first with two signatures.
    """
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session, v1.variable_scope("net", use_resource=False):
        x = v1.placeholder(tf.float32, (None, 4, 4, 2), name="image")
        with v1.variable_scope("conv1"):
            kernel, bias = v1.get_variable("weights", (3, 3, 2, 4)), v1.get_variable("biases", (4,))
        h = tf.nn.max_pool2d(tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)), 2, 2, "VALID")
        h -= v1.get_variable("moving", (4,), trainable=False, initializer=v1.constant_initializer(0.25))
        with v1.variable_scope("fc"):
            logits = tf.matmul(tf.reshape(h, (-1, 16)), v1.get_variable("weights", (16, 3)))
        session.run(v1.global_variables_initializer())

        def signature(output: Any) -> Any:
            info = v1.saved_model.build_tensor_info
            return v1.saved_model.build_signature_def({"image": info(x)}, {"scores": info(output)}, "predict")

        one = {"serving_default": signature(logits)}
        two = {"first": signature(logits), "second": signature(2 * logits)}
        builder = v1.saved_model.Builder(str(path))
        tags, signatures = (["serve", "gpu"], two) if several else (["serve"], one)
        builder.add_meta_graph_and_variables(session, tags, signatures)
        if several:
            builder.add_meta_graph(["train"], one)
        builder.save()
        return {v.op.name: session.run(v) for v in v1.trainable_variables()}


def dense_of_version_1(tf: Any, weights: Arrays, x: np.ndarray, y: np.ndarray, scale: float) -> Arrays:
    """The dense Hessian's diagonal of the same network, by a tape around a tape, in float64."""
    w = {name: tf.Variable(value.astype(np.float64)) for name, value in weights.items()}
    diagonal = {}
    for name, variable in w.items():
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                h = tf.nn.relu(tf.nn.conv2d(x, w["net/conv1/weights"], 1, "SAME") + w["net/conv1/biases"])
                h = tf.reshape(tf.nn.max_pool2d(h, 2, 2, "VALID") - 0.25, (-1, 16))
                scores = scale * tf.matmul(h, w["net/fc/weights"])
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))
            first = tf.reshape(inner.gradient(loss, variable), [-1])
        size = variable.numpy().size
        hessian = tf.reshape(outer.jacobian(first, variable, experimental_use_pfor=False), (size, size))
        diagonal[name] = np.diag(hessian.numpy()).reshape(variable.shape)
    return diagonal


def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((9, 4, 4, 2)).astype(np.float32).astype(np.float64), rng.integers(0, 3, 9)


def test_reference_variables_of_tensorflow_1(tf: Any, diag: Diag, tmp_path: Path) -> None:
    """Restored in a session; the dense Hessian to 1e-9, and no layer of what was not trained."""
    weights = of_version_1(tf, tmp_path / "m")
    x, y = images()
    result = diag(tmp_path / "m", {"image": x}, y, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, dense_of_version_1(tf, weights, x, y, 1.0), 1e-9)


def test_one_of_several_graphs_and_signatures(
    tf: Any, diag: Diag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chosen by tags and name, and written into the report; what there is to choose is told."""
    path = tmp_path / "m"
    weights = of_version_1(tf, path, several=True)
    x, y = images()
    for options, told in (
        ([], "several graphs: choose one by its tags, --tag-set: serve,gpu; train"),
        (["--tag-set", "gpu"], "no graph of these tags; it has: serve,gpu; train"),
        (["--tag-set", "gpu,serve"], "several signatures: choose one, --signature: first, second"),
        (["--tag-set", "gpu,serve", "--signature", "third"], "no such signature; it has: first, second"),
    ):
        assert run(["layers", str(path), *options]) == 2
        assert told in capsys.readouterr().err
    assert run(["layers", str(path), "--tag-set", "train"]) == 0
    result = diag(path, {"image": x}, y, LOGITS, "--tag-set", "serve,gpu", "--signature", "second")
    assert result.code == 0
    assert_close(result.diagonal, dense_of_version_1(tf, weights, x, y, 2.0), 1e-9)
    with h5py.File(result.report) as file:
        settings = json.loads(file["provenance/config"].asstr()[()])
    assert (settings["signature"], settings["tag_set"]) == ("second", "serve,gpu")
    model = curvcli.open_model(path, signature="first", tag_set="serve,gpu")
    assert (model.signature, model.tag_set) == ("first", "serve,gpu")


def test_a_file_of_one_model_has_nothing_to_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before it is opened."""
    (tmp_path / "m.pt").write_bytes(b"")
    assert run(["layers", str(tmp_path / "m.pt"), "--signature", "one"]) == 2
    assert "--signature one" in capsys.readouterr().err


def test_what_was_compiled_is_computed_uncompiled(tf: Any, diag: Diag, tmp_path: Path) -> None:
    """XLA's second derivative of max pooling is wrong: of a function saved with jit_compile, the dense Hessian."""
    exact, x, y = build("convolutions", tmp_path / "plain")
    fast = network("convolutions", "float32")
    for slow, variable in zip(exact.weights, fast.weights, strict=True):
        variable.assign(slow.numpy().astype(np.float32))

    class Compiled(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.held = [v.value for v in fast.weights]

        @tf.function(jit_compile=True, input_signature=[tf.TensorSpec((None, *x.shape[1:]), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            return fast(x, training=False)

    module = Compiled()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    assert b"_XlaMustCompile" in (tmp_path / "m" / "saved_model.pb").read_bytes()
    result = diag(tmp_path / "m", {"x": x}, y, LOGITS)
    assert_close(result.diagonal, by_tape(tf, exact, x, y), 1e-9)


def test_layers_of_a_subclassed_model_have_their_names(tf: Any, tmp_path: Path) -> None:
    """Its export writes variables as a list, and names that repeat; the scopes of what reads them tell."""
    import keras

    class Block(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = keras.layers.Dense(4), keras.layers.Dense(4, use_bias=False)

        def call(self, x: Any) -> Any:
            return x + self.two(tf.tanh(self.one(x)))

    class Net(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.blocks = keras.layers.Dense(4, name="first"), [Block(), Block()]
            self.norm = keras.layers.LayerNormalization()  # the one gamma and the one beta

        def call(self, x: Any) -> Any:
            x = self.first(x)
            for block in self.blocks:
                x = block(x)
            return self.norm(x)

    net = Net()
    net(np.zeros((1, 3), np.float32))
    net.export(str(tmp_path / "m"), verbose=False)
    names = [p.name for layer in open_model(tmp_path / "m").layers for p in layer.parameters]
    assert names == [v.path.split("/", 1)[1] for v in net.variables]


def test_a_network_compiled_by_jax_is_refused(tf: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of its one operation, with the export that helps."""
    from tensorflow.core.protobuf import saved_model_pb2

    module = tf.Module()
    module.serve = tf.function(lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec((None, 2), name="x")])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    proto = saved_model_pb2.SavedModel.FromString((tmp_path / "m" / "saved_model.pb").read_bytes())
    proto.meta_graphs[0].graph_def.library.function[0].node_def.add(name="compiled", op="XlaCallModule")
    (tmp_path / "m" / "saved_model.pb").write_bytes(proto.SerializeToString())
    assert run(["layers", str(tmp_path / "m")]) == 3
    message = capsys.readouterr().err
    assert "XlaCallModule" in message
    assert "KERAS_BACKEND=tensorflow" in message


@pytest.mark.parametrize("name", ["m", "m.keras"])
def test_an_unknown_output_is_named_with_the_others(
    tf: Any, name: str, diag: Diag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The given name, and those that there are."""
    model = network("smooth", "float32")
    model.export(str(tmp_path / "m"), verbose=False)
    model.save(tmp_path / "m.keras")
    x, y = data(model)
    assert diag(tmp_path / name, {"x": x}, y, LOGITS + '\noutput = "logits"').code == 2
    message = capsys.readouterr().err
    assert "has no output 'logits'" in message
    assert "it has the output output_0" in message


@pytest.fixture(autouse=True)
def _forget(tf: Any) -> Iterator[None]:
    yield
    import keras

    keras.backend.clear_session()
