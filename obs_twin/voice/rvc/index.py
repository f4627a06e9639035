"""The index of an RVC voice: the target's own feature frames, of which the most similar ones replace the actor's.

Read without faiss: either a .npy of features (frames, channels), or the "IVF,Flat" file that RVC's training writes
(faiss's `index_io`, fourcc "IwFl"), which is a list of cluster centres and, for each, the frames nearest to it.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from obs_twin.voice.model import F32, VoiceModelError

NEIGHBOURS = 8
MOST_FRAMES = 10_000
"""Of a .npy; as RVC does, more are thinned out, so that a block's search stays quick."""
MOST_BYTES = 4 << 30
_HEADER = struct.Struct("<iqqq?i")  # dimensions, vectors, two unused, trained, metric
_L2 = 1


class FeatureIndex:
    """Nearest feature frames.

    Args:
        centres: (clusters, channels).
        lists: for each cluster, (members, channels).
        probes: how many clusters are searched for one frame.
        found: what was read, in words.
    """

    def __init__(self, centres: F32, lists: list[F32], probes: int, found: str) -> None:
        self._centres = centres
        self._lists = lists
        self._probes = min(probes, len(lists))
        self._norms = (centres**2).sum(axis=1)
        self.bound = [found]

    @property
    def channels(self) -> int:
        """Numbers in a frame."""
        return int(self._centres.shape[1])

    def retrieve(self, features: F32) -> F32:
        """For each of (frames, channels): the mean of its nearest, weighted by 1 / distance ** 4 (RVC's rule)."""
        distance = self._norms - 2 * features @ self._centres.T
        chosen = np.argpartition(distance, self._probes - 1, axis=1)[:, : self._probes]
        found = np.empty_like(features)
        for clusters in np.unique(chosen, axis=0):
            rows = np.flatnonzero((chosen == clusters).all(axis=1))
            members = np.concatenate([self._lists[cluster] for cluster in clusters])
            found[rows] = _nearest_mean(features[rows], members) if len(members) else features[rows]
        return found


def _nearest_mean(features: F32, members: F32) -> F32:
    rough = (members**2).sum(axis=1) - 2 * features @ members.T  # the square of the distance, but for the frame's own
    some = min(4 * NEIGHBOURS, len(members))  # single precision does not tell close ones apart
    nearest = np.argpartition(rough, some - 1, axis=1)[:, :some]
    distance = np.maximum(((features[:, None] - members[nearest]) ** 2).sum(axis=2), 1e-6)
    best = np.argsort(distance, axis=1)[:, :NEIGHBOURS]
    nearest, distance = np.take_along_axis(nearest, best, 1), np.take_along_axis(distance, best, 1)
    weight = 1.0 / distance**2  # the distance is a square already, and RVC squares it again
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("fn,fnc->fc", weight, members[nearest]), np.float32)


def open_index(path: Path, channels: int) -> FeatureIndex:
    """Read an index for features of `channels` numbers.

    Raises:
        VoiceModelError: neither of the two formats, truncated, or for another version of RVC.
    """
    what = f"the index {path.name}"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise VoiceModelError(f"{what} has more than {MOST_BYTES >> 30} GB; an RVC index has some hundred MB.")
        with path.open("rb") as file:
            magic = file.read(6)
        index = _from_npy(path, what) if magic == b"\x93NUMPY" else _from_faiss(path, what, magic[:4])
    except OSError as error:
        raise VoiceModelError(f"{what} cannot be read: {error.strerror or error}.") from error
    if index.channels != channels:
        raise VoiceModelError(
            f"{what} has frames of {index.channels} numbers, and this voice has {channels} (256 is RVC v1, 768 is v2). "
            "Take the index that was made with this voice."
        )
    return index


