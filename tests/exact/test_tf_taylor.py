"""Taylor coefficients through TensorFlow's operations: against nested gradients, products, and the other framework."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sessions import session_of

from curvcli.models.pointwise import NoSeriesError, SampleFunction
from curvcli.models.taylor.order import Order
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.taylor import rules
from curvcli.models.tensorflow.taylor.forward import TracedGraph
from curvcli.report.hdf5.read import read_report

from .conftest import ROOT, SAMPLES, Arrays
from .test_taylor import differences

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(41)
Compute = Callable[..., tuple[int, Path]]
ORDER = 3
POINTS = RNG.uniform(0.1, 0.8, (2, 12))
WEIGHTS, KERNEL = RNG.standard_normal((12, 4)), RNG.standard_normal((2, 2, 3, 3))

# (x, h = sin x by 2 × 2 × 3 images), (2, 12) and (2, 2, 2, 3) → anything of two samples
OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "AddN": lambda tf, x, h: tf.add_n([x, 2 * tf.sin(x), x * x]),
    "AvgPool": lambda tf, x, h: tf.nn.avg_pool2d(h, 2, 1, "SAME"),
    "BatchMatMulV2": lambda tf, x, h: tf.matmul(h, h, transpose_b=True),
    "BiasAdd": lambda tf, x, h: tf.nn.bias_add(h, tf.constant([1.0, 2, 3], h.dtype)) ** 2,
    "BroadcastTo": lambda tf, x, h: tf.broadcast_to(x[:, None], [2, 3, 12]) * x[:, None],
    "ConcatV2": lambda tf, x, h: tf.concat([x, tf.ones_like(x), x * x], 1),
    "Conv2D": lambda tf, x, h: tf.nn.conv2d(h, KERNEL, 1, "SAME"),
    "Cumsum": lambda tf, x, h: tf.cumsum(h, 2, exclusive=True),
    "DepthwiseConv2dNative": lambda tf, x, h: tf.nn.depthwise_conv2d(h, KERNEL, [1, 1, 1, 1], "SAME"),
    "Einsum": lambda tf, x, h: tf.einsum("nabc,nacd->nbd", h, tf.transpose(h, [0, 1, 3, 2])),
    "ExpandDims": lambda tf, x, h: tf.expand_dims(h, 2) * h[:, :, None],
    "GatherV2": lambda tf, x, h: tf.gather(h, [1, 0, 1], axis=2),
    "LeakyRelu": lambda tf, x, h: tf.nn.leaky_relu(h - 0.5, 0.3),
    "LogSoftmax": lambda tf, x, h: tf.nn.log_softmax(3 * h),
    "MatMul": lambda tf, x, h: tf.tanh(tf.matmul(x, WEIGHTS)),
    "Max": lambda tf, x, h: tf.reduce_max(h * h, [1, 3]),
    "MaxPool": lambda tf, x, h: tf.nn.max_pool2d(h * h, 2, 1, "SAME"),
    "Maximum": lambda tf, x, h: tf.maximum(x * x, 0.3) + tf.minimum(tf.sin(x), x * x + 0.2),
    "Mean": lambda tf, x, h: tf.reduce_mean(h, [1, 2], keepdims=True) * h,
    "MirrorPad": lambda tf, x, h: tf.pad(h, [[0, 0], [1, 0], [0, 1], [0, 0]], "REFLECT"),
    "Pack": lambda tf, x, h: tf.stack([h, h * h, tf.ones_like(h)], 1),
    "PadV2": lambda tf, x, h: tf.pad(h, [[0, 0], [1, 0], [0, 2], [0, 0]], constant_values=2.0) ** 2,
    "Pow": lambda tf, x, h: x**3 + x**-0.5 + x**1.0,
    "RealDiv": lambda tf, x, h: h / (1 + x[:, :3] ** 2)[:, None, None],
    "Select": lambda tf, x, h: tf.where(h > 0.4, h * h, 2 * h),
    "Slice": lambda tf, x, h: tf.slice(x, [0, 3], [2, 5]) * x[:, ::3][:, :1],
    "Softmax": lambda tf, x, h: tf.nn.softmax(3 * h),
    "Split": lambda tf, x, h: tf.split(x, 3, 1)[1] * tf.split(x, [5, 4, 3], 1)[1],
    "SquaredDifference": lambda tf, x, h: tf.math.squared_difference(h, tf.reduce_mean(h, 3, keepdims=True)),
    "StopGradient": lambda tf, x, h: tf.stop_gradient(h * h) * h,
    "Tile": lambda tf, x, h: tf.tile(h, [1, 2, 1, 1]),
    "Unpack": lambda tf, x, h: tf.unstack(h, axis=2)[1],
    **{
        name: (lambda tf, x, h, name=name: getattr(tf.math, name)(x))
        for name in "acos asin atan atanh cos cosh erf erfc exp expm1 log log1p reciprocal rsqrt sigmoid sin sinh "
        "softplus sqrt square tan tanh".split()
    },
    **{
        name: (lambda tf, x, h, name=name: getattr(tf.nn, name)(x * x - 0.2))
        for name in ("elu", "relu", "relu6", "selu")
    },
}


def shifted_maximum(tf: Any, x: Any, h: Any) -> Any:
    """The same as ``MaxPool`` of positive numbers; the op's own second gradient is wrong where windows overlap."""
    del x
    padded = tf.pad(h * h, [[0, 0], [0, 1], [0, 1], [0, 0]])
    return tf.reduce_max(tf.stack([padded[:, i : i + 2, j : j + 2] for i in (0, 1) for j in (0, 1)]), axis=0)


