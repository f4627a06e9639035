"""What the actor's head does while it speaks: lips from phones, blinks, gaze, brows, nods.

Everything is a function of time with the clip's length as its period, so that a clip loops without a jump.
Lip shapes blend as in Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993): each phone has
a target and a dominance that rises before the phone and falls after it; where several are active, dominance
weighs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .head import Pose

FloatArray = npt.NDArray[np.float32]

Shape = dict[str, float]


def _both(name: str, value: float) -> Shape:
    return {f"{name}Left": value, f"{name}Right": value}


_REST: Shape = {}
_SHAPES: dict[str, Shape] = {
    "lips": {"mouthRollUpper": 0.18, "mouthRollLower": 0.26, **_both("mouthPress", 0.35)},
    "teeth on lip": {"jawOpen": 0.06, "mouthRollLower": 0.55, **_both("mouthUpperUp", 0.30)},
    "tongue tip": {"jawOpen": 0.12, **_both("mouthLowerDown", 0.25), **_both("mouthUpperUp", 0.12)},
    "hiss": {
        "jawOpen": 0.05, **_both("mouthStretch", 0.22), **_both("mouthLowerDown", 0.34), **_both("mouthUpperUp", 0.22),
    },
    "hush": {"jawOpen": 0.09, "mouthFunnel": 0.50, "mouthPucker": 0.22, **_both("mouthUpperUp", 0.12)},
    "back": {"jawOpen": 0.17, **_both("mouthLowerDown", 0.12)},
    "w": {"jawOpen": 0.06, "mouthPucker": 0.75, "mouthFunnel": 0.15},
    "i": {
        "jawOpen": 0.12, **_both("mouthSmile", 0.28), **_both("mouthStretch", 0.15), **_both("mouthLowerDown", 0.22),
        **_both("mouthUpperUp", 0.14),
    },
    "e": {"jawOpen": 0.25, **_both("mouthSmile", 0.14), **_both("mouthLowerDown", 0.25), **_both("mouthUpperUp", 0.16)},
    "ae": {
        "jawOpen": 0.37, **_both("mouthStretch", 0.18), **_both("mouthLowerDown", 0.22), **_both("mouthUpperUp", 0.2),
    },
    "a": {"jawOpen": 0.44, **_both("mouthUpperUp", 0.10), **_both("mouthLowerDown", 0.12)},
    "open o": {"jawOpen": 0.38, "mouthFunnel": 0.38},
    "o": {"jawOpen": 0.24, "mouthFunnel": 0.32, "mouthPucker": 0.38},
    "u": {"jawOpen": 0.12, "mouthPucker": 0.62, "mouthFunnel": 0.22},
    "schwa": {"jawOpen": 0.21, **_both("mouthLowerDown", 0.15), **_both("mouthUpperUp", 0.08)},
}  # fmt: skip

_PHONES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys("pbm", ("lips",)),
    **dict.fromkeys("fv", ("teeth on lip",)),
    **dict.fromkeys("θð", ("tongue tip",)),
    **dict.fromkeys("tdnlɾ", ("tongue tip",)),
    **dict.fromkeys("sz", ("hiss",)),
    **dict.fromkeys("ʃʒʧʤɹr", ("hush",)),
    **dict.fromkeys("kgɡŋhxʔ", ("back",)),
    **dict.fromkeys("iɪjᵻ", ("i",)),
    **dict.fromkeys("eɛ", ("e",)),
    "æ": ("ae",),
    **dict.fromkeys("ɑa", ("a",)),
    **dict.fromkeys("ɔɒ", ("open o",)),
    "o": ("o",),
    **dict.fromkeys("uʊ", ("u",)),
    "w": ("w",),
    **dict.fromkeys("əɐʌᵊɜɚɝ", ("schwa",)),
    "A": ("e", "i"),
    "I": ("a", "i"),
    "O": ("o", "u"),
    "Q": ("schwa", "u"),
    "W": ("a", "u"),
    "Y": ("open o", "i"),
}

# Lips that must meet do so whatever the neighbours want; a schwa takes on what is around it.
_DOMINANCE = {
    "lips": 3.2,
    "teeth on lip": 2.2,
    "w": 1.6,
    "u": 1.4,
    "hush": 1.5,
    "schwa": 0.6,
    "back": 0.5,
    "tongue tip": 0.7,
    "hiss": 0.9,
}
_LEAD_S, _TRAIL_S = 0.060, 0.060


@dataclass(frozen=True)
class _Gesture:
    shape: Shape
    start_s: float
    end_s: float
    strength: float


def _gestures(phones: Iterable[tuple[str, float, float]]) -> list[_Gesture]:
    out = []
    for phone, start_s, end_s in phones:
        kinds = _PHONES.get(phone)
        if kinds is None:
            out.append(_Gesture(_REST, start_s, end_s, 0.55))
            continue
        length = (end_s - start_s) / len(kinds)
        for n, kind in enumerate(kinds):
            out.append(
                _Gesture(_SHAPES[kind], start_s + n * length, start_s + (n + 1) * length, _DOMINANCE.get(kind, 1.0))
            )
    return out


def lip_units(phones: Iterable[tuple[str, float, float]], times_s: FloatArray) -> list[Shape]:
    """Face units of the mouth at each of ``times_s`` for ``phones`` of (IPA symbol, start, end)."""
    gestures = _gestures(phones)
    frames: list[Shape] = []
    for t in times_s:
        total = 1e-3
        mixed: Shape = {}
        for g in gestures:
            if t < g.start_s - 3 * _LEAD_S or t > g.end_s + 3 * _TRAIL_S:
                continue
            away = max(g.start_s - t, 0.0) / _LEAD_S + max(t - g.end_s, 0.0) / _TRAIL_S
            dominance = g.strength * float(np.exp(-1.6 * away**1.4))
            total += dominance
            for name, value in g.shape.items():
                mixed[name] = mixed.get(name, 0.0) + dominance * value
        frames.append({name: value / total for name, value in mixed.items()})
    return frames


def _wander(
    times_s: FloatArray, period_s: float, slowest_hz: float, fastest_hz: float, rng: np.random.Generator
) -> FloatArray:
    """Smooth noise of unit size with period ``period_s``."""
    out = np.zeros(len(times_s))
    first, last = max(1, round(slowest_hz * period_s)), max(2, round(fastest_hz * period_s))
    for k in range(first, last + 1):
        out += rng.normal() / k**0.8 * np.sin(2 * np.pi * k * times_s / period_s + rng.uniform(0, 2 * np.pi))
    return np.asarray(out / (np.abs(out).max() + 1e-9), np.float32)


def _blinks(times_s: FloatArray, period_s: float, rng: np.random.Generator) -> FloatArray:
    """0 open, 1 shut. A lid falls in 80 ms and rises in 160."""
    out = np.zeros(len(times_s), np.float32)
    at = float(rng.uniform(0.9, 1.6))
    while at < period_s - 0.5:
        for start in (at, at + 0.32) if rng.random() < 0.12 else (at,):
            down = np.clip((times_s - start) / 0.08, 0, 1)
            up = np.clip((times_s - start - 0.10) / 0.16, 0, 1)
            out = np.maximum(out, down * down * (3 - 2 * down) - up * up * (3 - 2 * up)).astype(np.float32)
        at += float(rng.uniform(2.0, 4.2))
    return out


def _glances(times_s: FloatArray, period_s: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Where the eyes look off the lens, degrees: mostly at it, now and then away, by quick jumps."""
    yaw, pitch = np.zeros(len(times_s)), np.zeros(len(times_s))
    at = float(rng.uniform(0.6, 1.4))
    while at < period_s - 0.9:
        hold = float(rng.uniform(0.35, 1.1))
        far = rng.random() < 0.3
        a, b = rng.normal(0, 9 if far else 2.2), rng.normal(-1.5 if far else 0, 4 if far else 1.4)
        move = np.clip((times_s - at) / 0.05, 0, 1) - np.clip((times_s - at - hold) / 0.05, 0, 1)
        yaw += a * move
        pitch += b * move
        at += hold + float(rng.uniform(0.7, 1.9))
    return np.clip(yaw, -16, 16).astype(np.float32), np.clip(pitch, -9, 7).astype(np.float32)


