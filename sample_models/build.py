"""Build the sample models: train small networks, and save each as TorchScript and as a SavedModel, one as .pt2 too.

    python sample_models/build.py
        Rebuild everything beside this file (about a minute on one core): ``digits.npz`` with the held-out digits, the
        models ``vgg16_digits``, ``mlp_tanh`` and ``attention_digits``, and ``poisson_tanh``, which solves a
        differential equation (see poisson.py).  Each is trained once, in PyTorch; the SavedModel holds the same
        weights, and the two files' outputs are compared before the command succeeds.

    python sample_models/build.py --full-vgg16 OUTDIR
        Write the full-size VGG16 (138 million random weights, about 0.55 GB in each format) and 8 random images
        under OUTDIR.

Both leave a dataset specification beside each model, where ``curvcli`` finds it: ``NAME/assets.extra/curvcli.toml``
for a SavedModel, ``NAME.pt.toml`` for a TorchScript file.  Needs ``curvcli[torch,tensorflow]`` and scikit-learn.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # TensorFlow's notes on its start are of no use here

import keras
import numpy as np
import tensorflow as tf
import torch
from architectures import (
    TensorFlowAttention,
    TorchAttention,
    TorchMLP,
    TorchVGG16,
    copy_weights,
    keras_mlp,
    keras_variables,
    keras_vgg16,
    module_variables,
)
from poisson import build_poisson
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

SEED = 0
TOLERANCE = 1e-5  # largest difference allowed between the two formats' outputs
PIXELS = "0..255 -> 0..1, because these images are stored as bytes"
DIGIT_PIXELS = "0..16 -> 0..1: scikit-learn's digits have 17 grey levels"


@dataclass(frozen=True)
class Dataset:
    """What a model's dataset specification says."""

    path: str
    column: str
    from_logits: bool
    limit: int
    batch_size: int
    scale: float | None = None
    scale_note: str = ""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; images are in 0..1."""

    epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float = 0.0
    batch_size: int = 64
    shift: int = 0  # largest random shift of a training image, in pixels


def specification(dataset: Dataset, folder: str, layout: str | None) -> str:
    """Return a dataset specification; ``folder`` leads from the file that it is written to, to the data."""
    scale = "" if dataset.scale is None else f"scale = {dataset.scale!r}  # {dataset.scale_note}\n"
    convert = "" if layout is None else f'layout = "{layout}"  # stored channels-last; PyTorch wants channels first\n'
    outputs = "the model returns logits" if dataset.from_logits else "the model ends in a softmax: probabilities"
    return f"""\
# What to compute this model's loss on.  curvcli finds this file because it lies beside the model.
version = 1

[source]
format = "npz"
path = "{folder}{dataset.path}"  # from this file's folder

[inputs.image]  # the model's input called "image"
column = "{dataset.column}"  # the array of that name in the file above
{scale}{convert}
[target]
column = "labels"  # one class number per image

[loss]
name = "cross_entropy"
from_logits = {str(dataset.from_logits).lower()}  # {outputs}
reduction = "mean"  # over the images; "sum" multiplies every number by their count

[sampling]
limit = {dataset.limit}  # images to use; more cost more time
batch_size = {dataset.batch_size}  # images at once; changes memory and speed, not the result
seed = 0  # chooses which images
"""


def write_specifications(saved_model: Path, torchscript: Path, dataset: Dataset) -> None:
    """Write both formats' specifications where ``curvcli`` looks for them."""
    extra = saved_model / "assets.extra"
    extra.mkdir()
    (extra / "curvcli.toml").write_text(specification(dataset, "../../", None), encoding="utf-8")
    beside = torchscript.with_name(torchscript.name + ".toml")
    beside.write_text(specification(dataset, "", "NHWC->NCHW"), encoding="utf-8")


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the digits, (N, 8, 8, 1) in 0..16, and their labels: the training split, then the held-out fifth."""
    data = load_digits()
    images = data.images.astype(np.uint8)[..., np.newaxis]
    labels = data.target.astype(np.int64)
    train, held_out = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=SEED, stratify=labels)
    return images[train], labels[train], images[held_out], labels[held_out]


def enlarge(images: np.ndarray) -> np.ndarray:
    """Resize (N, 8, 8, 1) in 0..16 to (N, 32, 32, 1) bytes in 0..255, bilinearly."""
    pixels = torch.from_numpy(images).double().permute(0, 3, 1, 2) * (255 / 16)
    large = functional.interpolate(pixels, scale_factor=4, mode="bilinear", align_corners=False)
    return large.round().permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()


def channels_first(images: np.ndarray, scale: float) -> Tensor:
    """Return NHWC images as PyTorch's NCHW floats."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) * np.float32(scale))


