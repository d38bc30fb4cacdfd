"""The Python functions against the commands whose work they do."""

from __future__ import annotations

import gc
import inspect
import re
import shlex
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import curvcli
from curvcli.analysis.options.activations import ActivationsOptions
from curvcli.analysis.options.coupling import CouplingOptions
from curvcli.analysis.options.evidence import EvidenceOptions
from curvcli.analysis.options.quantities import (
    CheckOptions,
    DensityOptions,
    DiagonalOptions,
    EigenOptions,
    HessianOptions,
    InputOptions,
    SplitOptions,
    TraceOptions,
)
from curvcli.analysis.options.request import words
from curvcli.analysis.options.slice import SliceOptions
from curvcli.api.arguments import request_from
from curvcli.cli.main import run
from curvcli.cli.options import voice_options

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "sample_models" / "mlp_tanh.pt"
COMMANDS = {
    "diagonal": "diag",
    "trace": "trace",
    "eigenvalues": "eigs",
    "density": "density",
    "hessian": "hessian",
    "inputs": "inputs",
    "split": "split",
    "slice": "slice",
    "coupling": "coupling",
    "activations": "activations",
    "evidence": "evidence",
    "check": "check",
}
RECORDS = {
    "diagonal": DiagonalOptions,
    "trace": TraceOptions,
    "eigenvalues": EigenOptions,
    "density": DensityOptions,
    "hessian": HessianOptions,
    "inputs": InputOptions,
    "split": SplitOptions,
    "slice": SliceOptions,
    "coupling": CouplingOptions,
    "activations": ActivationsOptions,
    "evidence": EvidenceOptions,
    "check": CheckOptions,
}

# Options of every sort: repeated, flags with and without a negation, numbers, sizes.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("diagonal", {"layer": ["fc3", "norm"], "memory_limit": "2GiB"}),
    ("diagonal", {"layer": "fc2", "method": "hutchinson", "probes": 8, "seed": 3, "batch_size": 40}),
    ("trace", {"method": "hutchinson", "probes": 4, "whole_model": True, "exclude": "fc1"}),
    ("eigenvalues", {"k": 2, "which": "both", "layer": "fc3", "vectors": True, "resume": False}),
    ("density", {"layer": "fc1", "method": "lanczos", "probes": 2, "steps": 5}),
    ("hessian", {"layer": "norm", "matrix": "gauss_newton", "dtype": "float64"}),
    ("inputs", {"of": ["loss", "output[3]"], "order": 2, "coordinate": "image[0,3,4]", "budget": 9, "probes": 4}),
    ("split", {"at": "fc3", "by": ["weight", "image"], "jacobian_limit": 1 << 16}),
    ("slice", {"along": ["top", "random:2"], "points": 3, "reach": 0.5, "layer": "norm"}),
    ("coupling", {"layer": ["norm", "fc3"], "method": "probes", "probes": 4, "matrix": "gauss_newton"}),
    ("activations", {"of": "input", "bits": [6, 4], "layer": "fc3", "method": "probes", "probes": 3}),
    ("evidence", {"layer": "norm", "prior": [0.5, 2.0], "matrix": "fisher"}),
    ("check", {"layer": "norm", "budget": 500}),
]


def python(code: str) -> None:
    """Run code in a fresh interpreter; an exception fails the test."""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)


def test_importing_curvcli_imports_nothing() -> None:
    """Neither a framework nor NumPy nor the command line, even after a look at what there is."""
    python(
        "import sys, curvcli; dir(curvcli); curvcli.CurvcliError; "
        "assert not {'numpy', 'h5py', 'click', 'rich', 'torch', 'tensorflow'} & set(sys.modules)"
    )


def test_a_report_is_read_without_a_framework(tmp_path: Path, model: curvcli.Model) -> None:
    """read_report and its tables."""
    path = tmp_path / "r.h5"
    curvcli.trace(model, layer="fc3", limit=16, output=path)
    python(
        f"import sys, curvcli; report = curvcli.read_report({str(path)!r}); report.to_pandas(); "
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )


