"""What the adapter is shown and what it shall say, block by block of a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from obs_twin.voice.listening import TOKEN
from obs_twin.voice.neural_grid import HEAR_FRAME
from obs_twin.voice.training.hearing import Blocks
from obs_twin.voice.training.network import Targets

CONTEXT_FRAMES = 6
"""So many after a block are given to the decoder with it."""
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


def shown(features: Tensor, frames: int) -> Tensor:
    """(B, blocks, frames, width) of what was heard of each block and after it, (B, blocks, tokens, width)."""
    found = at_frames(features.flatten(0, 1), 0.5 * TOKENS_PER_FRAME, frames)
    return found.view(*features.shape[:2], frames, features.shape[-1])


def targets_of_blocks(targets: Targets, count: int, blocks: Blocks, live_only: bool = False) -> Targets:
    """(B * count, frames, ...) of the row's `targets` (B, n, ...). The block itself counts fully, what the decoder is
    given with it less, or, with `live_only`, not at all."""
    frames = torch.arange(blocks.frames + blocks.right_frames)
    importance = torch.where(frames < blocks.frames, 1.0, 0.0 if live_only else CONTEXT_WEIGHT)
    importance[blocks.frames + CONTEXT_FRAMES :] = 0
    at = torch.arange(count)[:, None] * blocks.frames + frames
    cut = Targets(*(part[:, at].flatten(0, 1) for part in targets))
    return cut._replace(weight=cut.weight * importance)
