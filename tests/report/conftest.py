"""Small records with known numbers, shared by the report's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curvcli.report.records import LayerRecord, ParameterRecord, Provenance


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
