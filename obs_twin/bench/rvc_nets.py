"""RVC's networks in their true sizes, with random weights, for measuring speed where no voice can be had.

Sizes are those of RVC v2's configuration files (40k and 48k) and of HuBERT base, from which ContentVec is made:
VITS' text encoder and flow (Kim et al. 2021), a neural source-filter HiFi-GAN (Kong et al. 2020), wav2vec 2.0's
encoder (Baevski et al. 2020). They make noise; only what they cost is true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN, FILTER, LAYERS, HEADS = 192, 768, 6, 2
SPEAKER = 256
UPSAMPLING = {40_000: ((10, 10, 2, 2), (16, 16, 4, 4)), 48_000: ((12, 10, 2, 2), (24, 20, 4, 4))}
RESBLOCK_KERNELS, DILATIONS = (3, 7, 11), (1, 3, 5)
CONTENT_WIDTH, CONTENT_FILTER, CONTENT_LAYERS, CONTENT_HEADS = 768, 3072, 12, 12
CONTENT_CONVS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))


class _Attention(nn.Module):
    """Self-attention over (1, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[2]
        q, k, v = self.into(x).reshape(1, -1, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weight = torch.softmax(q @ k.transpose(2, 3) / (width // self.heads) ** 0.5, dim=-1)
        mixed: Tensor = self.out((weight @ v).transpose(1, 2).reshape(1, -1, width))
        return mixed


class _Layer(nn.Module):
    """One transformer layer; `kernel` 3 as in VITS, 1 as in HuBERT."""

    def __init__(self, width: int, wide: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.first = nn.Conv1d(width, wide, kernel, padding=kernel // 2)
        self.second = nn.Conv1d(wide, width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](x + self.attention(x))
        y = self.second(F.gelu(self.first(x.transpose(1, 2)))).transpose(1, 2)
        normed: Tensor = self.norms[1](x + y)
        return normed


class _Coupling(nn.Module):
    """A WaveNet of three layers and the flip of a normalising flow."""

    def __init__(self) -> None:
        super().__init__()
        self.pre = nn.Conv1d(HIDDEN // 2, HIDDEN, 1)
        self.speaker = nn.Conv1d(SPEAKER, 2 * HIDDEN * 3, 1)
        self.inside = nn.ModuleList(nn.Conv1d(HIDDEN, 2 * HIDDEN, 5, padding=2) for _ in range(3))
        self.skips = nn.ModuleList(nn.Conv1d(HIDDEN, 2 * HIDDEN, 1) for _ in range(3))
        self.post = nn.Conv1d(HIDDEN, HIDDEN // 2, 1)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        kept, changed = x[:, : HIDDEN // 2], x[:, HIDDEN // 2 :]
        y = self.pre(kept)
        condition = self.speaker(speaker)
        total = torch.zeros_like(y)
        for index, (inside, skip) in enumerate(zip(self.inside, self.skips, strict=True)):
            gate = inside(y) + condition[:, 2 * HIDDEN * index : 2 * HIDDEN * (index + 1)]
            both = skip(torch.tanh(gate[:, :HIDDEN]) * torch.sigmoid(gate[:, HIDDEN:]))
            y, total = y + both[:, :HIDDEN], total + both[:, HIDDEN:]
        return torch.cat([changed - self.post(total), kept], dim=1)


class _ResBlock(nn.Module):
    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in DILATIONS
        )
        self.plain = nn.ModuleList(nn.Conv1d(width, width, kernel, padding=kernel // 2) for _ in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, 0.1)), 0.1))
        return x


class _Generator(nn.Module):
    """HiFi-GAN driven by a sine of the pitch."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        rates, kernels = UPSAMPLING[rate_hz]
        self.rate_hz, self.hop = rate_hz, rate_hz // 100
        self.pre = nn.Conv1d(HIDDEN, 512, 7, padding=3)
        self.speaker = nn.Conv1d(SPEAKER, 512, 1)
        self.ups, self.noises, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        left = self.hop
        for index, (rate, kernel) in enumerate(zip(rates, kernels, strict=True)):
            width = 512 >> (index + 1)
            left //= rate
            self.ups.append(nn.ConvTranspose1d(2 * width, width, kernel, rate, padding=(kernel - rate) // 2))
            wide = 2 * left if left > 1 else 1
            self.noises.append(nn.Conv1d(1, width, wide, left, padding=left // 2 if left > 1 else 0))
            self.blocks.extend(_ResBlock(width, size) for size in RESBLOCK_KERNELS)
        self.post = nn.Conv1d(32, 1, 7, padding=3)

    def forward(self, x: Tensor, f0_hz: Tensor, speaker: Tensor) -> Tensor:
        step = f0_hz[:, :, None].expand(-1, -1, self.hop).reshape(1, -1) / self.rate_hz
        source = torch.sin(2 * torch.pi * torch.cumsum(step, dim=1))[:, None] * 0.1
        x = self.pre(x) + self.speaker(speaker)
        count = len(RESBLOCK_KERNELS)
        for index, (up, noise) in enumerate(zip(self.ups, self.noises, strict=True)):
            x = up(F.leaky_relu(x, 0.1)) + noise(source)
            blocks = list(self.blocks)[index * count : (index + 1) * count]
            x = torch.stack([block(x) for block in blocks]).sum(dim=0) / count
        return torch.tanh(self.post(F.leaky_relu(x)))


class RvcSynthesizer(nn.Module):
    """RVC v2 with pitch: `feats, p_len, pitch, pitchf, sid` to `audio`."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        self.features = nn.Linear(768, HIDDEN)
        self.pitches = nn.Embedding(256, HIDDEN)
        self.layers = nn.ModuleList(_Layer(HIDDEN, FILTER, HEADS, 3) for _ in range(LAYERS))
        self.moments = nn.Conv1d(HIDDEN, 2 * HIDDEN, 1)
        self.flow = nn.ModuleList(_Coupling() for _ in range(4))
        self.speakers = nn.Embedding(109, SPEAKER)
        self.generator = _Generator(rate_hz)

    def forward(self, feats: Tensor, p_len: Tensor, pitch: Tensor, pitchf: Tensor, sid: Tensor) -> Tensor:
        speaker = self.speakers(sid)[:, :, None]
        x = F.leaky_relu((self.features(feats) + self.pitches(pitch)) * HIDDEN**0.5, 0.1)
        for layer in self.layers:
            x = layer(x)
        mean, log_deviation = self.moments(x.transpose(1, 2)).chunk(2, dim=1)
        z = mean + torch.exp(log_deviation * 0.1) * torch.randn_like(mean) * 0.66666 + 0 * p_len.to(mean.dtype)
        for coupling in self.flow:
            z = coupling(z, speaker)
        audio: Tensor = self.generator(z, pitchf, speaker)
        return audio


class Hubert(nn.Module):
    """HuBERT base: `source` (1, 1, N) at 16 kHz to `embed` (1, F, 768)."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1] + [512] * len(CONTENT_CONVS)
        self.convs = nn.ModuleList(
            nn.Conv1d(before, after, kernel, stride, bias=False)
            for before, after, (kernel, stride) in zip(widths, widths[1:], CONTENT_CONVS, strict=False)
        )
        self.norm = nn.GroupNorm(512, 512)
        self.project = nn.Linear(512, CONTENT_WIDTH)
        self.position = nn.Conv1d(CONTENT_WIDTH, CONTENT_WIDTH, 128, padding=64, groups=16)
        self.layers = nn.ModuleList(
            _Layer(CONTENT_WIDTH, CONTENT_FILTER, CONTENT_HEADS, 1) for _ in range(CONTENT_LAYERS)
        )

    def forward(self, source: Tensor) -> Tensor:
        x: Tensor = source
        for index, conv in enumerate(self.convs):
            x = conv(x)
            x = F.gelu(self.norm(x) if index == 0 else x)
        x = self.project(x.transpose(1, 2))
        x = x + F.gelu(self.position(x.transpose(1, 2))[:, :, :-1]).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x


def export(folder: Path, rate_hz: int = 40_000) -> dict[str, Path]:
    """Write both networks as ONNX into `folder`: {"synthesizer": path, "content": path}."""
    torch.manual_seed(0)
    voice, content = RvcSynthesizer(rate_hz).eval(), Hubert().eval()
    with torch.no_grad():  # random weights are too loud
        voice.generator.post.weight.mul_(0.05)
    frames = 64
    features: tuple[Any, ...] = (
        torch.randn(1, frames, 768),
        torch.tensor([frames]),
        torch.full((1, frames), 100),
        torch.full((1, frames), 200.0),
        torch.tensor([0]),
    )
    names = ["feats", "p_len", "pitch", "pitchf", "sid"]
    free = {name: {1: "T"} for name in ("feats", "pitch", "pitchf")} | {"audio": {2: "S"}}
    paths = {"synthesizer": folder / f"random_{rate_hz // 1000}k.onnx", "content": folder / "random_hubert.onnx"}
    options: dict[str, Any] = {"opset_version": 17, "dynamo": False, "do_constant_folding": True}
    torch.onnx.export(
        voice,
        features,
        str(paths["synthesizer"]),
        input_names=names,
        output_names=["audio"],
        dynamic_axes=free,
        **options,
    )
    torch.onnx.export(
        content,
        (torch.randn(1, 1, 16_080),),
        str(paths["content"]),
        input_names=["source"],
        output_names=["embed"],
        dynamic_axes={"source": {2: "N"}, "embed": {1: "F"}},
        **options,
    )
    return paths
