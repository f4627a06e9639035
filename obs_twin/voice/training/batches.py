"""Random rows of the shards as training batches; and the rows for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from obs_twin.voice.neural_grid import HEAR_FRAME
from obs_twin.voice.training.hearing import Blocks, mel_of_blocks
from obs_twin.voice.training.network import LATENT_SIZE, Targets

ROW_FRAMES = 240  # 6 s, and what comes after the last block
LATEST_PLACE = 900
SHARES = {"hibari": 0.22, "kokoro": 0.06, "recorded": 0.72}
"""How much of what is drawn is of each kind, as far as there are shards of it."""

Arrays = dict[str, npt.NDArray[Any]]


class Rows(NamedTuple):
    """B rows of sound as the stream hears them, and what is said in them."""

    mel: Tensor
    """(B, blocks, 80, lead + 2 length) of each block"""
    whole_mel: Tensor
    """(B, 1, 80, lead + 2 n): each row as one block, all that the stream hears of it"""
    places: Tensor
    """(B,) of the first token in Whisper's 1500"""
    targets: Targets
    """of the row's frames and of those after the last block"""


class Corpus:
    """All shards of a folder, in memory (130 MB an hour). `refresh` takes up new ones."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self._folder = folder
        self._rng = rng
        self._shards: dict[str, Arrays] = {}
        self._pieces = np.zeros((0, 3), np.int64)  # shard, first frame, length
        self._chance = np.zeros(0)
        self.refresh()
        if not self._shards:
            raise FileNotFoundError(f"There are no training shards in {folder}; make some first")

    @property
    def hours(self) -> float:
        return float(self._pieces[:, 2].sum()) / 40 / 3600

    def refresh(self) -> None:
        """Load shards that have appeared; the order of arrival does not change what a shard holds."""
        new = [path for path in sorted(self._folder.glob("*-[0-9]*.npz")) if path.name not in self._shards]
        new = [path for path in new if ".part" not in path.name]
        for path in new:
            with np.load(path) as file:
                self._shards[path.name] = {name: file[name] for name in file.files}
        if new:
            rows, kinds = [], []
            for number, (name, shard) in enumerate(self._shards.items()):
                starts, length = shard["starts"][:-1], np.diff(shard["starts"])
                rows.append(np.stack([np.full(len(starts), number), starts, length], axis=1)[~shard["held_out"]])
                kinds += [name.partition("-")[0]] * len(rows[-1])
            self._pieces = np.concatenate(rows)
            worth = np.minimum(self._pieces[:, 2], 2 * ROW_FRAMES).astype(np.float64)
            for kind, share in SHARES.items():
                own = np.array(kinds) == kind
                worth[own] *= share / max(1.0, worth[own].sum())
            self._chance = np.cumsum(worth / worth.sum())

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (128,) of the latents of the first shards, per frame."""
        frames = np.concatenate([_latents(shard, slice(None)) for shard in list(self._shards.values())[:3]])
        return torch.from_numpy(frames.mean(0)), torch.from_numpy(frames.std(0) + 1e-3)

    def batch(self, size: int, blocks: Blocks) -> Rows:
        """`size` rows out of random pieces; where a piece is shorter there is digital silence, which weighs 0."""
        rng = self._rng
        needed = ROW_FRAMES + blocks.right_frames
        chosen = self._pieces[np.searchsorted(self._chance, rng.random(size))]
        shards = list(self._shards.values())
        cuts = []
        for number, start, length in chosen:
            skip = int(rng.integers(0, max(1, length - needed + 1)))
            cuts.append((shards[number], slice(int(start + skip), int(start + min(length, skip + needed)))))
        places = np.where(rng.random(size) < 0.5, rng.integers(0, LATEST_PLACE, size), 0)
        return _rows(cuts, blocks, places)

    def evaluation(self, kind: str, limit: int, blocks: Blocks) -> Iterator[Rows]:
        """Up to `limit` held-out pieces, one by one, of the shards whose name begins with `kind`."""
        found = 0
        for name, shard in sorted(self._shards.items()):
            if not name.startswith(kind):
                continue
            for index in np.flatnonzero(shard["held_out"]):
                if found == limit:
                    return
                found += 1
                start, end = (int(at) for at in shard["starts"][index : index + 2])
                cut = slice(start, min(end, start + ROW_FRAMES + blocks.right_frames))
                yield _rows([(shard, cut)], blocks, np.zeros(1, np.int64))


def _latents(shard: Arrays, piece: slice) -> npt.NDArray[np.float32]:
    return np.asarray(shard["latents"][shard["token"][piece]], np.float32)


def _rows(cuts: list[tuple[Arrays, slice]], blocks: Blocks, places: npt.NDArray[np.int64]) -> Rows:
    length = ROW_FRAMES + blocks.right_frames
    size = len(cuts)
    latent = np.zeros((size, length, LATENT_SIZE), np.float32)
    energy, voiced = np.zeros((2, size, length, 2), np.float32)
    speech, weight = np.zeros((2, size, length), np.float32)
    phone = np.zeros((size, length), np.int64)
    mels, whole = [], []
    for row, (shard, piece) in enumerate(cuts):
        n = piece.stop - piece.start
        sound = np.zeros(length * HEAR_FRAME, np.float32)
        sound[: n * HEAR_FRAME] = shard["sound"][piece.start * HEAR_FRAME : piece.stop * HEAR_FRAME] / np.float32(32767)
        mels.append(mel_of_blocks(sound, ROW_FRAMES // blocks.frames, blocks))
        whole.append(mel_of_blocks(sound, 1, Blocks(ROW_FRAMES, blocks.right_frames)))
        latent[row, :n] = _latents(shard, piece)
        energy[row, :n] = shard["energy"][piece]
        voiced[row, :n] = shard["voiced"][piece]
        speech[row, :n] = shard["speech"][piece]
        phone[row, :n] = shard["phones"][shard["token"][piece]]
        weight[row, :n] = 1
    arrays = (latent, energy, voiced, speech, phone, weight)
    targets = Targets(*(torch.from_numpy(array) for array in arrays))
    return Rows(torch.from_numpy(np.stack(mels)), torch.from_numpy(np.stack(whole)), torch.from_numpy(places), targets)
