"""What is being said, free of who says it: Moonshine's features, then our adapter, on one window of sound.

The encoder is the tiny English one of Moonshine (Jeffries et al. 2024), tapped after its layers 2 and 3 and at its
end. It normalises over its window and attends to all of it, so each block is encoded anew with its left context.
The adapter (models/voice_adapter.onnx, trained by this project on generated speech only) turns that into the
decoder's content, energy and voicing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.neural_grid import FRAME_S, HEAR_RATE_HZ, STEPS_PER_FRAME
from obs_twin.voice.sessions import open_session

TAPS = ("layer_2", "layer_3", "last")
TAP_WIDTH = 288
TAP_HOP_S = 384 / HEAR_RATE_HZ
TAP_CENTRE_S = 0.028  # of the first tap frame in its window
CONTENT_WIDTH = 128
ADAPTER_OUTPUTS = ("latent", "energy", "voiced")
ADAPTER_LEFT_FRAMES = 40
"""What the adapter is given before the frames that are asked for: nearly all of its receptive field."""


@dataclass(frozen=True)
class Content:
    """Of n frames: ``content`` (2n, 128), ``energy`` (2n,) and ``voiced`` (2n,) 0..1."""

    content: F32
    energy: F32
    voiced: F32


class ContentEncoder:
    """From a window of sound at 16 kHz to ``Content``.

    Raises ``ModelError`` when a file cannot be opened, ``VoiceModelError`` when it is not an adapter of ours.
    """

    def __init__(self, encoder: Path, adapter: Path) -> None:
        self._encoder = open_session(encoder)
        self._adapter = open_session(adapter)
        names = list(self._adapter.outputs)
        self._features = next(iter(self._adapter.inputs))
        missing = [name for name in ADAPTER_OUTPUTS if name not in names]
        if missing or self._adapter.inputs[self._features][-1] != TAP_WIDTH * len(TAPS):
            raise VoiceModelError(
                f"{adapter} is not a voice adapter: it should take {TAP_WIDTH * len(TAPS)} numbers a frame and give "
                f"{', '.join(ADAPTER_OUTPUTS)}; it gives {', '.join(names)}"
            )

    @property
    def provider(self) -> str:
        return self._encoder.provider

    def encode(self, x: F32, first: int, count: int) -> Content:
        """The content of frames ``first`` to ``first + count`` of a window ``x`` (N,), N a multiple of 400."""
        taps = self._encoder.run({"input_values": x[None], "attention_mask": np.ones((1, len(x)), np.int64)}, TAPS)
        start = max(0, first - ADAPTER_LEFT_FRAMES)
        features = at_frames(np.concatenate([tap[0] for tap in taps], axis=1), start, first + count)
        given = self._adapter.run({self._features: features[None]}, ADAPTER_OUTPUTS)
        latent, energy, voiced = (part[0, first - start :] for part in given)
        return Content(np.repeat(latent, STEPS_PER_FRAME, axis=0), energy.reshape(-1), _logistic(voiced.reshape(-1)))


def at_frames(taps: F32, first: int, end: int) -> F32:
    """Tap frames (n, width), interpolated at the middles of frames ``first`` to ``end``."""
    middle_s = (np.arange(first, end) + 0.5) * FRAME_S
    at = np.clip((middle_s - TAP_CENTRE_S) / TAP_HOP_S, 0.0, len(taps) - 1.0)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, len(taps) - 1)
    weight = (at - low).astype(np.float32)[:, None]
    return np.asarray(taps[low] * (1 - weight) + taps[high] * weight, np.float32)


def _logistic(x: F32) -> F32:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)
