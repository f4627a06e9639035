"""The target's voice in numbers, as the built-in converter needs it: pitch, spectrum, size of the vocal tract."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from obs_twin.voice.envelope import CEPSTRA, cepstrum, measure, upper_formants_hz
from obs_twin.voice.frames import BINS, FRAME_HOP, FRAME_S, WORK_RATE_HZ
from obs_twin.voice.model import F32, F64, VoiceModelError
from obs_twin.voice.pitch import track

FORMAT = "obs-twin voice target"
VERSION = 1
SHORTEST_VOICED_S = 1.0


@dataclass(frozen=True)
class VoiceTarget:
    """Long-term statistics of one voice.

    log_f0_mean, log_f0_deviation: of ln(F0 in Hz) where voiced.
    formant_hz: mean of the third and fourth formant, which tells the length of the vocal tract.
    cepstrum_mean, cepstrum_deviation: of the mel cepstra 1..24 of the log power envelope where voiced.
    voiced_s: seconds of voiced sound that they were measured from.
    """

    log_f0_mean: float
    log_f0_deviation: float
    formant_hz: float
    cepstrum_mean: tuple[float, ...]
    cepstrum_deviation: tuple[float, ...]
    voiced_s: float

    def __post_init__(self) -> None:
        def check(name: str, value: Any, low: float, high: float) -> None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise VoiceModelError(f"voice target: {name} must be a number from {low} to {high}, not {value!r}")

        check("log_f0_mean", self.log_f0_mean, math.log(50), math.log(600))
        check("log_f0_deviation", self.log_f0_deviation, 0.01, 1.0)
        check("formant_hz", self.formant_hz, 1500.0, 5500.0)
        check("voiced_s", self.voiced_s, 0.0, 1e7)
        for name, low, high in (("cepstrum_mean", -20.0, 20.0), ("cepstrum_deviation", 1e-3, 20.0)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != CEPSTRA:
                raise VoiceModelError(f"voice target: {name} must be a list of {CEPSTRA} numbers")
            for value in values:
                check(name, value, low, high)

    @property
    def f0_hz(self) -> float:
        """The usual pitch."""
        return math.exp(self.log_f0_mean)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        document = {"format": FORMAT, "version": VERSION, **asdict(self)}
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(path: Path) -> VoiceTarget:
        """Read what ``save`` wrote. Raises ``VoiceModelError`` when the file is missing, damaged or not one."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise VoiceModelError(f"cannot read the voice target {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise VoiceModelError(f"the voice target {path} is damaged: not JSON ({error})") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise VoiceModelError(f'{path} is not a voice target: expected "format": "{FORMAT}"')
        if document.get("version") != VERSION:
            raise VoiceModelError(
                f"{path} is a voice target of version {document.get('version')!r}; this program reads {VERSION}. "
                "Make it again from the recording."
            )
        values: dict[str, Any] = {}
        for name in VoiceTarget.__dataclass_fields__:
            if name not in document:
                raise VoiceModelError(f"the voice target {path} lacks {name}")
            value = document[name]
            values[name] = tuple(value) if isinstance(value, list) else value
        try:
            return VoiceTarget(**values)
        except VoiceModelError as error:
            raise VoiceModelError(f"{path}: {error}") from error


def analyse(samples: F32, rate_hz: int) -> VoiceTarget:
    """Measure a voice from a recording: (N,) float32 mono of one speaker, without music or other voices.

    Ten seconds are enough for the pitch, a minute is better for the spectrum. Raises ``VoiceModelError`` when
    there is too little speech.
    """
    sound = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1), posinf=0.0, neginf=0.0)
    if rate_hz != WORK_RATE_HZ:
        sound = soxr.resample(sound, rate_hz, WORK_RATE_HZ)
    f0_hz, log_envelope = analyse_frames(sound.astype(np.float64))
    voiced = f0_hz > 0
    voiced_s = float(voiced.sum()) * FRAME_S
    if voiced_s < SHORTEST_VOICED_S:
        raise VoiceModelError(
            f"too little speech to measure a voice: found {voiced_s:.1f} s with a voice in it, at least "
            f"{SHORTEST_VOICED_S:g} s are needed (a recording of a minute is better)"
        )
    log_f0 = np.log(f0_hz[voiced])
    rows = cepstrum(log_envelope[voiced])
    formants_hz = upper_formants_hz(log_envelope[voiced])
    if len(formants_hz) < 10:
        raise VoiceModelError("no formants found in the recording: it may be too noisy, or no voice at all")
    return VoiceTarget(
        log_f0_mean=float(np.mean(log_f0)),
        log_f0_deviation=float(np.clip(np.std(log_f0), 0.02, 0.6)),
        formant_hz=float(np.mean(formants_hz)),
        cepstrum_mean=tuple(rows.mean(axis=0).tolist()),
        cepstrum_deviation=tuple(np.maximum(rows.std(axis=0), 2e-3).tolist()),
        voiced_s=voiced_s,
    )


def analyse_frames(x: F64) -> tuple[F64, F64]:
    """F0 (n,) and log power envelope (n, BINS) of all frames of a whole recording at 24 kHz."""
    count = len(x) // FRAME_HOP
    if count == 0:
        return np.zeros(0), np.zeros((0, BINS))
    f0_hz = track(x, 0.0, count)
    envelope, _ = measure(x, f0_hz, 0.0)
    return f0_hz, np.log(envelope)
