"""A small network in both formats, losses on it, and their matrices by torch's autodiff alone, in float64.

Of every loss only one independent unit is written here: what one output, one place's classes, or one mean and variance
add. Gradients, Hessians and expectations of it are autodiff's and sums over outcomes, not formulas.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLES, BATCH = 37, 16  # a short last batch
INPUTS, HIDDEN = 3, 4
# One unit's loss, from its outputs (d,) and target; and its outcomes with their probabilities, given its outputs.
Unit = Callable[[Tensor, float], Tensor]
Outcomes = Callable[[np.ndarray], Sequence[tuple[float, float]]]


class Net(nn.Module):
    """Two dense layers; the output reshaped, or made positive."""

    def __init__(self, outputs: int, shape: tuple[int, ...], *, positive: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, outputs)
        self.shape = list(shape)
        self.positive = positive

    def forward(self, x: Tensor) -> Tensor:
        out = self.fc2(torch.tanh(self.fc1(x))).reshape([x.shape[0]] + self.shape)  # noqa: RUF005 - as TorchScript can read it
        return torch.exp(out) if self.positive else out


@dataclass(frozen=True)
class Scenario:
    """A loss on the network's output.

    Attributes:
        toml: the lines of ``[loss]``.
        shape: of one sample's output.
        unit: its loss.
        size: outputs of one unit.
        draw: targets, (samples, …).
        axis: of the output that holds a unit's outputs; None where each is a unit.
        mean: whether a sample's loss is the mean over units and not their sum.
        counted: each unit's weight by its target, beside the sample's.
        outcomes: None for a loss without a likelihood.
        convex: whether the loss is.
        positive: whether the output is.
        weighted: whether the samples have weights.
    """

    toml: str
    shape: tuple[int, ...]
    unit: Unit
    draw: Callable[[np.random.Generator], np.ndarray]
    size: int = 1
    axis: int | None = None
    mean: bool = True
    counted: Callable[[float], float] = lambda y: 1.0
    outcomes: Outcomes | None = None
    convex: bool = True
    positive: bool = False
    weighted: bool = True


def ignoring_nan(y: float) -> float:
    return 0.0 if np.isnan(y) else 1.0


def normal(spread: Callable[[np.ndarray], float], mean: Callable[[np.ndarray], float] = lambda o: o[0]) -> Outcomes:
    """Gauss–Hermite's nodes: exact for the polynomials that squares of slopes are."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)

    def outcomes(o: np.ndarray) -> Sequence[tuple[float, float]]:
        return [(w / weights.sum(), mean(o) + spread(o) * z) for z, w in zip(nodes, weights, strict=True)]

    return outcomes


def poisson(rate: Callable[[float], float]) -> Outcomes:
    def outcomes(o: np.ndarray) -> Sequence[tuple[float, float]]:
        found, chance = [], np.exp(-rate(o[0]))
        for count in range(150):
            found.append((float(chance), float(count)))
            chance *= rate(o[0]) / (count + 1)
        return found

    return outcomes


def categories(o: np.ndarray) -> Sequence[tuple[float, float]]:
    p = np.exp(o - o.max())
    return [(float(q), float(i)) for i, q in enumerate(p / p.sum())]


def coin(o: np.ndarray) -> Sequence[tuple[float, float]]:
    p = 1 / (1 + np.exp(-o[0]))
    return [(p, 1.0), (1 - p, 0.0)]


def _with(values: np.ndarray, rng: np.random.Generator, ignored: float) -> np.ndarray:
    return np.where(rng.random(values.shape) < 0.25, ignored, values)


def _class_unit(weights: Sequence[float] | None, smoothing: float) -> Unit:
    def unit(o: Tensor, y: float) -> Tensor:
        given = None if weights is None else torch.tensor(weights).double()
        target = torch.tensor([max(int(y), 0)])
        return F.cross_entropy(o[None], target, weight=given, reduction="sum", label_smoothing=smoothing)

    return unit


def _bce(o: Tensor, y: float) -> Tensor:
    target = torch.tensor([max(y, 0.0)]).double()
    return F.binary_cross_entropy_with_logits(o, target, reduction="sum", pos_weight=torch.tensor(2.5).double())


