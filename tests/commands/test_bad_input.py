"""Whatever is wrong: one or two clear lines, the right exit code, no traceback, no file left behind."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from .conftest import ROOT, SPEC, Curvcli, Net

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def save_data(folder: Path, **changes: np.ndarray) -> None:
    with np.load(folder / "data.npz") as archive:
        arrays = dict(archive)
    np.savez(folder / "data.npz", **(arrays | changes))


def missing(folder: Path) -> str:
    (folder / "model.pt").unlink()
    return "no such file"


def no_savedmodel(folder: Path) -> str:
    (folder / "model.pt").unlink()
    (folder / "model.pt").mkdir()
    return "no SavedModel"


def state_dict(folder: Path) -> str:
    torch.save(Net().state_dict(), folder / "model.pt")
    return "a state_dict"


def pickled(folder: Path) -> str:
    torch.save(Net(), folder / "model.pt")
    return "a pickled nn.Module"


def frozen(folder: Path) -> str:
    torch.jit.save(torch.jit.freeze(torch.jit.script(Net().eval())), folder / "model.pt")
    return "no parameters"


def quantised(folder: Path) -> str:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2)).eval()
    small = torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear})
    torch.jit.save(torch.jit.trace(small, torch.zeros(1, 2)), folder / "model.pt")
    return "a quantised network"


def truncated(folder: Path) -> str:
    whole = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(whole[: len(whole) // 2])
    return "truncated"


def no_spec(folder: Path) -> str:
    (folder / "model.pt.toml").unlink()
    return "--data"


def several_mistakes(folder: Path) -> str:
    (folder / "model.pt.toml").write_text(SPEC.replace('"npz"', '"npq"'))
    return "source.format"


def bad_toml(folder: Path) -> str:
    (folder / "model.pt.toml").write_text(SPEC + "= 3")
    return "line"


def wrong_input_name(folder: Path) -> str:
    (folder / "model.pt.toml").write_text(SPEC.replace("inputs.x", "inputs.image"))
    return "takes x"


def wrong_shape(folder: Path) -> str:
    save_data(folder, x=np.zeros((37, 5)))
    return "(16, 5)"


def label_out_of_range(folder: Path) -> str:
    save_data(folder, y=np.array([0] * 20 + [3] + [1] * 16))
    return "row 20: label 3"


def nan_in_data(folder: Path) -> str:
    x = np.zeros((37, 4))
    x[17, 2] = np.nan
    save_data(folder, x=x)
    return "row 17"


def empty(folder: Path) -> str:
    save_data(folder, x=np.zeros((0, 4)), y=np.zeros(0, dtype=int))
    return "data.npz"


def truncated_npz(folder: Path) -> str:
    whole = (folder / "data.npz").read_bytes()
    (folder / "data.npz").write_bytes(whole[: len(whole) // 2])
    return "data.npz"


def missing_column(folder: Path) -> str:
    (folder / "model.pt.toml").write_text(SPEC.replace('column = "y"', 'column = "z"'))
    return "'z'"


CASES = {
    2: [
        missing,
        no_savedmodel,
        no_spec,
        several_mistakes,
        bad_toml,
        wrong_input_name,
        label_out_of_range,
        nan_in_data,
        empty,
        truncated_npz,
        missing_column,
        wrong_shape,
    ],
    3: [state_dict, pickled, frozen, quantised, truncated],
}


@pytest.mark.parametrize(("code", "case"), [(code, case) for code, cases in CASES.items() for case in cases])
def test_bad_input_is_explained(code: int, case: object, work: Path, curvcli: Curvcli) -> None:
    """Each mistake is named, and nothing is written."""
    expected = case(work)
    before = sorted(p.name for p in work.iterdir())
    done = curvcli("diag", "model.pt")
    assert done.returncode == code, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert done.stdout == ""
    assert sorted(p.name for p in work.iterdir()) == before


def test_weights_that_are_not_numbers_are_incomplete_work(work: Path, curvcli: Curvcli) -> None:
    """A NaN in the weights ends with exit code 4 and no report."""
    net = Net()
    net.one.weight.data[0, 0] = float("nan")
    torch.jit.save(torch.jit.script(net), work / "model.pt")
    done = curvcli("diag", "model.pt", "-q")
    assert done.returncode == 4
    assert "nan" in done.stderr
    assert not list(work.glob("*.h5*"))


def test_an_unknown_layer_names_the_nearest(work: Path, curvcli: Curvcli) -> None:
    """A mistyped layer is a usage error with a suggestion."""
    done = curvcli("diag", "model.pt", "--layer", "won")
    assert done.returncode == 2
    assert "one" in done.stderr


def test_probabilities_declared_as_logits_are_refused(curvcli: Curvcli, tmp_path: Path) -> None:
    """A wrong from_logits contradicts the graph, which says so."""
    text = (
        (ROOT / "sample_models" / "mlp_tanh.pt.toml").read_text().replace("from_logits = false", "from_logits = true")
    )
    path = str(ROOT / "sample_models" / "digits.npz")
    (tmp_path / "spec.toml").write_text(text.replace('"digits.npz"', f'"{path}"'))
    done = curvcli("diag", ROOT / "sample_models" / "mlp_tanh.pt", "--data", "spec.toml", "-o", "r.h5")
    assert done.returncode == 2
    assert "softmax" in done.stderr


@pytest.mark.parametrize("words", [("dia", "x"), ("diag",), ("diag", "model.pt", "--lyer", "x"), ("show", "data.npz")])
def test_wrong_commands_are_usage_errors(words: tuple[str, ...], work: Path, curvcli: Curvcli) -> None:
    """Mistyped commands and options, and files that are no reports, end with 2."""
    done = curvcli(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_damaged_savedmodel_is_explained(tmp_path: Path, curvcli: Curvcli) -> None:
    """A truncated saved_model.pb is one clear line, without TensorFlow's own."""
    source = ROOT / "sample_models" / "mlp_tanh"
    model = tmp_path / "model"
    model.mkdir()
    model.joinpath("saved_model.pb").write_bytes((source / "saved_model.pb").read_bytes()[:5000])
    done = curvcli("layers", "model")
    assert done.returncode == 3
    assert "damaged or truncated" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_a_plain_zip_is_not_a_model(work: Path, curvcli: Curvcli) -> None:
    """A zip archive without code is named as such."""
    with zipfile.ZipFile(work / "model.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "not a TorchScript" in curvcli("layers", "model.pt").stderr
