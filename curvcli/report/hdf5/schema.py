"""The names in a report of format 1.3, and the escaping that makes any layer name an HDF5 link name."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

FORMAT: Final = "curvcli-report"
# 1.1 added /inputs, /inputs_summary, /split_parts and /checks; 1.2 what standard errors are from, rounding, checks made
# in the run, three statuses, and in /provenance the command's name and where model and spec lie; 1.3 /studies.
FORMAT_VERSION: Final = "1.3"
READABLE_MAJOR: Final = 1

PROVENANCE: Final = "provenance"
SUMMARY: Final = "summary"
PARAMETERS: Final = "parameters"
LAYERS: Final = "layers"
SPLIT_PARTS: Final = "split_parts"
INPUTS: Final = "inputs"
INPUTS_SUMMARY: Final = "inputs_summary"
CHECKS: Final = "checks"
STUDIES: Final = "studies"

# What alone may differ between two reports of equal work, all in /provenance.
VOLATILE: Final = frozenset({"created_utc", "host", "seconds"})

_EMPTY: Final = "%"  # escape() writes every "%" as "%25", so a bare one is free to stand for the empty name


def escape(name: str) -> str:
    """Return `name` as one HDF5 link name; `unescape` gives it back.

    HDF5 reads ``/`` as a path and refuses ``.`` and the empty name. TensorFlow's names hold slashes, and a TorchScript
    root module that owns parameters has the empty name.
    """
    if name == "":
        return _EMPTY
    if name in {".", ".."}:
        return name.replace(".", "%2E")
    return name.replace("%", "%25").replace("/", "%2F")


def unescape(link: str) -> str:
    """Return the name that `escape` turned into `link`."""
    return "" if link == _EMPTY else unquote(link)


def storable(text: str) -> str:
    """Return `text` as HDF5 can hold it: a path may carry bytes that are not UTF-8, and a string ends at NUL."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
