"""SavedModels: damaged bytes, and graphs edited node by node."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from .interface import Bases, Case
from .mutations import mutated

SAMPLE = Path(__file__).parents[2] / "sample_models" / "mlp_tanh"
# What may stand in the place of an operation.
OPERATIONS = """Relu Tanh Exp Identity NoOp WriteFile ReadFile PrintV2 SaveV2 RestoreV2 PyFunc RandomUniform Placeholder
MatMul Const Nothing PartitionedCall While Abort HashTableV2 Reshape Conv2D Fill Softmax ReadVariableOp""".split()


class SavedModels:
    """The model itself is what somebody else made."""

    name = "savedmodel"
    framework = "tensorflow"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        model = folder / "m"
        shutil.copytree(SAMPLE, model)
        shutil.copy(SAMPLE.parent / "digits.npz", folder / "digits.npz")
        kind = rng.choice(["bytes", "graph", "graph", "graph", "objects"])
        if kind == "bytes":
            path = rng.choice(sorted(one for one in model.rglob("*") if one.is_file()))
            data, told = mutated(rng, path.read_bytes())
            path.write_bytes(data)
            story = f"{path.relative_to(model)}: {told}"
        else:
            story = f"{kind}: {self._edited(rng, model / 'saved_model.pb', kind)}"
        if rng.random() < 0.5:
            return Case(["layers", "m"], {}, "", story)
        words = ["diag", "m", "--layer", "fc3", "--limit", "8", "-q", "--force", "-o", "out.h5"]
        return Case(words, {}, "out.h5", story)

    def _edited(self, rng: random.Random, path: Path, kind: str) -> str:
        from tensorflow.core.protobuf import saved_model_pb2

        proto = saved_model_pb2.SavedModel()
        proto.ParseFromString(path.read_bytes())
        meta = proto.meta_graphs[0]
        edit = self._graph if kind == "graph" else self._objects
        told = [edit(rng, meta) for _ in range(rng.randint(1, 3))]
        path.write_bytes(proto.SerializeToString())
        return ", ".join(told)

    def _graph(self, rng: random.Random, meta: Any) -> str:
        function = rng.choice(list(meta.graph_def.library.function))
        if not function.node_def:
            return "nothing"
        node = rng.choice(list(function.node_def))
        edit = rng.choice(["op", "input", "gone", "attribute", "shape", "name", "type", "function", "twice"])
        if edit == "op":
            node.op = rng.choice(OPERATIONS)
        elif edit == "input" and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(list(function.node_def)).name + ":output:0"
        elif edit == "gone":
            function.node_def.remove(node)
        elif edit == "attribute" and node.attr:
            del node.attr[rng.choice(sorted(node.attr))]
        elif edit == "shape":
            for value in node.attr.values():
                for shape in (value.shape, value.tensor.tensor_shape):
                    if shape.dim:
                        shape.dim[rng.randrange(len(shape.dim))].size = rng.choice([-1, 0, 1, 7, 10**6, 2**62])
        elif edit == "name":
            node.name = rng.choice(list(function.node_def)).name
        elif edit == "type":
            for value in node.attr.values():
                if value.WhichOneof("value") == "type":
                    value.type = rng.choice([0, 1, 2, 3, 7, 9, 20, 23, 99])
        elif edit == "function":
            function.signature.name = rng.choice(["", "other", "MatMul", "\x1b[31m"])
        elif edit == "twice":
            function.node_def.add().CopyFrom(node)
        return f"{edit} of {node.op}"

    def _objects(self, rng: random.Random, meta: Any) -> str:
        objects = meta.object_graph_def
        node = rng.choice(list(objects.nodes))
        edit = rng.choice(["child", "gone", "variable", "bound", "signature", "kind"])
        if edit == "child" and node.children:
            rng.choice(list(node.children)).node_id = rng.choice([0, 1, 10**6, 2**31 - 1])
        elif edit == "gone":
            objects.nodes.remove(node)
        elif edit == "variable":
            for one in objects.nodes:
                if one.WhichOneof("kind") == "variable" and one.variable.shape.dim:
                    one.variable.shape.dim[0].size = rng.choice([-1, 0, 3, 10**9, 2**62])
                    one.variable.dtype = rng.choice([1, 1, 2, 3, 99])
        elif edit == "bound":
            for function in objects.concrete_functions.values():
                if function.bound_inputs:
                    function.bound_inputs[0] = rng.choice([0, 5, 10**6])
        elif edit == "signature":
            for one in objects.nodes:
                if one.user_object.identifier == "signature_map":
                    del one.children[:]
        else:
            node.user_object.identifier = rng.choice(["optimizer", "_tf_keras_layer", "trackable_list_wrapper", ""])
        return edit
