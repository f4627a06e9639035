"""A whole recording through a voice: what was heard of the speaker first, then all of it with the longest delay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr

from obs_twin.voice.frames import FRAME_HOP, WORK_RATE_HZ
from obs_twin.voice.model import F32, VoiceModel, VoiceSettings
from obs_twin.voice.pitch import track
from obs_twin.voice.registry import open_voice

BEST_DELAY_BUDGET_MS = 4900.0
"""More makes no voice better."""
STUDIO_RATE_HZ = 48_000
"""A recording of less than `KEPT_FROM_HZ` is converted at this rate: the twin's voice reaches higher than it does."""
KEPT_FROM_HZ = 44_100
BLOCK_S = 1.0
LISTEN_S = 60.0
LISTEN_BLOCK_S = 4.0
F0_LIMITS_HZ = (50.0, 600.0)

Progress = Callable[[float], None]
"""Called with the share that is done, 0 to 1."""


def usual_pitch_hz(sound: F32, rate_hz: int) -> float | None:
    """The speaker's usual F0 in the first minute of (N,) samples; None if there is hardly any voice in it."""
    heard = np.nan_to_num(sound[: int(LISTEN_S * rate_hz)])
    if len(heard) < rate_hz // 4:
        return None
    heard = soxr.resample(heard, rate_hz, WORK_RATE_HZ)
    block = int(LISTEN_BLOCK_S * WORK_RATE_HZ)
    parts = [heard[at : at + block] for at in range(0, len(heard), block)]
    f0_hz = np.concatenate(
        [track(part, 0.0, len(part) // FRAME_HOP) for part in parts if len(part) > WORK_RATE_HZ // 4]
    )
    voiced = f0_hz[f0_hz > 0]
    if len(voiced) < 40:
        return None
    return float(np.clip(np.exp(np.mean(np.log(voiced))), *F0_LIMITS_HZ))


def open_whole(
    kind: str, files: Mapping[str, Path], sound: F32, rate_hz: int, settings: VoiceSettings | None = None
) -> VoiceModel:
    """A voice for this one recording, which knows its speaker's pitch from the first word on.

    Args and errors as in `registry.open_voice`; `sound` (N,) is the recording at `rate_hz`.
    """
    settings = settings or VoiceSettings()
    if settings.actor_f0_hz is None:
        settings = replace(settings, actor_f0_hz=usual_pitch_hz(sound, rate_hz))
    return open_voice(kind, files, sample_rate_hz=rate_hz, delay_budget_ms=BEST_DELAY_BUDGET_MS, settings=settings)


def convert_whole(voice: VoiceModel, sound: F32, progress: Progress = lambda _share: None) -> F32:
    """(N,) samples at the voice's rate to (N,) converted ones: sample k stays sample k.

    Raises VoiceModelError when a network fails.
    """
    block = int(BLOCK_S * voice.sample_rate_hz)
    parts: list[F32] = []
    for at in range(0, len(sound), block):
        parts.append(voice.push(sound[at : at + block]))
        progress(min(1.0, at / max(1, len(sound))))
    parts.append(voice.flush())
    progress(1.0)
    return np.concatenate(parts)
