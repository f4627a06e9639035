"""What the recipe is made from: fetched networks, voices and texts, all from the list of models."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from obs_twin.zoo import whisper_encoder_onnx
from obs_twin.zoo.store import ModelStore, Progress

F32 = npt.NDArray[np.float32]

SPEECH = ("hibari_tts", *whisper_encoder_onnx.WEIGHTS)
KOKORO_PARTS = tuple(f"kokoro_part{number}" for number in (1, 2, 3, 4))
KOKORO_VOICES = "kokoro_voices"
PROSE = ("american_standard_version", "wordnet_noun", "wordnet_verb", "wordnet_adj", "wordnet_adv")
STYLE_SHAPE = (510, 256)  # a style per number of tokens


def fetch_all(progress: Progress | None = None) -> None:
    """Fetch everything that is missing (some 230 MB).

    Raises:
        ModelError: no network or a full disk.
    """
    ModelStore().fetch([*SPEECH, *KOKORO_PARTS, KOKORO_VOICES, *PROSE], progress)


def prose_files() -> Sequence[Path]:
    """The texts to read aloud.

    Raises:
        ModelError: they have not been fetched.
    """
    store = ModelStore()
    return [store.path(name) for name in PROSE]


def kokoro_model(folder: Path) -> Path:
    """Kokoro's ONNX file, put together in `folder` from its parts.

    Raises:
        ModelError: they have not been fetched.
    """
    whole = folder / "kokoro.onnx"
    if not whole.is_file():
        store = ModelStore()
        unfinished = whole.with_suffix(".part")
        with unfinished.open("wb") as target:
            for name in KOKORO_PARTS:
                with store.path(name).open("rb") as source:
                    shutil.copyfileobj(source, target)
        unfinished.replace(whole)
    return whole


def kokoro_styles() -> dict[str, F32]:
    """{voice: (510, 256)} of Kokoro's 54 voices.

    Raises:
        ModelError: they have not been fetched.
    """
    styles = {}
    with tarfile.open(ModelStore().path(KOKORO_VOICES)) as archive:
        for member in archive:
            path = Path(member.name)
            content = archive.extractfile(member)
            if path.parent.name == "voices" and path.suffix == ".bin" and content is not None:
                styles[path.stem] = np.frombuffer(content.read(), "<f4").reshape(STYLE_SHAPE)
    return dict(sorted(styles.items()))
