"""How good speech sounds, as listeners would rate it from 1 to 5, estimated by two networks without a reference.

Both are deaf to wrong words, and DNSMOS hardly minds a robot: read them beside the word error rate.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.bench.extra import BenchError, require
from obs_twin.voice.model import F32
from obs_twin.zoo.provider import open_onnx

RATE_HZ = 16000
PEAK = 0.7
DNSMOS_WINDOW_SAMPLES = 144160  # 9.01 s
DNSMOS_MOST_WINDOWS = 3
# From the network's raw outputs to ratings: P.835 polynomials of Microsoft's dnsmos_local.py, highest power first.
DNSMOS_CURVES = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


@dataclass(frozen=True)
class Dnsmos:
    """ITU-T P.835 ratings: the speech, the background, and all of it."""

    sig: float
    bak: float
    ovrl: float


class DnsmosScorer:
    """DNSMOS P.835 (Reddy, Gopal, Cutler 2022). `model`: `ModelStore().path("dnsmos_p835")`."""

    def __init__(self, model: Path) -> None:
        self._model = open_onnx(model, providers=[])
        self._input = next(iter(self._model.inputs))

    def score(self, x: npt.NDArray[np.floating], sample_rate_hz: int) -> Dnsmos:
        """Mean over at most three windows of 9 s of (N,) mono samples; short clips are repeated."""
        sound = _prepared(x, sample_rate_hz)
        if len(sound) < DNSMOS_WINDOW_SAMPLES:
            sound = np.resize(sound, DNSMOS_WINDOW_SAMPLES)
        spare = len(sound) - DNSMOS_WINDOW_SAMPLES
        count = min(DNSMOS_MOST_WINDOWS, 1 + spare // RATE_HZ)
        starts = np.linspace(0, spare, count).astype(int)
        raw = np.array([self._ratings(sound[start : start + DNSMOS_WINDOW_SAMPLES]) for start in starts])
        curves = zip(DNSMOS_CURVES.items(), raw.T, strict=True)
        return Dnsmos(**{name: float(np.mean(np.polyval(curve, column))) for (name, curve), column in curves})

    def _ratings(self, window: F32) -> npt.NDArray[np.float64]:
        """Raw (signal, background, overall) of one window."""
        result: npt.NDArray[np.float64] = self._model.run({self._input: window[None]})[0][0]
        return result


class DistillMosScorer:
    """distillMOS (Stahl and Gamper 2025, MIT): the better judge of naturalness. Needs PyTorch.

    Raises:
        BenchError: PyTorch or the package is not installed.
    """

    def __init__(self) -> None:
        self._torch = require("torch")
        self._torch.set_num_threads(1)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights lie
            self._model: Any = _distillmos().ConvTransformerSQAModel()
        self._model.eval()

    def score(self, x: npt.NDArray[np.floating], sample_rate_hz: int) -> float:
        """The rating of (N,) mono samples."""
        sound = _prepared(x, sample_rate_hz)
        with self._torch.inference_mode():
            return float(self._model(self._torch.from_numpy(sound)[None])[0])


def _distillmos() -> types.ModuleType:
    """The package, also where torchaudio is missing or does not fit PyTorch: only its file reader needs that."""
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        try:
            return require("distillmos")
        finally:
            del sys.modules["torchaudio"]
    return require("distillmos")


def _prepared(x: npt.NDArray[np.floating], sample_rate_hz: int) -> F32:
    """At 16 kHz, with a peak of 0.7: a level is not a quality."""
    sound = np.ascontiguousarray(x, np.float32)
    if sound.ndim != 1:
        raise BenchError(f"mono sound of shape (N,) is rated, not {sound.shape}")
    if sample_rate_hz != RATE_HZ:
        sound = soxr.resample(sound, sample_rate_hz, RATE_HZ)
    scaled: F32 = sound * np.float32(PEAK / max(1e-4, float(np.abs(sound).max(initial=0.0))))
    return scaled
