"""Models that return probabilities, however sure they are: the curvature is that of their logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn

from .batchwise import batchwise, scripted
from .conftest import Arrays, Outcome, assert_close

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = (0.5, -1.0, 20.0, -20.0, 100.0, -100.0, 800.0, -800.0)
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
BERNOULLI = 'name = "bce"\nfrom_logits = false'
SOFTMAX = 'name = "cross_entropy"\nfrom_logits = false'


class Answer(NamedTuple):
    """What a served model might return."""

    score: Tensor
    probability: Tensor


class Sigmoid(nn.Module):
    """One logit of a sample: four times its first number, which is exact in both dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[4.0, 0.0]]))
            self.fc.bias.zero_()


class Squeezed(Sigmoid):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.fc(x)).squeeze(1)


class Viewed(Sigmoid):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.fc(x)).view(-1)


class Taken(Sigmoid):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x).sigmoid()[:, 0]


class TimesOne(Sigmoid):
    def forward(self, x: Tensor) -> Tensor:
        return (torch.sigmoid(self.fc(x)) * 1.0).flatten() / 1


class Layer(Sigmoid):
    """The way that most write it."""

    def __init__(self) -> None:
        super().__init__()
        self.end = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.fc(x)).reshape(-1).clone()


class SigmoidTuple(Sigmoid):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.fc(x)
        return z, torch.sigmoid(z).squeeze(1)


class SigmoidNamed(Sigmoid):
    def forward(self, x: Tensor) -> Answer:
        z = self.fc(x)
        return Answer(z, torch.sigmoid(z).squeeze(-1))


class Softmax(nn.Module):
    """Three logits of a sample: 4a, 0 and b − 2a of its numbers a and b."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 3)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 0.0], [-2.0, 1.0]]))
            self.fc.bias.zero_()


class Plain(Softmax):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.fc(x), 1)


class SoftTimesOne(Softmax):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.fc(x), -1) * 1.0


class Turned(Softmax):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.fc(x).t(), 0).t()


class Reshaped(Softmax):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.fc(x), 1).unsqueeze(2).squeeze(2).contiguous()


class InTuple(Softmax):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.fc(x)
        return torch.softmax(z, 1), z


class InDict(Softmax):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.fc(x)
        return {"logits": z, "probability": torch.softmax(z, 1) * 1.0}


class InNamed(Softmax):
    def forward(self, x: Tensor) -> Answer:
        z = self.fc(x)
        return Answer(z, torch.softmax(z, 1))


# Per model, which of its outputs the loss is taken of.
SIGMOIDS = {
    Squeezed: "",
    Viewed: "",
    Taken: "",
    TimesOne: "",
    Layer: "",
    SigmoidTuple: "1",
    SigmoidNamed: "probability",
}
SOFTMAXES = {
    Plain: "",
    SoftTimesOne: "",
    Turned: "",
    Reshaped: "",
    InTuple: "0",
    InDict: "probability",
    InNamed: "probability",
}


def samples(sizes: tuple[float, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Every size of logit with every truth, and a second number so that both weights matter."""
    pairs = [(size / 4, truth) for size in sizes for truth in range(classes)]
    x = np.array([[a, 0.25 * (i % 3 + 1)] for i, (a, _) in enumerate(pairs)])
    return x, np.array([truth for _, truth in pairs])


def logits(x: np.ndarray, classes: int) -> np.ndarray:
    a, b = x.T
    return np.stack([4 * a] if classes == 2 else [4 * a, 0 * a, b - 2 * a], 1)


def expected(x: np.ndarray, truth: np.ndarray, classes: int) -> tuple[float, Arrays, Arrays]:
    """Loss, gradient and diagonal of the logits' layer, by their formulas, which lose nothing anywhere."""
    z = logits(x, classes)
    if classes == 2:
        t = truth[:, None]
        p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
        loss = np.logaddexp(0, np.where(t == 1, -z, z)).mean()
        slope = np.where(t == 1, -q, p)
    else:
        shifted = z - np.logaddexp.reduce(z, 1, keepdims=True)
        p = np.exp(shifted)
        q = np.stack([np.delete(p, c, 1).sum(1) for c in range(3)], 1)
        loss = -shifted[np.arange(len(x)), truth].mean()
        hit = np.eye(3)[truth]
        slope = np.where(hit == 1, -q, p)
    bend = p * q
    return (
        float(loss),
        {"fc/weight": slope.T @ x / len(x), "fc/bias": slope.mean(0)},
        {"fc/weight": bend.T @ x**2 / len(x), "fc/bias": bend.mean(0)},
    )


def held(result: Outcome, x: np.ndarray, truth: np.ndarray, classes: int, dtype: str) -> None:
    loss, gradient, diagonal = expected(x, truth, classes)
    assert result.code == 0
    assert result.loss == pytest.approx(loss, rel=TOLERANCE[dtype], abs=1e-15)
    assert_close(result.gradient, gradient, TOLERANCE[dtype])
    assert_close(result.diagonal, diagonal, TOLERANCE[dtype])


