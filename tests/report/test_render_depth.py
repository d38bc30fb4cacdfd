"""Rendering of sparklines and of one layer in depth: file for file, in blocks and in ASCII."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from once import once
from rich.console import Console

from curvcli.errors import ReportError
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.render import View, render_report
from curvcli.report.render.sparklines import Scale, bars, histograms

DATA = Path(__file__).with_name("data")
# One entry per decade, the sign of each known: 10² … 10⁻², and two zeros.
KERNEL = np.array([[150.0, -15.0, 1.5, -0.15], [0.015, 0.0, 0.0, 0.02], [0.03, -20.0, 200.0, 300.0]])


def rendered(report, form="table", *, file=None, width=None, **view):
    console = Console(
        file=file or io.StringIO(),
        force_terminal=width is not None,
        width=width or 20,
        color_system=None,
        _environ={},
    )
    return render_report(report, form, console=console, view=View(**view))


@pytest.fixture
def report(tmp_path, make_layer, make_quantity, make_split, make_bare, provenance):  # noqa: PLR0917
    everything = replace(
        make_layer("net/conv1", 1, diagonal=KERNEL),
        **{name: make_quantity(name) for name in ("trace", "eigen", "density", "block")},
        split=make_split(),
        status="not_converged",
    )
    estimated = make_layer(
        "conv0", 0, diagonal=KERNEL / 10, diagonal_stderr=np.full((3, 4), 0.5), method="hutchinson", exact=False
    )
    layers = [estimated, everything, make_bare("bare", 2), make_layer("zeros", 3, diagonal=np.zeros((3, 4)))]
    return read_report(once("depth", tmp_path / "r.h5", lambda path: write_report(path, layers, provenance)))


@pytest.mark.parametrize(
    ("name", "form", "view"),
    [
        ("depth.txt", "table", {"depth": ("net/conv1",), "table": False}),
        ("depth.md", "markdown", {"depth": ("net/conv1",), "table": False}),
        ("depth_ascii.txt", "table", {"depth": ("net/conv1",), "table": False, "ascii": True}),
        ("depth_bare.txt", "table", {"depth": ("bare", "zeros"), "table": False}),
        ("sparklines.txt", "table", {"sparklines": True}),
        ("sparklines.md", "markdown", {"sparklines": True}),
        ("sparklines_ascii.txt", "table", {"sparklines": True, "ascii": True}),
    ],
)
def test_sparklines_and_depth_are_shown_file_for_file(report, name, form, view):
    assert rendered(report, form, **view) == (DATA / name).read_text()


def test_a_table_is_the_same_without_sparklines_as_it_was_and_reads_no_array(report):
    before = render_report(report, "table", console=Console(file=io.StringIO(), width=20, _environ={}))
    Path(report.path).unlink()
    assert rendered(report) == before
    with pytest.raises(ReportError, match="no such file"):
        rendered(report, sparklines=True)


def test_counts_are_by_sign_and_decade(report):
    row = report.summary("net/conv1")
    found = histograms(report, row, Scale(low=-1, high=3, bins=4), most=100)["kernel"]
    assert found.negative.tolist() == [1, 0, 2, 0]
    assert found.positive.tolist() == [0, 1, 0, 3]
    assert (found.zeros, found.below, found.looked_at, found.size) == (2, 3, 12, 12)


@pytest.mark.parametrize("ascii", [False, True])
def test_a_bar_is_as_high_as_its_share_of_the_largest_and_nothing_is_blank(ascii):
    ramp = ".:-=+*#@" if ascii else "▁▂▃▄▅▆▇█"
    drawn = bars(np.array([0.0, 1.0, 4.0, 8.0, 0.001]), ascii=ascii)
    assert drawn == f" {ramp[0]}{ramp[3]}{ramp[7]}{ramp[0]}"
    assert bars(np.zeros(3), ascii=ascii) == "   "


def test_of_a_large_parameter_evenly_spread_chunks_are_read(tmp_path, make_layer, provenance):
    """Half of the rows are negative: a sample of the chunks has to see both halves."""
    size = 1 << 20
    diagonal = np.where(np.arange(4 * size) < 2 * size, -1.0, 10.0).reshape(4, size)
    write_report(tmp_path / "r.h5", [make_layer("fc", 0, diagonal.shape, gradient=None, diagonal=diagonal)], provenance)
    report = read_report(tmp_path / "r.h5")
    found = histograms(report, report.layers[0], Scale(low=-1, high=2, bins=3), most=size)["kernel"]
    assert found.looked_at == size
    assert found.size == 4 * size
    assert math.isclose(found.negative.sum(), found.positive.sum(), rel_tol=0.3)
    assert "about a million entries of each large parameter are drawn (1 layers)" in rendered(report, sparklines=True)


def test_non_finite_entries_do_not_hide_the_others(tmp_path, make_layer, provenance):
    diagonal = np.where(np.eye(3, 4) > 0, np.nan, 1.5)
    diagonal[0, 1] = np.inf
    layer = make_layer("conv", 0, diagonal=diagonal, status="nonfinite")
    write_report(tmp_path / "r.h5", [layer], provenance)
    report = read_report(tmp_path / "r.h5")
    assert "█" in rendered(report, depth=("conv",), table=False)
    assert "│" in rendered(report, sparklines=True)


def test_a_narrow_terminal_drops_the_sparkline_and_what_explains_it(report):
    text = rendered(report, width=60, sparklines=True)
    assert "│" not in text
    assert "diagonal (--format json has all)" in text
    assert "by decade" not in text


def test_what_the_output_cannot_encode_is_spelled_with_what_it_has(report):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    text = rendered(report, file=file, sparklines=True, depth=("net/conv1",), ascii=True)
    assert text.isascii()
    assert "+- stderr" in text
    assert "2x4x3x4" in text


def test_many_eigenvalues_are_cut_to_the_first_and_the_last(tmp_path, make_bare, make_quantity, provenance):
    values = np.arange(30.0)[::-1].copy()
    many = {"values": values, "residuals": np.full(30, 0.5), "converged": np.ones(30, bool), "vectors": None}
    write_report(tmp_path / "r.h5", [make_bare(eigen=make_quantity("eigen", **many))], provenance)
    lines = rendered(read_report(tmp_path / "r.h5"), depth=("conv",), table=False).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("rank")) + 1
    assert [line.split()[:2] for line in lines[start : start + 20 : 19]] == [["1", "29"], ["30", "0"]]
    assert lines[start + 20] == "20 of 30, the first and the last"
