"""Networks of the neural voice, opened once for the whole process: a changed setting must not cost a pause."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.provider import OnnxModel, open_onnx


def open_session(path: Path) -> OnnxModel:
    """The network at ``path`` on the processor, one thread: the fastest for nets as small as these.

    Raises ``ModelError`` when it is missing or damaged.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ModelError(f"There is no model file at {path}. Run: obs-twin models fetch") from error
    return _opened(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _opened(path: Path, _changed_ns: int, _size: int) -> OnnxModel:
    return open_onnx(path, providers=())
