"""Builds SavedModels that would write a file if any part of them ran: used or not, on loading or computing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Build = Callable[[Any, str], Any]


def printing(tf: Any, target: str) -> Any:
    """tf.print into a file, in the served function."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            tf.print(x, output_stream=f"file://{target}")
            return x @ self.w

    return Model()


def saving(tf: Any, target: str) -> Any:
    """A checkpoint written by the served function."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            saved = tf.raw_ops.SaveV2(prefix=target, tensor_names=["x"], shape_and_slices=[""], tensors=[x])
            with tf.control_dependencies([saved]):
                return x @ self.w

    return Model()


def in_a_loop(tf: Any, target: str) -> Any:
    """A file written by the body of a loop."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            def body(i: Any, h: Any) -> Any:
                tf.io.write_file(target, tf.io.serialize_tensor(h))
                return i + 1, h * 0.5

            _, h = tf.while_loop(lambda i, h: i < 2, body, [tf.constant(0), x])
            return h @ self.w

    return Model()


def unused(tf: Any, target: str) -> Any:
    """A file written by a function that no signature calls."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def other(self, x: Any) -> Any:
            tf.io.write_file(target, "written")
            return x

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            return x @ self.w

    return Model()


def merging(tf: Any, target: str) -> Any:
    """Checkpoints merged, and so removed, by the served function."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[f"{target}-part"], destination_prefix=target)
            return x @ self.w

    return Model()


def data_set(tf: Any, target: str) -> Any:
    """A data set whose cache is a file, read by the served function."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            total = tf.constant(0.0)
            for value in tf.data.Dataset.range(2).cache(target):
                total += tf.cast(value, tf.float32)
            return x @ self.w + total

    return Model()


def summary(tf: Any, target: str) -> Any:
    """A summary writer, made when the model is loaded."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            writer = tf.raw_ops.SummaryWriter(shared_name="w", container="")
            tf.raw_ops.CreateSummaryFileWriter(
                writer=writer, logdir=target, max_queue=1, flush_millis=1, filename_suffix=".x"
            )
            return x @ self.w

    return Model()


def initialiser(tf: Any, target: str) -> Any:
    """A resource whose initialiser writes: loading alone runs it."""
    from tensorflow.python.trackable.resource import TrackableResource

    class Table(TrackableResource):
        @tf.function(input_signature=[])
        def _create_resource(self) -> Any:
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="made")

        @tf.function(input_signature=[])
        def _initialize(self) -> Any:
            tf.io.write_file(target, "written")
            return tf.constant(1.0)

        @tf.function(input_signature=[])
        def _destroy_resource(self) -> Any:
            return tf.constant(1.0)

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")
            self.table = Table()
            _ = self.table.resource_handle

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            return x @ self.w

    return Model()


def gradient(tf: Any, target: str) -> Any:
    """A file written when the model is differentiated."""

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            @tf.custom_gradient
            def twice(h: Any) -> Any:
                def backward(upstream: Any) -> Any:
                    tf.io.write_file(target, "written")
                    return 2 * upstream

                return 2 * h, backward

            return twice(x @ self.w)

    return Model()


BUILDS: dict[str, Build] = {
    build.__name__: build
    for build in (printing, saving, in_a_loop, unused, merging, data_set, summary, initialiser, gradient)
}


def save(name: str, target: str, folder: Path) -> Path:
    """Build one of them that would write to `target`."""
    import tensorflow as tf

    model = BUILDS[name](tf, target)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(model, str(folder / "m"), signatures={"serving_default": model.serve}, options=options)
    return folder / "m"
