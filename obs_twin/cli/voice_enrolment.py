"""The voice part of `obs-twin twin new`: recordings of a person to the files of their voice, told step by step."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from obs_twin.cli.consent_dialogue import AGREE, same_words, say
from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.voice.enrol.enrolment import Enrolled, Tools
    from obs_twin.voice.enrol.selection import Selection
    from obs_twin.voice.enrol.train import Progress
    from obs_twin.voice.model import F32

PYTORCH = "torch==2.13.0"
DEFAULT_MINUTES = 3.0
LEAST_MINUTES, MOST_MINUTES = 0.05, 24 * 60.0
MOST_THREADS = 4
BAR_CHARS = 30
SAMPLE_TEXT = (
    "Hello. What you are hearing is a digital twin, made with the consent of the person whose voice it is.",
    "Somebody else is speaking; only the voice is theirs. How does it sound to you?",
)

OTHERS_SAY = (
    "Every morning the harbour wakes up slowly, and the first boats go out before the sun has risen.",
    "Nobody had expected that the small museum would stay open through such a long winter.",
    "You could give us a few examples of what he thought about language, joy and measure.",
    "She asked whether the doctor would visit both of the children, or only the youngest one.",
    "Thank you for joining us; what shall we talk about first, the weather or the huge bridge?",
    "A quiet voice said that three of the old clocks were wrong, though nobody had touched them.",
)
OTHERS = 18
OTHERS_PITCH, OTHERS_FORMANTS, OTHERS_PACE = (0.48, 1.3), (0.8, 1.2), (0.8, 1.3)
"""Other people: how many, and within which limits their pitch, formants and pace are ratios of the rendered voice's."""


@dataclass(frozen=True)
class VoiceFiles:
    """The voice to be put into a pack: {path in the pack: file}, and the folder to remove when that is done."""

    files: dict[str, Path]
    workplace: Path


def allow_training(person: str) -> None:
    """Ask the person, before anything is learnt from their voice.

    Raises:
        CommandError: they do not agree.
    """
    print()
    say(
        f"This question is for {person} in person. A computer voice that sounds like {person} is to be made from these "
        "recordings, on this computer only. It can be used when its consent has been signed, at the end."
    )
    if not same_words(input(f'If {person} agrees that it is made, type "{AGREE}": '), AGREE):
        raise CommandError("That was not agreed to, so no voice was made.")


def check_spoken_consent(path: Path, notes: Path | None = None) -> None:
    """Whether `path` is a recording of speech, by the voice that `notes` of an enrolment describe, if there are any.

    Raises:
        CommandError: it is not; says why.
    """
    from obs_twin.voice.activity import SpeechDetector
    from obs_twin.voice.enrol.enrolment import speaker_of
    from obs_twin.voice.enrol.selection import check_spoken_consent, require_same_person
    from obs_twin.voice.model import VoiceModelError
    from obs_twin.voice.speaker import SpeakerEmbedder
    from obs_twin.zoo.store import ModelStore

    store = ModelStore()
    store.fetch(["silero_vad", "resemblyzer"])
    try:
        embedder = SpeakerEmbedder(store.path("resemblyzer"))
        vector = check_spoken_consent(path, SpeechDetector(store.path("silero_vad")), embedder)
        if notes is not None:
            require_same_person(vector, speaker_of(notes), path)
    except VoiceModelError as error:
        raise CommandError(str(error)) from error


