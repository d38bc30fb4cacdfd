"""Files and folders that people take for models, and what to do instead: one line each.

None is opened further than its first bytes, and no framework is imported to tell what it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from curvcli.files import is_regular

Recogniser = Callable[[Path], bool]

_EXPORT: Final = "Where the model's source is, export it: model.export(FOLDER) or tf.saved_model.save(model, FOLDER)."
# How a network of torch is saved so that it can be read.
TORCH_RECIPE: Final = (
    "torch.export.save(torch.export.export(model.eval(), (x,), dynamic_shapes=({0: Dim.AUTO},)), PATH)"
)
_TORCH: Final = f"Load the weights into the network and save that with {TORCH_RECIPE}."


@dataclass(frozen=True)
class Refusal:
    """A kind of file or folder that can't be analysed.

    Attributes:
        recognises: whether a path is of this kind.
        sentence: what it is, why that is not enough, and the one line that helps; what follows ``PATH: ``.
    """

    recognises: Recogniser
    sentence: str


def ends(*suffixes: str) -> Recogniser:
    """Recognises files by the ends of their names, in any case."""
    return lambda path: path.name.lower().endswith(suffixes) and not _folder(path)


def starts(*beginnings: bytes, at: int = 0) -> Recogniser:
    """Recognises files by the bytes at a place near their beginning."""
    return lambda path: _first_bytes(path)[at:].startswith(beginnings)


def holds(*patterns: str) -> Recogniser:
    """Recognises folders that have a file for each of these patterns."""
    return lambda path: _folder(path) and all(next(path.glob(pattern), None) is not None for pattern in patterns)


def either(*recognisers: Recogniser) -> Recogniser:
    """Recognises what any of these does."""
    return lambda path: any(one(path) for one in recognisers)


def refusal(path: Path) -> str | None:
    """Why a path can't be analysed and what to do; None if it is none of the kinds that are known."""
    return next((one.sentence for one in REFUSALS if one.recognises(path)), None)


def _folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for names that are too long


def _first_bytes(path: Path) -> bytes:
    if not is_regular(path):
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except OSError:
        return b""


def _checkpoint_prefix(path: Path) -> bool:
    """``ckpt-1`` where ``ckpt-1.index`` is: what tf.train.Checkpoint.save returns."""
    return not os.path.lexists(path) and is_regular(path.with_name(f"{path.name}.index"))


# In the order in which they are tried. A kind that another one's recogniser takes too stands before it.
REFUSALS: Final = (
    Refusal(
        ends(".weights.h5"),
        f"Keras weights alone, without the network that uses them.\n{_EXPORT}",
    ),
    Refusal(
        either(ends(".h5", ".hdf5"), starts(b"\x89HDF\r\n\x1a\n")),
        "an HDF5 file; if it is a Keras model of the old format, it may hold code.\n"
        "Where you trust it, convert it: keras.saving.load_model('OLD.h5', compile=False).save('NEW.keras')",
    ),
    Refusal(
        either(ends(".tflite", ".lite"), starts(b"TFL3", at=4)),
        "a TensorFlow Lite file, made for inference: its weights are constants, often quantised, without derivatives.\n"
        f"{_EXPORT}",
    ),
    Refusal(
        ends(".pb", ".pbtxt"),
        f"a graph with its weights frozen to constants, so there is nothing to take derivatives by.\n{_EXPORT}",
    ),
    Refusal(
        either(
            holds("checkpoint", "*.index"),
            holds("*.index", "*.data-?????-of-?????"),
            ends(".index", ".meta"),
            lambda path: ".data-" in path.suffix and "-of-" in path.suffix,
            _checkpoint_prefix,
        ),
        f"a TensorFlow checkpoint: weights alone, without the network that uses them.\n{_EXPORT}",
    ),
    Refusal(
        either(holds("config.json", "*.safetensors"), holds("config.json", "pytorch_model*.bin")),
        f"a Hugging Face model folder: weights and a configuration, without the network as a program.\n{_TORCH}",
    ),
    Refusal(
        either(ends(".safetensors"), starts(b'{"', at=8)),
        f"safetensors: weights alone, without the network that uses them.\n{_TORCH}",
    ),
    Refusal(
        ends(".onnx"),
        f"an ONNX file, made for inference: nothing in it can be differentiated.\n{_TORCH}",
    ),
    Refusal(
        either(ends(".gguf", ".ggml"), starts(b"GGUF")),
        f"quantised weights for inference, without derivatives.\n{_TORCH}",
    ),
    Refusal(
        starts(*(b"\x80" + bytes([protocol]) for protocol in range(2, 6))),
        f"a pickle (torch.save or pickle.dump); opening it would run its code, so curvcli never does.\n{_TORCH}",
    ),
    Refusal(
        holds("model.json", "*.bin"),
        f"a TensorFlow.js model, made for inference.\n{_EXPORT}",
    ),
)
