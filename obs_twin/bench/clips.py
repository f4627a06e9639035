"""The clips that a bench runs over, and what is said in them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import soxr

from obs_twin.bench.extra import BenchError
from obs_twin.voice.model import F32

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")


@dataclass(frozen=True)
class SpeechClip:
    """One clip of a folder.

    Attributes:
        name: the file's name without suffix.
        path: the file.
        text: what is said, where a transcript lies beside it; else None.
        speaker: clips with the same one are by the same person, as far as names tell.
    """

    name: str
    path: Path
    text: str | None
    speaker: str

    def samples(self, rate_hz: int) -> F32:
        """(N,) mono samples at `rate_hz`.

        Raises:
            BenchError: the file cannot be read.
        """
        return read_sound(self.path, rate_hz)


def read_sound(path: Path, rate_hz: int) -> F32:
    """(N,) mono samples of a file at `rate_hz`; BenchError if it cannot be read."""
    try:
        sound, own_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise BenchError(f"{path} cannot be read as sound ({error}). Expected: {', '.join(SOUND_SUFFIXES)}.") from error
    mono: F32 = sound.mean(axis=1)
    return mono if own_hz == rate_hz else soxr.resample(mono, own_hz, rate_hz)


def speech_clips(folder: Path, limit: int | None = None) -> list[SpeechClip]:
    """The clips below `folder`, by name; with a limit, spread evenly over the speakers.

    Transcripts are taken from `CLIP.txt` beside a clip, or from a file `*metadata.csv` in LJSpeech's form
    (`id|text|normalised text`) whose id ends the clip's name.

    Raises:
        BenchError: there is no such folder, or no sound in it.
    """
    if not folder.is_dir():
        raise BenchError(f"There is no folder {folder}. Give a folder with clips of speech.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES)
    if not paths:
        raise BenchError(f"{folder} holds no sound. Expected files ending in {', '.join(SOUND_SUFFIXES)}.")
    texts = _metadata(folder)
    clips = [SpeechClip(path.stem, path, _transcript(path, texts), _speaker(path.stem)) for path in paths]
    return clips if limit is None else _spread(clips, limit)


def _metadata(folder: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in folder.rglob("*metadata.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE):
                if len(row) >= 2:
                    texts[row[0]] = row[-1] or row[1]
    return texts


def _transcript(path: Path, texts: dict[str, str]) -> str | None:
    beside = path.with_suffix(".txt")
    if beside.is_file():
        return beside.read_text(encoding="utf-8").strip()
    return next((text for key, text in texts.items() if path.stem == key or path.stem.endswith(f"_{key}")), None)


def _speaker(name: str) -> str:
    """The name without the running numbers at its end."""
    return re.sub(r"([-_ ]?\d+)+$", "", name) or name


def _spread(clips: Sequence[SpeechClip], limit: int) -> list[SpeechClip]:
    """At most `limit` clips, in turn one of each speaker; sorted as before."""
    by_speaker: dict[str, list[SpeechClip]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.speaker, []).append(clip)
    taken: list[SpeechClip] = []
    for turn in range(max(map(len, by_speaker.values()))):
        taken += [group[turn] for group in by_speaker.values() if turn < len(group)]
    return sorted(taken[:limit], key=lambda clip: clip.name)
