"""`obs-twin bench`: what a twin's voice and face are worth, in figures, pictures and sounds."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from obs_twin.cli.errors import CommandError

DEFAULT_DELAYS = "0.3,0.5,1.0,1.5"
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PERSONA_TEXT = (
    "Nobody is speaking here, and yet you can hear every word. On Thursday evening the lights along the river are "
    "switched on one by one. I keep a small notebook beside the telephone, for names, numbers and good ideas."
)
"""Said by the built-in persona, to have something of her own voice to compare with."""


def add_parser(subparsers: Any) -> None:
    """Add `bench voice` and `bench face`."""
    parser = subparsers.add_parser("bench", help="measure a twin's voice or face on clips of your own")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_voice(actions)
    _add_face(actions)


def _add_voice(actions: Any) -> None:
    text = "Convert a folder of speech, whole and streamed, and score words, likeness, naturalness and speed."
    voice = actions.add_parser("voice", help="the voice, over a folder of speech", description=text)
    voice.set_defaults(run=_voice)
    voice.add_argument(
        "folder", type=Path, help="clips of speech; transcripts beside them are used (.txt, metadata.csv)"
    )
    which = voice.add_mutually_exclusive_group(required=True)
    which.add_argument("--twin", metavar="NAME", help="the twin whose voice is measured")
    which.add_argument(
        "--kind", metavar="KIND", help="a voice without a twin pack: its kind, with --file for its files"
    )
    voice.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="ROLE=PATH",
        help="one file of the voice, such as adapter=FILE; in place of the twin's own",
    )
    voice.add_argument(
        "--target", nargs="+", type=Path, default=[], metavar="SOUND", help="clips of the target's own voice"
    )
    voice.add_argument("--whole", action="store_true", help="also whole clips at once, the best that the voice can do")
    voice.add_argument("--delays", default=DEFAULT_DELAYS, metavar="SECONDS", help="delays D to stream with, by commas")
    voice.add_argument("--limit", type=int, metavar="N", help="at most so many clips, spread over the speakers")
    voice.add_argument("--warm", action="store_true", help="a speaker's clips one after another, as in a talk")
    voice.add_argument(
        "--lead-in", type=float, default=1.0, metavar="S", help="seconds of a quiet room before each streamed clip"
    )
    voice.add_argument("--quick", action="store_true", help="leave out distillMOS, which needs PyTorch")
    voice.add_argument("--pitch", type=float, default=0.0, metavar="SEMITONES", help="as in the filter's settings")
    voice.add_argument("--out", type=Path, default=Path("bench-voice"), metavar="DIR", help="folder for the results")


def _add_face(actions: Any) -> None:
    text = "Draw a twin into clips as the engine does, and score likeness, expression, steadiness, seams and speed."
    face = actions.add_parser("face", help="the face, over clips of people facing a camera", description=text)
    face.set_defaults(run=_face)
    face.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="video files")
    which = face.add_mutually_exclusive_group(required=True)
    which.add_argument("--twin", metavar="NAME", help="the twin whose face is measured")
    which.add_argument(
        "--photo", nargs="+", type=Path, metavar="FILE", help="a face without a twin pack: photos, the best first"
    )
    face.add_argument("--target", type=Path, metavar="PHOTO", help="another photo of the target to compare with")
    face.add_argument("--seconds", type=float, metavar="S", help="only the beginning of each clip")
    face.add_argument(
        "--no-stress", action="store_true", help="leave out the turning head, the light and the things held up"
    )
    face.add_argument("--out", type=Path, default=Path("bench-face"), metavar="DIR", help="folder for the results")


def _voice(args: argparse.Namespace) -> int:
    from obs_twin.bench.clips import read_sound, speech_clips
    from obs_twin.bench.conversion import RATE_HZ, Condition, VoiceUnderTest
    from obs_twin.bench.machine import machine, reference_line
    from obs_twin.bench.page import text_table
    from obs_twin.bench.voice_bench import run_voice_bench
    from obs_twin.bench.voice_metrics import VoiceScorer
    from obs_twin.bench.voice_report import quiet_lines, table, write_report
    from obs_twin.voice.model import VoiceModelError, VoiceSettings

    conditions = [Condition(None)] if args.whole else []
    conditions += [Condition(delay_s) for delay_s in _delays(args.delays)]
    clips = speech_clips(args.folder, args.limit)
    settings = VoiceSettings(pitch_semitones=args.pitch)
    with contextlib.ExitStack() as stack:
        targets = [read_sound(path, RATE_HZ) for path in args.target]
        if args.twin is not None:
            kind, files, own, title = _twin_voice(args.twin, stack)
            files = {**files, **_named_files(args.file)}
            targets = targets or own
        else:
            kind, files, title = args.kind, _named_files(args.file), args.kind
        scorer = VoiceScorer(naturalness=not args.quick)
        if not targets:
            print("No clip of the target's own voice is known (--target), so likeness to it is left out.")
        target = scorer.embedder.embed_speaker(targets, RATE_HZ) if targets else None
        facts = [
            f"voice: {title}, kind {kind}",
            f"{len(clips)} clips of {args.folder.name}, "
            + ("one talk a speaker" if args.warm else "each a cold start"),
            machine(),
            reference_line(),
        ]
        print("\n".join(facts))
        args.out.mkdir(parents=True, exist_ok=True)
        try:
            result = run_voice_bench(
                clips,
                VoiceUnderTest(kind, files, settings),
                conditions,
                target=target,
                scorer=scorer,
                sounds=args.out / "sounds",
                warm=args.warm,
                lead_in_s=max(0.0, args.lead_in),
                say=lambda line: print(line, flush=True),
            )
        except VoiceModelError as error:
            raise CommandError(str(error)) from error
    facts.append(f"runs on: {result.provider}; RTF is CPU time of one thread over the clip's length")
    print(f"\n{text_table(table(result))}\n")
    print("\n".join(quiet_lines(result)))
    path = write_report(result, args.out, title=f"Voice bench: {title}", facts=facts)
    print(f"\nPictures, sounds and all figures: {path}")
    return 0


def _face(args: argparse.Namespace) -> int:
    import cv2

    from obs_twin.bench import face_bench, face_report
    from obs_twin.bench.face_run import new_perceiver
    from obs_twin.bench.machine import machine, reference_line
    from obs_twin.bench.page import text_table
    from obs_twin.face.identity import MODEL_NAME, FaceEmbedder
    from obs_twin.face.registry import FaceModelError, open_face
    from obs_twin.zoo.derive import derived_path, sources_of
    from obs_twin.zoo.store import ModelStore

    cv2.setNumThreads(1)
    with contextlib.ExitStack() as stack:
        if args.twin is not None:
            kind, files, title = _twin_face(args.twin, stack)
        else:
            kind, files, title = "mesh", tuple(args.photo), args.photo[0].name
        store = ModelStore()
        store.fetch(sources_of([MODEL_NAME]))
        embedder = FaceEmbedder(derived_path(MODEL_NAME, store))
        perceiver = new_perceiver(store)
        try:
            model = open_face(kind, files, perceiver)
        except FaceModelError as error:
            raise CommandError(str(error)) from error
        photos = [args.target] if args.target else [path for path in files if path.suffix.lower() in PHOTO_SUFFIXES]
        target = face_bench.target_embedding(photos, perceiver, embedder)
        if target is None:
            print("No photo of the target is known (--target), so likeness to it is left out.")
        bench = face_bench.Bench(model, perceiver, embedder, target)
        facts = [
            f"face: {title}, kind {kind}",
            f"clips: {', '.join(path.name for path in args.clips)}",
            machine(),
            reference_line(),
        ]
        print("\n".join(facts))
        clips, stress = [], []
        for path in args.clips:
            clips.append(face_bench.bench_clip(path, bench, seconds=args.seconds))
            print(f"{path.name} done", flush=True)
        if not args.no_stress:
            stress.append(face_bench.bench_turning(bench))
            stress.append(face_bench.bench_light(args.clips[0], bench))
            stress += [face_bench.bench_prop(path, bench, prop) for path in args.clips[:2] for prop in face_bench.PROPS]
    turned = [list(column) for column in zip(*face_report.score_table(clips), strict=True)]
    print(f"\n{text_table(turned)}\n")
    for reached, text in face_report.goal_lines(clips):
        print(f"{'reached' if reached else 'not yet'}  {text}")
    print("\n".join(face_report.stress_lines(stress)))
    path = face_report.write_face_report(clips, stress, args.out, title=f"Face bench: {title}", facts=facts)
    print(f"\nPictures and all figures: {path}")
    return 0


def _twin_face(name: str, stack: contextlib.ExitStack) -> tuple[str, tuple[Path, ...], str]:
    """(kind, files, whose face) of a twin pack that may be used."""
    from obs_twin.twin.pack import find_pack, open_pack

    pack = stack.enter_context(open_pack(find_pack(name)))
    kind = pack.kind("face")
    if kind is None:
        raise CommandError(f"the twin {name!r} has no face; it has: {', '.join(pack.roles)}")
    return kind, pack.paths("face"), pack.display_name


def _delays(text: str) -> list[float]:
    try:
        delays = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise CommandError(
            f"--delays wants seconds separated by commas, such as {DEFAULT_DELAYS}, not {text!r}"
        ) from None
    if any(not 0.2 <= delay <= 10.0 for delay in delays):
        raise CommandError("a delay must be between 0.2 and 10 seconds")
    return delays


def _named_files(pairs: list[str]) -> dict[str, Path]:
    files = {}
    for pair in pairs:
        role, found, path = pair.partition("=")
        if not found or not Path(path).is_file():
            raise CommandError(
                f"--file wants ROLE=PATH of a file that is there, such as target=target.json, not {pair!r}"
            )
        files[role] = Path(path)
    return files


def _twin_voice(name: str, stack: contextlib.ExitStack) -> tuple[str, dict[str, Path], list[Any], str]:
    """(kind, files, clips of the target's own voice at 48 kHz, whose voice) of a twin pack that may be used."""
    import soxr

    from obs_twin.bench.clips import SOUND_SUFFIXES, read_sound
    from obs_twin.bench.conversion import RATE_HZ
    from obs_twin.twin.pack import find_pack, open_pack
    from obs_twin.twin.synthetic import speech
    from obs_twin.twin.synthetic.persona import PACK_NAME

    pack = stack.enter_context(open_pack(find_pack(name)))
    kind = pack.kind("voice")
    if kind is None:
        raise CommandError(f"the twin {name!r} has no voice; it has: {', '.join(pack.roles)}")
    files = {path.stem: path for path in pack.paths("voice")}
    own = [read_sound(path, RATE_HZ) for path in files.values() if path.suffix.lower() in SOUND_SUFFIXES]
    if not own and pack.synthetic and pack.name == PACK_NAME:
        said = speech.speak(PERSONA_TEXT)
        own = [soxr.resample(said.samples, said.sample_rate_hz, RATE_HZ)]
    return kind, files, own, pack.display_name
