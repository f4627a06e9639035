"""Random pieces of the shards as training batches; and the evaluation windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from obs_twin.voice.listening import FEATURE_WIDTH
from obs_twin.voice.training.network import LATENT_SIZE, Targets

CROP_FRAMES = 96
LIVE_FRAMES = slice(3, 14)
"""So far from the end of what is heard lie the frames that are spoken live."""
LIVE_WEIGHT = 4.0
END_SHARE = 0.5  # of pieces, cut from the end of their window
KOKORO_WEIGHT = 5.0  # a window of it is drawn so much more often: it is scarce, and varied

Arrays = dict[str, npt.NDArray[Any]]


class Corpus:
    """All shards of a folder, in memory as float16 (250 MB an hour). `refresh` takes up new ones."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self._folder = folder
        self._rng = rng
        self._shards: dict[str, Arrays] = {}
        self._windows = np.zeros((0, 3), np.int64)  # shard, first frame, length
        self._chance = np.zeros(0)
        self.refresh()
        if not self._shards:
            raise FileNotFoundError(f"There are no training shards in {folder}; make some first")

    @property
    def hours(self) -> float:
        return float(self._windows[:, 2].sum()) / 40 / 3600

    def refresh(self) -> None:
        """Load shards that have appeared; the order of arrival does not change what a window holds."""
        new = [path for path in sorted(self._folder.glob("*-[0-9]*.npz")) if path.name not in self._shards]
        new = [path for path in new if ".part" not in path.name]
        for path in new:
            with np.load(path) as file:
                self._shards[path.name] = {name: file[name] for name in file.files}
        if new:
            rows, weights = [], []
            for number, (name, shard) in enumerate(self._shards.items()):
                starts, length = shard["starts"][:-1], np.diff(shard["starts"])
                rows.append(np.stack([np.full(len(starts), number), starts, length], axis=1)[~shard["held_out"]])
                worth = KOKORO_WEIGHT if name.startswith("kokoro") else 1.0
                weights.append(np.minimum(rows[-1][:, 2], 2 * CROP_FRAMES) * worth)
            self._windows = np.concatenate(rows)
            weight = np.concatenate(weights)
            self._chance = np.cumsum(weight / weight.sum())

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation (128,) of the latents of the first shards, per frame."""
        frames = np.concatenate([_latents(shard, slice(None)) for shard in list(self._shards.values())[:3]])
        return torch.from_numpy(frames.mean(0)), torch.from_numpy(frames.std(0) + 1e-3)

    def batch(self, size: int) -> tuple[torch.Tensor, Targets]:
        """`size` pieces of at most 96 frames; shorter windows are padded and weigh 0 there."""
        rng = self._rng
        chosen = self._windows[np.searchsorted(self._chance, rng.random(size))]
        shards = list(self._shards.values())
        pieces, ends = [], []
        for number, start, length in chosen:
            skip = 0
            if length > CROP_FRAMES:  # both ends of windows are met often enough
                anywhere = int(np.clip(rng.integers(-12, length - CROP_FRAMES + 13), 0, length - CROP_FRAMES))
                skip = length - CROP_FRAMES if rng.random() < END_SHARE else anywhere
            piece = slice(int(start + skip), int(start + min(length, skip + CROP_FRAMES)))
            pieces.append((shards[number], piece))
            ends.append(int(start + length) - piece.start)
        features, targets = _stack(pieces)
        for weight, end in zip(targets.weight, ends, strict=True):
            weight[max(0, end - LIVE_FRAMES.stop) : max(0, end - LIVE_FRAMES.start)] *= LIVE_WEIGHT
        return features, targets

    def evaluation(self, kind: str, limit: int) -> Iterator[tuple[torch.Tensor, Targets]]:
        """Up to `limit` held-out windows, one by one and whole, of the shards whose name begins with `kind`."""
        found = 0
        for name, shard in sorted(self._shards.items()):
            if not name.startswith(kind):
                continue
            for index in np.flatnonzero(shard["held_out"]):
                if found == limit:
                    return
                found += 1
                yield _stack([(shard, slice(int(shard["starts"][index]), int(shard["starts"][index + 1])))])


def _latents(shard: Arrays, piece: slice) -> npt.NDArray[np.float32]:
    return np.asarray(shard["latents"][shard["token"][piece]], np.float32)


def _stack(pieces: list[tuple[Arrays, slice]]) -> tuple[torch.Tensor, Targets]:
    length = max(piece.stop - piece.start for _, piece in pieces)
    size = len(pieces)
    features = np.zeros((size, length, FEATURE_WIDTH), np.float32)
    latent = np.zeros((size, length, LATENT_SIZE), np.float32)
    energy, voiced = np.zeros((2, size, length, 2), np.float32)
    speech, weight = np.zeros((2, size, length), np.float32)
    phone = np.zeros((size, length), np.int64)
    for row, (shard, piece) in enumerate(pieces):
        n = piece.stop - piece.start
        features[row, :n] = shard["features"][piece]
        latent[row, :n] = _latents(shard, piece)
        energy[row, :n] = shard["energy"][piece]
        voiced[row, :n] = shard["voiced"][piece]
        speech[row, :n] = shard["speech"][piece]
        phone[row, :n] = shard["phones"][shard["token"][piece]]
        weight[row, :n] = 1
    arrays = (latent, energy, voiced, speech, phone, weight)
    return torch.from_numpy(features), Targets(*(torch.from_numpy(array) for array in arrays))
