"""`obs-twin bench voice`: every clip converted under every condition, heard and scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from obs_twin.bench.clips import SpeechClip
from obs_twin.bench.contours import loudest_dbfs
from obs_twin.bench.conversion import RATE_HZ, Condition, Converted, VoiceUnderTest, convert, convert_live
from obs_twin.bench.quiet import quiet_clips
from obs_twin.bench.source_cache import source_facts
from obs_twin.bench.voice_metrics import VoiceFacts, VoiceScorer, VoiceScores
from obs_twin.voice.model import F32, VoiceModel

SCORES = ("wer", "target", "source", "distillmos", "ovrl", "sig", "f0", "envelope", "rtf")
SOURCE = "source"
QUIET_CONDITION = Condition(0.5)

Say = Callable[[str], None]


@dataclass(frozen=True)
class VoiceRow:
    """One clip under one condition ("source" is the clip itself)."""

    clip: str
    speaker: str
    condition: str
    seconds: float
    known_text: bool
    reference: str
    scores: VoiceScores
    rtf: float
    slowest_ms: float
    lag_ms: float
    file: str

    def value(self, score: str) -> float:
        """One of `SCORES`."""
        return float(self.rtf if score == "rtf" else getattr(self.scores, score))


@dataclass(frozen=True)
class VoiceResult:
    """What the bench found.

    Attributes:
        quiet_dbfs: {name of a sound that is no speech: level of the loudest 0.4 s of what came out}.
    """

    rows: Sequence[VoiceRow]
    quiet_dbfs: dict[str, float]
    provider: str

    @property
    def conditions(self) -> list[str]:
        """In the order of the table."""
        return list(dict.fromkeys(row.condition for row in self.rows))

    def of(self, condition: str) -> list[VoiceRow]:
        """The rows of one condition."""
        return [row for row in self.rows if row.condition == condition]


def run_voice_bench(
    clips: Sequence[SpeechClip],
    voice: VoiceUnderTest,
    conditions: Sequence[Condition],
    *,
    target: F32 | None,
    scorer: VoiceScorer,
    sounds: Path,
    warm: bool = False,
    lead_in_s: float = 0.0,
    say: Say = lambda _line: None,
) -> VoiceResult:
    """Convert and score.

    Args:
        target: (256,) embedding of the target's real voice, None if there is nothing to compare with.
        sounds: folder for what was converted, as FLAC.
        warm: keep one model for a speaker's clips in turn, as in a talk; else each clip starts cold.
        lead_in_s: seconds of a quiet room before each streamed clip.
        say: called with a line of progress.

    Raises:
        VoiceModelError: a voice cannot be opened. BenchError: a clip cannot be read, or the voice broke its promise.
    """
    sounds.mkdir(parents=True, exist_ok=True)
    rows: list[VoiceRow] = []
    warmed: dict[tuple[str, str], VoiceModel] = {}
    provider = ""
    for number, clip in enumerate(clips, 1):
        source = clip.samples(RATE_HZ)
        facts, own = source_facts(scorer, source, RATE_HZ, text=clip.text, target=target)
        rows.append(_row(clip, SOURCE, facts, own, None, _save(sounds, clip.name, SOURCE, source), source))
        for condition in conditions:
            key = (clip.speaker, condition.label)
            model = warmed.get(key) or voice.open(condition)
            if warm:
                warmed[key] = model
            done = convert_live(model, source, condition, lead_in_s)
            provider = model.provider
            scores = scorer.score(done.samples, RATE_HZ, source=facts, target=target)
            file = _save(sounds, clip.name, condition.label, done.samples)
            rows.append(_row(clip, condition.label, facts, scores, done, file, source))
            say(
                f"{number:3}/{len(clips)}  {clip.name:34} {condition.label:6} WER {scores.wer:.2f}  "
                f"target {scores.target:.2f}  source {scores.source:.2f}  distillMOS {scores.distillmos:.2f}  "
                f"RTF {rows[-1].rtf:.2f}"
            )
    return VoiceResult(rows, _quiet(voice, sounds), provider)


def _row(
    clip: SpeechClip,
    condition: str,
    facts: VoiceFacts,
    scores: VoiceScores,
    done: Converted | None,
    file: str,
    source: F32,
) -> VoiceRow:
    seconds = len(source) / RATE_HZ
    return VoiceRow(
        clip=clip.name,
        speaker=clip.speaker,
        condition=condition,
        seconds=seconds,
        known_text=clip.text is not None,
        reference=facts.text,
        scores=scores,
        rtf=math.nan if done is None else done.cpu_s / done.fed_s,
        slowest_ms=math.nan if done is None else 1000 * done.slowest_s,
        lag_ms=math.nan if done is None else 1000 * done.lookahead_samples / RATE_HZ,
        file=file,
    )


def pooled_wer(rows: Iterable[VoiceRow]) -> float:
    """All word errors over all words."""
    rows = list(rows)
    return sum(row.scores.errors for row in rows) / max(1, sum(row.scores.words for row in rows))


def median(rows: Iterable[VoiceRow], score: str) -> float:
    """Median of one of `SCORES` over the clips where it can be told; NaN if nowhere."""
    values = [value for row in rows if not math.isnan(value := row.value(score))]
    return float(np.median(values)) if values else math.nan


def _quiet(voice: VoiceUnderTest, sounds: Path) -> dict[str, float]:
    levels = {}
    for name, sound in quiet_clips(RATE_HZ).items():
        done = convert(voice.open(QUIET_CONDITION), sound, QUIET_CONDITION)
        levels[name] = loudest_dbfs(done.samples, RATE_HZ)
        _save(sounds, f"quiet_{name.replace(' ', '_')}", QUIET_CONDITION.label, done.samples)
    return levels


def _save(folder: Path, clip: str, condition: str, samples: F32) -> str:
    name = f"{clip}__{condition.replace(' ', '')}.flac"
    soundfile.write(folder / name, np.clip(samples, -1.0, 1.0), RATE_HZ, subtype="PCM_16")
    return name
