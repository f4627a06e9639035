"""RMVPE (Wei et al. 2023), the F0 network of RVC's users, in every dialect that it is exported in.

Three things vary, each on its own: it takes the waveform or a log-mel spectrogram, it wants a threshold or not, and
it gives F0 or a salience over 360 pitches. Either way the frames are 10 ms apart and frame j lies at sample 160 * j.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from obs_twin.voice.model import F32, F64, VoiceModelError
from obs_twin.voice.rvc.bind import Port, Role, assign, open_network, ports_of, run_network

RATE_HZ = 16_000
HOP = 160
FFT_SIZE = 1024
MELS = 128
MEL_LOW_HZ, MEL_HIGH_HZ = 30.0, 8000.0
MEL_FLOOR = 1e-5
FRAMES_MULTIPLE = 32  # what the network's five halvings need
PITCHES = 360
CENTS_STEP, CENTS_FIRST = 20.0, 1997.3794084376191
SALIENCE_THRESHOLD = 0.03
WAVEFORM_THRESHOLD = 0.3
"""What the exports that take a threshold are used with."""
TRIAL_HZ = 220.0
SHORTEST_SAMPLES = RATE_HZ // 2


def _mel_shaped(port: Port) -> bool:
    return port.real and port.rank == 3 and MELS in port.shape[1:]


ROLES = {
    "mel": Role("log-mel spectrogram", ("mel", "input", "log_mel"), _mel_shaped),
    "waveform": Role("waveform", ("waveform", "audio", "source"), lambda port: port.real and port.rank in (2, 3)),
    "threshold": Role("threshold", ("threshold", "thred"), lambda port: port.real and port.rank <= 1),
}


class Rmvpe:
    """An RMVPE network.

    Attributes:
        longest_samples: the most sound that it takes at a time, or None.
        bound: in words, what it takes and gives.
    """

    def __init__(self, path: Path) -> None:
        self._what = f"the F0 network {path.name}"
        self._model = open_network(path, self._what)
        self._ports = assign(ports_of(self._model, self._what), ROLES, self._what)
        if ("mel" in self._ports) == ("waveform" in self._ports):
            raise VoiceModelError(
                f"{self._what}: expected one sound, as a waveform or as a spectrogram of {MELS} bands; found "
                f"{'; '.join(port.describe() for port in self._ports.values())}. This is not RMVPE."
            )
        self._sound = self._ports.get("mel") or self._ports["waveform"]
        self.longest_samples = self._longest()
        if self.longest_samples is not None and self.longest_samples < SHORTEST_SAMPLES:
            raise VoiceModelError(
                f"{self._what}: it takes {self.longest_samples} samples at a time; at least {SHORTEST_SAMPLES} needed."
            )
        self._output = 0
        self._salience = False
        self._find_output()
        port = list(self._model.outputs)[self._output]
        self.bound = [
            f"F0: RMVPE on the {'spectrogram' if 'mel' in self._ports else 'waveform'}, giving "
            f"{'the salience of 360 pitches' if self._salience else 'F0'}",
            f"  inputs: {', '.join(port.describe() for port in self._ports.values())}",
            f"  output: {port}",
            self._test_tone(),
        ]

    @property
    def provider(self) -> str:
        """What runs it."""
        return self._model.provider

    def track(self, sound: F32, frames: int) -> F64:
        """F0 (frames,) in Hz, 0 where there is no voice, of (samples,) at 16 kHz; frame j lies at sample 160 * j."""
        found = self._decode(self._all(sound)[self._output])[: len(sound) // HOP + 1]
        return found[:frames] if len(found) >= frames else np.pad(found, (0, frames - len(found)), mode="edge")

    def _longest(self) -> int | None:
        if "waveform" in self._ports:
            return self._sound.shape[-1]
        frames = self._mel_frames()
        return None if frames is None else (frames - 1) * HOP

    def _mel_frames(self) -> int | None:
        return self._sound.shape[2] if self._sound.shape[1] == MELS else self._sound.shape[1]

    def _all(self, sound: F32) -> list[Any]:
        port = self._sound
        if self.longest_samples is not None and len(sound) > self.longest_samples:
            raise VoiceModelError(
                f"{self._what}: it takes {self.longest_samples} samples at a time, not {len(sound)}. Choose the F0 "
                "method swift-f0."
            )
        if "mel" in self._ports:
            mel = log_mel(sound)
            wanted = self._mel_frames() or -(-mel.shape[1] // FRAMES_MULTIPLE) * FRAMES_MULTIPLE
            mel = np.pad(
                mel, ((0, 0), (0, wanted - mel.shape[1])), mode="reflect" if mel.shape[1] > wanted / 2 else "edge"
            )
            feeds = {port.name: port.cast((mel if port.shape[1] == MELS else mel.T)[None])}
        else:
            if self.longest_samples is not None:
                sound = np.pad(sound, (0, self.longest_samples - len(sound)))
            feeds = {port.name: port.cast(sound.reshape((1,) * (port.rank - 1) + (-1,)))}
        threshold = self._ports.get("threshold")
        if threshold is not None:
            level = WAVEFORM_THRESHOLD if "waveform" in self._ports else SALIENCE_THRESHOLD
            feeds[threshold.name] = threshold.cast(np.full(tuple(size or 1 for size in threshold.shape), level))
        return run_network(self._model, feeds)

    def _decode(self, found: Any) -> F64:
        values = np.asarray(found, np.float64)
        if self._salience:
            rows = values.reshape(values.shape[-2], values.shape[-1])
            f0_hz = salience_to_hz(rows if rows.shape[1] == PITCHES else rows.T)
        else:
            f0_hz = values.reshape(-1)
        f0_hz = np.nan_to_num(f0_hz, nan=0.0, posinf=0.0, neginf=0.0)
        return np.where(f0_hz > 20.0, f0_hz, 0.0)

    def _find_output(self) -> None:
        samples = self.longest_samples or RATE_HZ
        shapes = [np.shape(found) for found in self._all(_tone(samples))]
        wanted = samples // HOP + 1
        for index, shape in enumerate(shapes):
            if len(shape) in (2, 3) and PITCHES in shape[-2:] and max(shape[-2:]) < 100_000:
                self._output, self._salience = index, True
                return
        names = list(self._model.outputs)
        for index, shape in sorted(enumerate(shapes), key=lambda item: names[item[0]].lower() not in ("pitchf", "f0")):
            if (
                np.prod(shape) >= wanted - 2
                and max(shape, default=0) == np.prod(shape)
                and np.prod(shape) <= 2 * wanted
            ):
                self._output = index
                return
        raise VoiceModelError(
            f"{self._what}: a second of sound gave {' and '.join(str(list(shape)) for shape in shapes)}; expected "
            f"about {wanted} values of F0, or as many saliences of {PITCHES} pitches. This is not RMVPE."
        )

    def _test_tone(self) -> str:
        samples = self.longest_samples or RATE_HZ
        f0_hz = self.track(_tone(samples), samples // HOP)
        voiced = f0_hz[f0_hz > 0]
        if len(voiced) < len(f0_hz) / 2:
            return f"  Note: it hears no voice in a test tone of {TRIAL_HZ:.0f} Hz. It may not be RMVPE."
        heard = float(np.median(voiced))
        if abs(heard / TRIAL_HZ - 1) > 0.06:
            return f"  Note: it hears {heard:.0f} Hz in a test tone of {TRIAL_HZ:.0f} Hz. It may not be RMVPE."
        return f"  tried: hears {heard:.0f} Hz in a test tone of {TRIAL_HZ:.0f} Hz"


def log_mel(sound: F32) -> F32:
    """Log-mel spectrogram (128, samples // 160 + 1) of (samples,) at 16 kHz, as RMVPE was trained.

    Magnitudes of 1024 points under a Hann window, reflected at both ends; HTK mel from 30 to 8000 Hz with bands of
    equal area; natural logarithm, at least 1e-5.
    """
    padded = np.pad(
        np.asarray(sound, np.float32), FFT_SIZE // 2, mode="reflect" if len(sound) > FFT_SIZE // 2 else "edge"
    )
    count = len(sound) // HOP + 1
    view = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[: (count - 1) * HOP + 1 : HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE)
    magnitude = np.abs(np.fft.rfft(view * window.astype(np.float32), axis=1)).astype(np.float32)
    return np.asarray(np.log(np.maximum(mel_bands() @ magnitude.T, MEL_FLOOR)), np.float32)


@lru_cache(maxsize=1)
def mel_bands() -> F32:
    """Weights (128, 513) of the mel bands over the spectrum's bins."""
    low, high = 2595 * np.log10(1 + np.array([MEL_LOW_HZ, MEL_HIGH_HZ]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1)
    bins = np.arange(FFT_SIZE // 2 + 1) * RATE_HZ / FFT_SIZE
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(np.maximum(0, np.minimum(rise, fall)) * area[:, None], np.float32)


def salience_to_hz(salience: F64, threshold: float = SALIENCE_THRESHOLD) -> F64:
    """F0 (frames,) in Hz from salience (frames, 360): the mean of nine pitches around the strongest; 0 if too weak."""
    strongest = salience.argmax(axis=1)
    around = strongest[:, None] + np.arange(-4, 5)
    inside = (around >= 0) & (around < PITCHES)
    weight = np.take_along_axis(salience, np.clip(around, 0, PITCHES - 1), axis=1) * inside
    cents = (weight * (CENTS_FIRST + CENTS_STEP * around)).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
    return np.where(salience.max(axis=1) > threshold, 10.0 * 2 ** (cents / 1200), 0.0)


def _tone(samples: int) -> F32:
    """A test tone with overtones, as a voice has them."""
    phase = 2 * np.pi * TRIAL_HZ * np.arange(samples) / RATE_HZ
    return np.asarray(0.1 * sum(np.sin(n * phase) / n for n in range(1, 16)), np.float32)
