"""What is in a `.dfm`: which of its tensors is the face, which the masks, which the morph value.

What DeepFaceLab itself writes (`exportdfm`):

```
 in_face:0      (N, S, S, 3) float32, BGR 0..1        out_face_mask:0        (N, S, S, 1)  the actor's face
 morph_value:0  (1,) float32 0..1, AMP models only    out_celeb_face:0       (N, S, S, 3)  the target's face, BGR 0..1
                                                      out_celeb_face_mask:0  (N, S, S, 1)
```

What is found in practice differs: other names, channels first, half precision, no mask or one, no morph, free sizes. So
each tensor is bound by its name where that is known and by its shape and place otherwise, the network is run once
on a grey picture, because shapes that are written in a file need not be true, and `DfmLayout.describe` says what was
found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from obs_twin.face.dfm.align import FACE_TYPES
from obs_twin.face.dfm.session import NetworkSession
from obs_twin.face.observation import FloatArray
from obs_twin.face.photo import FaceModelError
from obs_twin.zoo.catalogue import ModelError

FACE_TYPE_KEY = "face_type"
"""Key in the file's own notes (ONNX metadata) under which our training says how the faces were cut."""

MIN_SIDE_PX, MAX_SIDE_PX = 16, 1024
_USUAL_SIDES_PX = (224, 256, 320, 192, 160, 128, 288, 384, 416, 448, 512, 96, 64)
_EXPECTED = (
    "Expected is a DeepFaceLab model for live use: one square picture in (and, for AMP models, one morph value), one "
    "picture of the same size out, with or without one or two masks"
)
_ELSEWHERE = "Export it again with DeepFaceLab (`export SAEHD as dfm` or `export AMP as dfm`), or use another file."


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor of the network: its name, and whether its channels come first (NCHW) or last (NHWC)."""

    name: str
    channels_first: bool


@dataclass(frozen=True, slots=True)
class DfmLayout:
    """What was found in a `.dfm`.

    Attributes:
        side_px: side of the square that goes in and comes out.
        face_in, face_out: the actor's picture, the target's picture.
        half: pictures go in as float16.
        morph: name of the morph value's input, None if the model has none.
        morph_rank: its number of axes, 0 or 1.
        target_mask: mask of the face in the picture that comes out ("celeb mask"), None if there is none.
        actor_mask: mask of the face in the picture that goes in ("source mask"), None if there is none.
        face_type: how the faces were cut that it learnt from, where the file says so; the usual whole face otherwise.
        notes: what was unusual.
    """

    side_px: int
    face_in: Place
    face_out: Place
    half: bool
    morph: str | None
    morph_rank: int
    target_mask: Place | None
    actor_mask: Place | None
    face_type: str = "whole_face"
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """In plain words, one sentence after another."""
        masks = {
            (True, True): "masks of both the actor's and the target's face",
            (True, False): "a mask of the target's face only",
            (False, True): "a mask of the actor's face only",
            (False, False): "no masks, so the face's outline is taken from its landmarks",
        }[self.target_mask is not None, self.actor_mask is not None]
        kind = "AMP model with a morph value" if self.morph is not None else "model"
        order = "channels first" if self.face_in.channels_first else "channels last"
        text = [
            f"A {self.side_px} x {self.side_px} {kind} ({order}{', half precision' if self.half else ''}) with {masks}."
        ]
        text.append(f"The picture goes in as {self.face_in.name!r} and comes out as {self.face_out.name!r}.")
        return " ".join([*text, *self.notes])


def bind(session: NetworkSession, name: str) -> DfmLayout:
    """Tell the network's tensors apart, and run it once on a grey picture.

    Args:
        session: the network.
        name: the file's, for messages.

    Raises:
        FaceModelError: it is no face network; says what was expected, what was found and what to do.
    """
    face_in, morph, morph_rank = _bind_inputs(session, name)
    channels_first, side = _input_shape(session.inputs[face_in], name)
    half = session.types[face_in] == "tensor(float16)"
    side, shapes, found = _try_out(session, name, Place(face_in, channels_first), half, morph, morph_rank, side)
    faces = [key for key, (channels, _place) in found.items() if channels == 3]
    masks = [key for key, (channels, _place) in found.items() if channels == 1]
    if not faces:
        told = ", ".join(f"{key!r} {_words(shape)}" for key, shape in shapes.items()) or "nothing"
        raise FaceModelError(
            f"{name} gives no picture of {side} x {side} pixels: it gives {told}. {_EXPECTED}. {_ELSEWHERE}"
        )
    notes: list[str] = []
    face_out = _named(faces, "celeb_face") or faces[0]
    target, actor = _bind_masks(list(shapes), masks, face_out, notes)
    if "in_face" not in face_in or "celeb_face" not in face_out:
        notes.append("Its tensors do not have DeepFaceLab's names, so they were told apart by shape and order.")
    if len(faces) > 1 or len(masks) > 2 or len(faces) + len(masks) < len(shapes):
        unused = [key for key in shapes if key not in (face_out, target, actor)]
        notes.append(f"Not used: {', '.join(map(repr, unused))}.")
    return DfmLayout(
        side,
        Place(face_in, channels_first),
        found[face_out][1],
        half,
        morph,
        morph_rank,
        None if target is None else found[target][1],
        None if actor is None else found[actor][1],
        face_type if (face_type := session.metadata.get(FACE_TYPE_KEY, "")) in FACE_TYPES else "whole_face",
        tuple(notes),
    )


def _try_out(
    session: NetworkSession,
    name: str,
    face_in: Place,
    half: bool,
    morph: str | None,
    morph_rank: int,
    side: int | None,
) -> tuple[int, dict[str, tuple[int, ...]], dict[str, tuple[int, Place]]]:
    """Run the network on a grey picture; where its size is free, on several, until all outputs have that size too.

    Returns:
        Side in pixels, the outputs' shapes, and (channels, place) of each; see `_output_place`.
    """
    best: tuple[int, dict[str, tuple[int, ...]], dict[str, tuple[int, Place]]] | None = None
    most, failure = -1, ""
    for side_px in (side,) if side else _USUAL_SIDES_PX:
        trial = DfmLayout(side_px, face_in, face_in, half, morph, morph_rank, None, None)
        feeds = {face_in.name: as_input(np.full((side_px, side_px, 3), 0.5, np.float32), trial)}
        if morph is not None:
            feeds[morph] = np.full((1,) * morph_rank, 0.75, feeds[face_in.name].dtype)
        try:
            shapes = {key: value.shape for key, value in session.run(feeds).items()}
        except ModelError as error:
            failure = failure or str(error)
            continue
        found = {key: _output_place(key, shape, side_px) for key, shape in shapes.items()}
        bound = sum(channels > 0 for channels, _place in found.values())
        if bound > most:
            most, best = bound, (side_px, shapes, found)
        if bound == len(found):
            break
    if best is None:
        raise FaceModelError(f"{name} was opened, but it does not run: {failure}. {_EXPECTED}. {_ELSEWHERE}")
    return best


def _bind_inputs(session: NetworkSession, name: str) -> tuple[str, str | None, int]:
    """(the picture's input, the morph value's or None, that one's rank)."""
    inputs = session.inputs
    pictures = [key for key, shape in inputs.items() if len(shape) == 4]
    values = [key for key, shape in inputs.items() if len(shape) <= 1 and (not shape or shape[0] in (1, None))]
    if len(pictures) != 1 or len(inputs) - len(values) != 1 or len(values) > 1:
        told = ", ".join(f"{key!r} {_words(shape)}" for key, shape in inputs.items())
        raise FaceModelError(
            f"{name} is no face model for live use: its inputs are {told or 'none'}. {_EXPECTED}. {_ELSEWHERE}"
        )
    for key in (*pictures, *values):
        if session.types[key] not in ("tensor(float)", "tensor(float16)"):
            raise FaceModelError(
                f"{name} is no face model for live use: its input {key!r} is a {session.types[key]}, but a picture of "
                f"floating-point numbers was expected. {_ELSEWHERE}"
            )
    return pictures[0], values[0] if values else None, len(inputs[values[0]]) if values else 0


def _input_shape(shape: tuple[int | None, ...], name: str) -> tuple[bool, int | None]:
    """(channels first, side in pixels or None if free) of the picture's input."""
    if shape[3] == 3 and not (shape[1] == 3 and shape[2] not in (3, None)):
        channels_first, sides = False, shape[1:3]
    elif shape[1] == 3:
        channels_first, sides = True, shape[2:4]
    else:
        raise FaceModelError(
            f"{name} takes a picture of shape {_words(shape)}, which has no axis for the three colours. {_EXPECTED}. "
            f"{_ELSEWHERE}"
        )
    known = {side for side in sides if side is not None}
    if shape[0] not in (1, None):
        raise FaceModelError(f"{name} takes {shape[0]} pictures at once; one was expected. {_ELSEWHERE}")
    if len(known) > 1:
        raise FaceModelError(
            f"{name} takes pictures of {sides[1]} x {sides[0]} pixels; a square was expected. {_ELSEWHERE}"
        )
    side = known.pop() if known else None
    if side is not None and not MIN_SIDE_PX <= side <= MAX_SIDE_PX:
        raise FaceModelError(
            f"{name} takes pictures of {side} x {side} pixels; {MIN_SIDE_PX} to {MAX_SIDE_PX} were expected. "
            f"{_ELSEWHERE}"
        )
    return channels_first, side


def _output_place(name: str, shape: tuple[int, ...], side: int) -> tuple[int, Place]:
    """(channels, place) of an output; 0 channels if it is no picture and no mask of the right size."""
    last, first = (1, side, side), shape[1:] if len(shape) == 4 else shape
    if len(shape) == 4 and shape[0] == 1:
        if shape[1:3] == (side, side) and shape[3] in (1, 3):
            return shape[3], Place(name, False)
        if shape[2:4] == (side, side) and shape[1] in (1, 3):
            return shape[1], Place(name, True)
    if shape == last or (len(shape) == 2 and first == (side, side)):
        return 1, Place(name, True)
    return 0, Place(name, False)


def _bind_masks(outputs: list[str], masks: list[str], face_out: str, notes: list[str]) -> tuple[str | None, str | None]:
    """(target's, actor's) by name, else by DeepFaceLab's order: actor's mask, face, target's mask."""
    target = _named(masks, "celeb_face_mask") or _named(masks, "celeb_mask")
    actor = next((key for key in masks if "face_mask" in key and "celeb" not in key), None)
    rest = [key for key in masks if key not in (target, actor)]
    if target is None and actor is None and len(rest) >= 2:
        actor, target = rest[0], rest[1]
    elif rest and target is None:
        before_the_face = outputs.index(rest[0]) < outputs.index(face_out)
        if actor is None and before_the_face and len(outputs) > 2:
            actor = rest[0]
        else:
            # Forks that give one mask only give the one that belongs to the picture that they give.
            target = rest[0]
    elif rest and actor is None:
        actor = rest[0]
    if len(masks) == 1:
        notes.append("It gives one mask instead of DeepFaceLab's two.")
    return target, actor


def _named(names: list[str], part: str) -> str | None:
    """The name that is `part`, apart from what TensorFlow puts around it, or else one that contains it."""
    plain = {name: name.split(":")[0].split("/")[-1] for name in names}
    exact = [name for name in names if plain[name].removeprefix("out_") == part]
    if exact:
        return exact[0]
    return next((name for name in names if part in plain[name] and "mask" not in plain[name].replace(part, "")), None)


def as_input(face: FloatArray, layout: DfmLayout) -> npt.NDArray[np.floating]:
    """A picture `(S, S, 3) float32` as the network takes it."""
    picture = face.transpose(2, 0, 1) if layout.face_in.channels_first else face
    return np.ascontiguousarray(picture[None], np.float16 if layout.half else np.float32)


def _words(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape) if shape else "a single number"
