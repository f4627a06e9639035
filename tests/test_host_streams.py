"""The hot paths inside OBS, against the real libobs, with an engine whose behaviour hypothesis chooses."""

import ctypes
import shutil
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.host.libobs import AudioData, Frame, LibObs
from obs_twin.host.sound import SoundStream
from obs_twin.host.video import VideoStream
from obs_twin.link import formats
from obs_twin.link.formats import VideoFormat
from obs_twin.link.frames import TWIN

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("obs") is None, reason="needs OBS Studio's libobs on Linux"
)

WIDTH, HEIGHT = 32, 16
FRAME_NS = 33_333_333
DELAY_NS = 300_000_000
RAW = 200
"""Every byte of a raw picture. Nothing the engine or the host makes contains it."""


@pytest.fixture(scope="module")
def obs() -> LibObs:
    return LibObs()


class Source:
    """Frames as an OBS source gives them: raw planes of one value, and a timestamp."""

    def __init__(self, fmt: int = VideoFormat.I420, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.planes = [np.empty(p.size_bytes, np.uint8) for p in formats.layout(fmt, width, height)]
        self.frame = Frame()
        self.frame.width, self.frame.height, self.frame.format = width, height, int(fmt)
        self.frame.full_range = True
        for i, (plane, part) in enumerate(zip(self.planes, formats.layout(fmt, width, height), strict=True)):
            self.frame.data[i] = plane.ctypes.data
            self.frame.linesize[i] = part.row_bytes
        self.stamp_ns = 10**12

    def next(self, step_ns: int = FRAME_NS) -> int:
        self.stamp_ns += step_ns
        self.frame.timestamp = self.stamp_ns
        for plane in self.planes:
            plane[:] = RAW
        return ctypes.addressof(self.frame)

    def bytes(self) -> npt.NDArray[np.uint8]:
        return np.concatenate(self.planes)


def finish(stream: VideoStream, seq: int, value: int) -> None:
    """What an engine does with a frame."""
    ring = stream.ring
    assert ring is not None
    slot = ring.table[seq % ring.slots]
    if slot.seq == seq:
        ctypes.memset(ring.picture_address(seq % ring.slots), value, ring.slot_bytes)
        slot.kind = TWIN
        slot.done_seq = seq


def started(obs: LibObs, source: Source) -> VideoStream:
    stream = VideoStream(obs, 0, "Camera")
    stream.video_delay_ns = DELAY_NS
    stream.cross("face", source.next())
    assert stream.make_ring(DELAY_NS, 30.0) is not None
    return stream


def test_the_picture_is_the_one_of_the_delay_ago(obs: LibObs) -> None:
    source = Source()
    stream = started(obs, source)
    shown = []
    for n in range(1, 60):
        stream.cross("face", source.next())
        shown.append(int(source.planes[0][0]))
        finish(stream, n, n)
    # 300 ms are nine frames of 33.3 ms.
    assert shown[20:] == [n - 9 for n in range(21, 60)]


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_no_engine_behaviour_lets_a_raw_byte_through(obs: LibObs, data: st.DataObject) -> None:
    source = Source()
    stream = started(obs, source)
    stream.controls.policy = data.draw(st.sampled_from(["card", "hold", "pixelate"]))
    pending: list[int] = []
    for n in range(1, 70):
        step = data.draw(st.sampled_from([FRAME_NS, FRAME_NS, FRAME_NS, 2 * FRAME_NS, 0, -(10**9), 3 * 10**9]))
        stream.cross("face", source.next(step))
        assert not (source.bytes() == RAW).any()
        pending.append(n)
        # The engine finishes some frame: the newest, an old one, or one that has long been overwritten.
        for _ in range(data.draw(st.integers(0, 2))):
            seq = pending.pop(data.draw(st.integers(0, len(pending) - 1))) if pending else n
            finish(stream, seq, seq % 150)


def test_half_written_pictures_are_not_shown(obs: LibObs) -> None:
    source = Source()
    stream = started(obs, source)
    ring = stream.ring
    assert ring is not None
    for n in range(1, 40):
        stream.cross("face", source.next())
        # The engine died while writing: bytes are there, the mark is not.
        ctypes.memset(ring.picture_address(n % ring.slots), RAW, ring.slot_bytes // 2)
        assert not (source.bytes() == RAW).any()
    assert stream.counts["not_finished"] > 0


def test_two_filters_on_one_source_cross_once(obs: LibObs) -> None:
    source = Source()
    stream = started(obs, source)
    for n in range(1, 30):
        address = source.next()
        stream.cross("face", address)
        after_first = source.bytes().copy()
        stream.cross("background", address)
        assert np.array_equal(after_first, source.bytes())
        finish(stream, n, n)
    assert stream.counts["frames"] == 30
    # Whichever is left alone goes on crossing.
    for kind in ("background", "face"):
        before = stream.counts["frames"]
        for _ in range(3):
            stream.cross(kind, source.next())
            assert not (source.bytes() == RAW).any()
        assert stream.counts["frames"] == before + 3


def test_two_filters_cross_once_when_another_frame_is_given_back() -> None:
    """Transparency: OBS gets a BGRA frame of ours, and calls the next filter with that one."""
    source = Source(VideoFormat.NV12)
    stream = VideoStream(Forgiving(), 0, "Camera")
    stream.video_delay_ns = DELAY_NS
    stream.controls.transparent = True
    rings = 0
    for n in range(1, 40):
        given = stream.cross("face", source.next())
        assert stream.cross("background", given) == given
        rings += stream.make_ring(DELAY_NS, 30.0) is not None
        finish(stream, n, n)
    assert rings == 1
    assert stream.counts["frames"] == 39


class Forgiving(LibObs):
    """The real libobs, but for giving frames back: these are not OBS's own."""

    def __init__(self) -> None:
        super().__init__()
        self.obs_source_release_frame = lambda _parent, _frame: None


def test_size_and_format_may_change_at_any_frame(obs: LibObs) -> None:
    stream = started(obs, Source())
    for fmt in sorted(formats.SUPPORTED):
        source = Source(fmt, WIDTH * 2, HEIGHT * 2)
        for _ in range(3):
            stream.cross("face", source.next())
            assert not (source.bytes() == RAW).any(), fmt
        assert stream.make_ring(DELAY_NS, 30.0) is not None
        for n in range(1, 25):
            stream.cross("face", source.next())
            assert not (source.bytes() == RAW).any(), fmt
            finish(stream, n, 77)
        assert (source.bytes() == 77).all(), fmt


def test_longer_delay_makes_a_longer_ring_and_no_leak(obs: LibObs) -> None:
    source = Source()
    stream = started(obs, source)
    for n in range(1, 30):
        stream.cross("face", source.next())
        finish(stream, n, n)
    stream.make_again()
    stream.cross("face", source.next())
    assert not (source.bytes() == RAW).any()
    stream.video_delay_ns = 3 * 10**9
    ring = stream.make_ring(3 * 10**9, 30.0)
    assert ring is not None
    assert ring.slots > 3 * 30
    for _ in range(40):
        stream.cross("face", source.next())
        assert not (source.bytes() == RAW).any()


def test_too_large_a_ring_is_refused_in_words(obs: LibObs) -> None:
    stream = VideoStream(obs, 0, "Camera")
    source = Source(VideoFormat.BGRA, 7680, 4320)
    stream.cross("face", source.next())
    assert stream.make_ring(5 * 10**9, 60.0) is None
    assert "Choose a shorter delay or a smaller picture" in stream.problem


# ---- sound ------------------------------------------------------------------------------------------------------


class Microphone:
    """Packets as an OBS source gives them."""

    def __init__(self, channels: int, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.channels = channels
        self.lanes = np.zeros((channels, 4096), np.float32)
        self.audio = AudioData()
        self.position = 0

    def next(self, count: int) -> int:
        self.lanes[:, :count] = np.arange(self.position, self.position + count) + 1e6
        for c in range(self.channels):
            self.audio.data[c] = self.lanes[c].ctypes.data
        self.audio.frames = count
        self.audio.timestamp = 10**12 + self.position * 10**9 // self.rate_hz
        self.position += count
        return ctypes.addressof(self.audio)


def speak(stream: SoundStream, until: int) -> None:
    """An engine that answers sample k by -k."""
    ring = stream.ring
    assert ring is not None
    start = int(ring.header.out_pos)
    voice = -np.arange(start, until, dtype=np.float32)
    ring.write(ring.voice_lane, start, voice.ctypes.data, voice.size)
    ring.header.out_pos = until


@settings(deadline=None, max_examples=40)
@given(
    channels=st.integers(1, 8),
    rate_hz=st.sampled_from([44_100, 48_000]),
    packets=st.lists(st.integers(1, 4096), min_size=20, max_size=60),
)
def test_the_voice_is_exactly_the_delay_older(channels: int, rate_hz: int, packets: list[int]) -> None:
    stream = SoundStream(0, "Mic", rate_hz, channels)
    delay = stream.delay_samples = round(0.3 * rate_hz)
    microphone = Microphone(channels, rate_hz)
    heard = []
    for count in packets:
        stream.cross(microphone.next(count))
        assert (microphone.lanes[:, :count] < 1e6).all(), "a raw sample left"
        assert (microphone.lanes[:, :count] == microphone.lanes[0, :count]).all()
        heard.append(microphone.lanes[0, :count].copy())
        speak(stream, microphone.position)
    sound = np.concatenate(heard)
    assert not sound[: delay + 1].any()
    steady = slice(delay + 400, None)
    assert np.array_equal(sound[steady], -np.arange(sound.size, dtype=np.float32)[steady] + delay)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_the_engine_writes_no_raw_sample_leaves(data: st.DataObject) -> None:
    stream = SoundStream(0, "Mic", 48_000, 2)
    stream.delay_samples = 14_400
    microphone = Microphone(2, 48_000)
    for _ in range(60):
        count = data.draw(st.integers(1, 2048))
        stream.panic = data.draw(st.booleans())
        stream.cross(microphone.next(count))
        assert (microphone.lanes[:, :count] < 1e6).all()
        ring = stream.ring
        assert ring is not None
        if data.draw(st.booleans()):
            speak(stream, data.draw(st.integers(int(ring.header.out_pos), microphone.position)))


def test_a_late_voice_ends_without_a_step() -> None:
    stream = SoundStream(0, "Mic", 48_000, 1)
    stream.delay_samples = 4800
    microphone = Microphone(1, 48_000)
    heard = []
    for packet in range(30):
        stream.cross(microphone.next(1000))
        heard.append(microphone.lanes[0, :1000].copy())
        ring = stream.ring
        assert ring is not None
        if packet < 10 or packet >= 20:
            start, until = int(ring.header.out_pos), microphone.position
            voice = np.full(until - start, 0.5, np.float32)
            ring.write(ring.voice_lane, start, voice.ctypes.data, voice.size)
            ring.header.out_pos = until
    sound = np.concatenate(heard)
    assert sound.max() == np.float32(0.5)
    assert np.abs(np.diff(sound[10_000:])).max() < 0.01
    assert stream.counts["late"] > 2


def test_without_a_ring_there_is_silence() -> None:
    stream = SoundStream(0, "Mic", 48_000, 2)
    ring, stream.ring = stream.ring, None
    microphone = Microphone(2, 48_000)
    stream.cross(microphone.next(1024))
    assert not microphone.lanes[:, :1024].any()
    assert ring is not None
    ring.close()
