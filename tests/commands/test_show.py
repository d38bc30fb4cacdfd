"""``show`` as a person or a script uses it: order, one layer in depth, one value."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from once import once

from curvcli.cli.main import run
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.inputs import InputAxes, InputsRecord, ResidualRecord
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance
from curvcli.report.records.quantities import EigenRecord, TraceRecord

PROVENANCE = Provenance(
    model_path="model.pt",
    model_sha256="ab" * 32,
    dataset_digest="cd" * 32,
    spec_text="version = 1",
    config_json="{}",
    command_line="curvcli diag model.pt",
    backend="torch",
    versions={"torch": "2.13.0"},
    device="cpu",
    dtype="float32",
    seed=0,
    loss="mse",
    reduction="mean",
    samples=4,
    denominator=4.0,
    loss_value=0.1,
)
# The sums of the kernels, which are the traces; the last layer's was computed on its own.
TRACES = {"net/block/conv1": 3.0, "net/block/conv2": -7.5, "net/fc": 0.1}
Shown = Callable[..., tuple[int, str, str]]


def layer(name: str, index: int, trace: float, **changes: object) -> LayerRecord:
    diagonal = np.zeros((3, 2), dtype=np.float32)
    diagonal[0, 0] = trace
    parameter = ParameterRecord(
        label="kernel",
        name=f"{name}/kernel",
        shape=(3, 2),
        axes=("in", "out"),
        gradient=np.full((3, 2), index + 1, dtype=np.float32),
        diagonal=diagonal,
        method="gauss_newton",
        exact=True,
        reason="asked for",
    )
    values = {"name": name, "kind": "conv", "index": index, "parameters": (parameter,)} | changes
    return LayerRecord(**values)  # type: ignore[arg-type]


EIGEN = EigenRecord(
    values=np.array([2.5, -0.1]),
    residuals=np.array([1e-9, 2e-9]),
    converged=np.array([True, True]),
    vectors=None,
    which="both",
    method="lanczos",
    reason="asked for",
    matrix="hessian",
    tolerance=1e-6,
    products=8,
)
TRACE = TraceRecord(
    value=0.1,
    stderr=0.01,
    data_stderr=float("nan"),
    method="xtrace",
    exact=False,
    reason="asked for",
    matrix="hessian",
    probes=2,
    products=2,
    converged=True,
    samples=np.array([0.09, 0.11]),
    batches=np.array([0.1]),
)
FUNCTION = InputsRecord(
    name="u",
    rows=np.array([3, 7]),
    inputs=(InputAxes(name="x", shape=()),),
    value=np.array([1.5, 2.5]),
    laplacian=np.array([0.5, -0.25]),
    residual=ResidualRecord(column="f", mean_abs=0.375, max_abs=0.5, rms=0.4, values=np.array([-0.5, 0.25])),
    method="products",
    exact=True,
    reason="one coordinate",
    products=2,
    probes=0,
)
CHECKS = (
    CheckRecord(name="symmetry", subject="net/fc", outcome="failed", figure=0.25, limit=1e-6),
    CheckRecord(name="gradient", subject="net/fc", outcome="passed", figure=1e-9, limit=1e-5),
)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    layers = [layer(name, index, trace) for index, (name, trace) in enumerate(TRACES.items())]
    layers[2] = replace(layers[2], trace=TRACE, eigen=EIGEN)
    return once(
        "show",
        tmp_path / "r.h5",
        lambda path: write_report(path, layers, PROVENANCE, inputs=[FUNCTION], checks=CHECKS),
    )


@pytest.fixture
def show(report: Path, capsys: pytest.CaptureFixture[str]) -> Shown:
    """``show("--top", 1)``: exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        code = run(["show", str(report), *map(str, words)])
        return (code, *capsys.readouterr())

    return call


