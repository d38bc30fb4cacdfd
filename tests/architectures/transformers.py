"""Transformers of pictures and of language, at toy size."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SAMPLES, SCRIPTED, TRACED, Architecture, Arrays, Inputs, images, tokens

BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)
WIDTH, HEADS, VOCABULARY = 4, 2, 11


class SelfAttention(nn.Module):
    """Queries, keys and values in one product; PyTorch's fused attention."""

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.qkv, self.proj, self.causal = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), causal

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(h.transpose(1, 2).reshape(n, t, width))


class Block(nn.Module):
    """Pre-normed attention and an MLP."""

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(WIDTH), SelfAttention(causal=causal), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, *, distilled: bool = False) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, WIDTH, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1 + distilled, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, 5 + distilled, WIDTH))
        self.block, self.norm, self.head = Block(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)
        self.distilled = nn.Linear(WIDTH, 4) if distilled else nn.Identity()
        self.is_distilled = distilled

    def forward(self, image: Tensor) -> Tensor:
        h = self.patch_embed(image).flatten(2).transpose(1, 2)
        h = torch.cat([self.cls_token.expand(h.shape[0], -1, -1), h], 1) + self.pos_embed
        h = self.norm(self.block(h))
        if self.is_distilled:
            return (self.head(h[:, 0]) + self.distilled(h[:, 1])) / 2
        return self.head(h[:, 0])


class Swin(nn.Module):
    """Attention in shifted windows with a bias by relative place, then merged patches."""

    index: Tensor
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Conv2d(3, WIDTH, 4, 4), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.relative_bias = nn.Parameter(torch.randn(9, HEADS))
        self.merge, self.head = nn.Linear(4 * WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, 4)
        places = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        apart = (places[:, :, None] - places[:, None]) + 1
        self.register_buffer("index", apart[0] * 3 + apart[1])
        region = torch.tensor([0, 0, 1, 2]) * 3 + torch.tensor([0, 0, 1, 2])[:, None]
        windows = self.windows(region.view(1, 4, 4, 1).float()).squeeze(-1)
        self.register_buffer("mask", (windows[:, :, None] != windows[:, None]).float() * -100.0)

    def windows(self, x: Tensor) -> Tensor:
        n, _, _, c = x.shape
        return x.view(n, 2, 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n * 4, 4, c)

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image).permute(0, 2, 3, 1)
        n = x.shape[0]
        h = self.windows(torch.roll(self.norm(x), (-1, -1), (1, 2)))
        q, k, v = self.qkv(h).view(n * 4, 4, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS) + self.relative_bias[self.index].permute(2, 0, 1)
        scores = (scores.view(n, 4, HEADS, 4, 4) + self.mask[None, :, None]).view(n * 4, HEADS, 4, 4)
        h = self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n * 4, 4, WIDTH))
        h = h.view(n, 2, 2, 2, 2, WIDTH).permute(0, 1, 3, 2, 4, 5).reshape(n, 4, 4, WIDTH)
        x = x + torch.roll(h, (1, 1), (1, 2))
        x = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        return self.head(self.merge(x).mean((1, 2)))


class Mixer(nn.Module):
    def __init__(self, *, gated: bool = False) -> None:
        super().__init__()
        self.embed, self.norm1, self.norm2 = nn.Conv2d(3, WIDTH, 8, 8), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.over_places = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
        self.over_channels = nn.Sequential(nn.Linear(WIDTH, 6), nn.GELU(), nn.Linear(6, WIDTH))
        self.gated, self.head = gated, nn.Linear(WIDTH, 4)

    def forward(self, image: Tensor) -> Tensor:
        h = self.embed(image).flatten(2).transpose(1, 2)
        mixed = self.over_places(self.norm1(h).transpose(1, 2)).transpose(1, 2)
        h = h * mixed if self.gated else h + mixed
        return self.head((h + self.over_channels(self.norm2(h))).mean(1))


class PoolFormer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Conv2d(3, WIDTH, 4, 4), nn.GroupNorm(1, WIDTH)
        self.mlp, self.head = (
            nn.Sequential(nn.Conv2d(WIDTH, 6, 1), nn.GELU(), nn.Conv2d(6, WIDTH, 1)),
            nn.Linear(WIDTH, 4),
        )

    def forward(self, image: Tensor) -> Tensor:
        h = self.embed(image)
        n = self.norm(h)
        h = h + F.avg_pool2d(n, 3, 1, 1, count_include_pad=False) - n
        return self.head((h + self.mlp(h)).mean((2, 3)))


