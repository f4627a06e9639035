"""libobs by ctypes: the structures and functions that the filters need, for OBS 29 to 32.

Why not obspython: it cannot register sources, and it holds Python's lock (the GIL) while libobs takes its own, which
deadlocks against OBS's audio and graphics threads. `ctypes.CDLL` drops the GIL during each call. Declared here and
nowhere else; the fields are those of libobs/obs-source.h and libobs/obs.h.

Registering a *prefix* of `obs_source_info` is legal (libobs copies as many bytes as it is told), so the structure
ends at `type_data`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

MAX_AV_PLANES = 8
SOURCE_TYPE_FILTER = 1
SOURCE_VIDEO, SOURCE_AUDIO, SOURCE_ASYNC = 1 << 0, 1 << 1, 1 << 2

LOG_ERROR, LOG_INFO = 100, 300

TEXT_DEFAULT, TEXT_INFO = 0, 3
TEXT_INFO_NORMAL, TEXT_INFO_WARNING, TEXT_INFO_ERROR = 0, 1, 2
PATH_FILE = 0
COMBO_LIST, COMBO_FORMAT_STRING = 2, 3
GROUP_NORMAL = 1


class Frame(ctypes.Structure):
    """`struct obs_source_frame`."""

    _fields_ = (
        ("data", ctypes.c_void_p * MAX_AV_PLANES),
        ("linesize", ctypes.c_uint32 * MAX_AV_PLANES),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("timestamp", ctypes.c_uint64),
        ("format", ctypes.c_int),
        ("color_matrix", ctypes.c_float * 16),
        ("full_range", ctypes.c_bool),
        ("max_luminance", ctypes.c_uint16),
        ("color_range_min", ctypes.c_float * 3),
        ("color_range_max", ctypes.c_float * 3),
        ("flip", ctypes.c_bool),
        ("flags", ctypes.c_uint8),
        ("trc", ctypes.c_uint8),
        ("refs", ctypes.c_long),
        ("prev_frame", ctypes.c_bool),
    )


class AudioData(ctypes.Structure):
    """`struct obs_audio_data`: planar float32, one plane a channel."""

    _fields_ = (
        ("data", ctypes.c_void_p * MAX_AV_PLANES),
        ("frames", ctypes.c_uint32),
        ("timestamp", ctypes.c_uint64),
    )


class AudioInfo(ctypes.Structure):
    """`struct obs_audio_info`."""

    _fields_ = (("samples_per_sec", ctypes.c_uint32), ("speakers", ctypes.c_int))


class VideoInfo(ctypes.Structure):
    """`struct obs_video_info` up to what is read here (the frame rate); libobs writes more behind it."""

    _fields_ = (
        ("graphics_module", ctypes.c_char_p),
        ("fps_num", ctypes.c_uint32),
        ("fps_den", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 256),
    )


_P = ctypes.c_void_p

CALLBACKS: dict[str, Any] = {
    "get_name": ctypes.CFUNCTYPE(_P, _P),
    "create": ctypes.CFUNCTYPE(_P, _P, _P),
    "destroy": ctypes.CFUNCTYPE(None, _P),
    "get_width": _P,
    "get_height": _P,
    "get_defaults": ctypes.CFUNCTYPE(None, _P),
    "get_properties": ctypes.CFUNCTYPE(_P, _P),
    "update": ctypes.CFUNCTYPE(None, _P, _P),
    "activate": _P,
    "deactivate": _P,
    "show": _P,
    "hide": _P,
    "video_tick": _P,
    "video_render": ctypes.CFUNCTYPE(None, _P, _P),
    "filter_video": ctypes.CFUNCTYPE(_P, _P, _P),
    "filter_audio": ctypes.CFUNCTYPE(_P, _P, _P),
    "enum_active_sources": _P,
    "save": _P,
    "load": _P,
    "mouse_click": _P,
    "mouse_move": _P,
    "mouse_wheel": _P,
    "focus": _P,
    "key_click": _P,
    "filter_remove": ctypes.CFUNCTYPE(None, _P, _P),
    "type_data": _P,
}
"""Members of `obs_source_info` after the first three, in order: a prototype where we may set one, else a pointer."""


class SourceInfo(ctypes.Structure):
    """`struct obs_source_info`, up to `type_data`."""

    _fields_ = (
        ("id", _P),
        ("type", ctypes.c_int),
        ("output_flags", ctypes.c_uint32),
        *CALLBACKS.items(),
    )


_str, _bool, _i64, _u32 = ctypes.c_char_p, ctypes.c_bool, ctypes.c_longlong, ctypes.c_uint32
_int, _double, _size = ctypes.c_int, ctypes.c_double, ctypes.c_size_t

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "obs_register_source_s": (None, (_P, _size)),
    "obs_enable_source_type": (None, (_str, _bool)),
    "obs_get_video_info": (_bool, (_P,)),
    "obs_get_audio_info": (_bool, (_P,)),
    "obs_get_audio_monitoring_device": (None, (_P, _P)),
    "obs_filter_get_parent": (_P, (_P,)),
    "obs_source_enabled": (_bool, (_P,)),
    "obs_source_get_name": (_str, (_P,)),
    "obs_source_get_settings": (_P, (_P,)),
    "obs_source_update": (None, (_P, _P)),
    "obs_source_update_properties": (None, (_P,)),
    "obs_source_set_sync_offset": (None, (_P, ctypes.c_int64)),
    "obs_source_get_sync_offset": (ctypes.c_int64, (_P,)),
    "obs_source_release_frame": (None, (_P, _P)),
    "obs_source_release": (None, (_P,)),
    "obs_source_get_weak_source": (_P, (_P,)),
    "obs_weak_source_get_source": (_P, (_P,)),
    "obs_weak_source_release": (None, (_P,)),
    "blog": (None, (_int, _str, _str)),
    "obs_data_release": (None, (_P,)),
    "obs_data_get_string": (_str, (_P, _str)),
    "obs_data_get_int": (_i64, (_P, _str)),
    "obs_data_get_double": (_double, (_P, _str)),
    "obs_data_get_bool": (_bool, (_P, _str)),
    "obs_data_has_user_value": (_bool, (_P, _str)),
    "obs_data_set_int": (None, (_P, _str, _i64)),
    "obs_data_set_default_string": (None, (_P, _str, _str)),
    "obs_data_set_default_int": (None, (_P, _str, _i64)),
    "obs_data_set_default_double": (None, (_P, _str, _double)),
    "obs_data_set_default_bool": (None, (_P, _str, _bool)),
    "obs_properties_create": (_P, ()),
    "obs_properties_add_bool": (_P, (_P, _str, _str)),
    "obs_properties_add_int_slider": (_P, (_P, _str, _str, _int, _int, _int)),
    "obs_properties_add_float_slider": (_P, (_P, _str, _str, _double, _double, _double)),
    "obs_properties_add_text": (_P, (_P, _str, _str, _int)),
    "obs_properties_add_group": (_P, (_P, _str, _str, _int, _P)),
    "obs_properties_add_path": (_P, (_P, _str, _str, _int, _str, _str)),
    "obs_properties_add_list": (_P, (_P, _str, _str, _int, _int)),
    "obs_property_list_add_string": (_size, (_P, _str, _str)),
    "obs_property_int_set_suffix": (None, (_P, _str)),
    "obs_property_set_long_description": (None, (_P, _str)),
    "obs_property_text_set_info_type": (None, (_P, _int)),
    "obs_property_text_set_info_word_wrap": (None, (_P, _bool)),
}


def _open() -> ctypes.CDLL:
    """The libobs that this process already runs."""
    if sys.platform == "win32":
        return ctypes.CDLL("obs.dll")
    # OBS itself links libobs, so its symbols are in the process's own name space on Linux and macOS.
    process = ctypes.CDLL(None)
    if hasattr(process, "obs_register_source_s"):
        return process
    return ctypes.CDLL("libobs.0.dylib" if sys.platform == "darwin" else "libobs.so.0")


class LibObs:
    """Typed functions of libobs, as attributes under their own names.

    Raises:
        OSError: this process is not OBS.
        AttributeError: a function that every OBS from 28 on has is missing; the message names it.
    """

    def __init__(self) -> None:
        self._library = _open()
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"this OBS has no {name}; OBS Twin needs OBS Studio 28 or newer")

    def permanent_string(self, text: str) -> int:
        """Address of a C string that lives as long as the process. libobs keeps the caller's pointer to a source's
        id; libobs's own allocator would count the string as leaked, so it is a Python object that is never freed."""
        buffer = ctypes.create_string_buffer(text.encode())
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(buffer))
        return ctypes.addressof(buffer)

    def log(self, text: str, level: int = LOG_INFO) -> None:
        """One line in OBS's log."""
        self.blog(level, b"%s", f"[OBS Twin] {text}".encode())

    def fps(self) -> float:
        """OBS's output frame rate; 60 when OBS has not started its video yet."""
        info = VideoInfo()
        if not self.obs_get_video_info(ctypes.byref(info)) or not info.fps_den:
            return 60.0
        return float(info.fps_num / info.fps_den)

    def audio_format(self) -> tuple[int, int]:
        """(samples a second, channels) of OBS's mix; OBS converts every source to it before filters see it."""
        info = AudioInfo()
        if not self.obs_get_audio_info(ctypes.byref(info)):
            return 48_000, 2
        # speaker_layout: MONO 1, STEREO 2, 2.1 3, 4.0 4, 4.1 5, 5.1 6, 7.1 8: the number is the channel count.
        return int(info.samples_per_sec), max(1, int(info.speakers))

    def monitoring_device(self) -> tuple[str, str]:
        """(name, id) of the device that OBS monitors to."""
        name, device = ctypes.c_char_p(), ctypes.c_char_p()
        self.obs_get_audio_monitoring_device(ctypes.byref(name), ctypes.byref(device))
        return (name.value or b"").decode(errors="replace"), (device.value or b"").decode(errors="replace")

    def source_name(self, source: int) -> str:
        """A source's name as the user sees it."""
        return (self.obs_source_get_name(source) or b"").decode(errors="replace")

    def text(self, settings: int, key: str) -> str:
        """A string setting."""
        return (self.obs_data_get_string(settings, key.encode()) or b"").decode(errors="replace")
