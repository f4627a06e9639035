"""Recordings of people, with what they say, as training data: which frame holds which sound is found by the adapter
itself, as far as it has been trained (forced alignment: Viterbi's path through the sentence's phonemes).

A folder of recordings is sound files with lists as Common Voice has them (`filename`, `text` or `path`, `sentence`), or
LibriSpeech, or with a `.txt` beside each. Only what is said is learnt: the adapter's output says nothing about who
speaks. Latents, energy and voicing are those with which hibari would say the sentence at the same pace. Recordings in
which the sentence is not found are left out.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch

from obs_twin.voice.neural_grid import HEAR_FRAME, HEAR_RATE_HZ
from obs_twin.voice.training.dataset import silence_latent
from obs_twin.voice.training.hearing import Blocks, Hearing, mel_of_blocks
from obs_twin.voice.training.network import Adapter
from obs_twin.voice.training.shards import SILENT_ENERGY, ShardWriter
from obs_twin.voice.training.speech import F32, I32, SAMPLE_RATE_HZ, VOICED_HZ, Hibari, SpeechError, Utterance
from obs_twin.voice.training.texts import is_held_out
from obs_twin.voice.training.views import shown

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
SHORTEST_S, LONGEST_S = 1.0, 18.0
FILES_PER_SHARD = 200
RATIOS = (0.87, 1.15)
HEARD_PEAK = 0.5
SILENT_DB = -25.0  # from the loudest frames
PAUSE_FRAMES = 5
MOST_TOKENS = 480
LATENT_SHARE = 4.0  # of an error of the latent, beside the phoneme's log probability
LEAST_SCORE = -2.6
SAYS_NOTHING = " ;:,.!?—…ˈˌ"
"""Marks that may take no time at all."""


class NotFoundError(ValueError):
    """The sentence is not in the recording, or cannot be spoken."""


class Aligner:
    """`align(x, sentence)`: what is said in each frame of a recording."""

    def __init__(self, hearing: Hearing, adapter: Adapter, hibari: Hibari, silence: F32) -> None:
        """`silence` is the (128,) latent of a long pause."""
        self._hearing, self._adapter, self._hibari = hearing.eval(), adapter.eval(), hibari
        self._silence = silence
        self._passable = np.array([0, *(hibari.id_of(mark) for mark in SAYS_NOTHING)])

    def align(self, x: F32, sentence: str) -> Utterance:
        """`x` (N,) at 16 kHz. Raises `NotFoundError`."""
        try:
            ids = self._hibari.ids(sentence, MOST_TOKENS)
        except SpeechError as error:
            raise NotFoundError(str(error)) from error
        frames = len(x) // HEAR_FRAME
        x = x[: frames * HEAR_FRAME]
        latents, prosody, _ = self._hibari.tokens(ids)
        with torch.no_grad():
            blocks = Blocks(frames, 0)
            device = self._adapter.latent_sd.device
            mel = torch.from_numpy(mel_of_blocks(x, 1, blocks))[None].to(device)
            place = torch.zeros(1, dtype=torch.long, device=device)
            heard = self._hearing(mel, place, blocks, changed=False)
            said = self._adapter(shown(heard, frames), frames)
        phone = said.phone[0].log_softmax(-1).cpu().numpy()[:, ids]
        away = (said.latent[0].cpu().numpy()[:, None] - latents[0].T[None]) / self._adapter.latent_sd.cpu().numpy()
        token = best_path(phone - LATENT_SHARE * np.abs(away).mean(-1), np.isin(ids, self._passable))
        silent = _silent(x)
        score = float(phone[np.arange(frames), token][~silent].mean()) if not silent.all() else -np.inf
        if score < LEAST_SCORE:
            raise NotFoundError(f"{sentence!r} is not found (mean log probability {score:.2f})")
        _, f0, energy = self._hibari.prosody(latents, prosody, np.bincount(token, minlength=len(ids)))
        pause = silent & np.isin(ids[token], self._passable)
        return Utterance(
            soxr.resample(x, HEAR_RATE_HZ, SAMPLE_RATE_HZ),
            1.0,
            np.concatenate([latents[0].T, self._silence[None]]),
            np.append(ids, 0).astype(np.int32),
            np.where(pause, len(ids), token).astype(np.int32),
            np.where(np.repeat(pause, 2), SILENT_ENERGY, energy).astype(np.float32),
            (f0 > VOICED_HZ) & ~np.repeat(pause, 2),
            f"recording {score:.2f}",
        )


def best_path(scores: F32, passable: npt.NDArray[np.bool_]) -> I32:
    """(F,) the token of each frame on the best way through all tokens in their order, of `scores` (F, L). Those that
    are `passable` (L,), at most three in a row, may be left out."""
    frames, count = scores.shape
    reach = np.full(count, -np.inf)
    reach[:3] = np.where(np.cumprod(np.concatenate([[True], passable[:2]])), 0.0, -np.inf)
    total = reach + scores[0]
    came = np.zeros((frames, count), np.int32)
    skips = [np.ones(count, bool)]
    for step in (1, 2, 3):  # whether the tokens between may be passed over
        between = np.ones(count, bool)
        for back in range(1, step):
            between &= np.concatenate([np.zeros(back, bool), passable[:-back]])
        skips.append(between)
    for frame in range(1, frames):
        ways = np.full((4, count), -np.inf)
        for step in range(4):
            ways[step, step:] = total[: count - step]
            ways[step, ~skips[step]] = -np.inf
        best = ways.argmax(0)
        came[frame] = best
        total = ways[best, np.arange(count)] + scores[frame]
    last = max((at for at in range(count) if passable[at + 1 :].all() or at == count - 1), key=lambda at: total[at])
    if not np.isfinite(total[last]):
        raise NotFoundError(f"{frames} frames are too few for {count} sounds")
    path = np.empty(frames, np.int32)
    for frame in range(frames - 1, -1, -1):
        path[frame] = last
        last -= came[frame, last]
    return path


def _silent(x: F32) -> npt.NDArray[np.bool_]:
    """(F,) frames of pauses."""
    level_db = 10 * np.log10(np.square(x, dtype=np.float64).reshape(-1, HEAR_FRAME).mean(1) + 1e-12)
    quiet = level_db < np.percentile(level_db, 95) + SILENT_DB
    edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.view(np.int8), [0]))))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < PAUSE_FRAMES and start > 0 and end < len(quiet):
            quiet[start:end] = False
    return np.asarray(quiet, np.bool_)


def found_recordings(folder: Path) -> list[tuple[Path, str]]:
    """The sound files below `folder` with what is said in them, in the order of their names."""
    found = dict(_listed(folder))
    for path in folder.rglob("*"):
        text = path.with_suffix(".txt")
        if path.suffix.lower() in SOUNDS and path not in found and text.is_file():
            found[path] = text.read_text(encoding="utf-8", errors="replace")
    # All in capitals would be read out as letters.
    return sorted((path, (text.lower() if text.isupper() else text).strip()) for path, text in found.items())


def _listed(folder: Path) -> Iterator[tuple[Path, str]]:
    """What the lists of Common Voice (and nobody voted against) and of LibriSpeech below `folder` name."""
    for lines in folder.rglob("*.trans.txt"):
        for line in lines.read_text(encoding="utf-8").splitlines():
            name, _, said = line.partition(" ")
            if lines.with_name(f"{name}.flac").is_file():
                yield lines.with_name(f"{name}.flac"), said
    for table in folder.rglob("*.[ct]sv"):
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="," if table.suffix == ".csv" else "\t"):
                sound, text = row.get("filename") or row.get("path"), row.get("text") or row.get("sentence")
                places = [table.parent / part / str(sound) for part in (".", "clips")]
                path = next((place for place in places if sound and place.is_file()), None)
                if path is not None and text and not int(row.get("down_votes") or 0):
                    yield path, text


def make_recorded_shards(
    work: Path, recordings: Path, hearing: Hearing, adapter: Adapter, hibari: Hibari, seed: int
) -> None:
    """Shards of the recordings below a folder that do not exist yet, each recording twice: as it is and, in other
    surroundings, faster or slower."""
    silence = silence_latent(hibari)
    aligner = Aligner(hearing, adapter, hibari, silence)
    files = found_recordings(recordings)
    for index in range(-(-len(files) // FILES_PER_SHARD)):
        path = work / "data" / f"recorded-{index:03d}.npz"
        if path.is_file():
            continue
        began, left_out = time.process_time(), 0
        rng = np.random.default_rng((seed, 2, index))
        shard = ShardWriter(silence, rng)
        for file, sentence in files[index * FILES_PER_SHARD : (index + 1) * FILES_PER_SHARD]:
            try:
                utterance = aligner.align(_read(file), sentence.rstrip(".") + ".")
            except (NotFoundError, soundfile.LibsndfileError):
                left_out += 1
                continue
            held_out = is_held_out(sentence)
            shard.add(utterance, held_out, alone=True)
            if not held_out:
                ratio = float(np.exp(rng.uniform(*np.log(RATIOS))))
                shard.add(replace(utterance, formant_ratio=ratio), held_out)
        if not shard.seconds:
            continue
        shard.save(path)
        seconds = time.process_time() - began
        print(f"{path.name}: {shard.seconds / 60:.0f} min, {left_out} left out, {seconds:.0f} s of CPU", flush=True)


def _read(path: Path) -> F32:
    """(N,) at 16 kHz. Raises `NotFoundError` when it is too short or too long."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    x = np.asarray(soxr.resample(samples.mean(1), rate_hz, HEAR_RATE_HZ), np.float32)
    if not SHORTEST_S <= len(x) / HEAR_RATE_HZ <= LONGEST_S:
        raise NotFoundError(f"{path.name} has {len(x) / HEAR_RATE_HZ:.1f} s")
    return x * np.float32(HEARD_PEAK / max(1e-4, float(np.abs(x).max())))
