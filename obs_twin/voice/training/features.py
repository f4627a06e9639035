"""Windows of sound to the features that are heard in them, beside what the adapter shall say of them; and the shards
in which these lie.

A shard is one `.npz`, not compressed. With N frames in W windows, and K tokens:

========= ============== ======================================================
features  (N, 1024) f16  see `obs_twin.voice.listening`
token     (N,) i32       row of `latents` and `phones`
energy    (N, 2) f16     at 80 Hz
voiced    (N, 2) bool    at 80 Hz
speech    (N,) bool
latents   (K, 128) f16
phones    (K,) i16       phoneme ids, a further task that helps the training
starts    (W + 1,) i64   first frame of each window
held_out  (W,) bool      the sentence or the voice is for evaluation only
voices    (W,) str
========= ============== ======================================================
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.voice.listening import LEAST_SAMPLES, Ear
from obs_twin.voice.training.augment import RATE_HZ, Scenery
from obs_twin.voice.training.speech import SAMPLE_RATE_HZ, Utterance, speaking

F32 = npt.NDArray[np.float32]
HOP_SAMPLES = 400  # 25 ms
SILENT_ENERGY = -8.0
BLOCKS = ((4, 3), (4, 6), (4, 11), (8, 8), (10, 12), (20, 26), (60, 80))
"""How the stream is heard: frames in a block, frames after it. See `obs_twin.voice.plan`."""
BLOCKS_SHARE = (0.1, 0.1, 0.45, 0.1, 0.1, 0.1, 0.05)
LATEST_PLACE = 900


def draw_window_s(rng: np.random.Generator) -> float:
    """How much the converter has heard: some seconds, at a start less."""
    kind = rng.random()
    if kind < 0.2:
        return float(rng.uniform(0.4, 1.4))
    return float(rng.uniform(1.4, 3.5) if kind < 0.5 else rng.uniform(3.5, 9.0))


class ShardWriter:
    """Collects windows: `add(utterance)`, `add_silence()`, then `save(path)`."""

    def __init__(self, ear: Ear, silence: F32, rng: np.random.Generator) -> None:
        """`silence` is the (128,) latent of a long pause."""
        self._ear = ear
        self._silence = silence
        self._rng = rng
        self._scenery = Scenery(rng)
        self._columns: dict[str, list[npt.NDArray[np.generic]]] = {
            name: [] for name in ("features", "token", "energy", "voiced", "speech", "latents", "phones")
        }
        self._starts, self._held_out, self._voices = [0], [False][:0], [""][:0]
        self._tokens = 0

    @property
    def seconds(self) -> float:
        return self._starts[-1] * HOP_SAMPLES / RATE_HZ

    def add(self, utterance: Utterance, held_out: bool) -> None:
        """Spoil one utterance once, and take windows of it until most of it is covered."""
        rate_in = SAMPLE_RATE_HZ * utterance.formant_ratio
        x = self._scenery.spoil(soxr.resample(utterance.samples, rate_in, RATE_HZ))
        row = self._add_tokens(utterance.latents, utterance.phones)
        speech = speaking(utterance.energy)
        covered = 0
        while covered < len(x):
            length = min(int(draw_window_s(self._rng) * RATE_HZ), len(x))
            if length < LEAST_SAMPLES:
                return
            start = int(self._rng.integers(0, len(x) - length + 1))
            frames = length // HOP_SAMPLES
            # Twice as many points as frames: the targets at 80 Hz.
            at_s = (start / RATE_HZ + (np.arange(2 * frames) + 0.5) / 80) * utterance.formant_ratio
            half = np.clip((at_s * 80).astype(int), 0, len(utterance.energy) - 1)
            middle_s = (start / RATE_HZ + (np.arange(frames) + 0.5) / 40) * utterance.formant_ratio
            whole = np.clip((middle_s * 40).astype(int), 0, len(utterance.token) - 1)
            self._append(
                self._hear(x[start : start + length]),
                utterance.token[whole] + row,
                utterance.energy[half].reshape(-1, 2),
                utterance.voiced[half].reshape(-1, 2),
                speech[half].reshape(-1, 2).any(axis=1),
            )
            self._held_out.append(held_out)
            self._voices.append(utterance.voice)
            covered += length

    def add_silence(self, held_out: bool) -> None:
        """A window in which nobody speaks."""
        x = self._scenery.no_speech(draw_window_s(self._rng))
        frames = len(x) // HOP_SAMPLES
        row = self._add_tokens(self._silence[None], np.zeros(1, np.int32))
        no = np.zeros((frames, 2), bool)
        energy = np.full((frames, 2), SILENT_ENERGY, np.float32)
        self._append(self._hear(x), np.full(frames, row, np.int32), energy, no, no[:, 0])
        self._held_out.append(held_out)
        self._voices.append("silence")

    def _hear(self, x: F32) -> F32:
        """The features of a window, heard as with one of the delays, at any time of a stream."""
        frames, right_frames = BLOCKS[self._rng.choice(len(BLOCKS), p=BLOCKS_SHARE)]
        place = int(self._rng.integers(0, LATEST_PLACE)) if self._rng.random() < 0.5 else 0
        return self._ear.features(x, frames, right_frames, place)

    def _add_tokens(self, latents: F32, phones: npt.NDArray[np.int32]) -> int:
        row = self._tokens
        self._columns["latents"].append(latents.astype(np.float16))
        self._columns["phones"].append(phones.astype(np.int16))
        self._tokens += len(phones)
        return row

    def _append(
        self,
        features: F32,
        token: npt.NDArray[np.int32],
        energy: F32,
        voiced: npt.NDArray[np.bool_],
        speech: npt.NDArray[np.bool_],
    ) -> None:
        columns = self._columns
        columns["features"].append(features.astype(np.float16))
        columns["token"].append(token.astype(np.int32))
        columns["energy"].append(energy.astype(np.float16))
        columns["voiced"].append(voiced)
        columns["speech"].append(speech)
        self._starts.append(self._starts[-1] + len(token))

    def save(self, path: Path) -> None:
        """Write the shard; it appears under `path` only when it is whole."""
        arrays = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        part = path.with_suffix(".part.npz")
        np.savez(
            part,
            allow_pickle=False,
            starts=np.array(self._starts),
            held_out=np.array(self._held_out),
            voices=np.array(self._voices),
            **arrays,
        )
        part.replace(path)
