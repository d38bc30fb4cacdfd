"""Verdicts as JUnit XML, as GitHub's actions, GitLab and Jenkins read it: one test case per layer and check."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from curvcli.report.verdicts.verdict import Verdict
from curvcli.text import printable


def render_junit(name: str, verdicts: Sequence[Verdict]) -> str:
    """Return one test suite; ``classname`` is the layer, ``name`` the check, what is undecided is skipped.

    Args:
        name: of the suite.
        verdicts: its test cases.
    """
    counts = {
        "tests": len(verdicts),
        "failures": sum(verdict.ending == "failed" for verdict in verdicts),
        "errors": 0,
        "skipped": sum(verdict.ending == "undecided" for verdict in verdicts),
    }
    totals = {"name": name} | {key: str(number) for key, number in counts.items()}
    root = ET.Element("testsuites", totals)
    suite = ET.SubElement(root, "testsuite", totals)
    for verdict in verdicts:
        # printable: XML has no way to write most control characters, not even escaped.
        titles = {"classname": printable(verdict.place), "name": printable(verdict.check)}
        case = ET.SubElement(suite, "testcase", titles)
        if verdict.ending == "failed":
            failure = ET.SubElement(case, "failure", {"message": printable(verdict.message), "type": "AssertionError"})
            failure.text = printable(f"{verdict.place}: {verdict.message}")  # GitLab shows the text, Jenkins both
        elif verdict.ending == "undecided":
            ET.SubElement(case, "skipped", {"message": printable(verdict.message)})
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
