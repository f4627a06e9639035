"""The adapter: what is heard to what the decoder speaks.

A stack of ConvNeXt layers (Liu et al. 2022, in one dimension) that look mostly back: depthwise convolution over
seven frames, layer norm, and a two-layer perceptron per frame. Every other layer sees one frame of what comes next;
those between look far back, at every 4th to 16th frame of up to 2.4 s.

Live, a block is computed once, with the frames that come after it; of the frames before it each layer keeps what it
was given when they were new (`Adapter.step`). In training a row of blocks is computed side by side in the same way
(`Adapter.forward`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from obs_twin.voice.listening import FEATURE_WIDTH, TAP_WIDTH, TAPS

LATENT_SIZE = 128
PHONES = 178
KERNEL = 7
CHANNELS, HIDDEN = 256, 1280
LAYERS = ((1, 1), (0, 4), (1, 1), (0, 8), (1, 1), (0, 16), (1, 2), (0, 4), (1, 1), (0, 8), (1, 1), (0, 16), (1, 1))
"""Of each layer: how many of its frames lie ahead, and how far apart they are."""
ENERGY_SCALE = 5.0
NOISE = 0.1  # added to the normalised taps while training, so that windows are not learnt by heart
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


class Layer(nn.Module):
    """One ConvNeXt layer; `ahead` of its seven frames, `dilation` frames apart, lie in the future."""

    def __init__(self, channels: int, hidden: int, ahead: int, dilation: int) -> None:
        super().__init__()
        self._ahead_frames, self._dilation = ahead * dilation, dilation
        self.depthwise = nn.Conv1d(channels, channels, KERNEL, groups=channels, dilation=dilation)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, hidden)
        self.narrow = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, past: Tensor, x: Tensor) -> Tensor:
        """(B, n, C) of n frames (B, n, C) and those before them that the layer sees; after them is nothing."""
        all_frames = F.pad(torch.cat([past, x], dim=1), (0, 0, 0, self._ahead_frames))
        # Tap by tap: of a long past only a few frames are looked at.
        weight, y = self.depthwise.weight[:, 0].to(x.dtype), torch.as_tensor(self.depthwise.bias)
        for tap in range(KERNEL):
            first = tap * self._dilation
            y = torch.addcmul(y, all_frames[:, first : first + x.shape[1]], weight[:, tap])
        y = self.norm(y)
        change: Tensor = self.narrow(F.gelu(self.widen(y))) * self.scale
        return x + change


class Adapter(nn.Module):
    """Features to `Outputs`."""

    def __init__(
        self, channels: int = CHANNELS, hidden: int = HIDDEN, layers: tuple[tuple[int, int], ...] = LAYERS
    ) -> None:
        """`layers`: as `LAYERS`."""
        super().__init__()
        self.lookahead_frames = sum(ahead * dilation for ahead, dilation in layers)
        self._past_frames = [(KERNEL - 1 - ahead) * dilation for ahead, dilation in layers]
        self._channels = channels
        self.tap_norms = nn.ModuleList([nn.LayerNorm(TAP_WIDTH) for _ in TAPS])
        self.dropout = nn.Dropout(0.1)
        self.inlet = nn.Linear(FEATURE_WIDTH, channels)
        self.layers = nn.ModuleList([Layer(channels, hidden, *layer) for layer in layers])
        self.norm = nn.LayerNorm(channels)
        self.latent = nn.Linear(channels, LATENT_SIZE)
        self.marks = nn.Linear(channels, 5)  # energy 2, voiced 2, speech 1
        self.phone = nn.Linear(channels, PHONES)
        self.latent_mean: Tensor
        self.latent_sd: Tensor
        self.register_buffer("latent_mean", torch.zeros(LATENT_SIZE))
        self.register_buffer("latent_sd", torch.ones(LATENT_SIZE))

    def forward(self, features: Tensor, middle: int) -> Outputs:
        """(B * blocks, n, ...) of `features` (B, blocks, n, 1024): of each block its `middle` frames, and those that
        are heard after it."""
        rows, count = features.shape[:2]
        x = self._enter(features)
        for layer, frames in zip(self.layers, self._past_frames, strict=True):
            past = before(x, middle, frames)
            x = layer(past.flatten(0, 1), x.flatten(0, 1)).view(rows, count, *x.shape[2:])
        return self._leave(x.flatten(0, 1))

    def step(self, features: Tensor, past: Sequence[Tensor]) -> tuple[Outputs, list[Tensor]]:
        """(1, n, ...) of `features` (1, n, 1024), where `past` has for each layer what it was given before;
        and what each layer is given of these frames, (1, n, C)."""
        x = self._enter(features)
        given = []
        for layer, old in zip(self.layers, past, strict=True):
            given.append(x)
            x = layer(old, x)
        return self._leave(x), given

    def nothing(self) -> list[Tensor]:
        """What is before the first frame, for `step`."""
        return [torch.zeros(1, frames, self._channels) for frames in self._past_frames]

    def _enter(self, features: Tensor) -> Tensor:
        taps = [norm(tap) for norm, tap in zip(self.tap_norms, torch.split(features, TAP_WIDTH, dim=-1), strict=True)]
        x = torch.cat(taps, dim=-1)
        if self.training:
            x = x + NOISE * torch.randn_like(x)
        entered: Tensor = self.inlet(self.dropout(x))
        return entered

    def _leave(self, x: Tensor) -> Outputs:
        x = self.norm(x)
        marks = self.marks(x)
        latent = self.latent(x) * self.latent_sd + self.latent_mean
        return Outputs(latent, marks[..., :2] * ENERGY_SCALE, marks[..., 2:4], marks[..., 4], self.phone(x))


def before(x: Tensor, middle: int, frames: int) -> Tensor:
    """(B, blocks, frames, C): what came before each block of `x` (B, blocks, n, C), as it was when it was new: the
    middles of earlier blocks. Before the row there is nothing, which is 0."""
    middles = F.pad(x[:, :, :middle].flatten(1, 2), (0, 0, frames, 0))
    return middles.unfold(1, frames, middle)[:, : x.shape[1]].transpose(2, 3)


class Targets(NamedTuple):
    """What the outputs should be, with `weight` (B, F) 0 where there is nothing. F is frames."""

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
