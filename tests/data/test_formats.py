"""What each format holds that others do not, and what is refused with the line that helps."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from curvcli.data.examples import example_class
from curvcli.data.interface import Wanted
from curvcli.data.registry import FORMATS
from curvcli.errors import DataError, SpecError

from .tables import framed

X = np.arange(12.0).reshape(6, 2)
Y = np.arange(6)
TEXTS = ["cat", "dog", "cat", "bird", "cat", "dog"]
CLASSES = '[target]\ncolumn = "y"\nclasses = ["cat", "dog", "bird"]'
NUMBERS = [0, 1, 0, 2, 0, 1]


def read(form: str, folder: Path, names: tuple[str, ...], **source: Any) -> dict[str, np.ndarray]:
    """All rows of columns."""
    one = FORMATS[form]
    reader = one.open(one.table.model_validate({"format": form, **source}), Wanted(names, folder.joinpath))
    rows = np.arange(reader.column(names[0]).rows)
    return reader.read(names, rows)


def write_texts(form: str, folder: Path) -> str:
    """Store X and TEXTS; returns the source."""
    match form:
        case "csv":
            (folder / "d.csv").write_text("x,y\n" + "".join(f"{a},{t}\n" for (a, _), t in zip(X, TEXTS, strict=True)))
        case "jsonl":
            lines = [json.dumps({"x": list(a), "y": t}) for a, t in zip(X, TEXTS, strict=True)]
            (folder / "d.jsonl").write_text("\n".join(lines))
        case "npz":
            np.savez(folder / "d.npz", x=X, y=np.array(TEXTS))
        case "parquet":
            pa.parquet.write_table(pa.table({"x": X.tolist(), "y": TEXTS}), folder / "d.parquet")
        case "arrow":
            table = pa.table({"x": X.tolist(), "y": pa.array(TEXTS).dictionary_encode()})
            with pa.ipc.new_file(folder / "d.arrow", table.schema) as file:
                file.write_table(table)
        case "hdf5":
            with h5py.File(folder / "d.hdf5", "w") as file:
                file["x"], file["y"] = X, TEXTS
        case _:
            examples = []
            for values, text in zip(X, TEXTS, strict=True):
                example = example_class()()
                example.features.feature["x"].FloatList.value.extend(values)
                example.features.feature["y"].BytesList.value.append(text.encode())
                examples.append(framed(example.SerializeToString()))
            (folder / "d.tfrecord").write_bytes(b"".join(examples))
    return f'format = "{form}"\npath = "d.{form}"'


WITH_TEXT = ["csv", "jsonl", "npz", "parquet", "arrow", "hdf5", "tfrecord"]


@pytest.mark.parametrize("form", WITH_TEXT)
def test_names_of_classes_are_numbered_as_stated(form: str, open_spec, tmp_path: Path) -> None:
    samples = open_spec(source=write_texts(form, tmp_path), target=CLASSES)
    np.testing.assert_array_equal(samples.targets(), NUMBERS)
    assert samples.targets().dtype == np.int64


@pytest.mark.parametrize("form", WITH_TEXT)
def test_text_without_stated_classes_is_refused_with_the_line_to_write(form: str, open_spec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape('classes = ["bird", "cat", "dog"].')):
        open_spec(source=write_texts(form, tmp_path))


@pytest.mark.parametrize("form", WITH_TEXT)
def test_a_name_that_is_no_class_is_told_with_its_row(form: str, open_spec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 3: 'bird' is none of target\.classes; there are 2\."):
        open_spec(source=write_texts(form, tmp_path), target='[target]\ncolumn = "y"\nclasses = ["cat", "dog"]')


def test_numbers_have_no_names_of_classes(open_spec, save) -> None:
    save(x=X, y=Y)
    with pytest.raises(DataError, match=r"'y' holds numbers, not the names of classes; remove target\.classes"):
        open_spec(target=CLASSES)


def test_a_class_is_named_once(open_spec, save) -> None:
    save(x=X, y=Y)
    with pytest.raises(SpecError, match=r"target\.classes: names 'a' twice"):
        open_spec(target='[target]\ncolumn = "y"\nclasses = ["a", "b", "a"]')


def test_all_missing_columns_are_told_at_once_with_the_nearest_names(open_spec, save) -> None:
    save(images=X, labels=Y)
    with pytest.raises(DataError) as error:
        open_spec(x='column = "image"', target='[target]\ncolumn = "label"')
    assert str(error.value) == (
        "d.npz: there is no column 'image'. Did you mean 'images'?\n"
        "d.npz: there is no column 'label'. Did you mean 'labels'?\n"
        "Available: images, labels."
    )


def test_all_other_mistakes_of_columns_are_told_at_once(open_spec, save) -> None:
    save(x=np.array(["a"] * 6), y=np.array(["b"] * 6), w=Y[:3])
    with pytest.raises(DataError) as error:
        open_spec(loss='name = "mse"\nsample_weight = "w"')
    assert "'x' holds text; store it as numbers" in str(error.value)
    assert 'classes = ["b"]' in str(error.value)


def test_files_that_disagree_are_told_by_name(open_spec, tmp_path: Path) -> None:
    np.savez(tmp_path / "p-0.npz", x=X, y=Y)
    np.savez(tmp_path / "p-1.npz", x=X[:, :1], y=Y)
    source = 'format = "npz"\npath = "p-*.npz"'
    with pytest.raises(DataError, match=r"p-1\.npz: column 'x' holds float64 of shape \(1,\).*in p-0\.npz it is"):
        open_spec(source=source)
    np.savez(tmp_path / "p-1.npz", x=X.astype("f4"), y=Y)
    with pytest.raises(DataError, match=r"p-1\.npz: column 'x' holds float32"):
        open_spec(source=source)
    np.savez(tmp_path / "p-1.npz", x=X)
    with pytest.raises(DataError, match=r"p-1\.npz: there is no column 'y'"):
        open_spec(source=source)
    np.savez(tmp_path / "p-1.npz", x=X, y=Y[:3])
    with pytest.raises(DataError, match=r"p-1\.npz: column 'y' has 3 rows, others have 6"):
        open_spec(source=source)


def test_files_without_rows_agree_with_all(open_spec, tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": X.tolist(), "y": Y}), tmp_path / "p-1.parquet")
    whole = pa.parquet.read_table(tmp_path / "p-1.parquet")
    pa.parquet.write_table(whole.slice(0, 0), tmp_path / "p-0.parquet")
    assert len(open_spec(source='format = "parquet"\npath = "p-*.parquet"')) == 6


def test_a_pattern_that_fits_no_file_says_where_it_looked(open_spec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^p-\*\.npz: no file has such a name; looked in {tmp_path}"):
        open_spec(source='format = "npz"\npath = "p-*.npz"')


def test_columns_may_come_from_many_npy_files_each(open_spec, tmp_path: Path) -> None:
    np.save(tmp_path / "x-0.npy", X[:2])
    np.save(tmp_path / "x-1.npy", X[2:])
    np.save(tmp_path / "y.npy", Y)
    samples = open_spec(source='format = "npy"\npaths = { x = "x-*.npy", y = "y.npy" }')
    np.testing.assert_array_equal(next(samples.batches(6)).inputs["x"], X)
    with pytest.raises(DataError, match=r'say which column these files are: paths = \{ x = "x-\*\.npy" \}'):
        open_spec(source='format = "npy"\npath = "x-*.npy"')


def test_csv_numbers_become_fractions_where_one_file_has_some(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (tmp_path / "b.csv").write_text("x\n0.5\n")
    np.testing.assert_array_equal(read("csv", tmp_path, ("x",), path="*.csv")["x"], [1, 2, 0.5])


@pytest.mark.parametrize("form", ["parquet", "jsonl", "tfrecord"])
def test_lists_of_different_lengths_are_told_with_the_row_and_how_to_pad(form: str, tmp_path: Path) -> None:
    lists = [[1, 2, 3], [4, 5, 6], [7, 8]]
    match form:
        case "parquet":
            pa.parquet.write_table(pa.table({"x": lists}), tmp_path / "d")
        case "jsonl":
            (tmp_path / "d").write_text("".join(json.dumps({"x": one}) + "\n" for one in lists))
        case _:
            records = []
            for one in lists:
                example = example_class()()
                example.features.feature["x"].Int64List.value.extend(one)
                records.append(framed(example.SerializeToString()))
            (tmp_path / "d").write_bytes(b"".join(records))
    with pytest.raises(DataError, match=r"(?s)row 2: 2 values, row 0 has 3; .*[Pp]ad.*attention mask"):
        read(form, tmp_path, ("x",), path="d")


def test_a_missing_whole_number_is_told_with_its_row(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [1, 2, None], "y": [[1], None, [2]]}), tmp_path / "d")
    with pytest.raises(DataError, match="column 'x', row 2: the value is missing"):
        read("parquet", tmp_path, ("x",), path="d")
    with pytest.raises(DataError, match="column 'y', row 1: the value is missing"):
        read("parquet", tmp_path, ("y",), path="d")


def test_tokens_masks_and_labels_pass_through_unchanged(open_spec, tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 30000, (5, 7))
    mask = (tokens > 9000).astype("i1")
    labels = np.where(mask, tokens, -100)
    table = {name: pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), 7) for name, v in
             (("tokens", tokens), ("mask", mask), ("labels", labels))}  # fmt: skip
    pa.parquet.write_table(pa.table(table), tmp_path / "d.parquet")
    samples = open_spec(
        source='format = "parquet"\npath = "d.parquet"',
        x='column = "tokens"\n[inputs.mask]\ncolumn = "mask"',
        target='[target]\ncolumn = "labels"',
        loss='name = "cross_entropy"\nfrom_logits = true\nignore_index = -100\nclass_axis = -1',
    )
    batch = next(samples.batches(5))
    for values, expected in ((batch.inputs["x"], tokens), (batch.inputs["mask"], mask), (batch.target, labels)):
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)


TENSORS = {
    "tensor": (lambda: torch.arange(6.0).reshape(3, 2), "d", lambda t: t),
    "list": (lambda: [torch.arange(3), torch.ones(3)], "1", lambda t: t[1]),
    "tuple": (lambda: (torch.arange(3), torch.ones(3)), "0", lambda t: t[0]),
    "nested": (lambda: {"train": {"x": torch.eye(3)}, "n": 3}, "train.x", lambda t: t["train"]["x"]),
    "bfloat16": (lambda: {"x": torch.randn(4, 3).bfloat16()}, "x", lambda t: t["x"].float()),
    "half": (lambda: {"x": torch.randn(4, 3).half()}, "x", lambda t: t["x"]),
    "uint16": (lambda: {"x": torch.tensor([5, 65535], dtype=torch.uint16)}, "x", lambda t: t["x"]),
    "parameter": (lambda: {"x": torch.nn.Parameter(torch.ones(2, 2))}, "x", lambda t: t["x"].detach()),
    "shared": (lambda: {"a": (t := torch.arange(12.0).reshape(6, 2)), "b": t[::2, 1]}, "b", lambda t: t["b"]),
    "expanded": (lambda: {"x": torch.ones(1, 3).expand(4, 3)}, "x", lambda t: t["x"]),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_are_those_that_torch_loads(case: str, tmp_path: Path) -> None:
    make, name, of = TENSORS[case]
    torch.save(make(), tmp_path / "d.pt")
    expected = of(torch.load(tmp_path / "d.pt", weights_only=True))
    values = read("torch", tmp_path, (name,), path="d.pt")[name]
    np.testing.assert_array_equal(values, expected.numpy())
    assert values.dtype == expected.numpy().dtype


class Harm:
    """Made a call by a pickle."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harmed"),))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Harm(), "is an object, not a plain tensor"),
        (torch.utils.data.TensorDataset(torch.ones(3)), "TensorDataset, not a plain tensor; store plain ones"),
        (torch.ones(3).to_sparse(), "not a plain tensor"),
        (torch.ones(3, dtype=torch.complex64), "not a plain tensor"),
        ([1, 2, 3], "is of Python's type list; store a tensor"),
        ("text", "is of Python's type str"),
        (np.ones(3), "not a plain tensor"),
    ],
)
def test_what_is_no_plain_tensor_is_told_and_nothing_is_run(
    value: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": value, "y": torch.ones(3)}, tmp_path / "d.pt")
    with pytest.raises(DataError, match=said):
        read("torch", tmp_path, ("x",), path="d.pt")
    np.testing.assert_array_equal(read("torch", tmp_path, ("y",), path="d.pt")["y"], np.ones(3))
    assert not (tmp_path / "harmed").exists()


def test_a_tensor_declared_beyond_its_bytes_is_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.arange(40.0)}, tmp_path / "good.pt")
    for old, new in ((b"K(\x85", b"K)\x85"), (b"K(t", b"K)t")):
        with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "d.pt", "w") as bad:
            for name in good.namelist():
                data = good.read(name)
                bad.writestr(name, data.replace(old, new) if name.endswith("data.pkl") else data)
        with pytest.raises(
            DataError, match=r"is declared over data of 40 numbers|declares 164 bytes where there are 160"
        ):
            read("torch", tmp_path, ("x",), path="d.pt")


