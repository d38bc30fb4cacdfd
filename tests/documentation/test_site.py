"""The documentation as a site: every page is in its menu, every link leads somewhere, and it builds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of its headings, as the site and code hosts make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_menu() -> None:
    """And the menu names no other."""
    menu = re.findall(r"[\w-]+\.md", yaml.safe_dump(yaml.safe_load((ROOT / ".mkdocs.yml").read_text())["nav"]))
    assert sorted(menu) == sorted(path.name for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file that is there, and a heading in it; nothing leads outside."""
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        assert "://" not in link, link
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """And loads nothing from elsewhere."""
    pytest.importorskip("mkdocs")
    words = ["-m", "mkdocs", "build", "--strict", "-f", str(ROOT / ".mkdocs.yml"), "-d", str(tmp_path / "site")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r"<(?:link|script|img)[^>]*?(?:href|src)=\"?(https?://[^\" >]+)", page.read_text())
        assert not loaded, page
