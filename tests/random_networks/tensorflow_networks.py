"""Seeded random SavedModels, each with data, a loss, and the gradient of the same network in float64.

The reference is Keras under its float64 policy: its gradient by one tape, its second derivatives by differences of
that gradient. Second derivatives by tapes are of no use here: Keras' layer norms stop a gradient that they need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.models.tensorflow.runtime import tensorflow

from . import tensorflow_parts as parts

Arrays = dict[str, np.ndarray]
SAMPLES, BATCH = 11, 4  # a short last batch
SHAPES: dict[str, tuple[int, ...]] = {
    "vector": (4,),
    "sequence": (4, 2),
    "image": (4, 4, 2),
    "volume": (3, 3, 3, 2),
    "tokens": (4,),
    "two": (3,),
}


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        kind: of its input.
        spec: the dataset spec's loss table.
        inputs: by name.
        target: None for the loss ``output``.
        weights: by ``layer/label``, as the report has them.
        gradient: of the whole loss, float64, at such weights.
        save: writes the SavedModel.
    """

    kind: str
    spec: str
    inputs: Arrays
    target: np.ndarray | None
    weights: Arrays
    gradient: Callable[[Arrays], Arrays]
    save: Callable[[Path], None]


def network(seed: int) -> Case:
    """The network of this seed."""
    rng = np.random.default_rng([7, seed])
    kind = list(SHAPES)[seed % len(SHAPES)]
    loss = _Loss.draw(rng)
    inputs = {"x": _values(rng, kind)} | ({"extra": _values(rng, kind)} if kind == "two" else {})
    built = {}
    state = rng.bit_generator.state
    for dtype in ("float32", "float64"):
        again = np.random.default_rng()
        again.bit_generator.state = state
        built[dtype] = _build(again, kind, loss, dtype)
    narrow, exact = built["float32"], built["float64"]
    _fill(rng, narrow, exact)
    target = loss.target(rng, tuple(narrow.outputs[0].shape[1:]))
    trainable = exact.trainable_variables
    names = [_name(v) for v in narrow.trainable_variables]

    tf = tensorflow()
    given = {n: tf.constant(v if v.dtype.kind == "i" else v.astype(np.float64)) for n, v in inputs.items()}

    @tf.function
    def slopes() -> Any:
        with tf.GradientTape() as tape:
            value = loss.value(exact(given, training=False), target)
        found = tape.gradient(value, [v.value for v in trainable])
        return [tf.zeros_like(v.value) if g is None else tf.convert_to_tensor(g) for g, v in zip(found, trainable)]  # noqa: B905

    def gradient(weights: Arrays) -> Arrays:
        for name, variable in zip(names, trainable, strict=True):
            variable.assign(weights[name])
        found = {name: g.numpy() for name, g in zip(names, slopes(), strict=True)}
        return {name: g + loss.decay * weights[name] for name, g in found.items()}

    weights = {name: v.numpy().astype(np.float64) for name, v in zip(names, trainable, strict=True)}
    return Case(
        kind, loss.spec, inputs, target, weights, gradient, lambda path: narrow.export(str(path), verbose=False)
    )


def diagonal(case: Case) -> Arrays:
    """By central differences of the gradient, of fourth order, with two steps.

    Where the two differ by more than rounding, a kink (of the function, as in relu, or of its slope, as in softsign and
    elu) lies within the longer one, and the shorter one is right.
    """
    found = {}
    rounding = 1e-9 * max(np.abs(value).max(initial=0) for value in case.gradient(case.weights).values())
    for name, value in case.weights.items():
        entries = np.zeros(value.size)
        for i in range(value.size):
            long, short = (_difference(case, name, i, step) for step in (4e-4, 2e-6))
            entries[i] = long if abs(long - short) <= rounding + 1e-8 * abs(long) else short
        found[name] = entries.reshape(value.shape)
    return found


def _difference(case: Case, name: str, entry: int, step: float) -> float:
    slopes = []
    for k in (-2, -1, 1, 2):
        moved = case.weights[name].reshape(-1).copy()
        moved[entry] += k * step
        here = case.gradient({**case.weights, name: moved.reshape(case.weights[name].shape)})
        slopes.append(here[name].reshape(-1)[entry])
    return float((slopes[0] - 8 * slopes[1] + 8 * slopes[2] - slopes[3]) / (12 * step))


