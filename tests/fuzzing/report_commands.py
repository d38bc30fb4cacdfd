"""Commands that read a report."""

from __future__ import annotations

import random

READERS = (
    "show report.h5",
    "show report.h5 --format json",
    "show report.h5 --format csv",
    "show report.h5 --format markdown --depth",
    "show report.h5 --depth --sparklines",
    "show report.h5 --layer one --depth",
    "show report.h5 --sort trace --top 1",
    "show report.h5 --get one/trace",
    "show report.h5 --get one/weight/diagonal",
    "show report.h5 --get provenance/versions",
    "show report.h5 --get loss --format json",
    "compare report.h5 other.h5",
    "compare other.h5 report.h5 --allow-mismatch --format github",
    "compare report.h5 other.h5 --allow-mismatch --format junit",
    "assert report.h5 --max trace=1e9 --finite --converged",
    "assert report.h5 --min one:top_eigenvalue=-1 --exact --format json",
    "export report.h5 -o - --format csv",
    "export report.h5 -o table.json",
    "export report.h5 -o table.csv --table entries",
    "export report.h5 -o - --format json --table parameters",
    "export report.h5 -o - --format json --table inputs",
    "export report.h5 -o - --format csv --table checks",
    "plot report.h5 -k bars -k spectrum -o page.html",
    "plot report.h5 --against other.h5 -k histogram -k scatter -o page.html",
    "diag model.pt -q -o report.h5",
)


def command(rng: random.Random) -> tuple[list[str], str]:
    """A command line, and what it writes."""
    words = rng.choice(READERS).split(" ")
    output = words[words.index("-o") + 1] if "-o" in words else ""
    return words, output.removeprefix("-")
