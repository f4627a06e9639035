"""A voice of one's own: recordings in, the files of a voice of kind "neural" out.

    selection = select([folder], tools.detector, tools.embedder)
    voice = enrol(selection, tools, folder, plan=Plan(seconds=240))
    voice.files                       # {"voice/decoder.onnx": ..., "voice/target.json": ..., ...}

Only training needs PyTorch; it is imported when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from obs_twin.voice.activity import SpeechDetector
from obs_twin.voice.content import ContentEncoder
from obs_twin.voice.enrol.material import duration_s, in_range_of, prepare
from obs_twin.voice.enrol.selection import Selection
from obs_twin.voice.enrol.speech import Stretch
from obs_twin.voice.enrol.weights import read_weights, write_decoder
from obs_twin.voice.listening import ENCODER
from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.neural_grid import MAKE_RATE_HZ
from obs_twin.voice.speaker import SpeakerEmbedder
from obs_twin.voice.target import VoiceTarget, analyse
from obs_twin.zoo.derive import derived_path
from obs_twin.zoo.store import ModelStore, sha256_of

if TYPE_CHECKING:
    from obs_twin.voice.enrol.train import Plan, Progress

FORMAT = "obs-twin voice enrolment"
VERSION = 1
SPEECH_DBFS = -23.0
"""Level to which recordings are brought; the decoder speaks like that before it is trained."""
TARGET_S = 120.0
"""Speech from which pitch and spectrum are measured; more would not change them."""
OTHERS_ALTERED, OTHERS_NOISE_DB = 2, (5.0, 30.0)
"""Altered versions of what other people say, and their noise: others' microphones are worse."""
MODELS = ("silero_vad", "resemblyzer", ENCODER, "hibari_decoder")


@dataclass(frozen=True)
class Tools:
    """What listens, and what is trained."""

    detector: SpeechDetector
    embedder: SpeakerEmbedder
    speaker: Path
    encoder: ContentEncoder
    adapter: Path
    base: Path

    @staticmethod
    def open(adapter: Path, store: ModelStore | None = None) -> Tools:
        """Open the networks, which must have been fetched (`MODELS`).

        Raises:
            ModelError: one is missing or damaged.
        """
        store = ModelStore() if store is None else store
        return Tools(
            SpeechDetector(store.path("silero_vad")),
            SpeakerEmbedder(store.path("resemblyzer")),
            store.path("resemblyzer"),
            ContentEncoder(derived_path(ENCODER, store), adapter),
            adapter,
            derived_path("hibari_decoder", store),
        )


@dataclass(frozen=True)
class Enrolled:
    """A new voice.

    decoder, target, notes: the files.
    speech_s, steps, seconds: what it was trained on, and how long.
    first_loss, last_loss: of the training.
    """

    decoder: Path
    target: Path
    notes: Path
    speech_s: float
    steps: int
    seconds: float
    first_loss: float
    last_loss: float

    @property
    def files(self) -> dict[str, Path]:
        """{path in the pack: file}."""
        return {f"voice/{path.name}": path for path in (self.decoder, self.target, self.notes)}


def enrol(
    selection: Selection,
    tools: Tools,
    folder: Path,
    *,
    others: Sequence[F32] = (),
    plan: Plan,
    listening: Callable[[float], None] | None = None,
    training: Callable[[Progress], None] | None = None,
) -> Enrolled:
    """Train a decoder on one voice and write it, its target statistics and notes into `folder`.

    An earlier call for the same recordings that was interrupted is taken up from `folder`/checkpoint.pt.

    Args:
        selection: what to learn from.
        folder: must exist.
        others: what other people say, each (N,) at 24 kHz, so that the voice is also learnt for what the converter
            hears in them; one or two minutes in many voices do much.
        plan: how long and how.
        listening, training: called with the progress of the two parts.

    Raises:
        VoiceModelError: the recordings have no measurable voice, or the training diverged.
        ImportError: PyTorch is not installed.
    """
    from obs_twin.voice.enrol.likeness import Likeness
    from obs_twin.voice.enrol.train import Trainer

    sounds = levelled(selection.used)
    target = measure(sounds)
    strangers = prepare(others, tools.encoder, altered=OTHERS_ALTERED, noise_db=OTHERS_NOISE_DB)
    others_said = [in_range_of(target, item) for item in strangers]
    material = prepare(sounds, tools.encoder, done=listening)
    likeness = Likeness(tools.speaker, selection.voice)
    trainer = Trainer(
        read_weights(tools.base), material, others_said, likeness, plan, checkpoint=folder / "checkpoint.pt"
    )
    trained = trainer.run(training)
    notes = {
        "format": FORMAT,
        "version": VERSION,
        "adapter_sha256": sha256_of(tools.adapter),
        "base_sha256": sha256_of(tools.base),
        "speech_s": round(duration_s(material), 1),
        "snr_db": round(selection.snr_db, 1),
        "plan": asdict(plan),
        "steps": trained.steps,
        "seconds": round(trained.seconds, 1),
        "first_loss": round(trained.first_loss, 4),
        "last_loss": round(trained.last_loss, 4),
        "speaker": [round(float(value), 5) for value in selection.voice],
    }
    enrolled = Enrolled(
        folder / "decoder.onnx",
        folder / "target.json",
        folder / "enrolment.json",
        duration_s(material),
        trained.steps,
        trained.seconds,
        trained.first_loss,
        trained.last_loss,
    )
    write_decoder(tools.base, trained.weights, enrolled.decoder, notes={"adapter_sha256": str(notes["adapter_sha256"])})
    target.save(enrolled.target)
    enrolled.notes.write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    return enrolled


def levelled(stretches: list[Stretch]) -> list[F32]:
    """The sounds of stretches, each recording as a whole brought to SPEECH_DBFS."""
    levels: dict[Path, list[float]] = {}
    for stretch in stretches:
        levels.setdefault(stretch.recording.path, []).append(stretch.level_dbfs)
    sounds = []
    for stretch in stretches:
        level_db = 10 * np.log10(np.mean(10 ** (np.array(levels[stretch.recording.path]) / 10)))
        sounds.append(np.asarray(stretch.samples * 10 ** ((SPEECH_DBFS - level_db) / 20), np.float32))
    return sounds


def measure(sounds: list[F32]) -> VoiceTarget:
    """Pitch and spectrum of the voice, from at most two minutes spread over all sounds."""
    step = max(1, int(sum(map(len, sounds)) / (TARGET_S * MAKE_RATE_HZ)))
    return analyse(np.concatenate(sounds[::step]), MAKE_RATE_HZ)


def speaker_of(notes: Path) -> F32:
    """The person's voice (256,), as the speaker encoder heard it at the enrolment.

    Raises:
        VoiceModelError: the file is missing or damaged.
    """
    try:
        document = json.loads(notes.read_text(encoding="utf-8"))
        vector = np.asarray(document["speaker"], np.float32)
        if document["format"] != FORMAT or vector.shape != (256,) or not np.isfinite(vector).all():
            raise ValueError("not the notes of an enrolment")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VoiceModelError(f"the notes of the enrolment {notes} cannot be used: {error}") from error
    return vector
