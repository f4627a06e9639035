"""A twin on stage: the generated actor, stamped, in a real OBS with the Twin filters."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray

from obs_twin.link.paths import user_dirs
from obs_twin.twin.synthetic.clip import make_actor_clip
from obs_twin.twin.synthetic.persona import PACK_NAME, build_persona_pack

from .bench import Bench
from .clip import Clip, write_clip
from .scene import Settings
from .sound import SAMPLE_RATE_HZ
from .twin import ACTOR, ENVIRONMENT, Twin, twin_collection, twin_filters

FPS = 30
ALL_FILTERS = ("obs_twin_face", "obs_twin_background", "obs_twin_voice")


def built_in_twin() -> Path:
    """The pack of the built-in persona, rendered if this version's is not there yet."""
    return build_persona_pack(user_dirs().cache / "builtin" / PACK_NAME)


def stamped_actor(
    folder: Path, size: tuple[int, int] = (640, 360), seconds: float = 12.0, rate_drops: bool = False
) -> Clip:
    """The generated actor with the frame counter along the edge, and the speech on disk. Rendered once, then cached."""
    source = make_actor_clip(folder / "actor.mkv", seconds, size, FPS)
    decode = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-i",
        str(source),
        "-f",
        "f32le",
        "-ac",
        "1",
        "-ar",
        str(SAMPLE_RATE_HZ),
        "-",
    ]
    speech = np.frombuffer(subprocess.run(decode, capture_output=True, check=True).stdout, np.float32)
    frames = round(seconds * FPS)
    return write_clip(folder / "stamped.mov", _pictures(source), speech, size, FPS, frames, rate_drops)


def _pictures(path: Path) -> Iterator[NDArray[np.uint8]]:
    reader = cv2.VideoCapture(str(path))
    while True:
        more, picture = reader.read()
        if not more:
            return
        yield np.asarray(picture, np.uint8)


class Stage:
    """Context manager: `clip` plays in OBS through our filters; inside, the twin is on.

    OBS_TWIN_HOME is the bench's own meanwhile, so that the command line's functions reach this engine.

    Args:
        clip: what the source plays.
        kinds: filter ids, first to last.
        delay_ms: the delay D.
        settings: of each filter, as `twin_filters` takes them (`face={...}`).
        wait: whether to wait until twin pictures leave OBS and the opening notice is over.
        canvas: OBS's canvas; the clip's size if None.
    """

    def __init__(
        self,
        clip: Clip,
        kinds: tuple[str, ...] = ("obs_twin_face", "obs_twin_voice"),
        delay_ms: int = 1500,
        settings: dict[str, Settings] | None = None,
        *,
        wait: bool = True,
        canvas: tuple[int, int] | None = None,
    ) -> None:
        collection = twin_collection(clip.path, twin_filters(kinds, delay_ms, **(settings or {})))
        self.clip = clip
        self.bench = Bench(collection, canvas or clip.size, FPS, environment=ENVIRONMENT)
        self.twin = Twin(self.bench)
        self._wait = wait
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Stage:
        built_in_twin()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.bench)
            home, cache = str(self.bench.twin_home), str(user_dirs().cache)
            stack.enter_context(mock.patch.dict(os.environ, OBS_TWIN_HOME=home, OBS_TWIN_CACHE=cache))
            if self._wait:
                self.twin.wait_showing()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def engine_log(self) -> str:
        """What the engine has logged."""
        path = user_dirs().logs / "engine.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def set_filter(self, name: str, **settings: Any) -> None:
        """Change a filter's settings as a user would."""
        self.bench.obs.ask("SetSourceFilterSettings", sourceName=ACTOR, filterName=name, filterSettings=settings)
