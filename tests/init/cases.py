"""Models and data drawn at random, whose right dataset spec is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn

from curvcli.analysis.guessing.spec_text import spec_text

Arrays = dict[str, np.ndarray]
SAMPLES = 23
INPUTS = ["x", "inputs", "Features", "data_0", "image", "signal", "in.put"]
TARGETS = ["y", "labels", "Target", "y_true", "species"]
ODD = ["a", "b 2", "thing", "u"]


class Reads(nn.Module):
    """A body behind any reading of the arguments."""

    def __init__(self, body: nn.Module, end: nn.Module) -> None:
        super().__init__()
        self.body, self.end = body, end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.body(x))


class Tokens(nn.Module):
    """Classes for every token, padding masked."""

    def __init__(self, classes: int, *, last: bool) -> None:
        super().__init__()
        self.table, self.out, self.last = nn.Embedding(30, 6), nn.Linear(6, classes), last

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        found = self.out(torch.tanh(self.table(input_ids)) * attention_mask.unsqueeze(-1))
        return found if self.last else found.transpose(1, 2)


class Two(nn.Module):
    """Two inputs and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 4), nn.Linear(5, 4)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.tanh(self.one(left)) + self.other(right)
        return {"features": hidden * hidden, "logits": hidden}


class OwnLoss(nn.Module):
    """Its own number per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.one(x) ** 2).sum(1)


@dataclass
class Drawn:
    """A case.

    Attributes:
        kind: what it is about.
        module: the model.
        arguments: to export with, in order.
        inputs: the right tables, by the model's input.
        columns: of the data.
        target: the right table; None for none.
        loss: the right table.
        exported: whether as a torch.export archive, which says shapes, or as a script, which does not.
        form: of the data.
        distract: columns that are nothing.
    """

    kind: str
    module: nn.Module
    arguments: tuple[torch.Tensor, ...]
    inputs: dict[str, dict[str, Any]]
    columns: Arrays
    target: dict[str, Any] | None
    loss: dict[str, Any]
    exported: bool = False
    form: str = "npz"
    distract: Arrays = field(default_factory=dict)

    def write(self, folder: Path) -> tuple[Path, Path, Path]:
        """The model, the data and the right spec."""
        model = folder / ("m.pt2" if self.exported else "m.pt")
        self.module.eval()
        if self.exported:
            batch = torch.export.Dim("batch")
            dynamic = tuple({0: batch} for _ in self.arguments)
            torch.export.save(torch.export.export(self.module, self.arguments, dynamic_shapes=dynamic), model)
        else:
            torch.jit.save(torch.jit.script(self.module), model)
        source, data = STORED[self.form](folder, {**self.distract, **self.columns})
        tree = {"source": source, "inputs": self.inputs, "target": self.target, "loss": self.loss}
        spec = folder / "right.toml"
        spec.write_text(spec_text({key: one for key, one in tree.items() if one is not None}, "right", ()))
        return model, data, spec


def _npz(folder: Path, columns: Arrays) -> tuple[dict[str, Any], Path]:
    np.savez(folder / "data.npz", **columns)
    return {"format": "npz", "path": "data.npz"}, folder / "data.npz"


def _npy(folder: Path, columns: Arrays) -> tuple[dict[str, Any], Path]:
    (folder / "arrays").mkdir()
    for name, values in columns.items():
        np.save(folder / "arrays" / f"{name}.npy", values)
    return {"format": "npy", "path": "arrays"}, folder / "arrays"


def _hdf5(folder: Path, columns: Arrays) -> tuple[dict[str, Any], Path]:
    with h5py.File(folder / "data.h5", "w") as file:
        for name, values in columns.items():
            file[name] = values.astype("S") if values.dtype.kind in "UO" else values
    return {"format": "hdf5", "path": "data.h5"}, folder / "data.h5"


def _csv(folder: Path, columns: Arrays) -> tuple[dict[str, Any], Path]:
    names, cells = [], []
    for name, values in columns.items():
        flat = values.reshape(len(values), -1)
        names += [name] if values.ndim == 1 else [f"{name}{i}" for i in range(flat.shape[1])]
        cells += list(flat.T)
    rows = [",".join(str(column[i]) for column in cells) for i in range(SAMPLES)]
    (folder / "data.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    return {"format": "csv", "path": "data.csv"}, folder / "data.csv"


STORED: dict[str, Callable[[Path, Arrays], tuple[dict[str, Any], Path]]] = {
    "npz": _npz,
    "npy": _npy,
    "hdf5": _hdf5,
    "csv": _csv,
}


def _vector(rng: np.random.Generator, out: int, end: nn.Module) -> tuple[Reads, tuple[torch.Tensor, ...]]:
    size = int(rng.integers(3, 9))
    return Reads(nn.Sequential(nn.Linear(size, 5), nn.Tanh(), nn.Linear(5, out)), end), (torch.zeros(3, size),)


def _names(rng: np.random.Generator, kind: str) -> tuple[str, str]:
    """Of the input's column and the target's: usual ones, or the target's alone."""
    column = str(rng.choice(INPUTS if rng.random() < 0.7 else ODD))
    return column, str(rng.choice(TARGETS))


