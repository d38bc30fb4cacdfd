"""Samples in memory (arrays, a DataLoader, a tf.data.Dataset) as batches of NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any, Final

import numpy as np

from curvcli.data.interface import Array
from curvcli.errors import CurvcliError, DataError, UsageError
from curvcli.text import cut, quoted

# By position, or by name.
Inputs = tuple[Array, ...] | Mapping[str, Array]

# Keys of the targets in a mapping; the first that is there.
_TARGETS: Final = ("labels", "label", "targets", "target", "y")
_STACKED: Final = 256  # samples that come one by one
_INFINITE: Final = -1  # tf.data.INFINITE_CARDINALITY


@dataclass(frozen=True)
class LiveBatch:
    """Some samples.

    Attributes:
        inputs: (k, …) each.
        target: (k, …), or None.
        weight: (k,), or None.
    """

    inputs: Inputs
    target: Array | None
    weight: Array | None

    def arrays(self) -> dict[int | str, Array]:
        """The inputs, by position or name."""
        keyed = self.inputs.items() if isinstance(self.inputs, Mapping) else enumerate(self.inputs)
        return dict(keyed)


def live_batches(data: Any, ranks: Sequence[int] | None = None) -> Iterator[LiveBatch]:
    """Go through data once.

    Args:
        data: ``(x, y)`` or ``(x, y, weight)``, x an array or tensor, a tuple or a mapping of them; a mapping in which
            the targets are called ``labels``, ``label``, ``targets``, ``target`` or ``y``; inputs alone; or an iterable
            of such batches, like a torch ``DataLoader`` or a ``tf.data.Dataset``. From a ``DataLoader`` the last of
            three and more tensors are the targets, the others inputs. Samples that come one by one are recognised by
            targets that are single numbers, or by the ``ranks``.
        ranks: of every input of the model, how many axes it has, that of the samples included; None if not known.

    Raises:
        UsageError: it is nothing of this kind, or has no end.
        DataError: something else than numbers, or not as many of one as of the other.
    """
    if _is_whole(data):
        yield _checked(_batch(data, last_is_target=False), 0)
        return
    read = _from_torch if _of_torch(data) else _batch
    parts = map(read, _told(_elements(data)))
    first = next(parts, None)
    if first is None:
        return
    if not _one_by_one(first, ranks):
        yield _checked(first, 0)
        for number, batch in enumerate(parts, 1):
            yield _checked(batch, number)
        return
    samples, number = chain([first], parts), 0
    while several := list(islice(samples, _STACKED)):
        yield _checked(_stacked(several), number)
        number += 1


def _is_whole(data: Any) -> bool:
    """Whether all samples are there at once: arrays themselves, not what gives batches of them."""
    if isinstance(data, Mapping) or hasattr(data, "shape"):
        return True
    if isinstance(data, list) and len(data) in (2, 3):
        return any(hasattr(part, "shape") for part in data)
    return isinstance(data, tuple)


def _elements(data: Any) -> Iterator[Any]:
    """What there is to go through.

    Raises:
        UsageError: nothing, or without end.
    """
    cardinality = getattr(data, "cardinality", None)
    if callable(cardinality) and int(cardinality()) == _INFINITE:
        raise UsageError("data: repeats for ever; pass a part of it: data.take(n).")
    if isinstance(data, str | bytes) or (not isinstance(data, Iterable) and not hasattr(data, "__getitem__")):
        raise UsageError(
            f"data: an object of type {type(data).__name__} is neither arrays (x, y), nor a DataLoader, a "
            "tf.data.Dataset or another iterable of batches, nor the path of a dataset spec."
        )
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        # Many of torch's data sets do not end by themselves when they are iterated.
        return (data[place] for place in range(len(data)))
    return iter(data)


def _told(elements: Iterator[Any]) -> Iterator[Any]:
    """The same elements; what their own code raises is told as its own.

    Raises:
        DataError: an element can't be had.
    """
    for number in count():
        try:
            element = next(elements)
        except StopIteration:
            return
        except CurvcliError:
            raise
        except Exception as error:
            # A worker of a DataLoader sends its whole traceback as text: the mistake is in the last line.
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            last = cut(lines[-1], 200) if lines else ""
            kind = type(error).__name__
            reason = last if last.startswith(kind) else ": ".join(filter(None, [kind, last]))
            raise DataError(f"data: number {number} (from 0) of what it gives can't be had: {reason}") from error
        yield element


def _batch(part: Any, *, last_is_target: bool = False) -> LiveBatch:
    """Inputs, targets and weights of what a loader gives."""
    if isinstance(part, Mapping):
        key = next((name for name in _TARGETS if name in part), None)
        inputs = {str(name): _array(value, f"[{name!r}]") for name, value in part.items() if name != key}
        return _with_inputs(inputs, None if key is None else _array(part[key], f"[{key!r}]"), None)
    if not isinstance(part, tuple | list):
        return _with_inputs((_array(part, "x"),), None, None)
    values = tuple(part)
    if last_is_target and len(values) > 2:
        values = (values[:-1], values[-1])
    if len(values) not in (1, 2, 3):
        raise UsageError(
            f"data: {len(values)} arrays; pass (x, y) or (x, y, weight), several inputs as a tuple or dict x."
        )
    x, y, weight = (*values, None, None)[:3]
    target = None if y is None else _array(y, "y")
    weights = None if weight is None else _array(weight, "weight")
    if isinstance(x, Mapping):
        return _with_inputs({str(name): _array(value, f"x[{name!r}]") for name, value in x.items()}, target, weights)
    if isinstance(x, tuple) or (isinstance(x, list) and x and all(hasattr(value, "shape") for value in x)):
        return _with_inputs(tuple(_array(value, f"x[{i}]") for i, value in enumerate(x)), target, weights)
    return _with_inputs((_array(x, "x"),), target, weights)


def _from_torch(part: Any) -> LiveBatch:
    return _batch(part, last_is_target=True)


def _with_inputs(inputs: Inputs, target: Array | None, weight: Array | None) -> LiveBatch:
    if not inputs:
        raise UsageError("data: there are targets and no inputs.")
    return LiveBatch(inputs, target, weight)


def _array(value: Any, name: str) -> Array:
    """NumPy's form of an array, a tensor, a data frame or nested lists.

    Raises:
        DataError: it holds something else than numbers.
    """
    if callable(getattr(value, "detach", None)):  # torch
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    elif callable(getattr(value, "numpy", None)):  # TensorFlow
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"data: {name}: {cut(str(error), 120)}.") from None
    if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 of ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        named = array.dtype.kind in "USTO" and all(isinstance(one, str) for one in array.ravel()[:_STACKED])
        if named and array.ndim == 1:
            raise DataError(
                f"data: {name} holds names, not numbers. In alphabetical order, as scikit-learn counts them:\n"
                "classes, numbers = numpy.unique(names, return_inverse=True), and pass the numbers."
            )
        raise DataError(f"data: {name} holds {array.dtype}, not numbers.")
    return array


def _one_by_one(first: LiveBatch, ranks: Sequence[int] | None) -> bool:
    """Whether elements are single samples."""
    arrays = list(first.arrays().values())
    if ranks is not None and len(ranks) == len(arrays):
        return all(array.ndim == rank - 1 for array, rank in zip(arrays, ranks, strict=True))
    if any(array.ndim == 0 for array in arrays):
        return True
    return first.target is not None and first.target.ndim == 0


def _stacked(several: Sequence[LiveBatch]) -> LiveBatch:
    first = several[0]
    names = list(first.arrays())
    if any(list(one.arrays()) != names or (one.target is None) != (first.target is None) for one in several):
        raise DataError("data: not all samples have the same inputs and a target.")
    by_name = {name: _stack([one.arrays()[name] for one in several], f"input {name}") for name in names}
    inputs: Inputs = (
        {str(name): array for name, array in by_name.items()}
        if isinstance(first.inputs, Mapping)
        else tuple(by_name.values())
    )
    return LiveBatch(inputs, _optional([one.target for one in several]), _optional([one.weight for one in several]))


def _optional(arrays: list[Array | None]) -> Array | None:
    there = [array for array in arrays if array is not None]
    return _stack(there, "the target") if there else None


def _stack(arrays: list[Array], name: str) -> Array:
    if len({array.shape for array in arrays}) > 1:
        raise DataError(f"data: {name} has not the same shape in all samples; pad them to one length.")
    return np.stack(arrays)


def _checked(batch: LiveBatch, number: int) -> LiveBatch:
    """A batch of which every array has as many samples.

    Raises:
        DataError: one has more or fewer, or is a single number.
    """
    arrays = {quoted(str(name)) if isinstance(name, str) else f"x[{name}]": a for name, a in batch.arrays().items()}
    named = {**arrays, "y": batch.target, "weight": batch.weight}
    lengths = {name: (array.shape[0] if array.ndim else None) for name, array in named.items() if array is not None}
    if len(set(lengths.values())) == 1 and None not in lengths.values():
        return batch
    told = ", ".join(f"{name} has {'no axis of samples' if n is None else n}" for name, n in lengths.items())
    where = f", batch {number}" if number else ""
    raise DataError(f"data{where}: not as many samples in all arrays: {told}.")


def _of_torch(data: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "torch" for kind in type(data).__mro__)
