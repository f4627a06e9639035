"""Pitch for the neural voice: F0 of the actor on the decoder's grid, moved to the target's range."""

from __future__ import annotations

import math

import numpy as np

from obs_twin.voice.model import F32, F64, VoiceSettings
from obs_twin.voice.neural_grid import HEAR_RATE_HZ, STEP_S
from obs_twin.voice.pitch import F0_CEIL_HZ, F0_FLOOR_HZ, detector
from obs_twin.voice.statistics import RunningMoments
from obs_twin.voice.target import VoiceTarget

SURE = 0.5
VOICED, MAYBE_VOICED = 0.6, 0.3  # the adapter's opinion
BRIDGE_S = 0.06  # so far from a sure pitch the adapter's opinion counts alone

PRIOR_ACTOR_F0_HZ = 150.0  # half-way between men and women
PRIOR_STEPS = 8  # 0.1 s: the first word already sounds right
KNOWN_ACTOR_STEPS = 400
KNOWN_FROM_STEPS = 240  # 3 s of voice
PRIOR_SPREAD_STEPS = 320
MEMORY_STEPS = 2400  # 30 s of voice
SPREAD_LIMITS = (0.6, 1.6)
LOWEST_HZ, HIGHEST_HZ = 55.0, 500.0


def track(x: F32, first_s: float, voiced: F32) -> F64:
    """F0 (n,) in Hz, 0 where there is no voice, of the n steps of ``voiced`` (0..1).

    ``x`` (N,) is sound at 16 kHz; the middle of the first step lies ``first_s`` after its beginning.
    """
    found = detector().detect(x, HEAR_RATE_HZ, F0_FLOOR_HZ, F0_CEIL_HZ)
    sure = found.confidence >= SURE
    if not sure.any():
        return np.zeros(len(voiced))
    times_s = first_s + np.arange(len(voiced)) * STEP_S
    sure_s = found.timestamps[sure]
    log_f0 = np.interp(times_s, sure_s, np.log(found.pitch_hz[sure]))
    confidence = np.interp(times_s, found.timestamps, found.confidence)
    distance_s = np.abs(times_s[:, None] - sure_s[None]).min(axis=1)
    heard = (confidence >= SURE) & (voiced > MAYBE_VOICED)
    bridged = (voiced > VOICED) & (distance_s < BRIDGE_S)
    return np.where(heard | bridged, np.exp(log_f0), 0.0)


class PitchMap:
    """Moves F0 so that its running mean and spread become the target's."""

    def __init__(self, target: VoiceTarget, settings: VoiceSettings) -> None:
        self._target = target
        self._settings = settings
        known_hz = settings.actor_f0_hz
        log_f0 = np.array([math.log(known_hz or PRIOR_ACTOR_F0_HZ)])
        prior = KNOWN_ACTOR_STEPS if known_hz else PRIOR_STEPS
        self._log_f0 = RunningMoments(log_f0, np.zeros(1), prior, MEMORY_STEPS)
        self._spread = RunningMoments(
            np.zeros(1), np.full(1, target.log_f0_deviation), PRIOR_SPREAD_STEPS, MEMORY_STEPS
        )

    @property
    def actor_f0_hz(self) -> float | None:
        """The actor's usual pitch, once enough of it was heard."""
        if self._log_f0.seen < KNOWN_FROM_STEPS:
            return None
        return math.exp(float(self._log_f0.mean[0]))

    def learn(self, f0_hz: F64) -> None:
        """Take further F0 values (n,) of the actor; each only once."""
        log_f0 = np.log(f0_hz[f0_hz > 0])[:, None]
        self._log_f0.add(log_f0)
        self._spread.add(log_f0 - self._log_f0.mean)

    def to_target(self, f0_hz: F64) -> F64:
        """F0 (n,) of the actor to that of the target."""
        spread = self._target.log_f0_deviation / float(self._spread.deviation[0])
        spread = min(max(spread, SPREAD_LIMITS[0]), SPREAD_LIMITS[1]) ** self._settings.intonation_strength
        middle = self._target.log_f0_mean + self._settings.pitch_semitones * math.log(2) / 12
        voiced = f0_hz > 0
        log_f0 = np.log(np.where(voiced, f0_hz, 1.0)) - self._log_f0.mean[0]
        return np.where(voiced, np.clip(np.exp(middle + spread * log_f0), LOWEST_HZ, HIGHEST_HZ), 0.0)
