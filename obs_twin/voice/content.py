"""What is being said, free of who says it: Whisper's features, then our adapter, block by block of a stream.

The adapter (models/voice_adapter.onnx, trained by this project) turns what `listening` hears
into the decoder's content, energy and voicing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from obs_twin.voice.listening import FEATURE_WIDTH, Ear
from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.neural_grid import STEPS_PER_FRAME
from obs_twin.voice.sessions import open_session

CONTENT_WIDTH = 128
ADAPTER_OUTPUTS = ("latent", "energy", "voiced")
ADAPTER_LEFT_FRAMES = 46
"""What the adapter is given before a block: nearly all of its receptive field, and what the decoder asks for."""


@dataclass(frozen=True)
class Content:
    """Of n frames: ``content`` (2n, 128), ``energy`` (2n,) and ``voiced`` (2n,) 0..1."""

    content: F32
    energy: F32
    voiced: F32


class ContentEncoder:
    """Hears one stream at 16 kHz and says what is in it.

    Raises ``ModelError`` when a file cannot be opened, ``VoiceModelError`` when it is not an adapter of ours.
    """

    def __init__(self, encoder: Path, adapter: Path) -> None:
        self._ear = Ear(encoder)
        self._adapter = open_session(adapter)
        names = list(self._adapter.outputs)
        self._features = next(iter(self._adapter.inputs))
        missing = [name for name in ADAPTER_OUTPUTS if name not in names]
        if missing or self._adapter.inputs[self._features][-1] != FEATURE_WIDTH:
            raise VoiceModelError(
                f"{adapter} is not a voice adapter: it should take {FEATURE_WIDTH} numbers a frame and give "
                f"{', '.join(ADAPTER_OUTPUTS)}; it gives {', '.join(names)}"
            )

    @property
    def provider(self) -> str:
        return self._ear.provider

    def reset(self) -> None:
        """A new stream begins."""
        self._ear.reset()

    def hear(self, x: F32, x_start: int, frames: int, right_frames: int) -> F32:
        """Listen to the next block; see ``Ear.hear``. Returns what ``content`` wants to know of it."""
        return self._ear.hear(x, x_start, frames, right_frames, before=ADAPTER_LEFT_FRAMES)

    def content(self, features: F32, count: int) -> Content:
        """The content of the last ``count`` frames of ``features`` (n, 1024).

        Where there are fewer, at the beginning of a stream, the first one stands for those before it.
        """
        given = self._adapter.run({self._features: features[None]}, ADAPTER_OUTPUTS)
        missing = max(0, count - len(features))
        latent, energy, voiced = (np.pad(part[0], ((missing, 0), (0, 0)), mode="edge")[-count:] for part in given)
        return Content(np.repeat(latent, STEPS_PER_FRAME, axis=0), energy.reshape(-1), _logistic(voiced.reshape(-1)))

    def whole(self, x: F32, frames: int = 60, right_frames: int = 80) -> Content:
        """The content of a whole recording (N,) at 16 kHz, N // 400 frames, heard in blocks of so many frames."""
        features = self._ear.features(x, frames, right_frames)
        return self.content(features, len(features))


def _logistic(x: F32) -> F32:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)
