"""The one-photo twin: the target's photo on the actor's moving mesh.

A frame's way, all of it inside one rectangle around the face:

    surroundings   the actor's own picture, its outline pulled towards the target's (shape)
    eyes           the target's, looking where the actor looks, or the actor's own in the target's colour
    texture        the photo's triangles on the actor's, lit by the actor's room (light), far to near
    match          softened to the camera's sharpness, the camera's own grain put back; the actor's hair kept in front
    blend          coverage feathered towards the outline, open at the mouth: the actor's own is seen there
    in front       the actor's hands, and whatever else is held before the face, as they are in the frame
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.atlas import build_atlas
from obs_twin.face.expressions import Expressions
from obs_twin.face.eyes import MIN_OPENING, TargetEyes
from obs_twin.face.focus import FocusTable
from obs_twin.face.front import front_mask
from obs_twin.face.light import LightTransfer, smoothing_kernel
from obs_twin.face.observation import FaceObservation, FloatArray, Rect, opening_ratio
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import FRONTAL_DEG, SIDE_DEG, FaceModelError, TargetPhoto, read_photo
from obs_twin.face.rasterise import blend, draw, keep_in_front, pack, tint_disc, visible_order
from obs_twin.face.settings import FaceSettings
from obs_twin.face.topology import LEFT_BROW, LEFT_EYE, LIPS_INNER, MESH_POINTS, OVAL, RIGHT_BROW, RIGHT_EYE, TRIANGLES

Image = npt.NDArray[np.uint8]

# The surroundings: rings around the outline, as multiples of its distance from the middle, and how much of the
# outline's shift each takes part in.
_RINGS = ((1.15, 0.75), (1.32, 0.3), (1.55, 0.0))
_MIDDLE = 6  # the bridge of the nose
_MIN_FACE_PX = 16
_MIN_EYES_PX = 60.0  # of the head: below it the actor's irises are not measured
_SHAPE_RADIUS = 0.01  # of the smoothing of the differences in shape, in units of the head's size: against jitter
_LIGHT_RADII, _LIGHT_DEPTH = (0.13, 0.18), 0.25  # in units of the head's size
# Turned by the first the target's depth, or shape, counts in full; by the second not at all, or by `_TURNED_SHAPE`.
_FLAT_DEG, _OWN_SHAPE_DEG, _TURNED_SHAPE = (8.0, 25.0), (20.0, 42.0), 0.15
_CHIN_SHARE = 0.35
_UPPER_LIP, _LOWER_LIP = LIPS_INNER[1:10], LIPS_INNER[19:10:-1]
_SEAM_SOFTNESS = 0.006
_SHUT, _OPEN = 0.09, 0.16  # `FaceObservation.eye_opening`: below the first an eye is shut, above the second open
_IRIS_SHARE = 0.85  # the measured radius reaches into the white
_MIN_GRAIN = 1.0  # levels; less is not seen
# Differences between actor and twin (`rasterise.keep_in_front`) from which on a pixel of the forehead is hair.
_HAIR_FROM, _HAIR_FULLY = 0.32, 0.6
_BROW_MARGIN = 0.07
_LEAST_HAIR = 0.025  # half the width of a lock that is kept, in units of the head's size


def _ring_triangles() -> npt.NDArray[np.int32]:
    count = len(OVAL)
    rows: list[npt.NDArray[Any]] = [OVAL]
    rows += [np.arange(MESH_POINTS + r * count, MESH_POINTS + (r + 1) * count) for r in range(len(_RINGS))]
    triangles = []
    for inner, outer in pairwise(rows):
        for k in range(count):
            n = (k + 1) % count
            triangles += [(inner[k], outer[k], inner[n]), (inner[n], outer[k], outer[n])]
    return np.array(triangles, np.int32)


def _fan(contour: npt.NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """A strip of triangles across an opening whose contour runs there and back."""
    points = [int(v) for v in contour]
    low, high = 0, len(points) - 1
    strip = []
    while high - low > 1:
        strip.append((points[low], points[low + 1], points[high]))
        low += 1
        if high - low > 1:
            strip.append((points[low], points[high - 1], points[high]))
            high -= 1
    return strip


_OPENINGS = np.array(_fan(LIPS_INNER) + _fan(RIGHT_EYE) + _fan(LEFT_EYE), np.int32)
_RING_TRIANGLES = _ring_triangles()


class MeshTwin:
    """Draws one photo's face over an actor's. `render` may run in several threads at once: it keeps no state.

    Args:
        photos: the target; the first one's eyes are used, and its light for all.
        settings: what `render` uses when it is given none.
    """

    def __init__(self, *photos: TargetPhoto, settings: FaceSettings | None = None) -> None:
        self._photo = photos[0]
        self._settings = settings or FaceSettings()
        self._atlas = build_atlas(photos)
        self._neutral = self._atlas.neutral[:MESH_POINTS]
        self._expressions = Expressions(self._atlas)
        self._eyes = TargetEyes(self._photo)
        self._focus = FocusTable(*self._atlas.measured_levels())
        kernel = smoothing_kernel(self._neutral, _SHAPE_RADIUS)
        self._shape_kernel = kernel / kernel.sum(1, keepdims=True)
        self._outline_distance = _distance_to_outline(self._neutral)
        # Towards the outline, where the two skins meet, the light must fit closely; inside, less of the actor's relief.
        radii = np.interp(self._outline_distance, [0, _LIGHT_DEPTH], _LIGHT_RADII).astype(np.float32)
        self._light = LightTransfer(self._atlas.tones, self._neutral, radii)
        self._hair_zone = _hair_zone(self._neutral, self._outline_distance)
        self._jaw = _jaw_share(self._neutral)

    def render(self, bgr: Image, observation: FaceObservation, settings: FaceSettings | None = None) -> Rect:
        """Draw the twin into `bgr` `(H, W, 3) uint8`, in place.

        Returns:
            The changed rectangle `(x0, y0, x1, y1)`; empty `(0, 0, 0, 0)` if nothing was changed.
        """
        chosen = settings or self._settings
        mesh = observation.landmarks[:MESH_POINTS]
        shaped = _lids_lowered(self._shaped(observation, chosen.shape), observation)
        actor_points, twin_points = _with_rings(mesh, shaped)
        rect = x0, y0, x1, y1 = _bounds(actor_points, twin_points, bgr.shape)
        if chosen.strength <= 0 or x1 - x0 < _MIN_FACE_PX or y1 - y0 < _MIN_FACE_PX:
            return (0, 0, 0, 0)
        corner = np.array([x0, y0], np.float32)
        marks = np.empty((MESH_POINTS, 2), np.float32)
        marks[:, 0] = np.clip(self._outline_distance / max(chosen.feather, 1e-3), 0, 1)
        marks[:, 1] = self._hair_zone * chosen.hair_in_front
        region = bgr[y0:y1, x0:x1]
        actor = region.copy() if observation.hands or observation.occlusion is not None else None
        if chosen.shape > 0:
            _pull_surroundings(region, actor_points, twin_points, corner, marks[:, 0] < 1)
        self._draw_face(region, shaped, corner, marks, observation, chosen)
        if actor is not None:
            mask = front_mask(observation, corner, actor)
            blend(region, region, actor, mask, 1.0, 0.0, region)
        return rect

    def _draw_face(
        self,
        region: Image,
        shaped: FloatArray,
        corner: FloatArray,
        marks: FloatArray,
        observation: FaceObservation,
        chosen: FaceSettings,
    ) -> None:
        """The target's face on the points `shaped` of `region`, whose surroundings fit already."""
        x0, y0, x1, y1 = _bounds(shaped, shaped, region.shape, corner)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        target = region[y0:y1, x0:x1]
        corner = corner + np.array([x0, y0], np.float32)
        look = observation.appearance
        head_px = observation.head.scale
        gains = self._light.gains(look.tones, chosen.light)
        base = target.copy()
        eyes = chosen.eyes if self._eyes.usable and head_px >= _MIN_EYES_PX else 0.0
        if eyes < 1:
            self._tint_irises(base, observation, shaped, corner, gains, chosen.iris_colour)
        layer = base.copy()
        drawn = np.zeros((*layer.shape[:2], 2), np.uint8)
        index, uv = self._atlas.level_for(head_px)
        if eyes > 0:
            self._eyes.draw(self._photo.level_for(head_px)[0], observation, shaped, corner, gains, eyes, layer, drawn)
        draw(
            self._expressions.texture(index, observation),
            uv,
            shaped[:, :2] - corner,
            visible_order(shaped, TRIANGLES),
            layer,
            gains,
            marks,
            drawn,
        )
        coverage, zone = (np.ascontiguousarray(drawn[..., k]) for k in (0, 1))

        blur_px = self._focus.blur_px(head_px, look.fineness) * chosen.sharpness_match
        if blur_px > 0.3:
            layer = _blurred(layer, blur_px)
        if chosen.hair_in_front > 0:
            _leave_out_brows(zone, observation.landmarks[:, :2] - corner, head_px)
            shown = np.empty_like(coverage)
            keep_in_front(base, layer, zone, _HAIR_FROM, _HAIR_FULLY, shown)
            # Single strands would hang in the air, since nothing of their kind is on the twin's skin around them.
            reach = max(round(head_px * _LEAST_HAIR), 1)
            shown = np.asarray(
                cv2.morphologyEx(shown, cv2.MORPH_CLOSE, np.ones((2 * reach + 1,) * 2, np.uint8)), np.uint8
            )
            coverage = np.asarray(cv2.multiply(coverage, cv2.blur(shown, (3, 3)), scale=1 / 255), np.uint8)
        coverage = _blurred(coverage, max(head_px * _SEAM_SOFTNESS, 0.7, blur_px))
        grain = chosen.grain * look.noise
        soft = _blurred(base, 1.0) if grain > _MIN_GRAIN else base
        blend(base, soft, layer, coverage, chosen.strength, 2.5 * grain, target)

    def _tint_irises(
        self,
        base: Image,
        observation: FaceObservation,
        shaped: FloatArray,
        corner: FloatArray,
        gains: FloatArray,
        amount: float,
    ) -> None:
        """Give the actor's irises the target's colour, in the actor's light."""
        if amount <= 0:
            return
        # Both eyes together: a glint or a shadow in one must not give it another colour than the other has.
        actor = observation.appearance.iris_tones.mean(0)
        target = self._photo.observation.appearance.iris_tones.mean(0)
        circles = observation.irises
        for side, eye in enumerate((RIGHT_EYE, LEFT_EYE)):
            openness = min(max((observation.eye_opening[side] - _SHUT) / (_OPEN - _SHUT), 0.0), 1.0)
            if openness <= 0:
                continue
            factors = np.clip((target * gains[eye].mean(0) + 8) / (actor + 8), 0.3, 2.5) ** np.float32(
                amount * openness
            )
            moved = (shaped[eye, :2] - observation.landmarks[eye, :2]).mean(0) - corner
            x, y = (float(v) for v in circles[side, :2] + moved)
            radius = float(circles[side, 2]) * _IRIS_SHARE
            tint_disc(base, x, y, radius, factors.astype(np.float32))

    def _shaped(self, observation: FaceObservation, amount: float) -> FloatArray:
        """The actor's mesh points `(468, 3)` with the target's proportions, in the actor's pose and expression."""
        mesh = observation.landmarks[:MESH_POINTS]
        if amount <= 0 or observation.neutral is None:
            return mesh
        difference = self._neutral - observation.neutral[:MESH_POINTS]
        # Not the photo's open mouth: only what the two faces differ in at rest.
        gap = difference[14, 1] - difference[13, 1]
        difference[:, 1] -= gap * self._jaw
        # Lips that meet on the actor meet on the twin, all along.
        difference[_LOWER_LIP, 1] = difference[_UPPER_LIP, 1]
        change = self._shape_kernel @ difference
        # A turned face ends where nose, lips and chin stick out, and there nothing can be pulled into place: whatever
        # of the actor's lies beyond the twin's would be seen.
        turn = abs(observation.yaw_deg)
        change[:, 2] *= np.float32(np.interp(turn, _FLAT_DEG, [1, 0]))
        amount *= float(np.interp(turn, _OWN_SHAPE_DEG, [1, _TURNED_SHAPE]))
        shaped: FloatArray = mesh + (change * np.float32(amount * observation.head.scale)) @ observation.head.rotation.T
        return shaped


