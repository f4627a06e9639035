"""The frame number in the picture survives what video does to it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.twin.synthetic.stamp import read, stamp

NUMBERS = st.integers(0, 65535)


def _picture(width: int, height: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (9, 16, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@given(NUMBERS, st.sampled_from([(640, 360), (1280, 720), (1920, 1080), (854, 480)]), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_reads_what_was_stamped(number: int, size: tuple[int, int], seed: int) -> None:
    picture = _picture(*size, seed)
    stamp(picture, number)
    assert read(picture) == number


@given(NUMBERS, st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_survives_scaling_chroma_subsampling_noise_and_jpeg(number: int, seed: int) -> None:
    picture = _picture(1280, 720, seed)
    stamp(picture, number)
    small = cv2.resize(picture, (640, 360), interpolation=cv2.INTER_LINEAR)
    yuv = cv2.cvtColor(small, cv2.COLOR_BGR2YUV_I420)
    back = cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420)
    noisy = np.clip(back + np.random.default_rng(seed).normal(0, 8, back.shape), 0, 255).astype(np.uint8)
    ok, coded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 50])
    assert ok
    assert read(cv2.imdecode(coded, cv2.IMREAD_COLOR)) == number
    assert read(yuv[:360]) == number  # the luma plane alone


@given(NUMBERS, NUMBERS)
@settings(max_examples=60, deadline=None)
def test_two_frames_blended_never_read_as_a_third(first: int, second: int) -> None:
    a, b = _picture(640, 360, 1), _picture(640, 360, 1)
    stamp(a, first)
    stamp(b, second)
    assert read(cv2.addWeighted(a, 0.5, b, 0.5, 0)) in (None, first, second)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_picture_without_a_stamp_reads_as_none(seed: int) -> None:
    assert read(_picture(640, 360, seed)) is None


def test_black_and_white_pictures_read_as_none() -> None:
    for level in (0, 128, 255):
        assert read(np.full((360, 640, 3), level, np.uint8)) is None
    assert read(np.zeros((8, 8, 3), np.uint8)) is None


def test_refuses_what_cannot_be_stamped() -> None:
    picture = np.zeros((360, 640, 3), np.uint8)
    with pytest.raises(ValueError, match="0 to 65535"):
        stamp(picture, 65536)
    with pytest.raises(ValueError, match="0 to 65535"):
        stamp(picture, -1)
    with pytest.raises(ValueError, match="at least"):
        stamp(np.zeros((10, 50, 3), np.uint8), 1)
