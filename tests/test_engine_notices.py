"""The spoken notice, said again: when it is due, and that it waits for a pause of the speaker."""

from __future__ import annotations

import time

import numpy as np

from obs_twin.engine.notices import REPEAT_MINUTES, PauseFinder, Repeats
from obs_twin.engine.voice import VoiceWorker
from obs_twin.host.filters import DEFAULTS
from obs_twin.link.sound import REVEAL, SoundRing
from tests.test_engine_voice import RATE_HZ, heard, host, session  # noqa: F401

BLOCK = 1024


def test_it_is_due_again_while_something_leaves_obs() -> None:
    repeats = Repeats()
    assert not repeats.due(1, 10.0, 10_000.0)
    assert repeats.event("virtualcam_started", 10_000.0)
    assert not repeats.due(1, 10.0, 10_599.0)
    assert repeats.due(1, 10.0, 10_601.0)
    assert not repeats.due(1, 10.0, 10_602.0)
    assert repeats.due(2, 10.0, 10_602.0)  # another stream keeps its own time
    assert repeats.event("recording_started", 10_700.0)  # which says it anew
    assert not repeats.due(1, 10.0, 11_299.0)
    assert not repeats.event("virtualcam_stopped", 10_800.0)
    assert repeats.due(1, 10.0, 11_301.0)
    repeats.event("recording_stopped", 11_302.0)
    assert not repeats.due(1, 10.0, 99_999.0)
    assert not repeats.event("exit", 11_302.0)


def test_an_engine_that_takes_over_goes_on_and_no_setting_makes_it_silent() -> None:
    repeats = Repeats()
    repeats.go_on(["streaming"], 500.0)
    assert not repeats.due(1, 0.0, 530.0)
    assert repeats.due(1, 0.0, 561.0)
    assert DEFAULTS["voice"]["notice_minutes"] == REPEAT_MINUTES


def test_pauses_are_found_at_any_level() -> None:
    rng = np.random.default_rng(1)
    for level in (0.003, 0.3):
        pauses = PauseFinder(RATE_HZ)
        speech = (level * rng.standard_normal(RATE_HZ)).astype(np.float32)
        blocks = [speech[at : at + BLOCK] for at in range(0, RATE_HZ, BLOCK)]
        assert not any(pauses.hear(block) for block in blocks)
        found = [pauses.hear(block * np.float32(0.02)) for block in blocks]
        assert found[-1]
        assert not any(found[: int(0.5 * RATE_HZ / BLOCK)])
        assert not pauses.hear(blocks[0])


def write(ring: SoundRing, x: np.ndarray) -> None:
    """Hand in samples as the host does, revealed, and wait until the engine has taken them."""
    for at in range(0, len(x), BLOCK):
        block = np.ascontiguousarray(x[at : at + BLOCK])
        ring.write(0, int(ring.header.in_pos), block.ctypes.data, block.size)
        ring.header.in_pos = int(ring.header.in_pos) + block.size
        ring.header.flags = REVEAL
    deadline = time.monotonic() + 30
    while int(ring.header.out_pos) < int(ring.header.in_pos) and time.monotonic() < deadline:
        time.sleep(0.01)


def test_it_waits_for_a_pause(host: tuple[SoundRing, VoiceWorker]) -> None:  # noqa: F811
    ring, worker = host
    talking = (0.1 * np.random.default_rng(2).standard_normal(2 * RATE_HZ)).astype(np.float32)
    write(ring, talking[:RATE_HZ])
    notice = np.full(RATE_HZ // 2, 0.25, np.float32)
    worker.announce(notice, at_once=False, in_a_pause=True)
    write(ring, talking)
    said_by = int(ring.header.in_pos)
    write(ring, np.zeros(2 * RATE_HZ, np.float32))
    voice = heard(ring, 0, int(ring.header.out_pos))
    inside = np.flatnonzero(voice == 0.25)
    assert inside.size == notice.size
    assert said_by < inside[0] < said_by + RATE_HZ
