"""Sentences spoken by Kokoro's voices, labelled with hibari's latents.

Kokoro costs sixty times as much as hibari, but has 54 voices, and every mixture of two is a further one. Its
durations are laid over hibari's tokens of the same phonemes, which gives hibari's latents along Kokoro's speech.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from obs_twin.voice.training.networks import (
    KOKORO_DURATIONS,
    KOKORO_ENERGY,
    KOKORO_F0,
    KOKORO_LATENTS,
    cut_kokoro,
    open_session,
)
from obs_twin.voice.training.speech import FRAME_SAMPLES, VOICED_HZ, Hibari, SpeechError, Utterance

F32 = npt.NDArray[np.float32]

HELD_OUT_VOICES = ("af_bella", "am_adam", "bf_isabella", "bm_lewis")


class Kokoro:
    """Speaks sentences: `Kokoro(model, styles, hibari, folder).speak(sentence, rng, held_out)`."""

    def __init__(self, model: Path, styles: Mapping[str, F32], hibari: Hibari, folder: Path) -> None:
        self._text, self._decoder = (open_session(path) for path in cut_kokoro(model, folder))
        self._styles = styles
        self._hibari = hibari
        self._seen = [name for name in styles if name not in HELD_OUT_VOICES]
        self._english = [name for name in self._seen if name[0] in "ab"]

    def speak(self, sentence: str, rng: np.random.Generator, held_out: bool) -> Utterance:
        """Speak `sentence` in a voice of its own; one of the voices kept for evaluation if `held_out`.

        Raises:
            SpeechError: it cannot be spoken.
        """
        ids = self._hibari.ids(sentence)
        name, style = self._draw_style(len(ids), rng, held_out)
        outputs = [KOKORO_LATENTS, KOKORO_F0, KOKORO_ENERGY, KOKORO_DURATIONS]
        speed = np.array([np.exp(rng.uniform(np.log(0.75), np.log(1.45)))], np.float32)
        feed = {"tokens": ids[None], "style": style[None], "speed": speed}
        latents, f0, energy, durations = self._text.run(outputs, feed)
        frames = np.rint(durations).astype(np.int64).ravel()
        if len(frames) != len(ids) or frames.sum() != latents.shape[2]:
            raise SpeechError(f"{sentence!r}: {frames.sum()} frames in tokens, {latents.shape[2]} in the latent")
        f0 = self._pitch(f0, rng)
        feed = {KOKORO_LATENTS: latents, KOKORO_F0: f0, KOKORO_ENERGY: energy, "style": style[None]}
        samples = self._decoder.run(["audio"], feed)[0].ravel().astype(np.float32)
        if not np.isfinite(samples).all() or np.abs(samples).max() < 0.01:
            raise SpeechError(f"{sentence!r} came out silent or broken in the voice {name}")
        heard = self._hibari.tokens(ids)[0][0].T
        token = np.repeat(np.arange(len(ids), dtype=np.int32), frames)
        samples = samples[: len(token) * FRAME_SAMPLES]
        # A little longer or shorter a tract than the voice's own.
        ratio = float(np.exp(rng.uniform(np.log(0.9), np.log(1.12)))) if rng.random() < 0.6 and not held_out else 1.0
        return Utterance(
            samples, ratio, heard, ids.astype(np.int32), token, energy[0], f0[0] > VOICED_HZ, f"kokoro {name}"
        )

    def _draw_style(self, tokens: int, rng: np.random.Generator, held_out: bool) -> tuple[str, F32]:
        if held_out:
            name = HELD_OUT_VOICES[rng.integers(len(HELD_OUT_VOICES))]
            return name, self._styles[name][tokens]
        first = str(rng.choice(self._english if rng.random() < 0.6 else self._seen))
        if rng.random() < 0.45:
            return first, self._styles[first][tokens]
        second, share = str(rng.choice(self._seen)), rng.uniform(-0.15, 1.15)
        mixed = self._styles[first][tokens] * share + self._styles[second][tokens] * (1 - share)
        return f"{first}*{share:.2f}+{second}", mixed.astype(np.float32)

    @staticmethod
    def _pitch(f0: F32, rng: np.random.Generator) -> F32:
        voiced = f0 > VOICED_HZ
        if not voiced.any() or rng.random() < 0.4:
            return f0
        log_f0 = np.log(np.maximum(f0, VOICED_HZ))
        mean = log_f0[voiced].mean()
        shifted = (log_f0 - mean) * rng.uniform(0.5, 1.6) + mean + rng.uniform(-0.3, 0.3)
        return np.where(voiced, np.clip(np.exp(shifted), 60, 420), f0).astype(np.float32)