def make_voice(
    name: str, places: Sequence[Path], *, minutes: float, consent_audio: Path | None, threads: int | None = None
) -> VoiceFiles:
    """Listen, train, render a sample, and say all along what happens.

    Args:
        name: of the pack; an interrupted training of the same name and recordings goes on.
        places: recordings, and folders of them.
        minutes: of training.
        consent_audio: a recording of the person speaking their consent; it must be the same voice.
        threads: for training; as many as are useful if None.

    Raises:
        CommandError: PyTorch is missing, or the recordings cannot be used; says why.
        ModelError: a model cannot be fetched.
    """
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise CommandError(f"--minutes should be {LEAST_MINUTES:g} to {MOST_MINUTES:g}, not {minutes:g}.")
    require_training()
    from obs_twin.link.paths import ensure, user_dirs
    from obs_twin.voice.model import VoiceModelError

    workplace = ensure(user_dirs().state / "enrolment" / name)
    try:
        tools = _tools()
        selection = _listen(places, tools, consent_audio)
        enrolled = _train(selection, tools, workplace, minutes, threads or min(os.cpu_count() or 1, MOST_THREADS))
        sample = _assess(selection, enrolled, tools)
    except VoiceModelError as error:
        raise CommandError(str(error)) from error
    return VoiceFiles(enrolled.files | {"voice/sample.wav": sample}, workplace)


def require_training() -> None:
    """See to it that PyTorch is there, asking first.

    Raises:
        CommandError: it is not; says how to install it.
    """
    if importlib.util.find_spec("torch") is not None:
        return
    command = [sys.executable, "-m", "pip", "install", PYTORCH]
    advice = f"Training a voice needs PyTorch, which is not installed. To install it, run:\n  {' '.join(command)}"
    if not sys.stdin.isatty():
        raise CommandError(advice)
    say("Training a voice needs PyTorch (about 1 GB on disk, only for training).")
    if not same_words(input("Install it now? [yes/no] "), "yes"):
        raise CommandError(advice)
    if subprocess.run(command, check=False).returncode != 0 or importlib.util.find_spec("torch") is None:
        raise CommandError(f"PyTorch was not installed. {advice}")


def _tools() -> Tools:
    from obs_twin.voice.enrol.enrolment import MODELS, Tools
    from obs_twin.zoo.derive import sources_of
    from obs_twin.zoo.store import ModelStore

    store = ModelStore()
    store.fetch(["voice_adapter", "dnsmos_p835", *sources_of(MODELS)])
    return Tools.open(store.path("voice_adapter"), store)


def _listen(places: Sequence[Path], tools: Tools, consent_audio: Path | None) -> Selection:
    from obs_twin.voice.enrol.selection import check_spoken_consent, require_same_person, select
    from obs_twin.voice.model import VoiceModelError

    known = None
    if consent_audio is not None:
        known = check_spoken_consent(consent_audio, tools.detector, tools.embedder)
    bar = _bar("Listening")
    try:
        selection = select(places, tools.detector, tools.embedder, known=known, done=lambda share: bar(share, ""))
    except VoiceModelError as error:
        if known is None or consent_audio is None:
            raise
        raise VoiceModelError(
            f"{error}\nThe recordings were searched for the voice in {consent_audio.name}: only the person whose voice "
            "it is can agree."
        ) from error
    for line in selection.describe():
        print(line)
    if known is not None and consent_audio is not None:
        likeness = require_same_person(known, selection.voice, consent_audio)
        print(f"The spoken consent is by the same voice (similarity {likeness:.2f}).")
    return selection


def _train(selection: Selection, tools: Tools, workplace: Path, minutes: float, threads: int) -> Enrolled:
    from obs_twin.voice.enrol.enrolment import enrol
    from obs_twin.voice.enrol.train import Plan, steps_for

    preparing, learning = _bar("Preparing"), _bar("Learning")
    steps = steps_for(selection.used_s)

    def show(progress: Progress) -> None:
        whole_s = progress.done_s + progress.left_s
        left = f"{int(progress.left_s) // 60}:{int(progress.left_s) % 60:02} left, distance {progress.loss:.2f}"
        learning(progress.done_s / max(whole_s, 1e-9), left)

    try:
        enrolled = enrol(
            selection,
            tools,
            workplace,
            others=_other_people(),
            plan=Plan(seconds=minutes * 60, steps=steps, threads=threads),
            listening=lambda share: preparing(share, ""),
            training=show,
        )
    except KeyboardInterrupt:
        print("\nStopped. What has been learnt so far is kept: run the same command again to go on.", file=sys.stderr)
        raise
    print(f"Learnt in {enrolled.seconds / 60:.1f} minutes, {enrolled.steps} steps.")
    if enrolled.steps < steps:
        say(f"{selection.used_s:.0f} s of speech are good for {steps} steps; --minutes would give the time for them.")
    return enrolled


