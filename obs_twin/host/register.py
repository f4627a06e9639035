"""Registering filter types with libobs, once per process.

There is no unregister, libobs keeps the caller's pointers, and scripts are unloaded and loaded again at will. So
everything that libobs may call lives in `Registry.keep` for as long as the process does (this module stays in
`sys.modules` when a script is unloaded), and a second registration only puts new handlers behind the same
trampolines.

A handler that raises must not take OBS down: each trampoline catches, counts, reports once, and answers with what
is safe for its callback (for a frame or a packet: the handler's own fail-closed path).
"""

from __future__ import annotations

import ctypes
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from obs_twin.host.libobs import CALLBACKS, LOG_ERROR, SOURCE_TYPE_FILTER, LibObs, SourceInfo


class FilterInstance(Protocol):
    """One filter on one source, as libobs drives it."""

    def update(self, settings: int) -> None: ...
    def destroy(self) -> None: ...
    def removed(self, parent: int) -> None: ...
    def properties(self) -> int: ...
    def video(self, frame: int) -> int: ...
    def audio(self, audio: int) -> int: ...
    def video_failed(self, frame: int) -> int | None: ...
    def audio_failed(self, audio: int) -> int | None: ...


class FilterType(Protocol):
    """One kind of filter."""

    id: str
    name: str
    output_flags: int

    def defaults(self, settings: int) -> None: ...
    def create(self, settings: int, source: int) -> FilterInstance: ...


class Registry:
    """The filter types of this process."""

    def __init__(self, obs: LibObs) -> None:
        self.obs = obs
        self.types: dict[str, FilterType] = {}
        self.instances: dict[int, FilterInstance] = {}
        self.errors: Counter[str] = Counter()
        self.keep: list[Any] = []
        self._next_handle = 1

    def register(self, filter_type: FilterType) -> None:
        """Make the type known to OBS. Doing it again replaces what is behind it and enables it."""
        known = filter_type.id in self.types
        self.types[filter_type.id] = filter_type
        if not known:
            self._register_new(filter_type.id)
        self.obs.obs_enable_source_type(filter_type.id.encode(), True)

    def _register_new(self, type_id: str) -> None:
        filter_type = self.types[type_id]
        info = SourceInfo()
        info.id = self.obs.permanent_string(type_id)
        info.type = SOURCE_TYPE_FILTER
        info.output_flags = filter_type.output_flags
        shown_name = self.obs.permanent_string(filter_type.name)
        handlers: dict[str, Callable[..., Any]] = {
            "get_name": lambda _type_data: shown_name,
            "create": lambda settings, source: self._create(type_id, settings, source),
            "destroy": self._destroy,
            "get_defaults": lambda settings: self._guard("defaults", self.types[type_id].defaults, settings),
            "get_properties": self._properties,
            "update": lambda data, settings: self._on(data, "update", settings),
            "filter_remove": lambda data, parent: self._on(data, "removed", parent),
        }
        if filter_type.output_flags & 1:
            handlers["filter_video"] = self._video
        else:
            handlers["filter_audio"] = self._audio
        for name, handler in handlers.items():
            trampoline = CALLBACKS[name](handler)
            self.keep.append(trampoline)
            setattr(info, name, trampoline)
        self.keep.append(info)
        self.obs.obs_register_source_s(ctypes.byref(info), ctypes.sizeof(info))

    # ---- what libobs calls --------------------------------------------------------------------------------------

    def _create(self, type_id: str, settings: int, source: int) -> int | None:
        try:
            instance = self.types[type_id].create(settings, source)
        except Exception:
            self._report("create")
            return None
        handle = self._next_handle
        self._next_handle += 1
        self.instances[handle] = instance
        return handle

    def _destroy(self, handle: int) -> None:
        instance = self.instances.pop(handle, None)
        if instance is not None:
            self._guard("destroy", instance.destroy)

    def _properties(self, handle: int) -> int | None:
        instance = self.instances.get(handle)
        if instance is None:
            return None
        try:
            return instance.properties()
        except Exception:
            self._report("properties")
            return None

    def _on(self, handle: int, what: str, argument: int) -> None:
        instance = self.instances.get(handle)
        if instance is not None:
            self._guard(what, getattr(instance, what), argument)

    def _video(self, handle: int, frame: int) -> int | None:
        instance = self.instances.get(handle)
        if instance is None:
            return None
        try:
            return instance.video(frame)
        except Exception:
            self._report("filter_video")
            return instance.video_failed(frame)

    def _audio(self, handle: int, audio: int) -> int | None:
        instance = self.instances.get(handle)
        if instance is None:
            return None
        try:
            return instance.audio(audio)
        except Exception:
            self._report("filter_audio")
            return instance.audio_failed(audio)

    def _guard(self, what: str, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception:
            self._report(what)

    def _report(self, what: str) -> None:
        """Count an error; write the first of each kind, and every thousandth, to OBS's log."""
        self.errors[what] += 1
        if self.errors[what] % 1000 == 1:
            self.obs.log(f"error {self.errors[what]} in {what}: {traceback.format_exc()}", LOG_ERROR)
