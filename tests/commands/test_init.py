"""``curvcli init``: what it says and writes, what it leaves alone, and its exit codes."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import curvcli as package
from curvcli.analysis.guessing.said import Guesses
from curvcli.analysis.guessing.spec_text import toml_key, toml_string

from .conftest import Curvcli, Net

NAMES = [
    "plain",
    "two words",
    'quo"te',
    "new\nline",
    "\x1b[31mred",
    "back\\slash",
    "\u202eturned",
    "a.b",
    "[x]",
    "# no",
    "é",
    "",
]


@pytest.fixture
def fresh(work: Path) -> Path:
    """A model and its data without a spec."""
    (work / "model.pt.toml").unlink()
    return work


def test_a_model_and_its_data_are_enough(fresh: Path, curvcli: Curvcli) -> None:
    """The spec lies where the next command finds it; every guess is said, and stands in it."""
    done = curvcli("init", "model.pt", "data.npz")
    assert (done.returncode, done.stdout) == (0, "")
    assert "loss: cross_entropy: the targets are whole numbers from 0 to 2, the output has 3 classes" in done.stderr
    assert "next: curvcli diag model.pt" in done.stderr
    text = (fresh / "model.pt.toml").read_text()
    said = [line for line in done.stderr.splitlines() if re.match(r"(source|inputs|target|loss)", line)]
    assert said
    assert all(f"# {line}" in text.splitlines() for line in said)
    assert tomllib.loads(text)["inputs"] == {"x": {"column": "x"}}
    assert curvcli("diag", "model.pt").returncode == 0
    assert sorted(path.name for path in fresh.glob("model.pt*")) == ["model.pt", "model.pt.diag.h5", "model.pt.toml"]


def test_the_next_command_can_be_typed_for_a_model_that_begins_with_a_dash(fresh: Path, curvcli: Curvcli) -> None:
    (fresh / "model.pt").rename(fresh / "-my model.pt")
    done = curvcli("init", "--no-check", "--", "-my model.pt", "data.npz")
    assert "next: curvcli diag './-my model.pt'" in done.stderr
    assert curvcli("layers", "./-my model.pt").returncode == 0


def test_a_spec_that_is_there_is_kept(work: Path, curvcli: Curvcli) -> None:
    """Beside the model by either name, and where -o leads; --force replaces it."""
    before = (work / "model.pt.toml").read_text()
    refused = curvcli("init", "model.pt", "data.npz")
    assert (refused.returncode, (work / "model.pt.toml").read_text()) == (2, before)
    assert "--force" in refused.stderr
    assert curvcli("init", "model.pt", "data.npz", "-o", "model.pt.toml").returncode == 2
    assert curvcli("init", "model.pt", "data.npz", "--force", "--no-check").returncode == 0
    assert (work / "model.pt.toml").read_text() != before
    (work / "model.pt.toml").rename(work / "model.toml")
    assert curvcli("init", "model.pt", "data.npz").returncode == 2


def test_a_spec_in_the_model_is_never_shadowed(tmp_path: Path, curvcli: Curvcli) -> None:
    (tmp_path / "m" / "assets.extra").mkdir(parents=True)
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "m" / "assets.extra" / "curvcli.toml").write_text("version = 1")
    done = curvcli("init", "m", "data.npz", "--force")
    assert done.returncode == 2
    assert "has a dataset spec in it" in done.stderr


def test_standard_output_has_the_spec_alone(fresh: Path, curvcli: Curvcli) -> None:
    """No file called - is made; what is written can be used from any folder."""
    done = curvcli("init", "model.pt", "data.npz", "-o", "-")
    assert done.returncode == 0
    assert tomllib.loads(done.stdout)["source"]["path"] == str(fresh / "data.npz")
    assert "checks passed" in done.stderr
    assert not list(fresh.glob("*.toml")) + list(fresh.glob("-"))
    assert curvcli("init", "model.pt", "data.npz", "-o", "-", "-q", "--no-check").stderr == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.pt"], ["--random-data 64; there is neither."]),
        (["model.pt", "data.npz", "--random-data", "8"], ["there is both."]),
        (["model.pt", "gone.npz"], ["gone.npz: no such file"]),
        (["model.pt", "model.py"], ["no such file"]),
        (["model.pt", "data.npz", "--loss", "mes"], ["did you mean mse?"]),
        (["model.pt", "data.npz", "--input", "x"], ["NAME=COLUMN"]),
        (["model.pt", "data.npz", "--output-name", "logits"], ["no such output"]),
        (["model.pt", "data.npz", "-o", "no/where.toml"], ["there is no folder"]),
        (["model.pt", "--random-data", "8", "--target", "y"], ["--target"]),
        (
            ["model.pt", "data.npz", "--input", "z=x", "--target", "yy", "--loss", "nix"],
            ["no input 'z'; it takes x", "no column 'yy'; did you mean 'y'?", "there is no such loss"],
        ),
    ],
)
def test_what_is_wrong_is_told_at_once_and_nothing_is_written(
    words: list[str], told: list[str], fresh: Path, curvcli: Curvcli
) -> None:
    done = curvcli("init", *words)
    assert done.returncode == 2
    assert all(text in done.stderr for text in told), done.stderr
    assert not list(fresh.glob("*.toml"))


def test_models_that_do_not_open_and_failed_checks_have_their_codes(fresh: Path, curvcli: Curvcli) -> None:
    (fresh / "bad.pt").write_bytes(b"no model")
    assert curvcli("init", "bad.pt", "data.npz").returncode == 3
    failed = curvcli("init", "model.pt", "data.npz", "--loss", "mse")
    assert failed.returncode == 1
    assert "check failed: loss" in failed.stderr
    assert "next:" not in failed.stderr
    assert (fresh / "model.pt.toml").exists()


def test_nothing_is_asked_without_a_terminal(fresh: Path, curvcli: Curvcli) -> None:
    """What nothing decides is marked, with what it may be."""
    rng = np.random.default_rng(0)
    np.savez(fresh / "two.npz", p=rng.standard_normal((9, 4)), q=rng.standard_normal((9, 4)), y=np.arange(9) % 3)
    done = curvcli("init", "model.pt", "two.npz")
    assert done.returncode == 0
    assert "undecided: inputs.x: column 'p': the first that the model runs on; it may be column 'q'" in done.stderr
    assert "1 undecided" in done.stderr
    assert curvcli("init", "model.pt", "two.npz", "--input", "x=q", "--force", "--no-check").stderr.count("undec") == 0
    assert tomllib.loads((fresh / "model.pt.toml").read_text())["inputs"]["x"]["column"] == "q"


def test_a_person_at_a_terminal_is_asked() -> None:
    """And the answer is what counts."""
    asked: list[str] = []

    def ask(question: str, answers: object, default: str) -> str:
        asked.append(question)
        return "mse"

    said: list[str] = []
    guesses = Guesses(said.append, ask)
    assert guesses.choose("loss", ["bce", "mse"], "the targets are 0 and 1") == 1
    assert asked == ["loss (the targets are 0 and 1)"]
    assert said == ["loss: mse: as answered"]
    assert not guesses.undecided


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read_back_as_it_is(name: str) -> None:
    """And no character in it does anything to a terminal."""
    assert tomllib.loads(f"{toml_key(name)} = {toml_string(name)}") == {name: name}
    assert (toml_key(name) + toml_string(name)).isprintable()


def test_strange_names_of_columns_are_escaped(fresh: Path, curvcli: Curvcli) -> None:
    """In the spec, in its comments and on the terminal; the spec is one that is read."""
    rng = np.random.default_rng(0)
    strange = 'x"]\n[loss]\x1b[31m'
    np.savez(fresh / "data.npz", **{strange: rng.standard_normal((9, 4)), "y": np.arange(9) % 3})
    done = curvcli("init", "model.pt", "data.npz")
    assert done.returncode == 0
    text = (fresh / "model.pt.toml").read_text()
    assert tomllib.loads(text)["inputs"]["x"]["column"] == strange
    assert "\x1b" not in text + done.stderr
    assert all(line.startswith("#") or "[loss]" not in line or line == "[loss]" for line in text.splitlines()[:8])


def test_samples_drawn_at_random_are_marked_everywhere(fresh: Path, curvcli: Curvcli) -> None:
    """The spec, standard error, the report, its page, and what is judged by it."""
    said = "drawn at random: the figures say nothing of a trained minimum"
    done = curvcli("init", "model.pt", "--random-data", "40", "--loss", "cross_entropy")
    assert done.returncode == 0
    assert said in done.stderr
    source = tomllib.loads((fresh / "model.pt.toml").read_text())["source"]
    assert source["columns"] == {
        "x": {"shape": [4], "values": "normal"},
        "target": {"shape": [], "values": "integers", "high": 3},
    }
    run = curvcli("trace", "model.pt", "-o", "a.h5")
    assert run.stderr.count(said) == 1
    assert said in curvcli("show", "a.h5").stdout
    assert '"random_data": true' in curvcli("show", "a.h5", "--format", "json").stdout
    assert said in curvcli("assert", "a.h5", "--finite").stdout
    assert curvcli("plot", "a.h5").returncode == 0
    assert said in (fresh / "a.html").read_text()
    shutil.copy(fresh / "a.h5", fresh / "c.h5")
    assert said in curvcli("compare", "a.h5", "c.h5").stdout
    assert curvcli("init", "model.pt", "data.npz", "--force", "--no-check").returncode == 0
    curvcli("trace", "model.pt", "-o", "b.h5")
    assert said not in curvcli("show", "b.h5").stdout
    differs = curvcli("compare", "a.h5", "b.h5")
    assert (differs.returncode, "was drawn at random" in differs.stderr) == (2, True)


def test_shapes_that_nothing_tells_are_asked_for(fresh: Path, curvcli: Curvcli) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = Net()

        def forward(self, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            return self.one(p) + q

    torch.jit.save(torch.jit.script(Both()), fresh / "both.pt")
    done = curvcli("init", "both.pt", "--random-data", "8")
    assert (done.returncode, "--input p=3,32,32 --input q=3,32,32" in done.stderr) == (2, True)
    assert curvcli("init", "both.pt", "--random-data", "8", "--input", "p=4", "--input", "q=3").returncode == 0


def test_all_mistakes_of_spec_data_and_model_are_told_at_once(work: Path, curvcli: Curvcli) -> None:
    """Whichever comes first."""
    (work / "bad.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "data.npz"\n[inputs.z]\ncolumn = "xx"\n'
        '[target]\ncolumn = "yy"\n[loss]\nname = "cross_entropy"\nfrom_logits = "auto"\ndelta = 3\noutput = "nix"\n'
    )
    for command in ("diag", "check", "inputs"):
        done = curvcli(command, "model.pt", "--data", "bad.toml")
        assert done.returncode == 2
        for told in ("loss.delta: goes with huber", "no column 'xx'", "no column 'yy'", "takes x", "no output 'nix'"):
            assert told in done.stderr, (command, told)


def test_wrong_columns_and_a_model_that_does_not_open_are_told_together(work: Path, curvcli: Curvcli) -> None:
    (work / "bad.pt").write_bytes(b"no model")
    (work / "bad.pt.toml").write_text((work / "model.pt.toml").read_text().replace('column = "x"', 'column = "xx"'))
    done = curvcli("diag", "bad.pt")
    assert done.returncode == 2
    assert "no column 'xx'" in done.stderr
    assert "bad.pt" in done.stderr


def test_labels_out_of_range_are_told_with_a_wrong_declaration(work: Path, curvcli: Curvcli) -> None:
    """Probabilities declared where there are logits, and a label too large."""
    rng = np.random.default_rng(0)
    np.savez(work / "data.npz", x=rng.standard_normal((9, 4)), y=np.arange(9))
    text = (work / "model.pt.toml").read_text().replace("from_logits = true", "from_logits = false")
    (work / "model.pt.toml").write_text(text)
    done = curvcli("diag", "model.pt")
    assert done.returncode == 2
    assert "values that are not probabilities" in done.stderr
    assert "is out of range" in done.stderr


def test_from_python_the_guesses_come_back(fresh: Path) -> None:
    """With the options as arguments in messages."""
    made = package.init(fresh / "model.pt", fresh / "data.npz")
    assert made.path == fresh / "model.pt.toml"
    assert made.path.read_text() == made.text
    assert {guess.place: guess.value for guess in made.guesses}["loss"] == "cross_entropy"
    assert not made.undecided
    assert {check.outcome for check in made.checks} == {"passed"}
    with pytest.raises(package.UsageError, match="force=True"):
        package.init(fresh / "model.pt", fresh / "data.npz")
    with pytest.raises(package.UsageError, match="random_data=64"):
        package.init(fresh / "model.pt", output=fresh / "o.toml")
    with pytest.raises(package.UsageError, match="from memory"):
        package.init(
            package.open_model(nn.Sequential(nn.Linear(4, 3)), data=(torch.zeros(3, 4), [0, 1, 2]), loss="mse")
        )
    drawn = package.init(fresh / "model.pt", random_data=8, output=fresh / "o.toml", check=False)
    assert [guess.place for guess in drawn.undecided] == ["loss"]
    assert drawn.checks == ()