def test_torchs_old_format_and_models_are_told_apart(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"is of a torch before 1\.6; write it again: torch\.save\(torch\.load"):
        read("torch", tmp_path, ("x",), path="old.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(DataError, match="it is a TorchScript model"):
        read("torch", tmp_path, ("x",), path="model.pt")


def test_hdf5_follows_no_link_and_reads_no_other_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = X
    (tmp_path / "raw").write_bytes(X.tobytes())
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["external"] = h5py.ExternalLink("secret.h5", "/x")
        file["soft"] = h5py.SoftLink("/group/x")
        file["group/x"] = X
        file["group/out"] = h5py.ExternalLink("secret.h5", "/")
        file.create_dataset("stored", X.shape, "f8", external=[(str(tmp_path / "raw"), 0, X.nbytes)])
        layout = h5py.VirtualLayout((6, 2), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (6, 2))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("declared", (1 << 40,), "f8", chunks=(1024,), compression="gzip")
        file["words"] = np.array([b"a", b"b"])
        file.create_dataset("records", (3,), np.dtype([("a", "f8")]))
    np.testing.assert_array_equal(read("hdf5", tmp_path, ("group/x",), path="d.h5")["group/x"], X)
    for name, said in {
        "external": "is a link to another file, which is not followed",
        "group/out/x": "is a link to another file, which is not followed",
        "soft": "is a soft link, which is not followed; name the dataset itself",
        "stored": "keeps its data in another file",
        "virtual": "is a virtual dataset, made of other files",
        "declared": "is declared far larger than the file",
        "records": "holds neither numbers nor text",
        "group": r"there is no column 'group'.*\nAvailable: ",
        "goup/x": r"Did you mean 'group/x'\?",
    }.items():
        with pytest.raises(DataError, match=said):
            read("hdf5", tmp_path, (name,), path="d.h5")


def test_an_hdf5_chunk_that_inflates_beyond_its_size_is_refused(tmp_path: Path, monkeypatch) -> None:
    import zlib

    monkeypatch.setattr("curvcli.hdf5.available_memory", lambda: 1 << 20)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dataset = file.create_dataset("x", (1024,), "f8", chunks=(1024,), compression="gzip")
        dataset.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 22), 9))
    with pytest.raises(DataError, match="inflates to more than its size"):
        read("hdf5", tmp_path, ("x",), path="d.h5")


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


