"""What `convert` and `say` share: the consent gate, the spoken notice, and the mark in the file's metadata."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.twin.pack import TwinPack
    from obs_twin.voice.model import F32, VoiceSettings

NOTICE_GAP_S = 0.6
BAR_CHARS = 30


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--twin`, what the twin is used for, and the notice."""
    parser.add_argument("--twin", required=True, metavar="NAME|PATH", help="whose voice")
    for option in ("purpose", "audience", "event", "app"):
        parser.add_argument(f"--{option}", metavar="TEXT", help=f"the {option} that the recording is for")
    parser.add_argument("--pitch", type=float, default=0.0, metavar="N", help="semitones up or down (0)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of an RVC voice, such as index_rate=0.5; may be repeated",
    )
    parser.add_argument(
        "--no-notice", metavar="REASON", help="leave out the spoken notice at the beginning; the reason is logged"
    )


def voice_settings(args: argparse.Namespace) -> VoiceSettings:
    """What `--pitch` and `--set` say. Raises CommandError for an option that is no NAME=VALUE."""
    from obs_twin.voice.model import VoiceSettings

    options: dict[str, object] = {}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise CommandError(f"--set wants NAME=VALUE, such as index_rate=0.5, not {text!r}")
        try:
            number = float(value)
            options[name.strip()] = int(number) if name.strip() == "speaker_id" else number
        except ValueError:
            options[name.strip()] = value.strip()
    return VoiceSettings(pitch_semitones=args.pitch, options=options)


@contextlib.contextmanager
def twin_with_voice(args: argparse.Namespace) -> Iterator[tuple[TwinPack, str, dict[str, Path]]]:
    """The opened pack, its voice's kind and files; the disclosure log says when it was used and for how long.

    Raises:
        PackError: the consent is missing, expired, withdrawn, or does not cover this use.
        CommandError: the twin brings no voice.
    """
    from obs_twin.twin.consent import Use
    from obs_twin.twin.log import SessionLog
    from obs_twin.twin.pack import find_pack, open_pack

    if args.no_notice is not None and len(args.no_notice.strip()) < 3:
        raise CommandError("To leave out the spoken notice, say why: --no-notice REASON")
    use = Use(args.purpose, args.audience, args.event, args.app)
    with open_pack(find_pack(args.twin), scope=use) as pack:
        kind = pack.kind("voice")
        if kind is None:
            raise CommandError(f"The twin {pack.display_name} brings no voice. Choose another twin.")
        print(f"Voice: {pack.display_name} ({kind}); {pack.consent_line}")
        log = SessionLog()
        log.started(pack.manifest, pack.record, {"voice": kind})
        if args.no_notice is not None:
            log.overridden("spoken", args.no_notice)
        try:
            yield pack, kind, {path.stem: path for path in pack.paths("voice")}
        finally:
            if args.no_notice is not None:
                log.restored("spoken")
            log.stopped(pack.name, f"the command {args.command} ended")


def with_notice(sound: F32, rate_hz: int, pack: TwinPack, args: argparse.Namespace) -> F32:
    """The spoken notice, a pause, and `sound` (N,); or `sound` alone where a reason was stated."""
    import numpy as np

    from obs_twin.engine.notices import spoken_notice

    if args.no_notice is not None:
        return sound
    notice = spoken_notice(pack.display_name, pack.synthetic, rate_hz)
    print(
        f"A spoken notice of {len(notice) / rate_hz:.1f} s comes first, so everything is that much later in the file. "
        "Where the notice is given in another way: --no-notice REASON"
    )
    return np.concatenate([notice, np.zeros(int(NOTICE_GAP_S * rate_hz), np.float32), sound])


def write_marked(path: Path, sound: F32, rate_hz: int, pack: TwinPack, how: str) -> None:
    """Write (N,) samples, in the format that the name's ending says, with the notice in the file's metadata.

    A format that has no place for it gets a text file of the same name beside it.

    Args:
        how: what was done, such as "voice converted to".

    Raises:
        CommandError: unknown format, or the file cannot be written.
    """
    import soundfile

    import obs_twin
    from obs_twin.twin.disclosure import MARK

    consent = "synthetic person" if pack.record is None else f"with consent {pack.record.id}"
    mark = f"{MARK} - {how} the digital twin of {pack.display_name}, {consent}"
    try:
        with soundfile.SoundFile(path, "w", samplerate=rate_hz, channels=1) as file:
            file.comment = mark
            file.software = f"OBS Twin {obs_twin.__version__}"
            file.write(sound)
        with soundfile.SoundFile(path) as file:
            marked = file.comment == mark
        if not marked:
            path.with_name(path.name + ".txt").write_text(mark + "\n", encoding="utf-8")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise CommandError(
            f"{path} cannot be written: {error}. Choose a name that ends in .wav, .flac or .ogg."
        ) from error
    print(f'{path}: {len(sound) / rate_hz:.1f} s, marked "{mark}"' + ("" if marked else f" in {path.name}.txt"))


def show_progress(share: float) -> None:
    """A bar on the terminal."""
    import sys

    if sys.stderr.isatty():
        bar = "#" * round(share * BAR_CHARS)
        print(
            f"\r[{bar:{BAR_CHARS}}] {100 * share:3.0f} %", end="\n" if share >= 1 else "", file=sys.stderr, flush=True
        )


def set_run(parser: argparse.ArgumentParser, name: str, run: Any) -> None:
    """Which function runs the command."""
    parser.set_defaults(run=run, command=name)
