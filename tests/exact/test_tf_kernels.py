"""Operations that TensorFlow lacks on a CPU, in float64 or in derivatives, against the same written in others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import slow

from .conftest import SAMPLES, Outcome, assert_close
from .tf_modules import Gradient, Network, by_differences, float32_values, save

ONE_BATCH = True
Diag = Callable[..., Outcome]
RNG = np.random.default_rng(15)
VOLUMES = float32_values(RNG, SAMPLES, 3, 4, 3, 4)
SIGNALS = float32_values(RNG, SAMPLES, 8)
MSE = 'name = "mse"'


def bare(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.split("/")[-1]: value for name, value in arrays.items()}


def flat(tf: Any, z: Any) -> Any:
    """What mixes the entries of each sample, to three numbers."""
    values = np.random.default_rng(0).standard_normal((int(np.prod(z.shape[1:])), 3)).astype(np.float32)
    return tf.tanh(0.5 * tf.matmul(tf.reshape(z, [-1, len(values)]), tf.cast(values, z.dtype)))


def grouped(tf: Any, w: Any, given: Any) -> Any:
    """A convolution of two groups, with strides."""
    x, strides = given["x"], [1, 1, 2, 1, 1]
    if x.dtype == tf.float32:
        return flat(tf, tf.raw_ops.Conv3D(input=x, filter=w["w"], strides=strides, padding="SAME"))
    pairs = zip(tf.split(x, 2, 4), tf.split(w["w"], 2, 4), strict=True)
    return flat(tf, tf.concat([tf.nn.conv3d(a, b, strides, "SAME") for a, b in pairs], 4))


def spread(tf: Any, w: Any, *rates: int) -> Any:
    """A kernel with zeros between its entries."""
    for axis, rate in enumerate(rates):
        matrix = np.zeros(((w.shape[axis] - 1) * rate + 1, w.shape[axis]))
        matrix[np.arange(w.shape[axis]) * rate, np.arange(w.shape[axis])] = 1
        w = tf.experimental.numpy.moveaxis(tf.tensordot(matrix, w, ([1], [axis])), 0, axis)
    return w


def dilated(tf: Any, w: Any, given: Any) -> Any:
    x = given["x"]
    if x.dtype == tf.float32:
        return flat(tf, tf.nn.conv3d(x, w["w"], [1] * 5, "VALID", dilations=[1, 2, 2, 2, 1]))
    return flat(tf, tf.nn.conv3d(x, spread(tf, w["w"], 2, 2, 2), [1] * 5, "VALID"))


def dilated_plane(tf: Any, w: Any, given: Any) -> Any:
    x = given["x"][:, 0]
    if x.dtype == tf.float32:
        return flat(tf, tf.nn.conv2d(x, w["w"], 1, "SAME", dilations=[2, 1]))
    return flat(tf, tf.nn.conv2d(x, spread(tf, w["w"], 2, 1), 1, "SAME"))


def transposed(tf: Any, w: Any, given: Any) -> Any:
    x = given["x"][:, 0]
    size = [tf.shape(x)[0], 6, 5, 2]
    if x.dtype == tf.float32:
        return flat(
            tf, tf.reshape(tf.nn.conv2d_transpose(x, w["w"], size, 1, "VALID", dilations=[2, 1]), [-1, 6, 5, 2])
        )
    return flat(tf, tf.reshape(tf.nn.conv2d_transpose(x, spread(tf, w["w"], 2, 1), size, 1, "VALID"), [-1, 6, 5, 2]))


def windows(tf: Any, x: Any, kind: Callable[..., Any]) -> Any:
    """Pooling with windows (2, 3, 2), strides (1, 2, 2) and as much padding as the output needs, window by window."""
    rows = []
    for axis, size, stride in ((1, 2, 1), (2, 3, 2), (3, 2, 2)):
        length = x.shape[axis]
        steps = -(-length // stride)
        before = max((steps - 1) * stride + size - length, 0) // 2
        rows.append([range(max(i * stride - before, 0), min(i * stride - before + size, length)) for i in range(steps)])
    found = [
        kind(tf.gather(tf.gather(tf.gather(x, list(a), axis=1), list(b), axis=2), list(c), axis=3), axis=(1, 2, 3))
        for a in rows[0]
        for b in rows[1]
        for c in rows[2]
    ]
    return tf.reshape(tf.stack(found, 1), [-1, *(len(r) for r in rows), x.shape[4]])


def pooled(name: str, reduce: str) -> Network:
    def call(tf: Any, w: Any, given: Any) -> Any:
        x = tf.tanh(given["x"] * w["w"])
        if x.dtype == tf.float32:
            return flat(tf, getattr(tf.nn, name)(x, (2, 3, 2), (1, 2, 2), "SAME"))
        return flat(tf, windows(tf, x, getattr(tf, reduce)))

    return call


def padded_maxima(explicit: bool) -> Network:
    """Of two by three pixels, with a stride of one and padding: there TensorFlow's second derivative is wrong."""

    def call(tf: Any, w: Any, given: Any) -> Any:
        x = tf.tanh(given["x"][:, 0] * w["w"])
        pads = [[0, 0], [1, 0], [2, 1], [0, 0]] if explicit else [[0, 0], [0, 1], [1, 1], [0, 0]]
        if x.dtype == tf.float32:
            return flat(tf, tf.nn.max_pool2d(x, (2, 3), 1, pads if explicit else "SAME"))
        wide = tf.pad(x, pads, constant_values=-9.0)
        high, width = wide.shape[1] - 1, wide.shape[2] - 2
        shifted = [wide[:, i : i + high, j : j + width] for i in range(2) for j in range(3)]
        return flat(tf, tf.reduce_max(tf.stack(shifted), 0))

    return call


