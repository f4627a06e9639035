"""`obs-twin twin new --photo / --video`: the pictures of the face, chosen and checked."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.face.perceive import FacePerceiver
    from obs_twin.twin.make import PartFiles

MAX_PHOTO_SIDE = 2048
MIN_PHOTO_SIDE = 128


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--photo",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="photos of the face: one from the front; better several, from both sides, smiling, mouth open, eyes shut",
    )
    parser.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        help="a short video of the face instead, turning slowly, talking and smiling: the best pictures are taken",
    )


def face_part(args: argparse.Namespace, provenance: str) -> PartFiles | None:
    """The face of the pack to be, from --photo or --video; None if neither was given.

    Raises:
        CommandError: no twin can be made from them, and why.
    """
    from obs_twin.face.photo import FaceModelError
    from obs_twin.twin.make import PartFiles
    from obs_twin.zoo.store import ModelError, ModelStore

    if not args.photo and args.video is None:
        return None
    if args.photo and args.video is not None:
        raise CommandError("Give either photos (--photo) or a video (--video).")
    try:
        from obs_twin.face.perceive import FacePerceiver

        store = ModelStore()
        names = ("face_detection_short_range", "face_landmark", "iris_landmark")
        with _without_chatter():
            perceiver = FacePerceiver(*(store.path(name) for name in names))
    except ModelError as error:
        if args.video is not None:
            raise CommandError(str(error)) from error
        print(f"The photos were not checked for a face. {error}")
        pictures = [read_picture(path) for path in args.photo]
    else:
        try:
            chosen = _from_photos(args.photo, perceiver) if args.photo else _from_video(args.video, perceiver)
        except FaceModelError as error:
            raise CommandError(str(error)) from error
        pictures = chosen
    files: dict[str, Path | bytes] = {
        f"face/photo{'' if index == 0 else index + 1}.png": as_png(picture) for index, picture in enumerate(pictures)
    }
    return PartFiles("face", "mesh", files, provenance)


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """LiteRT writes a line about itself to the process's standard error when its first network is opened."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _from_photos(paths: list[Path], perceiver: FacePerceiver) -> list[Any]:
    from obs_twin.face.photo import FRONTAL_DEG, SIDE_DEG, photo_from
    from obs_twin.face.sources import choose, measure

    limit = FRONTAL_DEG if len(paths) == 1 else SIDE_DEG
    pictures = [read_picture(path) for path in paths]
    shots = []
    for path, picture in zip(paths, pictures, strict=True):
        photo_from(picture, perceiver, path.name, limit)
        perceiver.reset()
        seen = perceiver.perceive(picture)
        if seen is not None:
            shots.append(measure(path.name, picture, seen))
    perceiver.reset()
    if len(shots) == 1:
        return pictures
    choice = choose(shots)
    kept = {index for index, _ in choice.places}
    for index, purpose in choice.places:
        print(f"  {shots[index].name}: {purpose}")
    for index, shot in enumerate(shots):
        if index not in kept:
            print(f"  {shot.name}: left out, the others show as much")
    _say(choice.notes)
    return [pictures[index] for index, _ in choice.places]


def _from_video(path: Path, perceiver: FacePerceiver) -> list[Any]:
    from obs_twin.face.photo import SIDE_DEG, photo_from
    from obs_twin.face.sources import choose, frames, watch

    if not path.is_file():
        raise CommandError(f"The video {path} does not exist.")
    print(f"Looking through {path.name} ...")
    shots, numbers = watch(path, perceiver)
    choice = choose(shots)
    order = [index for index, _ in choice.places]
    pictures = frames(path, [numbers[index] for index in order], [shots[index] for index in order])
    for (index, purpose), picture in zip(choice.places, pictures, strict=True):
        photo_from(picture, perceiver, shots[index].name, SIDE_DEG)
        print(f"  {shots[index].name}: {purpose}")
    _say(choice.notes)
    return list(pictures)


def _say(notes: tuple[str, ...]) -> None:
    if notes:
        print("The twin would be better with pictures of:")
    for note in notes:
        print(textwrap.fill(note, 100, initial_indent="  - ", subsequent_indent="    "))


def read_picture(path: Path) -> Any:
    """A picture as (H, W, 3) uint8 BGR, upright, its longer side at most `MAX_PHOTO_SIDE`.

    Raises:
        CommandError: it is missing, no picture, or too small.
    """
    import cv2
    import numpy as np

    if not path.is_file():
        raise CommandError(f"The picture {path} cannot be read: there is no such file.")
    try:
        raw = np.fromfile(path, np.uint8)
        picture = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    except (OSError, cv2.error) as error:
        raise CommandError(f"The picture {path} cannot be read: {error}") from error
    if picture is None:
        raise CommandError(f"{path} is not a picture that can be read. Use PNG, JPEG or WebP.")
    height, width = picture.shape[:2]
    if min(height, width) < MIN_PHOTO_SIDE:
        raise CommandError(
            f"{path} is too small: {width} x {height} pixels, at least {MIN_PHOTO_SIDE} x {MIN_PHOTO_SIDE} are needed."
        )
    scale = MAX_PHOTO_SIDE / max(height, width)
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return picture


def as_png(picture: Any) -> bytes:
    """A picture as PNG without what cameras write beside it (place, time, device)."""
    import cv2

    return bytes(cv2.imencode(".png", picture)[1])
