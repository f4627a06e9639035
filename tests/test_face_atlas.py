"""The atlas and what it is made from: sides, expressions, and which pictures are chosen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.face.atlas import build_atlas
from obs_twin.face.expressions import Expressions
from obs_twin.face.observation import FaceObservation
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import FaceModelError, TargetPhoto, photo_from
from obs_twin.face.skin import face_mask
from obs_twin.face.sources import Shot, choose, frames, measure, watch
from obs_twin.face.topology import LIPS_OUTER, MESH_POINTS, MIRROR, OVAL
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

Image = npt.NDArray[np.uint8]
FACE = DrawnFace(brow=(10, 15, 20), face_width=0.66)


@pytest.fixture(scope="module")
def perceiver() -> FacePerceiver:
    return new_perceiver()


def taken(perceiver: FacePerceiver, face: DrawnFace = FACE) -> TargetPhoto:
    return photo_from(draw_face(face, (600, 640), (300, 320), 380), perceiver)


@pytest.fixture(scope="module")
def front(perceiver: FacePerceiver) -> TargetPhoto:
    return taken(perceiver)


def turned(photo: TargetPhoto, yaw_deg: float) -> TargetPhoto:
    """The same picture, said to be of a turned head: only what faces the camera then counts."""
    seen = photo.observation
    a = np.radians(yaw_deg)
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]], np.float32)
    moved = seen.landmarks.copy()
    moved[:, 2] = (seen.head.origin + seen.head.scale * seen.local @ turn.T)[:, 2]
    return replace(photo, observation=FaceObservation.measured(moved, 1.0, seen.box, seen.appearance, seen.neutral))


def test_mirrored_points_are_each_other_s() -> None:
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(MESH_POINTS))
    assert MIRROR[33] == 263
    assert MIRROR[61] == 291
    assert set(MIRROR[OVAL]) == set(OVAL.tolist())


def test_one_photo_fills_the_atlas_with_its_own_colours(front: TargetPhoto) -> None:
    atlas = build_atlas([front])
    assert max(atlas.levels[0].shape[:2]) >= 300
    assert all(level.min() > 0 for level in atlas.levels)  # nothing black at a rim or in an opening
    here, there = atlas.tones, front.observation.appearance.tones
    inner = [4, 50, 280, 9, 205, 425]
    np.testing.assert_allclose(here[inner], there[inner], atol=12)
    sizes = [atlas.level_for(px)[0] for px in (1000, 250, 60, 4)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 0


def test_a_side_photo_gives_the_side_that_the_front_does_not_show(front: TargetPhoto) -> None:
    half = front.levels[0].copy()
    half[:, : half.shape[1] // 2] = (half[:, : half.shape[1] // 2] * 0.999).astype(np.uint8)
    atlas = build_atlas([front, turned(front, 40), turned(front, -40)])
    side = [layer.weight for layer in atlas.layers]
    middle = side[0].shape[1] // 2
    assert side[1][:, :middle].sum() != pytest.approx(side[1][:, middle:].sum(), rel=0.2)
    assert (side[1][:, :middle].sum() > side[1][:, middle:].sum()) != (
        side[2][:, :middle].sum() > side[2][:, middle:].sum()
    )


def test_a_photo_in_another_light_leaves_no_seam(front: TargetPhoto, perceiver: FacePerceiver) -> None:
    darker = draw_face(replace(FACE, skin=(70, 85, 108)), (600, 640), (300, 320), 380)
    other = turned(photo_from(darker, perceiver), 40)
    one, both = build_atlas([front]), build_atlas([front, other])
    cheeks = [50, 280, 101, 330, 117, 346]
    np.testing.assert_allclose(both.tones[cheeks], one.tones[cheeks], rtol=0.15)


def test_an_open_mouth_has_its_own_texture_and_blends_without_a_jump(
    front: TargetPhoto, perceiver: FacePerceiver
) -> None:
    wide = taken(perceiver, replace(FACE, mouth_open=1.0, lips=(40, 40, 230)))
    atlas = build_atlas([front, wide])
    expressions = Expressions(atlas)
    level = atlas.level_for(200)[0]
    rest, talking = front.observation, wide.observation

    def lips(share: float) -> npt.NDArray[np.float64]:
        local = rest.local + (talking.local - rest.local) * np.float32(share)
        acted = FaceObservation.measured(
            (rest.head.origin + rest.head.scale * local @ rest.head.rotation.T).astype(np.float32),
            1.0,
            rest.box,
            rest.appearance,
            rest.local,
        )
        texture = expressions.texture(level, acted).view(np.uint8).reshape(*atlas.levels[level].shape[:2], 4)
        x, y = np.round(atlas.points_in(level)[LIPS_OUTER]).astype(int).T
        colours: npt.NDArray[np.float64] = texture[y, x, :3].astype(float)
        return colours

    ways = [lips(share) for share in np.linspace(0, 1, 21)]
    total = np.abs(ways[-1] - ways[0]).mean()
    assert total > 5
    assert max(np.abs(b - a).mean() for a, b in pairwise(ways)) < 0.35 * total


def test_hair_over_the_cheek_is_no_skin(perceiver: FacePerceiver) -> None:
    picture = draw_face(FACE, (600, 640), (300, 320), 380)
    seen = new_perceiver().perceive(picture)
    assert seen is not None
    x = int(seen.landmarks[234, 0]) + 25
    covered = picture.copy()
    covered[180:330, :x] = FACE.hair
    mask = face_mask(covered, seen)
    assert mask[250:300, x - 15 : x - 5].mean() < 40
    nose = seen.landmarks[4, :2].astype(int)
    assert mask[nose[1], nose[0]] == 255


def seen_as(shot: Shot, yaw_deg: float) -> Shot:
    return replace(shot, name=f"at {yaw_deg:g}", observation=replace(shot.observation, yaw_deg=yaw_deg))


def test_the_best_of_each_kind_is_chosen_and_what_is_missing_is_said(perceiver: FacePerceiver) -> None:
    picture = draw_face(FACE, (600, 640), (300, 320), 380)
    perceiver.reset()
    seen = perceiver.perceive(picture)
    assert seen is not None
    sharp = measure("sharp", picture, seen)
    soft = measure("soft", np.asarray(cv2.GaussianBlur(picture, (0, 0), 4), np.uint8), seen)
    assert soft.sharpness < 0.5 * sharp.sharpness
    choice = choose([soft, sharp, seen_as(sharp, 25), seen_as(soft, 26)])
    names = [index for index, _ in choice.places]
    assert names == [1, 2]
    words = " ".join(choice.notes)
    assert "your left side, to 35 degrees (now to 0)" in words
    assert "your right side" not in words
    assert "your mouth wide open" in words
    with pytest.raises(FaceModelError, match="from the front"):
        choose([seen_as(sharp, 50)])


def test_a_video_is_watched_and_its_best_frames_cut_out(tmp_path: Path, perceiver: FacePerceiver) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 8, (320, 320))
    for k in range(8):
        writer.write(draw_face(replace(FACE, mouth_open=k / 7), (320, 320), (160, 160), 200))
    writer.release()
    shots, numbers = watch(path, perceiver)
    assert len(shots) == 8
    choice = choose(shots)
    assert "open mouth" in dict(choice.places).values()
    order = [index for index, _ in choice.places]
    pictures = frames(path, [numbers[index] for index in order], [shots[index] for index in order])
    assert len(pictures) == len(order)
    assert all(min(picture.shape[:2]) > 150 for picture in pictures)
    (tmp_path / "torn.mp4").write_bytes(b"nothing")
    with pytest.raises(FaceModelError, match="cannot be read"):
        watch(tmp_path / "torn.mp4", perceiver)
