"""The engine's end of the sound ring: positions, notices, what is silent."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from obs_twin.engine.notices import Notices, spoken_notice
from obs_twin.engine.twins import TwinLibrary
from obs_twin.engine.voice import VoiceWorker
from obs_twin.link.paths import ensure, user_dirs
from obs_twin.link.sound import REVEAL, SoundRing
from obs_twin.twin.log import SessionLog
from obs_twin.twin.make import PartFiles, write_pack
from obs_twin.twin.synthetic.speech import speak
from obs_twin.voice.target import analyse
from obs_twin.zoo.store import ModelStore

RATE_HZ = 48_000
DELAY = RATE_HZ // 2


@pytest.fixture
def session(tmp_path: Path) -> SessionLog:
    return SessionLog(tmp_path / "log.jsonl")


@pytest.fixture
def host(session: SessionLog) -> Iterator[tuple[SoundRing, VoiceWorker]]:
    ring = SoundRing.create(RATE_HZ, 2, 8 * RATE_HZ)
    ring.header.delay_samples = DELAY
    worker = VoiceWorker(
        SoundRing.open(ring.shared.handle, ring.shared.bytes), TwinLibrary(ModelStore(), session), "Mic"
    )
    yield ring, worker
    worker.stop()
    ring.close()


def feed(ring: SoundRing, seconds: float, flags: int = 0) -> np.ndarray:
    """Half a sine in the left ear, half in the right; waits until the engine has answered."""
    count = int(seconds * RATE_HZ)
    start = int(ring.header.in_pos)
    wave = np.sin(np.arange(start, start + count) * 0.05).astype(np.float32)
    for first in range(0, count, 1024):
        part = wave[first : first + 1024]
        for lane in (0, 1):
            ring.write(lane, start + first, part.ctypes.data, part.size)
        ring.header.flags = flags
        ring.header.in_pos = start + first + part.size
    deadline = time.monotonic() + 10
    while int(ring.header.out_pos) < start + count and time.monotonic() < deadline:
        time.sleep(0.01)
    return wave


def heard(ring: SoundRing, position: int, count: int) -> np.ndarray:
    out = np.empty(count, np.float32)
    ring.read(ring.voice_lane, position, out.ctypes.data, count)
    return out


def test_without_a_twin_there_is_silence(host: tuple[SoundRing, VoiceWorker]) -> None:
    ring, _ = host
    feed(ring, 1.0)
    assert int(ring.header.out_pos) == RATE_HZ
    assert not heard(ring, int(ring.header.out_from), RATE_HZ - int(ring.header.out_from)).any()


def test_reveal_lets_the_voice_through_at_its_own_place(host: tuple[SoundRing, VoiceWorker]) -> None:
    ring, _ = host
    feed(ring, 0.5)
    wave = feed(ring, 0.5, REVEAL)
    assert np.allclose(heard(ring, RATE_HZ // 2, wave.size), wave, atol=1e-6)
    feed(ring, 0.5)
    assert not heard(ring, RATE_HZ, RATE_HZ // 2).any()


def test_a_notice_takes_the_voices_place_from_what_is_played_next(host: tuple[SoundRing, VoiceWorker]) -> None:
    ring, worker = host
    feed(ring, 2.0, REVEAL)
    notice = np.full(RATE_HZ, 0.25, np.float32)
    worker.announce(notice)
    time.sleep(0.2)
    feed(ring, 1.0, REVEAL)
    voice = heard(ring, RATE_HZ, 2 * RATE_HZ)
    inside = np.flatnonzero(voice == 0.25)
    assert inside.size >= notice.size
    # It begins at what is played soon, which had been converted long before.
    first = RATE_HZ + int(inside[0])
    assert 2 * RATE_HZ - DELAY < first < 2 * RATE_HZ
    assert (voice[inside[0] : inside[0] + notice.size] == 0.25).all()


def test_the_spoken_notice_names_the_twin_and_lasts_a_few_seconds() -> None:
    for synthetic in (True, False):
        sound = spoken_notice("Ada", synthetic, RATE_HZ)
        assert 2 * RATE_HZ < sound.size < 9 * RATE_HZ
        assert 0.3 < float(np.abs(sound).max()) < 0.7


def test_a_notice_is_off_only_with_a_reason_and_both_are_logged(session: SessionLog) -> None:
    notices = Notices(session)
    notices.observe("voice", {"spoken_notice": False, "disclosure_off_reason": ""})
    assert not list(session.events())
    notices.observe("voice", {"spoken_notice": False, "disclosure_off_reason": "rehearsal"})
    notices.observe("voice", {"spoken_notice": False, "disclosure_off_reason": "rehearsal"})
    notices.observe("voice", {"spoken_notice": True, "disclosure_off_reason": "rehearsal"})
    assert [(e["event"], e["notice"]) for e in session.events()] == [("override", "spoken"), ("restore", "spoken")]


def test_the_light_voice_may_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: SessionLog) -> None:
    monkeypatch.setenv("OBS_TWIN_CACHE", str(user_dirs().cache))  # where the models are
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))
    speech = speak("The morning train was late, so we walked along the river and talked.")
    analyse(speech.samples, speech.sample_rate_hz).save(tmp_path / "target.json")
    part = PartFiles("voice", "neural", {"voice/target.json": tmp_path / "target.json"}, "test")
    write_pack(
        ensure(user_dirs().packs) / "nova", name="nova", display_name="Nova", subject_kind="synthetic", parts=[part]
    )
    ring = SoundRing.create(RATE_HZ, 2, 8 * RATE_HZ)
    ring.header.delay_samples = DELAY
    worker = VoiceWorker(
        SoundRing.open(ring.shared.handle, ring.shared.bytes), TwinLibrary(ModelStore(), session), "Mic"
    )
    try:
        for converter, provider, priced in (("own", "Whisper", True), ("light", "WORLD", False)):
            worker.settings = {"twin": "nova", "converter": converter}
            deadline = time.monotonic() + 60
            while provider not in worker.status()["voice"]["provider"] and time.monotonic() < deadline:
                feed(ring, 0.05)
            assert worker.problem == ""
            state = worker.status()["voice"]
            assert provider in state["provider"]
            assert bool(state["delays"]) == priced
    finally:
        worker.stop()
        ring.close()
