"""A first listen to a new voice: somebody else's speech, streamed through it as OBS would stream it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from obs_twin.voice.model import F32, VoiceSettings
from obs_twin.voice.neural import open_neural
from obs_twin.voice.speaker import SpeakerEmbedder, similarity
from obs_twin.zoo.store import ModelStore

DELAY_MS = 1000.0
PAUSE_S = 0.4

SHORT_S, ENOUGH_S = 40.0, 55.0
QUIET_ENOUGH_DB = 20.0
ALIKE, SOMEWHAT_ALIKE = 0.86, 0.78


@dataclass(frozen=True)
class Sample:
    """The converted speech, (N,) at `rate_hz`, and how alike it is to the recordings.

    to_target: a cosine of the speaker encoder; two recordings of one person have about 0.9, of two people 0.55.
    """

    sound: F32
    rate_hz: int
    to_target: float

    def save(self, path: Path) -> None:
        """Write as 16-bit wav."""
        soundfile.write(str(path), self.sound, self.rate_hz, subtype="PCM_16")


def render_sample(
    decoder: Path,
    target: Path,
    actor: Sequence[F32],
    rate_hz: int,
    voice: F32,
    embedder: SpeakerEmbedder,
    *,
    adapter: Path | None = None,
    store: ModelStore | None = None,
) -> Sample:
    """Convert sounds of an actor, each (N,) at `rate_hz`, to the voice in `decoder` and `target`.

    `voice` is the person's own, (256,).

    Raises:
        VoiceModelError: the voice cannot be opened.
    """
    files = {"decoder": decoder, "target": target} | ({} if adapter is None else {"adapter": adapter})
    made = []
    for sound in actor:
        model = open_neural(
            files, sample_rate_hz=rate_hz, delay_budget_ms=DELAY_MS, settings=VoiceSettings(), store=store
        )
        made.append(np.concatenate([model.push(sound), model.flush()]))
    pause = np.zeros(int(PAUSE_S * rate_hz), np.float32)
    whole = np.concatenate([part for sound in made for part in (sound, pause)])
    return Sample(whole, rate_hz, similarity(embedder.embed_speaker(list(made), rate_hz), voice))


def advice(speech_s: float, snr_db: float, bandwidth_hz: float, to_target: float, left_out: Sequence[str]) -> list[str]:
    """What a person could do for a better voice, in sentences; empty if all is well."""
    lines = []
    if speech_s < ENOUGH_S:
        amount = "little" if speech_s < SHORT_S else "rather little"
        lines.append(f"{speech_s:.0f} s of speech is {amount}: one minute of quiet reading would help, five help more.")
    if snr_db < QUIET_ENOUGH_DB:
        lines.append(
            f"The voice is only {snr_db:.0f} dB above the background, which the twin learns too: record in a quieter "
            "room, closer to the microphone."
        )
    if bandwidth_hz < 7000:
        lines.append(
            f"The recordings hold nothing above {bandwidth_hz / 1000:.1f} kHz, as a telephone or a Bluetooth headset "
            "makes them: another microphone would make the voice clearer."
        )
    if any("distorted" in reason for reason in left_out):
        lines.append("Part of the recordings is distorted: turn the recording level down.")
    if to_target < SOMEWHAT_ALIKE:
        lines.append("The voice is not very alike yet: train longer (--minutes 15), with more or cleaner recordings.")
    elif to_target < ALIKE and not lines:
        lines.append("Longer training (--minutes 15) or more recordings would bring it closer.")
    return lines


def likeness_in_words(value: float) -> str:
    """A cosine of the speaker encoder, for a person."""
    return "very alike" if value >= ALIKE else "alike" if value >= SOMEWHAT_ALIKE else "only somewhat alike"
