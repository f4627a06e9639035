"""Prepared lines: in the twin's voice, in the microphone's place, never over a notice, never without consent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from obs_twin.engine.lines import PreparedLines, line_text
from obs_twin.engine.twins import TwinLibrary
from obs_twin.engine.voice import VoiceWorker
from obs_twin.host.filters import DEFAULTS, SAY_LINES
from obs_twin.link.paths import ensure, user_dirs
from obs_twin.link.sound import SoundRing
from obs_twin.twin.log import SessionLog
from obs_twin.twin.make import PartFiles, write_pack
from obs_twin.twin.synthetic.speech import speak
from obs_twin.voice.target import analyse
from obs_twin.zoo.store import ModelStore

RATE_HZ = 48_000
DELAY = RATE_HZ // 2


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SoundRing, VoiceWorker]]:
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))
    speech = speak("The morning train was late, so we walked along the river and talked.")
    analyse(speech.samples, speech.sample_rate_hz).save(tmp_path / "target.json")
    part = PartFiles("voice", "world", {"voice/target.json": tmp_path / "target.json"}, "test")
    for name, subject in (("nova", "synthetic"), ("ada", "person")):
        write_pack(
            ensure(user_dirs().packs) / name, name=name, display_name=name.title(), subject_kind=subject, parts=[part]
        )
    ring = SoundRing.create(RATE_HZ, 1, 20 * RATE_HZ)
    ring.header.delay_samples = DELAY
    library = TwinLibrary(ModelStore(), SessionLog(tmp_path / "log.jsonl"))
    worker = VoiceWorker(SoundRing.open(ring.shared.handle, ring.shared.bytes), library, "Mic")
    yield ring, worker
    worker.stop()
    ring.close()


def feed(ring: SoundRing, seconds: float) -> None:
    silence = np.zeros(1024, np.float32)
    end = int(ring.header.in_pos) + int(seconds * RATE_HZ)
    while int(ring.header.in_pos) < end:
        position = int(ring.header.in_pos)
        ring.write(0, position, silence.ctypes.data, silence.size)
        ring.header.in_pos = position + silence.size
    deadline = time.monotonic() + 30
    while int(ring.header.out_pos) < end - DELAY and time.monotonic() < deadline:
        time.sleep(0.01)


def heard(ring: SoundRing, position: int, count: int) -> np.ndarray:
    out = np.empty(count, np.float32)
    ring.read(ring.voice_lane, position, out.ctypes.data, count)
    return out


def wait_for(what: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    assert what()  # type: ignore[operator]


def choose(worker: VoiceWorker, twin: str, line: str) -> None:
    worker.settings = {"twin": twin, "say_line_1": line}
    wait_for(lambda: worker.twin() is not None and not worker.twin().loading)  # type: ignore[union-attr]


def test_a_line_is_heard_in_the_microphones_place(host: tuple[SoundRing, VoiceWorker]) -> None:
    ring, worker = host
    choose(worker, "nova", "Good morning.")
    feed(ring, 1.0)
    lines = PreparedLines()
    lines.say(worker, 2)  # no such line
    lines.say(worker, 1)
    wait_for(lambda: bool(worker._announced))
    pressed = int(ring.header.in_pos)
    feed(ring, 4.0)
    voice = heard(ring, 0, int(ring.header.out_pos))
    loud = np.flatnonzero(np.abs(voice) > 0.01)
    assert pressed <= loud[0] < pressed + RATE_HZ
    assert 0.4 < (loud[-1] - loud[0]) / RATE_HZ < 2.5
    assert (voice[pressed:] != 0).any()


def test_a_line_never_covers_a_notice(host: tuple[SoundRing, VoiceWorker]) -> None:
    ring, worker = host
    choose(worker, "nova", "Good morning.")
    feed(ring, 1.0)
    notice = np.full(2 * RATE_HZ, 0.25, np.float32)
    worker.announce(notice)
    worker.announce(np.full(RATE_HZ, 0.5, np.float32), at_once=False)
    worker.announce(np.full(RATE_HZ // 4, 0.75, np.float32), at_once=False)
    wait_for(lambda: not worker._waiting)
    feed(ring, 5.0)
    voice = heard(ring, 0, int(ring.header.out_pos))
    counts = [int((voice == level).sum()) for level in (0.25, 0.5, 0.75)]
    assert counts == [notice.size, RATE_HZ, RATE_HZ // 4]
    first = [int(np.flatnonzero(voice == level)[0]) for level in (0.25, 0.5, 0.75)]
    assert first == sorted(first)


def test_without_consent_nothing_is_said(host: tuple[SoundRing, VoiceWorker]) -> None:
    ring, worker = host
    choose(worker, "ada", "Good morning.")
    feed(ring, 0.5)
    PreparedLines().say(worker, 1)
    time.sleep(0.5)
    feed(ring, 2.0)
    assert not heard(ring, 0, int(ring.header.out_pos)).any()


def test_the_settings_of_the_filter_are_those_that_are_read() -> None:
    for number in range(1, SAY_LINES + 1):
        assert DEFAULTS["voice"][f"say_line_{number}"] == ""
        assert line_text({f"say_line_{number}": " Hello "}, number) == "Hello"
    assert line_text(None, 1) == ""
