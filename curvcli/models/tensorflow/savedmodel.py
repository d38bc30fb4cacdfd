"""Opens a signature of a TensorFlow SavedModel: layers by variable name, weights as plain tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curvcli.errors import CurvcliError, ModelError, UsageError
from curvcli.models.choice import Choice
from curvcli.models.digest import model_sha256
from curvcli.models.model import Model
from curvcli.models.tensorflow.concrete import Variable, first_line, model_of
from curvcli.models.tensorflow.forward import Original
from curvcli.models.tensorflow.names import unique_names, variable_names
from curvcli.models.tensorflow.runtime import device_of, quiet_stderr, tensorflow
from curvcli.models.tensorflow.sanitised import Loadable, loadable
from curvcli.models.tensorflow.version1 import function_of, restored
from curvcli.wording import option

_CONVENTION: Final = "serving_default"
_NO_CHOICE: Final = Choice()


@dataclass(frozen=True)
class _Read:
    """A signature, read.

    Attributes:
        function: concrete.
        owner: holds its variables.
        variables: by name.
        part: see ``model.Model``.
    """

    function: Any
    owner: Any
    variables: dict[str, Variable]
    part: dict[str, str]


def opened(path: Path, *, device: str, dtype: str, choice: Choice = _NO_CHOICE) -> Model:
    """Load a directory and flatten its signature; see ``open.Opener``."""
    sha256 = model_sha256(path)
    place = device_of(device)
    read = _read(path, choice)
    if model_sha256(path) != sha256:
        raise ModelError(f"{path}: the files were changed while they were being read; run the command again.")
    return model_of(
        Original(read.function, read.owner),
        read.variables,
        path=path,
        sha256=sha256,
        device=place,
        dtype=dtype,
        why_no_layers=(
            f"{path}: the signature has no trainable variables: the model was saved without them, or frozen.\n"
            "Save it with model.export(PATH) or tf.saved_model.save(model, PATH)."
        ),
        part=read.part,
    )


def _read(path: Path, choice: Choice) -> _Read:
    try:
        with loadable(path, choice.tag_set) as files, quiet_stderr():
            part = {} if files.alone else {"tag_set": ",".join(files.tags)}
            return (_of_version1 if files.references else _of_version2)(files, choice.signature, path, part)
    except CurvcliError:
        raise
    except Exception as error:  # the loader raises nearly every class there is
        raise ModelError(f"{path}: the SavedModel can't be loaded: {first_line(error)}") from error


def _of_version2(files: Loadable, wanted: str | None, path: Path, part: dict[str, str]) -> _Read:
    loaded = tensorflow().saved_model.load(str(files.folder))
    signatures = getattr(loaded, "signatures", {})
    name = _signature(signatures, wanted, path, part)
    signature = signatures[name]
    if not hasattr(signature, "captured_inputs"):
        raise ModelError(f"{path}: its signature names a function that is not in the file: save the model again.")
    captured = {id(h): v for h in signature.captured_inputs for v in signature.variables if v.handle is h}
    trainable = {key: v for key, v in captured.items() if v.trainable and v.dtype.is_floating}
    names = variable_names(loaded, signature, trainable)
    return _Read(signature, loaded, {names[key]: Variable(key, v) for key, v in trainable.items()}, part)


def _of_version1(files: Loadable, wanted: str | None, path: Path, part: dict[str, str]) -> _Read:
    session = restored(files)
    name = _signature([one for one in session.signatures if not one.startswith("__")], wanted, path, part)
    function, variables = function_of(session, name)
    trainable = [v for v in variables if v.trainable and v.dtype.is_floating]
    names = unique_names(v.name.split(":")[0] for v in trainable)
    chosen = {one: Variable(id(v.handle), v) for one, v in zip(names, trainable, strict=True)}
    return _Read(function, variables, chosen, part)


def _signature(names: Iterable[str], wanted: str | None, path: Path, part: dict[str, str]) -> str:
    """The signature that is wanted, which becomes part of ``part`` where there are several."""
    names = sorted(names)
    told = ", ".join(names[:20])[:400]
    if not names:
        raise ModelError(
            f"{path}: the SavedModel has no signature.\n"
            "Save it with model.export(PATH), or pass signatures= to tf.saved_model.save."
        )
    if wanted is not None and wanted not in names:
        raise UsageError(f"{option('signature', wanted)}: {path} has no such signature; it has: {told}.")
    if wanted is None and len(names) > 1 and _CONVENTION not in names:
        raise UsageError(f"{path} has several signatures: choose one, {option('signature')}: {told}.")
    name = wanted or (_CONVENTION if _CONVENTION in names else names[0])
    if len(names) > 1:
        part["signature"] = name
    return name
