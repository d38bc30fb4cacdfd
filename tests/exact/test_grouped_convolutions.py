"""Second and third derivatives of convolutions in groups: PyTorch's own numbers, with one operation for all groups."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from curvcli.models.torch.derivatives import derivatives

CONVOLUTIONS = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
TRANSPOSED = {1: torch.nn.ConvTranspose1d, 2: torch.nn.ConvTranspose2d, 3: torch.nn.ConvTranspose3d}


def network(seed: int) -> tuple[torch.nn.Module, Tensor]:
    """A convolution in groups between two others, of any kind."""
    torch.manual_seed(seed)

    def one(low: int, high: int) -> int:
        return int(torch.randint(low, high, ()))

    axes, groups = one(1, 4), one(2, 5)
    channels, kernel, stride, dilation = groups * one(1, 3), one(1, 4), one(1, 3), one(1, 3)
    kinds, bias = (TRANSPOSED if one(0, 3) == 0 else CONVOLUTIONS), bool(one(0, 2))
    options = {"stride": stride, "padding": one(0, 2), "dilation": dilation, "groups": groups, "bias": bias}
    layers = [CONVOLUTIONS[axes](2, channels, 1), torch.nn.Tanh()]
    layers += [kinds[axes](channels, groups * one(1, 3), kernel, **options), torch.nn.Tanh()]
    layers += [torch.nn.Flatten(), torch.nn.LazyLinear(1)]
    net, x = torch.nn.Sequential(*layers).double(), torch.randn(3, 2, *[7] * axes, dtype=torch.float64)
    net(x)
    return net, x.requires_grad_()


def by_autograd(first: Sequence[Tensor], inputs: Sequence[Tensor], along: Sequence[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(first, inputs, along, create_graph=True))


def by_ours(first: Sequence[Tensor], inputs: Sequence[Tensor], along: Sequence[Tensor]) -> list[Tensor]:
    pulled = derivatives(first, inputs, along, "test", create_graph=True)
    assert all(one is not None for one in pulled)
    return [one for one in pulled if one is not None]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("by_weights", [False, True])
def test_they_are_autograds_own(seed: int, *, by_weights: bool) -> None:
    net, x = network(seed)
    inputs = [*net.parameters()] if by_weights else [x]
    along = [torch.randn_like(one) for one in inputs]
    rows = []
    for way in (by_autograd, by_ours):
        loss = (net(x) ** 2).sum()
        first = way([loss], inputs, [torch.ones_like(loss)])
        second = way(first, inputs, along)
        third = torch.autograd.grad(second, inputs, along)
        rows.append([*first, *second, *third])
    for expected, ours in zip(*rows, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11 * float(expected.detach().abs().max()))


def test_a_product_makes_no_convolution_per_group() -> None:
    groups = 24
    layers = [torch.nn.Conv2d(groups, groups, 3, groups=groups), torch.nn.Tanh()]
    net, x = torch.nn.Sequential(*layers), torch.randn(2, groups, 6, 6, requires_grad=True)
    weights = [*net.parameters()]
    loss = (net(x) ** 2).sum()
    first = by_ours([loss], weights, [torch.ones_like(loss)])
    with profile(activities=[ProfilerActivity.CPU]) as calls:
        derivatives(first, weights, [torch.ones_like(one) for one in first], "test")
    made = sum(
        one.count for one in calls.key_averages() if one.key in {"aten::convolution", "aten::convolution_backward"}
    )
    assert 0 < made < groups


def test_nothing_stays_in_place_of_autograds_own() -> None:
    net, x = network(0)
    by_ours([(net(x) ** 2).sum()], [x], [torch.ones((), dtype=torch.float64)])
    (plain,) = torch.autograd.grad((net(x) ** 2).sum(), x, create_graph=True)
    names, waiting = set(), [plain.grad_fn]
    while waiting:
        node = waiting.pop()
        names.add(node.name())
        waiting += [source for source, _ in node.next_functions if source is not None]
    assert "ConvolutionBackwardBackward0" in names
    assert not any("_ConvolutionGradient" in name for name in names)
