"""The built-in persona: her photos, her voice's statistics and her room, as a twin pack."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.twin.make import MakeError, PartFiles, write_pack
from obs_twin.twin.manifest import MANIFEST_NAME, SYNTHETIC
from obs_twin.voice.target import VoiceTarget, analyse
from obs_twin.zoo.store import ModelStore

from . import speech
from .base_mesh import MODEL_NAME, BaseMeshFile
from .cache import cache_folder, cached, store
from .head import Pose
from .light import Light, Rig
from .people import ADA, Person
from .render import Camera, PersonRenderer, composite, develop
from .room import room

Picture = npt.NDArray[np.uint8]

PACK_NAME = "ada"
# What a voice target holds is decided elsewhere, so it is part of the drawing's name.
PACK_LABEL = f"pack-{'-'.join(field.name for field in fields(VoiceTarget))}"
VIEWS = {"photo": 0.0, "photo2": 25.0, "photo3": -25.0}
"""Pictures of the face in the pack and how far the head is turned in each, degrees."""

PORTRAIT_LIGHT = Rig(
    lights=(
        Light((-0.22, 0.40, 0.90), (1.30, 1.27, 1.22), 0.20, 0.35),
        Light((0.60, 0.20, 0.75), (0.42, 0.43, 0.45), 0.0, 0.40),
        Light((0.70, 0.45, -0.55), (0.55, 0.57, 0.60)),
        Light((-0.75, 0.45, -0.55), (0.55, 0.56, 0.58)),
    ),
    sky=(0.34, 0.34, 0.35),
    ground=(0.20, 0.19, 0.18),
)
"""Soft and nearly even, as for a passport, but with some shape left."""

_WORDS = (
    "This voice belongs to nobody. It was made from a set of numbers, and it says whatever it is given. "
    "The quick brown fox jumps over the lazy dog, while a gentle breeze moves through the open window. "
    "Please bring your questions, and I will answer them one after another. "
    "How much wood would a woodchuck chuck, if it could? Nobody knows, and nobody has ever measured it."
)


def portrait(person: Person = ADA, yaw: float = 0.0, size: int = 1024) -> Picture:
    """A photo of ``person`` with a neutral face in even light, (size, size, 3) uint8 BGR.

    ``yaw`` turns the head, degrees to the person's left. Takes some seconds the first time, then comes from the cache.
    """
    file = cached(_label(person, yaw, size), ".png")
    if file.exists():
        return np.asarray(cv2.imread(str(file)), np.uint8)
    return _portraits(person, (yaw,), size)[0]


def _label(person: Person, yaw: float, size: int) -> str:
    return f"portrait-{person.name.lower()}-{yaw:g}-{size}"


def _portraits(person: Person, yaws: tuple[float, ...], size: int) -> list[Picture]:
    source = BaseMeshFile(ModelStore().path(MODEL_NAME))
    renderer = PersonRenderer(person, source, level=2, strand_factor=2.2)
    camera = Camera(size, size, size * 2.75, 8.5, 0.5, 0.46)
    gradient = np.linspace(0.40, 0.27, size, dtype=np.float32)[:, None, None]
    background = np.broadcast_to(gradient * np.array([0.97, 1.0, 1.02], np.float32), (size, size, 3))
    out = []
    for yaw in yaws:
        pose = Pose({}, yaw=yaw, gaze_yaw=-0.6 * yaw)
        picture = develop(composite(renderer.draw(pose, camera, PORTRAIT_LIGHT, factor=2), background))
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            _write(Path(scratch) / "portrait.png", picture)
            store(Path(scratch) / "portrait.png", _label(person, yaw, size), ".png")
        out.append(picture)
    return out


def build_persona_pack(folder: Path) -> Path:
    """Make the persona's twin pack in ``folder`` and return it; one that this version made is left as it is.

    Raises
    ------
    MakeError
        when the folder holds something else.
    ModelError
        when the base mesh is not there and cannot be fetched.
    """
    manifest = folder / MANIFEST_NAME
    if folder.exists() and not manifest.exists():
        raise MakeError(f"{folder} exists, but is no twin pack. Choose another folder, or move that one away.")
    source = cached(PACK_LABEL)
    if not (source / MANIFEST_NAME).exists():
        _render_pack()
    if manifest.exists():
        if manifest.read_bytes() == (source / MANIFEST_NAME).read_bytes():
            return folder
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.copy")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    temporary.rename(folder)
    return folder


def _render_pack() -> None:
    """Draw the pack into the cache."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        scratch = Path(name)
        photos: dict[str, Path | bytes] = {}
        for stem, picture in zip(VIEWS, _portraits(ADA, tuple(VIEWS.values()), 1024), strict=True):
            _write(scratch / f"{stem}.png", picture)
            photos[f"face/{stem}.png"] = scratch / f"{stem}.png"
        _write(scratch / "room.png", room("study"))
        said = speech.speak(_WORDS)
        analyse(said.samples, said.sample_rate_hz).save(scratch / "target.json")
        write_pack(
            scratch / "pack",
            name=PACK_NAME,
            display_name=ADA.name,
            subject_kind=SYNTHETIC,
            parts=[
                PartFiles("face", "mesh", photos, "rendered by this project; shows nobody"),
                PartFiles(
                    "voice", "neural", {"voice/target.json": scratch / "target.json"}, "statistics of generated speech"
                ),
                PartFiles(
                    "background", "image", {"background/room.png": scratch / "room.png"}, "rendered by this project"
                ),
            ],
        )
        store(scratch / "pack", PACK_LABEL)


def _write(path: Path, picture: Picture) -> None:
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"cannot write {path}")
