"""From a heap of recordings to the stretches of speech that a voice is learnt from, and in words what was left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from obs_twin.voice.activity import SpeechDetector
from obs_twin.voice.enrol.reading import find_recordings, read_recording
from obs_twin.voice.enrol.speakers import SAME_FROM, embed_all, main_voice
from obs_twin.voice.enrol.speech import Stretch, find_speech
from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.neural_grid import MAKE_RATE_HZ
from obs_twin.voice.speaker import SpeakerEmbedder, similarity

LEAST_SPEECH_S = 8.0
MOST_SPEECH_S = 3600.0
SHORTEST_SPOKEN_CONSENT_S = 2.0
OTHER_VOICE = "another voice"
LINES_PER_REASON = 4


@dataclass
class Selection:
    """What was found.

    used: what the voice is learnt from.
    left_out: stretches that are not used, each with the reason.
    voice: (256,) the person's voice as the speaker encoder hears it.
    unread: recordings that could not be read or have no speech, in words.
    """

    used: list[Stretch]
    left_out: list[tuple[Stretch, str]]
    voice: F32
    unread: list[str] = field(default_factory=list)

    @property
    def used_s(self) -> float:
        """Seconds of speech that are used."""
        return sum(stretch.duration_s for stretch in self.used)

    @property
    def snr_db(self) -> float:
        """How far the voice is above the background, in the middle of all stretches."""
        return float(np.median([stretch.snr_db for stretch in self.used]))

    def describe(self) -> list[str]:
        """For the person at the keyboard: what is used and what not, and why."""
        files = len({stretch.recording.path for stretch in self.used})
        lines = [
            f"Used: {self.used_s:.0f} s of speech from {files} recording{'s' if files != 1 else ''} "
            f"({len(self.used)} stretches; the voice is {self.snr_db:.0f} dB above the background)."
        ]
        for reason in dict.fromkeys(reason for _, reason in self.left_out):
            group = [stretch for stretch, why in self.left_out if why == reason]
            places = ", ".join(stretch.where for stretch in group[:LINES_PER_REASON])
            more = f" and {len(group) - LINES_PER_REASON} more" if len(group) > LINES_PER_REASON else ""
            seconds = sum(stretch.duration_s for stretch in group)
            lines.append(f"Not used, {reason}: {seconds:.0f} s ({places}{more}).")
        return lines + self.unread


def select(
    places: Sequence[Path],
    detector: SpeechDetector,
    embedder: SpeakerEmbedder,
    *,
    known: F32 | None = None,
    done: Callable[[float], None] | None = None,
) -> Selection:
    """Choose what a voice is learnt from.

    Args:
        places: recordings, and folders of them.
        known: the person's voice, from a recording that is known to be theirs; else whoever speaks most is meant.
        done: called with the share of the recordings that have been heard, 0..1.

    Raises:
        VoiceModelError: a place does not exist, or there is too little usable speech; says what was found.
    """
    paths = find_recordings(places)
    unread: list[str] = []
    left_out: list[tuple[Stretch, str]] = []
    sound: list[Stretch] = []
    for index, path in enumerate(paths):
        try:
            stretches = find_speech(read_recording(path), detector)
        except VoiceModelError as error:
            unread.append(str(error))
            continue
        if not stretches:
            unread.append(f"No speech was found in {path.name}.")
        left_out += [(stretch, stretch.fault) for stretch in stretches if stretch.fault]
        sound += [stretch for stretch in stretches if not stretch.fault]
        if done is not None:
            done((index + 1) / len(paths))
    selection = Selection([], left_out, np.zeros(256, np.float32), unread)
    if sound:
        vectors = embed_all(sound, embedder)
        selection.voice, same = main_voice(vectors, [stretch.duration_s for stretch in sound], known)
        _split(selection, sound, same)
    if selection.used_s < LEAST_SPEECH_S:
        raise VoiceModelError(_too_little(selection))
    return selection


def _split(selection: Selection, stretches: list[Stretch], same: list[bool]) -> None:
    total_s = 0.0
    for stretch, is_same in zip(stretches, same, strict=True):
        if not is_same:
            selection.left_out.append((stretch, OTHER_VOICE))
        elif total_s > MOST_SPEECH_S:
            selection.left_out.append((stretch, "more than the hour that is of use"))
        else:
            selection.used.append(stretch)
            total_s += stretch.duration_s


def _too_little(selection: Selection) -> str:
    found = f"Only {selection.used_s:.0f} s of usable speech were found; at least {LEAST_SPEECH_S:.0f} s are needed, "
    lines = selection.describe()[1:] if selection.used else [f"Not used, {w}: {s.where}" for s, w in selection.left_out]
    lines = lines or selection.unread
    return "\n".join([found + "and one minute of quiet reading makes a good voice.", *lines])


def check_spoken_consent(path: Path, detector: SpeechDetector, embedder: SpeakerEmbedder) -> F32:
    """The voice (256,) in a recording in which a person speaks their consent.

    Raises:
        VoiceModelError: it cannot be read, or nobody speaks in it long enough.
    """
    stretches = find_speech(read_recording(path), detector)
    spoken_s = sum(stretch.duration_s for stretch in stretches)
    if spoken_s < SHORTEST_SPOKEN_CONSENT_S:
        raise VoiceModelError(
            f"The spoken consent {path.name} has {spoken_s:.1f} s of speech in it; a sentence of at least "
            f"{SHORTEST_SPOKEN_CONSENT_S:.0f} s was expected. Record it again, close to the microphone."
        )
    return embedder.embed(np.concatenate([stretch.samples for stretch in stretches]), MAKE_RATE_HZ)


def require_same_person(consent: F32, voice: F32, path: Path) -> float:
    """The similarity of the voice in a spoken consent with the voice of the recordings.

    Raises:
        VoiceModelError: they are of two people.
    """
    likeness = similarity(consent, voice)
    if likeness < SAME_FROM:
        raise VoiceModelError(
            f"The spoken consent {path.name} is by another voice than the recordings (similarity {likeness:.2f}; the "
            f"same person is at {SAME_FROM:.2f} or more). Only the person whose voice it is can agree."
        )
    return likeness
