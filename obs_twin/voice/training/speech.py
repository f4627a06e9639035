"""Sentences spoken by hibari's network in made-up voices, with every frame's latent, energy and voicing.

The network has one voice. Others are made of it before its spectra become sound, where F0, envelope, noise and
time are still apart, so nothing is torn:

* vocal tract: the sound is played faster or slower, which moves all formants, with durations and F0 set so that
  pace and pitch come out as wanted; on top, the envelope's frequency axis is bent piece by piece;
* source: F0 from 65 to 330 Hz, flat to lively, jitter, creak, spectral tilt, breathiness, whisper;
* rhythm: durations per phoneme, pauses, the prosody network then speaks the new durations;
* accent: latents of some phonemes are mixed with, or replaced by, those of a neighbouring phoneme;
* slur: latents are smoothed over time, as in fast and careless speech.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from obs_twin.voice.training.networks import (
    HIBARI_ENERGY,
    HIBARI_FRAMES,
    HIBARI_LATENTS,
    HIBARI_PROSODY,
    HIBARI_SPECTRA,
    HIBARI_TOKEN,
    cut_hibari,
    open_session,
)

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 600  # 25 ms
BINS = 601
VOICED_HZ = 30.0  # hibari and Kokoro put unvoiced frames at some 10 Hz
MAX_TOKENS = 220

# What a speaker with another first language, or another English, says instead (hibari's alphabet).
ACCENT = {
    "θ": "tsf", "ð": "dzv", "ɹ": "wl", "l": "ɹ", "v": "wbf", "w": "v", "z": "s", "ʒ": "ʃz", "ʤ": "ʧʒ", "ŋ": "n",
    "T": "td", "d": "t", "ɡ": "k", "b": "p", "ʃ": "s", "ʧ": "ʃ", "ɪ": "i", "i": "ɪ", "æ": "ɛɑ", "ɛ": "æɪA",
    "ʌ": "ɑæ", "ə": "ɛʌɪ", "ɐ": "ʌɛ", "ɑ": "ɔʌO", "ɔ": "ɑO", "ʊ": "u", "u": "ʊ", "ɜ": "ɛɔ", "A": "ɛI", "O": "ɔW",
    "I": "ɑA", "W": "Oɑ", "Y": "Oɔ",
}  # fmt: skip


class SpeechError(ValueError):
    """A sentence that cannot be spoken; take another."""


@dataclass(frozen=True)
class Utterance:
    """A spoken sentence and what the adapter shall hear in it. F frames of 25 ms before any change of tempo."""

    samples: F32
    """(F * 600,) at 24 kHz."""
    formant_ratio: float
    """The samples are to be played this much faster; then a frame lasts 25 ms / formant_ratio."""
    latents: F32
    """(L, 128), one per token."""
    phones: I32
    """(L,) phoneme ids."""
    token: I32
    """(F,) which token each frame belongs to."""
    energy: F32
    """(2 F,) at 80 Hz, hibari's units."""
    voiced: npt.NDArray[np.bool_]
    """(2 F,) at 80 Hz."""
    voice: str = field(default="hibari")


def speaking(energy: F32, threshold: float = -2.0, shortest_pause: int = 10) -> npt.NDArray[np.bool_]:
    """(2 F,) whether each 12.5 ms frame is speech; silences shorter than `shortest_pause` frames are closures."""
    spoken = energy > threshold
    edges = np.flatnonzero(np.diff(np.concatenate(([1], spoken.view(np.int8), [1]))))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < shortest_pause and start > 0 and end < len(spoken):
            spoken[start:end] = True
    return spoken


class Hibari:
    """hibari's three networks: `prosody(ids, durations)`, `spectra(latents, f0, energy)`, `sound(...)`."""

    def __init__(self, folder: Path) -> None:
        from hibari import Hibari as Speaker

        self._speaker = Speaker()
        self._text, self._prosody, self._decoder = (open_session(path) for path in cut_hibari(folder))

    def ids(self, sentence: str, most: int = MAX_TOKENS) -> I64:
        """(L,) phoneme ids of a sentence, with the pads at both ends.

        Raises:
            SpeechError: nothing to say, or too much for one breath.
        """
        try:
            ids = np.array(self._speaker.ids(" ".join(self._speaker.phonemize(sentence))), np.int64)
        except (KeyError, IndexError, ValueError) as error:
            raise SpeechError(f"{sentence!r} cannot be pronounced: {error}") from error
        if not 6 <= len(ids) <= most:
            raise SpeechError(f"{sentence!r} has {len(ids)} phonemes; 6 to {most} were expected")
        return ids

    def id_of(self, phone: str) -> int:
        return int(self._speaker.vocab[phone])

    def tokens(self, ids: I64) -> tuple[F32, F32, I64]:
        """Latents (1, 128, L), prosody features (1, 192, L) and natural durations (L,) in frames of 25 ms."""
        feed = {"ids": ids[None], "speed": np.ones(1, np.float32)}
        latents, prosody, token = self._text.run([HIBARI_LATENTS, HIBARI_PROSODY, HIBARI_TOKEN], feed)
        return latents, prosody, np.bincount(token, minlength=len(ids))

    def prosody(self, latents: F32, prosody: F32, durations: I64) -> tuple[I32, F32, F32]:
        """Token of each frame (F,), F0 (2 F,) in Hz and energy (2 F,) for the given durations (L,)."""
        token = np.repeat(np.arange(len(durations)), durations)
        feed = {HIBARI_LATENTS: latents, HIBARI_PROSODY: prosody, HIBARI_TOKEN: token}
        f0, energy = self._prosody.run(["f0", HIBARI_ENERGY], feed)
        return token.astype(np.int32), f0[0], energy[0]

    def spectra(self, frame_latents: F32, f0: F32, energy: F32) -> list[F32]:
        """The decoder's five spectra, each (601, 2 F), of latents (F, 128), F0 (2 F,) and energy (2 F,)."""
        frames = np.ascontiguousarray(np.repeat(frame_latents, 2, axis=0).T[None], np.float32)
        feed = {
            HIBARI_FRAMES: frames,
            "f0": f0[None].astype(np.float32),
            HIBARI_ENERGY: energy[None].astype(np.float32),
        }
        return [spectrum[0] for spectrum in self._decoder.run(list(HIBARI_SPECTRA), feed)]


