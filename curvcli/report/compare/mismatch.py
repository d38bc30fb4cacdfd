"""Whether two reports are about the same thing: what forbids a comparison, and what is only worth knowing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from curvcli.report.hdf5.read import Report
from curvcli.report.records.random_data import SAID
from curvcli.report.records.subset import subset_words
from curvcli.report.records.summaries import LayerSummary
from curvcli.text import printable
from curvcli.toml import TomlError, parse_toml
from curvcli.wording import shell_option

# Of the loss, what stands in the provenance is compared there; a spec may leave the rest out, for its defaults.
_IN_PROVENANCE: Final = frozenset({"name", "reduction"})
_NOTED: Final = ("backend", "dtype", "device", "seed", "threads")
_MOST: Final = 5


@dataclass(frozen=True)
class Layers:
    """The layers of two reports.

    Attributes:
        common: in both, in the base's order, as pairs of rows.
        missing: only in the base.
        new: only in the new report.
    """

    common: tuple[tuple[LayerSummary, LayerSummary], ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]

    @classmethod
    def of(cls, base: Sequence[LayerSummary], new: Sequence[LayerSummary]) -> Layers:
        """Match by name."""
        before, after = {row.name: row for row in base}, {row.name: row for row in new}
        return cls(
            common=tuple((row, after[name]) for name, row in before.items() if name in after),
            missing=tuple(name for name in before if name not in after),
            new=tuple(name for name in after if name not in before),
        )


def mismatches(base: Report, new: Report, layers: Layers) -> tuple[str, ...]:
    """Return what forbids to compare the two, one short sentence each; nothing for what can be compared.

    Another model is what a comparison is for. Another loss, other data or other layers would make every change a
    change of those.
    """
    before, after = base.provenance, new.provenance
    differences = [
        f"{word} {getattr(after, word)}, was {getattr(before, word)}"
        for word in ("loss", "reduction")
        if getattr(after, word) != getattr(before, word)
    ]
    differences += _loss_options(before.spec_text, after.spec_text)
    if before.dataset_digest != after.dataset_digest:
        drawn = {(True, False): ", was drawn at random", (False, True): ", drawn at random"}
        which = drawn.get((before.random_data, after.random_data), "")
        differences.append(f"other data ({after.samples} samples, was {before.samples}{which})")
    elif before.denominator != after.denominator:
        differences.append(f"the loss is divided by {after.denominator:g}, was {before.denominator:g}")
    if layers.missing:
        differences.append(f"{_count(layers.missing)} missing: {listed(layers.missing)}")
    if layers.new:
        differences.append(f"{_count(layers.new)} new: {listed(layers.new)}")
    differences += [_resized(old, row) for old, row in layers.common if _shape(old) != _shape(row)]
    differences += [
        f"{name} is partial" for name, report in (("BASE", base), ("NEW", new)) if report.status != "complete"
    ]
    return tuple(differences)


def notes(base: Report, new: Report) -> tuple[str, ...]:
    """Return what differs, or does not, and a reader should know."""
    before, after = base.provenance, new.provenance
    sentences = [
        f"{name}: the model's output is random ({shell_option('allow_random')}), so its figures are not exact"
        for name, run in (("BASE", before), ("NEW", after))
        if not run.deterministic
    ]
    sentences += [
        f"{name}: the data were {SAID}" for name, run in (("BASE", before), ("NEW", after)) if run.random_data
    ]
    sentences += [
        f"{name}: samples {words}" for name, run in (("BASE", before), ("NEW", after)) if (words := subset_words(run))
    ]
    if before.model_sha256 == after.model_sha256:
        sentences.append("both are of the same model: what differs is how it was computed")
    sentences += [
        f"{word}: {getattr(before, word)} → {getattr(after, word)}"
        for word in _NOTED
        if getattr(before, word) != getattr(after, word)
        and not (word == "threads" and 0 in (before.threads, after.threads))
    ]
    packages = sorted({*before.versions, *after.versions})
    sentences += [
        f"{name}: {before.versions.get(name, 'none')} → {after.versions.get(name, 'none')}"
        for name in packages
        if before.versions.get(name) != after.versions.get(name)
    ]
    return tuple(sentences)


def listed(names: Sequence[str]) -> str:
    """Return names in a row, the first few of a long list."""
    shown = ", ".join(printable(name) or "(root)" for name in names[:_MOST])
    return shown if len(names) <= _MOST else f"{shown} … ({len(names)} in all)"


def _count(names: Sequence[str]) -> str:
    return "a layer is" if len(names) == 1 else f"{len(names)} layers are"


def _shape(row: LayerSummary) -> tuple[Any, ...]:
    return (row.parameter_count, tuple((p.label, p.shape) for p in row.parameters))


def _resized(old: LayerSummary, new: LayerSummary) -> str:
    if old.parameter_count != new.parameter_count:
        return f"{printable(old.name) or '(root)'} has {new.parameter_count} parameters, had {old.parameter_count}"
    return f"{printable(old.name) or '(root)'} has parameters of other shapes or names"


def _loss_options(before: str, after: str) -> list[str]:
    """Compare the rest of the loss, such as its weight decay, as the two specs have it."""
    old, new = _loss_table(before), _loss_table(after)
    return [
        f"loss.{key} {new.get(key, 'not set')}, was {old.get(key, 'not set')}"
        for key in sorted({*old, *new} - _IN_PROVENANCE)
        if old.get(key) != new.get(key) and (old.get(key) or new.get(key))  # 0 is as good as nothing
    ]


def _loss_table(text: str) -> dict[str, Any]:
    try:
        table = parse_toml(text).get("loss", {})
    except TomlError:
        return {}
    return table if isinstance(table, dict) else {}
