"""What is known of source clips, kept between runs: the same clips are heard again and again, and never change."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np

from obs_twin.bench.contours import Contours
from obs_twin.bench.voice_metrics import VoiceFacts, VoiceScorer, VoiceScores
from obs_twin.link.paths import ensure, user_dirs
from obs_twin.voice.model import F32
from obs_twin.voice.speaker import similarity

VERSION = 1
"""Raised when a score of a source changes its meaning."""


def source_facts(
    scorer: VoiceScorer, x: F32, sample_rate_hz: int, *, text: str | None, target: F32 | None
) -> tuple[VoiceFacts, VoiceScores]:
    """The facts of a source clip (N,) and its own scores, from the user's cache if it was scored before."""
    digest = hashlib.sha256(repr((VERSION, sample_rate_hz, text, scorer.naturalness)).encode())
    digest.update(np.ascontiguousarray(x).tobytes())
    path = user_dirs().cache / "bench" / f"{digest.hexdigest()[:32]}.npz"
    kept = _read(path)
    if kept is None:
        facts = scorer.hear(x, sample_rate_hz, text)
        scores = scorer.score(x, sample_rate_hz, source=facts, target=None)
        kept = facts, scores
        _write(path, facts, scores)
    facts, scores = kept
    likeness = float("nan") if target is None else similarity(facts.embedding, target)
    return facts, VoiceScores(**{**scores.as_dict(), "target": likeness})  # type: ignore[arg-type]


def _read(path: Path) -> tuple[VoiceFacts, VoiceScores] | None:
    try:
        with np.load(path) as kept:
            scores = VoiceScores(**json.loads(str(kept["scores"])))
            shape = Contours(kept["f0_hz"], kept["level_db"])
            return VoiceFacts(str(kept["text"]), kept["embedding"], shape), scores
    except (OSError, KeyError, ValueError, TypeError):
        return None


def _write(path: Path, facts: VoiceFacts, scores: VoiceScores) -> None:
    with contextlib.suppress(OSError):
        ensure(path.parent)
        with path.open("wb") as file:
            np.savez(
                file,
                text=np.array(facts.text),
                embedding=facts.embedding,
                f0_hz=facts.contours.f0_hz,
                level_db=facts.contours.level_db,
                scores=np.array(json.dumps(scores.as_dict())),
            )
