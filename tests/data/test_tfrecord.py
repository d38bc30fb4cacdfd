"""TFRecord files: checksums, numbers out of bytes, and what TensorFlow writes."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from curvcli.data.examples import example_class
from curvcli.errors import DataError

from .reading import X, Y, read
from .tables import framed


@pytest.mark.parametrize("damage", ["length", "data", "cut", "endless"])
def test_damaged_tfrecords_are_refused_by_their_checksums(damage: str, tmp_path: Path) -> None:
    example = example_class()()
    example.features.feature["x"].FloatList.value.extend([1.0, 2.0])
    data = bytearray(framed(example.SerializeToString()) * 3)
    match damage:
        case "length":
            data[0] ^= 1
        case "data":
            data[20] ^= 1
        case "cut":
            del data[-7:]
        case _:
            import google_crc32c

            length = struct.pack("<Q", 1 << 60)
            crc = google_crc32c.value(length)
            data[:12] = length + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
    (tmp_path / "d").write_bytes(data)
    with pytest.raises(DataError, match="is no complete TFRecord file"):
        read("tfrecord", tmp_path, ("x",), path="d")


def test_bytes_in_tfrecords_are_read_as_the_numbers_that_the_spec_says(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 20), dtype=np.uint8)
    records = []
    for one in values:
        example = example_class()()
        example.features.feature["x"].BytesList.value.append(one.tobytes())
        records.append(framed(example.SerializeToString()))
    (tmp_path / "d").write_bytes(b"".join(records))
    found = read("tfrecord", tmp_path, ("x",), path="d", raw={"x": "uint8"})["x"]
    np.testing.assert_array_equal(found, values)
    with pytest.raises(DataError, match=re.escape('raw = { x = "uint8" } in [source]')):
        read("tfrecord", tmp_path, ("x",), path="d")


@pytest.mark.slow
def test_tfrecords_are_those_that_tensorflow_writes(tmp_path: Path) -> None:
    import tensorflow as tf

    for kind in ("", "GZIP"):
        with tf.io.TFRecordWriter(str(tmp_path / "d"), kind) as writer:
            for row, label in zip(X, Y, strict=True):
                feature = {
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=row)),
                    "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[label - 3])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        found = read("tfrecord", tmp_path, ("x", "y"), path="d")
        np.testing.assert_array_equal(found["x"], X.astype("f4"))
        np.testing.assert_array_equal(found["y"], Y - 3)