@pytest.mark.parametrize(("function", "options"), CALLS, ids=[name for name, _ in CALLS])
def test_a_function_writes_the_commands_report_to_the_byte(
    function: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line that the report names, typed in a shell, makes the same file."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    path = tmp_path / "r.h5"
    found = getattr(curvcli, function)(MODEL, limit=32, output=path, **options)
    report = found if isinstance(found, curvcli.Report) else found.report
    line = report.provenance.command_line
    by_function = path.read_bytes()
    path.unlink()
    words = shlex.split(line)[1:]
    assert words[0] == COMMANDS[function]
    monkeypatch.setattr(sys, "argv", ["curvcli", *words])  # from which the command takes its own line
    assert run(words) == 0
    assert path.read_bytes() == by_function


@pytest.mark.parametrize("function", COMMANDS)
def test_defaults_are_the_commands(function: str) -> None:
    """A call that names nothing but the model is the command with nothing but the model."""
    command = import_module(f"curvcli.cli.{COMMANDS[function]}").command
    parameters = inspect.signature(getattr(curvcli, function)).parameters
    defaults = {name: p.default for name, p in parameters.items() if name not in ("model", "loss", "verbose")}
    needed = [name for name, default in defaults.items() if default is inspect.Parameter.empty]
    defaults |= dict.fromkeys(needed, "it")
    said = [word for name in needed for word in (f"--{name}", "it")]
    request = request_from(COMMANDS[function], RECORDS[function], {"model": "m.pt", **defaults})
    assert words(request) == (COMMANDS[function], *said, "m.pt")
    for_terminals = {p.name for p in click.command(voice_options(lambda: None)).params}
    for_terminals |= {"config", "dry_run", "output_format", "model"}
    assert defaults.keys() == {p.name for p in command.params} - for_terminals


@pytest.mark.parametrize("size", [1 << 30, "1GiB", "1024 m", "1073741824"])
def test_a_size_is_a_number_of_bytes_or_text(size: int | str) -> None:
    request = request_from("trace", TraceOptions, {"model": "m.pt", "memory_limit": size})
    assert request.computing.memory_limit == 1 << 30


def test_an_opened_model_gives_what_its_path_gives(model: curvcli.Model) -> None:
    """And serves several calls, of which none changes it."""
    before = model.values("fc2.weight")
    by_path = curvcli.diagonal(MODEL, layer="fc2", limit=32)["fc2.weight"]
    curvcli.eigenvalues(model, layer="fc1", k=1, limit=32)
    for _ in range(2):
        by_model = curvcli.diagonal(model, layer="fc2", limit=32)["fc2.weight"]
        assert by_path.diagonal is not None
        assert by_path.gradient is not None
        np.testing.assert_array_equal(by_model.diagonal, by_path.diagonal)
        np.testing.assert_array_equal(by_model.gradient, by_path.gradient)
    np.testing.assert_array_equal(model.values("fc2.weight"), before)


def test_the_quantities_agree_with_each_other(model: curvcli.Model) -> None:
    """Four functions on one block: the sum of the diagonal, the trace, the full matrix and its eigenvalues."""
    full = curvcli.hessian(model, layer="norm", limit=32)["norm"]
    diagonal = curvcli.diagonal(model, layer="norm", limit=32)
    trace = curvcli.trace(model, layer="norm", limit=32)["norm"]
    top = curvcli.eigenvalues(model, layer="norm", k=3, limit=32)["norm"]
    assert full.entries is not None
    joined = np.concatenate([np.ravel(diagonal[f"norm.{label}"].diagonal) for label in ("weight", "bias")])
    np.testing.assert_allclose(joined, np.diag(full.entries), rtol=1e-4, atol=1e-7)
    assert trace.value == pytest.approx(np.trace(full.entries), rel=1e-4)
    np.testing.assert_allclose(top.values, np.linalg.eigvalsh(full.entries)[::-1][:3], rtol=1e-4)


def test_results_are_a_mapping_in_model_order(model: curvcli.Model) -> None:
    """By full name, with a loss and a status; an unknown name is a KeyError that names the nearest."""
    found = curvcli.diagonal(model, layer=["fc3", "norm"], limit=16)
    assert list(found) == ["norm.weight", "norm.bias", "fc3.weight", "fc3.bias"]
    assert found.status == "done"
    assert found.loss == found.report.provenance.loss_value
    assert "fc1.weight" not in found
    assert found.get("fc1.weight") is None
    with pytest.raises(curvcli.ReportError, match=r"^no 'fc3.weights' .*did you mean fc3\.weight"):
        found["fc3.weights"]
    with pytest.raises(KeyError):
        found["fc3.weights"]


def test_tables_become_data_frames(model: curvcli.Model) -> None:
    """The sums of the arrays stand in both tables."""
    found = curvcli.diagonal(model, layer=["fc3", "norm"], limit=16)
    layers, parameters = found.report.to_pandas(), found.report.to_pandas("parameters")
    assert list(layers.index) == ["norm", "fc3"]
    assert layers.loc["fc3", "parameter_count"] == 330
    weight = found["fc3.weight"].diagonal
    assert weight is not None
    assert parameters.loc[("fc3", "weight"), "trace"] == pytest.approx(weight.sum(), rel=1e-5)
    assert layers.loc["fc3", "trace"] == pytest.approx(parameters.loc["fc3", "trace"].sum())
    with pytest.raises(curvcli.UsageError, match="no table 'rows'"):
        found.report.to_pandas("rows")  # type: ignore[arg-type]


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"method": "magic"}, "method: must be auto, .* or hutchinson, found 'magic'"),
    ({"probes": 1}, "probes: must be 2 or more, found 1"),
    ({"budget": 2.5}, "budget: must be a whole number, found 2.5"),
    ({"rtol": 0}, "rtol: must be above 0, found 0"),
    ({"rtol": float("nan")}, "rtol: must be a finite number, found nan"),
    ({"limit": 1 << 63}, "limit: must be 9223372036854775807 or less"),
    ({"dtype": "float16"}, "dtype: must be float32 or float64, found 'float16'"),
    ({"memory_limit": "much"}, "memory_limit: must be a size, such as 500M or 4GiB; found 'much'"),
]


