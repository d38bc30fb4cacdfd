"""The sample models: both formats against each other, and against coordinates that torch alone differentiates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from covering import slow
from sessions import session_of
from torch.nn import functional as F

from curvcli.analysis.options.shared import Dtype
from curvcli.analysis.session import Session
from curvcli.cli.main import run
from curvcli.curvature.diagonal.planner import plan_diagonal

from .conftest import ROOT, Arrays, Outcome
from .counting import CountedObjective

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NAMES = ("vgg16_digits", "mlp_tanh", "attention_digits")
# Of the others, TensorFlow traces half a minute and a whole one.
LIGHT, HEAVY = "mlp_tanh", ["vgg16_digits", "attention_digits"]
# Two whole batches: TensorFlow traces every shape of batch anew. Uneven ones are in test_savedmodel.py.
SAMPLES, BATCH = 32, 16
SUFFIXES = {"torch": ".pt", "export": ".pt2", "tensorflow": ""}
LABELS = {"kernel": "weight", "gamma": "weight", "beta": "bias"}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> object:
    """``outcome(name, form, dtype)``: one run per model, format and precision.

    The form is ``torch`` for TorchScript, ``export`` for ``.pt2``, ``tensorflow`` for a SavedModel.
    """
    folder, made = tmp_path_factory.mktemp("samples"), {}

    def call(name: str, backend: str, dtype: str = "float64") -> Outcome:
        key = f"{name}-{backend}-{dtype}"
        if key not in made:
            path = ROOT / "sample_models" / f"{name}{SUFFIXES[backend]}"
            sampling = ["--limit", str(SAMPLES), "--batch-size", str(BATCH), "--dtype", dtype]
            made[key] = Outcome(
                run(["diag", str(path), "-q", "-o", str(folder / f"{key}.h5"), *sampling]), folder / f"{key}.h5"
            )
        return made[key]

    return call


def torch_layout(arrays: Arrays) -> Arrays:
    """TensorFlow's names and layouts as torch has them: HWIO → OIHW, (in, out) → (out, in)."""
    found = {}
    for name, value in arrays.items():
        layer, _, label = name.rpartition("/")
        turned = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        found[f"{layer}/{LABELS.get(label, label)}"] = turned if label == "kernel" else value
    return found


def assert_equal_layers(found: Arrays, expected: Arrays, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # Softmax does not see the key's bias: its curvature is zero, and what is left is rounding of other layers.
        other = expected.get("key/weight", expected.get("key/kernel"))
        scale = np.abs(value if name != "key/bias" else other).max()
        assert np.abs(found[name] - value).max() <= tolerance * scale, name


@pytest.mark.parametrize("name", [LIGHT, *slow(HEAVY)])
def test_both_formats_give_the_same(name: str, outcome: object) -> None:
    """SavedModel and TorchScript of the same weights agree in diagonal, gradient and loss to 1e-9."""
    ours, theirs = outcome(name, "torch"), outcome(name, "tensorflow")
    assert ours.code == theirs.code == 0
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-12)
    assert_equal_layers(torch_layout(theirs.diagonal), ours.diagonal, 1e-9)


def test_the_archive_of_torch_export_gives_the_same(outcome: object) -> None:
    """``.pt2`` and TorchScript of the same weights agree in diagonal, gradient and loss to 1e-9."""
    ours, theirs = outcome("mlp_tanh", "torch"), outcome("mlp_tanh", "export")
    assert ours.code == theirs.code == 0
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-12)
    assert_equal_layers(theirs.diagonal, ours.diagonal, 1e-9)
    assert_equal_layers(theirs.gradient, ours.gradient, 1e-9)


@pytest.mark.parametrize(("name", "backend"), [(LIGHT, "torch"), *slow(HEAVY, ["torch"]), *slow(NAMES, ["tensorflow"])])
def test_float32_is_close_to_float64(name: str, backend: str, outcome: object) -> None:
    """In float32 every entry is within 1e-4 of the largest one."""
    assert_equal_layers(outcome(name, backend, "float32").diagonal, outcome(name, backend).diagonal, 1e-4)


