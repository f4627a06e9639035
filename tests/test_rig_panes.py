"""What a user sets in the filters' panes reaches the virtual camera and the virtual cable of a real OBS."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from obs_twin.twin.consent import public_key_of
from obs_twin.twin.make import PartFiles, add_consent, write_pack
from obs_twin.twin.trust import LocalTrust
from obs_twin.voice.resample import AlignedResampler
from obs_twin.voice.saying import TwinSpeaker
from tests import dfm_models, rvc_models
from tests.rig.camera import PictureTap, TappedFrame
from tests.rig.sound import SAMPLE_RATE_HZ
from tests.rig.stage import Stage, built_in_twin, stamped_actor

pytestmark = pytest.mark.obs

DELAY_MS = 1000
LINE = "Welcome to the workshop. We will begin in five minutes."


def foreign_twins(packs: Path, scratch: Path) -> None:
    """A twin of a DeepFaceLab model and an RVC voice, and the same with both files cut short; consent in order."""
    face = dfm_models.write(scratch / "face.dfm", dfm_models.IDENTITY, spot=(0.5, 0.5))
    voice = rvc_models.synthesizer(scratch / "voice.onnx")
    content = rvc_models.content(scratch / "content.onnx")
    key, now = Ed25519PrivateKey.generate(), datetime.now(timezone.utc)
    LocalTrust().trust(public_key_of(key), "Somebody", now)
    for name, share in (("foreign", 1.0), ("cut", 0.5)):
        files = {path: path.read_bytes()[: int(share * path.stat().st_size)] for path in (face, voice, content)}
        parts = [
            PartFiles("face", "dfm", {"face/model.dfm": files[face]}, "test"),
            PartFiles(
                "voice", "rvc", {"voice/synthesizer.onnx": files[voice], "voice/content.onnx": files[content]}, "test"
            ),
        ]
        write_pack(packs / name, name=name, display_name="Somebody", subject_kind="person", parts=parts)
        add_consent(packs / name, key=key, operator="test", days=1, now=now)


def wait(what: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not (happened := what()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert happened


def picture(stage: Stage) -> NDArray[np.float64]:
    """The next picture of the actor's bright room from the virtual camera, no card, as (H, W, 3) BGR."""
    shown: list[NDArray[np.uint8]] = []

    def look(frame: TappedFrame) -> None:
        bgr = frame.bgr()
        if bgr[40:80, :40].mean() > 100:
            shown.append(bgr)

    with PictureTap(stage.bench.camera, look):
        wait(lambda: bool(shown))
    return shown[0].astype(float)


def heard(stage: Stage, since_ns: int) -> NDArray[np.float32]:
    """What has come out of the virtual cable since then."""
    return stage.bench.cable.sound().between(since_ns, time.monotonic_ns()).samples


def same_sound(sound: NDArray[np.float32], said: NDArray[np.float32]) -> float:
    """How well the loudness of `said` follows that of some part of `sound`: the best correlation, up to 1."""
    hop = SAMPLE_RATE_HZ // 100
    envelopes = [np.abs(x[: len(x) // hop * hop]).reshape(-1, hop).mean(axis=1) for x in (sound, said)]
    parts = np.lib.stride_tricks.sliding_window_view(envelopes[0], len(envelopes[1]))
    parts = parts - parts.mean(axis=1, keepdims=True)
    wanted = envelopes[1] - envelopes[1].mean()
    norms = np.linalg.norm(parts, axis=1) * np.linalg.norm(wanted)
    return float((parts @ wanted / np.maximum(norms, 1e-6)).max())


def spot(frame: NDArray[np.float64]) -> int:
    """Pixels of the white square that the contract model draws in the middle of the face."""
    return int((frame[80:280, 220:420].min(axis=2) > 225).sum())


def redness_of_hair(frame: NDArray[np.float64]) -> float:
    """How much more red than blue there is in the darkest part of the head's upper half."""
    head = frame[30:120, 230:410].reshape(-1, 3)
    dark = head[np.argsort(head.sum(axis=1))[:800]]
    return float((dark[:, 2] - dark[:, 0]).mean())


def test_what_is_set_in_the_panes_is_seen_and_heard(tmp_path: Path) -> None:
    actor = stamped_actor(tmp_path, (640, 360), 8.0)
    chosen = {"face": {"twin": "foreign"}, "voice": {"twin": "foreign", "say_line_1": LINE}}
    with Stage(actor, delay_ms=DELAY_MS, settings=chosen, wait=False) as stage:
        obs, twin = stage.bench.obs, stage.twin

        def state(kind: str, part: str) -> str:
            return str(twin.stream({"face": "video", "voice": "sound"}[kind]).get(kind, {}).get(part, ""))

        foreign_twins(stage.bench.twin_home / "data" / "twins", tmp_path)
        twin.wait_showing("twin")
        wait(lambda: state("voice", "bound") == "Voice: RVC v2, with pitch, 40000 Hz, any length")
        assert spot(picture(stage)) > 20
        stage.set_filter("Twin Face", dfm_face_opacity=0.0)
        wait(lambda: spot(picture(stage)) == 0)

        # Damaged models: a card, silence, and the reason in both panes.
        stage.set_filter("Twin Face", twin="cut")
        stage.set_filter("Twin Voice", twin="cut")
        wait(lambda: "not a whole ONNX model" in state("face", "problem"))
        wait(lambda: state("voice", "problem").startswith("Silence: The RVC voice"))
        twin.wait_showing("fallback")
        time.sleep(1.2 * DELAY_MS / 1000)
        since_ns = time.monotonic_ns()
        wait(lambda: len(heard(stage, since_ns)) > SAMPLE_RATE_HZ // 2)
        assert not heard(stage, since_ns).any()

        # Prepared lines by their keys, in the twin's voice; a key without a line says so.
        stage.set_filter("Twin Face", twin="ada", hair_tint="off")
        stage.set_filter("Twin Voice", twin="ada")
        twin.wait_showing("twin")
        wait(lambda: "Speaking" in state("voice", "headline"))
        obs.ask("TriggerHotkeyByName", hotkeyName="obs_twin.say_line_2")
        wait(lambda: "line 2" in state("voice", "note"))
        before = picture(stage)
        stage.set_filter("Twin Face", hair_tint="red", hair_tint_strength=1.0)
        speaker = TwinSpeaker("neural", {"target": built_in_twin() / "voice" / "target.json"})
        resampler = AlignedResampler(speaker.sample_rate_hz, SAMPLE_RATE_HZ)
        said = np.concatenate([resampler.push(speaker.say(LINE)), resampler.flush()])

        def says_the_line() -> bool:
            since_ns = time.monotonic_ns()
            obs.ask("TriggerHotkeyByName", hotkeyName="obs_twin.say_line_1")
            deadline = time.monotonic() + len(said) / SAMPLE_RATE_HZ + DELAY_MS / 1000 + 3.0
            while time.monotonic() < deadline:
                sound = heard(stage, since_ns)
                if len(sound) > len(said) and same_sound(sound, said) > 0.9:
                    return True
                time.sleep(0.2)
            return False

        wait(says_the_line, 60.0)  # on a busy computer, the cable may have gaps
        assert redness_of_hair(picture(stage)) > redness_of_hair(before) + 10
        ending = obs.close()
    assert (ending.exit_status, ending.memory_leaks) == (0, 0), ending.log[-2000:]
