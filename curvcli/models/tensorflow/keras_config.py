"""Reads what a ``.keras`` file says that it is made of, before Keras does: only Keras's own building blocks may be.

A configuration names classes and functions by module, and Keras would import what is named. Some of its own classes run
code or read files: Lambda, TFSMLayer, layers with vocabularies, wrappers of other frameworks. So what may be named is a
list, and what is not on it is refused by its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_LAYERS: Final = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention Average
    AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop
    Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D
    Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten
    GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity InputLayer
    LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum
    MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization RNN RandomBrightness RandomContrast
    RandomCrop RandomFlip RandomHue RandomRotation RandomSaturation RandomTranslation RandomZoom ReLU RepeatVector
    Rescaling Reshape Resizing ReversibleEmbedding SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract TimeDistributed
    UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)
_ACTIVATIONS: Final = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
    log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid
    sparsemax squareplus swish tanh tanh_shrink threshold
    """.split()
)
_INITIALIZERS: Final = frozenset(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal
    OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    """.split()
)
_CLASSES: Final = {
    "keras": frozenset({"DTypePolicy", "Model", "Sequential"}),
    "keras.models": frozenset({"Model", "Sequential"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.applications.convnext": frozenset({"LayerScale"}),
    "keras.layers": _LAYERS,
    "keras.initializers": _INITIALIZERS,
    "keras.regularizers": frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"}),
    "keras.constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
    "keras.dtype_policies": frozenset({"DTypePolicy", "DTypePolicyMap"}),
    "keras.random": frozenset({"SeedGenerator"}),
}
# Of these, every class that is an operation and was written there.
OPERATIONS: Final = frozenset(f"keras.src.ops.{name}" for name in "einops image linalg math nn numpy".split())
_CORE: Final = frozenset("Cast Scatter ScatterUpdate Shape Slice SliceUpdate StopGradient Unstack".split())
_CORE_MODULE: Final = "keras.src.ops.core"
_VALUES: Final = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"})
_CODE: Final = {"Lambda": "a Lambda layer, which holds Python code", "__lambda__": "a Python function"}
_OTHERS: Final = {
    "IntegerLookup": "a vocabulary",
    "StringLookup": "a vocabulary",
    "TextVectorization": "a vocabulary",
}


@dataclass(frozen=True)
class ForeignPartError(Exception):
    """Something that is none of Keras's own building blocks, or none that only computes.

    Attributes:
        what: it is, with its name.
    """

    what: str


def read_config(data: bytes) -> dict[str, Any]:
    """A configuration in which everything that is named may be.

    Args:
        data: JSON, as in ``config.json``.

    Returns:
        It, without what says how models were compiled: optimizers, losses, metrics.

    Raises:
        ForeignPartError: it names something else.
        ValueError, RecursionError: it is no such configuration.
    """
    config = json.loads(data)
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("config.json describes no model")
    for entry in _dicts(config):
        entry.pop("compile_config", None)
    for entry in _dicts(config):
        if "class_name" in entry:
            _check(entry)
    return config


def operations(config: Any) -> set[tuple[str, str]]:
    """Module and class of every operation of a configuration that was checked."""
    return {
        (entry["module"], entry["class_name"])
        for entry in _dicts(config)
        if isinstance(entry.get("class_name"), str) and str(entry.get("module")) in OPERATIONS | {_CORE_MODULE}
    }


def _dicts(config: Any) -> Iterator[dict[str, Any]]:
    """All dictionaries, however deep."""
    waiting = [config]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            yield entry
            waiting += entry.values()
        elif isinstance(entry, list):
            waiting += entry


def _check(entry: dict[str, Any]) -> None:
    name, module, registered = (entry.get(key) for key in ("class_name", "module", "registered_name"))
    inner = entry.get("config")
    if not isinstance(name, str):
        raise ForeignPartError(f"{str(name)[:60]}, a class of its own")
    if name in _VALUES:
        return
    told = inner.get("name") if isinstance(inner, dict) else None
    called = f" {told[:60]!r}" if isinstance(told, str) else ""
    if name in _CODE:
        raise ForeignPartError(f"{_CODE[name]}{called}")
    if name == "function":
        is_activation = isinstance(inner, str) and inner in _ACTIVATIONS and module in ("builtins", "keras.activations")
        if is_activation and registered in (None, "function", inner):
            return
        raise ForeignPartError(f"a function of its own, {str(inner)[:60]}")
    if not isinstance(module, str) or registered not in (None, name):
        raise ForeignPartError(f"{str(registered or name)[:60]}{called}, a class of its own")
    if module in OPERATIONS or name in _CLASSES.get(module, ()) or (module == _CORE_MODULE and name in _CORE):
        return
    if module.split(".")[0] != "keras":
        raise ForeignPartError(f"{module[:60]}.{name[:60]}{called}, a class of its own")
    if name in _OTHERS:
        raise ForeignPartError(f"{name}{called}, which looks words up in {_OTHERS[name]}")
    raise ForeignPartError(f"{module[:60]}.{name[:60]}{called}")
