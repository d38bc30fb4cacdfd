"""The formats that samples are read from: a new one is a file with its table and reader, and a line here."""

from __future__ import annotations

from typing import Any

from curvcli.data import arrow, csv, hdf5, huggingface, images, jsonl, npy, npz, parquet, random, tensors, tfrecord
from curvcli.data.interface import Format

_FILES = (npz, npy, csv, jsonl, parquet, arrow, huggingface, hdf5, tensors, images, tfrecord, random)
FORMATS: dict[str, Format[Any]] = {one.FORMAT.name: one.FORMAT for one in _FILES}
TABLES = tuple(one.table for one in FORMATS.values())
