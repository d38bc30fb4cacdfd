"""Small records with known numbers, shared by the report's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.inputs import InputAxes, InputsRecord, ResidualRecord
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, Quantity, TraceRecord
from curvcli.report.records.split import SplitPart, SplitRecord
from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.registry import STUDIES


def parameter(label: str, layer: str, shape: tuple[int, ...], seed: int, /, **changes: object) -> ParameterRecord:
    rng = np.random.default_rng(seed)
    values: dict[str, object] = {
        "label": label,
        "name": f"{layer}/{label}",
        "shape": shape,
        "axes": tuple(f"axis{i}" for i in range(len(shape))),
        "gradient": rng.standard_normal(shape).astype(np.float32),
        "diagonal": rng.standard_normal(shape),
        "method": "gauss_newton",
        "exact": True,
        "reason": "piecewise linear from here to the loss",
        "products": 10,
    } | changes
    return ParameterRecord(**values)  # type: ignore[arg-type]


@pytest.fixture
def make_layer() -> Callable[..., LayerRecord]:
    """Make a layer with a kernel and a bias; keywords change the kernel."""

    def make(name: str, index: int = 0, shape: tuple[int, ...] = (3, 4), **changes: object) -> LayerRecord:
        return LayerRecord(
            name=name,
            kind="dense",
            index=index,
            parameters=(
                parameter("kernel", name, shape, 2 * index, **changes),
                parameter("bias", name, (shape[-1],), 2 * index + 1, method="columns"),
            ),
            seconds=1.5 + index,
            status=changes.get("status", "done"),  # type: ignore[arg-type]
        )

    return make


@pytest.fixture
def layers(make_layer: Callable[..., LayerRecord]) -> list[LayerRecord]:
    return [make_layer(f"conv{i}", i) for i in range(4)]


# The Hessian of a layer of 16 entries, as `make_layer` makes them.
HESSIAN = np.add.outer(np.arange(16.0), np.arange(16.0)) - 8 * np.eye(16)
EIGENVALUES, EIGENVECTORS = (array[..., ::-1] for array in np.linalg.eigh(HESSIAN))
CONDITION = float(np.abs(EIGENVALUES).max() / np.abs(EIGENVALUES).min())
VECTORS = EIGENVECTORS[:, :3].T
ORIGIN = {"reason": "asked for", "matrix": "hessian"}
QUANTITIES: dict[str, tuple[type[Quantity], dict[str, object]]] = {
    "trace": (
        TraceRecord,
        {"value": 112.5, "stderr": 1.25, "data_stderr": 4.5, "method": "hutchinson", "exact": False, "probes": 3}
        | {
            "products": 6,
            "converged": True,
            "samples": np.array([110.0, 113.5, 114.0]),
            "batches": np.array([50, 62.5]),
        }
        | ORIGIN,
    ),
    "eigen": (
        EigenRecord,
        {"values": EIGENVALUES[:3].copy(), "residuals": np.array([1e-9, 2e-7, 3e-4])}
        | {"converged": np.array([True, True, False]), "which": "largest", "method": "lanczos", "tolerance": 1e-6}
        | {"vectors": {"kernel": VECTORS[:, :12].reshape(3, 3, 4), "bias": VECTORS[:, 12:].copy()}, "products": 40}
        | ORIGIN,
    ),
    "density": (
        DensityRecord,
        {"nodes": np.array([[-8.0, 0.5, 240.0], [-8.0, 1.0, 239.0]]), "weights": np.full((2, 3), 1 / 3)}
        | {"grid": np.linspace(-10, 250, 5), "density": np.full(5, 0.004), "density_stderr": np.full(5, 0.001)}
        | {"bandwidth": 2.5, "weight_at_zero": 0.25, "weight_at_zero_stderr": 0.125, "support": (-8.0, 240.0)}
        | {"method": "lanczos_quadrature", "exact": False, "products": 6}
        | ORIGIN,
    ),
    "block": (
        BlockRecord,
        {"entries": HESSIAN, "eigenvalues": EIGENVALUES.copy(), "inertia": (1, 0, 15), "condition": CONDITION}
        | {"condition_is_bound": False, "frobenius": float(np.linalg.norm(HESSIAN)), "frobenius_stderr": 0.0}
        | {"asymmetry": 1e-16, "method": "dense", "exact": True, "products": 16}
        | ORIGIN,
    ),
}


@pytest.fixture
def make_quantity() -> Callable[..., Quantity]:
    """Make the record of a quantity of a layer as `make_layer` makes them; keywords change it.

    What an estimate's standard error is from follows from its probes.
    """

    def make(field: str, **changes: object) -> Quantity:
        kind, values = QUANTITIES[field]
        values = values | changes
        if field != "eigen" and not values["exact"]:
            count = {"trace": len(values.get("samples", ())), "density": len(values.get("nodes", ())), "block": 16}[
                field
            ]  # type: ignore[arg-type]
            certainty = {
                "estimates": count,
                "degrees": max(count - 1.0, 0.0),
                "independent": values["method"] != "xtrace",
            }
            values = certainty | values
        return kind(**values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_bare(make_layer: Callable[..., LayerRecord]) -> Callable[..., LayerRecord]:
    """Make a layer whose diagonal was not asked for; keywords are the layer's own."""

    def make(name: str = "conv", index: int = 0, **changes: object) -> LayerRecord:
        layer = make_layer(name, index)
        blank = {"gradient": None, "diagonal": None, "method": "", "exact": False, "reason": "", "products": 0}
        parameters = tuple(replace(p, **blank) for p in layer.parameters)  # type: ignore[arg-type]
        return replace(layer, parameters=parameters, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_whole() -> Callable[..., LayerRecord]:
    """Make the block of a whole model, whose parameters belong to its layers; keywords are its own."""

    def make(**changes: object) -> LayerRecord:
        values = {"name": "(whole model)", "kind": "model", "index": 9, "parameters": (), "entries": 16} | changes
        return LayerRecord(**values)  # type: ignore[arg-type]

    return make


def polynomial() -> InputsRecord:
    """x² + 2xy + 3y² + 4x + 5y + 6 at (1, 2) and (0, −1), which are rows 3 and 7 of the data."""
    rows = np.array([3, 7])
    return InputsRecord(
        name="u",
        rows=rows,
        inputs=(InputAxes(name="x", shape=()), InputAxes(name="y", shape=(1,))),
        value=np.array([37.0, 4.0]),
        gradient={"x": np.array([10.0, 2.0]), "y": np.array([[19.0], [-1.0]])},
        diagonal={"x": np.array([2.0, 2.0]), "y": np.array([[6.0], [6.0]])},
        laplacian=np.array([8.0, 8.0]),
        hessian=np.array([[[2.0, 2.0], [2.0, 6.0]]] * 2),
        derivatives={
            "y[0]": np.array([[37.0, 19.0, 6.0], [4.0, -1.0, 6.0]]),
            "x": np.array([[37.0, 10.0], [4.0, 2.0]]),
        },
        residual=ResidualRecord(column="f", mean_abs=0.375, max_abs=0.5, rms=0.40625, values=np.array([-0.5, 0.25])),
        method="products",
        exact=True,
        reason="2 coordinates",
        products=2,
        probes=0,
    )


@pytest.fixture
def make_inputs() -> Callable[..., InputsRecord]:
    """Make a function's derivatives by x, a scalar, and y, of shape (1,), at two points; keywords change it."""

    def make(**changes: object) -> InputsRecord:
        return replace(polynomial(), **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def image() -> InputsRecord:
    """A loss by images of 2×3 pixels, with an estimated diagonal: too many entries to be printed one by one."""
    pixels = np.arange(30.0).reshape(5, 2, 3)
    return InputsRecord(
        name="loss",
        rows=np.arange(5),
        inputs=(InputAxes(name="image", shape=(2, 3)),),
        value=np.arange(5.0),
        gradient={"image": pixels.astype(np.float32)},
        diagonal={"image": pixels - 10},
        diagonal_stderr={"image": np.full((5, 2, 3), 0.25)},
        laplacian=(pixels - 10).sum(axis=(1, 2)),
        laplacian_stderr=np.full(5, 1.5),
        method="probes",
        exact=False,
        reason="--method probes",
        products=8,
        probes=8,
    )


# out = x w of a batch of two, L = mean(out²), with x = ones(2, 3) and w = 0.5 (3×4); ∂out/∂x is too large to keep.
OUTPUT_GRADIENT = np.full((2, 4), 2 * 1.5 / 8)
PARTS = (
    SplitPart(
        by="kernel",
        kind="parameter",
        shape=(3, 4),
        jacobian=np.broadcast_to(np.einsum("ij,k->ikj", np.eye(4), np.ones(3)), (2, 4, 3, 4)).copy(),
        kept="whole",
        reason="96 entries",
        product=np.full((3, 4), 0.75),
        gradient=np.full((3, 4), 0.75),
        difference=0.0,
        relative_difference=0.0,
        passes=4,
    ),
    SplitPart(
        by="x",
        kind="input",
        shape=(3,),
        jacobian=None,
        kept="products",
        reason="24 entries are over --budget",
        product=np.full((2, 3), 0.75),
        gradient=np.full((2, 3), 0.75, dtype=np.float32),
        difference=1.5e-8,
        relative_difference=2e-8,
        passes=1,
    ),
)


@pytest.fixture
def make_split() -> Callable[..., SplitRecord]:
    """Make the gradient of a mean square in two parts at z = x w, by w and x; keywords change it."""

    def make(**changes: object) -> SplitRecord:
        values = {"operation": "dense/MatMul", "z_shape": (4,), "z_axes": ("unit",), "rows": np.array([0, 5])}
        values |= {"output_gradient": OUTPUT_GRADIENT.copy(), "parts": PARTS} | changes
        return SplitRecord(**values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_part() -> Callable[..., SplitPart]:
    """Make the part by the kernel (0) or by the input (1); keywords change it."""

    def make(index: int = 0, **changes: object) -> SplitPart:
        return replace(PARTS[index], **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def checks() -> tuple[CheckRecord, ...]:
    return (
        CheckRecord(
            name="gradient", subject="conv0", outcome="passed", figure=1.5e-9, limit=1e-5, detail="64 differences"
        ),
        CheckRecord(name="symmetry", subject="conv1", outcome="failed", figure=0.25, limit=1e-6, detail="uᵀHv ≠ vᵀHu"),
        CheckRecord(name="batches", subject="data", outcome="skipped", detail="one batch only | of 5"),
    )


def _some(kind: str, number: int) -> object:
    values = {
        "number": number + 0.125,
        "share": 0.5,
        "count": number,
        "flag": True,
        "shape": (number, 2),
        "status": "done",
    }
    return values.get(kind, ("a", "b") if kind == "words" else f"text {number}")


@pytest.fixture
def studies() -> tuple[StudyRecord, ...]:
    """One of each study that there is, every column of every table filled, and arrays of two sorts."""
    rng = np.random.default_rng(0)
    return tuple(
        StudyRecord(
            name=study.name,
            tables={
                table.group: tuple(
                    study_row(table, f"net/conv{i}", **{c.name: _some(c.kind, i) for c in table.columns if not c.value})
                    for i in range(2)
                )
                for table in study.tables
            },
            arrays=(
                StudyArray(name="b/x", values=rng.random((3, 2)), axes=("x", "y"), long_name="numbers", unit="loss"),
                StudyArray(name="a", values=np.arange(3), axes=("x",), long_name="rows", unit="1"),
            ),
            exact=True,
            passes=7,
        )
        for study in STUDIES.values()
    )


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        model_path="models/digits.pt",
        model_sha256="ab" * 32,
        dataset_digest="cd" * 32,
        spec_text='version = 1\n[source]\nformat = "npz"\n',
        config_json='{"seed": 0}',
        command_line="curvcli diag models/digits.pt --layer 'conv*'",
        backend="torch",
        versions={"torch": "2.13.0", "numpy": "2.4.6"},
        device="cpu",
        dtype="float64",
        seed=0,
        loss="cross_entropy",
        reduction="mean",
        samples=512,
        denominator=512.0,
        loss_value=0.25,
    )


@pytest.fixture
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