def value(tf: Any, x: Any, operation: Callable[..., Any]) -> Any:
    """A number per sample of what an operation returns."""
    made = operation(tf, x, tf.reshape(tf.sin(x), [2, 2, 2, 3]))
    return tf.reduce_sum(tf.reshape(tf.sin(made + 0.1), [2, -1]), axis=1)


# What is differentiated by TensorFlow instead, where its gradient of an operation's gradient is another function's.
INSTEAD = {"MaxPool": shifted_maximum}


@pytest.mark.slow
def test_operations() -> None:
    """Each along every coordinate, the last coefficient summed and carried, equal to gradients of gradients."""
    tf = tensorflow()

    @tf.function(autograph=False)
    def compared(x: Any) -> dict[str, Any]:
        found = {}
        units = tf.tile(tf.reshape(tf.eye(12, dtype=x.dtype), [12, 1, 12]), [1, 2, 1])
        for name, operation in OPERATIONS.items():
            f, column = (value(tf, x, of) for of in (operation, INSTEAD.get(name, operation)))
            graph = TracedGraph([x], f, tf.ones_like(f))
            orders = [Order(0, 2, behind=one.shape[0] // 2) for one in graph.bent]
            nested = []
            for _ in range(ORDER):
                (slope,) = tf.gradients(column, x)
                column = tf.zeros([2], x.dtype) if slope is None else slope[:, 4]
                nested.append(column)
            ways = (graph.derivatives([units], ORDER, 2, orders), graph.derivatives([units], ORDER, 2, None))
            found[name] = (*ways, tf.stack(nested, axis=1))
        return found

    for name, (collapsed, carried, nested) in compared(tf.constant(POINTS)).items():
        scale = max(1.0, float(np.abs(nested).max()))
        assert np.abs(collapsed - carried).max() <= 1e-12 * max(1.0, float(np.abs(carried).max())), name
        assert np.abs(collapsed[4] - nested).max() <= 1e-12 * scale, name


@pytest.mark.parametrize("name", ["poisson_tanh", pytest.param("mlp_tanh", marks=pytest.mark.slow)])
def test_sample_models(name: str) -> None:
    """The loss of one batch by all inputs: gradient, products, nested gradients."""
    objective = session_of(ROOT / "sample_models" / name, limit=3, batch_size=3).objective
    names = objective.differentiable_inputs()
    batch = next(iter(objective.input_batches(SampleFunction("loss"), names)))
    assert differences(batch, order=3) <= 1e-9


class Network:
    """Two inputs, seventeen numbers; log, tanh, a product of both; nothing is differentiated through one part."""

    @staticmethod
    def save(path: Path, *, loop: bool = False) -> None:
        tf = tensorflow()
        module = tf.Module()
        module.w = tf.Variable(RNG.standard_normal((16, 5)), dtype=tf.float32, name="w")

        def u(x: Any, t: Any) -> dict[str, Any]:
            h = tf.tanh(x @ module.w) * tf.math.log(2 + t * t)
            if loop:
                h = tf.while_loop(
                    lambda i, h: tf.reduce_sum(h * h) > 0.1 * i * i, lambda i, h: (i + 1, tf.sin(h)), [0.0, h]
                )[1]
            return {"u": tf.reduce_sum(h, 1) * tf.stop_gradient(tf.exp(t[:, 0]))}

        shapes = [tf.TensorSpec([None, n], tf.float32, name=name) for n, name in ((16, "x"), (1, "t"))]
        tf.saved_model.save(module, str(path), signatures=tf.function(u, input_signature=shapes))


def test_products_and_a_wrong_rule(compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command line; a rule that is wrong is found out by the trial."""
    Network.save(tmp_path / "model")
    data: Arrays = {"x": RNG.standard_normal((SAMPLES, 16)), "t": RNG.standard_normal((SAMPLES, 1))}
    of = ("inputs", tmp_path / "model", data, None, 'name = "output"', "--order", "3", "--limit", "16")
    records = []
    for options in ((), ("--method", "products")):
        code, report = compute(*of, *options)
        assert code == 0
        records.append(read_report(report).inputs_record("loss"))
    forward, products = records
    assert (forward.method, products.method) == ("taylor", "products")
    for one, other in ((forward.diagonal, products.diagonal), (forward.derivatives, products.derivatives)):
        for name, values in other.items():
            assert np.abs(one[name] - values).max() <= 1e-9 * np.abs(values).max()
    right = rules.COEFFICIENTS["tanh"]

    def wrong(ops: Any, x: Any, y: Any, order: int) -> list[Any]:
        first, *others = right(ops, x, y, order)
        return [first, *(one * (1 + 1e-8) for one in others)]

    monkeypatch.setattr(rules, "COEFFICIENTS", {**rules.COEFFICIENTS, "tanh": wrong})
    code, report = compute(*of)
    found = read_report(report).inputs_record("loss")
    assert (code, found.method) == (0, "products")
    assert "not by Taylor coefficients: they differ from a product" in found.reason


def test_loops_have_no_rule(tmp_path: Path) -> None:
    """What is computed in a loop whose rounds depend on the numbers is left to products."""
    Network.save(tmp_path / "model", loop=True)
    np.savez(tmp_path / "d.npz", x=RNG.standard_normal((2, 16)), t=np.ones((2, 1)))
    spec = 'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[loss]\nname = "output"\n'
    (tmp_path / "d.toml").write_text(spec + '[inputs.x]\ncolumn = "x"\n[inputs.t]\ncolumn = "t"\n')
    objective = session_of(tmp_path / "model", tmp_path / "d.toml").objective
    batch = next(iter(objective.input_batches(SampleFunction("loss"), ("x", "t"))))
    with pytest.raises(NoSeriesError, match="no rule for"):
        batch.series()
