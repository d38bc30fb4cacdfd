"""The page as a file: small, whole, one index, nothing from outside, and safe whatever layers are called."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from curvcli.report.course.course import course_of
from curvcli.report.course.order import ordered
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.plot.draw import KINDS, pictures
from curvcli.report.plot.inline import Sheet, inlined, path, simplified
from curvcli.report.plot.page import page
from curvcli.report.plot.view import Side, View

HOSTILE = (
    """</script><script>alert(1)</script>""",
    """"><svg onload=alert(2)>""",
    """style="x:url(//evil)" d="M 1.23456 0" id="f0-x" """,
    """</style><b>&lt;i&gt;{{ 7 * 7 }}""",
    """javascript:alert('3')//--><!-- ' ]]>""",
)
VOID = {"meta", "input", "wbr", "link", "br", "img"}


class Reader(HTMLParser):
    """Collects tags with their attributes, and texts."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def values(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def read(data):
    reader = Reader()
    reader.feed(data.decode())
    assert reader.open == []
    return reader


@pytest.fixture
def sixty(tmp_path, make_layer, make_quantity, provenance):
    """Sixty convolutions, each with all that a page draws."""
    rng = np.random.default_rng(0)
    layers = []
    for i in range(60):
        axes = ("kernel_h", "kernel_w", "in", "out")
        layer = make_layer(f"backbone/stage{i // 12}/conv{i}", i, (3, 3, 8, 12), axes=axes)
        grid = np.linspace(-20, 20, 401)
        density = make_quantity(
            "density", grid=grid, density=np.exp(-(grid**2) / 50), density_stderr=np.full(401, 0.01)
        )
        trace = make_quantity("trace", value=float(rng.normal(50, 30)))
        layers.append(replace(layer, trace=trace, density=density, eigen=make_quantity("eigen", vectors=None)))
    write_report(tmp_path / "r.h5", layers, provenance)
    report = read_report(tmp_path / "r.h5")
    return View(Side(report, "r.h5", report.layers), all_kernels=False)


@pytest.fixture
def hostile(tmp_path, make_layer, make_quantity, provenance):
    quantities = {name: make_quantity(name) for name in ("trace", "eigen", "density")}
    layers = [replace(make_layer(name, i), **quantities) for i, name in enumerate(HOSTILE)]
    text = "".join(HOSTILE)
    run = replace(provenance, model_path=text, loss=text, spec_text=text, config_json=text, host=text)
    write_report(tmp_path / "r.h5", layers, run)
    report = read_report(tmp_path / "r.h5")
    return View(Side(report, text, report.layers))


@pytest.mark.slow
def test_sixty_layers_are_under_two_megabytes(sixty):
    data = page(sixty, list(pictures(sixty, KINDS, ["page"])))
    assert len(data) < 2_000_000
    assert data.count(b"<svg ") > 20
    assert len([row for row in read(data).tags if row == ("th", {"scope": "row"})]) == 60


_DRAWN: dict[str, bytes] = {}


@pytest.fixture
def document(hostile):
    """Drawn once for all tests."""
    if not _DRAWN:
        _DRAWN["hostile"] = page(hostile, list(pictures(hostile, KINDS, ["page"])))
    return _DRAWN["hostile"]


def test_hostile_names_are_text_and_nothing_else(document):
    """In tables, figures, styles, the index, and the texts of others."""
    reader = read(document)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert not {"b", "i", "img", "iframe", "object"} & {tag for tag, _ in reader.tags}
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    text = "".join(reader.texts)
    for name in HOSTILE:
        assert name in text
    styles = re.search(r"<style>(.*?)</style>", document.decode(), re.DOTALL)[1]
    assert "evil" not in styles
    assert "url(" not in re.sub(r"url\(#", "", styles)


def test_nothing_comes_from_outside_and_the_only_script_is_the_pages_own(document):
    text = document.decode()
    reader = read(document)
    links = reader.values("href") + reader.values("src")
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    (policy,) = [a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    assert "innerHTML" not in script
    assert not re.search(r"https?://(?!www\.w3\.org)", script)


def test_ids_are_unique_and_links_and_uses_resolve(document):
    reader = read(document)
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    links = {link[1:] for link in reader.values("href") if link.startswith("#")}
    assert links | set(re.findall(r"url\(#([^)]+)\)", document.decode())) <= set(ids)
    assert [tag for tag, _ in reader.tags].count("nav") == 1


def test_tables_scroll_and_never_break_a_word(document):
    """Each stands in its own box, its columns as wide as they are."""
    text = document.decode()
    reader = read(document)
    boxes = [attrs for tag, attrs in reader.tags if attrs.get("class") == "wide"]
    assert len(boxes) == [tag for tag, _ in reader.tags].count("table") > 0
    style = text[text.index("<style>") : text.index("</style>")]
    assert ".wide, .plot { overflow-x: auto" in style
    assert "table-layout" not in style
    assert "overflow-wrap: anywhere" not in style
    assert "break-all" not in style


def test_without_its_script_the_page_has_everything_but_the_filter(document):
    reader = read(document)
    (tools,) = [attrs for _, attrs in reader.tags if attrs.get("id") == "tools"]
    assert "hidden" in tools
    assert not [tag for tag, _ in reader.tags if tag == "button"]


def test_what_has_no_room_is_named_with_the_command_that_draws_it(make_layer, make_view):
    view = make_view([make_layer("a", 0), make_layer("b", 1)])
    made = [replace(one, images=one.images) for one in pictures(view, ["histogram"], ["page"])]
    twice = [*made, replace(made[0], stem="histogram-2")]
    text = page(view, twice, most=1).decode()
    assert text.count("<figure>") == 1
    assert "curvcli plot new.h5 --kind histogram --output FOLDER" in text
    assert "No room" not in page(view, twice).decode()


def test_a_course_has_a_row_per_report_and_where_each_comes_from(tmp_path, provenance, make_layer):
    reports = []
    for step in (1, 20, 3):
        run = replace(provenance, model_sha256=str(step) * 64)
        write_report(tmp_path / f"step_{step}.h5", [make_layer("a")], run)
        reports.append(read_report(tmp_path / f"step_{step}.h5"))
    course = course_of(ordered(reports))
    last = course.ordered.reports[-1]
    view = View(Side(last, "x", last.layers), course=course)
    (picture,) = pictures(view, KINDS, ["page", "png"])
    assert (picture.kind, picture.title) == ("course", "Loss, trace and gradient norm over 3 reports")
    assert "loss of (report): 0.25 at 1, 0.25 at 20" in picture.caption
    reader = read(page(view, [picture]))
    text = "".join(reader.texts)
    assert "Curvature from step_1.h5 to step_20.h5" in text
    assert text.count("models/digits.pt") >= 3


def test_curves_lose_only_points_that_no_one_sees():
    x = np.linspace(0, 500, 800)
    points = np.stack([x, 100 * np.sin(x / 40)], axis=1)
    kept = simplified(points, 0.1)
    assert len(kept) < 200
    np.testing.assert_array_equal(kept[[0, -1]], [0, 799])
    between = np.interp(x, points[kept, 0], points[kept, 1])
    steepest = 100 / 40
    assert np.abs(between - points[:, 1]).max() < 0.1 * np.hypot(1, steepest) + 1e-9
    np.testing.assert_array_equal(simplified(np.zeros((5, 2)), 0.1), [0, 4])


@pytest.mark.parametrize(
    ("commands", "shorter"),
    [
        ("M 0 0 \nL 100 0 \nL 200.04 0.01 \nL 200 50 \nz\n", "M0 0l200 0 0 50z"),
        ("M 0 0.5 \nL 0.123 -0.5 \n", "M0 .5l.12-1"),
        ("M 10 10 \nL 100.26 10 \nM 10 20 \nL 100 20.04", "M10 10l90.3 0M10 20l90 0"),
        ("M 0 0 \nC 1.2345 0 2 1 2 2 \nz", "M 0 0 C 1.23 0 2 1 2 2 z"),
        ("", ""),
    ],
)
def test_a_path_is_written_in_relative_steps(commands, shorter):
    assert path(commands) == shorter


def test_styles_of_all_figures_are_classes_and_ids_are_their_own():
    shapes = '<g id="a" style="fill: #1f2328"/><use xlink:href="#b"/><g id="b"/>'
    svg = f'<?xml?><svg xmlns="x" viewBox="0 0 1 1">{shapes}</svg>'
    sheet = Sheet()
    one, two = (inlined(svg, prefix, "<&>", sheet) for prefix in ("f0", "f1"))
    assert one == (
        '<svg role="img" aria-label="&lt;&amp;&gt;" xmlns="x" viewBox="0 0 1 1">'
        '<g class="s0"/><use href="#f0-b"/><g id="f0-b"/></svg>'
    )
    assert two == one.replace("f0-", "f1-")
    assert sheet.rules == ".s0{fill:var(--ink)}\n"