def spectrum(tf: Any, w: Any, given: Any) -> Any:
    """Complex numbers all the way, back to real ones in every manner there is."""
    x = given["s"] * w["w"]
    kind = tf.complex128 if x.dtype == tf.float64 else tf.complex64
    half, whole = tf.signal.rfft(x), tf.signal.fft(tf.cast(x, kind) * tf.constant(1 + 2j, kind))
    shifted = half + tf.constant(9 + 2j, kind)
    parts = [
        tf.abs(shifted),
        tf.math.angle(shifted),
        tf.math.real(half * half) - tf.math.imag(half),
        tf.signal.irfft(half * tf.math.conj(shifted)),
        tf.math.real(tf.signal.ifft(whole * tf.cast(tf.complex(x, 2 * x), kind))),
    ]
    return flat(tf, tf.concat(parts, 1) / 8)


def values_of_one_hot(tf: Any, w: Any, given: Any) -> Any:
    """Weights as the values of a one-hot coding, and as the ends of even spacings."""
    x = given["s"]
    a, b = w["w"][0], w["w"][1]
    if x.dtype == tf.float64:  # TensorFlow's own derivatives of the three are zero
        here = tf.cast(tf.range(4)[None] == tf.cast(x[:, :1] > 0, tf.int32), x.dtype)
        places = tf.range(4, dtype=x.dtype)
        coded, spaced = here * a * a + (1 - here) * b, a + (b * b - a) * places / 3
        return flat(tf, coded * spaced + tf.tanh((a + places * b * b) * x[:, :4]))
    coded = tf.one_hot(tf.cast(x[:, 0] > 0, tf.int32), 4, on_value=a * a, off_value=b)
    spaced = tf.raw_ops.LinSpace(start=a, stop=b * b, num=4)
    counted = tf.range(a, a + 3.5 * tf.square(b), tf.square(b))[:4]
    return flat(tf, coded * spaced + tf.tanh(counted * x[:, :4]))


CASES: dict[str, tuple[Network, tuple[int, ...], str]] = {
    "grouped volumes": (grouped, (2, 2, 1, 2, 4), "x"),
    "dilated volumes": (dilated, (2, 2, 2, 4, 1), "x"),
    "dilated images": (dilated_plane, (2, 2, 3, 2), "x"),
    "transposed and dilated": (transposed, (2, 3, 2, 4), "x"),
    "means of volumes": (pooled("avg_pool3d", "reduce_mean"), (4,), "x"),
    "maxima of volumes": (pooled("max_pool3d", "reduce_max"), (4,), "x"),
    "maxima with padding": (padded_maxima(False), (4,), "x"),
    "maxima with explicit padding": (padded_maxima(True), (4,), "x"),
    "complex": (spectrum, (8,), "s"),
    "one-hot values": (values_of_one_hot, (2,), "s"),
}


WARNED = "grouped volumes"
TOLERANCES = {"float64": 1e-7, "float32": 1e-3}


# What is written out for float64 is for float32 as well, but for what is warned of.
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float64") for name in CASES),
        (WARNED, "float32"),
        *slow([name for name in CASES if name != WARNED], ["float32"]),
    ],
)
def test_what_a_cpu_lacks_is_written_out(
    name: str, dtype: str, diag: Diag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In float64 the gradient and diagonal are the differences'; in float32 the same to its rounding."""
    network, shape, key = CASES[name]
    given = VOLUMES[:, :, :, :, :3] if network is dilated_plane else VOLUMES
    inputs = {"x": given} if key == "x" else {"s": SIGNALS}
    weights = {"w": float32_values(np.random.default_rng(1), *shape, scale=0.5) + (name == "one-hot values")}
    weights = {"w": weights["w"].astype(np.float32).astype(np.float64)}
    y = RNG.standard_normal((SAMPLES, 3)).astype(np.float32)
    save(network, weights, inputs, tmp_path / "m")
    gradient = Gradient(network, inputs, lambda tf, o: tf.reduce_mean(tf.square(o - tf.cast(y, o.dtype))))
    slope, diagonal = gradient(weights), by_differences(gradient, weights, 1e-4)
    found = diag(tmp_path / "m", inputs, y, MSE, "--dtype", dtype)
    assert found.code == 0
    assert ("does not run here as it was saved" in capsys.readouterr().err) == (name == WARNED)
    assert_close(bare(found.gradient), slope, TOLERANCES[dtype])
    assert_close(bare(found.diagonal), diagonal, TOLERANCES[dtype])


def test_an_operation_that_is_declared_to_have_no_derivative_is_refused(
    diag: Diag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where TensorFlow would pass on zeros though the operation has a derivative, it is named."""

    def call(tf: Any, w: Any, given: Any) -> Any:
        pixels = tf.sigmoid(tf.reshape(given["s"][:, :6], [-1, 2, 1, 3]) * w["w"])
        return tf.reshape(tf.image.hsv_to_rgb(pixels), [-1, 6])

    save(call, {"w": float32_values(RNG, 3)}, {"s": SIGNALS}, tmp_path / "m")
    y = RNG.standard_normal((SAMPLES, 6))
    assert diag(tmp_path / "m", {"s": SIGNALS}, y, MSE).code == 3
    assert "has no derivative" in capfd.readouterr().err
