"""What is said of the place where a parameter enters, in one batch and in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curvcli.models.base import Bend, Site, Uses, passes_of
from curvcli.models.layout import ZLayout


def linear_site(
    parameter: str,
    place: str,
    operation: str,
    layout: ZLayout,
    *,
    blocker: str | None,
    bends: tuple[Bend, ...] | None = None,
) -> Site:
    """A site whose z the parameter is linear in.

    Args:
        parameter: its full name.
        place: names the joining operation, in this graph alone.
        operation: its kind.
        layout: of z.
        blocker: see `Site`.
        bends: see `Site`.
    """
    return Site(
        parameter,
        reached=True,
        z=f"{place}:{layout.channels}x{layout.positions}",
        operation=operation,
        units=layout.channels,
        positions=layout.positions,
        blocker=blocker,
        bends=bends if blocker is not None else (),
    )


def merged_sites(batches: Sequence[Site]) -> Site:
    """What holds of one parameter's sites in all batches; see ``Objective.sites``."""
    reached = [site for site in batches if site.reached]
    if len(set(batches)) == 1 or not reached:
        return batches[0]
    without = next((site for site in reached if site.z is None), None)
    if without is not None:
        return replace(without, uses=_all_uses([site.uses for site in reached]))
    # Parameters share a z only where they share one in every batch.
    return replace(
        reached[0],
        z="|".join(str(site.z) for site in batches),
        units=max(site.units for site in reached),
        positions=max(site.positions for site in reached),
        blocker=next((site.blocker for site in reached if site.blocker is not None), None),
        bends=_most([site.bends for site in reached]),
    )


def _all_uses(batches: Sequence[Uses | None]) -> Uses | None:
    """Those that every batch has, the most of any; parameters share them only where they do in every batch."""
    uses = [one for one in batches if one is not None]
    if len(uses) < len(batches):
        return None
    return Uses("|".join(one.place for one in uses), max(one.vectors for one in uses))


def _most(batches: Sequence[tuple[Bend, ...] | None]) -> tuple[Bend, ...] | None:
    """The bends that take the most passes; None where a batch has none to tell."""
    if any(bends is None for bends in batches):
        return None
    return max((bends for bends in batches if bends is not None), key=passes_of)
