"""What a report keeps of how strongly layers are coupled."""

from __future__ import annotations

from typing import Final

from curvcli.report.studies.interface import Study
from curvcli.report.table import Column, Heading, Table
from curvcli.report.units import CURVATURE, NONE

# fmt: off
LAYERS: Final = Table("coupled_layers", "layer", (
    Column("layer", "text", "name of the layer", heading=Heading("layer", 10), inside=frozenset({"csv", "export"}),
           value=lambda row: row.name),
    Column("entries", "count", "number of its parameters' entries", NONE, heading=Heading("entries", 20, 3)),
    Column("own_norm", "number", "Frobenius norm of the layer's own block", CURVATURE,
           heading=Heading("‖own block‖", 30), role="property", worse="larger", error="own_norm_stderr"),
    Column("own_norm_stderr", "number", "its standard error; 0 where exact", CURVATURE, heading=Heading("±", 31, 2)),
    Column("outside", "share",
           "share of the squares of all entries in the layer's rows that lies outside its own block", NONE,
           heading=Heading("outside", 40), role="property", error="outside_stderr", unknown=True),
    Column("outside_stderr", "number", "its standard error; 0 where exact", NONE, heading=Heading("±", 41, 2),
           unknown=True),
    Column("partner", "text", "the layer it is coupled to most", heading=Heading("coupled most to", 50)),
    Column("partner_coupling", "number", "the coupling of both", NONE, heading=Heading("coupling", 60),
           role="property", error="partner_stderr", unknown=True, infinite=True),
    Column("partner_stderr", "number", "its standard error; 0 where exact", NONE, heading=Heading("±", 61, 2),
           unknown=True),
    Column("exact", "flag", "whether these figures are no estimates", NONE, heading=Heading("exact", 70, 1)),
), title="how much of each layer's curvature its own block leaves out")

PAIRS: Final = Table("coupling", "pair", (
    Column("pair", "text", "names of both layers, with ~ between", inside=frozenset({"csv", "export"}),
           value=lambda row: row.name),
    Column("first", "text", "name of the one layer", heading=Heading("layer", 10)),
    Column("second", "text", "name of the other layer", heading=Heading("other layer", 20)),
    Column("coupling", "number",
           "squared Frobenius norm of the block between the layers, over the product of the norms of their own blocks",
           NONE, heading=Heading("coupling", 30), role="property", error="coupling_stderr", unknown=True,
           infinite=True),
    Column("coupling_stderr", "number", "its standard error, widened for few probes; 0 where exact", NONE,
           heading=Heading("±", 31, 1),
           unknown=True),
    Column("degrees", "number", "degrees of freedom of that error", NONE, unknown=True, infinite=True),
    Column("norm", "number", "Frobenius norm of the block between the layers", CURVATURE,
           heading=Heading("‖block between‖", 40, 2), role="property", error="norm_stderr"),
    Column("norm_stderr", "number", "its standard error; 0 where exact", CURVATURE, heading=Heading("±", 41, 2)),
    Column("exact", "flag", "whether these figures are no estimates", NONE, heading=Heading("exact", 50, 3)),
), title="how strongly layers are coupled", most=66)
# fmt: on

COUPLING: Final = Study("coupling", "how strongly the curvature couples layers", (LAYERS, PAIRS))


def pair_name(first: str, second: str) -> str:
    """Return the name of the row of two layers."""
    return f"{first}~{second}"
