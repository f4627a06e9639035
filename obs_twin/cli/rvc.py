"""The options of `obs-twin twin new` that bring along somebody's RVC voice, and what was found in its files."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.twin.make import PartFiles

TRIAL_BUDGET_MS = 1500.0
FILES = (
    ("content", "content", "FILE.onnx", "the content encoder: ContentVec or HuBERT (vec-768-layer-12 for v2 voices)"),
    ("rmvpe", "f0", "FILE.onnx", "the pitch network RMVPE; without it swift-f0 is used"),
    ("index", "index", "FILE", "the voice's features: added_IVF..._Flat_....index, or .npy"),
)
NUMBERS = (
    ("pitch", "semitones up or down; 12 from a man's voice to a woman's"),
    ("formant", "semitones by which the formants go up"),
    ("index-rate", "share of the index, 0 to 1 (0.75)"),
    ("protect", "protection of consonants and breath, 0 to 0.5 (0.33; 0.5 is off)"),
    ("rms-mix-rate", "0 follows the microphone's loudness, 1 keeps the voice's own (0.25)"),
    ("threshold-db", "what is quieter is silence (-60)"),
    ("block-ms", "sound converted at a time; chosen from the delay if not given"),
    ("extra-ms", "context before it; chosen from the delay if not given"),
    ("crossfade-ms", "cross-fade between blocks (50)"),
    ("proposed-pitch-hz", "the voice's usual pitch: yours is moved there by itself"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--rvc` and what belongs to it."""
    group = parser.add_argument_group("an RVC voice (v1 or v2, exported to ONNX)")
    group.add_argument("--rvc", type=Path, metavar="FILE.onnx", help="the voice")
    for name, _, metavar, text in FILES:
        group.add_argument(f"--{name}", type=Path, metavar=metavar, help=text)
    group.add_argument("--f0-method", metavar="METHOD", help="rmvpe, swift-f0, harvest or dio")
    for name, text in NUMBERS:
        group.add_argument(f"--{name}", type=float, metavar="N", help=text)
    group.add_argument("--speaker-id", type=int, metavar="N", help="the voice inside a model of several")


def rvc_part(args: argparse.Namespace, provenance: str) -> PartFiles | None:
    """The voice that the options describe, opened and tried; None if there is none. Prints what was bound.

    Raises:
        CommandError: a file is missing, damaged or another model; a setting is out of range.
    """
    from obs_twin.twin.make import PartFiles
    from obs_twin.voice.model import VoiceModelError, VoiceSettings
    from obs_twin.voice.rvc.settings import RvcSettings
    from obs_twin.voice.rvc.voice import RvcVoice

    chosen = {field.name: getattr(args, field.name, None) for field in fields(RvcSettings)}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    sources = {role: getattr(args, name) for name, role, _, _ in FILES if getattr(args, name) is not None}
    if args.rvc is None:
        if options or sources:
            raise CommandError("The options of an RVC voice need the voice itself: --rvc FILE.onnx")
        return None
    sources["synthesizer"] = args.rvc
    if "content" not in sources:
        raise CommandError(
            "An RVC voice needs its content encoder: --content FILE.onnx (vec-768-layer-12.onnx for v2 voices, "
            "vec-256-layer-9.onnx for v1)."
        )
    try:
        settings = RvcSettings().changed(options)
        wanted = VoiceSettings(options=options)
        voice = RvcVoice(sources, sample_rate_hz=48_000, delay_budget_ms=TRIAL_BUDGET_MS, settings=wanted)
    except VoiceModelError as error:
        raise CommandError(f"The voice was not accepted. {error}") from error
    print("This is what was found in the voice's files:")
    for line in voice.bound:
        print(f"  {line}")
    files: dict[str, Path | bytes] = {f"voice/{role}{_suffix(path)}": path for role, path in sorted(sources.items())}
    files["voice/settings.json"] = settings.encode()
    return PartFiles("voice", "rvc", files, provenance)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            return ".npy"
    return suffix if suffix in (".onnx", ".index") else ".bin"