# -- losses -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loss:
    name: str
    mean: bool
    decay: float
    normalised: bool
    class_weights: tuple[float, ...] | None
    ignored: int | None
    classes: int

    @staticmethod
    def draw(rng: np.random.Generator) -> _Loss:
        name = str(rng.choice(["cross_entropy", "cross_entropy", "mse", "bce", "output"]))
        weighted = name == "cross_entropy" and rng.random() < 0.3
        return _Loss(
            name,
            mean=bool(rng.random() < 0.7),
            decay=float(rng.choice([0.0, 0.0, 0.25])),
            normalised=bool(rng.random() < 0.3) and name in ("cross_entropy", "bce"),
            class_weights=(0.5, 2.0, 1.25) if weighted else None,
            ignored=1 if name == "cross_entropy" and rng.random() < 0.3 else None,
            classes=1 if name == "output" else 3,
        )

    @property
    def spec(self) -> str:
        lines = [f'name = "{self.name}"', f'reduction = "{"mean" if self.mean else "sum"}"']
        if self.name in ("cross_entropy", "bce"):
            lines.append(f"from_logits = {'false' if self.normalised else 'true'}")
        if self.decay:
            lines.append(f"weight_decay = {self.decay}")
        if self.class_weights is not None:
            lines.append(f"class_weights = {list(self.class_weights)}")
        if self.ignored is not None:
            lines.append(f"ignore_index = {self.ignored}")
        return "\n".join(lines)

    def target(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray | None:
        if self.name == "output":
            return None
        if self.name == "mse":
            return rng.standard_normal((SAMPLES, *shape)).astype(np.float32).astype(np.float64)
        if self.name == "bce":
            return rng.integers(0, 2, (SAMPLES, *shape)).astype(np.float64)
        return rng.integers(0, 3, SAMPLES)

    def value(self, o: Any, target: np.ndarray | None) -> Any:
        """The loss of the whole data, without weight decay."""
        tf = tensorflow()
        if self.name == "cross_entropy":
            weight = np.ones(3) if self.class_weights is None else np.array(self.class_weights)
            used = weight[target] * (target != self.ignored)
            logarithms = tf.math.log(o) if self.normalised else tf.nn.log_softmax(o)
            total = -tf.reduce_sum(used * tf.gather(logarithms, target, axis=1, batch_dims=1))
            return total / used.sum() if self.mean else total
        if self.name == "mse":
            each = tf.reduce_mean(tf.square(o - target), axis=1)
        elif self.name == "bce":
            p = o if self.normalised else tf.sigmoid(o)
            each = -tf.reduce_mean(target * tf.math.log(p) + (1 - target) * tf.math.log(1 - p), axis=1)
        else:
            each = tf.reshape(o, [-1])
        return tf.reduce_mean(each) if self.mean else tf.reduce_sum(each)


# -- networks ---------------------------------------------------------------------------------------------------------


def _values(rng: np.random.Generator, kind: str) -> np.ndarray:
    if kind == "tokens":
        return rng.integers(0, 5, (SAMPLES, *SHAPES[kind])).astype(np.int32)
    return rng.standard_normal((SAMPLES, *SHAPES[kind])).astype(np.float32)


def _build(rng: np.random.Generator, kind: str, loss: _Loss, dtype: str) -> Any:
    import keras
    from keras import layers as K

    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    keras.backend.clear_session()
    try:
        x = keras.Input(SHAPES[kind], name="x", dtype="int32" if kind == "tokens" else dtype)
        inputs, h = {"x": x}, x
        if kind == "tokens":
            h = K.Embedding(5, 2, mask_zero=bool(rng.random() < 0.3))(x)
        elif kind == "two":
            inputs["extra"] = extra = keras.Input(SHAPES[kind], name="extra", dtype=dtype)
            h = K.Concatenate()([K.Dense(2, activation=parts.activation(rng))(x), extra])
        for _ in range(parts.whole(rng, 1, 3)):
            space = {3: parts.IN_TIME, 4: parts.IN_SPACE, 5: parts.IN_SPACE}.get(len(h.shape), [])
            pool = [*parts.EVERYWHERE, *space, *space]
            h = pool[parts.whole(rng, 0, len(pool) - 1)](rng, h)
        if len(h.shape) > 2:
            h = (
                K.Flatten()(h)
                if np.prod(h.shape[1:]) <= 12
                else getattr(K, f"GlobalAveragePooling{len(h.shape) - 2}D")()(h)
            )
        end = {"cross_entropy": "softmax", "bce": "sigmoid"}.get(loss.name) if loss.normalised else None
        return keras.Model(inputs, K.Dense(loss.classes, activation=end, name="head")(h))
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def _fill(rng: np.random.Generator, narrow: Any, exact: Any) -> None:
    """The same random weights for both, which float32 holds."""
    for slow, fast in zip(exact.weights, narrow.weights, strict=True):
        if "seed" in fast.name:
            continue
        positive = "variance" in fast.name or "gamma" in fast.name
        value = rng.uniform(0.5, 1.5, fast.shape) if positive else rng.standard_normal(fast.shape) * 0.6
        value = value.astype(np.float32)
        fast.assign(value)
        slow.assign(value.astype(np.float64))


def _name(variable: Any) -> str:
    owner, _, label = str(variable.path).rpartition("/")
    return f"{owner}/{label}"
