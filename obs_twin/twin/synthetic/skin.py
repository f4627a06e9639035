"""Painting of the head's vertices: skin, lips, mouth, and how each reflects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .head import GUMS, SKIN, TEETH, TONGUE, Head
from .noise import noise_at

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Paint:
    """Per fine vertex.

    Attributes
    ----------
    albedo : (V, 3) linear RGB
    gloss : (V,) strength of the reflection
    roughness : (V,) of the surface
    stubble : (V,) 0..1 how densely beard stubble grows
    translucency : (V,) 0..1 how far light scatters underneath
    """

    albedo: FloatArray
    gloss: FloatArray
    roughness: FloatArray
    stubble: FloatArray
    translucency: FloatArray


@dataclass(frozen=True)
class Landmarks:
    """Where the features of a resting head are, in its own frame."""

    mouth: FloatArray
    mouth_half_width: float
    nose_tip: FloatArray
    chin: FloatArray
    ear: FloatArray
    """The left one; x changes sign for the right."""
    crown_y: float


def landmarks(head: Head) -> Landmarks:
    rest = head.rest
    lips = rest[head.masks["lips"] > 0.5]
    ears = rest[(head.masks["ears"] > 0.5) & (rest[:, 0] > 0)]
    middle = rest[np.abs(rest[:, 0]) < 0.08]
    nose = middle[(middle[:, 1] > -0.7) & (middle[:, 1] < 0)]
    mouth = 0.5 * (lips.max(0) + lips.min(0))
    below = middle[(middle[:, 1] < mouth[1] - 0.15) & (middle[:, 1] > mouth[1] - 0.6)]
    return Landmarks(
        mouth=np.array([0, mouth[1], lips[:, 2].max()], np.float32),
        mouth_half_width=float(lips[:, 0].max()),
        nose_tip=nose[nose[:, 2].argmax()],
        chin=below[below[:, 2].argmax()],
        ear=ears.mean(axis=0),
        crown_y=float(rest[:, 1].max()),
    )


def blob(
    points: FloatArray, centre: tuple[float, float, float] | FloatArray, radius: tuple[float, float, float]
) -> FloatArray:
    """A soft spot, 1 at ``centre``, mirrored left and right."""
    mirrored = points.copy()
    mirrored[:, 0] = np.abs(mirrored[:, 0])
    at = np.asarray(centre, np.float32)
    return np.asarray(np.exp(-(((mirrored - at) / np.asarray(radius, np.float32)) ** 2).sum(axis=1)), np.float32)


def step(low: float, high: float, x: FloatArray) -> FloatArray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _mix(a: FloatArray, b: FloatArray, amount: FloatArray) -> FloatArray:
    return np.asarray(a + (b - a) * amount[:, None], np.float32)


def paint(head: Head, scalp: FloatArray | None = None) -> Paint:
    """Paint ``head``; ``scalp`` (V,) is where hair grows and darkens the skin between its roots."""
    skin = head.person.skin
    rest = head.rest
    at = landmarks(head)
    count = len(rest)
    eye = head.eye_centres[0]

    albedo = np.tile(np.asarray(skin.base, np.float32), (count, 1))
    mottle = noise_at(rest, 3.1, 3) - 0.5
    fine = noise_at(rest + 7.0, 17.0, 2) - 0.5
    albedo *= (1 + 0.10 * mottle + 0.07 * fine)[:, None]

    blood = (
        0.5 * blob(rest, (0.40, at.nose_tip[1] + 0.08, 0.05), (0.22, 0.16, 0.5))
        + 0.8 * blob(rest, at.nose_tip, (0.16, 0.13, 0.2))
        + 0.35 * blob(rest, at.chin, (0.22, 0.14, 0.25))
        + 0.55 * head.masks["ears"]
        + 0.35 * blob(rest, (eye[0], -0.15, 0.1), (0.2, 0.06, 0.3))
        + 0.30 * head.masks["eyelids"]
        + 0.25 * blob(rest, at.mouth, (0.3, 0.2, 0.3))
    ) * (0.85 + 0.9 * mottle)
    # Forehead and the sides of the nose are paler and yellower.
    albedo = _mix(albedo, albedo * np.asarray(skin.blood, np.float32), np.clip(blood, 0, 1.2))
    pale = blob(rest, (0.0, 0.55, 0.2), (0.45, 0.25, 0.5))
    albedo *= 1 + 0.05 * pale[:, None] * np.array([1, 1, 0.9], np.float32)
    dark = blob(rest, (eye[0] - 0.07, -0.11, 0.12), (0.13, 0.06, 0.3)) + 0.6 * blob(
        rest, (eye[0], 0.07, 0.1), (0.2, 0.07, 0.3)
    )
    albedo *= 1 - skin.shade_around_eyes * np.clip(dark, 0, 1)[:, None] * np.array([0.8, 1.0, 1.0], np.float32)

    if skin.freckles:
        spots = step(0.70, 0.80, noise_at(rest + 31.0, 26.0, 1)) * (
            blob(rest, (0.22, at.nose_tip[1] + 0.12, 0.2), (0.38, 0.2, 0.5))
        )
        albedo = _mix(albedo, albedo * np.array([0.74, 0.62, 0.55], np.float32), skin.freckles * spots)

    stubble = np.zeros(count, np.float32)
    if skin.stubble:
        stubble = skin.stubble * _beard(rest, at) * (1 - head.masks["lips"])
        shade = stubble * (0.75 + 0.6 * (noise_at(rest, 9.0, 2) - 0.5))
        albedo = _mix(albedo, albedo * np.array([0.55, 0.58, 0.63], np.float32), np.clip(shade, 0, 1))

    if scalp is not None:
        tinted = albedo * 0.18 + np.asarray(head.person.hair.colour, np.float32) * 1.6
        albedo = _mix(albedo, tinted, scalp)

    # The skin under the brows is seen between their hairs, in their shade.
    albedo = _mix(
        albedo, albedo * 0.45 + np.asarray(head.person.hair.brow_colour, np.float32) * 0.5, 0.7 * brow_mask(head)
    )

    lips = step(0.15, 0.75, head.masks["lips"]) * skin.lips_opacity
    crease = 1 - 0.18 * step(0.45, 0.8, noise_at(rest * np.array([1, 0.18, 0.3], np.float32), 55.0, 1))
    albedo = _mix(albedo, np.asarray(skin.lips, np.float32) * crease[:, None], lips)

    gloss = (
        np.full(count, 1.3, np.float32)
        + 0.8 * blob(rest, at.nose_tip, (0.14, 0.2, 0.3))
        + 0.5 * blob(rest, (0, 0.5, 0.2), (0.4, 0.3, 0.5))
        - 0.35 * blob(rest, (0.55, -0.35, 0), (0.25, 0.35, 0.5))
    )
    roughness = np.full(count, skin.roughness, np.float32)
    gloss += skin.lips_gloss * 1.6 * lips
    roughness -= 0.14 * lips
    gloss *= 1 - 0.5 * stubble

    material = np.zeros(count, np.uint8)
    material[head.topology.triangles.ravel()] = np.repeat(head.topology.material, 3)
    inside = step(0.1, 0.6, head.masks["inside-mouth"]) * (1 - step(0.3, 0.8, head.masks["lips"]))
    inside[material == TONGUE] = 1.0
    flesh = np.array([0.30, 0.075, 0.070], np.float32)
    albedo = _mix(albedo, np.tile(flesh, (count, 1)), inside)
    albedo[material == TONGUE] = np.array([0.30, 0.085, 0.075], np.float32)
    albedo[material == GUMS] = np.array([0.42, 0.14, 0.13], np.float32)
    albedo[material == TEETH] = np.array([0.55, 0.505, 0.43], np.float32)
    gloss[material != SKIN] = 1.3
    roughness[material != SKIN] = 0.28
    translucency = np.clip(1 - 0.5 * stubble, 0, 1)
    translucency[material == TEETH] = 0.3
    return Paint(
        np.clip(albedo, 0.003, 0.95).astype(np.float32),
        np.clip(gloss, 0.1, 3).astype(np.float32),
        roughness.astype(np.float32),
        stubble.astype(np.float32),
        translucency.astype(np.float32),
    )


def brow_mask(head: Head) -> FloatArray:
    """(V,) 0..1: where the brows grow; and how far along, see `brow_place`."""
    rest = head.rest
    along, over, half = brow_place(head, rest)
    near = np.exp(-((over / np.maximum(half, 1e-3)) ** 2)) * np.clip((along + 0.06) / 0.14, 0, 1)
    near *= (along < 1.04) & (rest[:, 2] > -0.25) & (np.abs(over) < 0.12)
    return np.asarray(near, np.float32)


def brow_place(head: Head, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """How each of ``points`` lies to the brow.

    Returns its place along the brow (0 at the nose, 1 at the temple), its height over the brow's middle line, and half
    the brow's own height there.
    """
    eye = head.eye_centres[0]
    style = head.person.hair
    inner, outer = eye[0] - 0.19, eye[0] + 0.235
    along = (np.abs(points[:, 0]) - inner) / (outer - inner)
    arc = style.brow_height_dm + np.interp(along, [0, 0.3, 0.65, 1.0], [-0.012, 0.028, 0.050, -0.012])
    half = (
        0.034
        * style.brow_thickness
        * np.interp(along, [-0.1, 0.05, 0.3, 0.65, 1.0, 1.05], [0.4, 0.95, 1.0, 0.7, 0.25, 0.0])
    )
    return along.astype(np.float32), (points[:, 1] - arc).astype(np.float32), half.astype(np.float32)


def _beard(rest: FloatArray, at: Landmarks) -> FloatArray:
    """Where a beard grows: jaw, chin, upper lip, under the chin."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    # From the sideburn down to the corner of the mouth, the beard's upper edge runs along a line.
    edge = np.interp(
        x,
        [0.0, 0.2, 0.34, 0.6, 0.75, 0.9],
        [at.mouth[1] + 0.17, at.mouth[1] + 0.14, at.mouth[1] + 0.0, at.mouth[1] + 0.18, -0.35, -0.2],
    )
    below = 1 - step(-0.10, 0.06, (y - edge).astype(np.float32))
    throat = step(at.chin[1] - 0.75, at.chin[1] - 0.25, (y - 0.45 * np.minimum(z, 0.0)).astype(np.float32))
    front = step(-0.72, -0.5, z)
    philtrum_gap = 1 - 0.35 * blob(rest, (0.0, at.mouth[1] + 0.16, at.mouth[2]), (0.05, 0.06, 0.2))
    soul = 1 - 0.5 * blob(rest, (0.13, at.mouth[1] - 0.17, at.mouth[2] - 0.05), (0.07, 0.05, 0.2))
    return np.asarray(below * throat * front * philtrum_gap * soul, np.float32)
