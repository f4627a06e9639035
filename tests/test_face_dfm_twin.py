"""The DeepFaceLab twin, end to end on a painted face with networks whose result is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.face.dfm import align
from obs_twin.face.dfm.settings import DfmSettings
from obs_twin.face.dfm.twin import cut
from obs_twin.face.observation import FaceObservation
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.registry import FaceModel, FaceModelError, FaceSettings, kinds, open_face
from tests.dfm_models import IDENTITY, Dialect, write
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

Image = npt.NDArray[np.uint8]
ACTOR = DrawnFace(skin=(150, 180, 220), brow=(60, 90, 120))


@pytest.fixture(scope="module")
def perceiver() -> FacePerceiver:
    return new_perceiver()


@pytest.fixture(scope="module")
def actor(perceiver: FacePerceiver) -> tuple[Image, FaceObservation]:
    picture = draw_face(ACTOR, roll_deg=12, height_px=240)
    perceiver.reset()
    seen = perceiver.perceive(picture)
    assert seen is not None
    return picture, seen


def opened(folder: Path, perceiver: FacePerceiver, dialect: Dialect, **changes: Any) -> FaceModel:
    return open_face("dfm", [write(folder / "model.dfm", dialect, **changes)], perceiver)


def bare(**chosen: Any) -> FaceSettings:
    """Nothing but what is chosen: no colour transfer, no matching to the camera."""
    return FaceSettings(sharpness_match=0, grain=0, dfm=replace(DfmSettings(color_transfer="none"), **chosen))


def drawn(twin: FaceModel, actor: tuple[Image, FaceObservation], settings: FaceSettings | None = None) -> Image:
    picture = actor[0].copy()
    twin.render(picture, actor[1], settings)
    return picture


def in_frame(seen: FaceObservation, x: float, y: float) -> tuple[int, int]:
    """(column, row) of a place in the whole face's square, 0..1."""
    matrix = align.inverse(align.face_matrix(seen.landmarks, 1, "whole_face"))
    column, row = matrix[:, :2] @ (x, y) + matrix[:, 2]
    return round(float(column)), round(float(row))


def around(picture: Image, place: tuple[int, int]) -> npt.NDArray[np.float64]:
    x, y = place
    colour: npt.NDArray[np.float64] = picture[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0)
    return colour


def test_a_network_that_changes_nothing_changes_nothing(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    """Cut out and put back at the same place: nothing moves, and no colours are swapped."""
    twin = opened(tmp_path, perceiver, IDENTITY, side=256)
    after = drawn(twin, actor, bare())
    difference = np.abs(after.astype(int) - actor[0])
    # Sharp painted lines soften; were the face a pixel off, or its colours swapped, this would be a multiple.
    assert difference.mean() < 0.6
    assert np.quantile(difference, 0.99) < 20


def test_only_the_returned_rectangle_changes(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, Dialect(gain=(0, 0, 0), full_masks=True))
    after = actor[0].copy()
    x0, y0, x1, y1 = twin.render(after, actor[1])
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 480
    assert (after[y0:y1, x0:x1] != actor[0][y0:y1, x0:x1]).any()
    after[y0:y1, x0:x1] = actor[0][y0:y1, x0:x1]
    np.testing.assert_array_equal(after, actor[0])


@pytest.mark.parametrize("place", [(0.5, 0.5), (0.35, 0.4), (0.6, 0.65)])
def test_what_the_network_draws_appears_at_its_place(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation], place: tuple[float, float]
) -> None:
    twin = opened(tmp_path, perceiver, IDENTITY, gain=(0, 0, 0), spot=place, side=128)
    after = drawn(twin, actor, bare())
    ys, xs = np.nonzero(after.min(axis=2) > 200)
    assert np.hypot(*(np.array([xs.mean(), ys.mean()]) - in_frame(actor[1], *place))) < 2.5