def _gaussian(o: Tensor, y: float) -> Tensor:
    return (o[1] + (o[0] - np.nan_to_num(y)) ** 2 / o[1].exp()) / 2


def _gaussian_plain(o: Tensor, y: float) -> Tensor:
    return (o[1].log() + (o[0] - y) ** 2 / o[1]) / 2


SCENARIOS = {
    "mse": Scenario(
        'name = "mse"\nignore_nan = true',
        (2, 2),
        lambda o, y: (o[0] - np.nan_to_num(y)) ** 2,
        lambda rng: _with(rng.standard_normal((SAMPLES, 2, 2)), rng, np.nan),
        counted=ignoring_nan,
        outcomes=normal(lambda o: 0.5**0.5),
    ),
    "mae": Scenario(
        'name = "mae"',
        (2,),
        lambda o, y: (o[0] - y).abs(),
        lambda rng: rng.standard_normal((SAMPLES, 2)),
        outcomes=lambda o: [(0.5, o[0] + 1), (0.5, o[0] - 1)],
    ),
    "huber": Scenario(
        'name = "huber"\ndelta = 0.4\nignore_nan = true',
        (3,),
        lambda o, y: F.huber_loss(o, torch.tensor([np.nan_to_num(y)]).double(), reduction="sum", delta=0.4),
        lambda rng: _with(rng.standard_normal((SAMPLES, 3)), rng, np.nan),
        counted=ignoring_nan,
    ),
    "poisson": Scenario(
        'name = "poisson"',
        (2,),
        lambda o, y: o[0].exp() - y * o[0],
        lambda rng: rng.poisson(1.5, (SAMPLES, 2)).astype(float),
        outcomes=poisson(np.exp),
    ),
    "poisson_of_rate": Scenario(
        'name = "poisson"\nlog_input = false\neps = 1e-2',
        (2,),
        lambda o, y: o[0] - y * (o[0] + 1e-2).log(),
        lambda rng: rng.poisson(1.5, (SAMPLES, 2)).astype(float),
        outcomes=poisson(lambda o: o + 1e-2),
        positive=True,
    ),
    "gaussian_nll": Scenario(
        'name = "gaussian_nll"\nlog_variance = true\nignore_nan = true',
        (4,),
        _gaussian,
        lambda rng: _with(rng.standard_normal((SAMPLES, 2)), rng, np.nan),
        size=2,
        axis=1,
        counted=ignoring_nan,
        outcomes=normal(lambda o: np.exp(o[1] / 2)),
        convex=False,
    ),
    "gaussian_nll_of_variance": Scenario(
        'name = "gaussian_nll"\nlog_variance = false',
        (2,),
        _gaussian_plain,
        lambda rng: rng.standard_normal(SAMPLES),
        size=2,
        axis=1,
        outcomes=normal(lambda o: o[1] ** 0.5),
        convex=False,
        positive=True,
    ),
    "hinge": Scenario(
        'name = "hinge"\nignore_index = 7',
        (2,),
        lambda o, y: F.relu(1 - (1.0 if y == 1 else -1.0) * o[0]),
        lambda rng: _with(rng.integers(0, 2, (SAMPLES, 2)).astype(float), rng, 7.0),
        counted=lambda y: float(y != 7),
    ),
    "hinge_squared": Scenario(
        'name = "hinge"\nsquared = true',
        (2,),
        lambda o, y: F.relu(1 - y * o[0]) ** 2,
        lambda rng: rng.choice([-1.0, 1.0], (SAMPLES, 2)),
    ),
    "bce": Scenario(
        'name = "bce"\nfrom_logits = true\npos_weight = 2.5\nignore_index = -1',
        (3,),
        _bce,
        lambda rng: _with(rng.integers(0, 2, (SAMPLES, 3)).astype(float), rng, -1.0),
        counted=lambda y: float(y != -1),
    ),
    "bce_plain": Scenario(
        'name = "bce"\nfrom_logits = true',
        (1,),
        lambda o, y: F.binary_cross_entropy_with_logits(o, torch.tensor([y]).double(), reduction="sum"),
        lambda rng: rng.integers(0, 2, SAMPLES).astype(float),
        outcomes=coin,
        weighted=False,
    ),
    "cross_entropy": Scenario(
        'name = "cross_entropy"\nfrom_logits = true',
        (3,),
        _class_unit(None, 0.0),
        lambda rng: rng.integers(0, 3, SAMPLES),
        size=3,
        axis=1,
        mean=False,
        outcomes=categories,
    ),
    "cross_entropy_tokens": Scenario(
        'name = "cross_entropy"\nfrom_logits = true\nclass_axis = -1\nignore_index = -100\n'
        "class_weights = [0.5, 2.0, 1.0]\nlabel_smoothing = 0.1",
        (2, 3),
        _class_unit([0.5, 2.0, 1.0], 0.1),
        lambda rng: _with(rng.integers(0, 3, (SAMPLES, 2)), rng, -100),
        size=3,
        axis=2,
        mean=False,
        counted=lambda y: 0.0 if y == -100 else (0.5, 2.0, 1.0)[int(y)],
    ),
}


