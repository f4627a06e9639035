"""What the adapter is shown: of each block that is converted, the frames that the stream knows at that moment."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from obs_twin.voice.content import ADAPTER_LEFT_FRAMES
from obs_twin.voice.listening import TOKEN
from obs_twin.voice.neural_grid import HEAR_FRAME
from obs_twin.voice.training.hearing import Blocks
from obs_twin.voice.training.network import Targets

CONTEXT_FRAMES = 6
"""So many before the block are given to the decoder once more."""
CONTEXT_WEIGHT = 0.25
TOKENS_PER_FRAME = HEAR_FRAME / TOKEN


def at_frames(tokens: Tensor, first: float, frames: int, step: float = TOKENS_PER_FRAME) -> Tensor:
    """(B, frames, width): tokens (B, n, width) interpolated at token `first`, and every `step` tokens from there, as
    `obs_twin.voice.listening.at_frames` does."""
    at = (first + torch.arange(frames, device=tokens.device) * step).clamp(0, tokens.shape[1] - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=tokens.shape[1] - 1)
    weight = (at - low)[:, None]
    return tokens[:, low] * (1 - weight) + tokens[:, high] * weight


def views(
    features: Tensor, targets: Targets, blocks: Blocks, chosen: Iterable[int], live_only: bool = False
) -> tuple[Tensor, Targets]:
    """Of each chosen block, all of which have equally much before them: features (B * chosen, n, width), and targets.

    `live_only`: nothing counts but the blocks themselves.
    """
    shown, said = [], []
    for block in chosen:
        seen, frames = view(features, blocks, block)
        shown.append(seen)
        said.append(_targets_of(targets, blocks, block, frames, live_only))
    return torch.cat(shown), Targets(*(torch.cat(parts) for parts in zip(*said, strict=True)))


def view(features: Tensor, blocks: Blocks, block: int) -> tuple[Tensor, slice]:
    """Features (B, blocks, length, width) to those of the frames (B, n, width) that belong to one block: up to 46
    before it, itself, and what comes after it; and which frames of the row these are."""
    begin = block * blocks.frames
    left = min(ADAPTER_LEFT_FRAMES, begin)
    tokens_before = min(block * blocks.middle, int(left * TOKENS_PER_FRAME) + 1)
    middles = features[:, :block, : blocks.middle].flatten(1, 2)
    tokens = torch.cat([middles[:, middles.shape[1] - tokens_before :], features[:, block]], dim=1)
    frames = slice(begin - left, begin + blocks.frames + blocks.right_frames)
    first = tokens_before + (0.5 - left) * TOKENS_PER_FRAME
    return at_frames(tokens, first, frames.stop - frames.start), frames


def _targets_of(targets: Targets, blocks: Blocks, block: int, frames: slice, live_only: bool) -> Targets:
    """The targets of these frames; the block itself counts fully, what the decoder is given around it less."""
    around = 0.0 if live_only else CONTEXT_WEIGHT
    importance = torch.zeros(frames.stop - frames.start)
    begin = block * blocks.frames - frames.start
    importance[max(0, begin - CONTEXT_FRAMES) :] = around
    importance[begin : begin + blocks.frames] = 1
    cut = Targets(*(part[:, frames] for part in targets))
    return cut._replace(weight=cut.weight * importance)
