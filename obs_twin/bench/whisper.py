"""What a listener understands: Whisper base (MIT, OpenAI), run by CTranslate2 through `faster-whisper`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.bench.extra import require
from obs_twin.link.paths import ensure
from obs_twin.zoo.store import ModelStore, Progress

RATE_HZ = 16000
PARTS = ("whisper_base_part1", "whisper_base_part2")
SIDE_FILES = {
    "config.json": "whisper_base_config",
    "tokenizer.json": "whisper_base_tokenizer",
    "vocabulary.json": "whisper_base_vocabulary",
}


def whisper_folder(store: ModelStore | None = None, progress: Progress | None = None) -> Path:
    """Folder with the model as `faster_whisper.WhisperModel` wants it; fetched and put together the first time.

    Raises:
        ModelError: it cannot be fetched, or there is no room.
    """
    store = ModelStore() if store is None else store
    parts = store.fetch(PARTS, progress)
    sides = store.fetch(SIDE_FILES.values(), progress)
    folder = ensure(parts[0].parent / "whisper-base")
    whole = folder / "model.bin"
    if not whole.is_file() or whole.stat().st_size != sum(part.stat().st_size for part in parts):
        unfinished = whole.with_suffix(f".{os.getpid()}.part")
        with unfinished.open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
        os.replace(unfinished, whole)
    for name, side in zip(SIDE_FILES, sides, strict=True):
        if not (folder / name).is_file():
            shutil.copyfile(side, folder / name)
    return folder


class Listener:
    """Writes down English speech.

    Args:
        folder: from `whisper_folder()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        model = require("faster_whisper").WhisperModel
        self._model = model(
            str(whisper_folder() if folder is None else folder), device="cpu", compute_type="int8", cpu_threads=1
        )

    def transcribe(self, x: npt.NDArray[np.floating], sample_rate_hz: int) -> str:
        """The words of (N,) mono samples; greedy, each 30 s heard on their own."""
        sound = np.asarray(x, np.float32)
        if sample_rate_hz != RATE_HZ:
            sound = soxr.resample(sound, sample_rate_hz, RATE_HZ)
        segments, _ = self._model.transcribe(sound, language="en", beam_size=1, condition_on_previous_text=False)
        return " ".join(segment.text.strip() for segment in segments)
