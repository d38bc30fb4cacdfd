"""Networks of TensorFlow saved in its formats, and as the eager reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from curvcli.models.tensorflow.runtime import tensorflow

from .case import KERAS, Architecture, Arrays
from .tensorflow_graphs import Graph, initial

tf = tensorflow()
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "classes": lambda o, y: tf.nn.sparse_softmax_cross_entropy_with_logits(y, o),
    "probabilities": lambda o, y: -tf.math.log(tf.gather(o, y, axis=1, batch_dims=1)),
    "squares": lambda o, y: tf.square(o - y),
    "bits": lambda o, y: tf.nn.sigmoid_cross_entropy_with_logits(y, o),
}


@contextmanager
def policy(dtype: str) -> Any:
    """Keras's default precision."""
    import keras

    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def keras_model(architecture: Architecture, dtype: str) -> Any:
    """With weights of a generator, in float32 whatever the precision."""
    import keras

    keras.backend.clear_session()
    with policy(dtype):
        model = architecture.build()
    rng = np.random.default_rng(5)
    # What `adapt` learned is read when a file is loaded, not when it is assigned.
    adapted = {id(w) for one in model.layers if isinstance(one, keras.layers.Normalization) for w in one.weights}
    for weight in model.weights:
        # Small enough that no softmax is sure of its class: the curvature of such is rounding alone.
        if id(weight) in adapted:
            continue
        positive = any(part in weight.path for part in ("variance", "gamma", "scale"))
        spread = 0.3 if weight.shape.rank < 2 else min(0.6, 1 / np.sqrt(np.prod(weight.shape[:-1])))
        value = rng.uniform(0.5, 1.5, weight.shape) if positive else rng.standard_normal(weight.shape) * spread
        weight.assign(value.astype(np.float32).astype(dtype))
    return model


def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: Any = None) -> Any:
    """TensorFlow's own stops the gradient of the mean inside the variance, so its second derivative is wrong."""
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), axes, keepdims=keepdims)
    return mean if keepdims else tf.squeeze(mean, axes), variance


RESIZE = tf.image.resize


def resized(images: Any, size: tuple[int, int], method: str = "bilinear", **options: Any) -> Any:
    """A product with the matrix of either side: TensorFlow's own loses its second derivative without a word."""

    def matrix(before: int, after: int) -> Any:
        unit = tf.reshape(tf.eye(before), (before, before, 1, 1))
        return tf.cast(tf.reshape(RESIZE(unit, (after, 1), method, **options), (before, after)), images.dtype)

    _, height, width, _ = images.shape
    return tf.einsum("nhwc,ha,wb->nabc", images, matrix(height, size[0]), matrix(width, size[1]))


class Saved:
    """An architecture's network, saved, and differentiated by tapes in float64."""

    def __init__(self, architecture: Architecture, folder: Path) -> None:
        self.architecture, self.folder = architecture, folder
        self.reference = TapeReference(architecture)
        self.count = len(self.reference.keys)

    def path(self, format_: str) -> Path:
        """Write the file or folder of a format."""
        if isinstance(graph := self.architecture.build() if self.architecture.family != "Keras" else None, Graph):
            path = self.folder / "model"
            (saved_module if graph.kind == "module" else saved_of_version_1)(graph, self._shape(), path)
            return path
        model = keras_model(self.architecture, "float32")
        if format_ == KERAS:
            model.save(self.folder / "model.keras")
            return self.folder / "model.keras"
        model.export(str(self.folder / "model"), verbose=False)
        return self.folder / "model"

    def _shape(self) -> tuple[int | None, ...]:
        return (None, *self.architecture.data()[0]["image"].shape[1:])


def saved_of_version_1(graph: Graph, shape: tuple[int | None, ...], path: Path) -> None:
    """By a session and a builder, as TensorFlow 1 did."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, shape, name="image")

        def variable(name: str, size: tuple[int, ...]) -> Any:
            value = v1.constant_initializer(initial(name, size))
            return v1.get_variable(name, size, initializer=value, use_resource=graph.kind == "resource")

        with v1.variable_scope("net"):
            output = graph.network(tf, x, variable)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), {"image": x}, {"scores": output})


def saved_module(graph: Graph, shape: tuple[int | None, ...], path: Path) -> None:
    """A module with its variables in a dict."""
    module = tf.Module()
    module.held = {}

    def variable(name: str, size: tuple[int, ...]) -> Any:
        if name not in module.held:
            module.held[name] = tf.Variable(initial(name, size), name=name)
        return module.held[name]

    graph.network(tf, tf.zeros([1, *shape[1:]]), variable)
    serve = tf.function(
        lambda image: {"scores": graph.network(tf, image, variable)},
        input_signature=[tf.TensorSpec(shape, tf.float32, name="image")],
    )
    module.serve = serve
    tf.saved_model.save(module, str(path), signatures=serve)


def key(path: str) -> str:
    owner, _, label = path.rpartition("/")
    return f"{owner}/{label}"


class TapeReference:
    """A tape around a tape, in eager mode and float64, all samples at once."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        arrays, target = architecture.data()
        x = tf.constant(arrays["image"])
        if architecture.family == "Keras":
            model = keras_model(architecture, "float64")
            held = {v.path: v.value for v in model.trainable_variables}
            self.keys = {path: {key(path), key(path.partition("/")[2])} for path in held}

            def forward() -> Any:
                return model(x, training=False)
        else:
            graph: Graph = architecture.build()
            held = {}

            def variable(name: str, size: tuple[int, ...]) -> Any:
                if name not in held:
                    held[name] = tf.Variable(initial(name, size).astype(np.float64))
                return held[name]

            def forward() -> Any:
                return graph.network(tf, x, variable)

            forward()
            self.keys = {name: {key(name), key(f"net/{name}")} for name in held}
        self._variables = held
        with (
            mock.patch.object(tf.nn, "moments", moments),
            mock.patch.object(tf.image, "resize", resized),
            tf.GradientTape(persistent=True) as self._outer,
        ):
            with tf.GradientTape() as inner:
                loss = tf.reduce_mean(LOSSES[architecture.loss](forward(), tf.constant(target)))
            slopes = inner.gradient(loss, list(held.values()), unconnected_gradients="zero")
            self._slopes = {
                name: tf.reshape(tf.convert_to_tensor(slope), [-1]) for name, slope in zip(held, slopes, strict=True)
            }
        self.gradient: Arrays = {n: s.numpy().reshape(held[n].shape) for n, s in self._slopes.items()}

    def diagonal(self, name: str, entries: Sequence[int]) -> np.ndarray:
        """By one backward pass of the gradient per entry."""
        slope, values = self._slopes[name], np.zeros(len(entries))
        for k, i in enumerate(entries):
            chosen = tf.one_hot(i, slope.shape[0], dtype=tf.float64)
            row = self._outer.gradient(slope, self._variables[name], output_gradients=chosen)
            if row is not None:
                values[k] = tf.convert_to_tensor(row).numpy().reshape(-1)[i]
        return values