def shifted(images: Tensor, largest: int) -> Tensor:
    """Move each image by up to ``largest`` pixels in both directions; what moves in is background."""
    side = images.shape[-1]
    padded = functional.pad(images, (largest,) * 4)
    corners = torch.randint(0, 2 * largest + 1, (len(images), 2)).tolist()
    return torch.stack([padded[i, :, y : y + side, x : x + side] for i, (y, x) in enumerate(corners)])


def train(model: nn.Module, logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, recipe: Recipe) -> None:
    """Train ``model`` with AdamW and a one-cycle learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = -(-len(images) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, epochs=recipe.epochs, steps_per_epoch=steps
    )
    model.train()
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(images)).split(recipe.batch_size):
            inputs = shifted(images[batch], recipe.shift) if recipe.shift else images[batch]
            optimizer.zero_grad()
            loss = functional.cross_entropy(logits(inputs), labels[batch], label_smoothing=recipe.label_smoothing)
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def script(model: nn.Module, path: Path) -> None:
    """Save ``model`` with ``torch.jit.script``."""
    torch.jit.script(model.eval()).save(str(path))


def export(model: nn.Module, image: Tensor, path: Path) -> None:
    """Save ``model`` with ``torch.export``, for any number of images; without the places in the code it came from."""
    program = torch.export.export(model.eval(), (image,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def fresh(directory: Path) -> str:
    """Remove what a former run left at ``directory``, and return it as TensorFlow takes it."""
    if directory.exists():
        shutil.rmtree(directory)
    return str(directory)


def save_keras(model: keras.Model, directory: Path, output: str) -> None:
    """Save a Keras model with ``tf.saved_model.save``; it would call the input "inputs" without this signature."""

    @tf.function(input_signature=[tf.TensorSpec(model.inputs[0].shape, tf.float32, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: model(image)}

    tf.saved_model.save(model, fresh(directory), signatures={"serving_default": serve})


def compare(torchscript: Path, saved_model: Path, images: Tensor, relative: bool = False) -> np.ndarray:
    """Load both files, print and check the largest difference between their outputs, and return PyTorch's."""
    with torch.no_grad():
        ours = torch.jit.load(str(torchscript))(images).numpy()
    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    (theirs,) = signature(image=tf.constant(images.permute(0, 2, 3, 1).numpy())).values()
    difference = float(np.abs(ours - theirs.numpy()).max())
    largest = float(np.abs(ours).max())
    print(f"  the two formats differ by at most {difference:.1e}; the largest output is {largest:.3g}")
    if not difference < TOLERANCE * (largest if relative else 1.0):
        raise RuntimeError(f"{torchscript} and {saved_model} disagree")
    return ours


def build_vgg16_digits(folder: Path, images: Tensor, labels: Tensor) -> None:
    """Train a narrow VGG16; saved by ``torch.jit.script`` and Keras's ``export``."""
    shape = {"side": 32, "channels": 1, "widths": (8, 16, 24, 32, 32), "hidden": 48, "classes": 10}
    torch.manual_seed(SEED)
    model = TorchVGG16(**shape)
    # Smoothed labels keep the logits small, so that float32 lets the two formats agree closely.
    train(
        model,
        model,
        images,
        labels,
        Recipe(epochs=30, learning_rate=2e-3, weight_decay=0.1, label_smoothing=0.05, shift=3),
    )
    script(model, folder / "vgg16_digits.pt")
    twin = keras_vgg16(**shape, name="vgg16_digits")
    copy_weights(model, keras_variables(twin))
    twin.export(fresh(folder / "vgg16_digits"), verbose=False)