def test_colours_come_out_blue_green_red(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    for first in (False, True):
        twin = opened(tmp_path, perceiver, IDENTITY, gain=(0, 0, 0), bias=(0.9, 0.5, 0.1), channels_first=first)
        middle = around(drawn(twin, actor, bare()), in_frame(actor[1], 0.5, 0.5))
        np.testing.assert_allclose(middle, [229.5, 127.5, 25.5], atol=1.5)


@pytest.mark.parametrize(
    ("masks", "seen_left", "seen_low"),
    [
        ({"mask_source": True, "mask_celeb": True}, False, False),
        ({"mask_source": True, "mask_celeb": False}, False, True),
        ({"mask_source": False, "mask_celeb": True}, True, False),
        ({"mask_source": False, "mask_celeb": False}, True, True),
    ],
)
def test_each_mask_is_the_one_that_is_chosen(
    tmp_path: Path,
    perceiver: FacePerceiver,
    actor: tuple[Image, FaceObservation],
    masks: dict[str, bool],
    seen_left: bool,
    seen_low: bool,
) -> None:
    """The actor's mask ends at three quarters of the width, the target's at three quarters of the height."""
    twin = opened(tmp_path, perceiver, Dialect(gain=(0, 0, 0), bias=(0, 1, 0)))
    after = drawn(twin, actor, bare(face_mask_blur=4.0, **masks))

    def green(x: float, y: float) -> bool:
        at = in_frame(actor[1], x, y)
        return bool(np.abs(around(after, at) - (0, 255, 0)).max() < 3)

    assert green(0.5, 0.5)
    assert green(0.85, 0.5) == seen_left
    assert green(0.5, 0.85) == seen_low


def test_without_masks_the_landmarks_keep_the_square_out_of_sight(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, Dialect(gain=(0, 0, 0), bias=(0, 1, 0), outputs=("face",)))
    after = drawn(twin, actor, bare(face_mask_blur=8.0))
    changed = (after != actor[0]).any(axis=2)
    hull = np.zeros(changed.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(actor[1].landmarks[:468, :2]).astype(np.int32)), 1)
    near = cv2.dilate(hull, np.ones((25, 25), np.uint8))
    assert not (changed & (near == 0)).any()
    assert changed[hull > 0].mean() > 0.8


def test_erosion_shrinks_and_blur_softens_the_mask(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, Dialect(gain=(0, 0, 0), bias=(0, 1, 0), side=128))

    def amounts(**chosen: float) -> npt.NDArray[np.float64]:
        after = drawn(twin, actor, bare(**chosen)).astype(float)
        base = actor[0].astype(float)
        return np.asarray((after[..., 1] - base[..., 1]) / np.maximum(255 - base[..., 1], 1))

    hard, eroded, grown = (amounts(face_mask_blur=2.0, face_mask_erode=e) for e in (0.0, 40.0, -40.0))
    assert (eroded > 0.5).sum() < 0.9 * (hard > 0.5).sum() < 0.9 * (grown > 0.5).sum()
    soft = amounts(face_mask_blur=60.0, face_mask_erode=0.0)
    partly = [float(((a > 0.1) & (a < 0.9)).sum()) for a in (hard, soft)]
    assert partly[1] > 3 * partly[0]


def spot_at(after: Image) -> npt.NDArray[np.float64]:
    ys, xs = np.nonzero(after.min(axis=2) > 200)
    return np.array([xs.mean(), ys.mean()])


def test_offsets_coverage_type_and_scale_move_what_is_drawn(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, IDENTITY, gain=(0, 0, 0), spot=(0.5, 0.35), side=128)
    _, seen = actor
    turn = seen.head.rotation[:2, :2]
    start = spot_at(drawn(twin, actor, bare()))
    right = spot_at(drawn(twin, actor, bare(x_offset=0.1))) - start
    assert np.dot(right, turn[:, 0]) > 5
    assert abs(np.dot(right, turn[:, 1])) < 3
    down = spot_at(drawn(twin, actor, bare(y_offset=0.1))) - start
    assert np.dot(down, turn[:, 1]) > 5

    def area(**chosen: Any) -> int:
        return int((drawn(twin, actor, bare(**chosen)).min(axis=2) > 200).sum())

    assert area(face_coverage=1.2) < 0.6 * area() < 0.6 * area(face_type="head")
    assert area(face_type="full") < 0.8 * area(face_type="whole_face")
    assert area(face_scale=0.7) < 0.7 * area()
    middle = np.array(in_frame(seen, 0.5, 0.5))
    nearer = spot_at(drawn(twin, actor, bare(face_scale=0.7))) - middle
    np.testing.assert_allclose(nearer, 0.7 * (start - middle), atol=1.5)


