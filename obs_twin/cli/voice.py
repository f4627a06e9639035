"""`obs-twin voice check`: what the microphone and the room do to a voice, and what would help."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.voice.model import F32

MIC_RATE_HZ = 48_000


def add_parser(subparsers: Any) -> None:
    """Add `voice` and its action."""
    parser = subparsers.add_parser("voice", help="check the microphone and the room")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "measure microphone and room from some seconds of speech, and say what would help"
    check = actions.add_parser("check", help=text, description=text)
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a recording of you, made with that microphone"
    )
    check.add_argument("--mic", action="store_true", help="listen to the microphone now")
    check.add_argument("--device", metavar="NAME", help="which microphone; the system's own if not given")
    check.add_argument("--seconds", type=float, default=10.0, metavar="N", help="how long to listen (10)")
    check.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    import soundfile

    from obs_twin.cli.convert import read_mono
    from obs_twin.voice.device import HEADSET_HZ, DeviceMeter
    from obs_twin.voice.device_match import describe

    if args.mic == (args.file is not None):
        raise CommandError("Give a recording, or --mic to listen now: obs-twin voice check FILE")
    recorded_to_hz = MIC_RATE_HZ / 2
    if args.mic:
        sound, rate_hz = _listen(args.seconds, args.device), MIC_RATE_HZ
    else:
        sound, rate_hz = read_mono(args.file)
        with soundfile.SoundFile(args.file) as file:
            recorded_to_hz = file.samplerate / 2
        if recorded_to_hz < HEADSET_HZ:
            print(f"This recording cannot tell what the microphone does above {recorded_to_hz / 1000:.1f} kHz.")
    meter = DeviceMeter(rate_hz)
    meter.push(sound)
    report = meter.report()
    if report is None:
        raise CommandError(
            "Not enough speech was heard: at least three seconds are needed. Speak as you do in a meeting, or check "
            "that the right microphone is chosen and switched on."
        )
    for line in describe(report, recorded_to_hz=recorded_to_hz):
        print(textwrap.fill(line, 88))
    return 0


def _listen(seconds: float, device: str | None) -> F32:
    import numpy as np

    if not 4 <= seconds <= 120:
        raise CommandError(f"--seconds must be between 4 and 120, not {seconds:g}.")
    try:
        import sounddevice

        print(f"Speak as you do in a meeting, for {seconds:.0f} seconds ...")
        count = int(seconds * MIC_RATE_HZ)
        sound = sounddevice.rec(count, MIC_RATE_HZ, channels=1, dtype="float32", device=device, blocking=True)
    except Exception as error:  # PortAudio's errors, or no PortAudio at all
        raise CommandError(
            f"The microphone cannot be heard here ({error}). Record yourself with any program, then: obs-twin voice "
            "check FILE"
        ) from error
    return np.asarray(sound[:, 0], np.float32)
