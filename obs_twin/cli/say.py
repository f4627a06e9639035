"""`obs-twin say`: text in the voice of a twin, into a file, out of the loudspeaker, or live in OBS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obs_twin.cli import twin_voice
from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.voice.model import F32


def add_parser(subparsers: Any) -> None:
    """Add `say`."""
    text = "English text in the voice of a twin"
    parser = subparsers.add_parser("say", help=text, description=text)
    parser.add_argument("text", help='what to say, in quotation marks; "-" reads it from standard input')
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="a .wav, .flac or .ogg; played if not given")
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="0.5 to 2 (1)")
    twin_voice.add_options(parser)
    twin_voice.set_run(parser, "say", _run)


def _run(args: argparse.Namespace) -> int:
    import sys

    from obs_twin.voice.model import VoiceModelError
    from obs_twin.voice.saying import TwinSpeaker

    text = sys.stdin.read() if args.text == "-" else args.text
    try:
        with twin_voice.twin_with_voice(args) as (pack, kind, files):
            speaker = TwinSpeaker(kind, files, twin_voice.voice_settings(args))
            rate_hz = speaker.sample_rate_hz
            sound = twin_voice.with_notice(speaker.say(text, args.speed), rate_hz, pack, args)
            if args.output is None:
                _play(sound, rate_hz)
            else:
                twin_voice.write_marked(args.output, sound, rate_hz, pack, "speech made with the voice of")
    except VoiceModelError as error:
        raise CommandError(f"Nothing was said: {error}") from error
    return 0


def _play(sound: F32, rate_hz: int) -> None:
    try:
        import sounddevice

        sounddevice.play(sound, rate_hz, blocking=True)
    except Exception as error:  # PortAudio's errors, or no PortAudio at all
        raise CommandError(f"The sound cannot be played here ({error}). Write it to a file: -o OUT.wav") from error
