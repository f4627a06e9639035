"""Who is speaking, as 256 numbers: the speaker encoder of Wan et al. (2018), "Generalized end-to-end loss for speaker
verification", with the weights of Resemblyzer (Apache-2.0), in plain numpy.

Two clips of one person have a cosine of about 0.9, of two people about 0.55. It is blind to what is said and nearly
blind to how well it is said: a robot with the right timbre is similar too, so look at the other scores as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.voice.mel import mel_filterbank
from obs_twin.voice.model import F32
from obs_twin.zoo.checkpoint import read_legacy_checkpoint

MODEL_NAME = "resemblyzer"
RATE_HZ = 16000
FFT_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
MELS = 40
PARTIAL_FRAMES = 160  # 1.6 s, the length that the network was trained on
PARTIAL_STEP_FRAMES = 77  # 1.3 partials a second, as Resemblyzer
MIN_COVERAGE = 0.75  # of the last partial that must be sound
LEVEL_DBFS = -30.0
LAYERS = 3
EMBEDDING_SIZE = 256

SILENCE_WINDOW_SAMPLES = 480  # 30 ms
SILENCE_BELOW_LOUD_DB = 40.0
SILENCE_KEEP_WINDOWS = 7  # pauses of up to 0.2 s stay


class SpeakerEmbedder:
    """The network, ready to run; calls from several threads are allowed.

    Args:
        checkpoint: Resemblyzer's `pretrained.pt` (`ModelStore().path("resemblyzer")`).

    Raises:
        ModelError: the file is damaged or another one.
    """

    def __init__(self, checkpoint: Path) -> None:
        weights = read_legacy_checkpoint(checkpoint)["model_state"]
        self._layers = [
            tuple(
                np.ascontiguousarray(weights[f"lstm.{name}_l{layer}"].T, np.float32)
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            for layer in range(LAYERS)
        ]
        self._projection = np.ascontiguousarray(weights["linear.weight"].T, np.float32)
        self._projection_bias = weights["linear.bias"].astype(np.float32)
        self._mel = mel_filterbank(RATE_HZ, FFT_SAMPLES, MELS)

    def embed(self, x: npt.NDArray[np.floating], sample_rate_hz: int) -> F32:
        """(N,) mono samples to a (256,) unit vector. Silence and loudness do not count; 3 s or more are reliable."""
        mels = self._mels(prepare(x, sample_rate_hz))
        partials = self._network(np.stack([mels[start : start + PARTIAL_FRAMES] for start in _starts(len(mels))]))
        return _unit(partials.mean(0))

    def embed_speaker(self, clips: list[npt.NDArray[np.floating]], sample_rate_hz: int) -> F32:
        """The (256,) unit vector of one person's several clips."""
        return _unit(np.mean([self.embed(clip, sample_rate_hz) for clip in clips], axis=0))

    def _mels(self, x: F32) -> F32:
        """(N,) at 16 kHz to (T, 40) mel energies, T padded up to a whole number of partials."""
        padded = np.pad(x, FFT_SAMPLES // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES]
        window = np.hanning(FFT_SAMPLES + 1)[:-1]
        power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
        mels: F32 = (power @ self._mel.T).astype(np.float32)
        missing = _starts(len(mels))[-1] + PARTIAL_FRAMES - len(mels)
        return np.pad(mels, ((0, max(0, missing)), (0, 0)))

    def _network(self, batch: F32) -> F32:
        """(B, T, 40) to (B, 256): three LSTM layers, the last state projected, cut off at 0, of length 1."""
        for weight_ih, weight_hh, bias_ih, bias_hh in self._layers:
            driven = batch @ weight_ih + (bias_ih + bias_hh)
            batch = _lstm(driven, weight_hh)
        raw = np.maximum(batch[:, -1] @ self._projection + self._projection_bias, 0.0)
        unit: F32 = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9)
        return unit


def similarity(a: F32, b: F32) -> float:
    """Cosine of two (256,) embeddings."""
    return float(np.dot(a, b) / max(1e-9, float(np.linalg.norm(a) * np.linalg.norm(b))))


def prepare(x: npt.NDArray[np.floating], sample_rate_hz: int) -> F32:
    """(N,) samples to 16 kHz, long pauses cut out, at -30 dBFS."""
    sound = np.asarray(x, np.float32)
    if sample_rate_hz != RATE_HZ:
        sound = soxr.resample(sound, sample_rate_hz, RATE_HZ)
    sound = _without_pauses(sound)
    rms = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0
    quiet: F32 = sound * np.float32(10 ** (LEVEL_DBFS / 20) / max(rms, 1e-6))
    return quiet


def _without_pauses(sound: F32) -> F32:
    count = len(sound) // SILENCE_WINDOW_SAMPLES
    if count < 2:
        return sound
    windows = sound[: count * SILENCE_WINDOW_SAMPLES].reshape(count, -1)
    level_db = 10 * np.log10(np.mean(np.square(windows, dtype=np.float64), axis=1) + 1e-10)
    loud = level_db > np.percentile(level_db, 95) - SILENCE_BELOW_LOUD_DB
    near = np.convolve(loud, np.ones(SILENCE_KEEP_WINDOWS), "same") > 0
    kept: F32 = windows[near].reshape(-1)
    return kept


def _starts(frames: int) -> list[int]:
    starts = list(range(0, max(1, frames - PARTIAL_FRAMES + PARTIAL_STEP_FRAMES + 1), PARTIAL_STEP_FRAMES))
    if len(starts) > 1 and (frames - starts[-1]) / PARTIAL_FRAMES < MIN_COVERAGE:
        starts.pop()
    return starts


def _lstm(driven: F32, weight_hh: F32) -> F32:
    """States (B, T, 256) of an LSTM whose input part is already computed: (B, T, 1024), gates in PyTorch's order."""
    batch, steps, width = driven.shape
    size = width // 4
    hidden = np.zeros((batch, size), np.float32)
    cell = np.zeros((batch, size), np.float32)
    states = np.empty((batch, steps, size), np.float32)
    for step in range(steps):
        gates = driven[:, step] + hidden @ weight_hh
        enter, keep, give = (1 / (1 + np.exp(-gates[:, part * size : (part + 1) * size])) for part in (0, 1, 3))
        cell = keep * cell + enter * np.tanh(gates[:, 2 * size : 3 * size])
        hidden = give * np.tanh(cell)
        states[:, step] = hidden
    return states


def _unit(vector: F32) -> F32:
    unit: F32 = (vector / max(1e-9, float(np.linalg.norm(vector)))).astype(np.float32)
    return unit