def _envelope(samples: FloatArray, rate_hz: int, times_s: FloatArray) -> FloatArray:
    """Loudness of the voice around each time, 0..1, smoothed over a syllable."""
    window = int(0.12 * rate_hz)
    power = np.convolve(samples.astype(np.float64) ** 2, np.hanning(window) / (window / 2), mode="same")
    level = np.sqrt(np.maximum(power, 0))
    at = np.clip((times_s * rate_hz).astype(int), 0, len(level) - 1)
    return np.asarray((level[at] / (np.percentile(level, 98) + 1e-9)).clip(0, 1.2), np.float32)


def perform(
    phones: Iterable[tuple[str, float, float]], samples: FloatArray, rate_hz: int, seconds: float, fps: int, seed: int
) -> list[Pose]:
    """Poses of every frame of a talking head.

    Parameters
    ----------
    phones : (IPA symbol, start, end) in seconds
    samples : (N,) float32, the voice, for nods and brows
    rate_hz : of ``samples``
    seconds, fps : length and frame rate of the clip
    seed : of the movements
    """
    rng = np.random.default_rng(seed)
    count = round(seconds * fps)
    times = (np.arange(count) / fps).astype(np.float32)
    lips = lip_units(phones, times)
    loud = _envelope(samples, rate_hz, times)
    half = fps // 2  # smoothed over a second, round the loop
    kernel = np.hanning(2 * half + 3)[1:-1]
    slow = np.convolve(np.pad(loud, half, mode="wrap"), kernel / kernel.sum(), mode="valid")
    blink = _blinks(times, seconds, rng)
    glance_yaw, glance_pitch = _glances(times, seconds, rng)

    # Now and then the speaker turns to somebody beside the camera, and back.
    turn = np.zeros(count)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    at = 0.28 * seconds
    while at < seconds - 2.2:
        rise = np.clip((times - at) / 0.7, 0, 1)
        fall = np.clip((times - at - 1.4) / 0.8, 0, 1)
        turn += sign * 15.0 * (rise * rise * (3 - 2 * rise) - fall * fall * (3 - 2 * fall))
        sign = -sign
        at += float(rng.uniform(4.0, 5.5))
    yaw = 3.2 * _wander(times, seconds, 0.12, 0.5, rng) + turn
    pitch = 2.0 * _wander(times, seconds, 0.15, 0.6, rng) - 3.2 * (slow - slow.mean()) - 1.2 * (loud - loud.mean())
    roll = 2.0 * _wander(times, seconds, 0.1, 0.45, rng) - 0.12 * turn
    lean = 0.07 * _wander(times, seconds, 0.1, 0.3, rng)
    rise = 0.02 * _wander(times, seconds, 0.22, 0.3, rng)
    brows = np.clip(0.25 * _wander(times, seconds, 0.15, 0.8, rng) + 0.75 * (slow - slow.mean()) + 0.06, -0.25, 0.8)
    smile = np.clip(0.10 + 0.12 * _wander(times, seconds, 0.1, 0.25, rng), 0, 0.3)

    poses = []
    for n in range(count):
        units = {name: value * min(1.0 + 0.4 * float(loud[n]), 1.35) for name, value in lips[n].items()}
        for side in ("Left", "Right"):
            shut = float(blink[n])
            # The eyes keep looking at the lens while the head turns; lids follow the eyes.
            down = float(np.clip(-(glance_pitch[n] - pitch[n]) / 30.0, 0, 0.6)) * (1 - shut)
            units[f"eyeBlink{side}"] = shut
            units[f"eyeLookDown{side}"] = down
            units[f"eyeSquint{side}"] = 0.10 * shut + 0.5 * float(smile[n])
            units[f"browOuterUp{side}"] = max(float(brows[n]), 0.0) * 0.8
            units[f"browDown{side}"] = max(-float(brows[n]), 0.0) + 0.08 * shut
            units[f"mouthSmile{side}"] = units.get(f"mouthSmile{side}", 0.0) + float(smile[n])
            units[f"cheekSquint{side}"] = float(smile[n]) * 0.5
        units["browInnerUp"] = max(float(brows[n]), 0.0) * 0.7
        poses.append(
            Pose(
                units,
                yaw=float(yaw[n]),
                pitch=float(pitch[n]),
                roll=float(roll[n]),
                gaze_yaw=float(np.clip(glance_yaw[n] - 0.92 * yaw[n], -24, 24)),
                gaze_pitch=float(np.clip(glance_pitch[n] - 0.9 * pitch[n], -14, 12)),
                shift=(float(lean[n]), float(rise[n]), 0.0),
            )
        )
    return poses
