"""What is said of the place where a parameter enters, in one batch and in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curvcli.models.base import Site
from curvcli.models.layout import ZLayout


def linear_site(parameter: str, place: str, operation: str, layout: ZLayout, blocker: str | None) -> Site:
    """A site whose z the parameter is linear in.

    Args:
        parameter: its full name.
        place: names the joining operation, in this graph alone.
        operation: its kind.
        layout: of z.
        blocker: see `Site`.
    """
    return Site(
        parameter,
        reached=True,
        z=f"{place}:{layout.channels}x{layout.positions}",
        operation=operation,
        units=layout.channels,
        positions=layout.positions,
        blocker=blocker,
    )


def merged_sites(batches: Sequence[Site]) -> Site:
    """What holds of one parameter's sites in all batches; see ``Objective.sites``."""
    reached = [site for site in batches if site.reached]
    if len(set(batches)) == 1 or not reached:
        return batches[0]
    without = next((site for site in reached if site.z is None), None)
    if without is not None:
        return without
    # Parameters share a z only where they share one in every batch.
    return replace(
        reached[0],
        z="|".join(str(site.z) for site in batches),
        units=max(site.units for site in reached),
        positions=max(site.positions for site in reached),
        blocker=next((site.blocker for site in reached if site.blocker is not None), None),
    )
