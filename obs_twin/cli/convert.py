"""`obs-twin convert`: a recording in the voice of a twin."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obs_twin.cli import twin_voice
from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.voice.model import F32

LONGEST_S = 4 * 3600
HIGHEST_RATE_HZ = 192_000


def add_parser(subparsers: Any) -> None:
    """Add `convert`."""
    text = "a recording in the voice of a twin, in the best quality that it has"
    parser = subparsers.add_parser("convert", help=text, description=text)
    parser.add_argument("source", type=Path, metavar="IN", help="a recording of one speaker: wav, flac, ogg, mp3 ...")
    parser.add_argument("target", type=Path, metavar="OUT", help="the new file: .wav, .flac or .ogg")
    twin_voice.add_options(parser)
    twin_voice.set_run(parser, "convert", _run)


def _run(args: argparse.Namespace) -> int:
    from obs_twin.voice.device_match import colour_in_words, correct_whole, correction_db
    from obs_twin.voice.model import VoiceModelError
    from obs_twin.voice.whole import convert_whole, open_whole

    sound, rate_hz = read_mono(args.source)
    if args.target.resolve() == args.source.resolve():
        raise CommandError(f"{args.target} is the recording itself. Choose another name for the new file.")
    try:
        with twin_voice.twin_with_voice(args) as (pack, kind, files):
            if kind == "neural":  # the other kinds have no speech that they learnt from to be brought nearer to
                sound, report = correct_whole(sound, rate_hz)
                if report is not None:
                    print(colour_in_words(correction_db(report)))
            voice = open_whole(kind, files, sound, rate_hz, twin_voice.voice_settings(args))
            converted = convert_whole(voice, sound, twin_voice.show_progress)
            print(f"Ran on: {voice.provider}")
            whole = twin_voice.with_notice(converted, rate_hz, pack, args)
            twin_voice.write_marked(args.target, whole, rate_hz, pack, "voice converted to that of")
    except VoiceModelError as error:
        raise CommandError(f"The recording was not converted: {error}") from error
    return 0


def read_mono(path: Path) -> tuple[F32, int]:
    """A recording as (N,) float32, its channels averaged, and its rate, raised to 48 kHz if it is low.

    Raises:
        CommandError: no recording that can be read, empty, or longer than four hours.
    """
    import numpy as np
    import soundfile

    from obs_twin.voice.resample import AlignedResampler
    from obs_twin.voice.whole import KEPT_FROM_HZ, STUDIO_RATE_HZ

    try:
        with soundfile.SoundFile(path) as file:
            rate_hz = file.samplerate
            if file.frames > LONGEST_S * rate_hz:
                raise CommandError(
                    f"{path} lasts {file.frames / rate_hz / 3600:.1f} hours; at most {LONGEST_S // 3600} can be "
                    "converted at once. Cut it into pieces."
                )
            parts = [block.mean(axis=1) for block in file.blocks(rate_hz, dtype="float32", always_2d=True)]
    except (OSError, RuntimeError) as error:  # libsndfile's own error is a RuntimeError
        raise CommandError(f"{path} is no recording that can be read: {error}. Use WAV, FLAC, OGG or MP3.") from error
    sound = np.nan_to_num(np.concatenate([np.zeros(0, np.float32), *parts]), posinf=0.0, neginf=0.0)
    if not len(sound):
        raise CommandError(f"{path} is empty: there is nothing to convert.")
    if KEPT_FROM_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        return np.asarray(sound, np.float32), rate_hz
    resampler = AlignedResampler(rate_hz, STUDIO_RATE_HZ)
    return np.concatenate([resampler.push(sound.astype(np.float32)), resampler.flush()]), STUDIO_RATE_HZ
