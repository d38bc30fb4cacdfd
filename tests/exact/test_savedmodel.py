"""SavedModels against the eager float64 model: dense Hessians by nested tapes, or differences of its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import slow

from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.quantities import BlockRecord

from .conftest import SAMPLES, Arrays, Outcome, assert_close

# Uneven batches are in the test that splits the data.
ONE_BATCH = True
Diag = Callable[..., Outcome]
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
DECLARED = 'name = "cross_entropy"\nfrom_logits = false'


@pytest.fixture(scope="module")
def tf() -> Any:
    return tensorflow()


def network(name: str, dtype: str) -> Any:
    import keras
    from keras import layers as K

    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        shapes = {"convolutions": (8, 8, 2), "signal": (9, 2), "tokens": (5,), "time": (5, 3)}
        kind = {"embedding": "tokens", "attention": "time", "recurrent": "time"}.get(name, name)
        image = keras.Input(shapes.get(kind, (5,)), name="x", dtype="int32" if kind == "tokens" else dtype)
        if name == "convolutions":
            h = K.Conv2D(4, 3, strides=2, padding="same", name="first")(image)
            h = K.BatchNormalization(name="norm")(h)
            h = K.LeakyReLU()(h)
            h = K.DepthwiseConv2D(2, depth_multiplier=2, name="depth")(h)
            h = K.MaxPooling2D(2, strides=1)(K.ReLU(max_value=6.0)(h))
            h = K.Conv2D(3, (1, 2), name="second", use_bias=False)(h)
            h = K.Flatten()(h)
        elif name == "signal":
            h = K.Conv1D(4, 3, dilation_rate=2, name="first", activation="relu")(image)
            h = K.GlobalAveragePooling1D()(h)
        elif name == "embedding":
            h = K.GlobalAveragePooling1D()(K.Embedding(7, 4, name="table")(image))
        elif name == "smooth":
            h = K.Dense(6, activation="tanh", name="one")(image)
            h = K.Add()([h, K.Dense(6, activation="gelu", name="two")(h)])
        elif name == "normed":
            h = K.LayerNormalization(name="norm")(K.Dense(6, name="one")(image))
            h = K.Dense(6, activation="tanh", name="two")(h)
        elif name == "attention":
            h = K.Dense(6, name="embed")(image)
            h = K.GlobalAveragePooling1D()(K.MultiHeadAttention(2, 3, name="heads")(h, h))
        elif name == "einsum":
            h = K.Reshape((5, 1))(image)
            h = K.EinsumDense("abc,cd->abd", output_shape=(5, 4), bias_axes="d", name="one")(h)
            h = K.Flatten()(K.Activation("tanh")(h))
        elif name == "twice":
            shared = K.Dense(5, activation="relu", name="shared")
            h = shared(shared(image))
        elif name == "recurrent":
            h = K.GRU(3, name="gru")(K.LSTM(4, return_sequences=True, name="lstm")(image))
        return keras.Model(image, K.Dense(3, name="head", activation="softmax" if name == "smooth" else None)(h))
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def data(model: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    shape = model.inputs[0].shape[1:]
    whole = "int" in model.inputs[0].dtype
    x = rng.integers(0, 7, (SAMPLES, *shape)) if whole else rng.standard_normal((SAMPLES, *shape))
    return x, rng.integers(0, 3, SAMPLES)


def build(name: str, path: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    """Write a float32 SavedModel with random weights; return the same model in float64 with data."""
    import keras

    keras.utils.set_random_seed(0)
    model, exact = network(name, "float32"), network(name, "float64")
    rng = np.random.default_rng(5)
    for wide, fast in zip(exact.weights, model.weights, strict=True):
        value = rng.uniform(0.5, 1.5, fast.shape) if "var" in fast.name else rng.standard_normal(fast.shape) * 0.6
        value = value.astype(np.float32)
        fast.assign(value)
        wide.assign(value.astype(np.float64))
    model.export(str(path), verbose=False)
    return exact, *data(exact)


def key(variable: Any) -> str:
    owner, _, label = variable.path.rpartition("/")
    return f"{owner}/{label}"


def mean_loss(tf: Any, model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    o = model(x, training=False)
    if model.layers[-1].activation.__name__ == "softmax":
        return -tf.reduce_mean(tf.gather(tf.math.log(o), y, axis=1, batch_dims=1))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, o))


def by_tape(tf: Any, model: Any, x: np.ndarray, y: np.ndarray) -> Arrays:
    """The dense Hessian's diagonal by a tape around a tape."""
    found = {}
    for variable in model.trainable_variables:
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                loss = mean_loss(tf, model, x, y)
            first = tf.reshape(tf.convert_to_tensor(inner.gradient(loss, variable.value)), [-1])
        hessian = outer.jacobian(first, variable.value, experimental_use_pfor=False)
        size = int(np.prod(variable.shape))
        found[key(variable)] = np.diag(np.reshape(tf.convert_to_tensor(hessian), (size, size))).reshape(variable.shape)
    return found