def _leave_out_brows(zone: Image, points: FloatArray, head_px: float) -> None:
    """Take the actor's brows, at `points` `(N, 2)`, out of the `zone` `(H, W) uint8` in which hair is looked for."""
    for brow in (RIGHT_BROW, LEFT_BROW):
        hull = cv2.convexHull(np.round(points[brow]).astype(np.int32))
        cv2.fillConvexPoly(zone, hull, 0)
        cv2.polylines(zone, [hull], True, 0, max(round(_BROW_MARGIN * head_px), 1))


def _lids_lowered(shaped: FloatArray, observation: FaceObservation) -> FloatArray:
    """Mesh points `(468, 3)` with the lids as low as they are seen, not as they are measured.

    The networks see a half-shut eye as three quarters open. So what an eye lacks to its resting opening counts twice,
    and an eye that is all but shut is shut, so that no slit of the actor's is left.
    """
    lowered = shaped.copy()
    for ratio, eye in zip(observation.eye_opening, (RIGHT_EYE, LEFT_EYE), strict=True):
        share = min(max((_OPEN - ratio) / (_OPEN - _SHUT), 0.0), 1.0)
        if observation.neutral is not None:
            resting = opening_ratio(observation.neutral[eye, :2])
            share = max(share, min(1.0 - ratio / max(resting, _OPEN), 1.0))
        lower, upper = eye[1:8], eye[15:8:-1]
        lowered[upper] += (lowered[lower] - lowered[upper]) * np.float32(share)
    return lowered


