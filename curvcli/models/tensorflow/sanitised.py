"""Reads a SavedModel's graph before TensorFlow does: refuses what reaches beyond memory, takes out what need not run.

TensorFlow runs much of a file when it loads one: initialisers, functions that restore objects, gradients. So every
function is looked at, used or not, and what remains to be loaded is the signatures, what they call, and the variables.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from curvcli.errors import ModelError, UsageError
from curvcli.files import check_room
from curvcli.models.tensorflow.allowed import ALLOWED, OF_THE_SAVER
from curvcli.models.tensorflow.nodes import called, source
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.wording import option

REFERENCES = frozenset({"Variable", "VariableV2"})
_RESTORING = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
# What a saver makes of what it has restored.
_ASSIGNING = frozenset({"Assign", "AssignVariableOp", "Identity", "NoOp"})
_WRITING = frozenset({"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"})
# What a graph of TensorFlow 1 says of itself and is needed: its variables and its control flow, no initialisers.
_COLLECTIONS = frozenset("variables trainable_variables model_variables while_context cond_context".split())
# Ten times what the largest networks have.
_MOST_OPERATIONS = 5_000_000
_LOGS = frozenset({b"stderr", b"log(info)", b"log(warning)", b"log(error)"})
# Objects that bring functions which loading would run: tables and files with their initialisers.
_RUN_ON_LOADING = frozenset({"resource", "asset"})


@dataclass(frozen=True)
class Loadable:
    """What of a SavedModel may be loaded.

    Attributes:
        folder: a directory with it.
        tags: of its one graph.
        alone: whether the file has no other graph.
        references: whether its variables are those of TensorFlow 1 that functions can't have.
    """

    folder: Path
    tags: tuple[str, ...]
    alone: bool
    references: bool


@contextmanager
def loadable(path: Path, tag_set: str | None) -> Iterator[Loadable]:
    """What of a SavedModel may be loaded, in a directory that is gone afterwards.

    Args:
        path: of the SavedModel.
        tag_set: of the graph that is wanted, if there are several.

    Raises:
        ModelError: the file is damaged, or has an operation that is not on the list; nothing in it has run.
        UsageError: it has no graph of these tags, or several and none is chosen.
    """
    proto = _parsed(path)
    tag_sets = [tuple(meta.meta_info_def.tags) for meta in proto.meta_graphs]
    chosen = _chosen(tag_sets, tag_set, path)
    del proto.meta_graphs[chosen + 1 :]
    del proto.meta_graphs[:chosen]
    (meta,) = proto.meta_graphs
    _refuse(meta, path)
    _refuse_explosions(meta, path)
    _uncompiled(meta)
    if meta.HasField("object_graph_def"):
        _keep_signatures(meta)
    else:
        _drop_saving(meta, path)
    with tempfile.TemporaryDirectory(prefix="curvcli-model-") as folder:
        (Path(folder) / "saved_model.pb").write_bytes(proto.SerializeToString())
        if (path / "variables").is_dir():
            (Path(folder) / "variables").symlink_to((path / "variables").resolve(), target_is_directory=True)
        references = any(node.op in REFERENCES for node in meta.graph_def.node)
        yield Loadable(Path(folder), tag_sets[chosen], len(tag_sets) == 1, references)


def _chosen(tag_sets: Sequence[tuple[str, ...]], wanted: str | None, path: Path) -> int:
    """The place of the graph that is wanted."""
    sets = [frozenset(tags) for tags in tag_sets]
    told = "; ".join(",".join(tags) for tags in tag_sets[:20])[:400]
    if wanted is not None:
        tags = frozenset(tag.strip() for tag in wanted.split(","))
        if tags not in sets:
            raise UsageError(f"{option('tag_set', wanted)}: {path} has no graph of these tags; it has: {told}.")
        return sets.index(tags)
    if len(sets) > 1 and frozenset({"serve"}) not in sets:
        raise UsageError(f"{path} has several graphs: choose one by its tags, {option('tag_set')}: {told}.")
    return sets.index(frozenset({"serve"})) if len(sets) > 1 else 0


def _parsed(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelError(f"{path}: saved_model.pb is damaged or truncated: save the model again.") from error
    if not proto.meta_graphs:
        raise ModelError(f"{path}: saved_model.pb holds no graph: save the model again.")
    return proto


# -- looking at every operation ---------------------------------------------------------------------------------------


def _refuse(meta: Any, path: Path) -> None:
    """Raise a ModelError if any operation anywhere in the graph is not on the list."""
    from tensorflow.python.framework import op_def_registry

    library = {function.signature.name: function for function in meta.graph_def.library.function}
    disguised = sorted(name for name in library if op_def_registry.get(name) is not None)
    if disguised:
        raise ModelError(f"{path}: a function in it has the name of an operation ({disguised[0][:60]}).")
    saver = _functions_of_the_saver(meta, library)
    refused: set[str] = set()
    for name, nodes in _bodies(meta):
        allowed = ALLOWED | OF_THE_SAVER if name is None or name in saver else ALLOWED
        refused |= {node.op for node in nodes if not (node.op in allowed or node.op in library or _prints_to_log(node))}
    if "XlaCallModule" in refused:
        raise ModelError(
            f"{path}: its network is one XlaCallModule, compiled by JAX, which has no second derivative.\n"
            "Export it from Keras's TensorFlow backend: KERAS_BACKEND=tensorflow; or from its torch backend as .pt2."
        )
    if refused:
        told = ", ".join(sorted(refused)[:5])
        raise ModelError(
            f"{path}: the graph contains {told[:200]}, which curvcli does not run: it may touch files, the network or "
            "Python.\nExport the network alone, without its input pipeline."
        )


def _refuse_explosions(meta: Any, path: Path) -> None:
    """Raise a ModelError if a small file would take a large memory: constants by their shape, functions that double."""
    held = 0
    for _, nodes in _bodies(meta):
        for node in nodes:
            tensor = node.attr["value"].tensor if node.op == "Const" else None
            if tensor is not None and not tensor.tensor_shape.unknown_rank:
                held += prod(max(0, d.size) for d in tensor.tensor_shape.dim) * _item_size(tensor.dtype)
    check_room(held, f"{path}: the constants in its graph", error=ModelError)
    library = {function.signature.name: function for function in meta.graph_def.library.function}
    sizes: dict[str, int] = {}
    for name in library:
        _inlined_size(name, library, sizes, path)
    if max(sizes.values(), default=0) > _MOST_OPERATIONS:
        raise ModelError(
            f"{path}: written out, its functions have more than {_MOST_OPERATIONS:,} operations; export it again."
        )


def _item_size(dtype: int) -> int:
    try:
        return int(tensorflow().as_dtype(dtype).size)
    except TypeError:
        return 1  # no type there is; loading will say so


def _inlined_size(start: str, library: dict[str, Any], sizes: dict[str, int], path: Path) -> None:
    """Fill in how many operations a function has with all that it calls written out; without recursion of our own.

    Raises:
        ModelError: it calls itself.
    """
    waiting, above = [start], set[str]()
    while waiting:
        name = waiting[-1]
        if name in sizes:
            waiting.pop()
            continue
        inner = [other for node in library[name].node_def for other in called(node) if other in library]
        unknown = {other for other in inner if other not in sizes}
        if not unknown:
            sizes[name] = len(library[name].node_def) + sum(sizes[other] for other in inner)
            above.discard(waiting.pop())
        elif unknown & (above | {name}):
            raise ModelError(f"{path}: a function of it calls itself ({name[:60]}); export the model again.")
        else:
            above.add(name)
            waiting += unknown


def _bodies(meta: Any) -> Iterator[tuple[str | None, Iterable[Any]]]:
    """The nodes of the graph itself, called None, and those of every function."""
    yield None, meta.graph_def.node
    for function in meta.graph_def.library.function:
        yield function.signature.name, function.node_def


def _prints_to_log(node: Any) -> bool:
    """Whether an operation prints, and not to a file."""
    return node.op == "Print" or (node.op == "PrintV2" and node.attr["output_stream"].s in _LOGS)


def _functions_of_the_saver(meta: Any, library: dict[str, Any]) -> set[str]:
    """The functions that save and restore the checkpoint: called by the graph itself, and by no object."""
    if not meta.HasField("object_graph_def"):
        return set()
    roots = [name for node in meta.graph_def.node for name in called(node)]
    return _closure(roots, library) - _closure(meta.object_graph_def.concrete_functions, library)


def _closure(roots: Iterable[str], library: dict[str, Any]) -> set[str]:
    """All functions that these call, themselves included."""
    names: set[str] = set()
    waiting = [name for name in roots if name in library]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += [other for node in library[name].node_def for other in called(node) if other in library]
    return names


# -- taking out what need not run -------------------------------------------------------------------------------------


def _keep_signatures(meta: Any) -> None:
    """Leave the variables, the signatures, and the functions these call (their gradients too)."""
    graph, objects = meta.graph_def, meta.object_graph_def
    library = {function.signature.name: function for function in graph.library.function}
    signatures = {
        objects.nodes[child.node_id].bare_concrete_function.concrete_function_name
        for node in objects.nodes
        if node.user_object.identifier == "signature_map"
        for child in node.children
        if child.node_id < len(objects.nodes)
    }
    gradients = {g.registered_op_type: g.gradient_func for g in graph.library.registered_gradients}
    kept = _closure(signatures, library)
    tables = _captured_resources(objects, kept)
    kept |= _closure((name for table in tables for name in _own_functions(objects, table)), library)
    while more := {gradients[kind] for name in kept for kind in _gradient_kinds(library[name]) if kind in gradients}:
        if more <= kept:
            break
        kept |= _closure(more, library)
    for repeated, wanted in (
        (graph.library.function, lambda one: one.signature.name in kept),
        (graph.library.gradient, lambda one: one.function_name in kept and one.gradient_func in kept),
        (graph.library.registered_gradients, lambda one: one.gradient_func in kept),
        (graph.node, lambda node: node.op == "Const"),  # objects of the kind "constant" are looked up here
    ):
        remaining = [one for one in repeated if wanted(one)]
        del repeated[:]
        repeated.extend(remaining)
    meta.meta_info_def.function_aliases.clear()
    for name in [name for name in objects.concrete_functions if name not in kept]:
        del objects.concrete_functions[name]
    for number, node in enumerate(objects.nodes):
        node.saveable_objects.clear()
        node.registered_saver = ""
        _without_functions(node, kept, needed=number in tables)


def _uncompiled(meta: Any) -> None:
    """Take out what would have functions compiled by XLA, whose second derivative of max pooling is wrong."""
    for _, nodes in _bodies(meta):
        for node in nodes:
            node.attr.pop("_XlaMustCompile", None)
    for function in meta.graph_def.library.function:
        function.attr.pop("_XlaMustCompile", None)


def _captured_resources(objects: Any, kept: set[str]) -> set[int]:
    """The tables that the signatures look things up in; what fills them computes in memory like all else."""
    captured = {
        i for name in kept & set(objects.concrete_functions) for i in objects.concrete_functions[name].bound_inputs
    }
    return {i for i in captured if i < len(objects.nodes) and objects.nodes[i].WhichOneof("kind") == "resource"}


def _own_functions(objects: Any, number: int) -> Iterator[str]:
    """Those of an object's functions that have been traced."""
    for child in objects.nodes[number].children:
        if child.node_id < len(objects.nodes):
            yield from objects.nodes[child.node_id].function.concrete_functions


