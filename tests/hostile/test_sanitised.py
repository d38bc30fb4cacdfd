"""What is taken out of a SavedModel before it is loaded, and what honest models keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvcli.cli.main import run

from . import saved_models

# MergeV2Checkpoints fails without checkpoints to merge, which it would remove; an unused function is run by nobody.
WRITING = sorted(saved_models.BUILDS.keys() - {"merging", "unused"})


@pytest.mark.parametrize("name", WRITING)
def test_the_hostile_models_are_hostile(name: str, tmp_path: Path) -> None:
    """Loaded, served and differentiated by TensorFlow itself, each of them does write."""
    import tensorflow as tf

    target = tmp_path / "target" / "file"
    target.parent.mkdir()
    model = saved_models.save(name, str(target), tmp_path)
    for file in target.parent.rglob("*"):
        file.unlink()
    loaded = tf.saved_model.load(str(model))
    with tf.GradientTape() as tape:
        served = loaded.signatures["serving_default"](x=tf.ones((4, 2)))
        total = tf.add_n([tf.reduce_sum(value) for value in served.values()])
    tape.gradient(total, [loaded.w])
    assert list(target.parent.iterdir())


def graph_of_version_1(folder: Path, build: Callable[[Any, Any], dict[str, Any]]) -> Path:
    """A SavedModel as TensorFlow 1 writes it; `build` adds to its graph and says what else the builder is given."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        with v1.variable_scope("dense"):
            kernel = v1.get_variable("kernel", [4, 3], use_resource=True)
        y = tf.matmul(tf.tanh(x), kernel)
        options = build(tf, y)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.builder.SavedModelBuilder(str(folder / "v1"))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, **options)
        builder.save()
    return folder / "v1"


def spec_for(folder: Path, name: str, x: np.ndarray, outputs: int) -> Path:
    """Data and a spec with squared error."""
    np.savez(folder / "d.npz", x=x, y=np.zeros((len(x), outputs), np.float32))
    (folder / "d.toml").write_text(
        f'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.{name}]\ncolumn = "x"\n'
        '[target]\ncolumn = "y"\n[loss]\nname = "mse"\n'
    )
    return folder / "d.toml"


def saver(tf: Any, y: Any) -> dict[str, Any]:
    return {"saver": tf.compat.v1.train.Saver(sharded=True)}


def table(tf: Any, y: Any) -> dict[str, Any]:
    tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant([1]), tf.constant([0])), 0)
    return {"main_op": tf.compat.v1.tables_initializer()}


@pytest.mark.parametrize("build", [saver, table])
def test_an_honest_graph_of_version_1_is_computed(build: Any, tmp_path: Path) -> None:
    """Its saver, sharded or not, and its initialisers are taken out unrun."""
    model = graph_of_version_1(tmp_path, build)
    spec = spec_for(tmp_path, "x", np.ones((6, 4), np.float32), 3)
    assert run(["diag", str(model), "--data", str(spec), "-o", str(tmp_path / "r.h5"), "-q"]) == 0


def writing_initialiser(tf: Any, y: Any) -> dict[str, Any]:
    return {"main_op": tf.group(tf.io.write_file("written", "x"))}


def other_checkpoint(tf: Any, y: Any) -> dict[str, Any]:
    (secret,) = tf.raw_ops.RestoreV2(
        prefix="/another/checkpoint", tensor_names=["secret"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    tf.identity(secret, name="read")
    return {}


@pytest.mark.parametrize("build", [writing_initialiser, other_checkpoint])
def test_a_hostile_graph_of_version_1_is_refused(
    build: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that writes when it is initialised, one that reads a checkpoint of somebody else's."""
    monkeypatch.chdir(tmp_path)
    model = graph_of_version_1(tmp_path, build)
    assert run(["layers", str(model)]) == 3
    assert "export" in capsys.readouterr().err.lower()
    assert not (tmp_path / "written").exists()


def test_a_table_that_the_network_looks_things_up_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its layers are listed; derivatives are refused in words that say what to do."""
    import keras

    given = keras.Input((3,), dtype="int64", name="ids")
    found = keras.layers.IntegerLookup(vocabulary=[1, 2, 3, 4])(given)
    flat = keras.layers.Flatten()(keras.layers.Embedding(6, 3)(found))
    keras.Model(given, keras.layers.Dense(2)(flat)).export(str(tmp_path / "m"), verbose=False)
    assert run(["layers", str(tmp_path / "m")]) == 0
    spec = spec_for(tmp_path, "ids", np.ones((4, 3), np.int64), 2)
    assert run(["diag", str(tmp_path / "m"), "--data", str(spec), "-o", str(tmp_path / "r.h5"), "-q"]) == 3
    assert "from after the lookup" in capsys.readouterr().err
