"""Tells what kind of saved model a path is, and opens it with the one framework it needs."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from curvcli.errors import ModelError, UsageError
from curvcli.files import regular_file

if TYPE_CHECKING:
    from curvcli.models.tensorflow.savedmodel import SavedModel
    from curvcli.models.torch.torchscript import TorchScriptModel

Backend = Literal["torch", "tensorflow"]


def backend_of(path: Path) -> Backend:
    """Which framework a path needs; nothing is imported.

    Raises:
        UsageError: there is nothing at the path, or nothing that could be a saved model.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        if (path / "saved_model.pb").is_file():
            return "tensorflow"
        inside = next((p for p in sorted(path.iterdir()) if p.is_dir() and (p / "saved_model.pb").is_file()), None)
        hint = f"Did you mean {inside}?" if inside else "Give the folder that tf.saved_model.save or export wrote."
        raise UsageError(f"{path}: a directory without saved_model.pb, so no SavedModel.\n{hint}")
    if not os.path.lexists(path):
        raise UsageError(f"{path}: no such file or directory.\nGive a SavedModel directory or a TorchScript file.")
    if path.name == "saved_model.pb":
        raise UsageError(f"{path}: give the directory it lies in: {path.parent}")
    if path.suffix in (".keras", ".h5", ".hdf5"):
        raise UsageError(f"{path}: a Keras file needs its source code; write a SavedModel with model.export(PATH).")
    regular_file(path, "a TorchScript file")
    return "torch"


def open_model(path: Path, *, device: str = "cpu", dtype: str = "float32") -> TorchScriptModel | SavedModel:
    """Open a saved model.

    Args:
        path: a SavedModel directory or a TorchScript file.
        device: ``cpu``, ``cuda``, ``cuda:1`` ….
        dtype: ``float32`` or ``float64``; the whole model is converted.

    Raises:
        UsageError: wrong path or device, or the backend is not installed.
        ModelError: the file can't be opened.
    """
    backend = backend_of(path)
    if find_spec(backend) is None:
        raise UsageError(f"{path} needs {backend}, which is not installed.\nRun: pip install 'curvcli[{backend}]'")
    try:
        if backend == "torch":
            from curvcli.models.torch.torchscript import TorchScriptModel

            return TorchScriptModel(path, device=device, dtype=dtype)
        if device == "cpu":
            # TensorFlow takes every GPU it sees, and all of its memory, at the first operation.
            os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
        from curvcli.models.tensorflow.savedmodel import SavedModel

        return SavedModel(path, device=device, dtype=dtype)
    except ImportError as error:
        raise ModelError(f"{backend} is installed but can't be imported: {str(error).splitlines()[0]}") from error