def drawn(seed: int) -> Drawn:
    """A case by its number."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    kind = KINDS[seed % len(KINDS)]
    case = MAKE[kind](rng)
    case.exported = bool(rng.random() < 0.3) or kind in ALWAYS_EXPORTED
    if case.form == "npz":
        case.form = str(rng.choice(["npz", "npy", "hdf5"]))
    if kind not in ("csv", "own_loss") and rng.random() < 0.5:
        case.distract = {"id": np.arange(SAMPLES)}
    return case


def _simple(kind: str, out: int, end: nn.Module, loss: dict[str, Any], labels: Callable[..., Any]) -> Any:
    def make(rng: np.random.Generator) -> Drawn:
        module, arguments = _vector(rng, out, end)
        column, target = _names(rng, kind)
        x = rng.standard_normal((SAMPLES, arguments[0].shape[1])).astype(rng.choice(["f4", "f8"]))
        columns = {column: x, target: labels(rng)}
        table: dict[str, Any] = {"column": target}
        if columns[target].dtype.kind in "UO":
            table["classes"] = sorted(set(columns[target].tolist()))
        return Drawn(kind, module, arguments, {"x": {"column": column}}, columns, table, loss)

    return make


def _classes(classes: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.concatenate([np.arange(classes), rng.integers(0, classes, SAMPLES - classes)])


def _images(rng: np.random.Generator) -> Drawn:
    last, small = bool(rng.random() < 0.6), bool(rng.random() < 0.5)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 4))
    pixels = rng.integers(0, 256, (SAMPLES, 8, 8, 3), dtype=np.uint8)
    stored: np.ndarray = pixels if small else pixels.astype("f4") / 255
    table: dict[str, Any] = {"column": "images"} | ({"layout": "NHWC->NCHW"} if last else {})
    if small:
        table |= {"scale": 1 / 255} if rng.random() < 0.5 else {"dtype": "float64"}  # init can't know
    columns = {"images": stored if last else stored.transpose(0, 3, 1, 2).copy(), "label": _classes(4)(rng)}
    loss = {"name": "cross_entropy", "from_logits": True}
    return Drawn(
        "images",
        Reads(body, nn.Identity()),
        (torch.zeros(3, 3, 8, 8),),
        {"x": table},
        columns,
        {"column": "label"},
        loss,
    )


def _tokens(rng: np.random.Generator) -> Drawn:
    last = bool(rng.random() < 0.5)
    ids, mask = rng.integers(0, 30, (SAMPLES, 7)), (rng.random((SAMPLES, 7)) < 0.7).astype("i8")
    mask[:, 0] = 1
    labels = np.where(mask == 1, rng.integers(0, 5, ids.shape), -100)
    columns = {"attention_mask": mask, "labels": labels, "input_ids": ids}
    loss = {"name": "cross_entropy", "from_logits": True, "class_axis": -1 if last else 1, "ignore_index": -100}
    inputs = {name: {"column": name} for name in ("input_ids", "attention_mask")}
    arguments = (torch.zeros(3, 7, dtype=torch.long), torch.ones(3, 7, dtype=torch.long))
    return Drawn("tokens", Tokens(5, last=last), arguments, inputs, columns, {"column": "labels"}, loss)


def _two(rng: np.random.Generator) -> Drawn:
    left, right = rng.standard_normal((SAMPLES, 3)), rng.standard_normal((SAMPLES, 5))
    names = ("left", "right") if rng.random() < 0.5 else ("p", "q")
    columns = {names[1]: right, "y": _classes(4)(rng), names[0]: left}
    inputs = {"left": {"column": names[0]}, "right": {"column": names[1]}}
    loss = {"name": "cross_entropy", "from_logits": True, "output": "logits"}
    return Drawn("two", Two(), (torch.zeros(3, 3), torch.zeros(3, 5)), inputs, columns, {"column": "y"}, loss)


def _own_loss(rng: np.random.Generator) -> Drawn:
    columns = {"x": rng.standard_normal((SAMPLES, 4))}
    inputs = {"x": {"column": "x"}}
    return Drawn("own_loss", OwnLoss(), (torch.zeros(3, 4),), inputs, columns, None, {"name": "output"})


def _one_hot(rng: np.random.Generator) -> Drawn:
    made: Drawn = _simple("one_hot", 3, nn.Softmax(1), {"name": "cross_entropy", "from_logits": False}, _classes(3))(
        rng
    )
    assert made.target is not None
    name = made.target["column"]
    made.columns[name] = np.eye(3)[made.columns[name]]
    return made


def _table(rng: np.random.Generator) -> Drawn:
    made: Drawn = _simple("csv", 1, nn.Identity(), {"name": "mse"}, lambda rng: rng.standard_normal(SAMPLES))(rng)
    assert made.target is not None
    (column,) = (name for name in made.columns if name != made.target["column"])
    x = made.columns.pop(column)
    made.columns = {"f": x, **made.columns}
    if rng.random() < 0.5:  # the target is not the last
        made.columns = dict(reversed(made.columns.items()))
    if rng.random() < 0.4:  # and is called like anything
        made.columns = {("price" if name == made.target["column"] else name): v for name, v in made.columns.items()}
        made.target = {"column": "price"}
    made.inputs = {"x": {"columns": [f"f{i}" for i in range(x.shape[1])]}}
    made.form = "csv"
    return made


CE = {"name": "cross_entropy", "from_logits": True}
MAKE: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "logits": _simple("logits", 4, nn.Identity(), CE, _classes(4)),
    "softmax": _simple("softmax", 4, nn.Softmax(1), {**CE, "from_logits": False}, _classes(4)),
    "log_softmax": _simple("log_softmax", 4, nn.LogSoftmax(1), CE, _classes(3)),
    "names": _simple("names", 3, nn.Identity(), CE, lambda rng: np.array(["cat", "eel", "dog"])[_classes(3)(rng)]),
    "sigmoid": _simple("sigmoid", 1, nn.Sigmoid(), {"name": "bce", "from_logits": False}, _classes(2)),
    "binary": _simple("binary", 1, nn.Identity(), {"name": "bce", "from_logits": True}, _classes(2)),
    "floats": _simple(
        "floats", 1, nn.Identity(), {"name": "bce", "from_logits": True}, lambda r: _classes(2)(r).astype("f4")
    ),
    "brier": _simple("brier", 1, nn.Identity(), {"name": "mse"}, lambda r: _classes(2)(r).astype("f4")),
    "regression": _simple("regression", 1, nn.Identity(), {"name": "mse"}, lambda rng: rng.standard_normal(SAMPLES)),
    "several": _simple("several", 3, nn.Identity(), {"name": "mse"}, lambda rng: rng.standard_normal((SAMPLES, 3))),
    "counts": _simple("counts", 1, nn.Identity(), {"name": "poisson"}, lambda rng: rng.poisson(4.0, SAMPLES)),
    "several_labels": _simple(
        "several_labels",
        3,
        nn.Sigmoid(),
        {"name": "bce", "from_logits": False},
        lambda rng: (rng.random((SAMPLES, 3)) < 0.5).astype("f4"),
    ),
    "variances": _simple(
        "variances",
        2,
        nn.Identity(),
        {"name": "gaussian_nll", "log_variance": True},
        lambda rng: rng.standard_normal(SAMPLES),
    ),
    "one_hot": _one_hot,
    "images": _images,
    "tokens": _tokens,
    "two": _two,
    "own_loss": _own_loss,
    "csv": _table,
}
KINDS = list(MAKE)
# A script has a fixed type for what it returns, and these need it.
ALWAYS_EXPORTED = frozenset[str]()
