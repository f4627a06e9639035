"""The twin in real OBS, end to end: short versions of `tests.rig.acceptance`, without its timings."""

import shutil
import subprocess
import time
import zipfile
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obs_twin.twin.consent import public_key_of
from obs_twin.twin.make import PartFiles, add_consent, export_zip, write_pack
from obs_twin.twin.trust import LocalTrust
from tests.rig import measure
from tests.rig.acceptance import BadgeCheck, kill_engine, live_busily
from tests.rig.camera import PictureTap
from tests.rig.clip import Clip
from tests.rig.stage import Stage, built_in_twin, stamped_actor

pytestmark = pytest.mark.obs


@pytest.fixture(scope="module")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return stamped_actor(tmp_path_factory.mktemp("actor"), (640, 360), 8.0)


def test_a_session_never_shows_the_actor_by_accident(actor: Clip) -> None:
    check = BadgeCheck(actor.size)
    with Stage(actor, ("obs_twin_face", "obs_twin_background", "obs_twin_voice")) as stage:
        obs, twin = stage.bench.obs, stage.twin
        with PictureTap(stage.bench.camera, check) as tap:
            time.sleep(4)
            assert Counter(tap.seen)["twin"] > 30
            for delay_ms in (300, 3000, 1500):
                stage.set_filter("Twin Voice", delay_ms=delay_ms)
                # OBS hands the new setting on with its next frame.
                deadline = time.monotonic() + 10
                while twin.status()["delay_ms"] != delay_ms and time.monotonic() < deadline:
                    time.sleep(0.1)
                assert twin.status()["delay_ms"] == delay_ms
                time.sleep(0.6)  # the host tells twice a second what it shows
                twin.wait_showing()
            voice_from_ns = tap.times_ns[0]
            time.sleep(2)

            obs.ask("TriggerHotkeyByName", hotkeyName="obs_twin.panic")
            time.sleep(1.0)
            panic_ns = time.monotonic_ns()
            time.sleep(1.5)
            seen = [s for t, s in zip(tap.times_ns, tap.seen, strict=False) if t > panic_ns]
            assert seen
            assert set(seen) == {"card"}
            silence = stage.bench.cable.sound().between(panic_ns, time.monotonic_ns())
            assert not np.abs(silence.samples).max()
            obs.ask("TriggerHotkeyByName", hotkeyName="obs_twin.panic")
            twin.wait_showing()
        sound = stage.bench.cable.sound().between(voice_from_ns, tap.times_ns[-1])
        assert Counter(tap.seen)["RAW"] == 0
        assert not measure.raw_voice(sound, actor)
        assert np.abs(sound.samples).max() > 0.01, "the twin was mute"

        # Only a deliberate act shows the real person, and the picture says so.
        obs.ask("TriggerHotkeyByName", hotkeyName="obs_twin.reveal")
        twin.wait_showing("revealed")
        obs.ask("TriggerHotkeyByName", hotkeyName="obs_twin.reveal")
        twin.wait_showing("twin")

        counts = twin.status()["host"]
        assert counts["errors"] == {}
        ending = obs.close()
    assert (ending.exit_status, ending.memory_leaks) == (0, 0), ending.log[-2000:]


def is_red(colour: object) -> bool:
    return bool(np.abs(np.asarray(colour) - (0, 0, 255)).max() < 40)


def test_cameras_of_any_format_over_another_scene(actor: Clip, tmp_path: Path) -> None:
    """Size and format change in mid-stream, and the background is taken out so that the scene behind shows."""
    with Stage(actor, ("obs_twin_face", "obs_twin_background"), 500, {"background": {"mode": "transparent"}}) as stage:
        obs = stage.bench.obs
        obs.ask(
            "CreateInput",
            sceneName="Scene",
            inputName="Wall",
            inputKind="color_source_v3",
            inputSettings={"color": 0xFF0000FF, "width": 640, "height": 360},
        )
        items = obs.ask("GetSceneItemList", sceneName="Scene")["sceneItems"]
        wall = next(item["sceneItemId"] for item in items if item["sourceName"] == "Wall")
        obs.ask("SetSceneItemIndex", sceneName="Scene", sceneItemId=wall, sceneItemIndex=0)
        for pixel_format, size in (
            ("yuyv422", "640x360"),
            ("bgra", "480x270"),
            ("yuv444p", "320x180"),
            ("gray", "640x360"),
        ):
            path = tmp_path / f"{pixel_format}.nut"
            command = ["ffmpeg", "-loglevel", "error", "-t", "3", "-i", str(actor.path), "-s", size]
            subprocess.run([*command, "-c:v", "rawvideo", "-pix_fmt", pixel_format, str(path)], check=True)
            with PictureTap(stage.bench.camera, lambda frame: frame.bgr()[300:, :40].mean((0, 1))) as tap:
                obs.ask("SetInputSettings", inputName="Actor", inputSettings={"local_file": str(path)})
                time.sleep(2)
                stage.twin.wait_showing("twin")
                # The wall is pure red; nothing of the actor's office is in the corner. On a busy computer the card may
                # come in between.
                deadline = time.monotonic() + 15
                while not is_red(tap.seen[-1]) and time.monotonic() < deadline:
                    time.sleep(0.1)
            assert is_red(tap.seen[-1]), (pixel_format, tap.seen[-1])
        ending = obs.close()
    assert (ending.exit_status, ending.memory_leaks) == (0, 0), ending.log[-2000:]


