"""Opening a voice model by its kind. A further kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from obs_twin.voice.model import VoiceModel, VoiceModelError, VoiceSettings
from obs_twin.voice.neural import open_neural
from obs_twin.voice.rvc.voice import RvcVoice
from obs_twin.voice.target import VoiceTarget
from obs_twin.voice.world import WorldVoice

Opener = Callable[[Mapping[str, Path], int, float, VoiceSettings], VoiceModel]


def _file(files: Mapping[str, Path], role: str, kind: str) -> Path:
    if role not in files:
        found = ", ".join(sorted(files)) or "no file"
        raise VoiceModelError(f'a voice of kind "{kind}" needs the file "{role}"; the twin pack has {found}')
    return files[role]


def _open_world(
    files: Mapping[str, Path], sample_rate_hz: int, delay_budget_ms: float, settings: VoiceSettings
) -> VoiceModel:
    target = VoiceTarget.load(_file(files, "target", "world"))
    return WorldVoice(target, sample_rate_hz=sample_rate_hz, delay_budget_ms=delay_budget_ms, settings=settings)


def _open_rvc(
    files: Mapping[str, Path], sample_rate_hz: int, delay_budget_ms: float, settings: VoiceSettings
) -> VoiceModel:
    for role in ("synthesizer", "content"):
        _file(files, role, "rvc")
    return RvcVoice(files, sample_rate_hz=sample_rate_hz, delay_budget_ms=delay_budget_ms, settings=settings)


def _open_neural(
    files: Mapping[str, Path], sample_rate_hz: int, delay_budget_ms: float, settings: VoiceSettings
) -> VoiceModel:
    _file(files, "target", "neural")
    return open_neural(files, sample_rate_hz=sample_rate_hz, delay_budget_ms=delay_budget_ms, settings=settings)


KINDS: Mapping[str, Opener] = {"neural": _open_neural, "rvc": _open_rvc, "world": _open_world}


def open_voice(
    kind: str,
    files: Mapping[str, Path],
    *,
    sample_rate_hz: int,
    delay_budget_ms: float,
    settings: VoiceSettings | None = None,
) -> VoiceModel:
    """Open a voice for one mono stream of ``sample_rate_hz`` that may lag ``delay_budget_ms`` in all.

    ``files`` gives the kind's files by their role: "world" needs "target" (target.json), "neural" the same and
    may have "decoder" (decoder.onnx), "rvc" needs "synthesizer" and
    "content" and may have "f0", "index" and "settings". Raises ``VoiceModelError`` for an unknown kind, a missing or
    damaged file, an impossible rate, or a delay too short.
    """
    if kind not in KINDS:
        raise VoiceModelError(f'unknown kind of voice "{kind}"; this program knows {", ".join(sorted(KINDS))}')
    return KINDS[kind](files, sample_rate_hz, delay_budget_ms, settings or VoiceSettings())