@dataclass(frozen=True)
class Voice:
    """One made-up speaker; drawn by `draw_voice`."""

    formant_ratio: float
    f0_hz: float
    f0_range: float
    jitter: float
    creak: float
    rate: float
    tilt: float
    breath: float
    whisper: bool
    bend: F32
    """(knots,) ratio of the envelope's frequency axis, at `BEND_KNOTS_HZ`."""
    colour: F32
    """(601,) log gain of the source."""


BEND_KNOTS_HZ = np.array([0, 350, 900, 1800, 3000, 5000, 12000])


def draw_voice(rng: np.random.Generator) -> Voice:
    """A speaker from bass to child. Tract length and pitch go together, as in people, but not strictly."""
    size = rng.random()  # 0 large, 1 small
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, BINS)
    colour = np.zeros(BINS)
    for _ in range(rng.integers(0, 5)):
        centre, width = np.exp(rng.uniform(np.log(120), np.log(7500))), rng.uniform(0.15, 0.6)
        colour += rng.uniform(-1.0, 1.0) * np.exp(-0.5 * (np.log(np.maximum(bins_hz, 20) / centre) / width) ** 2)
    bend = 1 + rng.normal(0, 0.05 if rng.random() < 0.7 else 0.0, len(BEND_KNOTS_HZ))
    return Voice(
        formant_ratio=float(np.clip(0.80 + 0.30 * size + rng.normal(0, 0.05), 0.74, 1.2)),
        f0_hz=float(np.clip(82 * 3.2**size * np.exp(rng.normal(0, 0.16)), 65, 330)),
        f0_range=float(rng.uniform(0.35, 1.7)),
        jitter=float(rng.uniform(0, 0.03) if rng.random() < 0.5 else 0.0),
        creak=float(rng.uniform(0.3, 0.6) if rng.random() < 0.12 else 0.0),
        rate=float(np.exp(rng.uniform(np.log(0.72), np.log(1.7)))),
        tilt=float(rng.normal(0, 0.25)),
        breath=float(rng.uniform(0.3, 2.5) if rng.random() < 0.35 else 0.0),
        whisper=bool(rng.random() < 0.03),
        bend=np.clip(bend, 0.86, 1.16).astype(np.float32),
        colour=colour.astype(np.float32),
    )


def _durations(natural: I64, pauses: npt.NDArray[np.bool_], voice: Voice, rng: np.random.Generator) -> I64:
    """Frames per token in this voice's rhythm; pauses and both ends are drawn anew."""
    stretch = voice.formant_ratio / voice.rate * np.exp(rng.normal(0, rng.uniform(0.05, 0.3), len(natural)))
    frames = natural * stretch + rng.uniform(-0.5, 0.5, len(natural))
    longer = pauses & (rng.random(len(natural)) < 0.3)
    frames[longer] += rng.exponential(8.0, longer.sum())
    for end in (0, -1):
        if rng.random() < 0.6:
            frames[end] = rng.uniform(2, 16) if rng.random() < 0.7 else rng.uniform(16, 50)
    return np.maximum(np.rint(frames), 1).astype(np.int64)


def _pitch(f0: F32, voice: Voice, rng: np.random.Generator) -> F32:
    voiced = f0 > VOICED_HZ
    if voice.whisper or not voiced.any():
        return np.zeros_like(f0)
    log_f0 = np.log(np.maximum(f0, VOICED_HZ))
    contour = (log_f0 - log_f0[voiced].mean()) * voice.f0_range
    drift = np.interp(np.arange(len(f0)), np.linspace(0, len(f0), 6), rng.normal(0, 0.06, 6))
    contour += drift + rng.normal(0, 1, len(f0)) * voice.jitter
    if voice.creak:
        last = np.flatnonzero(voiced)[-1]
        contour[max(0, last - rng.integers(10, 40)) : last + 1] -= voice.creak
    f0_hz = np.exp(contour + np.log(voice.f0_hz)) / voice.formant_ratio
    return np.where(voiced, np.clip(f0_hz, 50, 480), 0.0).astype(np.float32)