def names(show: Shown, *words: object) -> list[str]:
    """The layers in the order of the CSV."""
    code, out, err = show("--format", "csv", *words)
    assert (code, err) == (0, "")
    return [row["layer"].rpartition("/")[2] for row in csv.DictReader(io.StringIO(out))]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sort", "trace"], ["conv2", "conv1", "fc"]),
        (["--sort", "trace", "--reverse"], ["fc", "conv1", "conv2"]),
        (["--sort", "trace", "--top", "1"], ["conv2"]),
        (["--sort", "gradient-norm"], ["fc", "conv2", "conv1"]),
        (["--sort", "Gradient_Norm"], ["fc", "conv2", "conv1"]),
        (["--sort", "gradient norm"], ["fc", "conv2", "conv1"]),
        (["--sort", "max"], ["conv1", "fc", "conv2"]),
        (["--sort", "index"], ["conv1", "conv2", "fc"]),
        (["--sort", "index", "--reverse"], ["fc", "conv2", "conv1"]),
        (["--sort", "layer", "--reverse"], ["fc", "conv2", "conv1"]),
        (["--sort", "top_eigenvalue"], ["fc", "conv1", "conv2"]),
        (["--sort", "top_eigenvalue", "--reverse"], ["fc", "conv1", "conv2"]),
        (["--sort", "exact"], ["conv1", "conv2", "fc"]),
        (["--top", "2"], ["conv1", "conv2"]),
        (["--reverse"], ["fc", "conv2", "conv1"]),
        (["--layer", "conv*", "--sort", "trace"], ["conv2", "conv1"]),
        (["--exclude", "conv2"], ["conv1", "fc"]),
    ],
)
def test_rows_come_largest_magnitude_first_and_what_is_missing_last(
    show: Shown, words: list[str], expected: list[str]
) -> None:
    assert names(show, *words) == expected


def test_the_table_says_what_is_left_out_and_how_it_is_sorted(show: Shown) -> None:
    code, out, _ = show("--sort", "trace", "--top", "2")
    assert code == 0
    assert "status   complete, 2 of 3 layers, 1 function, 2 checks\n" in out
    assert "2 of 3 layers by |trace|, largest first\n" in out


def test_json_of_chosen_layers_has_these_alone(show: Shown) -> None:
    document = json.loads(show("--format", "json", "--layer", "block")[1])
    assert [row["name"] for row in document["layers"]] == ["net/block/conv1", "net/block/conv2"]
    assert (document["inputs"], document["checks"]) == ([], [])


def test_without_layers_functions_and_checks_are_sorted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(tmp_path / "c.h5", [], PROVENANCE, checks=CHECKS)
    assert run(["show", str(tmp_path / "c.h5"), "--sort", "figure", "--format", "csv", "--reverse"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["check", "gradient", "symmetry"]
    functions = [FUNCTION, replace(FUNCTION, name="v", laplacian=np.array([9.0, 9.0]))]
    write_report(tmp_path / "i.h5", [], PROVENANCE, inputs=functions)
    assert run(["show", str(tmp_path / "i.h5"), "--sort", "laplacian-mean", "--format", "csv", "--top", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("v,")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sort", "tarce"], "No column 'tarce' to sort by. Nearest: trace"),
        (["--sort", "zzz"], "No column 'zzz' to sort by. There are layer, kind,"),
        (["--sort", "condition"], "condition_number was not computed (`curvcli hessian` does that)"),
        (["--layer", "conv3"], "No layer matches 'conv3'. Nearest: net/block/conv"),
        (["--top", "0"], "0 is not in the range x>=1"),
        (["--get", "loss", "--top", "1"], "--get PATH stands alone"),
        (["--get", "loss", "--format", "csv"], "--get prints bare values, or JSON"),
    ],
)
def test_a_mistake_is_one_or_two_lines_and_exit_2(show: Shown, words: list[str], message: str) -> None:
    code, out, err = show(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_one_layer_is_shown_in_depth_and_several_as_a_table(show: Shown) -> None:
    _, one, _ = show("--layer", "fc")
    assert "layer net/fc\n" in one
    assert all(title in one for title in ("\nparameters\n", "\ntrace\n", "\neigenvalues\n", "│"))
    assert "conv1" not in one
    _, table, _ = show("--layer", "fc", "--no-depth")
    assert "\nlayer   kind" in table
    _, several, _ = show("--layer", "conv*")
    assert "\nlayer net/" not in several
    _, both, _ = show("--layer", "conv*", "--depth")
    assert both.index("\nlayer  ") < both.index("layer net/block/conv1\n") < both.index("layer net/block/conv2\n")


# Value by value as HDF5 has it.
@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("fc/trace", ("summary/trace", 2)),
        ("net/fc/trace", ("summary/trace", 2)),
        ("net/block/conv2/trace", ("summary/trace", 1)),
        ("layers/net/fc/trace", ("summary/trace", 2)),
        ("*2/gradient_norm", ("summary/gradient_norm", 1)),
        ("re:fc$/trace_stderr", ("summary/trace_stderr", 2)),
        ("conv2/kernel/diagonal_min", ("parameters/diagonal_min", 1)),
        ("fc/eigenvalues", ("layers/net%2Ffc/eigen/values", ...)),
        ("fc/trace/samples", ("layers/net%2Ffc/trace/samples", ...)),
        ("fc/kernel/diagonal", ("layers/net%2Ffc/diagonal/kernel", ...)),
        ("inputs/u/laplacian", ("inputs/u/laplacian", ...)),
        ("inputs/u/residual", ("inputs/u/residual/values", ...)),
        ("inputs/u/residual_mean_abs", ("inputs_summary/residual_mean_abs", 0)),
        ("checks/symmetry/net/fc/figure", ("checks/figure", 0)),
    ],
)
def test_get_prints_the_bare_value_to_the_last_bit(
    show: Shown, report: Path, path: str, place: tuple[str, object]
) -> None:
    code, out, err = show("--get", path)
    assert (code, err) == (0, "")
    with h5py.File(report) as file:
        np.testing.assert_array_equal(np.array(json.loads(out)), file[place[0]][place[1]])
    assert show("--get", path, "--format", "json")[1] == out


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("loss", "0.1"),
        ("status", "complete"),
        ("provenance/model_sha256", "ab" * 32),
        ("provenance/versions/torch", "2.13.0"),
        ("provenance/seed", "0"),
        ("layers", '["net/block/conv1", "net/block/conv2", "net/fc"]'),
        ("fc/exact", "false"),
        ("fc/kernel/exact", "true"),
        ("fc/kernel/shape", "[3, 2]"),
        ("fc/kernel/reason", "asked for"),
        ("fc/converged_count", "2"),
        ("inputs/u/method", "products"),
        ("checks/failed", "1"),
        ("checks/skipped", "0"),
    ],
)
def test_get_prints_text_as_it_is_and_lists_as_json(show: Shown, path: str, text: str) -> None:
    assert show("--get", path) == (0, f"{text}\n", "")


