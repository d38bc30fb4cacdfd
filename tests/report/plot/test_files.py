"""Files: valid, complete, the same bytes again, and nothing that needs the network."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from drawn_studies import every_study
from matplotlib.figure import Figure

from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.plot.draw import KINDS, pictures
from curvcli.report.plot.kinds import KINDS as REGISTRY
from curvcli.report.plot.page import page
from curvcli.report.plot.view import Side, View

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "link", "br", "img", "input", "wbr"}


@pytest.fixture
def view(make_view, layers):
    return make_view(layers)


@pytest.fixture
def full(make_view, layers):
    """The same with studies."""
    return make_view(layers, studies=every_study())


@pytest.fixture
def layers(make_layer, make_quantity, make_whole):
    first = make_layer("scope/<b>&'\"$x$", 0, (3, 3, 2, 4), axes=("kernel_h", "kernel_w", "in", "out"))
    full = make_layer("full", 1)
    quantities = {name: make_quantity(name) for name in ("trace", "eigen", "density", "block")}
    return [first, replace(full, **quantities), make_whole(trace=make_quantity("trace"))]


class Reader(HTMLParser):
    """Collects what a browser would see, and fails on tags that don't match."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def html(view):
    return page(view, list(pictures(view, KINDS, ["page"]))).decode()


def test_every_kind_is_a_png_of_1200_by_800_and_an_svg_with_title_and_description(full):
    made = list(pictures(full, KINDS, ["png", "svg"]))
    assert {picture.kind for picture in made} == {name for name, kind in REGISTRY.items() if not kind.many}
    assert len({picture.stem for picture in made}) == len(made)
    for picture in made:
        png = picture.images["png"]
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", png[16:24]) == (1200, 800)
        root = ElementTree.fromstring(picture.images["svg"])
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title").text == picture.title
        assert root.find(f"{SVG}desc").text == picture.caption


def test_equal_reports_give_equal_bytes_whatever_the_last_digits_of_the_layout(full, monkeypatch):
    once = [picture.images for picture in pictures(full, KINDS, ["png", "svg"])]
    solve = Figure.draw_without_rendering

    def solve_otherwise(figure):
        # The solver orders its variables by address, so its sums end in other digits in every run.
        solve(figure)
        for part in figure.subfigs:
            part.bbox_relative.set_points(part.bbox_relative.get_points() + 1e-15)
        for axes in figure.axes:
            axes.set_position([number + 1e-15 for number in axes.get_position(original=True).bounds])

    monkeypatch.setattr(Figure, "draw_without_rendering", solve_otherwise)
    again = [picture.images for picture in pictures(full, KINDS, ["png", "svg"])]
    for before, after in zip(once, again, strict=True):
        assert before["png"] == after["png"]
        assert before["svg"] == after["svg"]


def test_the_page_is_one_well_formed_file_that_loads_nothing(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert reader.tags.count("script") == 1  # its own, see test_page.py
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in reader.links)
    assert not re.search(r"url\((?!#)|@import", html)
    assert "default-src 'none'" in html
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(reader.ids)


def test_the_page_has_the_table_the_provenance_and_words_for_every_figure(html):
    reader = Reader()
    reader.feed(html)
    text = "".join(reader.text)
    assert "scope/<b>&'\"$x$" in text  # a name is text, whatever it looks like
    assert "b" not in reader.tags
    assert "ab" * 32 in text
    assert "curvcli diag models/digits.pt" in text
    assert reader.tags.count("figure") == reader.tags.count("figcaption") == html.count('role="img"')
    assert reader.tags.count("table") == 1
    assert "112.5" in text


def test_ink_and_paper_follow_the_theme_of_the_page(html):
    body = html[html.index("<body>") :]
    assert "prefers-color-scheme: dark" in html
    assert "fill:var(--ink)" in html
    assert "#1f2328" not in body
    assert "#ffffff" not in body


def test_a_page_of_two_reports_has_both_tables(make_layer, make_view):
    view = make_view([make_layer("l", 0)], [make_layer("l", 0)])
    text = page(view, list(pictures(view, ["bars"], ["svg"]))).decode()
    assert text.count("<table ") == 2
    assert "base.h5" in text


def test_the_style_leaves_the_persons_own_settings_alone(view):
    matplotlib.rcParams["axes.facecolor"] = "red"
    list(pictures(view, ["bars"], ["png"]))
    assert matplotlib.rcParams["axes.facecolor"] == "red"


def test_neither_a_framework_nor_pyplot_is_imported():
    code = (
        "import sys, curvcli.report.plot.page;"
        "sys.exit(bool({'torch', 'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_page_of_some_layers_says_of_how_many(view):
    some = View(replace(view.new, rows=view.new.rows[:2]))
    assert "complete, 2 of 3 layers" in page(some, []).decode()
    assert "complete, 3 layers" in page(view, []).decode()


HOSTILE = """<script>alert('1')</script>"><img src=x onerror='alert(2)'>{{ 7 * 7 }}{% raw %}"""


def test_names_and_texts_of_others_are_text_on_the_page(tmp_path, make_layer, provenance):
    """As a layer, a model, a spec and a legend; whatever is no tag of the page's own would be seen here."""
    run = replace(provenance, model_path=HOSTILE, spec_text=HOSTILE, config_json=HOSTILE, host=HOSTILE)
    write_report(tmp_path / "r.h5", [make_layer(HOSTILE)], run)
    report = read_report(tmp_path / "r.h5")
    view = View(Side(report, HOSTILE, report.layers))
    reader = Reader()
    reader.feed(page(view, list(pictures(view, KINDS, ["svg"]))).decode())
    assert "img" not in reader.tags
    assert reader.tags.count("script") == 1
    assert HOSTILE in reader.text


@pytest.mark.filterwarnings("error")
def test_the_largest_numbers_are_drawn_without_warnings(make_layer, make_bare, make_quantity, make_view):
    huge = make_layer("huge", 0, diagonal=np.full((3, 4), 1e308))
    traced = make_bare("traced", 1, trace=make_quantity("trace", value=1e308, stderr=1e307))
    assert list(pictures(make_view([huge, traced]), KINDS, ["png"]))


def test_what_sets_two_reports_apart_stands_in_the_figures(tmp_path, provenance, make_bare, make_quantity):
    def side(name, count, matrix, **changes):
        trace = make_quantity("trace", matrix=matrix)
        layers = [make_bare(f"l{i}", i, trace=trace) for i in range(count)]
        write_report(tmp_path / name, layers, replace(provenance, **changes))
        report = read_report(tmp_path / name)
        return Side(report, name, report.layers)

    new = side("new.h5", 2, "hessian")
    same = View(new, side("same.h5", 2, "hessian"))
    assert (same.mismatch, same.only_in_base, same.comparison) == ("", "", ())
    other = View(new, side("old.h5", 9, "gauss_newton", loss="hinge", dataset_digest="e" * 64, samples=7))
    run = provenance
    assert other.mismatch == (
        f"loss {run.loss}, was hinge; other data ({run.samples} samples, was 7); Hessian, was Gauss–Newton matrix"
    )
    assert other.only_in_base == "only in old.h5: l2, l3, l4, l5, l6 … (7 in all)"
    (plot,) = KINDS["bars"](other)
    assert any(" · ".join(other.comparison) == text.get_text() for text in plot.figure.texts)
    chosen = replace(other, new=replace(new, rows=new.rows[:1]))
    assert chosen.only_in_base == ""
