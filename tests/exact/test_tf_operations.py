"""Every entry of the tables of TensorFlow operations, with arguments other than the defaults, against differences.

A network has one branch per use of an operation, with a weight of its own; its outputs side by side go into squared
error. So the blocks are independent, and one gradient with one entry of every weight moved serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sessions import session_of

from curvcli.models.base import Site
from curvcli.models.tensorflow.nodes import all_nodes
from curvcli.models.tensorflow.operations import DIVISIONS as DIVIDING
from curvcli.models.tensorflow.operations import MULTILINEAR as LINEAR_IN_EACH
from curvcli.models.tensorflow.operations import NOT_DIFFERENTIABLE, PIECEWISE_LINEAR
from curvcli.models.tensorflow.rules import RULES
from curvcli.models.tensorflow.runtime import tensorflow

from .conftest import SAMPLES, Arrays, Outcome, assert_close, write_spec
from .tf_modules import Gradient, by_common_differences, by_differences, float32_values, methods, save
from .tf_operation_cases import CONSTANT, DIVISIONS, MULTILINEAR, PIECEWISE, Branch, like
from .tf_rule_cases import RULE_CASES

ONE_BATCH = True
Diag = Callable[..., Outcome]
RNG = np.random.default_rng(8)
X = float32_values(RNG, SAMPLES, 5)
IMAGES = float32_values(RNG, SAMPLES, 5, 4, 4)
TOKENS = RNG.integers(0, 4, (SAMPLES, 3)).astype(np.int32)
MSE = 'name = "mse"'
# Their rule is that of another operation, which is tried every time.
SAME_RULE = {"BatchMatMul", "BatchMatMulV3", "Add", "Sub"}
FLOAT32_ONLY = {"ResizeBicubic"}


def groups(cases: dict[str, Any], size: int) -> list[list[str]]:
    names = sorted(cases)
    return [names[i : i + size] for i in range(0, len(names), size)]


def joined(tf: Any, parts: list[Any]) -> Any:
    return tf.concat([tf.reshape(part, [tf.shape(part)[0], -1]) for part in parts], axis=1)


def network(cases: dict[str, list[Branch]], names: list[str]) -> tuple[Any, Arrays]:
    """The network of these operations' branches, and its weights."""
    branches = {f"{name}_{i}": branch for name in names for i, branch in enumerate(cases[name])}
    weights = {name: float32_values(np.random.default_rng(i), 5, 12) for i, name in enumerate(branches)}

    def call(tf: Any, w: Any, inputs: Any) -> Any:
        x = inputs["x"]
        return joined(tf, [branch(tf, tf.matmul(x, w[name]), x) for name, branch in branches.items()])

    return call, weights


def target(call: Any, weights: Arrays, inputs: Arrays) -> np.ndarray:
    tf = tensorflow()
    shape = call(tf, {n: tf.constant(w) for n, w in weights.items()}, {n: tf.constant(v) for n, v in inputs.items()})
    return np.random.default_rng(0).standard_normal(tuple(shape.shape)).astype(np.float32)


def squared_error(y: np.ndarray) -> Callable[[Any, Any], Any]:
    return lambda tf, o: tf.reduce_mean(tf.square(o - tf.cast(y, o.dtype)))


def compared(call: Any, weights: Arrays, inputs: Arrays, diag: Diag, path: Path, *options: str) -> Outcome:
    """Gradient and diagonal of the saved network against differences; what curvcli said."""
    y = target(call, weights, inputs)
    if not (path / "saved_model.pb").exists():
        save(call, weights, inputs, path)
    found = diag(path, inputs, y, MSE, *options)
    assert found.code == 0
    gradient = Gradient(call, inputs, squared_error(y))
    assert_close(bare(found.gradient), gradient(weights), 1e-10)
    assert_close(bare(found.diagonal), by_common_differences(gradient, weights, 1e-6), 1e-7)
    return found


def bare(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.split("/")[-1]: value for name, value in arrays.items()}


def sites_of(model: Path, spec: Path, parameters: list[str]) -> dict[str, Site]:
    """How the parameters enter, as curvcli sees it."""
    opened = session_of(model, spec)
    return opened.objective.sites(parameters)


