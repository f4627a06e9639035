"""From pictures of two painted people to a `.dfm` that draws the one in the place of the other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from obs_twin.face.dfm.model import open_dfm  # noqa: E402
from obs_twin.face.dfm.settings import DfmSettings  # noqa: E402
from obs_twin.face.dfm.twin import open_dfm_twin  # noqa: E402
from obs_twin.face.perceive import FacePerceiver  # noqa: E402
from obs_twin.face.settings import FaceSettings  # noqa: E402
from obs_twin.face.training.batches import Batches  # noqa: E402
from obs_twin.face.training.dfm import main, train  # noqa: E402
from obs_twin.face.training.export import write_dfm  # noqa: E402
from obs_twin.face.training.faces import FaceSet, FaceSetError, extract, read_pictures  # noqa: E402
from obs_twin.face.training.nets import Saehd  # noqa: E402
from obs_twin.face.training.spec import SaehdSpec, random_weights  # noqa: E402
from tests.drawn_face import DrawnFace, draw_face  # noqa: E402
from tests.test_face_perceive import new_perceiver  # noqa: E402

TINY = SaehdSpec(64, "df", "ud", ae_dims=32, e_dims=8, d_dims=8, d_mask_dims=4)
TARGET = DrawnFace(skin=(90, 120, 200), lips=(60, 30, 160), brow=(10, 15, 20), hair=(20, 60, 120), face_width=0.66)
ACTOR = DrawnFace(skin=(170, 190, 215), lips=(130, 130, 190), brow=(90, 110, 130), hair=(120, 130, 140))


@pytest.fixture(scope="module")
def perceiver() -> FacePerceiver:
    torch.set_num_threads(1)
    return new_perceiver()


def album(folder: Path, face: DrawnFace, count: int = 8) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(4)
    for number in range(count):
        x, y, roll_deg = (float(v) for v in rng.uniform((140, 100, -12), (180, 140, 12)))
        picture = draw_face(face, (320, 240), (x, y), 130, roll_deg=roll_deg)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory, perceiver: FacePerceiver) -> tuple[FaceSet, FaceSet]:
    folder = tmp_path_factory.mktemp("albums")
    target, actor = (
        extract(read_pictures(album(folder / name, face)), perceiver, TINY.resolution)
        for name, face in (("target", TARGET), ("actor", ACTOR))
    )
    return target, actor


@pytest.mark.parametrize("archi", ["df", "liae"])
@pytest.mark.parametrize("opts", ["", "u", "d", "ud"])
def test_the_file_computes_what_the_network_computes(archi: str, opts: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Saehd(SaehdSpec(64, archi, opts, 16, 4, 4, 4))
    path = write_dfm(tmp_path / "model.dfm", network.spec, network.weights(), face_type="head")
    model = open_dfm(path)
    assert model.layout.face_type == "head"
    face = np.random.default_rng(2).random((64, 64, 3)).astype(np.float32)
    drawn, target, actor = model.run(face)
    with torch.no_grad():
        picture = torch.from_numpy(face).permute(2, 0, 1)[None]
        (wanted, wanted_mask), (_, wanted_actor) = network.target(picture), network.actor(picture)
    np.testing.assert_allclose(drawn, wanted[0].permute(1, 2, 0).numpy(), atol=1e-4)
    assert target is not None
    assert actor is not None
    np.testing.assert_allclose(target, wanted_mask[0, 0].numpy(), atol=1e-4)
    np.testing.assert_allclose(actor, wanted_actor[0, 0].numpy(), atol=1e-4)


def test_half_the_bytes_draw_nearly_the_same(tmp_path: Path) -> None:
    weights = random_weights(TINY)
    full, half = (open_dfm(write_dfm(tmp_path / f"{h}.dfm", TINY, weights, half=h)) for h in (False, True))
    assert (tmp_path / "True.dfm").stat().st_size < 0.6 * (tmp_path / "False.dfm").stat().st_size
    face = np.random.default_rng(2).random((64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(full.run(face)[0], half.run(face)[0], atol=0.03)


def test_faces_are_cut_alike_however_they_lie_in_the_picture(sets: tuple[FaceSet, FaceSet]) -> None:
    for faces in sets:
        assert faces.looked_at == 8
        assert len(faces.faces) >= 7
        apart = [np.abs(face.astype(float) - faces.faces[0]).mean() for face in faces.faces[1:]]
        assert max(apart) < 16
        middle = faces.masks.shape[1] // 2
        assert (faces.masks[:, middle, middle] == 255).all()
        assert (faces.masks[:, :3] == 0).all()
        assert ((faces.features > 0).sum() / (faces.masks > 0).sum()) < 0.5


def test_samples_are_bent_but_what_is_wanted_is_not(sets: tuple[FaceSet, FaceSet]) -> None:
    rng = np.random.default_rng(0)
    batch = Batches(sets[0], 64, rng).next(4)
    assert batch.warped.shape == batch.straight.shape == (4, 3, 64, 64)
    assert batch.mask.shape == batch.features.shape == (4, 1, 64, 64)
    assert np.abs(batch.warped - batch.straight).mean() > 0.005
    plain = Batches(sets[0], 64, rng).next(4, warp=0.0)
    np.testing.assert_array_equal(plain.warped, plain.straight)
    bright = Batches(sets[0], 64, rng, colour=True, mirror=True).next(4)
    assert 0 <= bright.warped.min() <= bright.warped.max() <= 1


def test_a_short_training_learns_is_exported_and_drawn(
    sets: tuple[FaceSet, FaceSet], tmp_path: Path, perceiver: FacePerceiver
) -> None:
    target, actor = sets
    trained = train(target, actor, TINY, seconds=60.0, max_steps=70, batch=3, rate=3e-3)
    assert len(trained.losses) == 70
    assert np.mean(trained.losses[-8:]) < 0.6 * np.mean(trained.losses[:8])
    path = write_dfm(tmp_path / "model.dfm", TINY, trained.network.weights())
    twin = open_dfm_twin([path], perceiver)
    picture = draw_face(ACTOR, (320, 240), (160, 120), 130)
    perceiver.reset()
    seen = perceiver.perceive(picture)
    assert seen is not None
    after = picture.copy()
    twin.render(after, seen, FaceSettings(dfm=DfmSettings(color_transfer="none", mask_lmrks=True)))
    x, y = (round(float(v)) for v in seen.landmarks[50, :2])
    cheek_before, cheek = (p[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0) for p in (picture, after))
    # The target's skin is redder and darker than the actor's; the network has begun to know that.
    wanted = np.array(TARGET.skin)
    assert np.linalg.norm(cheek - wanted) < 0.6 * np.linalg.norm(cheek_before - wanted)


def test_the_command_trains_and_refuses_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], perceiver: FacePerceiver
) -> None:
    target, actor = album(tmp_path / "target", TARGET, 3), album(tmp_path / "actor", ACTOR, 3)
    out = tmp_path / "model.dfm"
    tiny = ("--resolution", "64", "--dims", "4", "--minutes", "0.01")
    assert main(["--src", str(target), "--dst", str(actor), "--out", str(out), "--face-type", "full", *tiny]) == 0
    assert "3 faces in 3 pictures" in capsys.readouterr().out
    assert open_dfm(out).layout.face_type == "full"
    (tmp_path / "empty").mkdir()
    assert main(["--src", str(tmp_path / "empty"), "--dst", str(actor), "--out", str(out), *tiny]) == 2
    assert "holds no pictures" in capsys.readouterr().err
    assert main(["--src", str(target), "--dst", str(actor), "--out", str(out), "--resolution", "70"]) == 2
    assert "multiple of 32" in capsys.readouterr().err
    with pytest.raises(FaceSetError, match="neither a folder"):
        list(read_pictures(out))
    with pytest.raises(FaceSetError, match="No usable face"):
        extract([np.full((200, 200, 3), 90, np.uint8)], perceiver, 64)
