"""What a shell is offered for a value, what is said of a wrong one, and in which order a help page has its options."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from curvcli.cli.main import cli, run

from .conftest import ROOT, Curvcli

SAVED = ROOT / "sample_models" / "mlp_tanh.pt2"


def offered(*words: str) -> list[str]:
    """For the last word, with the others typed."""
    *typed, last = words
    return [item.value for item in ShellComplete(cli, {}, "curvcli", "_CURVCLI_COMPLETE").get_completions(typed, last)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model alone in its folder."""
    return Path(shutil.copy(SAVED, tmp_path_factory.mktemp("words") / "net.pt2"))


def test_layers_are_offered_of_a_model_and_of_what_lies_beside_it(model: Path, curvcli: Curvcli) -> None:
    """A report is read faster than a model, so its names are taken where there is one."""
    assert offered("diag", str(model), "--layer", "fc") == ["fc1", "fc2", "fc3"]
    report = model.with_name("net.pt2.trace.h5")
    words = ["trace", model, "--data", SAVED.with_name("mlp_tanh.pt2.toml"), "-l", "fc3"]
    assert curvcli(*map(str, [*words, "--limit", 4, "-o", report, "-q"])).returncode == 0
    assert offered("diag", str(model), "--layer", "") == ["fc3"]
    assert offered("show", str(report), "--layer", "") == ["fc3"]
    assert offered("show", str(report), "--sort", "trace_std") == ["trace_stderr"]
    assert offered("diag", str(model.with_name("missing.pt2")), "--layer", "") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("diag", "--device", ""), ["cpu", "cuda"]),
        (("diag", "--dtype", "f"), ["float32", "float64"]),
        (("trace", "--method", "x"), ["xtrace", "xnystrace"]),
        (("eigs", "--matrix", "g"), ["gauss_newton"]),
        (("show", "--format", "m"), ["markdown"]),
        (("plot", "--kind", "sc"), ["scatter"]),
    ],
)
def test_words_are_offered(words: tuple[str, ...], expected: list[str]) -> None:
    """Of every option that takes one of some."""
    assert offered(*words) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("diag", "m.pt", "--method", "gaussnewton"),
            "'--method': 'gaussnewton'; did you mean gauss_newton? Choose auto, gauss_newton, ",
        ),
        (("eigs", "m.pt", "--which", "top"), "'--which': 'top'. Choose largest, smallest, magnitude or both."),
        (("diag", "m.pt", "--dtype", "float16"), "did you mean float64?"),
    ],
)
def test_a_wrong_word_has_the_nearest_or_all(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    assert run(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in cli.list_commands(None) if name not in ("env", "completion", "run")])  # type: ignore[arg-type]
def test_help_begins_with_the_commands_own_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Then what it shares: layers, model and data, computing, output with --help as the last."""
    assert run([name, "--help"]) == 0
    page = capsys.readouterr().out
    headings = re.findall(r"^([A-Z][a-z ]+):$", page, re.MULTILINE)
    order = ["Options", "Layers", "Model and data", "Computing", "Output"]
    assert headings == [heading for heading in order if heading in headings]
    assert page.rstrip().splitlines()[-1].split()[:2] == ["-h,", "--help"]
    own = page.split("\nOptions:\n")[1].split("\n\n")[0] if "Options" in headings else ""
    assert not re.search(r"^  (-\w, )?--(data|seed|device|output|quiet|config|layer)(?![\w-])", own, re.MULTILINE)