def operations(path: Path) -> set[str]:
    """Of all functions in a file."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    return {node.op for part in file.meta_graphs for node in all_nodes(part.graph_def)}


def test_every_entry_of_the_tables_has_a_case() -> None:
    """Nothing is listed that is not tried."""
    assert PIECEWISE.keys() | FLOAT32_ONLY == PIECEWISE_LINEAR
    assert MULTILINEAR.keys() == LINEAR_IN_EACH
    assert DIVISIONS.keys() == DIVIDING
    assert CONSTANT.keys() == NOT_DIFFERENTIABLE
    assert RULE_CASES.keys() == RULES.keys()


@pytest.mark.parametrize("names", groups(PIECEWISE, 13), ids=" ".join)
def test_piecewise_linear_operations_bend_nothing(names: list[str], diag: Diag, tmp_path: Path) -> None:
    """Gauss–Newton is chosen for every weight before them, and is the whole diagonal."""
    call, weights = network(PIECEWISE, names)
    found = compared(call, weights, {"x": X}, diag, tmp_path / "m")
    assert set(methods(found.report).values()) == {"gauss_newton"}
    assert set(names) <= operations(tmp_path / "m")


@pytest.mark.parametrize("cases", [MULTILINEAR, DIVISIONS], ids=["products", "quotients"])
def test_products_bend_what_both_factors_depend_on(cases: dict[str, Any], diag: Diag, tmp_path: Path) -> None:
    """Gauss–Newton where one operand varies, another method where two do; in both the diagonal is the differences'."""
    call, weights = network(cases, sorted(cases))
    compared(call, weights, {"x": X}, diag, tmp_path / "m")
    assert cases.keys() <= operations(tmp_path / "m")


def test_what_a_number_without_derivative_passes_is_not_reached(diag: Diag, tmp_path: Path) -> None:
    """Zeros for weights that reach the loss through such operations alone; values next to them for all others."""
    cases = {
        name: [lambda tf, z, x, b=b: x[:, :3] * tf.reduce_sum(tf.cast(b(tf, z, x), x.dtype)) for b in branches]
        for name, branches in CONSTANT.items()
    }
    cases["reached"] = [lambda tf, z, x: z]
    call, weights = network(cases, sorted(cases))
    found = compared(call, weights, {"x": X}, diag, tmp_path / "m")
    zero = {name for name, value in bare(found.diagonal).items() if not value.any()}
    assert zero == set(weights) - {"reached_0"}
    chosen = methods(found.report)
    assert {name: chosen[name] for name in zero} == dict.fromkeys(zero, "unreached")
    assert CONSTANT.keys() <= operations(tmp_path / "m")


def test_bicubic_resizing_is_linear(diag: Diag, tmp_path: Path) -> None:
    """It exists in float32 only, and there Gauss–Newton is the whole diagonal to its rounding."""
    weights = {"w": float32_values(RNG, 5, 12)}

    def call(tf: Any, w: Any, inputs: Any) -> Any:
        pixels = tf.reshape(tf.matmul(inputs["x"], w["w"]), [-1, 2, 3, 2])
        options = {"align_corners": False, "half_pixel_centers": True}
        wide = tf.raw_ops.ResizeBicubic(images=tf.cast(pixels, tf.float32), size=[3, 4], **options)
        return tf.reshape(tf.cast(wide, pixels.dtype), [-1, 24])

    y = target(call, weights, {"x": X})
    save(call, weights, {"x": X}, tmp_path / "m")
    found = diag(tmp_path / "m", {"x": X}, y, MSE, "--dtype", "float32")
    assert found.code == 0
    assert set(methods(found.report).values()) == {"gauss_newton"}
    matrix = tensorflow().raw_ops.ResizeBicubic(
        images=np.eye(12, dtype=np.float32).reshape(12, 2, 3, 2), size=[3, 4], half_pixel_centers=True
    )
    squares = (matrix.numpy().reshape(12, 24).astype(np.float64) ** 2).sum(1)
    by_hand = 2 / 24 * np.outer((X**2).mean(0), squares)
    assert_close(bare(found.diagonal), {"w": by_hand}, 1e-5)


