"""Opens a TensorFlow SavedModel through its serving signature: layers by variable name, weights as plain tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curvcli.errors import CurvcliError, ModelError
from curvcli.models.digest import model_sha256
from curvcli.models.model import Model
from curvcli.models.tensorflow.concrete import Variable, first_line, model_of
from curvcli.models.tensorflow.forward import Original
from curvcli.models.tensorflow.names import variable_names
from curvcli.models.tensorflow.runtime import device_of, hide_gpus, quiet_stderr, tensorflow
from curvcli.models.tensorflow.sanitised import loadable


def opened(path: Path, *, device: str, dtype: str) -> Model:
    """Load a directory and flatten its signature; see ``open.Opener``."""
    hide_gpus(device)
    sha256 = model_sha256(path)
    place = device_of(device)
    loaded = _loaded(path)
    if model_sha256(path) != sha256:
        raise ModelError(f"{path}: the files were changed while they were being read; run the command again.")
    signature = _signature(loaded, path)
    if not hasattr(signature, "captured_inputs"):
        raise ModelError(f"{path}: its signature names a function that is not in the file: save the model again.")
    captured = {id(h): v for h in signature.captured_inputs for v in signature.variables if v.handle is h}
    trainable = {key: v for key, v in captured.items() if v.trainable and v.dtype.is_floating}
    names = variable_names(loaded, trainable)
    return model_of(
        Original(signature, loaded),
        {names[key]: Variable(key, variable) for key, variable in trainable.items()},
        path=path,
        sha256=sha256,
        device=place,
        dtype=dtype,
        why_no_layers=(
            f"{path}: the signature has no trainable variables: the model was saved without them, or frozen.\n"
            "Save it with model.export(PATH) or tf.saved_model.save(model, PATH)."
        ),
    )


def _loaded(path: Path) -> Any:
    try:
        with loadable(path) as folder, quiet_stderr():
            return tensorflow().saved_model.load(str(folder))
    except CurvcliError:
        raise
    except Exception as error:  # the loader raises nearly every class there is
        raise ModelError(f"{path}: the SavedModel can't be loaded: {first_line(error)}") from error


def _signature(loaded: Any, path: Path) -> Any:
    signatures = getattr(loaded, "signatures", {})
    if "serving_default" in signatures:
        return signatures["serving_default"]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    if not signatures:
        raise ModelError(
            f"{path}: the SavedModel has no signature.\n"
            "Save it with model.export(PATH), or pass signatures= to tf.saved_model.save."
        )
    raise ModelError(f"{path}: several signatures ({', '.join(signatures)}) and none called serving_default.")
