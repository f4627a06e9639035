"""Reading the tensors of a PyTorch checkpoint without PyTorch, and without running any code that is in it.

Checkpoints are pickles, and a pickle can call any function when it is loaded. Here only what a state dictionary
needs is known, and everything else is refused. Only the format of PyTorch before 1.6 is read: five pickles (mark,
version, machine, object, keys of the storages), then for every storage an int64 count and its raw values.
"""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from obs_twin.zoo.catalogue import ModelError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": np.float32, "DoubleStorage": np.float64, "LongStorage": np.int64, "IntStorage": np.int32}

Array = npt.NDArray[Any]


class _Storage:
    """Raw values that tensors are views of; filled when the end of the file is read."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.values: Array = np.zeros(0, self.dtype)


class _Tensor:
    """A view of a storage, resolved once the storage has its values."""

    def __init__(self, storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self._storage, self._offset, self._size, self._stride = storage, offset, size, stride

    def array(self) -> Array:
        values = self._storage.values
        last = self._offset + sum((n - 1) * step for n, step in zip(self._size, self._stride, strict=True))
        if min((*self._size, self._offset, *self._stride, 0)) < 0 or last >= max(len(values), 1):
            raise ValueError("a tensor reaches beyond its storage")
        strides = tuple(step * values.itemsize for step in self._stride)
        return np.lib.stride_tricks.as_strided(values[self._offset :], self._size, strides).copy()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return lambda storage, offset, size, stride, *_rest: _Tensor(storage, offset, size, stride)
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a table of numbers does not need")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key = pid[0], pid[1], pid[2]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown reference {kind!r}")
        return self._storages.setdefault(str(key), _Storage(dtype))


def read_legacy_checkpoint(path: Path) -> Any:
    """The object that `torch.save` (before 1.6) wrote to `path`, with every tensor as a numpy array.

    Raises:
        ModelError: missing, truncated, of another format, or holding more than tensors and plain values.
    """
    try:
        with path.open("rb") as file:
            storages: dict[str, _Storage] = {}
            if pickle.Unpickler.load(_Unpickler(file, storages)) != LEGACY_MAGIC:
                raise ValueError("the mark of the format is not there")
            for _version_and_machine in range(2):
                _Unpickler(file, storages).load()
            content = _Unpickler(file, storages).load()
            for key in _Unpickler(file, storages).load():
                storage = storages.setdefault(str(key), _Storage(np.uint8))
                count = int(np.frombuffer(file.read(8), np.int64)[0])
                storage.values = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype, count)
    except (OSError, ValueError, IndexError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path.name} cannot be read as a PyTorch checkpoint: {error}. Fetch it again.") from error
    return _resolved(content)


def _resolved(item: Any) -> Any:
    if isinstance(item, _Tensor):
        return item.array()
    if isinstance(item, dict):
        return {key: _resolved(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_resolved(value) for value in item]
    return item
