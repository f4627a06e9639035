"""Face scores and the face bench, on painted faces: each score is shown what it should see, and nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.bench import face_bench, face_metrics, face_report, picture_metrics
from obs_twin.bench.extra import BenchError
from obs_twin.bench.face_run import at_720p, new_perceiver, read_frames, run_face
from obs_twin.bench.props import paint_cup, paint_hand
from obs_twin.bench.stress import dimmed
from obs_twin.face.identity import CHIP_PX, FaceEmbedder, distance, face_chip
from obs_twin.face.observation import FaceObservation
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.registry import FaceModel, open_face
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.derive import derived_path, sources_of
from obs_twin.zoo.store import ModelStore
from tests.drawn_face import DrawnFace, draw_face

Image = npt.NDArray[np.uint8]
TARGET = DrawnFace(skin=(120, 150, 200), lips=(160, 60, 160), brow=(10, 15, 20), face_width=0.66)
ACTOR = DrawnFace()
RATE_HZ = 25.0


@pytest.fixture(scope="module")
def perceiver() -> FacePerceiver:
    return new_perceiver()


@pytest.fixture(scope="module")
def embedder() -> FaceEmbedder:
    try:
        ModelStore().fetch(sources_of(["face_embedder"]))
        return FaceEmbedder(derived_path("face_embedder"))
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("target") / "photo.png"
    cv2.imwrite(str(path), draw_face(TARGET, (900, 1000), (450, 500), 600))
    return path


@pytest.fixture(scope="module")
def twin(photo: Path, perceiver: FacePerceiver) -> FaceModel:
    return open_face("mesh", [photo], perceiver)


def talking(count: int) -> list[Image]:
    """An actor who opens and shuts the mouth, and moves a little."""
    frames = []
    for i in range(count):
        face = replace(ACTOR, mouth_open=0.5 - 0.5 * float(np.cos(i * 0.7)))
        frames.append(draw_face(face, centre=(320 + 0.8 * i, 240), height_px=260))
    return frames


@pytest.fixture(scope="module")
def seen(perceiver: FacePerceiver) -> tuple[list[Image], list[FaceObservation | None]]:
    frames = talking(14)
    return frames, face_metrics.perceive_all(frames, perceiver)


def first(seen: tuple[list[Image], list[FaceObservation | None]]) -> tuple[Image, FaceObservation]:
    face = seen[1][0]
    assert face is not None
    return seen[0][0], face


def test_an_untouched_picture_scores_as_the_actor(seen: tuple[list[Image], list[FaceObservation | None]]) -> None:
    frame, face = first(seen)
    seam = picture_metrics.seam(frame, frame, face)
    assert (seam.forehead, seam.sides, seam.jaw, seam.worst) == (0.0, 0.0, 0.0, 0.0)
    assert picture_metrics.skin_difference(frame, frame, face) == 0.0
    assert picture_metrics.raw_share(frame, frame, face) == 1.0
    noisy = np.clip(frame + np.random.default_rng(0).normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
    detail = picture_metrics.detail(noisy, noisy, face)
    assert (detail.fine, detail.coarse, detail.noise) == (1.0, 1.0, 1.0)


def test_seam_sees_a_mask_and_colour_sees_a_tint(seen: tuple[list[Image], list[FaceObservation | None]]) -> None:
    frame, face = first(seen)
    mask = picture_metrics.inner_mask(frame.shape, face)
    pasted = frame.copy()
    pasted[mask] = np.clip(pasted[mask] - np.array([40, 20, 0]), 0, 255)
    assert picture_metrics.seam(frame, pasted, face).worst > 3.0
    assert picture_metrics.skin_difference(frame, pasted, face) > 5.0
    assert picture_metrics.raw_share(frame, pasted, face) < 0.05


def test_detail_sees_blur_and_flicker_sees_change(seen: tuple[list[Image], list[FaceObservation | None]]) -> None:
    frame, face = first(seen)
    rng = np.random.default_rng(1)
    sharp = np.clip(frame + cv2.GaussianBlur(rng.normal(0, 30, frame.shape), (0, 0), 1.0), 0, 255).astype(np.uint8)
    soft = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 1.5), np.uint8)
    assert picture_metrics.detail(sharp, soft, face).fine < 0.6
    frames = [np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    unsteady = [np.clip(f.astype(int) + 8 * (-1) ** i, 0, 255).astype(np.uint8) for i, f in enumerate(frames)]
    assert picture_metrics.flicker(frames, frames, [face] * 6) == pytest.approx(1.0)
    assert picture_metrics.flicker(frames, unsteady, [face] * 6) > 2.0


@pytest.mark.parametrize("paint", [paint_cup, paint_hand])
def test_props_are_kept_or_lost(paint: object, seen: tuple[list[Image], list[FaceObservation | None]]) -> None:
    frame, face = first(seen)
    held = frame.copy()
    mouth = face.landmarks[13]
    mask = paint(held, (float(mouth[0]), float(mouth[1])), face.head.scale, np.array([140.0, 170.0, 215.0]))  # type: ignore[operator]
    assert mask.shape == frame.shape[:2]
    assert 0.02 < (mask > 200).mean() < 0.3
    assert np.array_equal(held[mask == 0], frame[mask == 0])
    assert picture_metrics.kept_in_front(held, held, mask, face) == 1.0
    covered = np.full_like(held, 255)
    assert picture_metrics.kept_in_front(held, covered, mask, face) < 0.1


def test_expression_takes_shape_out_and_sees_a_frozen_face(
    seen: tuple[list[Image], list[FaceObservation | None]],
) -> None:
    _, actor = seen
    faces = [face for face in actor if face is not None]
    assert len(faces) == len(actor)
    assert face_metrics.expression_error(actor, actor).max() == 0.0
    wider = [replace(face, local=face.local * np.array([1.1, 1.0, 1.0], np.float32)) for face in faces]
    assert np.median(face_metrics.expression_error(actor, wider)) < 0.01
    frozen = [faces[0]] * len(faces)
    assert np.median(face_metrics.expression_error(actor, frozen)) > 0.004
    curves = face_metrics.curves(actor)
    assert face_metrics.correlation(curves["mouth"], curves["mouth"]) == pytest.approx(1.0)
    assert np.isnan(face_metrics.correlation(curves["eyes"], curves["eyes"], least=10.0))
    assert np.isnan(face_metrics.curves([None])["mouth"]).all()


def test_jitter_ignores_movement_and_sees_trembling(seen: tuple[list[Image], list[FaceObservation | None]]) -> None:
    _, face = first(seen)
    rng = np.random.default_rng(2)

    def moved(shifts: npt.NDArray[np.float64]) -> list[FaceObservation | None]:
        return [replace(face, landmarks=(face.landmarks + np.append(s, 0)).astype(np.float32)) for s in shifts]

    steps = np.arange(25.0)[:, None] * [2.0, 1.0]
    smooth = face_metrics.jitter(moved(steps), RATE_HZ)
    trembling = face_metrics.jitter(moved(steps + rng.normal(0, 1.0, steps.shape)), RATE_HZ)
    assert smooth < 1e-4
    assert trembling == pytest.approx(0.9 / face.head.scale, rel=0.4)


def test_embedder_knows_a_face_again(embedder: FaceEmbedder, perceiver: FacePerceiver) -> None:
    pictures = [draw_face(ACTOR, roll_deg=r, height_px=h) for r, h in ((0, 260), (12, 200))]
    pictures.append(draw_face(replace(TARGET, hair=(90, 160, 200), iris=(160, 130, 60), face_width=0.8)))
    found = []
    for picture in pictures:
        perceiver.reset()
        face = perceiver.perceive(picture)
        assert face is not None
        assert face_chip(picture, face.landmarks).shape == (CHIP_PX, CHIP_PX, 3)
        found.append(embedder.embed(picture, face.landmarks))
    assert found[0].shape == (128,)
    assert distance(found[0], found[1]) < distance(found[0], found[2])


def test_run_face_draws_as_the_engine_does(twin: FaceModel, perceiver: FacePerceiver) -> None:
    frames = [*talking(4), np.full((480, 640, 3), 90, np.uint8)]
    run = run_face(frames, RATE_HZ, twin, perceiver)
    assert len(run.outputs) == len(frames)
    assert run.rects[0] != (0, 0, 0, 0)
    assert not np.array_equal(run.outputs[0], frames[0])
    assert all(len(ms) == len(frames) for ms in run.stage_ms.values())


def test_at_720p_keeps_what_is_there() -> None:
    for size in ((288, 360), (1080, 1920), (480, 640)):
        assert at_720p(np.zeros((*size, 3), np.uint8)).shape == (720, 1280, 3)


def test_dimmed_falls_by_two_stops() -> None:
    frames = [np.full((4, 4, 3), 200, np.uint8)] * 50
    out = dimmed(frames, RATE_HZ)
    assert out[0][0, 0, 0] == 200
    linear = [(float(f[0, 0, 0]) / 255) ** 2.2 for f in (out[0], out[-1])]
    assert linear[0] / linear[1] == pytest.approx(4.0, rel=0.05)


def test_bench_clip_and_page(
    tmp_path: Path, twin: FaceModel, perceiver: FacePerceiver, embedder: FaceEmbedder, photo: Path
) -> None:
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (640, 480))
    for frame in talking(12):
        writer.write(frame)
    writer.release()
    frames, rate_hz = read_frames(clip, seconds=0.2)
    assert (len(frames), rate_hz) == (5, RATE_HZ)
    target = face_bench.target_embedding([photo], perceiver, embedder)
    bench = face_bench.Bench(twin, perceiver, embedder, target)
    result = face_bench.bench_clip(clip, bench)
    assert result.frames == 12
    assert result.scores["no_face"] == 0.0
    assert result.scores["twin_target"] < result.scores["actor_target"]
    assert result.scores["raw"] < 0.5
    page = face_report.write_face_report([result, result], [result], tmp_path / "out", title="T", facts=["a < b"])
    text = page.read_text(encoding="utf-8")
    assert "a &lt; b" in text
    assert (tmp_path / "out" / "clip0_clip.jpg").is_file()
    assert json.loads((tmp_path / "out" / "result.json").read_text())["clips"][0]["frames"] == 12
    assert len(face_report.goal_lines([result])) >= 6


def test_bench_refuses_what_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no clip"):
        read_frames(tmp_path / "none.mp4")
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(BenchError, match="cannot be read as video"):
        read_frames(tmp_path / "x.mp4")