def _other_people() -> list[F32]:
    """What others say, for the voice to be learnt on: rendered speech in voices far apart, 24 kHz."""
    import numpy as np

    from obs_twin.twin.synthetic.speech import speak

    random = np.random.default_rng(3)
    said = []
    for index in range(OTHERS):
        pitch, formants, pace = (
            float(np.exp(random.uniform(*np.log(limits)))) for limits in (OTHERS_PITCH, OTHERS_FORMANTS, OTHERS_PACE)
        )
        text = OTHERS_SAY[index % len(OTHERS_SAY)]
        said.append(speak(text, pitch_ratio=pitch, formant_ratio=formants, speed=pace).samples)
    return said


def _assess(selection: Selection, enrolled: Enrolled, tools: Tools) -> Path:
    """Render the sample, say how good it is and what would help, and return its path."""
    import numpy as np

    from obs_twin.bench.mos import DnsmosScorer
    from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, SAMPLE_RATE_HZ, speak
    from obs_twin.voice.enrol.bandwidth import bandwidth_hz
    from obs_twin.voice.enrol.sample import advice, likeness_in_words, render_sample
    from obs_twin.voice.neural_grid import MAKE_RATE_HZ
    from obs_twin.zoo.store import ModelStore

    man = {"pitch_ratio": ACTOR_SPEAKER.pitch_ratio, "formant_ratio": ACTOR_SPEAKER.formant_ratio}
    actor = [speak(SAMPLE_TEXT[0]).samples, speak(SAMPLE_TEXT[1], **man).samples]
    sample = render_sample(
        enrolled.decoder, enrolled.target, actor, SAMPLE_RATE_HZ, selection.voice, tools.embedder, adapter=tools.adapter
    )
    path = enrolled.decoder.with_name("sample.wav")
    sample.save(path)
    scorer = DnsmosScorer(ModelStore().path("dnsmos_p835"))
    own = np.concatenate([stretch.samples for stretch in selection.used[:8]])
    quality, own_quality = (
        scorer.score(sound, rate).ovrl for sound, rate in ((sample.sound, sample.rate_hz), (own, MAKE_RATE_HZ))
    )
    print()
    say(
        f"Likeness: {likeness_in_words(sample.to_target)} ({sample.to_target:.2f}; two recordings of one person are at "
        "about 0.9, two people at 0.55)."
    )
    say(f"Quality: {quality:.1f} of 5; the recordings themselves {own_quality:.1f}.")
    reasons = [reason for _, reason in selection.left_out]
    bandwidth = bandwidth_hz([stretch.samples for stretch in selection.used[:20]])
    for line in advice(enrolled.speech_s, selection.snr_db, bandwidth, sample.to_target, reasons):
        say(line)
    return path


def _bar(what: str) -> Callable[[float, str], None]:
    """A progress bar on a terminal, and a line each tenth elsewhere."""
    shown = -1

    def draw(share: float, text: str) -> None:
        nonlocal shown
        share = min(1.0, share)
        if sys.stderr.isatty():
            bar = "#" * round(share * BAR_CHARS)
            end = "\n" if share >= 1 else ""
            print(f"\r{what:10} [{bar:{BAR_CHARS}}] {share:4.0%} {text:40}", end=end, file=sys.stderr, flush=True)
        elif int(share * 10) > shown:
            shown = int(share * 10)
            print(f"{what} {share:.0%} {text}".rstrip(), file=sys.stderr, flush=True)

    return draw
