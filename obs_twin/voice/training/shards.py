"""Sound, beside what the adapter shall say of it, and the shards in which both lie.

A shard is one `.npz`, not compressed. With N frames in W pieces of sound, and K tokens:

========= ============== ======================================================
sound     (400 N,) i16   at 16 kHz
token     (N,) i32       row of `latents` and `phones`
energy    (N, 2) f16     at 80 Hz
voiced    (N, 2) bool    at 80 Hz
speech    (N,) bool
latents   (K, 128) f16
phones    (K,) i16       phoneme ids, a further task that helps the training
starts    (W + 1,) i64   first frame of each piece
held_out  (W,) bool      the sentence or the voice is for evaluation only
voices    (W,) str
========= ============== ======================================================
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.voice.neural_grid import HEAR_FRAME, HEAR_RATE_HZ
from obs_twin.voice.training.augment import Scenery
from obs_twin.voice.training.speech import SAMPLE_RATE_HZ, Utterance, speaking

F32 = npt.NDArray[np.float32]
SILENT_ENERGY = -8.0
LEAD_S, TRAIL_S = 1.2, 0.6
"""As much silence, at most, before and after what is said."""
NOBODY_S = (1.0, 9.0)


class ShardWriter:
    """Collects sound: `add(utterance)`, `add_silence()`, then `save(path)`."""

    def __init__(self, silence: F32, rng: np.random.Generator) -> None:
        """`silence` is the (128,) latent of a long pause."""
        self._silence = silence
        self._rng = rng
        self._scenery = Scenery(rng)
        self._columns: dict[str, list[npt.NDArray[np.generic]]] = {
            name: [] for name in ("sound", "token", "energy", "voiced", "speech", "latents", "phones")
        }
        self._starts, self._held_out, self._voices = [0], [False][:0], [""][:0]
        self._tokens = 0

    @property
    def seconds(self) -> float:
        return self._starts[-1] * HEAR_FRAME / HEAR_RATE_HZ

    def add(self, utterance: Utterance, held_out: bool, alone: bool = False) -> None:
        """One utterance, somewhere, with some silence around it; or `alone`, as it is."""
        rate_in = SAMPLE_RATE_HZ * utterance.formant_ratio
        x = soxr.resample(utterance.samples, rate_in, HEAR_RATE_HZ)
        lead, trail = (
            int(rng_s * HEAR_RATE_HZ) // HEAR_FRAME * HEAR_FRAME if self._rng.random() < 0.7 and not alone else 0
            for rng_s in (self._rng.uniform(0, LEAD_S), self._rng.uniform(0, TRAIL_S))
        )
        frames = (lead + len(x) + trail) // HEAR_FRAME
        x = x if alone else self._scenery.spoil(np.pad(x, (lead, trail)))
        silent = self._add_tokens(self._silence[None], np.zeros(1, np.int32))
        row = self._add_tokens(utterance.latents, utterance.phones)
        # In the utterance's own frames; twice as many points as frames for what has 80 Hz.
        half = np.floor(((np.arange(2 * frames) + 0.5) / 80 - lead / HEAR_RATE_HZ) * utterance.formant_ratio * 80)
        whole = np.floor(((np.arange(frames) + 0.5) / 40 - lead / HEAR_RATE_HZ) * utterance.formant_ratio * 40)
        inside, half_inside = (
            (at >= 0) & (at < n) for at, n in ((whole, len(utterance.token)), (half, len(utterance.energy)))
        )
        at, half_at = (
            whole.clip(0, len(utterance.token) - 1).astype(int),
            half.clip(0, len(utterance.energy) - 1).astype(int),
        )
        speech = speaking(utterance.energy)[half_at] & half_inside
        self._append(
            x[: frames * HEAR_FRAME],
            np.where(inside, utterance.token[at] + row, silent),
            np.where(half_inside, utterance.energy[half_at], SILENT_ENERGY).reshape(-1, 2),
            (utterance.voiced[half_at] & half_inside).reshape(-1, 2),
            speech.reshape(-1, 2).any(axis=1),
        )
        self._held_out.append(held_out)
        self._voices.append(utterance.voice)

    def add_silence(self, held_out: bool) -> None:
        """Some seconds in which nobody speaks."""
        x = self._scenery.no_speech(float(self._rng.uniform(*NOBODY_S)))
        frames = len(x) // HEAR_FRAME
        row = self._add_tokens(self._silence[None], np.zeros(1, np.int32))
        no = np.zeros((frames, 2), bool)
        energy = np.full((frames, 2), SILENT_ENERGY, np.float32)
        self._append(x[: frames * HEAR_FRAME], np.full(frames, row, np.int32), energy, no, no[:, 0])
        self._held_out.append(held_out)
        self._voices.append("silence")

    def _add_tokens(self, latents: F32, phones: npt.NDArray[np.int32]) -> int:
        row = self._tokens
        self._columns["latents"].append(latents.astype(np.float16))
        self._columns["phones"].append(phones.astype(np.int16))
        self._tokens += len(phones)
        return row

    def _append(
        self,
        sound: F32,
        token: npt.NDArray[np.int32],
        energy: F32,
        voiced: npt.NDArray[np.bool_],
        speech: npt.NDArray[np.bool_],
    ) -> None:
        columns = self._columns
        columns["sound"].append(np.clip(np.rint(sound * 32767), -32767, 32767).astype(np.int16))
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