def _from_npy(path: Path, what: str) -> FeatureIndex:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise VoiceModelError(f"{what} is damaged: {error}. Get it again.") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating) or not 1 <= array.shape[1] <= 4096:
        raise VoiceModelError(
            f"{what}: expected an array of frames x 256 or 768 fractions; found {array.dtype} {list(array.shape)}."
        )
    if not len(array):
        raise VoiceModelError(f"{what} holds no frames.")
    step = -(-len(array) // MOST_FRAMES)
    frames = np.nan_to_num(np.asarray(array[::step], np.float32))
    thinned = f", every {step}th of {len(array)}" if step > 1 else ""
    text = f"Index: {len(frames)} frames of {frames.shape[1]} numbers{thinned}"
    return FeatureIndex(frames.mean(axis=0, keepdims=True), [frames], 1, text)


class _Reader:
    """Takes values off the bytes of a file; what is missing is an error in words."""

    def __init__(self, raw: npt.NDArray[np.uint8], what: str) -> None:
        self._raw = raw
        self._what = what
        self._at = 0

    def take(self, count: int) -> npt.NDArray[np.uint8]:
        if count < 0 or self._at + count > len(self._raw):
            raise VoiceModelError(
                f"{self._what} is truncated: {self._at + count - len(self._raw)} bytes are missing. Get it again."
            )
        self._at += count
        return self._raw[self._at - count : self._at]

    def word(self) -> bytes:
        return self.take(4).tobytes()

    def size(self) -> int:
        return int.from_bytes(self.take(8).tobytes(), "little")

    def sizes(self, count: int) -> npt.NDArray[np.uint64]:
        return np.frombuffer(self.take(8 * count).tobytes(), "<u8")

    def floats(self, count: int) -> F32:
        return np.frombuffer(self.take(4 * count).tobytes(), "<f4")

    def header(self) -> tuple[int, int]:
        dimensions, vectors, _, _, _, metric = _HEADER.unpack(self.take(_HEADER.size).tobytes())
        if metric > _L2:
            self.take(4)
        if not 1 <= dimensions <= 4096 or vectors < 0:
            raise VoiceModelError(f"{self._what} is damaged: it states {vectors} frames of {dimensions} numbers.")
        return dimensions, vectors


def _from_faiss(path: Path, what: str, magic: bytes) -> FeatureIndex:
    expected = 'expected a .npy of features, or the "added_IVF..._Flat_..." file of RVC\'s training'
    if magic != b"IwFl":
        raise VoiceModelError(f"{what}: {expected}; found a file that begins with {magic!r}.")
    reader = _Reader(np.memmap(path, np.uint8, "r"), what)
    reader.take(4)
    dimensions, vectors = reader.header()
    clusters, probes = reader.size(), reader.size()
    if reader.word() not in (b"IxF2", b"IxFI"):
        raise VoiceModelError(f"{what}: its clusters are kept in a way that is not read here; {expected}.")
    inner, centre_count = reader.header()
    stated = reader.size()
    if inner != dimensions or centre_count != clusters or stated != clusters * dimensions or not clusters:
        raise VoiceModelError(f"{what} is damaged: {clusters} clusters are stated, {centre_count} found.")
    centres = reader.floats(stated).reshape(clusters, dimensions)
    map_kind = int(reader.take(1)[0])
    reader.take(8 * reader.size())
    if map_kind == 2:
        reader.take(16 * reader.size())
    if reader.word() != b"ilar":
        raise VoiceModelError(f"{what}: its frames lie in another file (on-disk lists); {expected}.")
    list_count, code_bytes = reader.size(), reader.size()
    if list_count != clusters or code_bytes != 4 * dimensions:
        raise VoiceModelError(f"{what}: its frames are compressed; {expected}.")
    layout = reader.word()
    if layout == b"full":
        sizes = reader.sizes(reader.size())
    elif layout == b"sprs":
        pairs = reader.sizes(reader.size()).reshape(-1, 2)
        sizes = np.zeros(clusters, np.uint64)
        sizes[np.minimum(pairs[:, 0], clusters - 1).astype(np.intp)] = pairs[:, 1]
    else:
        raise VoiceModelError(f"{what} is damaged: its lists are laid out as {layout!r}.")
    if len(sizes) != clusters or int(sizes.sum()) != vectors:
        raise VoiceModelError(f"{what} is damaged: {vectors} frames are stated, {int(sizes.sum())} listed.")
    lists: list[F32] = []
    for size in sizes.tolist():
        lists.append(reader.floats(size * dimensions).reshape(size, dimensions))
        reader.take(8 * size)
    text = f"Index: {vectors} frames of {dimensions} numbers in {clusters} clusters"
    return FeatureIndex(centres, lists, max(1, probes), text)
