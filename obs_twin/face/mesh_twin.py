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

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.appearance import detail_place
from obs_twin.face.atlas import build_atlas
from obs_twin.face.detail import assembled, octaves, strengths
from obs_twin.face.detail import gains as detail_gains
from obs_twin.face.expressions import Expressions
from obs_twin.face.eyes import MIN_OPENING, TargetEyes
from obs_twin.face.front import clear_openings, front_mask
from obs_twin.face.light import LightTransfer
from obs_twin.face.mouth import shade_mouth, soften_rim
from obs_twin.face.observation import FaceObservation, FloatArray, Rect
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import FRONTAL_DEG, SIDE_DEG, FaceModelError, TargetPhoto, read_photo
from obs_twin.face.rasterise import blend, draw, extent, keep_in_front, tint_disc, visible_order
from obs_twin.face.settings import FaceSettings
from obs_twin.face.shape import FULLY_OPEN, FULLY_SHUT, TargetShape, distance_to_outline, lids_lowered
from obs_twin.face.surroundings import pull_surroundings, with_rings
from obs_twin.face.topology import LEFT_BROW, LEFT_EYE, LIPS_INNER, MESH_POINTS, OVAL, RIGHT_BROW, RIGHT_EYE, TRIANGLES

Image = npt.NDArray[np.uint8]

_MIN_FACE_PX = 16
_MIN_EYES_PX = 60.0  # of the head: below it the actor's irises are not measured
_LIGHT_RADII, _LIGHT_DEPTH = (0.13, 0.18), 0.25  # in units of the head's size
_SEAM_SOFTNESS = 0.006
_IRIS_SHARE = 0.85  # the measured radius reaches into the white
_MIN_GRAIN = 1.0  # levels; less is not seen
# Differences between actor and twin (`rasterise.keep_in_front`) from which on a pixel of the forehead is hair.
_HAIR_FROM, _HAIR_FULLY = 0.32, 0.6
_BROW_MARGIN = 0.07
_LEAST_HAIR = 0.025  # half the width of a lock that is kept, in units of the head's size


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
        self._shape = TargetShape(self._neutral)
        self._outline_distance = distance_to_outline(self._neutral)
        # Towards the outline, where the two skins meet, the light must fit closely; inside, less of the actor's relief.
        radii = np.interp(self._outline_distance, [0, _LIGHT_DEPTH], _LIGHT_RADII).astype(np.float32)
        self._light = LightTransfer(self._atlas.tones, self._neutral, radii)
        self._hair_zone = _hair_zone(self._neutral, self._outline_distance)

    def render(self, bgr: Image, observation: FaceObservation, settings: FaceSettings | None = None) -> Rect:
        """Draw the twin into `bgr` `(H, W, 3) uint8`, in place.

        Returns:
            The changed rectangle `(x0, y0, x1, y1)`; empty `(0, 0, 0, 0)` if nothing was changed.
        """
        chosen = settings or self._settings
        mesh = observation.landmarks[:MESH_POINTS]
        shaped = lids_lowered(self._shape.on(observation, chosen.shape), observation)
        thing = observation.occlusion
        held = None if thing is None or thing.share <= 0 else thing.cover(mesh[OVAL, :2])
        actor_points, twin_points = with_rings(mesh, shaped, held)
        rect = x0, y0, x1, y1 = _bounds(actor_points, twin_points, bgr.shape)
        if chosen.strength <= 0 or x1 - x0 < _MIN_FACE_PX or y1 - y0 < _MIN_FACE_PX:
            return (0, 0, 0, 0)
        corner = np.array([x0, y0], np.float32)
        marks = np.empty((MESH_POINTS, 2), np.float32)
        marks[:, 0] = np.clip(self._outline_distance / max(chosen.feather, 1e-3), 0, 1)
        marks[:, 1] = self._hair_zone * chosen.hair_in_front
        region = bgr[y0:y1, x0:x1]
        actor = mask = None
        if observation.hands or observation.occlusion is not None:
            actor = region.copy()
            mask = front_mask(observation, corner, actor)
            clear_openings(region, mask, mesh[:, :2] - corner)
        if chosen.shape > 0:
            pull_surroundings(region, actor_points, twin_points, corner, marks[:, 0] < 1)
        self._draw_face(region, shaped, corner, marks, observation, chosen)
        if actor is not None and mask is not None:
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
        # Octaves halve twice, and what is not whole fours halves much more slowly.
        (x0, x1), (y0, y1) = _in_fours(x0, x1, region.shape[1]), _in_fours(y0, y1, region.shape[0])
        target = region[y0:y1, x0:x1]
        corner = corner + np.array([x0, y0], np.float32)
        look = observation.appearance
        head_px = observation.head.scale
        gains = self._light.gains(look.tones, chosen.light)
        base = target.copy()
        eyes = chosen.eyes if self._eyes.usable and head_px >= _MIN_EYES_PX else 0.0
        if eyes < 1:
            self._tint_irises(base, observation, shaped, corner, gains, chosen.iris_colour)
        lips = shaped[LIPS_INNER, :2] - corner
        shade_mouth(base, lips, head_px)
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
        coverage, zone = (np.asarray(plane, np.uint8) for plane in cv2.split(drawn))
        soften_rim(layer, coverage, lips, head_px)

        if chosen.sharpness_match > 0:
            parts = octaves(layer)
            own = strengths(parts, detail_place(shaped[:, :2] - corner, layer.shape))
            layer = np.empty_like(layer)
            assembled(parts, detail_gains(own, look.octaves, chosen.sharpness_match), layer)
            across, down = (2 * round(abs(float(v)) * chosen.sharpness_match / 2) + 1 for v in look.motion)
            if max(across, down) > 1:
                layer = np.asarray(cv2.blur(layer, (across, down)), np.uint8)
                coverage = np.asarray(cv2.blur(coverage, (across, down)), np.uint8)
        if chosen.hair_in_front > 0:
            _leave_out_brows(zone, observation.landmarks[:, :2] - corner, head_px)
            reach = max(round(head_px * _LEAST_HAIR), 1)
            _, top, _, height = cv2.boundingRect(zone)
            upper = slice(0, min(top + height + 2 * reach, len(zone)))
            shown = np.empty_like(zone[upper])
            keep_in_front(base[upper], layer[upper], zone[upper], _HAIR_FROM, _HAIR_FULLY, shown)
            # Single strands would hang in the air, since nothing of their kind is on the twin's skin around them.
            shown = np.asarray(
                cv2.morphologyEx(shown, cv2.MORPH_CLOSE, np.ones((2 * reach + 1,) * 2, np.uint8)), np.uint8
            )
            coverage[upper] = cv2.multiply(coverage[upper], cv2.blur(shown, (3, 3)), scale=1 / 255)
        coverage = _blurred(coverage, max(head_px * _SEAM_SOFTNESS, 0.7))
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
            openness = min(max((observation.eye_opening[side] - FULLY_SHUT) / (FULLY_OPEN - FULLY_SHUT), 0.0), 1.0)
            if openness <= 0:
                continue
            factors = np.clip((target * gains[eye].mean(0) + 8) / (actor + 8), 0.3, 2.5) ** np.float32(
                amount * openness
            )
            moved = (shaped[eye, :2] - observation.landmarks[eye, :2]).mean(0) - corner
            x, y = (float(v) for v in circles[side, :2] + moved)
            radius = float(circles[side, 2]) * _IRIS_SHARE
            tint_disc(base, x, y, radius, factors.astype(np.float32))