def _gradient_kinds(function: Any) -> Iterator[str]:
    for node in function.node_def:
        kind = node.attr["_gradient_op_type"].s if "_gradient_op_type" in node.attr else b""
        if kind:
            yield kind.decode(errors="replace")


def _without_functions(node: Any, kept: set[str], *, needed: bool) -> None:
    """Make an object's functions those that are kept, and an object that loading would run a plain one."""
    kind = node.WhichOneof("kind")
    if kind == "function":
        remaining = [name for name in node.function.concrete_functions if name in kept]
        del node.function.concrete_functions[:]
        node.function.concrete_functions.extend(remaining)
    dropped = kind == "bare_concrete_function" and node.bare_concrete_function.concrete_function_name not in kept
    dropped = dropped or (kind == "captured_tensor" and node.captured_tensor.concrete_function not in kept)
    if dropped or (kind in _RUN_ON_LOADING and not needed):
        node.user_object.identifier = "_generic_user_object"  # setting one kind clears the other
        node.user_object.version.producer = 1
        node.registered_name = ""


def _drop_saving(meta: Any, path: Path) -> None:
    """In a graph of TensorFlow 1, take out what saves, and leave nothing to be initialised but variables.

    A graph that was saved several times has a saver for each.

    Raises:
        ModelError: it reads another checkpoint than its own, other than into variables.
    """
    graph, saver = meta.graph_def, meta.saver_def
    checkpoint = source(saver.filename_tensor_name)
    foreign = {
        n.name for n in graph.node if n.op in _RESTORING and (not checkpoint or source(n.input[0]) != checkpoint)
    }
    restoring = _with_dependents(foreign, graph)
    others = {node.op for node in graph.node if node.name in restoring - foreign}
    if foreign and (others - _ASSIGNING or not others & {"Assign", "AssignVariableOp"}):
        raise ModelError(f"{path}: its graph restores another checkpoint than its own; export the model again.")
    dropped = restoring | _with_dependents({node.name for node in graph.node if node.op in _WRITING}, graph)
    remaining = [node for node in graph.node if node.name not in dropped]
    del graph.node[:]
    graph.node.extend(remaining)
    for name in [name for name in meta.collection_def if name not in _COLLECTIONS]:
        del meta.collection_def[name]
    meta.signature_def.pop("__saved_model_init_op", None)
    del meta.asset_file_def[:]


def _with_dependents(names: set[str], graph: Any) -> set[str]:
    """These nodes, and all that read them or wait for them."""
    dependents = set(names)
    while more := {n.name for n in graph.node if n.name not in dependents and dependents & set(map(source, n.input))}:
        dependents |= more
    return dependents