def test_get_in_json_quotes_text_and_several_values_come_line_by_line(show: Shown) -> None:
    assert show("--get", "status", "--get", "loss", "--format", "json")[1] == '"complete"\n0.1\n'


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fc/tarce", "no value 'fc/tarce'. Nearest: fc/trace"),
        ("fc/kernel/diagonal_mxa", "Nearest: fc/kernel/diagonal_ma"),
        ("fc9/trace", "No layer matches 'fc9'. Nearest: net/fc"),
        ("los", "no value 'los'. Nearest: loss"),
        ("conv*/trace", "conv*/trace matches 2 layers, and --get takes one: net/block/conv1, net/block/conv2."),
        ("conv1/top_eigenvalue", "top_eigenvalue was not computed (`curvcli eigs` does that)"),
        ("conv1/density/grid", "grid was not computed (`curvcli density` does that)"),
        ("fc/trace_data_stderr", "trace_data_stderr was not computed"),
        ("fc/kernel/diagonal_stderr", "the diagonal is exact and has no standard error"),
        ("provenance/model_sha", "Nearest: provenance/model_sha256"),
        ("inputs/u/hessian", "hessian was not computed (`curvcli inputs` does that)"),
        ("inputs/u/lapalcian", "Nearest: inputs/u/laplacian"),
        ("checks/faild", "Nearest: checks/failed"),
    ],
)
def test_get_of_what_is_not_there_names_the_nearest_or_says_what_computes_it(
    show: Shown, path: str, message: str
) -> None:
    code, out, err = show("--get", path)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) <= 2


def test_no_checks_is_not_no_failed_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(tmp_path / "r.h5", [layer("fc", 0, 1.0)], PROVENANCE)
    for path in ("checks/failed", "inputs/u/method"):
        assert run(["show", str(tmp_path / "r.h5"), "--get", path]) == 2
        assert "holds no" in capsys.readouterr().err


def test_a_value_that_came_out_as_nan_is_printed_and_null_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameter = replace(
        layer("fc", 0, 1.0).parameters[0], diagonal=np.full((3, 2), np.nan), gradient=None, status="nonfinite"
    )
    write_report(tmp_path / "r.h5", [layer("fc", 0, 1.0, parameters=(parameter,), status="nonfinite")], PROVENANCE)
    assert run(["show", str(tmp_path / "r.h5"), "--get", "fc/trace"]) == 0
    assert run(["show", str(tmp_path / "r.h5"), "--get", "fc/trace", "--format", "json"]) == 0
    assert capsys.readouterr().out == "nan\nnull\n"
    # The gradient was not computed, whatever became of the diagonal.
    for path in ("fc/gradient_norm", "fc/kernel/gradient_norm", "fc/weight_at_zero"):
        assert run(["show", str(tmp_path / "r.h5"), "--get", path]) == 2
        assert f"{path.rpartition('/')[2]} was not computed" in capsys.readouterr().err


