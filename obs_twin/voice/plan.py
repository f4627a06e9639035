"""What a delay buys: how long a stretch is converted at a time, and how much of what comes next is heard before.

The neural voice converts chunks, each with what comes after it (right context) and the memory of what came before. More
right context makes clearer words; longer chunks cost less, because what comes after is computed again for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from obs_twin.voice.model import VoiceModelError
from obs_twin.voice.neural_grid import FRAME_S

SYNTHESIS_TAIL_MS = 25.0
RESAMPLING_MS = 3.5  # there and back
COMPUTE_RESERVE = 3.0
"""A chunk may take so many times longer than measured, because others want the processor too."""
ENGINE_RESERVE_MS = 60.0
"""Of what the engine keeps free of the delay anyhow, left for computing beside the packets' jitter and the polling."""
PITCH_LEFT_S = 0.15


@dataclass(frozen=True)
class Plan:
    """One way to spend a delay, in frames of 25 ms.

    chunk_frames: converted at a time.
    right_frames: heard beyond the chunk.
    quality: what a person hears, in words.
    """

    chunk_frames: int
    right_frames: int
    quality: str

    @property
    def lookahead_ms(self) -> float:
        """Chunk and right context."""
        return (self.chunk_frames + self.right_frames) * FRAME_S * 1000

    @property
    def chunk_cost_ms(self) -> float:
        """Processor time for one chunk, as measured on one core of a 2020 server (EPYC)."""
        chunk_s, right_s = (FRAME_S * frames for frames in (self.chunk_frames, self.right_frames))
        encode = 4.0 + 11.0 * (chunk_s + right_s)
        pitch = 11.0 * (PITCH_LEFT_S + chunk_s + right_s)
        return encode + pitch + 45.0 * chunk_s + 2.0

    @property
    def cost(self) -> float:
        """Share of one core while speaking (RTF)."""
        return self.chunk_cost_ms / (self.chunk_frames * FRAME_S * 1000)

    @property
    def budget_ms(self) -> float:
        """What it needs of the delay."""
        compute_ms = max(0.0, COMPUTE_RESERVE * self.chunk_cost_ms - ENGINE_RESERVE_MS)
        return self.lookahead_ms + SYNTHESIS_TAIL_MS + RESAMPLING_MS + compute_ms


PLANS = (
    Plan(4, 3, "understandable; some words are less clear"),
    Plan(4, 6, "mostly clear"),
    Plan(4, 9, "good"),
    Plan(8, 12, "good"),
    Plan(12, 14, "good"),
    Plan(16, 18, "very good"),
    Plan(20, 26, "very good"),
    Plan(28, 40, "the best there is"),
    Plan(40, 60, "the best there is, and less work"),
    Plan(60, 80, "the best there is, and the least work"),
)
"""From the shortest to the longest."""


def plan_for(budget_ms: float) -> Plan:
    """The best plan that fits into ``budget_ms``. Raises ``VoiceModelError`` when none does."""
    fitting = [plan for plan in PLANS if plan.budget_ms <= budget_ms]
    if not fitting:
        needed_ms = math.ceil(PLANS[0].budget_ms)
        raise VoiceModelError(
            f"this voice has to hear {needed_ms} ms ahead, and the delay leaves {max(0.0, budget_ms):.0f} ms: "
            "raise the delay"
        )
    return fitting[-1]


def price_list(delays_ms: Sequence[int], reserve_ms: float, slower: float = 1.0) -> list[str]:
    """A line for each delay that says what it costs and gives.

    ``reserve_ms`` is what the caller keeps of the delay; ``slower`` how much slower than the machine that the costs
    were measured on this one is.
    """
    lines = []
    for delay_ms in delays_ms:
        try:
            plan = plan_for(delay_ms - reserve_ms)
        except VoiceModelError:
            continue
        percent = max(1, round(100 * plan.cost * slower))
        lines.append(f"{delay_ms / 1000:g} s: {plan.quality}; {percent} % of one core")
    return lines
