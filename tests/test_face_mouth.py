"""The inside of the mouth: from within the actor's lips, darker towards the twin's."""

import numpy as np

from obs_twin.face.mouth import inside_lips, shade_mouth, soften_rim
from obs_twin.face.topology import LIPS_INNER, LIPS_OUTER, MESH_POINTS


def oval(width: float, height: float) -> np.ndarray:
    """Twenty points around the origin, from the right corner along the upper lip and back."""
    angles = np.pi + np.arange(20) * (2 * np.pi / 20)
    return np.stack([np.cos(angles) * width / 2, np.sin(angles) * height / 2], axis=1).astype(np.float32)


def mesh_with(opening_px: float, thickness_px: float = 12) -> np.ndarray:
    mesh = np.zeros((MESH_POINTS, 3), np.float32)
    mesh[LIPS_INNER, :2] = oval(60, opening_px)
    mesh[LIPS_OUTER, :2] = oval(70, opening_px + 2 * thickness_px)
    return mesh


def test_an_open_mouth_is_taken_from_within_the_lips() -> None:
    mesh = mesh_with(24)
    contour, inner = inside_lips(mesh), mesh[LIPS_INNER]
    np.testing.assert_array_equal(contour[[0, 10]], inner[[0, 10]])
    assert 2 < contour[5, 1] - inner[5, 1] < 5
    assert 2 < inner[15, 1] - contour[15, 1] < 5


def test_a_shut_mouth_stays_shut() -> None:
    mesh = mesh_with(0)
    np.testing.assert_allclose(inside_lips(mesh), mesh[LIPS_INNER], atol=1e-4)


def test_shade_is_at_the_lips_only() -> None:
    picture = np.full((120, 160, 3), 200, np.uint8)
    shade_mouth(picture, oval(80, 50) + np.array([80, 60], np.float32), 240)
    assert picture[60, 80, 0] == 200
    assert 90 < picture[60 - 22, 80, 0] < 150
    assert (picture[:25] == 200).all()
    assert (picture[95:] == 200).all()
    assert (picture[:, :30] == 200).all()


def test_shut_tiny_and_out_of_the_picture() -> None:
    picture = np.full((60, 80, 3), 200, np.uint8)
    shade_mouth(picture, oval(40, 1) + 30, 240)
    shade_mouth(picture, oval(40, 20) - 200, 240)
    assert (picture == 200).all()
    shade_mouth(picture, oval(40, 20), 240)
    assert picture[3, 3, 0] < 200


def test_lips_end_softly_in_the_mouth_and_nothing_else_changes() -> None:
    coverage = np.zeros((120, 160), np.uint8)
    layer = np.full((120, 160, 3), 60, np.uint8)
    coverage[20:41], layer[20:41] = 255, 180  # the upper lip, down to the contour
    before = layer.copy()
    contour = oval(80, 50) + np.array([80, 65], np.float32)
    soften_rim(layer, coverage, contour, 240)
    assert (coverage[20:43, 60:100] == 255).all()
    assert not coverage[45:].any()
    assert 90 < layer[41, 80, 0] < 150
    np.testing.assert_array_equal(layer[55:85, 60:100], before[55:85, 60:100])
    np.testing.assert_array_equal(layer[:35], before[:35])
    soften_rim(layer, coverage, contour - 500, 240)
