"""Opens a ``.keras`` file of Keras's own building blocks: layers by the paths of their variables."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from curvcli.errors import CurvcliError, ModelError
from curvcli.models.model import Model
from curvcli.models.tensorflow.concrete import Variable, first_line, model_of
from curvcli.models.tensorflow.forward import Original
from curvcli.models.tensorflow.keras_archive import KerasArchive, read_keras
from curvcli.models.tensorflow.keras_config import operations
from curvcli.models.tensorflow.names import unique_names
from curvcli.models.tensorflow.runtime import device_of, keras_on_tensorflow, quiet_stderr, tensorflow

# Where Keras keeps the next numbers of names.
_NUMBERS: Final = "object_name_uids"


def opened(path: Path, *, device: str, dtype: str) -> Model:
    """Load a file and trace its model; see ``open.Opener``."""
    archive = read_keras(path)
    place = device_of(device)
    keras = _keras(path)
    try:
        with quiet_stderr():
            network = _loaded(keras, archive, path)
            function = _traced(keras, network, path)
    except CurvcliError:
        raise
    except Exception as error:  # Keras raises nearly every class there is
        raise ModelError(f"{path}: the Keras file can't be loaded: {first_line(error)}") from error
    trained = {id(v) for v in network.trainable_variables}
    # Frozen layers have parameters too; what a batch norm averages is none. Only a change of the flag reaches layers.
    network.trainable = False
    network.trainable = True
    variables = [v for v in network.trainable_variables if tensorflow().as_dtype(v.dtype).is_floating]
    return model_of(
        Original(function, network),
        {
            name: Variable(id(v.value.handle), v.value, trained=not trained or id(v) in trained)
            for name, v in zip(unique_names([v.path for v in variables]), variables, strict=True)
        },
        path=path,
        sha256=archive.sha256,
        device=place,
        dtype=dtype,
        why_no_layers=f"{path}: the model has no weights that can be trained.",
    )


def _keras(path: Path) -> Any:
    """Keras on TensorFlow; what was imported on another backend before stays there."""
    tensorflow()
    with quiet_stderr(), keras_on_tensorflow():
        import keras
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"{path}: Keras was imported with the backend {keras.backend.backend()}, and TensorFlow is needed.\n"
            "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    return keras


def _loaded(keras: Any, archive: KerasArchive, path: Path) -> Any:
    for module, name in operations(archive.config):
        operation = getattr(sys.modules.get(module), name, None)
        if not (
            isinstance(operation, type) and issubclass(operation, keras.Operation) and operation.__module__ == module
        ):
            raise ModelError(f"{path}: it contains {module[:60]}.{name[:60]}, which is no operation of Keras.")
    with _fresh_names(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they are about is refused below
        return _filled(keras, archive, path)


@contextmanager
def _fresh_names() -> Iterator[None]:
    """Within it, Keras numbers what has no name from the beginning, whatever was made before in the process."""
    from keras.src.backend.common import global_state

    used = global_state.get_global_attribute(_NUMBERS)
    global_state.set_global_attribute(_NUMBERS, defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_NUMBERS, used if used is not None else defaultdict(int))


def _filled(keras: Any, archive: KerasArchive, path: Path) -> Any:
    # Within the scope variables have shapes and no values yet: what a few bytes can ask for is not allocated.
    with ExitStack() as stack, keras.StatelessScope(initialize_variables=False) as scope:
        stack.callback(keras.utils.clear_session)
        network = keras.saving.deserialize_keras_object(archive.config, custom_objects={}, safe_mode=True)
        if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
            raise ModelError(
                f"{path}: the model was saved before it knew the shape of its inputs.\n"
                "Call it once, or begin it with keras.Input, and save it again."
            )
        # States of random number generators are not saved.
        if sum(prod(map(int, v.shape)) for v in network.variables if "float" in v.dtype) > archive.numbers:
            raise ModelError(f"{path}: its layers have more weights than the file holds; save the model again.")
        scope.initialize_variables = True
        stack.pop_all()
    numbers = [v for v in network.variables if "float" in v.dtype]
    for variable in numbers:
        variable.assign(np.broadcast_to(np.float32(np.nan), variable.shape))
    with tempfile.TemporaryDirectory(prefix="curvcli-model-") as folder:
        weights = Path(folder) / "model.weights.h5"
        weights.write_bytes(archive.weights)
        try:
            network.load_weights(str(weights))
        except ValueError as error:
            raise ModelError(f"{path}: {_reason(str(error))}; save the model again.") from error
    # Keras passes over what it can't find of layers within lists.
    for variable in numbers:
        values = np.asarray(variable.value, dtype=np.float64)
        if values.size and np.isnan(values).all():
            raise ModelError(f"{path}: the file has no numbers for {variable.path[:80]}; save the model again.")
    return network


def _reason(told: str) -> str:
    """Keras's own reason among its many lines: the one after an introduction, where there is one."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    line = lines[1] if len(lines) > 1 and lines[0].startswith("A total of") else lines[0] if lines else ""
    missing = "there is no " if line[:1] + line[-1:] == "''" else ""  # all that h5py says of a key
    return f"its weights don't fit its layers: {missing}{line[:200].rstrip('.')}"


def _traced(keras: Any, network: Any, path: Path) -> Any:
    """The model's inference as a function of its inputs by name, with outputs named as ``model.export`` names them."""
    tf = tensorflow()
    names = [tensor.name for tensor in network.inputs]
    if any(tensor.sparse or getattr(tensor, "ragged", False) for tensor in network.inputs):
        raise ModelError(f"{path}: an input of it is sparse or ragged: export it with dense inputs.")
    structure = network.inputs[0] if isinstance(network, keras.Sequential) else network.input

    def serve(**inputs: Any) -> dict[str, Any]:
        packed = keras.tree.pack_sequence_as(structure, [inputs[name] for name in names])
        returned = network(packed, training=False)
        if isinstance(returned, dict):
            return returned
        return {f"output_{i}": output for i, output in enumerate(keras.tree.flatten(returned))}

    specs = {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in network.inputs}
    return tf.function(serve, autograph=False).get_concrete_function(**specs)
