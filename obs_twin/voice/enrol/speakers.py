"""Telling the person to be enrolled from others in the same recordings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from obs_twin.voice.enrol.speech import Stretch
from obs_twin.voice.model import F32
from obs_twin.voice.neural_grid import MAKE_RATE_HZ
from obs_twin.voice.speaker import SpeakerEmbedder, similarity

SAME_FROM = 0.75
"""Similarity of a short stretch to the mean of a voice. Two people are at about 0.55 (1 in 20 pairs above 0.67)."""
ROUNDS = 4


def embed_all(stretches: Sequence[Stretch], embedder: SpeakerEmbedder) -> list[F32]:
    """One (256,) unit vector for each stretch."""
    return [embedder.embed(stretch.samples, MAKE_RATE_HZ) for stretch in stretches]


def main_voice(vectors: Sequence[F32], weights: Sequence[float], start: F32 | None = None) -> tuple[F32, list[bool]]:
    """The voice that most of the time is heard.

    Args:
        vectors: of the stretches.
        weights: their seconds.
        start: of a recording that is known to be of the person; without it, the largest group decides.

    Returns:
        The mean (256,) of that voice, and for each stretch whether it is of that voice.
    """
    rows, seconds = np.stack(list(vectors)), np.asarray(weights, np.float64)
    alike = rows @ rows.T
    if start is None:
        start = rows[int(np.argmax((alike >= SAME_FROM) @ seconds + 1e-3 * (alike @ seconds)))]
    centre = start
    for _ in range(ROUNDS):
        near = np.array([similarity(row, centre) >= SAME_FROM for row in rows])
        if not near.any():
            break
        mean = (rows[near] * seconds[near, None]).sum(axis=0)
        centre = (mean / np.linalg.norm(mean)).astype(np.float32)
    return centre, [similarity(row, centre) >= SAME_FROM for row in rows]
