"""Networks of torchvision, timm and transformers themselves, at toy configuration, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import EXPORT, SAMPLES, TRACED, Architecture, Arrays, Inputs, images

BOTH = (EXPORT, TRACED)


def vision(name: str, **options: Any) -> Callable[[], Any]:
    """``torchvision.models.NAME``."""

    def build() -> Any:
        from torchvision import models

        made = options
        if name == "ConvNeXt":
            block = models.convnext.CNBlockConfig
            made = {"block_setting": [block(4, 6, 1), block(6, None, 1)], "num_classes": 4}
        elif name == "EfficientNet":
            block = models.efficientnet.MBConvConfig
            setting = [block(1, 3, 1, 8, 8, 1, 1.0, 1.0), block(2, 3, 2, 8, 8, 1, 1.0, 1.0)]
            made = {"inverted_residual_setting": setting, "dropout": 0.0, "last_channel": 16, "num_classes": 4}
        return getattr(models, name)(**made)

    return build


def timm(name: str, **options: Any) -> Callable[[], Any]:
    """``timm.create_model(NAME)`` of four classes."""

    def build() -> Any:
        import timm

        return timm.create_model(name, num_classes=4, **options)

    return build


SMALL = {
    "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
    "max_position_embeddings": 16,
}  # fmt: skip


def hugging(model: str, config: str, **options: Any) -> Callable[[], Any]:
    """``transformers.MODEL(CONFIG(…))``, without caches."""

    def build() -> Any:
        import transformers

        made = getattr(transformers, config)(**{**SMALL, **options})
        made.use_cache = False
        return getattr(transformers, model)(made)

    return build


def sentences(*, classes: int = 0) -> Inputs:
    """Tokens and their mask; labels for each place, or for the whole."""

    def make(rng: np.random.Generator) -> Arrays:
        mask = (np.arange(6) < rng.integers(3, 7, (SAMPLES, 1))).astype(np.int64)
        target = rng.integers(0, classes, SAMPLES) if classes else rng.integers(0, 11, (SAMPLES, 6))
        return {"input_ids": rng.integers(2, 11, (SAMPLES, 6)), "attention_mask": mask, "target": target}

    return make


def translated(rng: np.random.Generator) -> Arrays:
    made = sentences()(rng)
    target = made.pop("target")
    return made | {"decoder_input_ids": rng.integers(2, 11, (SAMPLES, 6)), "target": target}


def pixels(rng: np.random.Generator) -> Arrays:
    return {"pixel_values": rng.standard_normal((SAMPLES, 3, 16, 16)), "target": rng.integers(0, 2, SAMPLES)}


def named(name: str, size: int) -> Inputs:
    """Pictures, as an input of that name."""

    def make(rng: np.random.Generator) -> Arrays:
        made = images(size=size)(rng)
        return {name: made["image"], "target": made["target"]}

    return make


T = "torchvision"
VISION: dict[str, tuple[Callable[[], Any], str, int]] = {
    "mobilenet_v3_small": (vision("mobilenet_v3_small", num_classes=4), "x", 32),
    "shufflenet_v2_x0_5": (vision("shufflenet_v2_x0_5", num_classes=4), "x", 32),
    "squeezenet1_1": (vision("squeezenet1_1", num_classes=4), "x", 32),
    "DenseNet": (
        vision("DenseNet", growth_rate=4, block_config=(2, 2), num_init_features=4, num_classes=4), "x", 32
    ),
    "EfficientNet": (vision("EfficientNet"), "x", 32),
    "ConvNeXt": (vision("ConvNeXt"), "x", 16),
    "SwinTransformer": (
        vision(
            "SwinTransformer", patch_size=[4, 4], embed_dim=8, depths=[2, 1], num_heads=[2, 2], window_size=[2, 2],
            num_classes=4,
        ), "x", 16,
    ),
    "VisionTransformer": (
        vision(
            "VisionTransformer", image_size=16, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=12,
            num_classes=4,
        ), "x", 16,
    ),
}  # fmt: skip
TIMM: dict[str, tuple[Callable[[], Any], int]] = {
    "test_resnet": (timm("test_resnet"), 32),
    "test_efficientnet": (timm("test_efficientnet"), 32),
    "test_byobnet": (timm("test_byobnet"), 32),
    "test_convnext": (timm("test_convnext"), 32),
    "test_nfnet": (timm("test_nfnet"), 32),
    "test_vit": (timm("test_vit", img_size=32), 32),
    "test_efficientnet_gn": (timm("test_efficientnet_gn"), 32),
}
HUGGING = [
    ("BERT, classes", hugging("BertForSequenceClassification", "BertConfig"), sentences(classes=2), "classes"),
    ("DistilBERT, masked words", hugging(
        "DistilBertForMaskedLM", "DistilBertConfig", dim=8, n_layers=1, n_heads=2, hidden_dim=12
    ), sentences(), "tokens"),
    ("GPT-2", hugging(
        "GPT2LMHeadModel", "GPT2Config", n_embd=8, n_layer=1, n_head=2, n_positions=16,
        bos_token_id=0, eos_token_id=1,
    ), sentences(), "tokens"),
    ("Llama", hugging("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=1), sentences(), "tokens"),
    ("Qwen2", hugging("Qwen2ForCausalLM", "Qwen2Config", num_key_value_heads=1), sentences(), "tokens"),
    ("T5", hugging(
        "T5ForConditionalGeneration", "T5Config", d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2
    ), translated, "tokens"),
    ("ViT", hugging("ViTForImageClassification", "ViTConfig", image_size=16, patch_size=8), pixels, "classes"),
]  # fmt: skip
ARCHITECTURES = [
    *(
        Architecture(f"torchvision: {name}", T, build, named(argument, size), formats=BOTH, needs="torchvision")
        for name, (build, argument, size) in VISION.items()
    ),
    *(
        Architecture(f"timm: {name}", "timm", build, named("x", size), formats=BOTH, needs="timm")
        for name, (build, size) in TIMM.items()
    ),
    *(
        Architecture(f"transformers: {name}", "transformers", build, inputs, loss, BOTH, "logits", needs="transformers")
        for name, build, inputs, loss in HUGGING
    ),
]