@dataclass
class Dense:
    """A scenario's data, its network in float64, and the matrices of the loss by the parameters."""

    name: str
    reduction: str = "mean"
    scenario: Scenario = field(init=False)

    def __post_init__(self) -> None:
        self.scenario = scenario = SCENARIOS[self.name]
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        self.x = rng.standard_normal((SAMPLES, INPUTS)).astype(np.float32).astype(np.float64)
        self.target = scenario.draw(rng)
        self.weight = np.ones(SAMPLES)
        if scenario.weighted:
            self.weight = rng.uniform(0.3, 2.0, SAMPLES)
            self.weight[4] = 0.0
        torch.manual_seed(zlib.crc32(self.name.encode()))
        self.net = Net(int(np.prod(scenario.shape)), scenario.shape, positive=scenario.positive)
        parameters = dict(self.net.named_parameters())
        self.shapes = {name: tuple(p.shape) for name, p in parameters.items()}
        self.flat = torch.cat([p.detach().double().reshape(-1) for p in parameters.values()])
        self._double = Net(int(np.prod(scenario.shape)), scenario.shape, positive=scenario.positive).double()

    @property
    def spec(self) -> str:
        weight = '\nsample_weight = "weight"' if self.scenario.weighted else ""
        return f'{self.scenario.toml}\nreduction = "{self.reduction}"{weight}'

    def _outputs(self, flat: Tensor) -> Tensor:
        """(samples, units, size)."""
        parts = torch.split(flat, [int(np.prod(s)) for s in self.shapes.values()])
        named = {n: p.reshape(s) for (n, s), p in zip(self.shapes.items(), parts, strict=True)}
        out = torch.func.functional_call(self._double, named, (torch.from_numpy(self.x),))
        if self.scenario.axis is None:
            return out.reshape(SAMPLES, -1, 1)
        if self.scenario.size == 2:  # means, then spreads
            return torch.stack(out.chunk(2, self.scenario.axis), dim=-1).reshape(SAMPLES, -1, 2)
        return out.movedim(self.scenario.axis, -1).reshape(SAMPLES, -1, self.scenario.size)

    @property
    def _units(self) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights, (samples, units)."""
        target = self.target.reshape(SAMPLES, -1).astype(float)
        counted = np.vectorize(self.scenario.counted, otypes=[float])(target) * self.weight[:, None]
        return target, counted / (target.shape[1] if self.scenario.mean else 1)

    @property
    def _own(self) -> np.ndarray:
        """What multiplies one unit's loss: class weights stand in the unit itself."""
        target, counted = self._units
        return np.where(counted > 0, self.weight[:, None], 0.0) / (target.shape[1] if self.scenario.mean else 1)

    @property
    def denominator(self) -> float:
        return float(self._units[1].sum()) if self.reduction == "mean" else 1.0

    def loss(self, flat: Tensor) -> Tensor:
        target, own = self._units[0], self._own
        outputs = self._outputs(flat)
        parts = [
            own[n, u] * self.scenario.unit(outputs[n, u], target[n, u])
            for n in range(SAMPLES)
            for u in range(target.shape[1])
        ]
        return torch.stack([part.reshape(()) for part in parts]).sum() / self.denominator

    def matrix(self, name: str) -> np.ndarray:
        """Whole, by all parameters in the order of ``named_parameters``."""
        if name == "hessian":
            return torch.autograd.functional.hessian(self.loss, self.flat).numpy()
        jacobian = torch.autograd.functional.jacobian(self._outputs, self.flat).numpy()
        outputs = self._outputs(self.flat).detach()
        target, counted = self._units
        samples, units, _ = outputs.shape
        total = np.zeros((len(self.flat),) * 2)
        for n in range(samples):
            gradient = np.zeros(len(self.flat))
            for u in range(units):
                o, by_weights = outputs[n, u], jacobian[n, u]
                weight = self._own[n, u]
                if name == "gauss_newton":
                    middle = weight * torch.autograd.functional.hessian(
                        lambda o, y=target[n, u]: self.scenario.unit(o, y).reshape(()), o
                    )
                    total += by_weights.T @ middle.numpy() @ by_weights
                elif name == "fisher":
                    total += weight * by_weights.T @ self._expected(o) @ by_weights
                else:
                    gradient += weight * by_weights.T @ self._slope(o, target[n, u])
            if counted[n].sum() > 0:
                total += np.outer(gradient, gradient) / counted[n].sum()
        return total / self.denominator

    def _slope(self, o: Tensor, y: float) -> np.ndarray:
        o = o.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.scenario.unit(o, y).reshape(()), o)
        return slope.numpy()

    def _expected(self, o: Tensor) -> np.ndarray:
        assert self.scenario.outcomes is not None
        slopes = [(p, self._slope(o, y)) for p, y in self.scenario.outcomes(o.numpy())]
        return sum(p * np.outer(s, s) for p, s in slopes)

    def place(self, layer: str) -> np.ndarray:
        """Where a layer's parameters are, weight and bias."""
        sizes = {n: int(np.prod(s)) for n, s in self.shapes.items()}
        starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
        return np.concatenate([np.arange(starts[n], starts[n] + k) for n, k in sizes.items() if n.startswith(layer)])

    # -- files --------------------------------------------------------------------------------------------------------

    def write(self, folder: Path, framework: str) -> tuple[Path, Path]:
        """The model and its spec."""
        path = folder / ("model.pt" if framework == "torch" else "model")
        if framework == "torch":
            torch.jit.save(torch.jit.script(self.net), str(path))
        else:
            self._write_tensorflow(path)
        np.savez(folder / "data.npz", x=self.x, y=self.target, weight=self.weight)
        lines = ["version = 1", "[source]", 'format = "npz"', 'path = "data.npz"', "[inputs.x]", 'column = "x"']
        lines += ["[target]", 'column = "y"', "[loss]", self.spec, "[sampling]", f"batch_size = {BATCH}"]
        spec = folder / "data.toml"
        spec.write_text("\n".join(lines))
        return path, spec

    def _write_tensorflow(self, path: Path) -> None:
        import tensorflow as tf

        values = {n: p.detach().numpy() for n, p in self.net.named_parameters()}
        shape, positive = self.scenario.shape, self.scenario.positive

        class Module(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                self.kernels = [tf.Variable(values[f"fc{i}.weight"].T, name=f"fc{i}/kernel") for i in (1, 2)]
                self.biases = [tf.Variable(values[f"fc{i}.bias"], name=f"fc{i}/bias") for i in (1, 2)]

            @tf.function(input_signature=[tf.TensorSpec((None, INPUTS), tf.float32, name="x")])
            def __call__(self, x: Any) -> dict[str, Any]:
                hidden = tf.tanh(x @ self.kernels[0] + self.biases[0])
                out = tf.reshape(hidden @ self.kernels[1] + self.biases[1], [-1, *shape])
                return {"out": tf.exp(out) if positive else out}

        module = Module()
        tf.saved_model.save(module, str(path), signatures=module.__call__)


def like_torch(values: np.ndarray) -> np.ndarray:
    """A TensorFlow parameter's array as torch has it: kernels are transposed."""
    return values.T if values.ndim == 2 else values