def test_morph_gamma_sharpening_two_passes_and_opacity_take_effect(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    place = in_frame(actor[1], 0.5, 0.62)  # plain skin
    skin = around(actor[0], place)

    def shown(dialect: Dialect, **chosen: Any) -> npt.NDArray[np.float64]:
        return around(drawn(opened(tmp_path, perceiver, dialect), actor, bare(**chosen)), place)

    amp = IDENTITY.but(morph=1, gain=(0, 0, 0), bias=(0, 1, 0))
    for morph in (0.0, 0.5, 1.0):
        wanted = skin + (np.array([0, 255, 0]) - skin) * morph
        np.testing.assert_allclose(shown(amp, morph_factor=morph), wanted, atol=4)
    half = IDENTITY.but(gain=(0.5, 0.5, 0.5))
    np.testing.assert_allclose(shown(half), skin / 2, atol=3)
    np.testing.assert_allclose(shown(half, two_pass=True), skin / 4, atol=3)
    np.testing.assert_allclose(shown(IDENTITY, post_gamma_red=2.0)[2], 255 * (skin[2] / 255) ** 0.5, atol=4)
    np.testing.assert_allclose(shown(IDENTITY, post_gamma_red=2.0)[:2], skin[:2], atol=5)
    np.testing.assert_allclose(shown(IDENTITY, pre_gamma_blue=0.5)[0], 255 * (skin[0] / 255) ** 2, atol=4)
    black = IDENTITY.but(gain=(0, 0, 0))
    np.testing.assert_allclose(shown(black, face_opacity=0.25), 0.75 * skin, atol=4)

    def relief(**chosen: Any) -> float:
        after = drawn(opened(tmp_path, perceiver, IDENTITY), actor, bare(**chosen))
        return float(np.abs(cv2.Laplacian(after[160:320, 240:400].astype(np.float32), cv2.CV_32F)).mean())

    assert relief(presharpen_amount=3.0) > 1.2 * relief()


def test_the_room_s_light_is_taken_on(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    """A network that draws the actor too dark and too blue, brought back by the colour transfer."""
    twin = opened(tmp_path, perceiver, IDENTITY, gain=(0.6, 0.4, 0.3), bias=(0.1, 0.0, 0.0))
    place = in_frame(actor[1], 0.5, 0.62)
    skin = around(actor[0], place)
    off = np.abs(around(drawn(twin, actor, bare()), place) - skin).max()
    for mode in ("rct", "lct", "mkl", "idt", "sot"):
        settings = bare(color_transfer=mode)
        on = np.abs(around(drawn(twin, actor, settings), place) - skin).max()
        assert on < 0.25 * off, mode
        none = drawn(twin, actor, replace(settings, light=0.0))
        np.testing.assert_array_equal(none, drawn(twin, actor, bare()))


def test_a_soft_seam_keeps_the_middle_and_mends_the_edge(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, IDENTITY, gain=(0.6, 0.6, 0.6), side=128)
    plain, soft = (drawn(twin, actor, bare(multi_band=m)).astype(float) for m in (False, True))
    place = in_frame(actor[1], 0.5, 0.5)
    np.testing.assert_allclose(around(soft, place), around(plain, place), atol=6)
    assert np.abs(soft - actor[0]).mean() < np.abs(plain - actor[0]).mean()


def test_a_hand_stays_in_front(tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]) -> None:
    picture, seen = actor
    x, y = in_frame(seen, 0.5, 0.55)
    hand = np.array([x, y + 60], np.float32) + np.zeros((21, 2), np.float32)
    for finger in range(5):
        for joint in range(4):
            hand[1 + 4 * finger + joint] = (x - 24 + 12 * finger, y + 20 - 14 * joint)
    picture = picture.copy()
    before = (picture.copy(), replace(seen, hands=(hand,)))
    twin = opened(tmp_path, perceiver, IDENTITY, gain=(0, 0, 0), bias=(0, 1, 0))
    covered, plain = drawn(twin, before, bare()), drawn(twin, actor, bare())
    at = (x, y - 5)
    assert np.abs(around(plain, at) - (0, 255, 0)).max() < 5
    assert np.abs(around(covered, at) - around(picture, at)).max() < 60


def test_the_twin_is_as_sharp_as_the_camera(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    picture, seen = actor
    twin = opened(tmp_path, perceiver, IDENTITY, side=320)

    def relief(fineness: float) -> float:
        look = seen.appearance._replace(fineness=fineness, noise=0.0)
        after = picture.copy()
        settings = FaceSettings(sharpness_match=1.0, grain=0, dfm=DfmSettings(color_transfer="none"))
        twin.render(after, replace(seen, appearance=look), settings)
        return float(np.abs(cv2.Laplacian(after[160:320, 240:400].astype(np.float32), cv2.CV_32F)).mean())

    assert relief(0.03) < 0.8 * relief(0.3) < 0.8 * relief(1.5)


def test_a_network_without_numbers_leaves_the_frame_and_says_so(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, IDENTITY, half="all", gain=(1, 1, 60000.0), bias=(0, 0, 30000.0))
    picture = actor[0].copy()
    with pytest.raises(FaceModelError, match="no valid numbers"):
        twin.render(picture, actor[1])
    np.testing.assert_array_equal(picture, actor[0])


def test_faces_at_the_edge_and_tiny_ones_never_fail(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, Dialect(full_masks=True))
    picture, seen = actor
    for shift in ((-320, 0), (330, 0), (0, -250), (0, 300), (-2000, 900)):
        moved = (seen.landmarks + np.array([*shift, 0], np.float32)).astype(np.float32)
        observation = FaceObservation.measured(moved, 1.0, seen.box, seen.appearance, seen.neutral)
        x0, y0, x1, y1 = twin.render(picture.copy(), observation)
        assert 0 <= x0 <= x1 <= 640
        assert 0 <= y0 <= y1 <= 480
    for size in (0.02, 0.1, 0.3, 4.0):
        scaled = (seen.landmarks * np.float32(size)).astype(np.float32)
        twin.render(picture.copy(), FaceObservation.measured(scaled, 1.0, seen.box, seen.appearance, seen.neutral))


def test_several_threads_draw_what_one_draws(
    tmp_path: Path, perceiver: FacePerceiver, actor: tuple[Image, FaceObservation]
) -> None:
    twin = opened(tmp_path, perceiver, Dialect(full_masks=True))
    wanted = drawn(twin, actor)
    with ThreadPoolExecutor(4) as pool:
        for after in pool.map(lambda _: drawn(twin, actor), range(8)):
            np.testing.assert_array_equal(after, wanted)


def test_packs_of_other_files_are_refused_in_words(tmp_path: Path, perceiver: FacePerceiver) -> None:
    assert "dfm" in kinds()
    path = write(tmp_path / "model.dfm")
    with pytest.raises(FaceModelError, match=r"is one \.dfm file"):
        open_face("dfm", [path, path], perceiver)
    notes = tmp_path / "settings.json"
    for text, words in (("{", "damaged"), ("[]", "damaged"), ('{"face_type": "ear"}', "face type 'ear'")):
        notes.write_text(text)
        with pytest.raises(FaceModelError, match=words):
            open_face("dfm", [path, notes], perceiver)


def test_settings_from_a_scene_collection() -> None:
    assert DfmSettings.from_values({}) == DfmSettings()
    some = DfmSettings.from_values({"dfm_morph_factor": 0.5, "dfm_two_pass": True, "dfm_color_transfer": "sot", "x": 1})
    assert (some.morph_factor, some.two_pass, some.color_transfer) == (0.5, True, "sot")
    odd = DfmSettings.from_values(
        {
            "dfm_morph_factor": float("nan"),
            "dfm_face_opacity": 7,
            "dfm_face_type": "ear",
            "dfm_two_pass": "yes",
            "dfm_face_mask_blur": "wide",
            "dfm_pre_gamma_red": 0,
        }
    )
    assert odd == DfmSettings(pre_gamma_red=0.1)


@pytest.mark.parametrize("scale", [2.0, 0.9, 0.5, 0.3, 0.11])
@pytest.mark.parametrize("angle_deg", [0.0, 25.0])
def test_a_cut_shows_each_place_where_it_should_be(scale: float, angle_deg: float) -> None:
    """On a ramp, every pixel says where it came from, whatever the reduction."""
    rows, columns = np.mgrid[:400, :400].astype(np.float32)
    picture = np.stack([columns, rows, columns + rows], axis=2) / np.float32(4)
    turn = scale * np.array(
        [
            [np.cos(np.radians(angle_deg)), -np.sin(np.radians(angle_deg))],
            [np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))],
        ]
    )
    matrix = np.concatenate([turn, (16 - turn @ (211.0, 187.0))[:, None]], axis=1)
    out = cut(picture.astype(np.uint8), matrix, 32)
    back = align.inverse(matrix)
    for x, y in ((16, 16), (8, 20), (22, 11)):
        place = back[:, :2] @ (x, y) + back[:, 2]
        np.testing.assert_allclose(out[y, x, :2], place / 4 - 0.5, atol=0.8)
