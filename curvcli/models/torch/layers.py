"""Groups a module's parameters into layers, by the module that owns each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from curvcli.models.base import Layer, Parameter

_SPATIAL = {1: ("kernel",), 2: ("kernel_h", "kernel_w"), 3: ("kernel_d", "kernel_h", "kernel_w")}


def _owner(name: str) -> tuple[str, str]:
    """The module that a parameter belongs to for whoever built it, and its name there.

    What torch.nn.utils.parametrize makes of ``fc.weight`` lies in a module of its own,
    ``fc.parametrizations.weight.original0`` …; it is ``weight.original0`` of ``fc``.
    """
    owner, _, label = name.rpartition(".")
    parent, marker, child = f".{owner}".rpartition(".parametrizations.")
    return (parent.lstrip("."), f"{child}.{label}") if marker else (owner, label)


def layers_of(
    parameters: Mapping[str, Tensor], kinds: Mapping[str, str], trainable: Mapping[str, bool]
) -> Iterator[Layer]:
    """Parameters grouped by the module that owns them; those of the root are layers of their own.

    Args:
        parameters: by full name, in model order.
        kinds: the class of each module, by the module's full name.
        trainable: whether a parameter was trained, where the file tells.
    """
    groups: dict[str, list[str]] = {}
    for name in parameters:
        groups.setdefault(_owner(name)[0] or name, []).append(name)
    for owner, names in groups.items():
        kind = kinds.get(owner, "Parameter").removeprefix("Parametrized")
        owned = []
        for name in names:
            label = _owner(name)[1]
            shape = tuple(parameters[name].shape)
            axes = _axes(kind, label, len(shape))
            owned.append(Parameter(name, label, shape, axes, trainable.get(name, True)))
        yield Layer(owner, kind, tuple(owned))


def _axes(kind: str, label: str, ndim: int) -> tuple[str, ...]:
    if label == "bias" and ndim == 1:
        return ("out",)
    if kind.startswith("ConvTranspose") and ndim - 2 in _SPATIAL:
        return ("in", "out", *_SPATIAL[ndim - 2])
    if kind.startswith("Conv") and ndim - 2 in _SPATIAL:
        return ("out", "in", *_SPATIAL[ndim - 2])
    if kind.startswith("Embedding") and ndim == 2:
        return ("token", "feature")
    if kind == "Conv1D" and ndim == 2 and label == "weight":  # Hugging Face's dense layer, turned
        return ("in", "out")
    if ndim == 2 and label.startswith("weight"):
        return ("out", "in")
    if ndim == 1:
        return ("feature",)
    return tuple(f"axis_{i}" for i in range(ndim))
