"""The formats that samples are read from: a new one is a file with its table and reader, and a line here."""

from __future__ import annotations

from typing import Any

from curvcli.data import csv, npy, npz
from curvcli.data.interface import Format

FORMATS: dict[str, Format[Any]] = {one.name: one for one in (npz.FORMAT, npy.FORMAT, csv.FORMAT)}
TABLES = tuple(one.table for one in FORMATS.values())
