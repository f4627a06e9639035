"""Text in the voice of a twin.

A neural voice needs no detour: the text half of the family that its decoder belongs to (hibari) gives content, pitch
and energy for the phonemes, the pitch is moved to the target's range, and the twin's own decoder makes the sound. Any
other kind of voice converts what the built-in speech says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.twin.synthetic.speech import LEVEL_RMS, PAUSES, PEAK, speak
from obs_twin.voice.decoder import Decoder
from obs_twin.voice.model import F32, F64, VoiceModelError, VoiceSettings
from obs_twin.voice.neural_grid import MAKE_RATE_HZ, MAKE_STEP
from obs_twin.voice.resample import AlignedResampler
from obs_twin.voice.spectral_synthesis import AHEAD_STEPS, TAIL_SAMPLES, SpectralSynthesiser
from obs_twin.voice.target import VoiceTarget
from obs_twin.voice.whole import STUDIO_RATE_HZ, convert_whole, open_whole
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.derive import derived_path
from obs_twin.zoo.provider import open_onnx
from obs_twin.zoo.store import ModelStore

MAX_CHARS = 2000
VOICED_FROM_HZ = 40.0
SPEED_LIMITS = (0.5, 2.0)
SPREAD_LIMITS = (0.6, 1.6)
LOWEST_HZ, HIGHEST_HZ = 55.0, 500.0
LAST_STEPS = 4  # of silence, in which the last sound rings out


class TwinSpeaker:
    """Speaks English with the voice of a twin.

    Args:
        kind, files: the voice of a twin pack, as in `registry.open_voice`.
        settings: of which pitch and intonation apply, and all of them where the kind converts.

    Raises:
        VoiceModelError: a network is not on this machine, or the pack's files are damaged.
    """

    def __init__(
        self,
        kind: str,
        files: Mapping[str, Path],
        settings: VoiceSettings | None = None,
        store: ModelStore | None = None,
    ) -> None:
        self._kind, self._files = kind, files
        self._settings = settings or VoiceSettings()
        self._neural: _NeuralSpeaker | None = None
        if kind == "neural":
            self._neural = _NeuralSpeaker(files, self._settings, ModelStore() if store is None else store)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of what `say` returns."""
        return STUDIO_RATE_HZ

    def say(self, text: str, speed: float = 1.0) -> F32:
        """The sound of `text`, (N,) float32 at `sample_rate_hz`; the same text always gives the same sound.

        Raises:
            VoiceModelError: no English word in it, more than 2000 characters, or a speed outside 0.5 to 2.
        """
        if len(text) > MAX_CHARS:
            raise VoiceModelError(f"the text has {len(text)} characters; at most {MAX_CHARS} can be said at once")
        if not SPEED_LIMITS[0] <= speed <= SPEED_LIMITS[1]:
            raise VoiceModelError(f"the speed must be between {SPEED_LIMITS[0]} and {SPEED_LIMITS[1]}, not {speed}")
        if self._neural is not None:
            return _at_rate(_levelled(self._neural.say(text, speed)), MAKE_RATE_HZ)
        try:
            said = speak(text, speed=speed)
        except ValueError as error:
            raise VoiceModelError(str(error)) from error
        sound = _at_rate(said.samples, said.sample_rate_hz)
        return _levelled(
            convert_whole(open_whole(self._kind, self._files, sound, STUDIO_RATE_HZ, self._settings), sound)
        )


class _NeuralSpeaker:
    def __init__(self, files: Mapping[str, Path], settings: VoiceSettings, store: ModelStore) -> None:
        if "target" not in files:
            raise VoiceModelError('a voice of kind "neural" needs the file "target"; the twin pack lacks it')
        self._target = VoiceTarget.load(files["target"])
        self._settings = settings
        try:
            self._text = open_onnx(derived_path("hibari_text", store), providers=[])
            self._decoder = Decoder(files["decoder"] if "decoder" in files else derived_path("hibari_decoder", store))
        except ModelError as error:
            raise VoiceModelError(str(error)) from error

    def say(self, text: str, speed: float) -> F32:
        spoken = [self._latents(ids, speed) for ids in _phoneme_ids(text)]
        if not spoken:
            raise VoiceModelError(f"nothing to say in {text!r}: expected at least one English word")
        log_f0 = np.log(np.concatenate([f0_hz[f0_hz > VOICED_FROM_HZ] for _, f0_hz, _ in spoken]))
        middle, spread = (float(log_f0.mean()), float(log_f0.std())) if len(log_f0) else (0.0, 1.0)
        return np.concatenate(
            [self._sound(content, self._moved(f0_hz, middle, spread), energy) for content, f0_hz, energy in spoken]
        )

    def _latents(self, ids: list[int], speed: float) -> tuple[F32, F64, F32]:
        """Content (n, 128), F0 (n,) in Hz and energy (n,) of one sentence, 80 steps a second."""
        feeds: dict[str, npt.NDArray[Any]] = {
            "ids": np.asarray([ids], np.int64),
            "speed": np.asarray([speed], np.float32),
        }
        try:
            content, f0_hz, energy = self._text.run(feeds)
        except ModelError as error:
            raise VoiceModelError(str(error)) from error
        return np.ascontiguousarray(content[0].T), np.asarray(f0_hz[0], np.float64), energy[0]

    def _moved(self, f0_hz: F64, middle: float, spread: float) -> F64:
        """F0 of the text's own voice to the target's middle and spread."""
        ratio = self._target.log_f0_deviation / max(spread, 0.02)
        ratio = min(max(ratio, SPREAD_LIMITS[0]), SPREAD_LIMITS[1]) ** self._settings.intonation_strength
        wanted = self._target.log_f0_mean + self._settings.pitch_semitones * math.log(2) / 12
        voiced = f0_hz > VOICED_FROM_HZ
        log_f0 = np.log(np.where(voiced, f0_hz, 1.0)) - middle
        return np.where(voiced, np.clip(np.exp(wanted + ratio * log_f0), LOWEST_HZ, HIGHEST_HZ), 0.0)

    def _sound(self, content: F32, f0_hz: F64, energy: F32) -> F32:
        spectra = self._decoder.run(content, f0_hz.astype(np.float32), energy)
        synthesiser = SpectralSynthesiser()
        shaped = synthesiser.shape(spectra, np.concatenate([f0_hz, np.zeros(AHEAD_STEPS)]))
        sound = np.concatenate([synthesiser.add(shaped), synthesiser.rest(LAST_STEPS)])
        return sound[: len(f0_hz) * MAKE_STEP + TAIL_SAMPLES]


@lru_cache(maxsize=1)
def _phonemiser() -> Any:
    from hibari import Hibari

    return Hibari()


def _phoneme_ids(text: str) -> list[list[int]]:
    """The phonemes of each sentence that has any, as the network numbers them."""
    hibari = _phonemiser()
    return [
        hibari.ids(sentence) for sentence in hibari.phonemize(text) if any(symbol not in PAUSES for symbol in sentence)
    ]


def _levelled(sound: F32) -> F32:
    """As loud as a close microphone delivers speech."""
    level, peak = float(np.sqrt(np.mean(sound**2))), float(np.abs(sound).max(initial=0.0))
    if peak == 0.0:
        return sound
    return np.asarray(sound * min(LEVEL_RMS / level, PEAK / peak), np.float32)


def _at_rate(sound: F32, rate_hz: int) -> F32:
    resampler = AlignedResampler(rate_hz, STUDIO_RATE_HZ)
    return np.concatenate([resampler.push(sound), resampler.flush()])