def session(name: str, dtype: Dtype = "float64") -> Session:
    path = ROOT / "sample_models" / name
    return session_of(path, limit=SAMPLES, batch_size=BATCH, dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
def test_random_coordinates_equal_torchs_own_second_derivatives(name: str, outcome: object) -> None:
    """Five random entries of every parameter equal a plain double backward through the loaded module."""
    diagonal = outcome(name, "torch").diagonal
    data = session(f"{name}.pt")
    module = torch.jit.load(str(ROOT / "sample_models" / f"{name}.pt")).double()
    parameters = dict(module.named_parameters())
    found = {n: np.zeros(5) for n in parameters}
    rng = np.random.default_rng(0)
    chosen = {n: rng.integers(0, p.numel(), 5) for n, p in parameters.items()}
    with torch.jit.optimized_execution(False):
        for batch in data.samples.batches(SAMPLES):
            o = module(torch.from_numpy(batch.inputs["image"]))
            y = torch.from_numpy(batch.target)
            loss = F.nll_loss(o.log(), y) if name == "mlp_tanh" else F.cross_entropy(o, y)
            for n, p in parameters.items():
                (first,) = torch.autograd.grad(loss, p, create_graph=True)
                for k, i in enumerate(chosen[n]):
                    (row,) = torch.autograd.grad(first.reshape(-1)[i], p, retain_graph=True)
                    found[n][k] = row.reshape(-1)[i]
    for n, values in found.items():
        owner, _, label = n.rpartition(".")
        ours = diagonal[f"{owner or label}/{label}"]
        assert np.abs(ours.reshape(-1)[chosen[n]] - values).max() <= 1e-9 * np.abs(ours).max() + 1e-15, n


@pytest.mark.parametrize("name", [*NAMES, *(f"{n}.pt" for n in NAMES)])
def test_four_products_in_a_row_are_equal_and_change_the_gradient_as_they_say(name: str) -> None:
    """Hessian–vector products repeat exactly, and are symmetric: uᵀHv = vᵀHu."""
    opened = session(name)
    parameters = opened.model.layers[-1].parameters
    block, space = [p.name for p in parameters], opened.objective.space(parameters)
    size = sum(p.size for p in parameters)
    u, v = np.random.default_rng(0).standard_normal((2, size))
    batch = next(opened.objective.batches(block))
    vectors = space.from_numpy(np.stack([u, v]))
    products = [space.to_numpy(batch.hessian_products(block, vectors)) for _ in range(4)]
    for other in products[1:]:
        np.testing.assert_array_equal(other, products[0])
    hu, hv = products[0]
    assert u @ hv == pytest.approx(v @ hu, rel=1e-10)


@pytest.mark.parametrize("name", ["vgg16_digits", "vgg16_digits.pt"])
def test_conv4_3_costs_at_most_classes_plus_five_passes_per_batch(name: str) -> None:
    """The exact diagonal of conv4_3 is Gauss–Newton's, for one pass per class and a few more."""
    from curvcli.curvature.first_order import FirstOrder
    from curvcli.engine.serial import SerialEngine
    from curvcli.engine.work import computed

    opened = session(name, "float32")
    layer = next(one for one in opened.model.layers if one.name == "conv4_3")
    names = [p.name for p in layer.parameters]
    objective = CountedObjective(opened.objective)
    rank = next(objective.batches(names)).output.rank
    plan = plan_diagonal(layer.parameters, objective.sites(names), rank)
    (method,) = plan.work
    computed(FirstOrder(tuple(names)), SerialEngine(objective))
    computed(method, SerialEngine(objective))
    assert method.method == "gauss_newton"
    assert objective.backward_passes <= objective.batch_count() * (10 + 5)


def test_smooth_tails_are_exact_by_another_method_and_the_planner_says_why(outcome: object) -> None:
    """What tanh follows is not Gauss–Newton's; the reason names the operation."""
    opened = session("mlp_tanh.pt")
    parameters = opened.model.layers[0].parameters
    plan = plan_diagonal(parameters, opened.objective.sites([p.name for p in parameters]), 10)
    choice = plan.choices["fc1.weight"]
    assert choice.method == "output_hessian"
    assert "tanh" in choice.reason