def by_differences(tf: Any, model: Any, x: np.ndarray, y: np.ndarray) -> Arrays:
    """The diagonal by central differences of the gradient, of fourth order."""
    found = {}
    h = 1e-3

    @tf.function
    def gradient() -> Any:
        with tf.GradientTape() as tape:
            loss = mean_loss(tf, model, x, y)
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, [v.value for v in model.trainable_variables])]

    for number, variable in enumerate(model.trainable_variables):
        start = variable.numpy().copy()
        diagonal = np.zeros(start.size)
        for i in range(start.size):
            slopes = []
            for step in (-2, -1, 1, 2):
                moved = start.copy().reshape(-1)
                moved[i] += step * h
                variable.assign(moved.reshape(start.shape))
                slopes.append(gradient()[number].numpy().reshape(-1)[i])
            diagonal[i] = (slopes[0] - 8 * slopes[1] + 8 * slopes[2] - slopes[3]) / (12 * h)
        variable.assign(start)
        found[key(variable)] = diagonal.reshape(start.shape)
    return found


Built = Callable[[str], tuple[Path, np.ndarray, np.ndarray, Arrays]]


@pytest.fixture(scope="module")
def built(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """``built(name)``: a network's path, its data, and the dense Hessian's diagonal; each made once."""

    @cache
    def call(name: str) -> tuple[Path, np.ndarray, np.ndarray, Arrays]:
        path = tmp_path_factory.mktemp(name) / "m"
        exact, x, y = build(name, path)
        return path, x, y, by_tape(tf, exact, x, y)

    return call


@pytest.mark.parametrize("name", ["convolutions", "signal", "embedding", "smooth", "einsum", "twice"])
def test_the_diagonal_of_every_parameter_is_the_dense_hessians(name: str, built: Built, diag: Diag) -> None:
    """Whatever the layers between, all diagonals of an exported Keras model equal the dense Hessian's to 1e-9."""
    path, x, y, expected = built(name)
    result = diag(path, {"x": x}, y, DECLARED if name == "smooth" else LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, expected, 1e-9)


@pytest.mark.parametrize(
    "name", ["normed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("attention", "recurrent"))]
)
def test_the_diagonal_is_the_change_of_the_gradient(tf: Any, name: str, diag: Diag, tmp_path: Path) -> None:
    """Layer norm (whose taped second derivative TensorFlow gets wrong), attention and loops: equal to differences."""
    exact, x, y = build(name, tmp_path / "m")
    result = diag(tmp_path / "m", {"x": x}, y, LOGITS)
    assert result.code == 0
    expected = by_differences(tf, exact, x, y)
    zeros = [k for k in expected if np.abs(expected[k]).max() < 1e-9]  # a bias that softmax does not see
    for name_ in zeros:
        assert np.abs(result.diagonal.pop(name_)).max() < 1e-12
        expected.pop(name_)
    assert_close(result.diagonal, expected, 1e-7)


# Loops and attention take a minute of tracing.
@pytest.mark.parametrize(
    "name", ["convolutions", *slow(["twice", "attention", "recurrent", "normed", "embedding", "einsum"])]
)
def test_products_give_symmetric_blocks_with_the_same_diagonal(
    name: str, built: Built, compute: Callable[..., tuple[int, Path]]
) -> None:
    """Hessian–vector products, made in two parts, against the dense diagonal; to 1e-9."""
    path, x, y, diagonal = built(name)
    blocks = {}
    for matrix in ("hessian", "gauss_newton"):
        chosen = ("--layer", "first", "--layer", "norm") if name == "convolutions" else ()
        code, report = compute("hessian", path, {"x": x}, y, LOGITS, "--matrix", matrix, *chosen)
        assert code == 0
        blocks[matrix] = read_report(report)
    scale = max(np.abs(d).max() for d in diagonal.values())
    for row in blocks["hessian"].layers:
        labels = [p.label for p in row.parameters]
        expected = np.concatenate([diagonal[f"{row.name}/{label}"].ravel() for label in labels])
        found, psd = (blocks[m].record(row.name, BlockRecord) for m in ("hessian", "gauss_newton"))
        assert found is not None
        assert psd is not None
        assert np.abs(np.diag(found.entries) - expected).max() <= 1e-9 * scale
        assert found.asymmetry <= 1e-9
        assert psd.eigenvalues.min() >= -1e-12 * scale
        if name == "convolutions":  # piecewise linear after every layer
            assert np.abs(found.entries - psd.entries).max() <= 1e-9 * scale


@pytest.mark.parametrize("size", ["16", *slow(["1"])])
def test_the_split_of_the_data_and_the_reduction(size: str, built: Built, diag: Diag) -> None:
    """Batches of any size give the same as one of all, and the sum is N times the mean."""
    path, x, y, expected = built("twice" if size == "16" else "convolutions")
    total = diag(path, {"x": x}, y, LOGITS + '\nreduction = "sum"', "--batch-size", size).diagonal
    assert_close(total, {k: SAMPLES * v for k, v in expected.items()}, 1e-12)


# Without a method, all of these go by gauss_newton in the test above.
@pytest.mark.parametrize("method", ["output_hessian_shared", *slow(["coordinate", "gauss_newton"])])
def test_every_method_gives_the_same_where_it_applies(method: str, built: Built, diag: Diag) -> None:
    """Forced methods agree with the dense Hessian on convolutions."""
    path, x, y, expected = built("convolutions")
    options = ("--layer", "first", "--layer", "second", "--layer", "norm", "--layer", "depth", "--method", method)
    result = diag(path, {"x": x}, y, LOGITS, *options)
    assert len(result.diagonal) == 7
    assert_close(result.diagonal, {k: v for k, v in expected.items() if k in result.diagonal}, 1e-9)


def test_a_module_with_its_own_scalar_and_an_unused_weight(tf: Any, diag: Diag, tmp_path: Path) -> None:
    """tf.Module, loss `output`: Π(f² − 3f + 1) at (1, 2, 0) gives (−2, −2, 2), not the row sums (−6, 0, 2)."""

    class Product(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = tf.Variable([1.0, 2.0, 0.0], name="f")
            self.unused = tf.Variable([1.0], name="unused")

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def __call__(self, x: Any) -> Any:
            return (
                tf.reduce_prod(self.f**2 - 3 * self.f + 1) + 0 * tf.reduce_sum(x) + 0 * tf.stop_gradient(self.unused[0])
            )

    module = Product()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.__call__)
    result = diag(tmp_path / "m", {"x": np.ones((1, 1))}, None, 'name = "output"')
    np.testing.assert_allclose(result.diagonal["f/f"], [-2, -2, 2], rtol=1e-12)
    assert not result.diagonal["unused/unused"].any()


@pytest.fixture(autouse=True)
def _forget(tf: Any) -> Iterator[None]:
    yield
    import keras

    keras.backend.clear_session()
