"""The options of `obs-twin twin new` that bring along a DeepFaceLab model, and what was found in its file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.twin.make import PartFiles

SLOW_MS = 120.0
_FACE_TYPES = ("half", "mid_full", "full", "whole_face", "head")  # `face.dfm.align`, whose import takes a second


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--dfm` and what belongs to it."""
    group = parser.add_argument_group("a face trained with DeepFaceLab")
    group.add_argument("--dfm", type=Path, metavar="FILE.dfm", help="the model, exported for live use")
    group.add_argument(
        "--face-type",
        choices=_FACE_TYPES,
        help="how much of the head it was trained on; if not given, what its file says, or else the whole face",
    )


def dfm_part(args: argparse.Namespace, provenance: str) -> PartFiles | None:
    """The face that the options describe, opened and tried; None if there is none. Prints what was bound.

    Raises:
        CommandError: the file is missing, damaged, dangerous or no face model.
    """
    from obs_twin.face.dfm.model import open_dfm
    from obs_twin.face.dfm.twin import pack_settings
    from obs_twin.face.photo import FaceModelError
    from obs_twin.twin.make import PartFiles

    if args.dfm is None:
        if args.face_type is not None:
            raise CommandError("--face-type belongs to a DeepFaceLab model: give it with --dfm FILE.dfm")
        return None
    try:
        model = open_dfm(args.dfm)
    except FaceModelError as error:
        raise CommandError(f"The face model was not accepted. {error}") from error
    print(f"This is what was found in {args.dfm.name}:")
    print(f"  {model.layout.describe()}")
    print(f"  Face type: {(args.face_type or model.layout.face_type).replace('_', ' ')}.")
    print(f"  It was tried on {model.provider}: one frame takes about {model.trial_ms:.0f} ms.")
    if model.trial_ms > SLOW_MS:
        print(
            "  That is too slow for live use here. On a computer with a graphics card (the onnxruntime-gpu or "
            "onnxruntime-directml package) it is many times faster."
        )
    files: dict[str, Path | bytes] = {"face/model.dfm": args.dfm}
    if args.face_type is not None:
        files["face/settings.json"] = pack_settings(args.face_type)
    return PartFiles("face", "dfm", files, provenance)
