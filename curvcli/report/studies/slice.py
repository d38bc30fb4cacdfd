"""What a report keeps of the loss along one or two directions."""

from __future__ import annotations

from typing import Final

from curvcli.report.studies.interface import Study
from curvcli.report.table import Column, Heading, Table
from curvcli.report.units import LOSS, NONE

# fmt: off
DIRECTIONS: Final = Table("slice", "direction", (
    Column("direction", "text", "name of the direction", heading=Heading("direction", 10),
           inside=frozenset({"csv", "export"}), value=lambda row: row.name),
    Column("about", "prose", "what the direction is", heading=Heading("what", 15, 3)),
    Column("block", "text", "the layers whose parameters are moved", heading=Heading("moved", 20, 4),
           defines=True),
    Column("norm", "number", "Euclidean norm of a step of length 1", "parameter", heading=Heading("‖step‖", 30, 2)),
    Column("first", "number", "the lowest coordinate", NONE, heading=Heading("from", 40, 1)),
    Column("last", "number", "the highest coordinate", NONE, heading=Heading("to", 50, 1)),
    Column("points", "count", "number of coordinates", NONE, heading=Heading("points", 60, 3)),
    Column("slope", "number", "first derivative of the loss by the coordinate, at the saved parameters", LOSS,
           heading=Heading("slope", 70), role="property"),
    Column("curvature", "number", "second derivative of the loss by the coordinate, at the saved parameters", LOSS,
           heading=Heading("curvature", 80), role="property", worse="larger"),
    Column("residual", "number", "norm of Hv − λv, of an eigenvector v of norm 1", "loss/parameter²",
           heading=Heading("residual", 90, 2, ("residual",)), role="quality", unknown=True),
    Column("lowest_loss", "number", "lowest loss of all points", LOSS, heading=Heading("lowest loss", 100, 1),
           role="property"),
    Column("lowest_at", "number", "its coordinate", NONE, heading=Heading("at", 110, 1)),
    Column("highest_loss", "number", "highest loss of all points", LOSS, heading=Heading("highest loss", 120, 1),
           role="property", infinite=True),
    Column("lost", "count", "points at which the loss is no finite number", NONE,
           heading=Heading("lost", 125, 0, ("lost",))),
    Column("barrier", "number", "how far the loss rises above the straight line between the two models", LOSS,
           heading=Heading("barrier", 130, 0, ("barrier",)), role="property", worse="larger", unknown=True,
           infinite=True),
    Column("barrier_at", "number", "the coordinate at which it rises so far", NONE,
           heading=Heading("at", 131, 1, ("barrier",)), unknown=True),
    Column("other_loss", "number", "the other model's own loss", LOSS,
           heading=Heading("its loss", 140, 0, ("other_loss",)), role="property", unknown=True, infinite=True),
    Column("slope_at_other", "number",
           "first derivative of the loss by the coordinate, at the other model's parameters", LOSS,
           heading=Heading("its slope", 150, 1, ("slope_at_other",)), role="property", unknown=True),
    Column("curvature_at_other", "number",
           "second derivative of the loss by the coordinate, at the other model's parameters", LOSS,
           heading=Heading("its curvature", 160, 1, ("curvature_at_other",)), role="property", worse="larger",
           unknown=True),
), title="the loss along directions")
# fmt: on

SLICE: Final = Study("slice", "the loss along directions, or on the way to another model", (DIRECTIONS,))
