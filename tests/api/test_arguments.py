"""What a function takes, and that a wrong thing is one sentence instead of an error from inside."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import curvcli

from .conftest import MODEL

LINEAR = torch.nn.Linear(3, 3)

# An argument of `trace`, and what is said of it.
WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"layer": 3},
        "^layer: must be a name, or a layer, .* of a model; found an object of type int",
    ),
    ({"layer": ["fc1", None]}, "^layer: must be a name, .*; found None"),
    ({"layer": LINEAR}, "^layer: .* of type torch.nn.modules.linear.Linear"),
    ({"layer": np.array("fc1")}, "^layer: .* of type numpy.ndarray"),
    ({"layer": []}, "^layer: an empty list chooses nothing; leave it out for all layers"),
    ({"layer": set()}, "^layer: an empty list chooses nothing"),
    ({"data": (np.zeros((3, 64)), np.zeros(3))}, "^loss: missing; say how the model's output is compared with y"),
    ({"data": 3}, "^data: an object of type int is neither arrays .x, y., nor a DataLoader"),
    ({"loss": "mse"}, "^loss: stands in the dataset spec"),
    ({"output": 3}, "^output: must be the path of the report to write; found an object of type int"),
    ({"output": b"r.h5"}, "^output: .* of type bytes"),
    ({"probes": [4]}, "^probes: must be one value, found an object of type list"),
    ({"whole_model": "no"}, "^whole_model: must be True or False, found 'no'"),
    ({"resume": 0}, "^resume: must be True or False, found 0"),
    ({"verbose": "yes"}, "^verbose: must be True or False, found 'yes'"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[str(options) for options, _ in WRONG])
def test_a_wrong_argument_is_one_sentence(options: dict[str, Any], said: str, model: curvcli.Model) -> None:
    """That names the argument and what is wanted."""
    with pytest.raises(curvcli.UsageError, match=said) as caught:
        curvcli.trace(model, limit=8, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (
            lambda: curvcli.open_model(None),
            "^model: must be the path of a saved model, or a model in memory: a torch.nn.Module, a Keras model; found",
        ),
        (lambda: curvcli.diagonal(LINEAR), "^model: Linear does not say what its inputs look like"),
        (lambda: curvcli.check(3), "^model: must be what curvcli.open_model returns"),
        (lambda: curvcli.check(MODEL, against=LINEAR), "^against: must be the path of a saved model; found"),
        (lambda: curvcli.split(MODEL, at=[]), "^at: an empty list chooses nothing; name at least one"),
        (lambda: curvcli.inputs(MODEL, of=[]), "^of: an empty list chooses nothing; leave it out for the default"),
        (lambda: curvcli.read_report(None), "^path: must be the path of a report; found None"),
    ],
)
def test_so_is_a_wrong_thing_elsewhere(work: Callable[[], object], said: str) -> None:
    """In place of a model, a path, a name."""
    with pytest.raises(curvcli.UsageError, match=said):
        work()


def test_values_are_looked_up_by_name_or_parameter(model: curvcli.Model) -> None:
    """A place is neither."""
    weight = model.layers[0].parameters[0]
    np.testing.assert_array_equal(model.values(weight), model.values(weight.name))
    with pytest.raises(curvcli.UsageError, match=r"^parameter: must be a name"):
        model.values(0)  # type: ignore[arg-type]


def test_what_an_opened_model_has_stands_for_its_name(model: curvcli.Model) -> None:
    """Layers, parameters and inputs, alone or among names."""
    norm, fc3 = model.layers[1], model.layers[3]
    assert list(curvcli.trace(model, layer=norm, limit=8)) == ["norm"]
    assert list(curvcli.trace(model, layer=["fc3", norm], limit=8)) == ["norm", "fc3"]
    parts = curvcli.split(model, at=fc3, by=[fc3.parameters[1], model.inputs[0]], limit=8)["fc3"].parts
    assert [part.by for part in parts] == ["bias", "image"]


def test_nothing_excluded_is_no_mistake(model: curvcli.Model) -> None:
    """Nor are the defaults, said explicitly."""
    assert list(curvcli.trace(model, layer="fc3", exclude=[], limit=8)) == ["fc3"]
    assert len(curvcli.trace(model, layer=(), exclude=["fc1", "fc2"], whole_model=np.False_, limit=8)) == 2


def test_a_device_may_be_the_frameworks_own(model: curvcli.Model) -> None:
    """It is spelled like the text."""
    assert list(curvcli.trace(model, layer="fc3", device=torch.device("cpu"), limit=8)) == ["fc3"]  # type: ignore[arg-type]


def test_a_model_and_results_outlive_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though their paths were given relative to the old one; until then a path is as it was given."""
    (tmp_path / "models").symlink_to(MODEL.parent)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    model = curvcli.open_model(f"models/{MODEL.name}")
    first = curvcli.trace(model, layer="fc3", limit=8, output="r.h5")
    assert first.report.provenance.command_line.endswith(f" models/{MODEL.name}")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert model.path == tmp_path / "models" / MODEL.name
    assert curvcli.trace(model, layer="fc3", limit=8)["fc3"].value == first["fc3"].value


@pytest.mark.parametrize("path", [MODEL, MODEL.with_suffix("")], ids=["torch", "tensorflow"])
def test_nothing_is_deprecated_in_what_it_calls(path: Path) -> None:
    """With warnings as errors the functions work on."""
    model = curvcli.open_model(path)
    curvcli.diagonal(model, layer="fc3", limit=8)  # a framework's own imports are not looked at
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.values(model.layers[0].parameters[0]).dtype == np.float64
        curvcli.diagonal(model, layer=["norm", "fc3"], limit=8)
        curvcli.trace(model, layer="fc2", method="hutchinson", probes=2, limit=8)
        curvcli.inputs(model, limit=8)
        curvcli.split(model, at="fc3", limit=8)


def test_the_package_lists_what_is_public() -> None:
    """And what every module has."""
    assert [name for name in dir(curvcli) if not name.startswith("__")] == curvcli.__all__
