"""What is being said, free of who says it: Whisper's features, then our adapter, block by block of a stream.

The adapter (models/voice_adapter.onnx, trained by this project) turns what `listening` hears into the decoder's
content, energy and voicing. Its layers look far back: of the frames that are final each keeps what it was given.
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
OUTPUTS = ("latent", "energy", "voiced")
FEATURES, PAST, GIVEN = "features", "past_", "given_"


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
        inputs, outputs = self._adapter.inputs, tuple(self._adapter.outputs)
        self._layers = [name.removeprefix(PAST) for name in inputs if name.startswith(PAST)]
        expected = (*OUTPUTS, *(GIVEN + layer for layer in self._layers))
        if not self._layers or inputs.get(FEATURES, [0])[-1] != FEATURE_WIDTH or not set(expected) <= set(outputs):
            raise VoiceModelError(
                f"{adapter} is not a voice adapter: it should take {FEATURES} (1, n, {FEATURE_WIDTH}) with {PAST}0 and "
                f"so on, and give {', '.join(OUTPUTS)} with {GIVEN}0 and so on; it takes "
                f"{', '.join(f'{name} {shape}' for name, shape in inputs.items())} and gives {', '.join(outputs)}"
            )
        self.reset()

    @property
    def provider(self) -> str:
        return self._ear.provider

    def reset(self) -> None:
        """A new stream begins."""
        self._ear.reset()
        shapes = {layer: self._adapter.inputs[PAST + layer] for layer in self._layers}
        self._past = {layer: np.zeros([size or 1 for size in shape], np.float32) for layer, shape in shapes.items()}
        self._said: list[F32] | None = None  # of the frames before the next block

    def hear(self, x: F32, x_start: int, frames: int, right_frames: int, before: int) -> Content:
        """The content of the next block, of what comes after it, and, as it was said then, of ``before`` frames before
        it. At the beginning of a stream the block's first frame stands for those.

        Sound and block as for ``Ear.hear``.
        """
        now = self._adapt(self._ear.hear(x, x_start, frames, right_frames), frames)
        said = now if self._said is None else [np.concatenate(pair) for pair in zip(self._said, now, strict=True)]
        self._said = [part[max(0, len(part) - right_frames - before) : len(part) - right_frames] for part in said]
        missing = max(0, before + frames + right_frames - len(said[0]))
        return _content(*(np.pad(part, ((missing, 0), (0, 0)), mode="edge") for part in said))

    def whole(self, x: F32, frames: int = 60, right_frames: int = 80) -> Content:
        """The content of a whole recording (N,) at 16 kHz, N // 400 frames, heard in blocks of so many frames."""
        self.reset()
        features = self._ear.features(x, frames, right_frames)
        return _content(*self._adapt(features, len(features)))

    def _adapt(self, features: F32, final: int) -> list[F32]:
        """Latent (n, 128), energy (n, 2) and voicing (n, 2) of ``features`` (n, 1024), the first ``final`` of which are
        not heard again."""
        feeds = {PAST + layer: past for layer, past in self._past.items()} | {FEATURES: features[None]}
        (*said,) = self._adapter.run(feeds, (*OUTPUTS, *(GIVEN + layer for layer in self._layers)))
        for layer, given in zip(self._layers, said[len(OUTPUTS) :], strict=True):
            past = self._past[layer]
            self._past[layer] = np.concatenate([past, given[:, :final]], axis=1)[:, -past.shape[1] :]
        return [part[0] for part in said[: len(OUTPUTS)]]


def _content(latent: F32, energy: F32, voiced: F32) -> Content:
    likely = np.asarray(1 / (1 + np.exp(-voiced.reshape(-1))), np.float32)
    return Content(np.repeat(latent, STEPS_PER_FRAME, axis=0), energy.reshape(-1), likely)