@pytest.mark.parametrize(("build", "dtype"), covering(SIGMOIDS, ["float64", "float32"]))
def test_sigmoids(build: type[nn.Module], dtype: str, diag: Diag, tmp_path: Path) -> None:
    """From ±0.5 to ±800, right and wrong: loss, gradient and diagonal are those of the logits."""
    path, output = scripted(build(), tmp_path / "m.pt"), SIGMOIDS[build]
    lines = BERNOULLI + (f'\noutput = "{output}"' if output else "")
    x, truth = samples(SIZES, 2)
    held(diag(path, {"x": x}, truth.astype(float), lines, "--dtype", dtype), x, truth, 2, dtype)


@pytest.mark.parametrize(("build", "dtype"), covering(SOFTMAXES, ["float64", "float32"]))
def test_softmaxes(build: type[nn.Module], dtype: str, diag: Diag, tmp_path: Path) -> None:
    """The same for three classes, wherever the softmax stands in what the model returns."""
    path, output = scripted(build(), tmp_path / "m.pt"), SOFTMAXES[build]
    lines = SOFTMAX + (f'\noutput = "{output}"' if output else "")
    x, truth = samples(SIZES, 3)
    held(diag(path, {"x": x}, truth, lines, "--dtype", dtype), x, truth, 3, dtype)


@pytest.mark.parametrize(("size", "dtype"), covering(SIZES, ["float64", "float32"]))
def test_each_size_alone(size: float, dtype: str, diag: Diag, tmp_path: Path) -> None:
    """No larger entry hides a small one: each size of logit is right on its own scale, on either side of the truth."""
    path = scripted(Squeezed(), tmp_path / "m.pt")
    for truth in (0, 1):
        x, _ = samples((size,), 1)
        lone = np.array([truth])
        result = diag(path, {"x": x}, lone.astype(float), BERNOULLI, "--dtype", dtype, "--no-verify")
        _, _, diagonal = expected(x, lone, 2)
        for key, value in diagonal.items():
            assert np.isfinite(result.diagonal[key]).all()
            least = 1e-35 if dtype == "float32" else 1e-290  # what is smaller may be zero
            error = np.abs(result.diagonal[key] - value).max()
            if abs(size) <= 20:
                assert error <= TOLERANCE[dtype] * np.abs(value).max() + least
            else:
                assert error <= 1e-30


class Mixed(Softmax):
    """Probabilities that no normaliser ends in: a little of every class besides."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.75 * torch.softmax(self.fc(x), 1) + 0.25 / 3


class Clamped(Softmax):
    """Kept off zero, as many do by hand."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.fc(x), 1).clamp(1e-7, 1.0)


class ByHand(Softmax):
    """Normalised by a division."""

    def forward(self, x: Tensor) -> Tensor:
        e = torch.exp(self.fc(x) - self.fc(x).max(1, keepdim=True).values)
        return e / e.sum(1, keepdim=True)


def likelihoods(p: Tensor, t: Tensor) -> Tensor:
    """−Σ log p of the truth; nothing is asked of the other classes."""
    return -p[torch.arange(len(t)), t].log().sum()


@pytest.mark.parametrize("build", [Mixed, Clamped, ByHand])
def test_probabilities_that_cannot_be_cut(build: type[nn.Module], diag: Diag, tmp_path: Path) -> None:
    """Zeros of other classes than the truth are no 0 / 0: the numbers are finite, and the dense Hessian's."""
    module = build()
    # The truth is never of probability zero: the loss is finite.
    x, truth = samples(SIZES, 3)
    z = logits(x, 3)
    likely = (z.max(1) - z[np.arange(len(x)), truth] < 300) | (build is not ByHand)
    x, truth = x[likely], truth[likely]
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, truth, SOFTMAX)
    assert result.code == 0
    assert np.isfinite(result.loss)
    assert_close(result.diagonal, batchwise(module, x, truth, likelihoods), 1e-9)


class Deep(nn.Module):
    """With a bent layer before, so that the logits' own curvature counts as well."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.one, self.two, self.end = nn.Linear(2, 4), nn.Linear(4, 1), end
        with torch.no_grad():
            self.two.weight.mul_(60)

    def forward(self, x: Tensor) -> Tensor:
        z = self.two(torch.tanh(self.one(x)))
        return torch.sigmoid(z).squeeze(1) if self.end == "sigmoid" else z.squeeze(1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_deep_saturated_network(dtype: str, diag: Diag, tmp_path: Path) -> None:
    """Layers behind a nonlinearity have the second derivatives of the logits, times the sure loss's slope."""
    torch.manual_seed(0)
    module, rng = Deep("sigmoid"), np.random.default_rng(0)
    x = rng.standard_normal((21, 2)).astype(np.float32).astype(np.float64)
    truth = rng.integers(0, 2, 21).astype(float)
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, truth, BERNOULLI, "--dtype", dtype)
    plain = Deep("logits")
    plain.load_state_dict(module.state_dict())

    def loss(z: Tensor, t: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(z, t, reduction="sum")

    assert result.code == 0
    assert_close(result.diagonal, batchwise(plain, x, truth, loss), TOLERANCE[dtype])
