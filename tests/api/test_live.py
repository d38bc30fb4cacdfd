"""Models and data in memory give the numbers of the files that a person would save, and are left as they were."""

from __future__ import annotations

import gc
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

import curvcli
from curvcli.api.turn import TURN
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.threads import threads_in_use
from curvcli.models.threads import restore_threads, use_threads

torch.manual_seed(0)
X = torch.randn(11, 5)
LABELS = torch.randint(0, 3, (11,))
SPEC = """
version = 1
[source]
format = "npz"
path = "data.npz"
[inputs.input]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
"""


def network() -> torch.nn.Module:
    """Dropout, to be left out, and batch norm, to be left alone."""
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 3)
    )


class Pairs(torch.nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second = torch.nn.Linear(5, 2), torch.nn.Linear(5, 2)

    def forward(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.first(u)) * self.second(v)


class Rows(Dataset[Any]):
    """Dictionaries of single samples, as Hugging Face's data sets have them; its end raises no IndexError."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"input": X[place % len(X)], "labels": int(LABELS[place % len(X)])}


def diagonals(model: Any, **options: Any) -> dict[str, np.ndarray]:
    return {name: one.diagonal for name, one in curvcli.diagonal(model, dtype="float64", **options).items()}


@pytest.fixture(scope="module")
def from_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Of the network saved as one would, with its data and spec."""
    folder = tmp_path_factory.mktemp("saved")
    program = torch.export.export(network().eval(), (X,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, folder / "net.pt2")
    np.savez(folder / "data.npz", x=X.numpy(), y=LABELS.numpy())
    (folder / "net.toml").write_text(SPEC)
    return diagonals(folder / "net.pt2")


def _generator() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    yield X[:4], LABELS[:4]
    yield X[4:], LABELS[4:]


FORMS: dict[str, Callable[[], Any]] = {
    "tensors": lambda: (X, LABELS),
    "arrays in a list": lambda: [X.numpy(), LABELS.numpy()],
    "nested lists": lambda: (X.tolist(), LABELS.tolist()),
    "float64": lambda: (X.double(), LABELS),
    "dict": lambda: {"input": X, "y": LABELS},
    "dict of inputs": lambda: ({"input": X}, LABELS),
    "weights": lambda: (X, LABELS, np.full(11, 3.0)),
    "loader": lambda: DataLoader(TensorDataset(X, LABELS), batch_size=4),
    "loader of dicts": lambda: DataLoader(Rows(), batch_size=5),
    "loader without batches": lambda: DataLoader(TensorDataset(X, LABELS), batch_size=None),
    "data set": lambda: TensorDataset(X, LABELS),
    "data set of dicts": Rows,
    "generator": _generator,
    "list of batches": lambda: list(_generator()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_gives_the_numbers_of_the_file(form: str, from_files: dict[str, np.ndarray]) -> None:
    """To the bit, but for equal weights that are not one."""
    model = network()
    found = diagonals(model, data=FORMS[form](), loss="cross_entropy")
    assert list(found) == list(from_files)
    for name, diagonal in found.items():
        np.testing.assert_allclose(diagonal, from_files[name], rtol=1e-12 if form == "weights" else 0, atol=0)
    assert all(module.training for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


KINDS: dict[str, Callable[[torch.nn.Module], Any]] = {
    "scripted": torch.jit.script,
    "program": lambda m: torch.export.export(m.eval(), (X[:3],), dynamic_shapes=({0: torch.export.Dim.AUTO},)),
    "program of three samples": lambda m: torch.export.export(m.eval(), (X[:3],)),
    "float64": lambda m: m.double(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_torch_model(kind: str, from_files: dict[str, np.ndarray]) -> None:
    """A program for three samples only too: its batches are filled up."""
    found = diagonals(KINDS[kind](network()), data=(X, LABELS), loss="cross_entropy")
    for ours, theirs in zip(found.values(), from_files.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


def test_several_inputs_by_place_by_name_and_from_a_loader() -> None:
    """All but the last tensor of a torch loader are inputs."""
    u, v, y = X, X.flip(0), X[:, :2]
    forms = [((u, v), y), ({"v": v, "u": u}, y), DataLoader(TensorDataset(u, v, y), batch_size=4)]
    first, *others = [diagonals(Pairs(), data=data, loss="mse") for data in forms]
    assert all(np.array_equal(first[name], other[name]) for other in others for name in first)


def test_an_opened_model_keeps_its_data_and_takes_others() -> None:
    """As often as one likes, in every function; the copy goes with the object."""
    model = curvcli.open_model(network(), data=(X, LABELS), loss="cross_entropy")
    folder = model.path.parent
    assert repr(model) == "<curvcli.Model (in memory) Sequential.pt2: 3 layers, 47 entries, float32 on cpu>"
    whole = curvcli.trace(model)
    assert curvcli.trace(model, data=(X[:4], LABELS[:4]), loss="cross_entropy").report.provenance.samples == 4
    assert curvcli.check(model, layer="4").layers == ()
    assert curvcli.run(model, layer="4", trace={}).layer("4").trace.value == whole["4"].value  # type: ignore[union-attr]
    assert curvcli.inputs(model, of="loss")["loss"].value.shape == (11,)
    assert curvcli.split(model, at="4")["4"].output_gradient.shape == (11, 3)
    assert folder.exists()
    del model
    gc.collect()
    assert not folder.exists()


def test_a_report_of_what_was_in_memory_names_no_temporary_file(tmp_path: Path) -> None:
    """It is replaced by the same call after more training, and by no other model's."""
    output = tmp_path / "r.h5"
    model = network()
    options: dict[str, Any] = {"data": (X, LABELS), "loss": "cross_entropy", "layer": "4", "output": output}
    before = curvcli.trace(model, **options)["4"].value  # read now: the report will be replaced
    with torch.no_grad():
        model[4].weight.mul_(2)
    after = curvcli.trace(model, **options)
    assert before != after["4"].value
    origin = after.report.provenance
    assert (origin.model_path, origin.model_location) == ("(in memory) Sequential.pt2",) * 2
    assert "curvcli-in-memory" not in origin.command_line + origin.spec_text + origin.spec_location
    with pytest.raises(curvcli.ReportError, match="holds a report of another model"):
        curvcli.trace(Pairs(), data=((X, X), X[:, :2]), loss="mse", output=output)


def test_nothing_stays_behind_when_something_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a call nor of one that failed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(curvcli.CurvcliError):
        curvcli.trace(network(), data=(X, LABELS), loss="mse")
    with pytest.raises(curvcli.CurvcliError):
        curvcli.open_model(network(), data=(X, LABELS), loss="nonsense", dtype="float16")
    gc.collect()
    assert list(tmp_path.iterdir()) == []


class Broken(Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 11

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        if place == 6:
            raise KeyError("image 6 is broken")
        return X[place], LABELS[place]


class Branching(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({}, r"model: Sequential does not say what its inputs look like"),
    ({"loss": "mse"}, r"loss: stands in the dataset spec"),
    ({"data": (X, LABELS)}, r"loss: missing; say how the model's output is compared with y"),
    ({"data": (X, LABELS), "loss": 3}, r"loss: must be a loss's name, or a dict"),
    ({"data": (X, LABELS), "loss": {"name": "mse", "delta": object()}}, r"loss: delta must be a number"),
    ({"data": (X, LABELS), "loss": "crossentropy"}, r"data.toml: loss.name: unknown name 'crossentropy'"),
    ({"data": (X[:3], LABELS), "loss": "mse"}, r"data: not as many samples in all arrays: x\[0\] has 3, y has 11"),
    ({"data": (X[:0], LABELS[:0]), "loss": "mse"}, r"data: there are no samples"),
    ({"data": [], "loss": "mse"}, r"data: there are no samples"),
    ({"data": (X[:, :3], LABELS), "loss": "mse"}, r"data: Sequential does not take inputs of these shapes, \(4, 3\)"),
    ({"data": ({"image": X}, LABELS), "loss": "mse"}, r"Its forward takes input"),
    ({"data": (X, ["cat"] * 11), "loss": "mse"}, r"data: y holds names, .*\n.*numpy.unique\(names, return_inverse"),
    ({"data": (X.numpy().astype(object), LABELS), "loss": "mse"}, r"data: x holds object, not numbers\.$"),
    ({"data": Broken(), "loss": "mse"}, r"number 6 \(from 0\) of what it gives can't be had: KeyError: 'image 6 is br"),
    (
        {"data": DataLoader(Broken(), batch_size=4, num_workers=1), "loss": "mse"},
        r"number 1 \(from 0\) of what it gives can't be had: KeyError: 'image 6 is broken'$",
    ),
    ({"data": ((X * 9).int(), LABELS), "loss": "mse"}, r"It takes x.float\(\). Pass batches as in training: data="),
    (
        {"data": {"input": X, "price": LABELS}, "loss": "mse"},
        r"takes input; in a dict of all, the targets are called labe",
    ),
    ({"data": (X, LABELS, LABELS, X), "loss": "mse"}, r"data: 4 arrays; pass \(x, y\) or \(x, y, weight\)"),
    ({"data": {"labels": LABELS}, "loss": "mse"}, r"data: there are targets and no inputs"),
    ({"data": 3, "loss": "mse"}, r"data: an object of type int is neither arrays"),
    ({"data": [(X[:4], LABELS[:4]), (X[4:, :3], LABELS[4:])], "loss": "mse"}, r"data: samples of different shapes"),
    ({"data": [(X[:4], LABELS[:4]), (X[4:],)], "loss": "mse"}, r"data: the first batch has .*, batch 1 has"),
]


@pytest.mark.parametrize(("options", "said"), MISTAKES, ids=[said[:40] for _, said in MISTAKES])
def test_mistakes_are_told_in_the_words_of_the_call(options: dict[str, Any], said: str) -> None:
    """One or two lines."""
    with pytest.raises(curvcli.CurvcliError, match=said) as caught:
        curvcli.trace(network(), **options)
    assert len(str(caught.value).splitlines()) <= 2


def test_what_can_not_be_exported_is_told_without_pages_of_output(capfd: pytest.CaptureFixture[str]) -> None:
    """torch.export logs and prints besides."""
    with pytest.raises(curvcli.ModelError, match=r"torch.export can't take Branching as it is: .*data-dependent"):
        curvcli.trace(Branching(), data=(X, LABELS), loss="mse")
    assert capfd.readouterr() == ("", "")


def test_keras_models_modules_and_tf_data() -> None:
    """A data set of single samples is told by the model's own shapes, one that has no end is refused."""
    tf = tensorflow()
    x, y = X.numpy(), X[:, :1].numpy()
    tf.keras.utils.set_random_seed(0)
    dense = tf.keras.layers.Dense(1, activation="tanh", name="dense")
    keras = tf.keras.Sequential([tf.keras.layers.Input((5,)), tf.keras.layers.Dropout(0.5), dense])
    samples = tf.data.Dataset.from_tensor_slices((x, y))
    kernel, bias = (value.numpy() for value in dense.weights)

    class Module(tf.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.bias = tf.Variable(kernel, name="kernel"), tf.Variable(bias, name="bias")

        def __call__(self, x: Any) -> Any:
            return tf.tanh(x @ self.kernel + self.bias)

    t = np.tanh(x.astype(np.float64) @ kernel + bias)
    slope, bend = 1 - t**2, -2 * t * (1 - t**2)
    expected = np.mean((2 * slope**2 + 2 * (t - y) * bend) * x.astype(np.float64) ** 2, axis=0)[:, None]
    for model, data in ((keras, samples), (keras, samples.batch(4)), (Module(), (x, y))):
        found = diagonals(model, data=data, loss="mse")
        np.testing.assert_allclose(next(iter(found.values())), expected, rtol=1e-12)
    with pytest.raises(curvcli.UsageError, match=r"data: repeats for ever; .*data.take\(n\)"):
        curvcli.trace(keras, data=samples.repeat(), loss="mse")
    assert curvcli.open_model(keras).inputs[0].shape == (None, 5)


def test_images_as_a_loader_gives_them_are_answered_by_the_line_of_the_training_loop() -> None:
    """Bytes with the channels last: what would make them fit is said, and taken."""
    torch.manual_seed(0)
    flat = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten(), torch.nn.Linear(18, 3))
    images = torch.randint(0, 256, (8, 5, 5, 3), dtype=torch.uint8)
    loader = DataLoader(TensorDataset(images, LABELS[:8]), batch_size=4)
    with pytest.raises(curvcli.UsageError) as caught:
        curvcli.open_model(flat, data=loader, loss="cross_entropy")
    line = "data=[(x.permute(0, 3, 1, 2).float() / 255, y) for x, y in loader]"
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    batches = [(x.permute(0, 3, 1, 2).float() / 255, y) for x, y in loader]
    assert curvcli.open_model(flat, data=batches, loss="cross_entropy").inputs[0].shape == (None, 3, 5, 5)


class Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(5, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("seen", torch.full((2,), float("nan")))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen = x.detach()[0, :2]
        return self.layer(x)


def test_a_module_that_writes_to_its_buffers_is_left_as_it_was() -> None:
    """The same tensors with the same values, in the same mode."""
    model = Counting().train()
    calls, seen = model.calls, model.seen
    curvcli.open_model(model, data=(X, LABELS), loss="cross_entropy")
    assert (model.calls is calls, model.seen is seen, model.training) == (True, True, True)
    assert calls == 0
    assert torch.isnan(seen).all()


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "..", "Nét\u202e\x1b[31m\n", "x" * 300])
def test_a_class_may_be_called_anything(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name makes no path, and steers no terminal."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    odd = type(name, (torch.nn.Linear,), {})(5, 3)
    model = curvcli.open_model(odd, data=(X, LABELS), loss="cross_entropy")
    assert model.path.parent.parent == tmp_path
    assert model.path.name.isprintable()
    assert len(model.path.name) < 70


@pytest.mark.parametrize("level", [logging.NOTSET, logging.WARNING, logging.CRITICAL])
def test_what_tensorflow_logs_by_itself_is_not_shown_during_a_call(level: int) -> None:
    """And its logger is left as it was."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(level)
    try:
        with TURN:
            with TURN:
                assert not logger.isEnabledFor(logging.WARNING)
            assert not logger.isEnabledFor(logging.WARNING)
            assert logger.isEnabledFor(logging.CRITICAL)
        assert logger.level == level
    finally:
        logger.setLevel(before)


def test_tensorflow_keeps_the_threads_it_has_started_with() -> None:
    """Which can be requested again; another number is refused."""
    has = threads_in_use()
    use_threads("tensorflow", has, "cpu")
    restore_threads()
    with pytest.raises(curvcli.UsageError, match=f"TensorFlow has started with {has} in this process"):
        use_threads("tensorflow", has + 1, "cpu")