def test_a_killed_engine_leaks_nothing_and_comes_back(actor: Clip) -> None:
    result = kill_engine(actor, times=3, pause_s=3.0)
    assert result.frames_without_twin_or_card == 0
    assert result.raw_voice_windows == 0
    assert result.restarts == 3
    assert (result.exit_status, result.memory_leaks) == (0, 0)


def test_a_busy_life_ends_cleanly(actor: Clip, tmp_path: Path) -> None:
    other = stamped_actor(tmp_path, (480, 270), 8.0)
    result = live_busily(actor, other, reloads=3, switches=2)
    assert result.twin_at_the_end
    assert (result.exit_status, result.memory_leaks) == (0, 0)


def consented(folder: Path, key: Ed25519PrivateKey, begin: datetime) -> Path:
    """A pack of a "real person" (the synthetic photo serves), signed with `key` for one day."""
    source = built_in_twin()
    parts = [
        PartFiles("face", "mesh", {"face/photo.png": source / "face" / "photo.png"}, "test"),
        PartFiles("voice", "world", {"voice/target.json": source / "voice" / "target.json"}, "test"),
    ]
    write_pack(folder, name=folder.name, display_name="Somebody", subject_kind="person", parts=parts)
    add_consent(folder, key=key, operator="test", days=1, now=begin)
    return folder


def packs_from_a_stranger(folder: Path) -> dict[str, str]:
    """{name: a word of the refusal}: each pack in `folder` has something wrong with it. The key is trusted."""
    now = datetime.now(timezone.utc)
    key = Ed25519PrivateKey.generate()
    LocalTrust().trust(public_key_of(key), "Somebody", now)
    consented(folder / "expired", key, now - timedelta(days=2))
    consented(folder / "foreign", Ed25519PrivateKey.generate(), now)
    shutil.rmtree(consented(folder / "unsigned", key, now) / "consent")
    changed = consented(folder / "changed", key, now) / "face" / "photo.png"
    raw = bytearray(changed.read_bytes())
    raw[len(raw) // 2] ^= 1
    changed.write_bytes(bytes(raw))
    truncated = consented(folder / "truncated", key, now) / "face" / "photo.png"
    truncated.write_bytes(truncated.read_bytes()[:1000])
    escaping = folder / "escaping.zip"
    export_zip(consented(folder / "good", key, now), escaping)
    with zipfile.ZipFile(escaping, "a") as archive:
        archive.writestr("../outside.txt", "should never be written")
    return {
        "expired": "expired",
        "foreign": "trust",
        "unsigned": "consent",
        "changed": "sha256",
        "truncated": "bytes",
        "escaping": "..",
    }


def test_a_refused_twin_is_a_card_with_the_reason_in_the_pane(actor: Clip) -> None:
    with Stage(actor, settings={"face": {"twin": "expired"}, "voice": {"twin": "expired"}}, wait=False) as stage:
        packs = stage.bench.twin_home / "data" / "twins"
        refusals = packs_from_a_stranger(packs)
        stage.twin.wait_showing("fallback")
        before = sorted(stage.bench.twin_home.rglob("*"))
        with PictureTap(stage.bench.camera, BadgeCheck(actor.size)) as tap:
            for name, word in refusals.items():
                stage.set_filter("Twin Face", twin=name)
                stage.set_filter("Twin Voice", twin=name)
                problem = ""
                deadline = time.monotonic() + 10
                while (name not in problem or word not in problem) and time.monotonic() < deadline:
                    time.sleep(0.2)
                    problem = stage.twin.stream("video").get("face", {}).get("problem", "")
                assert name in problem, (name, problem)
                assert word in problem, (name, problem)
        assert set(tap.seen) == {"card"}
        assert not np.abs(stage.bench.cable.sound().samples).max()
        assert not (packs.parent / "outside.txt").exists()
        new = set(stage.bench.twin_home.rglob("*")) - set(before)
        assert not [path for path in new if path.suffix in (".txt", ".png")], new

        stage.set_filter("Twin Face", twin="good")
        stage.twin.wait_showing("twin")
        assert "Somebody" in stage.twin.stream("video")["face"]["consent"]
        ending = stage.bench.obs.close()
    assert (ending.exit_status, ending.memory_leaks) == (0, 0)