@pytest.mark.parametrize(("mistake", "said"), OPTIONS, ids=[str(m) for m, _ in OPTIONS])
def test_a_value_that_the_command_refuses_is_refused(mistake: dict[str, Any], said: str) -> None:
    """Before anything is opened, by the name of the argument; the command names its option."""
    with pytest.raises(curvcli.UsageError, match=f"^{said}"):
        curvcli.diagonal("no.pt", **mistake)
    ((name, value),) = mistake.items()
    assert run(["diag", "no.pt", f"--{name.replace('_', '-')}", str(value)]) == 2


MISTAKES: list[tuple[dict[str, Any], type[curvcli.CurvcliError]]] = [
    ({"layer": "fc9"}, curvcli.UsageError),
    ({"method": "gauss_newton", "layer": "fc1"}, curvcli.UsageError),
    ({"data": "missing.toml"}, curvcli.UsageError),
    ({"data": "wrong.toml"}, curvcli.SpecError),
    ({"model": "missing.pt"}, curvcli.UsageError),
    ({"model": "wrong.toml"}, curvcli.ModelError),
    ({"output": "wrong.toml"}, curvcli.ReportError),
]


@pytest.mark.parametrize(("mistake", "kind"), MISTAKES, ids=[str(m) for m, _ in MISTAKES])
def test_an_error_says_what_the_command_says(
    mistake: dict[str, Any],
    kind: type[curvcli.CurvcliError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In an exception of its kind, with nothing on the terminal; only options are named as Python does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text("version = 1\n")
    options = {"limit": 8, **mistake}
    path = options.pop("model", MODEL)
    if mistake.keys() & {"model"}:
        options["data"] = str(MODEL) + ".toml"
    with pytest.raises(curvcli.CurvcliError) as caught:
        curvcli.diagonal(path, **options)
    assert caught.type is kind
    assert capsys.readouterr() == ("", "")
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    code = run(["diag", str(path), *words])
    assert code == kind.exit_code
    by_shell = re.sub(r"--(\w+)", r"\1", capsys.readouterr().err)
    by_python = re.sub(
        r"\b(layer|method|data|model|output|dtype)=('([^']*)')?",
        lambda found: " ".join(filter(None, found.group(1, 3))),
        str(caught.value),
    )
    assert f"Error: {by_python}\n" in by_shell
    assert "--" not in str(caught.value)


def test_what_the_command_would_exit_4_for_is_a_warning_here(model: curvcli.Model) -> None:
    """The results are there, their status tells, and the warning points at the call."""
    with pytest.warns(curvcli.CurvcliWarning, match="not converged") as caught:
        found = curvcli.trace(model, layer="fc1", method="hutchinson", probes=2, rtol=1e-9, limit=16)
    (warning,) = [one for one in caught if one.category is curvcli.CurvcliWarning]
    assert warning.filename == __file__
    assert found.status == "not_converged"
    assert not found["fc1"].converged
    assert np.isfinite(found["fc1"].value)


def test_a_call_says_nothing_unless_asked(model: curvcli.Model, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither stream; with verbose, progress on standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", curvcli.CurvcliWarning)
        curvcli.trace(model, layer="fc3", limit=16)
        assert capfd.readouterr() == ("", "")
        curvcli.trace(model, layer="fc3", limit=16, verbose=True)
    out, err = capfd.readouterr()
    assert not out
    assert "passes]" in err


def test_a_temporary_report_lives_as_long_as_what_reads_it(model: curvcli.Model) -> None:
    """The results, or their report alone; then its folder goes."""
    found = curvcli.diagonal(model, layer="fc3", limit=16)
    report, folder = found.report, found.report.path.parent
    del found
    gc.collect()
    assert report.array("fc3", "diagonal", "bias") is not None
    del report
    gc.collect()
    assert not folder.exists()


def test_a_failed_call_leaves_no_temporary_folder(
    model: curvcli.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it fails before the work or in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")  # noticed when the job begins
    with pytest.raises(curvcli.UsageError, match="SOURCE_DATE_EPOCH"):
        curvcli.diagonal(model, layer="fc3", limit=16)
    assert not list(tmp_path.iterdir())


def test_functions_run_in_other_threads_and_leave_no_handlers(model: curvcli.Model) -> None:
    """A worker thread gives the main thread's numbers; in either, signals are handled afterwards as before."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    here = curvcli.diagonal(model, layer="fc3", limit=16)["fc3.weight"].diagonal
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(lambda: curvcli.diagonal(model, layer="fc3", limit=16)["fc3.weight"].diagonal).result()
    assert here is not None
    np.testing.assert_array_equal(here, there)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_an_opened_model_is_not_silently_converted(model: curvcli.Model) -> None:
    """Another dtype than it was opened with is refused; the same one is not."""
    with pytest.raises(curvcli.UsageError, match="was opened with 'float32'"):
        curvcli.trace(model, dtype="float64", limit=16)
    curvcli.trace(model, layer="fc3", dtype="float32", limit=16)


def test_both_frameworks_by_the_same_functions() -> None:
    """The same weights as SavedModel: inputs and layers by their own names, diagonals equal up to the layout."""
    by_torch = curvcli.diagonal(MODEL, layer="fc3", limit=32, dtype="float64")["fc3.weight"].diagonal
    saved = curvcli.open_model(MODEL.with_suffix(""), dtype="float64")
    kernel = curvcli.diagonal(saved, layer="fc3", limit=32)["fc3/kernel"].diagonal
    assert by_torch is not None
    assert kernel is not None
    np.testing.assert_allclose(kernel, by_torch.T, rtol=1e-6)
