"""Names and values that steer terminals, fill them, or break what reads them: one clear line, exit code 2 or 3."""

from __future__ import annotations

import csv
import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from curvcli.cli.main import run
from curvcli.cli.text import render_rows
from curvcli.report.render.csv import neutral
from curvcli.text import clean

RESET = "\x1b[2J\x1b]0;title\x07\u202e"
CONFIG_VALUES = ("[1, 2]", "{ a = 1 }", "true", "1.5", '"many"', "nan", "9" * 40, "0x" + "f" * 5000, "1979-05-27")


@pytest.fixture
def say(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """``say(2, "show", …)``: run here, expect the exit code, return what was said on standard error."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)

    def call(code: int, *words: object) -> str:
        capfd.readouterr()
        assert run([str(word) for word in words]) == code
        said = capfd.readouterr().err
        assert "bug in curvcli" not in said
        assert "Traceback" not in said
        assert all(c.isprintable() or c == "\n" for c in said)
        assert len(said) < 10_000
        return said

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "words",
    [
        ("show", f"{RESET}.h5"),
        ("diag", f"{RESET}.pt"),
        ("diag", "x.pt", "--data", RESET),
        ("diag", "x.pt", f"--{RESET}"),
        ("diag", "x.pt", "--probes", RESET),
        ("diag", "x.pt", "--method", RESET),
        ("diag", "x.pt", "--config", RESET),
        ("compare", RESET, RESET),
        (RESET,),
        ("x" * 1_000_000,),
        ("diag", "x.pt", "--method", "x" * 1_000_000),
        ("show", "x" * 1_000_000),
    ],
)
def test_what_was_typed_does_not_steer_the_terminal(words: tuple[str, ...], say: Callable[..., str]) -> None:
    """Nor what stands in names of files and options; and nothing endless is printed."""
    assert say(2, *words)


@pytest.mark.parametrize(
    "option", ["probes", "rtol", "seed", "limit", "batch-size", "method", "layer", "memory-limit", "quiet"]
)
@pytest.mark.parametrize("value", CONFIG_VALUES)
def test_a_config_value_of_another_type_is_a_mistake(option: str, value: str, say: Callable[..., str]) -> None:
    """Unless it fits after all; the model is missing, which is found later."""
    Path("c.toml").write_text(f"[diag]\n{option} = {value}\n")
    said = say(2, "diag", "no.pt", "--config", "c.toml")
    fits = {"rtol": {"1.5", "9" * 40}, "memory-limit": {"1.5"}, "quiet": {"true"}, "layer": {'"many"'}}
    assert ("no such file or directory" in said) == (value in fits.get(option, set())), said
    Path("run.toml").write_text(f'model = "no.pt"\n{option} = {value}\n[diag]\n{option} = {value}\n')
    assert say(2, "run", "run.toml")


@pytest.mark.parametrize(
    ("command", "option"),
    [("eigs", "--tolerance"), ("diag", "--rtol"), ("trace", "--rtol"), ("diag", "--seed"), ("diag", "--probes")],
)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "9" * 40, "9" * 5000, "", "٣٣x"])
def test_numbers_that_are_none_are_refused(command: str, option: str, value: str, say: Callable[..., str]) -> None:
    said = say(2, command, "no.pt", option, value)
    assert ("Invalid value" in said) != (value == "9" * 40 and option in {"--tolerance", "--rtol"})


@pytest.mark.parametrize("words", [("assert", "r.h5", "--sigma", "nan"), ("compare", "a.h5", "b.h5", "--sigma", "nan")])
def test_error_bars_are_numbers(words: tuple[str, ...], say: Callable[..., str]) -> None:
    assert "not a finite number" in say(2, *words)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "loop", "folder", "/dev/zero"])
@pytest.mark.parametrize(
    "words",
    [
        ("show", "IT"),
        ("compare", "IT", "IT"),
        ("assert", "IT", "--finite"),
        ("export", "IT", "-o", "-"),
        ("plot", "IT", "-o", "x.html"),
        ("run", "IT"),
        ("layers", "IT"),
        ("diag", "IT"),
        ("diag", "model.pt", "--data", "IT"),
        ("diag", "model.pt", "--config", "IT"),
    ],
)
def test_what_is_no_file_is_refused_at_once(
    words: tuple[str, ...], kind: str, say: Callable[..., str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "model.pt").write_bytes(b"not opened")
    said = say(2, *(kind if word == "IT" else word for word in words))
    assert kind in said
    assert len(said.splitlines()) <= 2


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "loop"])
@pytest.mark.parametrize("words", [("export", "r.h5"), ("plot", "r.h5", "-k", "bars"), ("diag", "model.pt", "-q")])
def test_an_output_that_is_no_file_is_refused(
    words: tuple[str, ...], kind: str, work: Path, say: Callable[..., str], tmp_path: Path
) -> None:
    """Before any work, and what is there stays."""
    say(0, "diag", "model.pt", "-q", "-o", "r.h5")
    suffix = {"export": "csv", "plot": "png", "diag": "h5"}[words[0]]
    path = tmp_path / f"{kind}.{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name)
    say(2, *words, "-o", path)
    assert path.is_fifo() if kind == "pipe" else path.is_symlink()


@pytest.mark.timeout(30)
def test_a_log_that_nobody_reads_is_not_waited_for(say: Callable[..., str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    assert "--log-file log" in say(2, "assert", "r.h5", "--finite", "--log-file", "log")


@pytest.mark.parametrize("name", ["run.json", "lock", "work-" + "0" * 24 + ".npz", f"{'0' * 24}-{'0' * 64}.h5"])
@pytest.mark.parametrize("kind", ["folder", "link", "loop", "pipe"])
def test_what_is_no_file_among_finished_layers_is_named(
    kind: str, name: str, work: Path, say: Callable[..., str], tmp_path: Path
) -> None:
    """Nothing is written through a link, and no run ends at its end for a folder."""
    parts = tmp_path / "r.h5.parts"
    parts.mkdir()
    (tmp_path / "precious").write_text("kept")
    match kind:
        case "folder":
            (parts / name).mkdir()
        case "link":
            (parts / name).symlink_to(tmp_path / "precious")
        case "loop":
            (parts / name).symlink_to(name)
        case _:
            os.mkfifo(parts / name)
    assert name in say(2, "diag", "model.pt", "-q", "-o", "r.h5")
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_state_of_other_arrays_is_no_bug(work: Path, curvcli: Callable[..., object], tmp_path: Path) -> None:
    """One that has the run's key all the same."""
    script = (
        "import sys, importlib, numpy as np\n"
        "from curvcli.report.hdf5.parts import Parts\n"
        "from curvcli.cli.main import run\n"
        "Parts.progress = lambda self, work: {'nonsense': np.zeros(3)}\n"
        "sys.exit(run(['trace', 'model.pt', '-q', '--method', 'hutchinson', '-o', 'r.h5']))\n"
    )
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "use --no-resume" in done.stderr


@pytest.mark.parametrize("label", [1e300, -1e300, 2.0**63])
def test_labels_beyond_all_classes_are_told(label: float, work: Path, say: Callable[..., str]) -> None:
    with np.load(work / "data.npz") as archive:
        x = archive["x"]
    np.savez(work / "data.npz", x=x, y=np.full(37, label))
    assert f"label {label:.15g} is out of range" in say(2, "diag", "model.pt", "-o", "r.h5")


def test_layers_of_strange_names_are_shown_in_words(work: Path, say: Callable[..., str], tmp_path: Path) -> None:
    """In errors too; a report may have been made by anybody."""
    say(0, "diag", "model.pt", "-q", "-o", "r.h5")
    with h5py.File(tmp_path / "r.h5", "a") as file:
        for column in ("summary/layer", "parameters/layer"):
            values = file[column].asstr()[...]
            values[values == "one"] = RESET
            file[column][...] = values
        file.move("layers/one", f"layers/{RESET}")
    assert "\\x1b[2J" in say(2, "show", "r.h5", "--layer", "three")
    assert "\\u202e" in say(2, "show", "r.h5", "--get", "three/trace")


def test_messages_are_cut_and_their_lines_kept() -> None:
    assert clean("one\ntwo") == "one\ntwo"
    assert clean("a\x1bb\u202ec\td") == "a\\x1bb\\u202ec\\td"
    assert len(clean("x" * 1_000_000)) < 2_200
    assert clean("\n".join("x" * 1000)).endswith("… and 960 lines more")


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "-a"]
)
def test_text_that_a_spreadsheet_would_compute_is_quoted(cell: str) -> None:
    assert neutral(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "-", "-1.5", "+1e-3", "-inf", "nan", "-1.5 -2e10", "a=1", "a/b", "'x", "1-2"])
