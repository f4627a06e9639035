"""What stays in front of the twin: the actor's hands and other things, at the frame's own pixels."""

from __future__ import annotations

import numpy as np

from obs_twin.face.glasses import frame_pixels
from obs_twin.face.hands import hand_mask, to_edges
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.square import Image

_EDGE_SHARE = 0.025  # how far a thing's rim may be moved to the picture's edges, in parts of the head's size


def front_mask(observation: FaceObservation, corner: FloatArray, picture: Image) -> Image:
    """Where in `picture` `(H, W, 3) uint8`, the part of the frame at `corner`, something is in front of the face.

    Returns:
        `(H, W) uint8`, 255 is in front.
    """
    thing = observation.occlusion
    if thing is None:
        return hand_mask([hand - corner for hand in observation.hands], picture)
    size = (picture.shape[1], picture.shape[0])
    mask = np.zeros(picture.shape[:2], np.uint8)
    if thing.share > 0:
        drawn = thing.drawn(thing.mask, corner, size)
        mask = to_edges(drawn, picture, max(round(observation.head.scale * _EDGE_SHARE), 2))
    if thing.glasses is not None:
        zone = thing.drawn(thing.glasses, corner, size)
        mask = np.maximum(mask, frame_pixels(picture, zone, observation.head.scale))
    if observation.hands:
        mask = np.maximum(mask, hand_mask([hand - corner for hand in observation.hands], picture))
    return np.asarray(mask, np.uint8)
