"""Specs that somebody else wrote: what they may name, and nonsense in them, told in a line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from curvcli.data.registry import TABLES
from curvcli.data.samples import open_samples
from curvcli.errors import CurvcliError, SpecError, UsageError
from curvcli.spec.dataset import load_dataset_spec, parse_dataset_spec
from curvcli.spec.lookup import find_dataset_spec
from curvcli.toml import TomlError, parse_toml

from .conftest import DIGITS


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A SavedModel that brings its spec, and a secret that is neither in it nor beside it."""
    folder = tmp_path / "models" / "vgg"
    (folder / "assets.extra").mkdir(parents=True)
    (tmp_path / "secret.npz").write_text("nobody's business")
    return folder


def spec_of(model: Path, path: str) -> str:
    (model / "assets.extra" / "curvcli.toml").write_text(DIGITS.replace('"digits.npz"', f'"{path}"'))
    found = find_dataset_spec(model, None, model)
    return str(found.load(TABLES).resolve(path))


@pytest.mark.parametrize("path", ["data.npz", "../data.npz", "../../data.npz", "../../arrays/x.npy", "../../arrays"])
def test_a_spec_inside_a_model_reads_in_and_beside_it(path: str, model: Path) -> None:
    assert spec_of(model, path).endswith(path)


@pytest.mark.parametrize(
    "path", ["../../../secret.npz", "/etc/passwd", "~/x.npz", "../../arrays/x.csv", "link", "up/secret.npz"]
)
def test_a_spec_inside_a_model_reads_nothing_else(path: str, model: Path, tmp_path: Path) -> None:
    """Neither by its path nor by links that came with the model."""
    (model / "assets.extra" / "link").symlink_to(tmp_path / "secret.npz")
    (model / "assets.extra" / "up").symlink_to(tmp_path)
    with pytest.raises(SpecError, match="may name only files in and beside the model"):
        spec_of(model, path)


def test_a_spec_that_a_person_names_reads_any_file(model: Path, tmp_path: Path) -> None:
    named = tmp_path / "mine.toml"
    named.write_text(DIGITS.replace('"digits.npz"', f'"{tmp_path}/secret.npz"'))
    found = find_dataset_spec(model, named, tmp_path)
    assert found.load(TABLES).resolve(f"{tmp_path}/secret.npz").read_text() == "nobody's business"


def test_a_home_that_is_nobodys_is_told(tmp_path: Path) -> None:
    loaded = parse_dataset_spec(DIGITS, TABLES, path=tmp_path / "s.toml")
    with pytest.raises(SpecError, match="no such home folder"):
        loaded.resolve("~nobody-at-all/x.npz")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "loop"])
def test_what_is_no_file_is_no_spec(name: str, model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="give the path of a dataset spec"):
        find_dataset_spec(model, tmp_path / name, tmp_path)


def test_a_spec_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "spec.toml").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(SpecError, match="too large for a dataset spec"):
        load_dataset_spec(tmp_path / "spec.toml", TABLES)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 100_000,
        "x = " + "{ a = " * 5000 + "1" + "}" * 5000,
        "a." * 100_000 + "a = 1",
        "[" + "a." * 100_000 + "a]",
        "a . " * 100_000 + "a = 1",
        "x = " + "9" * 5000,
        "x = 1979-13-40",
        "\0",
    ],
)
def test_text_that_nests_for_ever_is_refused_at_once(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(TomlError) as error:
        parse_toml(text)
    assert time.monotonic() - start < 5
    assert len(str(error.value)) < 300


def test_prose_with_dots_is_no_nesting() -> None:
    assert parse_toml('x = "' + "a. " * 20 + '"\nversions = "1.2.3"')["versions"] == "1.2.3"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("version = 1", "version = " + "9" * 40, "must be 1"),
        ("0.0625", "0x" + "f" * 6000, "inputs.image.scale"),
        ("0.0625", "nan", "finite"),
        ("0.0625", "[1]", "found a list"),
        ("from_logits = true", "from_logits = true\n[sampling]\nseed = " + "9" * 40, "sampling.seed"),
        ("from_logits = true", "from_logits = true\n[sampling]\nlimit = 9223372036854775808", "sampling.limit"),
        ("[target]", f"[{'t' * 1_000_000}]\nx = 1\n[target]", "unknown key"),
        (
            "[target]",
            "".join(f"[inputs.x{i}]\ncolumn = 'x'\n" for i in range(20_000)) + "[target]",
            "more than the 1000",
        ),
    ],
)
def test_nonsense_is_named_in_short(old: str, new: str, expected: str, tmp_path: Path) -> None:
    """Keys of a megabyte are cut, numbers of any length are told."""
    with pytest.raises(SpecError) as error:
        parse_dataset_spec(DIGITS.replace(old, new, 1), TABLES, path=tmp_path / "s.toml")
    assert expected in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("name", ["x" * 5000, "a\\u0000b"])
def test_a_path_that_can_not_be_is_told(name: str, tmp_path: Path) -> None:
    loaded = parse_dataset_spec(DIGITS.replace("digits.npz", name), TABLES, path=tmp_path / "s.toml")
    with pytest.raises(CurvcliError, match=r"no such file|too long|no path can hold"):
        open_samples(loaded)
