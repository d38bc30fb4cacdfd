"""The sample network that solves a differential equation, Poisson's on the unit square.

Δu = f with f(x, y) = −2π² sin(πx) sin(πy) and u = 0 on the boundary, so that u(x, y) = sin(πx) sin(πy). A small tanh
network is trained on the equation alone (Raissi, Perdikaris, Karniadakis 2019): squared residuals inside, squared
values on the boundary. ``poisson.npz`` holds points of the inside that it was not trained on, with the known solution
and the right-hand side, for ``curvcli inputs poisson_tanh.pt --of u --residual rhs``.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
import torch
from architectures import copy_weights, module_variables
from torch import Tensor, nn

WIDTH = 24
TRAINING_POINTS, BOUNDARY_POINTS, TEST_POINTS = 900, 160, 256
BOUNDARY_WEIGHT = 50.0
SPECIFICATION = """\
# What to compute this model's loss on.  curvcli finds this file because it lies beside the model.
version = 1

[source]
format = "npz"
path = "{folder}poisson.npz"  # points, u: the known solution, rhs: the equation's right-hand side

[inputs.point]  # the model's input called "point": x and y, from 0 to 1
column = "points"

[target]
column = "u"

[loss]
name = "mse"  # how far the network is from the known solution

[sampling]
batch_size = 256  # points at once; changes memory and speed, not the result
"""


class TorchPoisson(nn.Module):
    """Two hidden tanh layers; returns ``u``, one number per point."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, WIDTH)
        self.fc2 = nn.Linear(WIDTH, WIDTH)
        self.fc3 = nn.Linear(WIDTH, 1)

    def forward(self, point: Tensor) -> dict[str, Tensor]:
        """Return u, (N,), at ``point``, (N, 2)."""
        hidden = torch.tanh(self.fc2(torch.tanh(self.fc1(point))))
        return {"u": self.fc3(hidden)[:, 0]}


class TensorFlowPoisson(tf.Module):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"fc1": (2, WIDTH), "fc2": (WIDTH, WIDTH), "fc3": (WIDTH, 1)}
        self.weights = {
            f"{name}/{label}": tf.Variable(tf.zeros(shape), name=f"{name}/{label}")
            for name, size in sizes.items()
            for label, shape in (("kernel", size), ("bias", size[1:]))
        }

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="point")])
    def serve(self, point: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return u, (N,), at ``point``, (N, 2)."""
        hidden = point
        for name in ("fc1", "fc2"):
            hidden = tf.tanh(hidden @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"])
        return {"u": (hidden @ self.weights["fc3/kernel"] + self.weights["fc3/bias"])[:, 0]}


def solution(points: np.ndarray) -> np.ndarray:
    """Return u at ``points``, (N, 2)."""
    return np.sin(math.pi * points[:, 0]) * np.sin(math.pi * points[:, 1])


def laplacian(model: TorchPoisson, points: Tensor) -> Tensor:
    """Return Δu at ``points``, (N, 2), differentiable by the weights."""
    points = points.requires_grad_()
    (first,) = torch.autograd.grad(model(points)["u"].sum(), points, create_graph=True)
    rows = [torch.autograd.grad(first[:, i].sum(), points, create_graph=True)[0][:, i] for i in range(2)]
    return rows[0] + rows[1]


def train(model: TorchPoisson, random: np.random.Generator) -> None:
    """Minimise the equation's residual and the boundary's values with L-BFGS, in float64."""
    inside = torch.from_numpy(random.random((TRAINING_POINTS, 2)))
    right_side = torch.from_numpy(-2 * math.pi**2 * solution(inside.numpy()))
    along = random.random(BOUNDARY_POINTS)
    sides = np.arange(BOUNDARY_POINTS) % 4
    edge = np.stack([np.where(sides < 2, sides, along), np.where(sides < 2, along, sides - 2)], axis=1)
    boundary = torch.from_numpy(edge)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=1500, history_size=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        residual = (laplacian(model, inside.detach().clone()) - right_side).square().mean()
        value = residual + BOUNDARY_WEIGHT * model(boundary)["u"].square().mean()
        value.backward()
        return value

    optimizer.step(loss)


def build_poisson(folder: Path, seed: int) -> None:
    """Train the network, and write both formats, the points and the specifications."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = TorchPoisson().double()
    train(model, random)
    model.float()
    points = random.random((TEST_POINTS, 2))
    exact = solution(points)
    np.savez_compressed(folder / "poisson.npz", points=points, u=exact, rhs=-2 * math.pi**2 * exact)
    torch.jit.script(model).save(str(folder / "poisson_tanh.pt"))
    (folder / "poisson_tanh.pt.toml").write_text(SPECIFICATION.format(folder=""), encoding="utf-8")
    twin = TensorFlowPoisson()
    copy_weights(model, module_variables(twin.trainable_variables))
    shutil.rmtree(folder / "poisson_tanh", ignore_errors=True)
    tf.saved_model.save(twin, str(folder / "poisson_tanh"), signatures={"serving_default": twin.serve})
    extra = folder / "poisson_tanh" / "assets.extra"
    extra.mkdir()
    (extra / "curvcli.toml").write_text(SPECIFICATION.format(folder="../../"), encoding="utf-8")
    with torch.no_grad():
        ours = model(torch.from_numpy(points).float())["u"].numpy()
    theirs = twin.serve(tf.constant(points, tf.float32))["u"].numpy()
    print(f"  the two formats differ by at most {np.abs(ours - theirs).max():.1e}")
    print(f"  u is known to {np.abs(ours - exact).max():.1e}")
