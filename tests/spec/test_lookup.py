"""Where a dataset spec is looked for, in which order."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from curvcli.data.registry import TABLES
from curvcli.errors import SpecError, UsageError
from curvcli.spec.lookup import find_dataset_spec
from curvcli.wording import in_shell


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    model = tmp_path / "models" / "vgg"
    (model / "assets.extra").mkdir(parents=True)
    return model


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A file with the members of a TorchScript archive that matter here."""
    model = tmp_path / "models" / "vgg.pt"
    model.parent.mkdir()
    write_archive(model, {"vgg/version": "3"})
    return model


def write_archive(path: Path, members: dict[str, str | bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def write(path: Path) -> Path:
    path.write_text(f"# {path.name}")
    return path


def test_an_explicit_path_wins_over_all_others(saved_model, tmp_path):
    write(saved_model / "assets.extra" / "curvcli.toml")
    explicit = write(tmp_path / "mine.toml")
    found = find_dataset_spec(saved_model, explicit, tmp_path)
    assert (found.text, found.path) == ("# mine.toml", explicit)
    assert in_shell(found.source_description) == f"{explicit} (named with --data)"


def test_a_missing_explicit_path_is_an_error_even_if_another_spec_exists(saved_model, tmp_path):
    write(tmp_path / "curvcli.toml")
    with pytest.raises(UsageError, match=r"--data .*none\.toml: no such file"):
        find_dataset_spec(saved_model, tmp_path / "none.toml", tmp_path)


def test_an_explicit_folder_is_an_error(saved_model, tmp_path):
    with pytest.raises(UsageError, match="is a directory"):
        find_dataset_spec(saved_model, tmp_path, tmp_path)


def test_a_spec_in_a_saved_model_wins_over_one_beside_it(saved_model, tmp_path):
    inside = write(saved_model / "assets.extra" / "curvcli.toml")
    write(saved_model.with_name("vgg.toml"))
    assert find_dataset_spec(saved_model, None, tmp_path).path == inside


def test_a_spec_beside_a_saved_model_is_found(saved_model, tmp_path):
    beside = write(saved_model.with_name("vgg.toml"))
    found = find_dataset_spec(saved_model, None, tmp_path)
    assert found.path == beside
    assert found.source_description.endswith("vgg.toml (beside the model)")


def test_a_dot_in_a_folder_name_is_no_suffix(tmp_path):
    model = tmp_path / "vgg.v2"
    model.mkdir()
    write(tmp_path / "vgg.toml")
    beside = write(tmp_path / "vgg.v2.toml")
    assert find_dataset_spec(model, None, tmp_path).path == beside


def test_a_model_in_the_working_directory_may_be_called_dot(saved_model, tmp_path, monkeypatch):
    beside = write(saved_model.with_name("vgg.toml"))
    monkeypatch.chdir(saved_model)
    assert find_dataset_spec(Path(), None, saved_model).path == beside


def test_the_appended_suffix_wins_over_the_replaced_one(archive, tmp_path):
    write(archive.with_name("vgg.toml"))
    appended = write(archive.with_name("vgg.pt.toml"))
    assert find_dataset_spec(archive, None, tmp_path).path == appended


def test_the_replaced_suffix_is_found(archive, tmp_path):
    replaced = write(archive.with_name("vgg.toml"))
    assert find_dataset_spec(archive, None, tmp_path).path == replaced


def test_a_spec_inside_an_archive_is_found_before_the_working_directory(archive, tmp_path):
    write_archive(archive, {"vgg/version": "3", "vgg/extra/curvcli.toml": "# inside"})
    write(tmp_path / "curvcli.toml")
    found = find_dataset_spec(archive, None, tmp_path)
    assert (found.text, found.path) == ("# inside", archive)
    assert found.source_description == "curvcli.toml inside vgg.pt"


def test_mistakes_of_a_spec_inside_an_archive_name_the_archive(archive, tmp_path):
    write_archive(archive, {"vgg/extra/curvcli.toml": "version = 2"})
    with pytest.raises(SpecError, match=r"^vgg\.pt: curvcli\.toml: version: must be 1"):
        find_dataset_spec(archive, None, tmp_path).load(TABLES)


def test_paths_of_a_spec_inside_an_archive_start_from_the_archives_folder(archive, tmp_path):
    spec = """
version = 1
source = { format = "npz", path = "d.npz" }
inputs = { x = { column = "x" } }
loss = { name = "output" }
"""
    write_archive(archive, {"vgg/extra/curvcli.toml": spec})
    assert find_dataset_spec(archive, None, tmp_path).load(TABLES).resolve("d.npz") == archive.parent / "d.npz"


def test_a_member_elsewhere_in_the_archive_is_not_taken(archive, tmp_path):
    write_archive(archive, {"vgg/code/extra/curvcli.toml": "", "extra/curvcli.toml": ""})
    with pytest.raises(UsageError):
        find_dataset_spec(archive, None, tmp_path)


def test_a_spec_inside_an_archive_that_is_no_text_is_refused(archive, tmp_path):
    write_archive(archive, {"vgg/extra/curvcli.toml": b"\xff"})
    with pytest.raises(SpecError, match="not UTF-8 text"):
        find_dataset_spec(archive, None, tmp_path)


def test_the_working_directory_comes_last(saved_model, tmp_path):
    last = write(tmp_path / "curvcli.toml")
    found = find_dataset_spec(saved_model, None, tmp_path)
    assert found.path == last
    assert found.source_description.endswith("(in the working directory)")


def test_without_a_spec_the_error_says_where_it_looked_and_what_to_do(archive, tmp_path):
    with pytest.raises(UsageError) as caught:
        find_dataset_spec(archive, None, tmp_path)
    first, second = str(caught.value).splitlines()
    for place in ("vgg.pt.toml", "vgg.toml", "curvcli.toml inside vgg.pt", "curvcli.toml in the working directory"):
        assert place in first
    assert "--data spec.toml" in second