def _slur(latents: F32, rng: np.random.Generator) -> F32:
    """(F, 128) latents of a mouth that does not reach every sound: each frame drawn towards its neighbours, over 75 to
    225 ms. What is to be heard stays what was meant."""
    weights = np.hanning(2 * rng.integers(2, 6) + 1)
    mean = ndimage.convolve1d(latents, weights / weights.sum(), axis=0, mode="nearest")
    share = np.float32(rng.uniform(0.2, 0.85))
    return np.asarray((1 - share) * latents + share * mean, np.float32)


def _bend(spectrum: F32, voice: Voice) -> F32:
    """Move the envelope along frequency: linear interpolation between the bins it comes from."""
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, BINS)
    source = np.clip(hz / np.interp(hz, BEND_KNOTS_HZ, voice.bend), 0, hz[-1]) / hz[1]
    low = np.minimum(source.astype(int), BINS - 2)
    share = (source - low)[:, None].astype(np.float32)
    return np.asarray(spectrum[low] * (1 - share) + spectrum[low + 1] * share)


def sound(spectra: list[F32], f0: F32, voice: Voice, rng: np.random.Generator) -> F32:
    """(F * 600,) samples of the decoder's spectra in this voice."""
    from hibari import dsp

    harmonic, theta, noise, free, phase = spectra
    octaves = np.log2(np.maximum(np.linspace(0, 12, BINS), 0.1))[:, None].astype(np.float32)
    shape = voice.colour[:, None] + voice.tilt * octaves
    harmonic, noise, free = (_bend(part, voice) + shape for part in (harmonic, noise, free))
    if voice.whisper:
        noise = np.logaddexp(noise, harmonic + np.float32(rng.uniform(0.5, 1.5)))
        harmonic = np.full_like(harmonic, -12.0)
    elif voice.breath:
        noise = np.logaddexp(noise, harmonic + np.float32(voice.breath - 3.5) + 0.25 * octaves)
    return np.asarray(dsp.synth(harmonic, theta, noise, free, phase, f0.astype(np.float32), rng), np.float32)


class Narrator:
    """Speaks sentences with hibari: `Narrator(folder).speak(sentence, rng)`."""

    def __init__(self, folder: Path) -> None:
        self.hibari = Hibari(folder)
        self._pauses = np.array([self.hibari.id_of(mark) for mark in ";:,.!?—…"])
        self._swaps = {
            self.hibari.id_of(phone): [self.hibari.id_of(other) for other in others] for phone, others in ACCENT.items()
        }

    def speak(self, sentence: str, rng: np.random.Generator) -> Utterance:
        """Speak `sentence` in a voice of its own.

        Raises:
            SpeechError: it cannot be spoken.
        """
        ids = self.hibari.ids(sentence)
        voice = draw_voice(rng)
        latents, prosody, natural = self.hibari.tokens(ids)
        durations = _durations(natural, np.isin(ids, self._pauses), voice, rng)
        token, f0, energy = self.hibari.prosody(latents, prosody, durations)
        spoken, heard = self._accent(ids, latents[0].T, rng) if rng.random() < 0.45 else (latents[0].T, latents[0].T)
        f0 = _pitch(f0, voice, rng)
        swell = np.interp(np.arange(len(energy)), np.linspace(0, len(energy), 5), rng.normal(0, 0.5, 5))
        energy = (energy + swell).astype(np.float32)
        frames = _slur(spoken[token], rng) if rng.random() < 0.4 else spoken[token]
        samples = sound(self.hibari.spectra(frames, f0, energy), f0, voice, rng)
        if not np.isfinite(samples).all() or np.abs(samples).max() < 1e-3:
            raise SpeechError(f"{sentence!r} came out silent or broken")
        what = f"hibari {voice.formant_ratio:.2f} {voice.f0_hz:.0f}"
        return Utterance(samples, voice.formant_ratio, heard, ids.astype(np.int32), token, energy, f0 > VOICED_HZ, what)

    def _accent(self, ids: I64, latents: F32, rng: np.random.Generator) -> tuple[F32, F32]:
        """Latents to speak and latents to hear. A slight shift of a sound is heard as the sound that was meant; a
        full change is heard as what was said or, half of the time, as what was meant."""
        swapped, weight, meant = ids.copy(), np.zeros(len(ids), np.float32), np.zeros(len(ids), bool)
        as_meant = rng.random() < 0.5
        density = rng.uniform(0.15, 0.7)
        for phone, others in self._swaps.items():
            if rng.random() > density:
                continue
            where = ids == phone
            swapped[where] = others[rng.integers(len(others))]
            full = rng.random() < 0.25
            weight[where] = 1.0 if full else rng.uniform(0.1, 0.5)
            meant[where] = as_meant or not full
        other = self.hibari.tokens(swapped)[0][0].T
        spoken = latents + weight[:, None] * (other - latents)
        return spoken, np.where(meant[:, None], latents, spoken)
