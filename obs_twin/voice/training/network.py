"""The adapter: what is heard to what the decoder speaks.

A stack of ConvNeXt blocks (Liu et al. 2022, in one dimension) that look mostly back: depthwise convolution over
seven frames of which one lies ahead, layer norm, and a two-layer perceptron per frame. There is no recurrence and
no attention, so a window's frames can be computed in any order and a shorter window costs less.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from obs_twin.voice.listening import FEATURE_WIDTH, TAP_WIDTH, TAPS

LATENT_SIZE = 128
PHONES = 178
KERNEL = 7
ENERGY_SCALE = 5.0
NOISE = 0.2  # added to the normalised taps while training, so that windows are not learnt by heart
KNEE = 0.1  # of the loss; see losses()


class Outputs(NamedTuple):
    latent: Tensor
    """(B, F, 128)"""
    energy: Tensor
    """(B, F, 2)"""
    voiced: Tensor
    """(B, F, 2) logits"""
    speech: Tensor
    """(B, F) logits"""
    phone: Tensor
    """(B, F, 178) logits; a further task for the training, not exported"""


class Block(nn.Module):
    """One ConvNeXt block over (B, F, C); `ahead` of its seven frames lie in the future."""

    def __init__(self, channels: int, hidden: int, ahead: int, dilation: int) -> None:
        super().__init__()
        self.padding = ((KERNEL - 1 - ahead) * dilation, ahead * dilation)
        self.depthwise = nn.Conv1d(channels, channels, KERNEL, groups=channels, dilation=dilation)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, hidden)
        self.narrow = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(F.pad(x.transpose(1, 2), self.padding)).transpose(1, 2)
        change: Tensor = self.narrow(F.gelu(self.widen(self.norm(y)))) * self.scale
        return x + change


class Adapter(nn.Module):
    """(B, F, 1024) features to `Outputs`."""

    def __init__(
        self, channels: int = 256, hidden: int = 640, dilations: tuple[int, ...] = (1, 1, 1, 2, 1, 1, 1)
    ) -> None:
        super().__init__()
        self.lookahead_frames = sum(dilations)
        self.tap_norms = nn.ModuleList([nn.LayerNorm(TAP_WIDTH) for _ in TAPS])
        self.dropout = nn.Dropout(0.1)
        self.inlet = nn.Linear(FEATURE_WIDTH, channels)
        self.blocks = nn.ModuleList([Block(channels, hidden, 1, dilation) for dilation in dilations])
        self.norm = nn.LayerNorm(channels)
        self.latent = nn.Linear(channels, LATENT_SIZE)
        self.marks = nn.Linear(channels, 5)  # energy 2, voiced 2, speech 1
        self.phone = nn.Linear(channels, PHONES)
        self.latent_mean: Tensor
        self.latent_sd: Tensor
        self.register_buffer("latent_mean", torch.zeros(LATENT_SIZE))
        self.register_buffer("latent_sd", torch.ones(LATENT_SIZE))

    def forward(self, features: Tensor) -> Outputs:
        taps = [norm(tap) for norm, tap in zip(self.tap_norms, torch.split(features, TAP_WIDTH, dim=-1), strict=True)]
        x = torch.cat(taps, dim=-1)
        if self.training:
            x = x + NOISE * torch.randn_like(x)
        x = self.inlet(self.dropout(x))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        marks = self.marks(x)
        latent = self.latent(x) * self.latent_sd + self.latent_mean
        return Outputs(latent, marks[..., :2] * ENERGY_SCALE, marks[..., 2:4], marks[..., 4], self.phone(x))


class Targets(NamedTuple):
    """What the outputs should be, with `weight` (B, F) 0 where there is nothing."""

    latent: Tensor
    energy: Tensor
    voiced: Tensor
    speech: Tensor
    phone: Tensor
    weight: Tensor


def losses(outputs: Outputs, targets: Targets, adapter: Adapter, decoder_view: Tensor | None) -> dict[str, Tensor]:
    """Each part of the loss, already weighted, and under "r2" and "phone_accuracy" two figures for people.

    `decoder_view` (128, K) is what the decoder's first layer sees of a latent: errors count as much as they are
    heard. The loss is linear but for very small errors: where two sounds are possible, a quadratic one would teach
    their mean, which is neither and is heard as mumbling.
    """
    weight = targets.weight / targets.weight.sum().clamp(min=1)

    def mean(per_frame: Tensor) -> Tensor:
        return (per_frame * weight).sum()

    error = outputs.latent - targets.latent
    spread = targets.latent - adapter.latent_mean
    scaled = error / adapter.latent_sd
    parts = {
        "latent": mean(F.smooth_l1_loss(scaled, torch.zeros_like(scaled), reduction="none", beta=KNEE).mean(-1)),
        "angle": mean(1 - F.cosine_similarity(outputs.latent - adapter.latent_mean, spread, dim=-1)),
        "energy": 0.2 * mean((outputs.energy - targets.energy).abs().mean(-1)),
        "voiced": 0.3
        * mean(F.binary_cross_entropy_with_logits(outputs.voiced, targets.voiced, reduction="none").mean(-1)),
        "speech": 0.15 * mean(F.binary_cross_entropy_with_logits(outputs.speech, targets.speech, reduction="none")),
        "phone": 0.25 * mean(F.cross_entropy(outputs.phone.transpose(1, 2), targets.phone, reduction="none")),
    }
    if decoder_view is not None:
        seen = error @ decoder_view
        parts["view"] = 0.5 * mean(F.smooth_l1_loss(seen, torch.zeros_like(seen), reduction="none", beta=KNEE).mean(-1))
    with torch.no_grad():
        parts["r2"] = 1 - mean(error.square().sum(-1)) / mean(spread.square().sum(-1)).clamp(min=1e-6)
        parts["phone_accuracy"] = mean((outputs.phone.argmax(-1) == targets.phone).float())
    return parts
