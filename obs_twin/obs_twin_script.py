"""The script that a user adds under Tools > Scripts. It only introduces OBS and the host to each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import obspython as obs

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from obs_twin.host import host as twin_host  # noqa: E402
from obs_twin.host.delay import DEFAULT_DELAY_MS, MAX_DELAY_MS, MIN_DELAY_MS  # noqa: E402
from obs_twin.host.filters import SAY_LINES  # noqa: E402

_EVENTS = {
    getattr(obs, name): event
    for name, event in (
        ("OBS_FRONTEND_EVENT_VIRTUALCAM_STARTED", "virtualcam_started"),
        ("OBS_FRONTEND_EVENT_VIRTUALCAM_STOPPED", "virtualcam_stopped"),
        ("OBS_FRONTEND_EVENT_STREAMING_STARTED", "streaming_started"),
        ("OBS_FRONTEND_EVENT_STREAMING_STOPPED", "streaming_stopped"),
        ("OBS_FRONTEND_EVENT_RECORDING_STARTED", "recording_started"),
        ("OBS_FRONTEND_EVENT_RECORDING_STOPPED", "recording_stopped"),
        ("OBS_FRONTEND_EVENT_EXIT", "exit"),
    )
    if hasattr(obs, name)
}


def _say(number: int) -> Callable[[Any], None]:
    return lambda host: host.say_line(number)


_HOTKEYS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "obs_twin.reveal": ("OBS Twin: reveal the real person (on/off)", lambda h: h.set_reveal(not h.reveal)),
    "obs_twin.panic": ("OBS Twin: panic - card and silence (on/off)", lambda h: h.set_panic(not h.panic)),
    "obs_twin.say_notice": ("OBS Twin: say the spoken notice now", lambda h: h.say_notice()),
    **{f"obs_twin.say_line_{n}": (f"OBS Twin: say line {n}", _say(n)) for n in range(1, SAY_LINES + 1)},
}
# A consent may be limited to some uses (`obs_twin.twin.consent.Use`); then the operator says which one this is.
_USES = {"purpose": "Purpose", "audience": "Audience", "event": "Event", "app": "Program"}
_hotkey_ids: dict[str, Any] = {}


def script_description() -> str:
    return (
        "<b>OBS Twin</b> - a consented, disclosed digital twin.<br>Adds the filters Twin Face, Twin Voice and Twin "
        "Background to OBS's own filter dialogs. Set keys for <i>reveal</i>, <i>panic</i>, the spoken notice and the "
        "twin's prepared lines in Settings &gt; Hotkeys."
    )


def script_load(settings: Any) -> None:
    host = twin_host.get()
    host.script_loaded()
    obs.obs_frontend_add_event_callback(_on_event)
    for name, (description, action) in _HOTKEYS.items():

        def pressed(down: bool, action: Any = action) -> None:
            if down:
                action(host)

        hotkey = obs.obs_hotkey_register_frontend(name, description, pressed)
        _hotkey_ids[name] = hotkey
        saved = obs.obs_data_get_array(settings, name)
        obs.obs_hotkey_load(hotkey, saved)
        obs.obs_data_array_release(saved)


def script_unload() -> None:
    twin_host.get().script_unloaded()


def script_save(settings: Any) -> None:
    for name, hotkey in _hotkey_ids.items():
        keys = obs.obs_hotkey_save(hotkey)
        obs.obs_data_set_array(settings, name, keys)
        obs.obs_data_array_release(keys)
    obs.obs_data_set_int(settings, "delay_ms", twin_host.get().delay.delay_ms)


def script_defaults(settings: Any) -> None:
    obs.obs_data_set_default_int(settings, "delay_ms", DEFAULT_DELAY_MS)


def script_update(settings: Any) -> None:
    if obs.obs_data_has_user_value(settings, "delay_ms"):
        twin_host.get().choose_delay(obs.obs_data_get_int(settings, "delay_ms"))
    twin_host.get().state_use({name: obs.obs_data_get_string(settings, f"use_{name}") or "" for name in _USES})


def script_properties() -> Any:
    props = obs.obs_properties_create()
    for name in ("trouble", "state"):
        obs.obs_properties_add_text(props, name, "", obs.OBS_TEXT_INFO)
    _show(props)
    delay = obs.obs_properties_add_int_slider(
        props, "delay_ms", "Delay of picture and voice", MIN_DELAY_MS, MAX_DELAY_MS, 50
    )
    obs.obs_property_int_set_suffix(delay, " ms")
    uses = obs.obs_properties_create()
    for name, label in _USES.items():
        obs.obs_properties_add_text(uses, f"use_{name}", label, obs.OBS_TEXT_DEFAULT)
    obs.obs_properties_add_group(
        props, "use", "What this is used for (only for a twin whose consent is limited)", obs.OBS_GROUP_NORMAL, uses
    )
    obs.obs_properties_add_button(props, "refresh", "Refresh", _refresh)
    obs.obs_properties_add_button(props, "reveal", "Reveal the real person (on/off)", _reveal)
    obs.obs_properties_add_button(props, "panic", "Panic: card and silence (on/off)", _panic)
    return props


def _show(props: Any) -> bool:
    (trouble, level), state = twin_host.get().panel_text()
    for name, text, text_level in (("trouble", trouble, level), ("state", state, obs.OBS_TEXT_INFO_NORMAL)):
        shown = obs.obs_properties_get(props, name)
        obs.obs_property_set_description(shown, text)
        obs.obs_property_text_set_info_type(shown, text_level)
        obs.obs_property_set_visible(shown, bool(text))
    return True


def _refresh(props: Any, prop: Any) -> bool:
    return _show(props)


def _reveal(props: Any, prop: Any) -> bool:
    host = twin_host.get()
    host.set_reveal(not host.reveal)
    return _show(props)


def _panic(props: Any, prop: Any) -> bool:
    host = twin_host.get()
    host.set_panic(not host.panic)
    return _show(props)


def _on_event(event: int) -> None:
    if event in _EVENTS:
        twin_host.get().frontend_event(_EVENTS[event])
