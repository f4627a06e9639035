"""Which of several faces is the actor's, and how the actor's own face is remembered.

What is remembered is one embedding: numbers by which a network tells one face from another. That is biometric data. It
is only written when the actor asks for it, stays on this machine, and `forget` deletes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from obs_twin.face.detect import Detection
from obs_twin.face.identity import SAME_PERSON, distance
from obs_twin.face.observation import FaceObservation
from obs_twin.face.square import FloatArray, Image

LARGEST, CENTRE, ENROLLED = "largest", "centre", "enrolled"
RULES = (LARGEST, CENTRE, ENROLLED)
_SAMPLES = 10
_EVERY_FRAMES = 6
_FRONTAL_DEG = 18.0
_VERSION = 1


class Embedder(Protocol):
    """Turns a face into numbers that are close for pictures of one person; see `identity`."""

    def embed(self, bgr: Image, landmarks: FloatArray) -> FloatArray:
        """`(N,) float32` of the face with these mesh points in `bgr` `(H, W, 3) uint8`."""


@dataclass(frozen=True, eq=False)
class ActorChoice:
    """Tells the actor from other people.

    Attributes:
        rule: `LARGEST` (who sits nearest to the camera), `CENTRE` (who is nearest to the picture's middle) or
            `ENROLLED` (whose face was remembered, and nobody else).
        remembered: `(N,) float32`, what `ENROLLED` compares with; without it, it accepts nobody.
        embedder: needed by `ENROLLED`.
    """

    rule: str = LARGEST
    remembered: FloatArray | None = None
    embedder: Embedder | None = None

    @property
    def knows_faces(self) -> bool:
        """Whether `accepts` must be asked."""
        return self.rule == ENROLLED

    def ordered(self, detections: Sequence[Detection], shape: tuple[int, ...]) -> list[Detection]:
        """The faces found in a picture of `shape`, the likeliest actor first."""
        if self.rule != CENTRE:
            return sorted(detections, key=lambda d: -d.area)
        height, width = shape[:2]

        def off_centre(found: Detection) -> float:
            x0, y0, x1, y1 = found.box
            return float(np.hypot((x0 + x1 - width) / 2, (y0 + y1 - height) / 2))

        return sorted(detections, key=off_centre)

    def accepts(self, bgr: Image, landmarks: FloatArray) -> bool:
        """Whether this face may be the actor's. Costs some milliseconds under `ENROLLED`, nothing otherwise."""
        if not self.knows_faces:
            return True
        if self.remembered is None or self.embedder is None:
            return False
        return distance(self.embedder.embed(bgr, landmarks), self.remembered) < SAME_PERSON


class Enrolment:
    """Collects the actor's face over about two seconds; only while nobody else is in the picture."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._samples: list[FloatArray] = []
        self._frames = 0
        self.advice = "Look into the camera."

    def add(self, bgr: Image, seen: FaceObservation | None, faces: int) -> FloatArray | None:
        """Take one more frame; returns the embedding `(N,) float32` once there is enough.

        Args:
            bgr: `(H, W, 3) uint8`, as the camera gave it.
            seen: the face that is followed.
            faces: how many faces the picture shows.
        """
        self._frames += 1
        if seen is None or seen.hands or seen.covered > 0:
            self.advice = "Your face is not seen, or something is in front of it. Look into the camera."
            return None
        if faces > 1:
            self._samples.clear()
            self.advice = "More than one face is in the picture. Only yours may be seen while it is remembered."
            return None
        if max(abs(seen.yaw_deg), abs(seen.pitch_deg)) > _FRONTAL_DEG:
            self.advice = "Look straight into the camera."
            return None
        if self._frames % _EVERY_FRAMES:
            return None
        sample = self._embedder.embed(bgr, seen.landmarks)
        if self._samples and distance(sample, self._samples[0]) > SAME_PERSON:
            self._samples.clear()  # somebody else sat down
        self._samples.append(sample)
        self.advice = f"Hold still: {len(self._samples) * 100 // _SAMPLES} %."
        if len(self._samples) < _SAMPLES:
            return None
        return np.asarray(np.mean(self._samples, axis=0), np.float32)


def remember(path: Path, embedding: FloatArray) -> None:
    """Write the actor's `embedding` to `path`, readable by this user only. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps({"version": _VERSION, "embedding": [round(float(v), 6) for v in embedding]})
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def recall(path: Path) -> FloatArray | None:
    """The embedding in `path`; None if there is none, or none that this version can read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        embedding = np.array(stored["embedding"], np.float32)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    usable = stored.get("version") == _VERSION and embedding.ndim == 1 and np.isfinite(embedding).all()
    return embedding if usable and len(embedding) >= 64 else None


def forget(path: Path) -> bool:
    """Delete what was remembered; whether there was anything. Raises OSError if it cannot be deleted."""
    found = path.exists()
    path.unlink(missing_ok=True)
    return found