def test_numbers_and_plain_text_stay_as_they_are(cell: str) -> None:
    assert neutral(cell) == cell


def test_tables_print_names_in_words_and_no_formulas() -> None:
    rows = [["=1+1", "-1.5"], [RESET, "2"]]
    table = render_rows(["layer", "trace"], rows, "table")
    assert "\\x1b[2J" in table
    assert "\x1b" not in table
    assert list(csv.reader(io.StringIO(render_rows(["layer", "trace"], rows[:1], "csv"))))[1] == ["'=1+1", "-1.5"]


def test_exported_names_are_no_formulas(work: Path, say: Callable[..., str], tmp_path: Path) -> None:
    """In CSV; JSON has them as they are."""
    say(0, "diag", "model.pt", "-q", "-o", "r.h5")
    with h5py.File(tmp_path / "r.h5", "a") as file:
        for column in ("summary/layer", "parameters/layer"):
            values = file[column].asstr()[...]
            values[values == "one"] = "=1+1"
            file[column][...] = values
        file.move("layers/one", "layers/=1+1")
    for name in ("layers", "parameters", "entries"):
        say(0, "export", "r.h5", "-o", f"{name}.csv", "--table", name, "-q")
        text = (tmp_path / f"{name}.csv").read_text()
        assert "'=1+1" in text
        assert ",=1+1" not in text
        assert "\n=1+1" not in text
        say(0, "export", "r.h5", "-o", f"{name}.json", "--table", name, "-q")
        assert '"=1+1"' in (tmp_path / f"{name}.json").read_text()


@pytest.mark.parametrize("option", ["--against", "--data", "--config", "--log-file"])
def test_links_that_lead_in_a_circle_are_told(option: str, work: Path, say: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert "loop" in say(2, "check", "model.pt", option, "loop")


@pytest.mark.parametrize("model", ["x" * 5000, "/", "", RESET])
def test_a_report_of_a_model_that_can_not_be_is_exported(
    model: str, work: Path, say: Callable[..., str], tmp_path: Path
) -> None:
    """Exports look whether they would replace the model that the report names."""
    say(0, "diag", "model.pt", "-q", "-o", "r.h5")
    with h5py.File(tmp_path / "r.h5", "a") as file:
        file["provenance"].attrs["model_path"] = model
    say(0, "export", "r.h5", "-o", "layers.csv")


def test_a_model_that_no_path_can_be_is_named_beside_an_earlier_report(
    work: Path, curvcli: Callable[..., object], say: Callable[..., str]
) -> None:
    """The report that would be replaced is looked at first."""
    say(0, "diag", "model.pt", "-q", "-o", "out.h5")
    assert "bug" not in say(2, "hessian", "x" * 5000, "-q", "-o", "out.h5")
