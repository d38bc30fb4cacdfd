"""Samples that influence each other, at whatever distance: never taken for independent ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn

from curvcli.cli.main import run
from curvcli.models.rows import rows_separate
from curvcli.models.samples import halves, tags

from .batchwise import batchwise, cross_entropies, scripted
from .conftest import BATCH, SAMPLES, Outcome, assert_close, write_spec

Compute = Callable[..., tuple[int, Path]]
Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(11)
X, LABELS = RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


class Net(nn.Module):
    """Two layers, with company between them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.middle, self.two = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def met(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.middle(self.met(torch.tanh(self.one(x))))))


class HalfAway(Net):
    def met(self, h: Tensor) -> Tensor:
        return h + h.roll(h.shape[0] // 2, 0)


class Next(Net):
    def met(self, h: Tensor) -> Tensor:
        return h + 0.5 * h.roll(1, 0)


class Four(Net):
    def met(self, h: Tensor) -> Tensor:
        return h + 0.5 * h.roll(4, 0)


class Reversed(Net):
    def met(self, h: Tensor) -> Tensor:
        return h + 0.5 * h.flip(0)


class Pair(Net):
    """The second sample reads the fourth; nobody else meets anybody."""

    def met(self, h: Tensor) -> Tensor:
        g = torch.zeros_like(h)
        if h.shape[0] > 3:
            g = torch.cat([g[:1], h[3:4], g[2:]])
        return h + g


class Causal(Net):
    def met(self, h: Tensor) -> Tensor:
        return h + 0.2 * h.cumsum(0)


class Mean(Net):
    def met(self, h: Tensor) -> Tensor:
        return h - h.mean(0)


class Faint(Net):
    """The influence is ten orders below a sample's own."""

    def met(self, h: Tensor) -> Tensor:
        return h + 1e-6 * h.roll(2, 0)


class Multiplied(Net):
    def met(self, h: Tensor) -> Tensor:
        return h * h.roll(h.shape[0] // 2, 0)


class Attention(Net):
    """Over the batch, by mistake."""

    def met(self, h: Tensor) -> Tensor:
        return torch.softmax(h @ h.t(), 1) @ h


class Later(Net):
    """Only where a batch's first number is large."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        if bool(x[0, 0] > 10):
            h = h + h.roll(h.shape[0] // 2, 0)
        return self.two(torch.tanh(self.middle(h)))


COMPANY = {
    b.__name__: b for b in (HalfAway, Next, Four, Reversed, Pair, Causal, Mean, Faint, Multiplied, Attention, Later)
}


def data(name: str) -> np.ndarray:
    x = X.copy()
    if name == "Later":
        x[BATCH, 0] = 11
    return x


@pytest.mark.parametrize(("name", "size"), covering(COMPANY, [16, 8, 37]))
def test_diagonals_where_samples_meet(name: str, size: int, diag: Diag, tmp_path: Path) -> None:
    """All diagonals are the dense Hessian's over the same batches, however far apart those are that meet."""
    if name == "Later" and size == 37:
        size = 20
    torch.manual_seed(0)
    module, x = COMPANY[name](), data(name)
    if name == "Later" and size != BATCH:
        x[size, 0] = 11
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS, "--batch-size", str(size))
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, LABELS, cross_entropies, size=size), 1e-9)


METHODS = ["gauss_newton", "output_hessian_shared", "output_hessian", "activation_probes"]


