"""How an RVC voice cuts the stream, chosen from the delay. All in frames of 10 ms.

       |<- extra: only the content encoder hears it ->|<- context ->|<--- block --->|<- right ->|
                                                      |<------ the synthesizer's window ------->|

Right of a block lie the cross-fade with the next one, the room for SOLA's search, and a margin in which convolutions
feel the window's end. ONNX exports cannot start their decoder in the middle as RVC's PyTorch code can, so the context
is kept short and only the content encoder, which needs it more, hears the extra.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from obs_twin.voice.model import VoiceModelError
from obs_twin.voice.rvc.settings import RvcSettings

FRAME_MS = 10
SEARCH_MS = 5.0  # SOLA moves a block by at most so much either way
COMPUTE_MARGIN_MS = 10.0  # of the budget, beside the computing itself
COMPUTE_SHARE = 0.5  # computing may last so many blocks before the voice is late
SHORTEST_BLOCK, LONGEST_BLOCK = 6, 100
CONTEXT = 24
SHORTEST_CONTEXT = 8
SHORTEST_EXTRA, LONGEST_EXTRA = 40, 250
LEAST_MARGIN, MOST_MARGIN = 2, 20
GATE_FRAMES = 6  # what the gate wants to hear of what comes


@dataclass(frozen=True)
class Layout:
    """Lengths in frames of 10 ms; all but `context` are even, as a content frame is two of them."""

    extra: int
    context: int
    block: int
    right: int

    @property
    def window(self) -> int:
        """What the synthesizer makes at once."""
        return self.context + self.block + self.right


def choose(
    settings: RvcSettings, *, budget_ms: float, fixed_ms: float, window_frames: int | None, content_frames: int | None
) -> Layout:
    """The lengths for a delay.

    Args:
        settings: of which block, extra and cross-fade matter.
        budget_ms: the delay, less what others need.
        fixed_ms: what resampling and the encoder's last frame add, whatever the block.
        window_frames, content_frames: where a network takes only one length, that one.

    Raises:
        VoiceModelError: the delay is too short, or a network's fixed length is; with the least that would do.
    """
    margin = min(max(int(0.1 * budget_ms / FRAME_MS), LEAST_MARGIN), MOST_MARGIN)
    right = _even(max(math.ceil((settings.crossfade_ms + SEARCH_MS) / FRAME_MS) + margin, GATE_FRAMES))
    least = _even(max(math.ceil((settings.crossfade_ms + SEARCH_MS) / FRAME_MS) + LEAST_MARGIN, GATE_FRAMES))
    overhead_ms = fixed_ms + COMPUTE_MARGIN_MS

    def room(right_frames: int) -> float:
        return (budget_ms - overhead_ms - right_frames * FRAME_MS) / (1 + COMPUTE_SHARE) / FRAME_MS

    if room(right) < SHORTEST_BLOCK:
        right = least
    most = min(room(right), LONGEST_BLOCK)
    wanted = settings.block_ms / FRAME_MS
    shortest = max(SHORTEST_BLOCK, wanted)
    if room(right) < shortest:
        needed_ms = overhead_ms + right * FRAME_MS + shortest * FRAME_MS * (1 + COMPUTE_SHARE)
        raise VoiceModelError(
            f"this RVC voice needs {math.ceil(needed_ms - budget_ms)} ms more delay: raise the delay"
            + (f", or lower block_ms ({settings.block_ms:g})" if wanted else "")
        )
    block = int(wanted or most) // 2 * 2
    context = CONTEXT
    if window_frames is not None:
        block = min(block, (window_frames - right - SHORTEST_CONTEXT) // 2 * 2)
        context = window_frames - right - block
        _require(block, f"this RVC voice takes {window_frames} frames of 10 ms at a time", right + SHORTEST_CONTEXT)
    extra = settings.extra_ms / FRAME_MS or min(max(budget_ms / FRAME_MS, SHORTEST_EXTRA), LONGEST_EXTRA)
    extra = max(_even(extra), _even(context))
    if content_frames is not None:
        block = min(block, (content_frames - right - SHORTEST_CONTEXT) // 2 * 2)
        _require(
            block, f"this content encoder takes {content_frames} frames of 10 ms at a time", right + SHORTEST_CONTEXT
        )
        extra = max((content_frames - right - block) // 2 * 2, 0)
        if window_frames is not None:
            context = window_frames - right - block
        context = min(context, extra) if window_frames is None else context
    return Layout(extra=extra, context=context, block=block, right=right)


def _require(block: int, who: str, others: int) -> None:
    if block < SHORTEST_BLOCK:
        raise VoiceModelError(
            f"{who}, which leaves {max(0, block)} for a block; at least {SHORTEST_BLOCK} of {others + SHORTEST_BLOCK} "
            "are needed. Export it with a free or a larger length, or lower crossfade_ms."
        )


def _even(frames: float) -> int:
    return 2 * math.ceil(frames / 2)
