"""Keras files: damaged bytes, and what stands in them edited: configuration, weights, members."""

from __future__ import annotations

import io
import json
import random
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .archives import Archives, Members, edited_json
from .mutations import STRANGE_TEXTS, mutated

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
DTYPE = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
# What may stand in the place of a layer's class, with what it may be told besides.
CLASSES = """Dense Conv1D BatchNormalization LayerNormalization Dropout Flatten Reshape RepeatVector Embedding LSTM GRU
MultiHeadAttention Lambda TFSMLayer TimeDistributed Bidirectional ZeroPadding1D UpSampling1D Softmax Activation
StringLookup InputLayer SpectralNormalization Rescaling Permute GaussianNoise EinsumDense PReLU StackedRNNCells RNN
Cropping1D Identity Masking Normalization CategoryEncoding UnitNormalization""".split()
MODULES = "keras.layers keras keras.src.ops.numpy keras.src.ops.nn keras.initializers os builtins keras.utils".split()
ACTIVATIONS = "relu elu softmax selu exponential get_file system sparsemax glu threshold".split()


def _layer(kind: str, name: str, inputs: int, **config: Any) -> dict[str, Any]:
    config = {"name": name, "trainable": True, "dtype": DTYPE, **config}
    build = {"input_shape": [None, inputs]}
    layer = {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}
    return layer | {"build_config": build}


@cache
def saved() -> bytes:
    """Two dense layers around a batch normalization, as Keras 3 saves them, with the state of an optimizer."""
    start = {"batch_shape": [None, 4], "dtype": "float32", "sparse": False, "ragged": False, "name": "x"}
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": start, "registered_name": None},
        _layer("Dense", "one", 4, units=5, activation="tanh", use_bias=True),
        _layer("BatchNormalization", "norm", 5, axis=-1, momentum=0.99, epsilon=0.001, center=True, scale=True),
        _layer("Dense", "two", 5, units=3, activation="linear", use_bias=True),
    ]
    network = {"name": "sequential", "trainable": True, "dtype": DTYPE, "layers": layers}
    config = {"module": "keras", "class_name": "Sequential", "config": network, "registered_name": None}
    rng = np.random.default_rng(0)
    shapes = {"dense": [(4, 5), (5,)], "batch_normalization": [(5,)] * 4, "dense_1": [(5, 3), (3,)]}
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for place, (name, ones) in enumerate(shapes.items()):
            group = file.create_group(f"layers/{name}/vars")
            group.attrs["name"] = ("one", "norm", "two")[place]
            for number, shape in enumerate(ones):
                group[str(number)] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        file["optimizer/vars/0"] = np.zeros((5, 3), np.float32)
        file.create_group("vars").attrs["name"] = "sequential"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in (
            ("metadata.json", b'{"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}'),
            (CONFIG, json.dumps(config).encode()),
            (WEIGHTS, held.getvalue()),
        ):
            archive.writestr(zipfile.ZipInfo(name), data)
    return stream.getvalue()


class KerasFiles(Archives):
    """A configuration, which names classes, and weights."""

    name = "keras"
    framework = "tensorflow"
    file = "model.keras"
    kinds = (
        "bytes",
        "value",
        "value",
        "value",
        "layer",
        "layer",
        "weights",
        "weights",
        "damage",
        "metadata",
        "members",
    )
    commands = ("layers", "diag", "diag")
    options = ("--data", "model.pt.toml")

    def sound(self, folder: Path) -> bytes:
        return saved()

    def _value(self, rng: random.Random, members: Members, name: str = CONFIG) -> str:
        members[name], told = edited_json(rng, members[name])
        return told

    def _metadata(self, rng: random.Random, members: Members) -> str:
        return self._value(rng, members, "metadata.json")

    def _layer(self, rng: random.Random, members: Members) -> str:
        """A layer of another class, activation, size or name, twice, gone or elsewhere."""
        config = json.loads(members[CONFIG])
        layers = config["config"]["layers"]
        place = rng.randrange(len(layers))
        layer = layers[place]
        edit = rng.choice(
            ["class", "class", "module", "activation", "units", "name", "twice", "gone", "swapped", "nested"]
        )
        match edit:
            case "class":
                layer["class_name"] = edit = rng.choice(CLASSES)
            case "module":
                layer["module"] = edit = rng.choice(MODULES)
            case "activation":
                layer["config"]["activation"] = edit = rng.choice(ACTIVATIONS)
            case "units":
                layer["config"]["units"] = rng.choice([0, -1, 6, 10**6, 10**9, 2**40, 2**62, 10**30, "3", 1.5])
            case "name":
                layer["config"]["name"] = rng.choice([*STRANGE_TEXTS, "one", "two", "x"])
            case "twice":
                layers.insert(place, json.loads(json.dumps(layer)))
            case "gone":
                del layers[place]
            case "swapped":
                other = rng.randrange(len(layers))
                layers[place], layers[other] = layers[other], layers[place]
            case _:
                for _ in range(rng.choice([1, 3, 50])):
                    layer = {"module": "keras", "class_name": "Sequential", "registered_name": None,
                             "config": {"name": "inner", "layers": [layer]}}  # fmt: skip
                layers[place] = layer
        members[CONFIG] = json.dumps(config).encode()
        return f"layer {place}: {edit}"

    def _weights(self, rng: random.Random, members: Members) -> str:
        """Datasets and groups swapped, renamed, reshaped, retyped, gone, linked, or more than there should be."""
        held = io.BytesIO(members[WEIGHTS])
        with h5py.File(held, "r+") as file:
            paths: list[str] = []
            file.visit(paths.append)
            path, other = rng.choice(paths), rng.choice(paths)
            edit = rng.choice("swapped renamed gone shape dtype values attribute link more group".split())
            item = file[path]
            values = item[()] if isinstance(item, h5py.Dataset) else np.ones((2, 2), np.float32)
            match edit:
                case "swapped":
                    file.move(path, "swapped")
                    if other in file:
                        file.move(other, path)
                    file.move("swapped", other if other not in file else f"{other}_1")
                case "renamed":
                    file.move(
                        path, f"{path}{rng.choice(['_1', 'x', '/deeper'])}" if rng.random() < 0.8 else "elsewhere"
                    )
                case "attribute":
                    item.attrs["name"] = rng.choice([*STRANGE_TEXTS[:20], "one", "two"])
                case "link":
                    links = [h5py.SoftLink(f"/{other}"), h5py.ExternalLink("data.npz", "/x")]
                    file[f"{path}_link"] = rng.choice(links)
                case "more":
                    file.require_group("layers")["extra/vars/0"] = np.ones(
                        rng.choice([(1,), (4, 5), (1000,)]), np.float32
                    )
                case _:
                    del file[path]
                    if edit == "shape":
                        shape = rng.choice([(), (1,), (5, 4), (4, 5), (3,), (5, 3), (2, 2, 5), (0, 5), (100, 100)])
                        file[path] = np.ones(shape, np.float32)
                    elif edit == "dtype":
                        file[path] = values.astype(rng.choice(["f2", "f8", "i4", "u1", "S3", "?", "c8"]))
                    elif edit == "values":
                        file[path] = np.full(values.shape, rng.choice([np.nan, np.inf, 0, 1e38]), np.float32)
                    elif edit == "group":
                        file.create_group(f"{path}/vars")
        members[WEIGHTS] = held.getvalue()
        return f"{path} {edit}"

    def _damage(self, rng: random.Random, members: Members) -> str:
        name = rng.choice(sorted(members))
        members[name], told = mutated(rng, members[name])
        return f"{name}: {told}"