def test_a_path_that_ends_with_a_layer_is_told_its_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(tmp_path / "r.h5", [layer("net/fc", 0, 2.0), layer("a\x1b[31m", 1, 3.0)], PROVENANCE)
    for path, told in (
        ("layers/net/fc", "net/fc is a layer; name a field of it: name, kind"),
        ("net/fc", "net/fc is a layer; name a field of it: name, kind"),
        ("layers/", "There are net/fc, a"),
        ("layers/net", "no layer 'net', and no field of it is named"),
        ("a\x1b[31m/tarce", "Nearest: "),
        ("layers/a\x1b[31m", "is a layer"),
    ):
        assert run(["show", str(tmp_path / "r.h5"), "--get", path]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert "\x1b" not in error
        assert len(error.splitlines()) <= 2


def test_checks_are_counted_also_where_few_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(tmp_path / "c.h5", [], PROVENANCE, checks=CHECKS)
    assert run(["show", str(tmp_path / "c.h5"), "--top", "1"]) == 0
    said = capsys.readouterr().out
    passed, failed = (sum(check.outcome == outcome for check in CHECKS) for outcome in ("passed", "failed"))
    assert f"{passed} passed, {failed} failed, 0 skipped in all\n1 of {len(CHECKS)} checks\n" in said
    assert said.count(" passed, ") == 1


def test_a_layer_called_like_a_part_of_the_report_is_found_below_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(tmp_path / "r.h5", [layer("inputs", 0, 2.0), layer("", 1, 3.0)], PROVENANCE)
    for path in ("layers/inputs/trace", "/trace"):
        assert run(["show", str(tmp_path / "r.h5"), "--get", path]) == 0
    assert capsys.readouterr().out == "2.0\n3.0\n"


def test_a_vector_too_long_for_a_value_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = (1001, 1000)
    big = ParameterRecord(
        label="w", name="fc/w", shape=shape, axes=("a", "b"), diagonal=np.zeros(shape, np.float32), method="m"
    )
    write_report(tmp_path / "r.h5", [layer("fc", 0, 1.0, parameters=(big,))], PROVENANCE)
    assert run(["show", str(tmp_path / "r.h5"), "--get", "fc/w/diagonal"]) == 2
    assert "curvcli export --table entries" in capsys.readouterr().err


def terminal(report: Path, *words: str, **environment: str) -> str:
    """What ``show`` writes to a terminal 200 columns wide."""
    leader, follower = pty.openpty()
    fresh = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "NO_COLOR"))}
    command = [sys.executable, "-m", "curvcli", "show", str(report), *words]
    settings = fresh | {"TERM": "xterm", "COLUMNS": "200"} | environment
    process = subprocess.Popen(command, stdout=follower, env=settings)
    os.close(follower)
    seen = b""
    while True:
        try:
            found = os.read(leader, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not found:
            break
        seen += found
    os.close(leader)
    assert process.wait() == 0
    return seen.decode()


def test_a_terminal_gets_sparklines_a_pipe_does_not(report: Path, show: Shown) -> None:
    assert "█" in terminal(report, LANG="C.UTF-8")
    assert "█" not in terminal(report, "--no-sparklines", LANG="C.UTF-8")
    assert "█" not in show()[1]
    assert "│" in show("--sparklines")[1]


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}])
def test_a_c_locale_gets_ascii(report: Path, locale: dict[str, str]) -> None:
    text = terminal(report, **locale)
    assert "@" in text
    assert not set(text) & set("▁▂▃▄▅▆▇█│")


def test_no_color_is_honoured(report: Path) -> None:
    # Bold is no colour: NO_COLOR asks for none of those.
    assert "\x1b[3" not in terminal(report, NO_COLOR="1", LANG="C.UTF-8")


def test_an_output_that_is_ascii_only_is_no_error(report: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "curvcli", "show", str(report), "--layer", "fc"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"+- stderr" in done.stdout


def test_options_may_come_from_a_config_file_and_the_environment(
    tmp_path: Path, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text('[show]\nsort = "trace"\nget = "loss"\n')
    assert show("--config", tmp_path / "c.toml")[2].startswith("Error: --get PATH stands alone")
    monkeypatch.setenv("CURVCLI_SHOW_SORT", "trace")
    assert names(show)[0] == "conv2"


@pytest.mark.parametrize("command", [["show"], ["export", "-o", "-"]])
def test_no_framework_is_imported(report: Path, command: list[str]) -> None:
    code = (
        "import sys; from curvcli.cli.main import run; failed = run(sys.argv[1:]);"
        "sys.exit(failed or bool({'torch', 'tensorflow', 'keras', 'pyarrow'} & set(sys.modules)))"
    )
    words = [command[0], str(report), *command[1:]]
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False).returncode == 0
