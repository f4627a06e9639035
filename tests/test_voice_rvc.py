"""An RVC voice as a stream: positions, pitch, formants, index, protect, loudness, threshold, gate and joins."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

from obs_twin.voice.model import F32, VoiceModel, VoiceModelError, VoiceSettings
from obs_twin.voice.registry import open_voice
from obs_twin.voice.rvc.layout import choose
from obs_twin.voice.rvc.settings import RvcSettings
from obs_twin.voice.rvc.sola import SolaJoiner
from tests import rvc_models as models

RATE = 48_000
FLAT = {"rms_mix_rate": 1.0, "index_rate": 0.0, "protect": 0.5}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rvc")
    return {
        "synthesizer": models.synthesizer(folder / "voice.onnx", models.W_OKADA),
        "content": models.content(folder / "content.onnx"),
        "f0": models.rmvpe(folder / "rmvpe.onnx"),
    }


def voice(
    files: dict[str, Path], d_ms: float = 410, rate: int = RATE, gate: bool = False, **options: Any
) -> VoiceModel:
    wanted = VoiceSettings(gate=gate, options={**FLAT, **options})
    return open_voice("rvc", files, sample_rate_hz=rate, delay_budget_ms=d_ms, settings=wanted)


def cut(model: VoiceModel, x: F32, sizes: list[int]) -> F32:
    """Stream ``x`` in pushes of the given sizes, over and over."""
    parts = []
    at = index = given_out = 0
    while at < len(x):
        size = sizes[index % len(sizes)]
        parts.append(model.push(x[at : at + size]))
        at += size
        index += 1
        given_out += len(parts[-1])
        assert 0 <= min(at, len(x)) - given_out <= model.lookahead_samples
    parts.append(model.flush())
    return np.concatenate(parts)


def syllables(seconds: float, rate: int = RATE, f0_hz: float = 220.0) -> F32:
    """A tone with overtones that comes and goes, loud and soft."""
    t = np.arange(int(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * f0_hz * n * t) / n for n in range(1, 8))
    return np.asarray(0.2 * tone * np.clip(np.sin(2 * np.pi * 1.7 * t), 0, 1) * (0.6 + 0.4 * np.sin(t)), np.float32)


def envelope(x: F32, rate: int = RATE) -> np.ndarray:
    hop = rate // 100
    return np.asarray(np.sqrt((x[: len(x) // hop * hop].reshape(-1, hop) ** 2).mean(axis=1)))


def pitch_hz(x: F32, rate: int = RATE) -> float:
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 1 << 20))
    return float(np.fft.rfftfreq(1 << 20, 1 / rate)[spectrum[100:].argmax() + 100])


@pytest.mark.parametrize("d_ms", [210, 410, 910, 4910])
def test_positions_hold_at_every_delay(files: dict[str, Path], d_ms: int) -> None:
    model = voice(files, d_ms)
    assert model.lookahead_samples / RATE * 1000 <= d_ms - 40
    x = syllables(3.0)
    y = cut(model, x, [1024])
    assert len(y) == len(x)
    a, b = envelope(x), envelope(y)
    assert np.corrcoef(a, b)[0, 1] > 0.95
    lag = int(np.argmax(np.correlate(b - b.mean(), a - a.mean(), "full"))) - (len(a) - 1)
    assert abs(lag) <= 1  # of 10 ms
    other = cut(voice(files, d_ms), x, [441, 17, 4800])
    assert np.abs(other - y).max() < 1e-3


def test_the_longer_the_delay_the_longer_the_context() -> None:
    layouts = [
        choose(RvcSettings(), budget_ms=b, fixed_ms=13, window_frames=None, content_frames=None)
        for b in (210, 410, 910, 1410)
    ]
    for shorter, longer in pairwise(layouts):
        assert longer.block > shorter.block
        assert longer.extra >= shorter.extra
    with pytest.raises(VoiceModelError, match="ms more delay"):
        choose(RvcSettings(), budget_ms=100, fixed_ms=13, window_frames=None, content_frames=None)
    with pytest.raises(VoiceModelError, match="block_ms"):
        choose(RvcSettings(block_ms=1000), budget_ms=400, fixed_ms=13, window_frames=None, content_frames=None)
    chosen = choose(
        RvcSettings(block_ms=250, extra_ms=2500), budget_ms=910, fixed_ms=13, window_frames=None, content_frames=None
    )
    assert (chosen.block, chosen.extra) == (24, 250)


def test_pitch_and_formant(files: dict[str, Path]) -> None:
    x = syllables(1.2, f0_hz=220)
    part = slice(RATE // 20, RATE // 4)
    assert pitch_hz(cut(voice(files), x, [1024])[part]) == pytest.approx(220, rel=0.01)
    assert pitch_hz(cut(voice(files, pitch=12), x, [1024])[part]) == pytest.approx(440, rel=0.01)
    # The contract voice has no formants to move, but its pitch must not move with them, nor its pace.
    moved = cut(voice(files, formant=3), x, [1024])
    assert len(moved) == len(x)
    assert pitch_hz(moved[part]) == pytest.approx(220, rel=0.01)
    proposed = cut(voice(files, proposed_pitch_hz=330.0), syllables(4.0), [1024])
    assert pitch_hz(proposed[-int(0.85 * RATE) :]) == pytest.approx(330, rel=0.03)


def test_no_clicks_where_blocks_join(files: dict[str, Path]) -> None:
    t = np.arange(3 * RATE) / RATE
    x = np.asarray(0.2 * np.sign(np.sin(2 * np.pi * 220 * t)), np.float32)
    for d_ms in (210, 410):
        y = cut(voice(files, d_ms), x, [1024])[RATE // 2 : -RATE // 2]
        # A sine's second difference is at most its amplitude times the angle squared.
        assert np.abs(np.diff(y, 2)).max() < 2.0 * 0.2 * (2 * np.pi * 220 / RATE) ** 2 + 2e-3
        assert envelope(y).min() > 0.8 * envelope(y).max()


def test_threshold_gate_and_noise(files: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    hiss = (0.003 * rng.standard_normal(3 * RATE)).astype(np.float32)
    soft = np.asarray(0.02 * np.sign(syllables(2.0, f0_hz=220)), np.float32)
    heard = cut(voice(files), soft, [1024])
    quiet = cut(voice(files, threshold_db=-30.0), soft, [1024])
    assert envelope(quiet).max() < 0.1 * envelope(heard).mean()
    gated = cut(voice(files, gate=True), hiss, [1024])
    assert not gated[2 * RATE :].any()
    assert not cut(voice(files, gate=True), np.zeros(RATE, np.float32), [480]).any()
    speech = np.concatenate([hiss, syllables(2.0) + hiss[: 2 * RATE], hiss])
    out = envelope(cut(voice(files, gate=True), speech, [1024]))
    assert out[300:500].max() > 0.05
    assert not out[-100:].any()


def test_loudness_follows_the_microphone_as_far_as_asked(files: dict[str, Path]) -> None:
    x = syllables(3.0)
    a = envelope(x)
    loud = a > 0.05
    own, followed = (envelope(cut(voice(files, rms_mix_rate=rate), x, [1024])) for rate in (1.0, 0.0))
    spread = [float(np.std(np.log(e[loud] / a[loud]))) for e in (own, followed)]
    assert abs(np.log(followed[loud] / a[loud]).mean()) < 0.15
    assert abs(np.log(own[loud] / a[loud]).mean()) > 0.2
    assert spread[1] < 0.4


def test_index_and_protect(files: dict[str, Path], tmp_path: Path) -> None:
    frames = np.full((50, 768), 0.5, np.float32)
    np.save(tmp_path / "index.npy", frames)
    with_index = {**files, "index": tmp_path / "index.npy"}
    x = np.concatenate([syllables(0.3), (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)])
    levels = [envelope(cut(voice(with_index, index_rate=rate), x, [1024])).max() for rate in (0.0, 0.5, 1.0)]
    assert levels[0] < levels[1] < levels[2] == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    model = voice(with_index, index_rate=1.0)
    assert "Index: 50 frames" in "\n".join(model.bound)  # type: ignore[attr-defined]
    np.save(tmp_path / "index.npy", frames[:, :256])
    with pytest.raises(VoiceModelError, match="frames of 256 numbers, and this voice has 768"):
        voice({**files, "index": tmp_path / "index.npy"}, index_rate=1.0)


@pytest.mark.parametrize("method", ["swift-f0", "harvest", "dio", "rmvpe", "auto"])
def test_every_f0_method(files: dict[str, Path], method: str) -> None:
    x = syllables(1.2)
    y = cut(voice(files, f0_method=method), x, [1024])
    assert pitch_hz(y[RATE // 20 : RATE // 4]) == pytest.approx(220, rel=0.02)
    assert (method if method != "auto" else "rmvpe") in voice(files, f0_method=method).provider
    without = {role: path for role, path in files.items() if role != "f0"}
    if method == "rmvpe":
        with pytest.raises(VoiceModelError, match="--rmvpe FILE"):
            voice(without, f0_method=method)
    if method == "auto":
        assert "swift-f0" in voice(without).provider


@pytest.mark.parametrize(
    ("synthesizer", "content"),
    [
        (
            {"names": models.OFFICIAL, "channels": 256, "rate_hz": 48_000, "half": True},
            {"channels": (256,), "half": True},
        ),
        ({"names": models.OFFICIAL, "frames": 101}, {}),
        ({"names": models.W_OKADA, "f0": False, "rate_hz": 32_000}, {"transposed": True}),
        ({"names": models.W_OKADA}, {"samples": 16_000}),
        ({"names": models.W_OKADA, "frames": 64}, {"samples": 24_080, "padded": True}),
    ],
)
def test_dialects_run_streamed(tmp_path: Path, synthesizer: dict[str, Any], content: dict[str, Any]) -> None:
    files = {
        "synthesizer": models.synthesizer(tmp_path / "voice.onnx", **synthesizer),
        "content": models.content(tmp_path / "content.onnx", **content),
    }
    x = syllables(2.0)
    for options in ({}, {"formant": -2.0}):
        y = cut(voice(files, **options), x, [1024])
        assert len(y) == len(x)
        a, b = envelope(x), envelope(y)
        assert np.corrcoef(a, b)[0, 1] > 0.9, options
        lag = int(np.argmax(np.correlate(b - b.mean(), a - a.mean(), "full"))) - (len(a) - 1)
        assert abs(lag) <= 1


@settings(max_examples=6, deadline=None)
@given(
    rate=st.sampled_from([8_000, 16_000, 44_100, 48_000, 96_000]),
    sizes=st.lists(st.integers(1, 10_000), min_size=1, max_size=4),
    count=st.integers(0, 60_000),
    bad=st.sampled_from([np.nan, np.inf, -1e30, 0.0]),
)
def test_as_many_samples_come_out_as_went_in(
    files: dict[str, Path], rate: int, sizes: list[int], count: int, bad: float
) -> None:
    x = syllables(count / rate + 1, rate)[:count]
    x[::1013] = bad
    model = voice(files, rate=rate, gate=True)
    for _ in range(2):  # and again after a flush
        y = cut(model, x, [*sizes, 997])
        assert len(y) == count
        assert np.isfinite(y).all()
        assert np.abs(y).max(initial=0) <= 1


def test_after_a_reset_it_starts_afresh(files: dict[str, Path]) -> None:
    model = voice(files)
    x = syllables(1.0)
    first = cut(model, x, [1024])
    model.push(x[: RATE // 3])
    model.reset()
    assert np.abs(cut(model, x, [1024]) - first).max() < 1e-3


def test_sola_finds_where_a_block_fits_best() -> None:
    joiner = SolaJoiner(1000, 100, 60)
    wave = np.sin(2 * np.pi * np.arange(4000) / 97).astype(np.float32)
    before, after = joiner.needed
    first = joiner.push(wave[: before + 1000 + after])
    shifted = wave[1000 + 31 :][: before + 1000 + after]  # the next block was made 31 samples early
    second = joiner.push(shifted)
    joined = np.concatenate([first, second])
    assert len(joined) == 2000
    assert np.abs(np.diff(joined, 2)).max() < 1.1 * (2 * np.pi / 97) ** 2


@pytest.mark.parametrize(
    "options",
    [{"pitch": 99}, {"protect": "x"}, {"f0_method": "crepe"}, {"speaker_id": 0.5}, {"no_such": 1}, {"block_ms": 3}],
)
def test_wrong_settings_are_refused_in_words(options: dict[str, Any]) -> None:
    with pytest.raises(VoiceModelError, match="RVC setting"):
        RvcSettings().changed(options)


def test_settings_travel_in_the_pack(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(RvcSettings(pitch=12, f0_method="dio").encode())
    assert RvcSettings.load(path) == RvcSettings(pitch=12, f0_method="dio")
    assert "dio" in open_voice("rvc", {**files, "settings": path}, sample_rate_hz=RATE, delay_budget_ms=410).provider
    for broken in ("", "[]", "{}", '{"format": "obs-twin rvc settings", "pitch": "high"}'):
        path.write_text(broken)
        with pytest.raises(VoiceModelError):
            RvcSettings.load(path)
    with pytest.raises(VoiceModelError, match='needs the file "content"'):
        open_voice("rvc", {"synthesizer": files["synthesizer"]}, sample_rate_hz=RATE, delay_budget_ms=410)
    with pytest.raises(VoiceModelError, match="cannot be read"):
        voice({**files, "content": tmp_path / "gone.onnx"})
