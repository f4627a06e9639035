"""The rings between host and engine, on both sides of real shared memory."""

import ctypes
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.link import memory, messages
from obs_twin.link.frames import FrameRing, PictureFormat, ring_bytes
from obs_twin.link.sound import SoundRing
from obs_twin.link.sound import ring_bytes as sound_bytes

PICTURE = PictureFormat(
    64, 32, 2, 2, False, False, tuple(float(i) for i in range(16)), (0.1, 0.2, 0.3), (0.7, 0.8, 0.9), 64 * 32 * 3 // 2
)


def test_both_sides_see_the_same_ring_and_format() -> None:
    host = FrameRing.create(5, PICTURE)
    engine = FrameRing.open(host.shared.handle, host.shared.bytes)
    host.shared.peer_has_opened()
    found = engine.picture
    assert found.color_matrix == PICTURE.color_matrix
    assert found.color_range_max == pytest.approx(PICTURE.color_range_max)
    assert (found.width, found.height, found.slot_bytes) == (64, 32, PICTURE.slot_bytes)
    host.table[3].seq = 42
    ctypes.memset(host.picture_address(3), 7, PICTURE.slot_bytes)
    assert engine.table[3].seq == 42
    assert ctypes.string_at(engine.picture_address(3), PICTURE.slot_bytes) == b"\x07" * PICTURE.slot_bytes
    engine.close()
    host.close()


def test_slots_card_and_slate_do_not_overlap() -> None:
    ring = FrameRing.create(4, PICTURE)
    offsets = [ring.picture_offset(i) for i in range(ring.slate_index + 1)]
    assert all(b - a >= PICTURE.slot_bytes for a, b in itertools.pairwise(offsets))
    assert offsets[0] >= ctypes.sizeof(type(ring.table[0])) * 4
    assert offsets[-1] + PICTURE.slot_bytes <= ring_bytes(4, PICTURE.slot_bytes) == ring.shared.bytes
    ring.close()


def test_memory_that_is_no_ring_is_refused_in_words() -> None:
    shared = memory.create(1 << 16)
    with pytest.raises(ValueError, match="expected magic"):
        FrameRing(shared)
    with pytest.raises(ValueError, match="restart OBS"):
        SoundRing(shared)
    shared.close()


def test_a_closed_ring_cannot_be_opened() -> None:
    shared = memory.create(4096)
    handle = shared.handle
    shared.close()
    with pytest.raises(OSError):  # noqa: PT011 - the system's own words differ
        memory.open_shared(handle, 4096)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /dev/shm and /proc")
def test_nothing_stays_in_shared_memory_when_a_side_is_killed() -> None:
    before = set(os.listdir("/dev/shm"))
    program = (
        "import sys, time\n"
        "from obs_twin.link.frames import FrameRing, PictureFormat\n"
        "p = PictureFormat(64, 32, 2, 2, False, False, (0.0,) * 16, (0.0,) * 3, (1.0,) * 3, 3072)\n"
        "ring = FrameRing.create(50, p)\n"
        "print(ring.shared.handle, ring.shared.bytes, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, text=True) as host:
        assert host.stdout is not None
        handle, size = host.stdout.readline().split()
        ring = FrameRing.open(handle, int(size))
        host.kill()
        host.wait()
        # The survivor goes on seeing its memory; nobody can open it any more.
        assert ring.slots == 50
        with pytest.raises(OSError):  # noqa: PT011
            memory.open_shared(handle, int(size))
        ring.close()
    assert set(os.listdir("/dev/shm")) <= before


@settings(deadline=None, max_examples=60)
@given(
    st.integers(min_value=64, max_value=400),
    st.lists(st.integers(min_value=1, max_value=64), min_size=1, max_size=40),
)
def test_sound_written_in_any_pieces_is_read_back_in_any_pieces(capacity: int, pieces: list[int]) -> None:
    ring = SoundRing.create(48_000, 2, capacity)
    assert ring.shared.bytes == sound_bytes(2, capacity)
    position = 0
    for count in pieces:
        sent = np.arange(position, position + count, dtype=np.float32)
        ring.write(1, position, sent.ctypes.data, count)
        back = np.empty(count, np.float32)
        ring.read(1, position, back.ctypes.data, count)
        assert np.array_equal(sent, back)
        position += count
    last = min(position, capacity)
    tail = np.empty(last, np.float32)
    ring.read(1, position - last, tail.ctypes.data, last)
    assert np.array_equal(tail, np.arange(position - last, position, dtype=np.float32))
    ring.silence(1, position - last, last)
    ring.read(1, position - last, tail.ctypes.data, last)
    assert not tail.any()
    ring.close()


def test_messages_pass_over_what_is_no_message(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    with path.open("wb") as stream:
        writer = messages.Writer(stream)
        assert writer.send({"type": "hello", "name": "Käm\n era"})
        stream.write(b"some library printed this\n[1, 2]\n{}\n\xff\xfe\n")
        assert writer.send({"type": "quit"})
    with path.open("rb") as stream:
        found = list(messages.read(stream))
    assert found == [{"type": "hello", "name": "Käm\n era"}, {"type": "quit"}]


def test_a_writer_whose_reader_is_gone_says_so() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        assert messages.Writer(stream).send(json.loads('{"type": "status"}')) is False