def build_mlp_tanh(folder: Path, images: Tensor, labels: Tensor) -> None:
    """Train a small MLP; saved by ``torch.jit.trace``, ``torch.export`` and ``tf.saved_model.save`` of Keras."""
    torch.manual_seed(SEED)
    model = TorchMLP()
    train(model, model.logits, images, labels, Recipe(epochs=60, learning_rate=1e-2, weight_decay=0.1))
    torch.jit.trace(model, images[:2]).save(str(folder / "mlp_tanh.pt"))
    export(model, images[:2], folder / "mlp_tanh.pt2")
    twin = keras_mlp("mlp_tanh")
    copy_weights(model, keras_variables(twin))
    save_keras(twin, folder / "mlp_tanh", "probabilities")


def build_attention_digits(folder: Path, images: Tensor, labels: Tensor) -> None:
    """Train a transformer block; saved by ``torch.jit.script`` and ``tf.saved_model.save`` of a ``tf.Module``."""
    torch.manual_seed(SEED)
    model = TorchAttention()
    train(model, model, images, labels, Recipe(epochs=150, learning_rate=1e-2, weight_decay=0.1, shift=1))
    script(model, folder / "attention_digits.pt")
    twin = TensorFlowAttention()
    copy_weights(model, module_variables(twin.trainable_variables))
    tf.saved_model.save(twin, fresh(folder / "attention_digits"), signatures={"serving_default": twin.serve})


def build_digits(folder: Path) -> None:
    """Write the held-out digits and the three models trained on the others."""
    train_images, train_labels, images, labels = digits()
    np.savez_compressed(folder / "digits.npz", images=images, images32=enlarge(images), labels=labels)
    builders = {
        "vgg16_digits": (build_vgg16_digits, Dataset("digits.npz", "images32", True, 128, 64, 1 / 255, PIXELS)),
        "mlp_tanh": (build_mlp_tanh, Dataset("digits.npz", "images", False, 128, 64, 1 / 16, DIGIT_PIXELS)),
        "attention_digits": (
            build_attention_digits,
            Dataset("digits.npz", "images", True, 128, 64, 1 / 16, DIGIT_PIXELS),
        ),
    }
    for name, (build, dataset) in builders.items():
        resize = enlarge if dataset.column == "images32" else np.asarray
        print(f"{name}: training")
        build(folder, channels_first(resize(train_images), dataset.scale), torch.from_numpy(train_labels))
        saved_model, torchscript = folder / name, folder / f"{name}.pt"
        outputs = compare(torchscript, saved_model, channels_first(resize(images), dataset.scale))
        print(f"  held-out accuracy {(outputs.argmax(axis=1) == labels).mean():.2%} of {len(labels)} digits")
        write_specifications(saved_model, torchscript, dataset)
        if (exported := folder / f"{name}.pt2").exists():
            shutil.copyfile(folder / f"{name}.pt.toml", exported.with_name(f"{name}.pt2.toml"))


def build_full_vgg16(folder: Path) -> None:
    """Write VGG16 at its published size, with random weights, and random images."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    images = random.random((8, 224, 224, 3), dtype=np.float32)
    np.savez(folder / "vgg16_images.npz", images=images, labels=random.integers(0, 1000, 8))
    shape = {"side": 224, "channels": 3, "widths": (64, 128, 256, 512, 512), "hidden": 4096, "classes": 1000}
    torch.manual_seed(SEED)
    saved_model, torchscript = folder / "vgg16", folder / "vgg16.pt"
    print(f"vgg16: writing {saved_model} and {torchscript}")
    model = TorchVGG16(**shape)
    script(model, torchscript)
    twin = keras_vgg16(**shape, name="vgg16")
    copy_weights(model, keras_variables(twin))
    save_keras(twin, saved_model, "logits")  # half the size of an export, which stores each weight twice
    outputs = compare(torchscript, saved_model, channels_first(images, 1.0), relative=True)
    print(f"  the logits' standard deviation is {outputs.std():.3g}")
    write_specifications(saved_model, torchscript, Dataset("vgg16_images.npz", "images", True, limit=8, batch_size=8))


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-vgg16", metavar="OUTDIR", type=Path, help="write the full-size VGG16 there instead")
    options = parser.parse_args()
    torch.set_num_threads(1)  # one thread adds up in one order: the same weights again on the same machine
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if options.full_vgg16 is None:
        folder = Path(__file__).resolve().parent
        build_digits(folder)
        print("poisson_tanh: training")
        build_poisson(folder, SEED)
    else:
        build_full_vgg16(options.full_vgg16)


if __name__ == "__main__":
    main()
