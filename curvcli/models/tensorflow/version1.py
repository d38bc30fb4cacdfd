"""Makes a function of a TensorFlow 1 graph whose variables are references: read in a session, then variables of today.

A graph of TensorFlow 1 may mix both kinds. What its signature needs is put into a function in which every variable is
a resource; the variables' values are those that the session restored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.sanitised import REFERENCES, Loadable

_HANDLES = frozenset({"VarHandleOp"})


@dataclass
class Session1:
    """A graph with the values of its variables.

    Attributes:
        graph_def: of all of it.
        signatures: name → what TensorFlow wrote of it.
        values: of the variables, by the names of their nodes.
        trainable: the names of those that were trained.
    """

    graph_def: Any
    signatures: Mapping[str, Any]
    values: dict[str, Any]
    trainable: frozenset[str]


def restored(loadable: Loadable) -> Session1:
    """Load a graph into a session, where its variables are restored from the checkpoint."""
    tf1 = tensorflow().compat.v1
    with tf1.Graph().as_default() as graph, tf1.Session(graph=graph) as session:
        meta = tf1.saved_model.loader.load(session, list(loadable.tags), str(loadable.folder))
        variables = {variable.op.name: variable for variable in tf1.global_variables()}
        trainable = frozenset(variable.op.name for variable in tf1.trainable_variables())
        values = session.run(variables)
        graph_def = graph.as_graph_def()
    return Session1(graph_def, dict(meta.signature_def), values, trainable)


def function_of(session: Session1, signature: str) -> tuple[Any, list[Any]]:
    """A signature as a concrete function of inputs by name, and the variables that it has, in the graph's order."""
    tf = tensorflow()
    entry = session.signatures[signature]
    outputs = {name: tensor_info.name for name, tensor_info in entry.outputs.items()}
    part = tf.compat.v1.graph_util.extract_sub_graph(session.graph_def, [source(t) for t in outputs.values()])
    variables: dict[str, Any] = {}
    for node in part.node:
        if node.op in REFERENCES | _HANDLES and node.name in session.values:
            trained = node.name in session.trainable
            variables[node.name] = tf.Variable(session.values[node.name], trainable=trained, name=node.name)
        if node.op in REFERENCES:
            dtype = node.attr["dtype"].type
            node.op = "Placeholder"
            node.ClearField("attr")
            node.attr["dtype"].type = dtype
    handles = {node.name for node in part.node if node.op in _HANDLES}
    present = {node.name for node in part.node}
    specs = {
        name: tf.TensorSpec(tf.TensorShape(tensor_info.tensor_shape), tf.as_dtype(tensor_info.dtype), name=name)
        for name, tensor_info in entry.inputs.items()
    }

    def serve(**inputs: Any) -> dict[str, Any]:
        fed = {
            tensor_info.name: inputs[name]
            for name, tensor_info in entry.inputs.items()
            if source(tensor_info.name) in present
        }
        for name, variable in variables.items():
            fed[f"{name}:0"] = variable.handle if name in handles else variable.read_value()
        made = tf.graph_util.import_graph_def(part, input_map=fed, return_elements=list(outputs.values()), name="")
        return dict(zip(outputs, (tf.identity(tensor) for tensor in made), strict=True))

    return tf.function(serve, autograph=False).get_concrete_function(**specs), list(variables.values())