def _leave_out_brows(zone: Image, points: FloatArray, head_px: float) -> None:
    """Take the actor's brows, at `points` `(N, 2)`, out of the `zone` `(H, W) uint8` in which hair is looked for."""
    for brow in (RIGHT_BROW, LEFT_BROW):
        hull = cv2.convexHull(np.round(points[brow]).astype(np.int32))
        cv2.fillConvexPoly(zone, hull, 0)
        cv2.polylines(zone, [hull], True, 0, max(round(_BROW_MARGIN * head_px), 1))


def _hair_zone(points: FloatArray, outline_distance: FloatArray) -> FloatArray:
    """Where the actor's hair may hang into the face, 0..1: the forehead, and the sides down to the nose."""
    brows = points[[66, 296, 70, 300], 1].mean()
    nose = points[2, 1]
    forehead = np.clip((brows - points[:, 1]) / (0.35 * (brows - points[10, 1])), 0, 1)
    sides = np.clip(1 - outline_distance / 0.12, 0, 1) * np.clip((nose - points[:, 1]) / (0.3 * (nose - brows)), 0, 1)
    return np.asarray(np.maximum(forehead, sides), np.float32)


def _bounds(actor: FloatArray, twin: FloatArray, shape: tuple[int, ...], corner: FloatArray | None = None) -> Rect:
    (left, top, right, bottom), (x, y) = extent(actor, twin), (0.0, 0.0) if corner is None else corner
    x0, x1 = (int(min(max(v - x, 0), shape[1])) for v in (math.floor(left) - 2, math.ceil(right) + 3))
    y0, y1 = (int(min(max(v - y, 0), shape[0])) for v in (math.floor(top) - 2, math.ceil(bottom) + 3))
    return (x0, y0, x1, y1)


def _in_fours(low: int, high: int, limit: int) -> tuple[int, int]:
    """`low` and `high` within 0 and `limit`, apart enough for a multiple of four, if there is room for it."""
    high = min(high + (low - high) % 4, limit)
    return max(low - (low - high) % 4, 0), high


def _blurred(picture: Image, sigma_px: float) -> Image:
    # Twice the deviation to either side; what lies beyond costs half as much again and cannot be seen.
    side = 2 * math.ceil(2 * sigma_px) + 1
    return np.asarray(cv2.GaussianBlur(picture, (side, side), sigma_px), np.uint8)


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
