"""Keeps what is finished of each target: quantity by quantity, and the whole once nothing is left to be computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from curvcli.analysis.progress import Voice
from curvcli.analysis.quantities.base import Quantity
from curvcli.analysis.targets import Target
from curvcli.engine.work import Work
from curvcli.models.base import Array
from curvcli.report.hdf5.parts import Parts
from curvcli.report.records.layers import LayerRecord, ParameterRecord
from curvcli.report.records.promises import without_promises


class Records:
    """The records of a run's targets while they grow.

    Attributes:
        seconds: spent on each target, by all runs.
    """

    def __init__(
        self,
        parts: Parts,
        pending: dict[str, Target],
        quantities: Sequence[Quantity],
        voice: Voice,
        *,
        deterministic: bool,
    ) -> None:
        """Take up what an earlier run had finished of targets that it had not.

        Args:
            parts: where records are kept.
            pending: the targets that are not finished, by name; those that become so are taken out.
            quantities: of the run.
            voice: told of what is kept.
            deterministic: whether anything may be called exact.
        """
        self._parts, self._pending, self._quantities = parts, pending, quantities
        self._voice, self._deterministic = voice, deterministic
        every = {quantity.name for quantity in quantities}
        missing = {name: set(names) & every for name, names in parts.unfinished().items() if name in pending}
        self._left = {name: missing.get(name, set(every)) for name in pending}
        self._grown: dict[str, LayerRecord] = {name: parts.record(name) for name in missing}
        self.seconds = {name: record.seconds for name, record in self._grown.items()}
        if missing:
            count = sum(len(every - names) for names in missing.values())
            voice.note(f"resuming: {count} quantit{'ies' if count != 1 else 'y'} of unfinished layers already done")

    def needed(self, work: Work[Any]) -> bool:
        """Whether a quantity that is not finished needs some work."""
        names = self._pending.keys() & set(work.targets)
        return any(quantity.name in self._left[n] for quantity in self._of(work) for n in names)

    def _of(self, work: Work[Any]) -> list[Quantity]:
        return [quantity for quantity in self._quantities if any(one is work for one in quantity.work)]

    def save(self, waiting: Sequence[Work[Any]], bare: Callable[[Target], LayerRecord]) -> None:
        """Keep what is finished now: all that needs none of the work that waits.

        Args:
            waiting: work that has not been done.
            bare: a target's record without any quantity.
        """
        for name, target in list(self._pending.items()):
            grown, left = self._grown.get(name), self._left[name]
            worked = False
            for quantity in self._quantities:
                if quantity.name not in left or any(_has(quantity, work, name) for work in waiting):
                    continue
                grown = quantity.record(target, grown or bare(target))
                left.discard(quantity.name)
                worked = worked or any(name in work.targets for work in quantity.work)
            if grown is not None:
                self._grown[name] = grown = replace(grown, seconds=self.seconds.get(name, 0.0))
            if grown is not None and (worked or not left):
                self._keep(grown, left)
            if not left:
                del self._pending[name]
                self._grown.pop(name, None)

    def _keep(self, grown: LayerRecord, left: set[str]) -> None:
        record = grown if self._deterministic else without_promises(grown)
        missing = [quantity.name for quantity in self._quantities if quantity.name in left]
        row = self._parts.save(record, missing=missing)
        self._voice.detail(f"{record.name}: {row.method}, {row.status}")


def _has(quantity: Quantity, work: Work[Any], name: str) -> bool:
    """Whether a quantity needs some work for a target."""
    return name in work.targets and any(one is work for one in quantity.work)


def bare_record(dtype: str, target: Target, gradients: Mapping[str, Array]) -> LayerRecord:
    """A target's record with its gradient alone.

    Args:
        dtype: of the run.
        target: a layer, or the whole model.
        gradients: by parameter, of those that have one.
    """
    kind = np.float64 if dtype == "float64" else np.float32
    parameters = () if target.layer is None else target.layer.parameters
    return LayerRecord(
        name=target.name,
        kind=target.kind,
        index=target.index,
        parameters=tuple(
            ParameterRecord(
                label=p.label,
                name=p.name,
                shape=p.shape,
                axes=p.axes,
                gradient=gradients[p.name].astype(kind) if p.name in gradients else None,
            )
            for p in parameters
        ),
        entries=target.block.size if target.layer is None else None,
    )