class Forms:
    """A saved network with a weight in every use of some operations, and its diagonal by differences."""

    def __init__(self, names: Sequence[str], path: Path) -> None:
        self.rules = rules = {f"{name}_{i}": rule for name in names for i, rule in enumerate(RULE_CASES[name])}
        self.known = {key for key, rule in rules.items() if rule.known}
        self.inputs = inputs = {"x": X, "image": IMAGES, "tokens": TOKENS}
        weights = {key: float32_values(np.random.default_rng(i), *r.shape) for i, (key, r) in enumerate(rules.items())}

        def call(tf: Any, w: Any, given: Any) -> Any:
            parts = []
            for key, rule in rules.items():
                z = rule.samples_first(tf, rule.z(tf, w[key], given))
                flat = tf.reshape(z, [tf.shape(z)[0], int(np.prod(z.shape[1:]))])
                # What mixes its entries makes the Hessian by z a full one.
                parts.append(tf.matmul(flat, like(tf, flat, flat.shape[1], 3)))
            # Every input is read: a signature has no others.
            token = tf.cast(given["tokens"][:, :1], given["x"].dtype)
            return joined(tf, parts) + 0 * (given["x"][:, :1] + given["image"][:, 0, 0, :1] + token)

        save(call, weights, inputs, path)
        self.y = target(call, weights, inputs)
        self.expected = by_common_differences(Gradient(call, inputs, squared_error(self.y)), weights, 1e-6)


# Together, as much of a run costs the same whatever the number of weights.
TOGETHER = [
    ["AddV2", "BiasAdd", "Mul"],
    ["BatchMatMulV2", "GatherV2", "MatMul"],
    ["Conv2D", "DepthwiseConv2dNative", "Einsum"],
]


@pytest.mark.parametrize(
    "names", [*TOGETHER, *(pytest.param([name], marks=pytest.mark.slow) for name in sorted(SAME_RULE))], ids=" ".join
)
def test_operations_on_weights_have_the_form_that_is_written_down(names: list[str], diag: Diag, tmp_path: Path) -> None:
    """Whatever an operation's arguments: where there is a form it is used, and the diagonal is the differences'."""
    forms = Forms(names, tmp_path / "m")
    assert set(names) <= operations(tmp_path / "m")
    found = diag(tmp_path / "m", forms.inputs, forms.y, MSE)
    assert found.code == 0
    assert {key for key, method in methods(found.report).items() if method == "gauss_newton"} == forms.known
    assert_close(bare(found.diagonal), forms.expected, 1e-7)


def test_all_rules_are_tried_together() -> None:
    """All but those that are another's."""
    assert sorted(name for names in TOGETHER for name in names) == sorted(RULE_CASES.keys() - SAME_RULE)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RULE_CASES))
def test_each_method_gives_the_diagonal_by_the_form(name: str, diag: Diag, tmp_path: Path) -> None:
    """By each method that uses an operation's form, the diagonal is the differences'."""
    forms = Forms([name], tmp_path / "m")
    sites = sites_of(tmp_path / "m", write_spec(tmp_path, "sites", forms.inputs, forms.y, MSE), list(forms.rules))
    assert {key for key, site in sites.items() if site.z is not None} == forms.known
    ways: dict[str, list[str]] = {
        method: [] for method in ("gauss_newton", "output_hessian", "output_hessian_shared", "coordinate")
    }
    for key, site in sites.items():
        if site.z is None:
            ways["coordinate"].append(key)
        else:
            ways["gauss_newton"].append(key)
            ways["output_hessian" if site.positions == 1 else "output_hessian_shared"].append(key)
    for method, keys in ways.items():
        if keys:
            layers = [word for key in keys for word in ("--layer", key)]
            found = diag(tmp_path / "m", forms.inputs, forms.y, MSE, "--method", method, *layers)
            assert found.code == 0
            assert_close(bare(found.diagonal), {key: forms.expected[key] for key in keys}, 1e-7)


def test_a_form_that_differentiation_contradicts_is_not_used(
    monkeypatch: pytest.MonkeyPatch, diag: Diag, tmp_path: Path
) -> None:
    """With a rule that takes every table for its transpose, entries are had one by one, and are right."""
    from curvcli.models.tensorflow import rules as tf_rules

    right = tf_rules.RULES["MatMul"]
    monkeypatch.setitem(tf_rules.RULES, "MatMul", lambda context, index: right(context, index.T.copy()))
    weights = {"w": float32_values(RNG, 5, 5)}
    found = compared(lambda tf, w, given: tf.tanh(given["x"] @ w["w"]), weights, {"x": X}, diag, tmp_path / "m")
    assert set(methods(found.report).values()) == {"coordinate"}


def test_the_tables_reference_is_itself_right() -> None:
    """Differences of all weights at once are those of one weight at a time."""
    call, weights = network(PIECEWISE, ["Abs", "Cumsum"])
    gradient = Gradient(call, {"x": X}, squared_error(target(call, weights, {"x": X})))
    together, alone = by_common_differences(gradient, weights, 1e-5), by_differences(gradient, weights, 1e-5)
    assert_close(together, alone, 1e-9)
