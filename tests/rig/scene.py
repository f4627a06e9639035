"""Scene collections as OBS saves them, built from a few dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Settings = dict[str, Any]

MONITOR_OFF = 0
MONITOR_ONLY = 1
MONITOR_AND_OUTPUT = 2


@dataclass(frozen=True)
class Filter:
    """A filter on a source; `kind` is its id, such as `obs_twin_face`."""

    kind: str
    name: str
    settings: Settings = field(default_factory=dict)
    enabled: bool = True

    def to_json(self) -> Settings:
        return {
            "id": self.kind,
            "versioned_id": self.kind,
            "name": self.name,
            "settings": self.settings,
            "enabled": self.enabled,
        }


@dataclass(frozen=True)
class Source:
    """An input. `sync_offset_ms` is OBS's own audio sync offset."""

    kind: str
    name: str
    settings: Settings = field(default_factory=dict)
    filters: tuple[Filter, ...] = ()
    monitoring: int = MONITOR_OFF
    sync_offset_ms: float = 0.0
    muted: bool = False

    def to_json(self) -> Settings:
        return {
            "id": self.kind,
            "versioned_id": self.kind,
            "name": self.name,
            "settings": self.settings,
            "mixers": 255,
            "volume": 1.0,
            "enabled": True,
            "muted": self.muted,
            "flags": 0,
            "monitoring_type": self.monitoring,
            "sync": round(self.sync_offset_ms * 1e6),
            "filters": [each.to_json() for each in self.filters],
        }


def media(name: str, path: Path, filters: tuple[Filter, ...] = (), monitoring: int = MONITOR_AND_OUTPUT) -> Source:
    """A media source that loops a file, decoded on the CPU, heard in the monitoring."""
    settings = {
        "local_file": str(path),
        "is_local_file": True,
        "looping": True,
        "hw_decode": False,
        "close_when_inactive": False,
        "restart_on_activate": False,
    }
    return Source("ffmpeg_source", name, settings, filters, monitoring)


def camera(name: str, device: str, filters: tuple[Filter, ...] = ()) -> Source:
    """A camera of Video4Linux, such as /dev/video0."""
    return Source("v4l2_input", name, {"device_id": device, "auto_reset": True}, filters)


def microphone(name: str, device: str = "default", filters: tuple[Filter, ...] = ()) -> Source:
    """A PulseAudio input, heard in the monitoring."""
    return Source("pulse_input_capture", name, {"device_id": device}, filters, MONITOR_AND_OUTPUT)


def picture(name: str, path: Path, filters: tuple[Filter, ...] = ()) -> Source:
    return Source("image_source", name, {"file": str(path)}, filters)


def colour(name: str, bgr: tuple[int, int, int], width: int, height: int) -> Source:
    blue, green, red = bgr
    value = 0xFF000000 | blue << 16 | green << 8 | red
    return Source("color_source_v3", name, {"color": value, "width": width, "height": height})


@dataclass(frozen=True)
class Script:
    """An entry of Tools > Scripts."""

    path: Path
    settings: Settings = field(default_factory=dict)

    def to_json(self) -> Settings:
        return {"path": str(self.path), "settings": self.settings}


@dataclass(frozen=True)
class SceneCollection:
    """One scene that shows `sources`, the first at the bottom, each stretched to the canvas."""

    sources: tuple[Source, ...]
    scripts: tuple[Script, ...] = ()
    name: str = "Rig"
    scene: str = "Scene"

    def to_json(self, canvas: tuple[int, int]) -> Settings:
        width, height = canvas
        items = [
            {
                "name": source.name,
                "id": number,
                "visible": True,
                "locked": False,
                "pos": {"x": 0.0, "y": 0.0},
                "scale": {"x": 1.0, "y": 1.0},
                "align": 5,
                "bounds_type": 2,  # OBS_BOUNDS_SCALE_INNER
                "bounds_align": 0,
                "bounds": {"x": float(width), "y": float(height)},
            }
            for number, source in enumerate(self.sources, 1)
        ]
        scene = {
            "id": "scene",
            "versioned_id": "scene",
            "name": self.scene,
            "settings": {"items": items, "id_counter": len(items), "custom_size": False},
        }
        return {
            "name": self.name,
            "current_scene": self.scene,
            "current_program_scene": self.scene,
            "scene_order": [{"name": self.scene}],
            "sources": [*(source.to_json() for source in self.sources), scene],
            "groups": [],
            "transitions": [],
            "quick_transitions": [],
            "saved_projectors": [],
            "current_transition": "Cut",
            "transition_duration": 300,
            "preview_locked": True,
            "scaling_enabled": False,
            "modules": {"scripts-tool": [script.to_json() for script in self.scripts]},
        }
