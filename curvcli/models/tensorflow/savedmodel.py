"""Opens a TensorFlow SavedModel through its serving signature: layers by variable name, weights as plain tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from curvcli.data.interface import Samples
from curvcli.errors import CurvcliError, ModelError, UsageError
from curvcli.models.base import Array, Layer, Parameter, Port, as_float64
from curvcli.models.digest import model_sha256
from curvcli.models.memory import available_processors
from curvcli.models.tensorflow.flatten import flatten, float32_only, register_functions, widen
from curvcli.models.tensorflow.graph import GraphReader
from curvcli.models.tensorflow.objective import TensorFlowObjective
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.runtime import quiet_stderr, tensorflow
from curvcli.models.tensorflow.sanitised import loadable
from curvcli.spec.loss import LossSpec
from curvcli.wording import option

_KINDS = {
    "Conv2D": "Conv2D",
    "Conv3D": "Conv3D",
    "DepthwiseConv2dNative": "DepthwiseConv2D",
    "Conv2DBackpropInput": "Conv2DTranspose",
    "MatMul": "Dense",
    "BatchMatMulV2": "Dense",
    "BatchMatMulV3": "Dense",
    "Einsum": "Dense",
    "GatherV2": "Embedding",
    "ResourceGather": "Embedding",
}


class SavedModel:
    """A loaded SavedModel (see ``base.Model``); on one device, in one dtype."""

    backend = "tensorflow"

    def __init__(self, path: Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        """Load ``path`` and flatten its signature.

        Raises:
            ModelError: the directory holds no usable SavedModel.
            UsageError: the device is not there.
        """
        tf = tensorflow()
        self.path, self.sha256 = path, model_sha256(path)
        self._device = _device(device)
        self._dtype = tf.dtypes.as_dtype(dtype)
        try:
            with loadable(path) as folder, quiet_stderr():
                loaded = tf.saved_model.load(str(folder))
        except CurvcliError:
            raise
        except Exception as error:  # the loader raises nearly every class there is
            raise ModelError(f"{path}: the SavedModel can't be loaded: {_first_line(error)}") from error
        if model_sha256(path) != self.sha256:
            raise ModelError(f"{path}: the files were changed while they were being read; run the command again.")
        signature = _signature(loaded, path)
        if not hasattr(signature, "captured_inputs"):
            raise ModelError(f"{path}: its signature names a function that is not in the file: save the model again.")
        # The function as it was saved; what holds its variables has to live as long.
        self._original: Any = (loaded, signature)
        captured = {id(h): v for h in signature.captured_inputs for v in signature.variables if v.handle is h}
        trainable = {key: v for key, v in captured.items() if v.trainable and v.dtype.is_floating}
        names = _names(loaded, trainable)
        try:
            with quiet_stderr():
                self._flat = flatten(signature, names)
        except (tf.errors.OpError, ValueError, TypeError, LookupError) as error:
            raise ModelError(f"{path}: its signature can't be made one graph: {_first_line(error)}") from error
        if dtype == "float64":
            narrow = float32_only(self._flat.graph_def)
            if narrow is not None:
                raise ModelError(
                    f"{path}: TensorFlow has its operation {readable(narrow)} in float32 only, so the model can be "
                    "neither computed in float64 nor checked."
                )
            widen(self._flat.graph_def)
        register_functions(self._flat.graph_def)
        with tf.device(self._device):
            self._weights = {
                names[key]: tf.cast(v, self._dtype) for key, v in trainable.items() if names[key] in self._flat.weights
            }
        reader = GraphReader(self._flat)
        shapes = {names[key]: tuple(int(n) for n in v.shape) for key, v in trainable.items()}
        self._unused = {n: as_float64(v) for k, v in trainable.items() if (n := names[k]) not in self._weights}
        self.layers = tuple(_layers(shapes, reader))
        keyword = signature.structured_input_signature[1]
        self.inputs = tuple(Port(n, _dimensions(keyword[n]), keyword[n].dtype.name) for n in sorted(keyword))
        returned = signature.structured_outputs
        self.outputs = tuple(Port(n, _dimensions(returned[n]), returned[n].dtype.name) for n in sorted(returned))

    @property
    def threads(self) -> int:
        tf = tensorflow()
        own = tf.config.threading.get_intra_op_parallelism_threads()
        return int(own or os.environ.get("TF_NUM_INTRAOP_THREADS") or available_processors())

    @property
    def why_no_layers(self) -> str:
        """What to tell who asks for layers of a model without any."""
        return (
            f"{self.path}: the signature has no trainable variables: the model was saved without them, or frozen.\n"
            "Save it with model.export(PATH) or tf.saved_model.save(model, PATH)."
        )

    def precise(self) -> SavedModel:
        """The same model in float64, from what was read.

        Raises:
            ModelError: TensorFlow has one of its operations in float32 only.
        """
        tf, found = tensorflow(), object.__new__(SavedModel)
        graph_def = type(self._flat.graph_def)()
        graph_def.CopyFrom(self._flat.graph_def)
        if float32_only(graph_def) is not None:
            raise ModelError(f"{self.path}: an operation that TensorFlow has in float32 only.")
        if self._dtype != tf.float64:
            widen(graph_def)
            register_functions(graph_def)
        found.__dict__.update(self.__dict__)
        found._original = None
        found._flat, found._dtype = replace(self._flat, graph_def=graph_def), tf.float64
        with tf.device(self._device):
            found._weights = {name: tf.cast(value, tf.float64) for name, value in self._weights.items()}
        return found

    def values(self, parameter: str) -> Array:
        return self._unused[parameter] if parameter in self._unused else as_float64(self._weights[parameter])

    def objective(
        self,
        samples: Samples,
        loss: LossSpec,
        *,
        output: str | None = None,
        batch_size: int = 64,
        target_column: str = "target",
    ) -> TensorFlowObjective:
        """The loss over ``samples`` as a function of the parameters.

        Raises:
            ModelError: the signature reads something besides its inputs and variables.
        """
        if set(self._flat.inputs) - {port.name for port in self.inputs}:
            raise ModelError(
                f"{self.path}: its signature looks values up in a table, which can't be written out for derivatives.\n"
                "Export the network from after the lookup (StringLookup, IntegerLookup)."
            )
        # Once per opened model: what was the same on one batch of data is the same function.
        original, self._original = self._original, None
        return TensorFlowObjective(
            self._flat,
            self._weights,
            samples,
            loss,
            output=output,
            batch_size=batch_size,
            target_column=target_column,
            device=self._device,
            dtype=self._dtype,
            where=str(self.path),
            original=None if original is None else original[1],
        )


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _device(name: str) -> str:
    tf = tensorflow()
    if name == "cpu":
        return "/CPU:0"
    kind, _, number = name.partition(":")
    wanted = {"cuda": "GPU", "gpu": "GPU"}.get(kind, kind.upper())
    devices = tf.config.list_physical_devices(wanted)
    if len(devices) <= int(number or 0):
        raise UsageError(
            f"{option('device', name)}: TensorFlow sees {len(devices)} such devices here; "
            f"use {option('device', 'cpu')}."
        )
    return f"/{wanted}:{number or 0}"


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


def _names(loaded: Any, variables: dict[int, Any]) -> dict[int, str]:
    """A name for every variable: its own, or where names repeat or say nothing, its place in the saved object."""
    own = {key: str(v.name).split(":")[0] for key, v in variables.items()}
    counts: dict[str, int] = {}
    for name in own.values():
        counts[name] = counts.get(name, 0) + 1
    if all(n == 1 for n in counts.values()):
        return own
    places = _object_paths(loaded, {id(v.handle): key for key, v in variables.items()})
    names: dict[int, str] = {}
    for key, name in own.items():
        chosen = name if counts[name] == 1 else places.get(key, name)
        taken = sum(1 for n in names.values() if n == chosen or n.startswith(f"{chosen}_"))
        names[key] = f"{chosen}_{taken}" if chosen in names.values() else chosen
    return names


def _object_paths(loaded: Any, handles: dict[int, int]) -> dict[int, str]:
    """The shortest attribute path to each variable, breadth first."""
    found: dict[int, str] = {}
    seen: set[int] = set()
    queue: list[tuple[Any, tuple[str, ...]]] = [(loaded, ())]
    while queue:
        node, place = queue.pop(0)
        if id(node) in seen or not hasattr(node, "_trackable_children"):
            continue
        seen.add(id(node))
        for name, child in node._trackable_children().items():
            if name == "signatures" or name.startswith("_all_variables"):
                continue
            handle = getattr(child, "handle", None)
            key = handles.get(id(handle)) if handle is not None else None
            if key is not None and key not in found:
                found[key] = "/".join((*place, name))
            queue.append((child, (*place, name)))
    return found


def _dimensions(spec: Any) -> tuple[int | None, ...] | None:
    return None if spec.shape.rank is None else tuple(spec.shape.as_list())


def _layers(shapes: dict[str, tuple[int, ...]], reader: GraphReader) -> Iterator[Layer]:
    """Parameters grouped by all but the last part of their names; a bare name is a layer of its own."""
    groups: dict[str, list[str]] = {}
    for name in shapes:
        groups.setdefault(name.rpartition("/")[0] or name, []).append(name)
    everything = set(reader.nodes)
    for owner, names in groups.items():
        operations = []
        for name in names:
            entries = reader.entries(name, everything)
            met = entries if isinstance(entries, str) else next((reader.nodes[e.node].op for e in entries), "")
            operations.append(met)
        labels = {n.rpartition("/")[2] for n in names}
        kind = next((_KINDS[op] for op in operations if op in _KINDS), None)
        if kind is None:
            inside_loop = any("used inside" in op for op in operations)
            kind = "Recurrent" if inside_loop else "Normalization" if labels & {"gamma", "beta"} else "Parameter"
        found = [Parameter(n, n.rpartition("/")[2], shapes[n], _axes(kind, len(shapes[n]))) for n in names]
        yield Layer(owner, kind, tuple(found))


def _axes(kind: str, ndim: int) -> tuple[str, ...]:
    if ndim == 1:
        return ("feature",) if kind in ("Normalization", "Parameter") else ("out",)
    known = {
        ("Conv2D", 4): ("kernel_h", "kernel_w", "in", "out"),
        ("Conv2D", 3): ("kernel", "in", "out"),
        ("Conv3D", 5): ("kernel_d", "kernel_h", "kernel_w", "in", "out"),
        ("DepthwiseConv2D", 4): ("kernel_h", "kernel_w", "in", "multiplier"),
        ("Conv2DTranspose", 4): ("kernel_h", "kernel_w", "out", "in"),
        ("Dense", 2): ("in", "out"),
        ("Recurrent", 2): ("in", "gates"),
        ("Embedding", 2): ("token", "feature"),
    }
    return known.get((kind, ndim), tuple(f"axis_{i}" for i in range(ndim)))
