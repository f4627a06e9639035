"""Indexes: faiss's own file format as RVC's training writes it, .npy, and what is neither."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from obs_twin.voice.model import VoiceModelError
from obs_twin.voice.rvc.index import NEIGHBOURS, FeatureIndex, open_index

HEADER = struct.Struct("<iqqq?i")


def ivf_flat(vectors: np.ndarray, centres: np.ndarray, *, sparse: bool = False) -> bytes:
    """The bytes that faiss.write_index gives for an IndexIVFFlat (checked against faiss 1.15)."""
    count, channels = vectors.shape
    nearest = ((vectors[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    out = b"IwFl" + HEADER.pack(channels, count, 1 << 20, 1 << 20, True, 1) + struct.pack("<QQ", len(centres), 1)
    out += b"IxF2" + HEADER.pack(channels, len(centres), 1 << 20, 1 << 20, True, 1)
    out += struct.pack("<Q", centres.size) + centres.astype("<f4").tobytes()
    out += b"\0" + struct.pack("<Q", 0) + b"ilar" + struct.pack("<QQ", len(centres), 4 * channels)
    sizes = np.bincount(nearest, minlength=len(centres))
    if sparse:
        used = np.flatnonzero(sizes)
        out += b"sprs" + struct.pack("<Q", 2 * len(used)) + np.stack([used, sizes[used]], 1).astype("<u8").tobytes()
    else:
        out += b"full" + struct.pack("<Q", len(sizes)) + sizes.astype("<u8").tobytes()
    for cluster in range(len(centres)):
        rows = np.flatnonzero(nearest == cluster)
        out += vectors[rows].astype("<f4").tobytes() + rows.astype("<i8").tobytes()
    return out


@pytest.fixture
def vectors() -> np.ndarray:
    rng = np.random.default_rng(3)
    spots = rng.standard_normal((5, 256)).astype(np.float32) * 4
    return np.repeat(spots, 20, axis=0) + 0.1 * rng.standard_normal((100, 256)).astype(np.float32)


def brute_force(features: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    square = ((features[:, None].astype(float) - vectors[None]) ** 2).sum(axis=2)
    nearest = np.argsort(square, axis=1)[:, :NEIGHBOURS]
    weight = 1 / np.take_along_axis(square, nearest, 1) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    return (vectors[nearest] * weight[:, :, None]).sum(axis=1)


@pytest.mark.parametrize("form", ["full", "sprs", "npy"])
def test_the_nearest_frames_are_found(tmp_path: Path, vectors: np.ndarray, form: str) -> None:
    path = tmp_path / "voice.index"
    if form == "npy":
        with path.open("wb") as file:
            np.save(file, vectors)
    else:
        centres = np.concatenate([vectors[::20], np.full((1, 256), 99, np.float32)])  # the last one has no members
        path.write_bytes(ivf_flat(vectors, centres, sparse=form == "sprs"))
    index = open_index(path, 256)
    assert "100 frames" in index.bound[0]
    features = vectors[::7] + 0.05
    assert np.allclose(index.retrieve(features), brute_force(features, vectors), atol=1e-4)


def test_a_long_npy_is_thinned_out(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.zeros((25_000, 256), np.float16))
    assert "every 3th of 25000" in open_index(tmp_path / "big.npy", 256).bound[0]


def test_fewer_frames_than_neighbours() -> None:
    index = FeatureIndex(np.zeros((1, 4), np.float32), [np.ones((2, 4), np.float32)], 9, "")
    assert np.allclose(index.retrieve(np.zeros((3, 4), np.float32)), 1)


def test_what_is_no_index_is_refused_in_words(tmp_path: Path, vectors: np.ndarray) -> None:
    path = tmp_path / "voice.index"
    whole = ivf_flat(vectors, vectors[::20])
    for content, words in (
        (b"", "begins with b''"),
        (b"IxF2" + whole[4:], "expected a .npy"),
        (whole[: len(whole) // 2], "is truncated"),
        (whole[:-1], "is truncated"),
        (whole[:4] + b"\xff" * 40 + whole[44:], "damaged|truncated"),
        (whole.replace(b"ilar", b"ilod"), "another file"),
        (b"\x93NUMPY\x01\x00 broken", "damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(VoiceModelError, match=words):
            open_index(path, 256)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(VoiceModelError, match="damaged"):
        open_index(tmp_path / "objects.npy", 256)
    np.save(tmp_path / "flat.npy", np.zeros(256))
    with pytest.raises(VoiceModelError, match="frames x 256 or 768"):
        open_index(tmp_path / "flat.npy", 256)
    with pytest.raises(VoiceModelError, match="cannot be read"):
        open_index(tmp_path / "absent.index", 256)
