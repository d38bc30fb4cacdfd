"""What holds of a parameter's sites in all batches, where a model takes different ways in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curvcli.models.base import Site


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
