"""What the user reads: the script's panel and the state lines of the filters' panes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from obs_twin.host.libobs import TEXT_INFO_ERROR, TEXT_INFO_NORMAL, TEXT_INFO_WARNING
from obs_twin.host.sound import SoundStream
from obs_twin.host.video import VideoStream

if TYPE_CHECKING:
    from obs_twin.host.filters import TwinFilter
    from obs_twin.host.host import Host

PANE_ONLY = ("Model:", "Runs on:", "Delay:", "Frames not")
COUNTER_WORDS = {
    "late": "stood in by a neighbour (the engine was late)",
    "not_finished": "nothing finished in time",
    "held": "last twin picture held",
    "engine_fallback": "no face, face turned away or covered, or consent missing",
    "starting": "start-up",
    "slate": "opening notice",
    "panic": "panic",
    "revealed": "revealed on request",
    "test_signal": "calibration",
    "unsupported_format": "pixel format not supported",
    "silent": "silence before the first voice",
}

VIEWERS_GET = {
    "fallback": "Viewers do not get the twin now: no face is seen, or it is turned away or covered.",
    "card": "Viewers get the card now: pictures are not finished in time. Raise the delay, close other programs, or "
    "use a smaller picture.",
    "hold": "Viewers get the last twin picture now: pictures are not finished in time.",
}
"""What to do about it, where a stream has shown something else than the twin for some time."""


def overview(host: Host) -> tuple[tuple[str, int], str]:
    """((what needs doing, its level), the rest of the state), in a few lines each."""
    if host.engine.problem:
        return (f"Engine: {host.engine.problem}.", TEXT_INFO_ERROR), ""
    if not host.engine.ready:
        return ("Engine: starting ... (after an update this may take a minute)", TEXT_INFO_WARNING), ""
    lines = [f"Engine: running (restarted {host.engine.restarts} times)", _delay_line(host)]
    trouble: list[str] = []
    level = TEXT_INFO_NORMAL
    if host.panic:
        trouble.append("PANIC is on: viewers see the card and hear nothing.")
        level = TEXT_INFO_WARNING
    if host.reveal:
        trouble.append("REVEAL is on: viewers see and hear the real person.")
        level = TEXT_INFO_WARNING
    streams = host.attached_streams()
    if not streams:
        lines.append("No Twin filter is on a source yet: right-click a source > Filters > +.")
    for number, stream, twin_filters in streams:
        for twin_filter in twin_filters:
            text, filter_level = filter_text(host, twin_filter, number, stream)
            title = {"face": "Twin Face", "voice": "Twin Voice", "background": "Twin Background"}[twin_filter.kind]
            # What viewers get, consent and figures; the filter's own pane has the rest.
            brief = [line for line in text.split("\n") if not line.startswith(PANE_ONLY)]
            (trouble if filter_level else lines).append(f"\n{title} on {stream.name}: " + "\n    ".join(brief))
            level = max(level, filter_level)
            if not host.obs.obs_source_enabled(twin_filter.source) and twin_filter.kind != "background":
                what = "face" if twin_filter.kind == "face" else "voice"
                trouble.append(f"{title} on {stream.name} is switched OFF: viewers get the real {what}.")
                level = TEXT_INFO_ERROR
    return ("\n".join(trouble).strip(), level), "\n".join(lines)


def filter_text(host: Host, twin_filter: TwinFilter, number: int, stream: VideoStream | SoundStream) -> tuple[str, int]:
    """State of one filter: first a line that says what viewers get, then figures."""
    if host.engine.problem:
        return f"{host.engine.problem}. Viewers get the card or silence.", TEXT_INFO_ERROR
    state: dict[str, Any] = host.status.get("streams", {}).get(str(number), {}).get(twin_filter.kind, {})
    if isinstance(stream, VideoStream) and stream.problem:
        return stream.problem, TEXT_INFO_ERROR
    if state.get("problem"):
        return str(state["problem"]), TEXT_INFO_ERROR
    trouble = ""
    if isinstance(stream, VideoStream) and twin_filter.kind == "face" and state.get("headline"):
        trouble = VIEWERS_GET.get(stream.steady.showing, "")
    lines = [trouble or str(state.get("headline") or "Starting ...")]
    if state.get("note"):
        lines.append(str(state["note"]))
    if state.get("consent"):
        lines.append(f"Consent: {str(state['consent']).removeprefix('consent ')}")
    if state.get("figures"):
        lines.append(str(state["figures"]))
    if state.get("bound"):
        lines.append(f"Model: {str(state['bound']).removeprefix('Voice: ')}")
    if state.get("provider"):
        lines.append(f"Runs on: {state['provider']}")
    lines.append(_delay_line(host))
    counted = [f"{words}: {stream.counts[name]}" for name, words in COUNTER_WORDS.items() if stream.counts.get(name)]
    if counted and not isinstance(stream, SoundStream):
        lines.append("Frames not from the twin - " + "; ".join(counted))
    if isinstance(stream, SoundStream) and stream.counts.get("late"):
        lines.append(f"Silence because the voice was not ready in time: {stream.counts['late']} packets")
    lines += [str(line) for part in ("device", "advice") for line in state.get(part) or ()]
    return "\n".join(lines), TEXT_INFO_WARNING if trouble or state.get("warning") else TEXT_INFO_NORMAL


def voice_delays(host: Host, number: int) -> list[str]:
    """What each delay would cost and give for the voice of stream `number`, a line each."""
    state: dict[str, Any] = host.status.get("streams", {}).get(str(number), {}).get("voice", {})
    return [str(line) for line in state.get("delays") or ()]


def _delay_line(host: Host) -> str:
    shift_ms = host.delay.shift_ns / 1e6
    calibrated = "measured" if host.status.get("calibrated") else "not measured yet: run obs-twin calibrate"
    return f"Delay: {host.delay.delay_ms} ms; picture against voice {shift_ms:+.0f} ms ({calibrated})"