def image_folder(folder: Path, size: tuple[int, int] = (4, 5)) -> np.ndarray:
    """Six grey images, two in each of three classes."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (6, *size), dtype=np.uint8)
    for number, one in enumerate(pixels):
        path = folder / "images" / "cat bird dog".split()[number // 2]
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(path / f"{number}.png")
    return pixels[[2, 3, 0, 1, 4, 5], ..., None]


FOLDER = 'format = "imagefolder"\npath = "images"'
LABELS = '[target]\ncolumn = "label"\nclasses = ["cat", "dog", "bird"]'


def test_images_lie_in_folders_of_their_classes(open_spec, tmp_path: Path) -> None:
    pixels = image_folder(tmp_path)
    (tmp_path / "images" / ".DS_Store").write_bytes(b"")
    samples = open_spec(source=FOLDER, x='column = "image"', target=LABELS)
    np.testing.assert_array_equal(next(samples.batches(6)).inputs["x"], pixels)
    np.testing.assert_array_equal(samples.targets(), [2, 2, 0, 0, 1, 1])
    samples = open_spec(source=FOLDER + '\nmode = "RGB"\nresize = [8, 6]', x='column = "image"', target=LABELS)
    assert samples.input_shapes["x"] == (8, 6, 3)
    with pytest.raises(DataError, match=re.escape('classes = ["bird", "cat", "dog"]')):
        open_spec(source=FOLDER, x='column = "image"', target='[target]\ncolumn = "label"')


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("size", r"cat/9\.png: 5×9 pixels of 1 values.*\n.*resize = \[4, 5\], and mode"),
        ("mode", r'cat/9\.png: its pixels are of mode RGBA; write mode = "RGB"'),
        ("text", r"'cat/9\.txt' is no image that is read"),
        ("damaged", r"cat/9\.png: is no complete image"),
        ("cut", r"cat/9\.png: is no complete image"),
        ("pipe", r"cat/9\.png: is a named pipe"),
        ("link out", "leads out of the folder"),
        ("deeper", "is a folder in a class's folder; one level is read"),
        ("loose", "lies beside folders"),
        ("bomb", r"declares 60000×60000 pixels|3600000000 pixels"),
        ("disguise", r"cat/9\.png: is no complete image"),
    ],
)
@pytest.mark.timeout(20)
def test_images_that_do_not_fit_are_told_by_file(case: str, said: str, open_spec, tmp_path: Path) -> None:
    import os
    import zlib

    from PIL import Image

    image_folder(tmp_path)
    cat = tmp_path / "images" / "cat"
    match case:
        case "size":
            Image.new("L", (5, 9)).save(cat / "9.png")
        case "mode":
            Image.new("RGBA", (5, 4)).save(cat / "9.png")
        case "text":
            (cat / "9.txt").write_text("x")
        case "damaged":
            (cat / "9.png").write_bytes(b"nothing")
        case "cut":
            (cat / "9.png").write_bytes((cat / "0.png").read_bytes()[:-30])
        case "pipe":
            os.mkfifo(cat / "9.png")
        case "link out":
            (tmp_path / "other.png").write_bytes((cat / "0.png").read_bytes())
            (cat / "9.png").symlink_to(tmp_path / "other.png")
        case "deeper":
            (cat / "more").mkdir()
        case "loose":
            (tmp_path / "images" / "9.png").write_bytes(b"")
        case "bomb":
            head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
            chunk = b"IHDR" + head
            start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
            body = b"IDAT" + zlib.compress(bytes(1 << 20))
            (cat / "9.png").write_bytes(
                start + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
            )
        case _:
            Image.new("L", (5, 4)).save(cat / "9.png", format="TIFF")
    with pytest.raises(DataError, match=said):
        list(open_spec(source=FOLDER, x='column = "image"', target=LABELS).batches())


def hugging_face(folder: Path, **state: Any) -> None:
    """As ``save_to_disk`` of ``datasets`` 2 to 4 lays them out."""
    folder.mkdir(parents=True)
    for number, part in enumerate((slice(0, 4), slice(4, 6))):
        table = pa.table({"x": X[part].tolist(), "y": Y[part]})
        with pa.ipc.new_stream(folder / f"data-{number:05}-of-00002.arrow", table.schema) as file:
            file.write_table(table, max_chunksize=3)
    files = [{"filename": f"data-{number:05}-of-00002.arrow"} for number in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": None, **state}))
    (folder / "dataset_info.json").write_text("{}")


def test_hugging_face_data_sets_are_read_without_their_package(tmp_path: Path) -> None:
    hugging_face(tmp_path / "one")
    found = read("huggingface", tmp_path, ("x", "y"), path="one")
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], Y)


def test_a_split_is_named(tmp_path: Path) -> None:
    hugging_face(tmp_path / "many" / "train")
    (tmp_path / "many" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    np.testing.assert_array_equal(read("huggingface", tmp_path, ("y",), path="many", split="train")["y"], Y)
    with pytest.raises(DataError, match=r"say which: source\.split; there are train, test"):
        read("huggingface", tmp_path, ("y",), path="many")
    with pytest.raises(DataError, match=r"there is no split 'trian'; did you mean train\?"):
        read("huggingface", tmp_path, ("y",), path="many", split="trian")


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "..", "a\0b", "link.arrow"])
def test_a_data_set_names_no_file_outside_its_folder(name: str, tmp_path: Path) -> None:
    hugging_face(tmp_path / "one", _data_files=[{"filename": name}])
    hugging_face(tmp_path / "two")
    (tmp_path / "secret.arrow").write_bytes((tmp_path / "two" / "data-00000-of-00002.arrow").read_bytes())
    (tmp_path / "one" / "link.arrow").symlink_to(tmp_path / "secret.arrow")
    with pytest.raises(DataError, match=r"not in the folder|leads out of the folder"):
        read("huggingface", tmp_path, ("y",), path="one")


def test_a_selection_and_a_folder_of_something_else_are_told(tmp_path: Path) -> None:
    hugging_face(tmp_path / "one", _indices_data_files=[{"filename": "indices.arrow"}])
    with pytest.raises(DataError, match=r"save it again after flatten_indices\(\)"):
        read("huggingface", tmp_path, ("y",), path="one")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"has no state\.json.*save_to_disk"):
        read("huggingface", tmp_path, ("y",), path="none")


def test_a_cut_or_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(b"x\n" + b"1\n" * 1000)
    (tmp_path / "d.csv.gz").write_bytes(data[:-10])
    with pytest.raises(DataError, match=r"d\.csv\.gz: can't be read to its end"):
        read("csv", tmp_path, ("x",), path="d.csv.gz")


def test_a_gzip_file_that_inflates_for_ever_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curvcli.data.files._ALWAYS_INFLATED", 1 << 16)
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 1_000_000))
    with pytest.raises(DataError, match="200 times its size"):
        read("csv", tmp_path, ("x",), path="d.csv.gz")


@pytest.mark.parametrize(
    "form", [name for name in FORMATS if name not in {"npy", "imagefolder", "huggingface", "random"}]
)
def test_files_of_other_formats_are_refused_with_how_to_convert_them(form: str, tmp_path: Path) -> None:
    for suffix, said in {
        "mat": r"scipy\.io\.loadmat", "xlsx": "save it as CSV", "safetensors": r"safetensors\.numpy\.load_file",
        "pkl": "a pickle runs code", "zip": "unpack it", "zst": "unzstd", "json": "JSON Lines",
    }.items():  # fmt: skip
        (tmp_path / f"d.{suffix}").write_bytes(b"something")
        with pytest.raises(DataError, match=said):
            read(form, tmp_path, ("x",), path=f"d.{suffix}")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("tsv", 'write format = "csv"'),
        (".feather", 'write format = "arrow"'),
        ("pt", 'write format = "torch"'),
        ("zarr", r"zarr\.open"),
        ("pickle", "a pickle runs code"),
        ("parqet", r"did you mean parquet\?"),
    ],
)
def test_a_format_by_another_name_is_answered_with_the_line_that_helps(written: str, said: str, open_spec) -> None:
    with pytest.raises(SpecError, match=said):
        open_spec(source=f'format = "{written}"\npath = "d"')


@pytest.mark.parametrize(
    ("form", "module", "package"),
    [
        ("parquet", "pyarrow.parquet", "pyarrow"),
        ("arrow", "pyarrow", "pyarrow"),
        ("tfrecord", "google_crc32c", "google-crc32c"),
        ("imagefolder", "PIL.Image", "Pillow"),
    ],
)
def test_a_missing_package_is_one_line_with_the_extra(
    form: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    (tmp_path / "d").write_bytes(b"")
    with pytest.raises(DataError, match=rf"needs {package}, which is not installed: pip install 'curvcli\[data\]'$"):
        read(form, tmp_path, ("x",), path="d")


def test_a_pattern_in_a_model_stays_beside_it(tmp_path: Path) -> None:
    """A spec that came with the model names no file elsewhere, by a pattern or by a link that fits one."""
    from curvcli.data.registry import TABLES
    from curvcli.data.samples import open_samples
    from curvcli.spec.dataset import parse_dataset_spec

    (tmp_path / "here" / "below").mkdir(parents=True)
    for place in ("here/p-0.npz", "p-0.npz", "here/below/p-0.npz"):
        np.savez(tmp_path / place, x=X, y=Y)

    def rows(path: str) -> int:
        text = f'version = 1\n[source]\nformat = "npz"\npath = "{path}"\n[inputs.x]\ncolumn = "x"\n[target]\n'
        text += 'column = "y"\n[loss]\nname = "mse"\n'
        model = tmp_path / "here" / "model.pt"
        return len(open_samples(parse_dataset_spec(text, TABLES, path=model, model=model)))

    assert rows("p-*.npz") == 6
    for path in ("../p-*.npz", f"{tmp_path}/p-*.npz", "below/p-*.npz", "b*/p-*.npz", "*/../../p-0.npz"):
        with pytest.raises(SpecError, match="may name only files in and beside the model"):
            rows(path)
    (tmp_path / "here" / "p-1.npz").symlink_to(tmp_path / "p-0.npz")
    with pytest.raises(SpecError, match="may name only files in and beside the model"):
        rows("p-*.npz")


def test_texts_of_megabytes_are_no_names_of_classes(open_spec, tmp_path: Path) -> None:
    """Whether each row declares so much, or has it."""
    np.savez_compressed(tmp_path / "d.npz", x=X, y=np.array(["a" * (1 << 18)] * 6))
    with pytest.raises(DataError, match="texts too long for a class"):
        open_spec()
    texts = pa.table({"x": np.zeros(50), "y": [f"{row}" * (1 << 18) for row in range(50)]})
    pa.parquet.write_table(texts, tmp_path / "d.parquet")
    with pytest.raises(DataError, match="texts too long for a class"):
        open_spec(source='format = "parquet"\npath = "d.parquet"', target=CLASSES)


def test_a_text_that_all_rows_share_is_there_once(open_spec, tmp_path: Path) -> None:
    table = pa.table({"x": np.zeros(2000), "y": pa.array(["cat" * 20_000] * 2000).dictionary_encode()})
    pa.parquet.write_table(table, tmp_path / "d.parquet")
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="is none of target"):
        open_spec(source='format = "parquet"\npath = "d.parquet"', target=CLASSES)
    assert pa.total_allocated_bytes() - before < 1 << 23  # of 114 MiB
