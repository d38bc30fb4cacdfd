"""Build the reference models: functions whose derivatives are known in closed form, each in both formats.

    python tests/reference/build.py

writes ``models/NAME.pt`` and ``models/NAME/``, each with the dataset spec that curvcli finds by itself, and their data.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch import Tensor, nn

MODELS = Path(__file__).parent / "models"


class Point(nn.Module):
    """Parameters of their own, one scalar each or a vector."""

    def __init__(self, **values: Sequence[float] | float) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))


class ProductOfParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.point = Point(f=[1.0, 2.0, 0.0])

    def forward(self, one: Tensor) -> Tensor:
        f = self.point.f
        return one * torch.prod(f * f - 3 * f + 1)


class ProductOfInputs(nn.Module):
    def forward(self, f: Tensor) -> Tensor:
        return torch.prod(f * f - 3 * f + 1, dim=1)


class LogNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log((x * x).sum(dim=1))


class LogShift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x + 2)


class QuadraticOfParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.point = Point(x=0.5, y=-1.5)

    def forward(self, one: Tensor) -> Tensor:
        x, y = self.point.x, self.point.y
        return one * (x * x + 2 * x * y + 3 * y * y + 4 * x + 5 * y + 6)


class QuadraticOfInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * x + 2 * x * y + 3 * y * y + 4 * x + 5 * y + 6


class SeparateParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.point = Point(x=0.5, y=-1.5)

    def forward(self, one: Tensor) -> Tensor:
        return one * (self.point.x**2) + self.point.y**2


class SeparateInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * x + y * y


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(10, 5, bias=False)
        nn.init.constant_(self.dense.weight, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x)


def _poly(f: Any) -> Any:
    return f * f - 3 * f + 1


def _quadratic(x: Any, y: Any) -> Any:
    return x * x + 2 * x * y + 3 * y * y + 4 * x + 5 * y + 6


POINT = {"point/x": 0.5, "point/y": -1.5}
# name: the torch module, the same in TensorFlow as a function of weights and inputs, the weights, one sample's inputs
# (several samples where the first axis says so), and whether the loss is squared error against zero.
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[..., Any], Mapping[str, Any], Mapping[str, Any]]] = {
    "product_of_parameters": (
        ProductOfParameters,
        lambda w, one: one * tf.reduce_prod(_poly(w["point/f"])),
        {"point/f": [1.0, 2.0, 0.0]},
        {"one": [1.0]},
    ),
    "product_of_inputs": (
        ProductOfInputs,
        lambda w, f: tf.reduce_prod(_poly(f), axis=1),
        {},
        {"f": [[1.0, 2.0, 0.0]]},
    ),
    "log_norm": (
        LogNorm,
        lambda w, x: tf.math.log(tf.reduce_sum(x * x, axis=1)),
        {},
        {"x": np.random.default_rng(5).standard_normal((5, 3), dtype=np.float32)},
    ),
    "log_shift": (LogShift, lambda w, x: tf.math.log(x + 2), {}, {"x": [1.0]}),
    "quadratic_of_parameters": (
        QuadraticOfParameters,
        lambda w, one: one * _quadratic(w["point/x"], w["point/y"]),
        POINT,
        {"one": [1.0]},
    ),
    "quadratic_of_inputs": (QuadraticOfInputs, lambda w, x, y: _quadratic(x, y), {}, {"x": [0.5], "y": [-1.5]}),
    "separate_parameters": (
        SeparateParameters,
        lambda w, one: one * w["point/x"] ** 2 + w["point/y"] ** 2,
        POINT,
        {"one": [1.0]},
    ),
    "separate_inputs": (SeparateInputs, lambda w, x, y: x * x + y * y, {}, {"x": [0.5], "y": [-1.5]}),
    "linear": (
        Linear,
        lambda w, x: x @ w["dense/kernel"],
        {"dense/kernel": np.full((10, 5), 0.5)},
        {"x": np.ones((1, 10))},
    ),
}


def specification(name: str, folder: str, inputs: Sequence[str]) -> str:
    """The dataset spec of a case; ``linear`` is compared with zeros."""
    lines = ["version = 1", "[source]", 'format = "npz"', f'path = "{folder}{name}.npz"']
    for one in inputs:
        lines += [f"[inputs.{one}]", f'column = "{one}"']
    if name == "linear":
        lines += ["[target]", 'column = "zeros"', "[loss]", 'name = "mse"']
    else:
        lines += ["[loss]", 'name = "output"']
    return "\n".join(lines) + "\n"


def save_tensorflow(
    function: Callable[..., Any], weights: Mapping[str, Any], inputs: Mapping[str, Any], path: Path
) -> None:
    """A ``tf.Module`` whose variables have the weights' names."""
    module = tf.Module()
    module.held = {n: tf.Variable(np.asarray(v, dtype=np.float32), name=n) for n, v in weights.items()}
    signature = [tf.TensorSpec([None, *np.shape(v)[1:]], tf.float32, name=n) for n, v in inputs.items()]
    serve = tf.function(lambda *arrays: {"output": function(module.held, *arrays)}, input_signature=signature)
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


def main() -> None:
    """Write everything anew."""
    shutil.rmtree(MODELS, ignore_errors=True)
    MODELS.mkdir()
    for name, (build, function, weights, inputs) in CASES.items():
        torch.jit.script(build()).save(str(MODELS / f"{name}.pt"))
        save_tensorflow(function, weights, inputs, MODELS / name)
        extra = {"zeros": np.zeros((1, 5))} if name == "linear" else {}
        np.savez(MODELS / f"{name}.npz", **{n: np.asarray(v, dtype=np.float64) for n, v in inputs.items()}, **extra)
        (MODELS / f"{name}.pt.toml").write_text(specification(name, "", list(inputs)))
        (MODELS / name / "assets.extra").mkdir()
        (MODELS / name / "assets.extra" / "curvcli.toml").write_text(specification(name, "../../", list(inputs)))


if __name__ == "__main__":
    main()