class Bert(nn.Module):
    """Two embeddings, a place, an attention mask, PyTorch's own encoder layer; classes from the first token."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.words, self.places, self.segments = nn.Embedding(11, WIDTH), nn.Embedding(6, WIDTH), nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.encoder = nn.TransformerEncoderLayer(WIDTH, HEADS, 8, activation="gelu", batch_first=True)
        self.pooler, self.classifier, self.masked = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4), masked

    def forward(self, tokens: Tensor, attention_mask: Tensor, segments: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        h = self.norm(self.words(tokens) + self.places(place) + self.segments(segments))
        h = self.encoder(h, src_key_padding_mask=attention_mask == 0)
        if self.masked:
            return F.linear(torch.tanh(self.pooler(h)), self.words.weight)
        return self.classifier(torch.tanh(self.pooler(h[:, 0])))


def bert_inputs(*, masked: bool) -> Inputs:
    def make(rng: np.random.Generator) -> Arrays:
        mask = (np.arange(6) < rng.integers(3, 7, (SAMPLES, 1))).astype(np.int64)
        return {
            "tokens": rng.integers(0, VOCABULARY, (SAMPLES, 6)),
            "attention_mask": mask,
            "segments": rng.integers(0, 2, (SAMPLES, 6)),
            "target": rng.integers(0, VOCABULARY, (SAMPLES, 6)) if masked else rng.integers(0, 4, SAMPLES),
        }

    return make


class GPT2(nn.Module):
    """Causal, its head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(6, WIDTH)
        self.block, self.ln_f = Block(causal=True), nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        return self.lm_head(self.ln_f(self.block(h)))


class RMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(WIDTH) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Llama(nn.Module):
    """Rotary places, grouped queries, RMS norms, a gated MLP."""

    cos: Tensor
    sin: Tensor

    def __init__(self, *, experts: int = 0) -> None:
        super().__init__()
        self.embed, self.norm1, self.norm2, self.norm = nn.Embedding(VOCABULARY, WIDTH), RMSNorm(), RMSNorm(), RMSNorm()
        self.q, self.k, self.v = nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False), nn.Linear(4, 2, bias=False)
        self.o, count = nn.Linear(4, 4, bias=False), max(experts, 1)
        self.gate = nn.ModuleList(nn.Linear(4, 6, bias=False) for _ in range(count))
        self.up = nn.ModuleList(nn.Linear(4, 6, bias=False) for _ in range(count))
        self.down = nn.ModuleList(nn.Linear(6, 4, bias=False) for _ in range(count))
        self.router = nn.Linear(4, count, bias=False)
        self.lm_head = nn.Linear(4, VOCABULARY, bias=False)
        self.experts = experts
        angle = torch.outer(torch.arange(6.0), torch.tensor([1.0]))
        self.register_buffer("cos", torch.cat([angle.cos()] * 2, -1))
        self.register_buffer("sin", torch.cat([angle.sin()] * 2, -1))

    def rotated(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, -1)
        return x * self.cos + torch.cat([-two, one], -1) * self.sin

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embed(tokens)
        n, t, _ = h.shape
        x = self.norm1(h)
        q = self.rotated(self.q(x).view(n, t, 2, 2).transpose(1, 2))
        k = self.rotated(self.k(x).view(n, t, 1, 2).transpose(1, 2)).repeat_interleave(2, 1)
        v = self.v(x).view(n, t, 1, 2).transpose(1, 2).repeat_interleave(2, 1)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.o(a.transpose(1, 2).reshape(n, t, 4))
        x = self.norm2(h)
        made = [down(F.silu(gate(x)) * up(x)) for gate, up, down in zip(self.gate, self.up, self.down, strict=True)]
        if self.experts:
            share = self.router(x).softmax(-1)
            best = share.topk(2, -1)
            share = torch.zeros_like(share).scatter(-1, best.indices, best.values)
            h = h + (torch.stack(made, -1) * share.unsqueeze(-2)).sum(-1)
        else:
            h = h + made[0]
        return self.lm_head(self.norm(h))