def _distance_to_outline(points: FloatArray) -> FloatArray:
    """How far inside the outline each mesh point lies, in units of the head's size; on the forehead it counts half."""
    outline = points[OVAL, :2]
    following = np.roll(outline, -1, axis=0)
    line = following - outline
    gap = points[:, None, :2] - outline[None]
    along = np.clip((gap * line).sum(2) / (line * line).sum(1), 0, 1)
    distance = np.linalg.norm(gap - along[..., None] * line, axis=2).min(1)
    distance[OVAL] = 0
    brows = points[[66, 296], 1].mean()
    forehead = np.clip((brows - points[:, 1]) / (brows - points[10, 1]), 0, 1)
    shortened: FloatArray = (distance * (1 - 0.5 * forehead)).astype(np.float32)
    return shortened


def _hair_zone(points: FloatArray, outline_distance: FloatArray) -> FloatArray:
    """Where the actor's hair may hang into the face, 0..1: the forehead, and the sides down to the nose."""
    brows = points[[66, 296, 70, 300], 1].mean()
    nose = points[2, 1]
    forehead = np.clip((brows - points[:, 1]) / (0.35 * (brows - points[10, 1])), 0, 1)
    sides = np.clip(1 - outline_distance / 0.12, 0, 1) * np.clip((nose - points[:, 1]) / (0.3 * (nose - brows)), 0, 1)
    return np.asarray(np.maximum(forehead, sides), np.float32)