@pytest.mark.parametrize(("name", "method"), covering(COMPANY, METHODS))
def test_methods_that_need_samples_apart_refuse(
    name: str, method: str, diag: Diag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Forced on the layer before samples meet, such a method ends with exit 2 or 3 and says what is the matter."""
    torch.manual_seed(0)
    path, x = scripted(COMPANY[name](), tmp_path / "m.pt"), data(name)
    result = diag(path, {"x": x}, LABELS, LOGITS, "--layer", "one", "--method", method)
    assert result.code in (2, 3)
    said = capfd.readouterr().err
    assert "influence each other" in said or (method == "gauss_newton" and "piecewise linear" in said)
    assert not result.report.exists()


@pytest.mark.parametrize(("name", "command"), covering(COMPANY, ["inputs", "split"]))
def test_inputs_and_split_refuse(
    name: str, command: str, compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is defined per sample needs samples apart: exit 3 and the reason, though they meet in a later batch only."""
    torch.manual_seed(0)
    path, x = scripted(COMPANY[name](), tmp_path / "m.pt"), data(name)
    options = ("--at", "one") if command == "split" else ()
    code, report = compute(command, path, {"x": x}, LABELS, LOGITS, *options)
    assert code == 3
    told = "influence each other" if command == "split" else "depends on other samples"
    assert told in capfd.readouterr().err
    assert not report.exists()


@pytest.mark.parametrize("command", ["inputs", "split"])
def test_inputs_and_split_take_samples_that_are_apart(command: str, compute: Compute, tmp_path: Path) -> None:
    """The same network without company is no suspect; nor is a layer behind the place where samples meet."""
    torch.manual_seed(0)
    path = scripted(Net(), tmp_path / "m.pt")
    options = ("--at", "one") if command == "split" else ()
    assert compute(command, path, {"x": X}, LABELS, LOGITS, *options)[0] == 0
    if command == "split":
        path = scripted(HalfAway(), tmp_path / "n.pt")
        assert compute(command, path, {"x": X}, LABELS, LOGITS, "--at", "two")[0] == 0


@pytest.mark.parametrize("samples", range(1, 201))
def test_halves_and_tags_tell_every_pair_apart(samples: int) -> None:
    """Of any two samples some half has only the first; in some tag any two differ, and all tags are powers of two."""
    parts = np.array(halves(samples), dtype=bool).reshape(-1, samples)
    apart = np.zeros((samples, samples), dtype=bool)
    for part in parts:
        apart |= part[:, None] & ~part[None, :]
    assert (apart | np.eye(samples, dtype=bool)).all()
    found = np.array(tags(samples)).reshape(-1, samples)
    differ = (found[:, :, None] != found[:, None, :]).any(0)
    assert (differ | np.eye(samples, dtype=bool)).all()
    assert (np.frexp(found)[0] == 0.5).all()
    assert np.isfinite(found.astype(np.float32)).all()


@pytest.mark.parametrize("samples", [2, 3, 7, 16, 64, 65, 100, 130])
def test_rows_of_any_two_that_meet_are_found(samples: int) -> None:
    """One entry of influence anywhere, however faint, is enough; none, and the rows are separate."""
    rng = np.random.default_rng(samples)
    own = rng.standard_normal((samples, 3))
    assert rows_separate(lambda weights: own * weights[:, None], samples)
    for _ in range(40):
        reader, read = rng.choice(samples, 2, replace=False)
        size = 10.0 ** rng.uniform(-10, 2)

        def rows(weights: np.ndarray, reader: int = reader, read: int = read, size: float = size) -> np.ndarray:
            found = own * weights[:, None]
            found[read] += size * weights[reader]
            return found

        assert not rows_separate(rows, samples), (reader, read, size)


@pytest.mark.parametrize("samples", [2, 5, 33, 70])
def test_rows_whose_rounding_depends_on_their_company_are_separate(samples: int) -> None:
    """A kernel may add up in another order for other numbers: zeros decide then, and not bits."""
    rng = np.random.default_rng(0)
    own = rng.standard_normal((samples, 3))

    def rows(weights: np.ndarray) -> np.ndarray:
        found = own * weights[:, None]
        return found * (1 + 2.0**-50 * (weights.max() > 1))

    assert rows_separate(rows, samples)


@pytest.mark.parametrize("name", [name for name in COMPANY if name != "Faint"])
def test_samples_that_meet_are_warned_of(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever meets whom, and in whatever batch: the run says that its numbers are those of batches of this size."""
    torch.manual_seed(0)
    path = scripted(COMPANY[name](), tmp_path / "m.pt")
    spec = write_spec(tmp_path, "d", {"x": data(name)}, LABELS, LOGITS)
    words = ["--data", str(spec), "-o", str(tmp_path / "r.h5"), "--dtype", "float64", "--layer", "two"]
    assert run(["diag", str(path), *words]) == 0
    assert "depends on the other samples" in " ".join(capfd.readouterr().err.split())