class T5(nn.Module):
    """An encoder and a decoder that attends to it, with biases by distance."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.bias = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(11, HEADS)
        self.encoder = nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True)
        self.own = nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True)
        self.cross = nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True)
        self.norm1, self.norm2, self.norm3 = RMSNorm(), RMSNorm(), RMSNorm()
        self.wi, self.wo = nn.Linear(WIDTH, 6, bias=False), nn.Linear(6, WIDTH, bias=False)

    def forward(self, tokens: Tensor, decoder_tokens: Tensor) -> Tensor:
        n, t = tokens.shape
        place = torch.arange(t, device=tokens.device)
        bias = self.bias(place[:, None] - place[None] + 5).permute(2, 0, 1)
        bias = bias.unsqueeze(0).expand(n, HEADS, t, t).reshape(n * HEADS, t, t)
        h = self.norm1(self.shared(tokens))
        e = h + self.encoder(h, h, h, attn_mask=bias, need_weights=False)[0]
        d = self.norm2(self.shared(decoder_tokens))
        ahead = torch.triu(torch.full((t, t), -1e9, device=d.device, dtype=d.dtype), 1)
        d = d + self.own(d, d, d, attn_mask=ahead, need_weights=False)[0]
        d = d + self.cross(d, e, e, need_weights=False)[0]
        d = self.norm3(d + self.wo(F.relu(self.wi(d))))
        return F.linear(d, self.shared.weight)


def pairs(rng: np.random.Generator) -> Arrays:
    return {name: rng.integers(0, VOCABULARY, (SAMPLES, 6)) for name in ("tokens", "decoder_tokens", "target")}


class Whole(nn.Module):
    """`nn.Transformer` itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.transformer = nn.Transformer(WIDTH, HEADS, 1, 1, 6, batch_first=True)

    def forward(self, tokens: Tensor, decoder_tokens: Tensor) -> Tensor:
        return self.head(self.transformer(self.table(tokens), self.table(decoder_tokens)))


class Perceiver(nn.Module):
    """Latents that attend to all pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.latents, self.inward = nn.Parameter(torch.randn(3, WIDTH)), nn.Linear(3, WIDTH)
        self.attention, self.head = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), nn.Linear(WIDTH, 4)

    def forward(self, image: Tensor) -> Tensor:
        pixels = self.inward(F.avg_pool2d(image, 4).flatten(2).transpose(1, 2))
        latents = self.latents.unsqueeze(0).expand(image.shape[0], -1, -1)
        return self.head((latents + self.attention(latents, pixels, pixels)[0]).mean(1))


class Clip(nn.Module):
    """Texts scored against pictures, each sample with its own."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.text = nn.Conv2d(3, WIDTH, 8, 8), nn.Embedding(VOCABULARY, WIDTH)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, image: Tensor, texts: Tensor) -> Tensor:
        p = F.normalize(self.picture(image).mean((2, 3)), dim=-1)
        t = F.normalize(self.text(texts).mean(2), dim=-1)
        return self.logit_scale.exp() * (t @ p.unsqueeze(-1)).squeeze(-1)


def pictures_and_texts(rng: np.random.Generator) -> Arrays:
    return {
        "image": rng.standard_normal((SAMPLES, 3, 16, 16)),
        "texts": rng.integers(0, VOCABULARY, (SAMPLES, 4, 5)),
        "target": rng.integers(0, 4, SAMPLES),
    }


F_ = "Transformers"
ARCHITECTURES = [
    Architecture("ViT", F_, ViT, images(), formats=SCRIPT),
    Architecture("DeiT", F_, lambda: ViT(distilled=True), images(), formats=BOTH),
    Architecture("Swin", F_, Swin, images(), formats=BOTH),
    Architecture("MLP-Mixer", F_, Mixer, images(), formats=SCRIPT),
    Architecture("gMLP", F_, lambda: Mixer(gated=True), images(), formats=BOTH),
    Architecture("PoolFormer", F_, PoolFormer, images(), formats=SCRIPT),
    Architecture("Perceiver", F_, Perceiver, images(), formats=BOTH),
    Architecture("CLIP", F_, Clip, pictures_and_texts, formats=BOTH),
    Architecture("BERT, classes", F_, lambda: Bert(masked=False), bert_inputs(masked=False), formats=BOTH),
    Architecture("BERT, masked words", F_, lambda: Bert(masked=True), bert_inputs(masked=True), "tokens", BOTH),
    Architecture("GPT-2, tied", F_, GPT2, tokens(per_token=True), "tokens", SCRIPT),
    Architecture("Llama", F_, Llama, tokens(per_token=True), "tokens", BOTH),
    Architecture("Mixture of experts", F_, lambda: Llama(experts=3), tokens(per_token=True), "tokens", BOTH),
    Architecture("T5", F_, T5, pairs, "tokens", BOTH),
    Architecture("nn.Transformer", F_, Whole, pairs, "tokens", BOTH),
]
