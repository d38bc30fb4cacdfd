"""What the figures of a trained network for digits are good for: ranks, and bits that beat uniform ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from digits_network import TRAINED, accuracy, images, saved, trained
from torch.nn import functional as F

import curvcli

from .conftest import ROOT

pytestmark = pytest.mark.slow
BITS, TARGETS = (8, 6, 5, 4, 3, 2), (3, 4, 5)


def test_a_network_trained_to_98_per_cent(tmp_path: Path) -> None:
    """Ranks by the prediction beat those by rounding errors; allotted bits beat uniform ones where they were allotted.

    On images never seen they are no worse than chance allows: what was gained is small beside the loss there.
    """
    network = trained()
    assert accuracy(network) >= 0.98
    path = saved(network, tmp_path)
    x, y = (torch.from_numpy(array[TRAINED:]) for array in images())
    for target in TARGETS:
        study = curvcli.sensitivity(path, bits=BITS, target_bits=target, sparsity=(0.3, 0.5), dtype="float64")
        ranks = study.table("sensitivity_ranks")
        for bits in (8, 6, 5, 4, 3):
            row = ranks[f"{bits} bits"]
            print(bits, row.rank_predicted, row.rank_quadratic, row.rank_hawq_v2, row.rank_error)  # noqa: T201
            assert row.rank_quadratic >= 0.8
            assert row.rank_quadratic > row.rank_error
        budgets = study.table("bit_budgets")
        allotted, uniform = budgets["allotted"], budgets[f"uniform {target}"]
        print(target, allotted.mean_bits, allotted.joint_measured, uniform.joint_measured)  # noqa: T201
        assert allotted.bytes <= uniform.bytes
        # At three bits no other choice is known to be better, and none is taken.
        assert allotted.joint_measured < uniform.joint_measured or (target == 3 and allotted.bytes == uniform.bytes)
        for row in study.table("pruning").values():
            assert row.pruned_layer != "(all layers)" or row.pruned_measured < row.magnitude_measured
        losses = []
        for bits in ({name: row.allotted_bits for name, row in study.table("allocation").items()}, target):
            state = {
                name: w if name.endswith("bias") else rounded(w, bits if isinstance(bits, int) else bits[name[:-7]])
                for name, w in network.state_dict().items()
            }
            with torch.no_grad():
                logits = torch.func.functional_call(network, state, (x,))
                losses.append(F.cross_entropy(logits, y, reduction="none").double())
        worse = losses[0] - losses[1]
        stderr = float(worse.std()) / len(y) ** 0.5
        print("images never seen", *(float(one.mean()) for one in losses), stderr)  # noqa: T201
        assert float(worse.mean()) <= 2 * stderr


def rounded(weights: torch.Tensor, bits: int) -> torch.Tensor:
    """As whoever reads the file of bits may do it."""
    scale = weights.abs().flatten(1).amax(1) / (2 ** (bits - 1) - 1)
    scale = scale.reshape(-1, *[1] * (weights.ndim - 1))
    return torch.round(weights / scale) * scale


@pytest.mark.parametrize("name", ["mlp_tanh.pt", "vgg16_digits.pt", "attention_digits.pt", "vgg16_digits"])
@pytest.mark.parametrize("target", [4, 5])
def test_the_sample_models(name: str, target: int) -> None:
    study = curvcli.sensitivity(ROOT / "sample_models" / name, bits=BITS, target_bits=target, sparsity=0.5)
    budgets = study.table("bit_budgets")
    allotted, uniform = budgets["allotted"], budgets[f"uniform {target}"]
    print(name, target, allotted.joint_measured, uniform.joint_measured)  # noqa: T201
    assert allotted.bytes <= uniform.bytes
    assert allotted.joint_measured < uniform.joint_measured
    rows = [row for row in study.table("quantization").values() if row.bits == 8]
    predicted, measured = (np.array([getattr(row, c) for row in rows]) for c in ("quadratic_rise", "measured_rise"))
    assert np.abs(predicted - measured).max() <= 0.1 * np.abs(measured).max()