def _jaw_share(points: FloatArray) -> FloatArray:
    """How much each point sinks when the lips part by 1: none above the mouth's line, the chin less than the lip."""
    line, lip, chin = points[[78, 308], 1].mean(), points[17, 1], points[152, 1]
    share = np.interp(points[:, 1], [line, lip, chin], [0.0, 1.0, _CHIN_SHARE])
    share[LIPS_INNER[11:]] = 1
    return share.astype(np.float32)


def _with_rings(mesh: FloatArray, shaped: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mesh points with the surroundings' rings behind them, at the actor's and at the twin's places."""
    middle = mesh[_MIDDLE]
    outwards = mesh[OVAL] - middle
    shift = shaped[OVAL] - mesh[OVAL]
    actor = [mesh, *(middle + outwards * np.float32(reach) for reach, _ in _RINGS)]
    twin = [shaped, *(middle + outwards * np.float32(reach) + shift * np.float32(part) for reach, part in _RINGS)]
    return np.concatenate(actor), np.concatenate(twin)


def _bounds(actor: FloatArray, twin: FloatArray, shape: tuple[int, ...], corner: FloatArray | None = None) -> Rect:
    low = np.floor(np.minimum(actor[:, :2].min(0), twin[:, :2].min(0))) - 2
    high = np.ceil(np.maximum(actor[:, :2].max(0), twin[:, :2].max(0))) + 3
    if corner is not None:
        low, high = low - corner, high - corner
    x0, x1 = (int(min(max(v, 0), shape[1])) for v in (low[0], high[0]))
    y0, y1 = (int(min(max(v, 0), shape[0])) for v in (low[1], high[1]))
    return (x0, y0, x1, y1)


def _pull_surroundings(
    region: Image,
    actor_points: FloatArray,
    twin_points: FloatArray,
    corner: FloatArray,
    uncovered: npt.NDArray[np.bool_],
) -> None:
    """Pull the actor's own picture to the twin's outline, mouth and eyes, where the twin does not cover it."""
    seen = TRIANGLES[uncovered[TRIANGLES].any(axis=1)]
    triangles = np.concatenate([_RING_TRIANGLES, seen, _OPENINGS])
    far_to_near = np.argsort(-twin_points[triangles, 2].sum(axis=1), kind="stable")
    draw(pack(region), actor_points[:, :2] - corner, twin_points[:, :2] - corner, triangles[far_to_near], region)


def _blurred(picture: Image, sigma_px: float) -> Image:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.uint8)


def open_mesh_twin(files: Sequence[Path], perceiver: FacePerceiver, settings: FaceSettings | None = None) -> MeshTwin:
    """A mesh twin from its photos. The first that looks into the camera with open eyes gives light and eyes.

    Raises:
        FaceModelError: as `photo.read_photo`, for any of them; or none shows the face from the front.
    """
    limit = FRONTAL_DEG if len(files) == 1 else SIDE_DEG
    photos = sorted((read_photo(path, perceiver, limit) for path in files), key=_unlike_a_passport)
    if _turn(photos[0]) > FRONTAL_DEG:
        raise FaceModelError("No photo shows the face from the front. Add one that looks into the camera.")
    return MeshTwin(*photos, settings=settings)


def _turn(photo: TargetPhoto) -> float:
    return max(abs(photo.observation.yaw_deg), abs(photo.observation.pitch_deg))


def _unlike_a_passport(photo: TargetPhoto) -> tuple[int, int]:
    return int(_turn(photo) / 12), int(min(photo.observation.eye_opening) < MIN_OPENING)
