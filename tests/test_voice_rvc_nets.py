"""Every dialect of RVC, ContentVec and RMVPE is bound, proven by what comes out; the wrong file is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from obs_twin.voice.model import VoiceModelError
from obs_twin.voice.rvc.content import ContentEncoder
from obs_twin.voice.rvc.nets import Synthesizer, coarse_pitch
from obs_twin.voice.rvc.rmvpe import Rmvpe, log_mel, salience_to_hz
from tests import rvc_models as models

SYNTHESIZERS: dict[str, dict[str, Any]] = {
    "official v2": {},
    "official v1": {"channels": 256},
    "official v1 48k": {"channels": 256, "rate_hz": 48_000},
    "official no f0": {"f0": False},
    "official fp16": {"half": True},
    "official fixed": {"frames": 128},
    "w-okada v2": {"names": models.W_OKADA, "rate_hz": 48_000},
    "w-okada v1": {"names": models.W_OKADA, "channels": 256},
    "w-okada fp16": {"names": models.W_OKADA, "half": True},
    "w-okada no f0": {"names": models.W_OKADA, "f0": False, "channels": 256},
    "w-okada fixed no f0": {"names": models.W_OKADA, "f0": False, "frames": 100},
    "no rnd, waveform": {"names": {k: v for k, v in models.OFFICIAL.items() if k != "noise"}, "output": "waveform"},
    "no speaker": {"names": {k: v for k, v in models.W_OKADA.items() if k != "speaker"}},
    "other names": {"names": models.NAMELESS, "rate_hz": 32_000},
    "other names, no f0": {"names": models.NAMELESS, "f0": False},
    "free channels": {"channels": 256, "free_channels": True},
    "int32": {"whole": models.INT32},
}
CONTENTS: dict[str, dict[str, Any]] = {
    "vec-768-layer-12": {},
    "vec-256-layer-9": {"channels": (256,)},
    "transposed": {"transposed": True},
    "two axes": {"rank": 2, "name": "audio"},
    "all layers 768": {"channels": (256, 768, 768), "outputs": ("units9", "unit12", "unit12s"), "rank": 2},
    "all layers 256": {"channels": (256, 768), "outputs": ("units9", "unit12"), "rank": 2},
    "fp16": {"half": True},
    "fixed": {"samples": 16_000},
    "padded": {"padded": True},
    "fairseq mask": {"rank": 2, "mask": "padding_mask"},
    "transformers mask": {"rank": 2, "name": "input_values", "mask": "attention_mask"},
}
F0_NETWORKS: dict[str, dict[str, Any]] = {
    "waveform": {},
    "waveform, flat, no threshold": {"threshold": False, "flat": True},
    "waveform to salience": {"salience": True},
    "mel to salience": {"mel": True, "salience": True, "threshold": False},
    "mel turned": {"mel": True, "transposed": True, "salience": True, "threshold": False},
    "mel fixed": {"mel": True, "salience": True, "threshold": False, "frames": 128},
    "mel to f0": {"mel": True},
}


@pytest.mark.parametrize("dialect", SYNTHESIZERS)
def test_every_synthesizer_dialect_is_bound(tmp_path: Path, dialect: str) -> None:
    options = SYNTHESIZERS[dialect]
    net = Synthesizer(models.synthesizer(tmp_path / "voice.onnx", **options))
    rate = options.get("rate_hz", 40_000)
    assert (net.channels, net.sample_rate_hz) == (options.get("channels", 768), rate)
    assert net.has_f0 == options.get("f0", True)
    assert net.fixed_frames == options.get("frames")
    assert any(f"{rate} Hz" in line for line in net.bound)
    frames = options.get("frames", 60)
    features = np.full((frames, net.channels), 9.0, np.float32)
    features[:, 0] = 0.5
    f0_hz = np.where(np.arange(frames) < frames // 2, 200.0, 0.0).astype(np.float32)
    noise = np.full((192, frames), 3.0, np.float32)
    audio = net.run(features, f0_hz, noise, 5)
    assert audio.shape == (frames * rate // 100,)
    voiced, unvoiced = audio[: len(audio) // 2], audio[len(audio) // 2 :]
    names = options.get("names", models.OFFICIAL)
    extra = 5 * models.SPEAKER_STEP * ("speaker" in names) + 2.0 * models.NOISE_STEP * ("noise" in names)
    if not net.has_f0:
        assert np.allclose(audio, 0.5 + extra, atol=2e-3)
        return
    assert np.allclose(unvoiced, extra + models.PITCH_STEP, atol=2e-3)
    wave = voiced - extra - models.PITCH_STEP * float(coarse_pitch(f0_hz)[0])
    assert np.allclose(wave, 0.5 * np.sin(2 * np.pi * 200 / rate * (1 + np.arange(len(wave)))), atol=5e-3)


def test_w_okadas_metadata_are_read(tmp_path: Path) -> None:
    stated = '{"samplingRate": 48000, "embChannels": 256, "embedder": "hubert-base-japanese", "f0": 1}'
    path = models.synthesizer(
        tmp_path / "voice.onnx", models.W_OKADA, channels=256, free_channels=True, metadata={"metadata": stated}
    )
    net = Synthesizer(path)
    assert net.sample_rate_hz == 40_000
    text = "\n".join(net.bound)
    assert "48000" in text
    assert "hubert-base-japanese" in text
    for broken in ("[", "[1]", '{"embChannels": "many"}'):
        path = models.synthesizer(tmp_path / "voice.onnx", models.W_OKADA, metadata={"metadata": broken})
        assert Synthesizer(path).channels == 768


@pytest.mark.parametrize("dialect", CONTENTS)
def test_every_content_dialect_is_bound(tmp_path: Path, dialect: str) -> None:
    options = CONTENTS[dialect]
    channels = 256 if "256" in dialect else 768
    net = ContentEncoder(models.content(tmp_path / "content.onnx", **options), channels)
    samples = options.get("samples") or 32_000 + net.tail_samples
    t = np.arange(samples) / 16_000
    sound = (0.1 * np.where(t < 0.5, 0.0, 1.0)).astype(np.float32)
    features = net.run(sound)
    assert features.shape[1] == channels
    assert len(features) in ((100,) if not options.get("samples") else (49, 50))
    layer = 2.0 if dialect == "all layers 768" else 1.0  # the second output of three
    assert features[10, 0] == pytest.approx(0.0, abs=1e-3)
    assert features[40, 0] == pytest.approx(0.1 * layer, abs=1e-3)
    assert features[40, 100] - features[40, 0] == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("dialect", F0_NETWORKS)
def test_every_rmvpe_dialect_is_bound(tmp_path: Path, dialect: str) -> None:
    net = Rmvpe(models.rmvpe(tmp_path / "f0.onnx", **F0_NETWORKS[dialect]))
    assert any("hears 220 Hz" in line for line in net.bound)
    t = np.arange(16_000) / 16_000
    tone = sum(np.sin(2 * np.pi * 220 * n * t) for n in range(1, 6)) * np.where(t < 0.5, 0.0, 0.1)
    f0_hz = net.track(tone.astype(np.float32), 100)
    assert not f0_hz[:45].any()
    assert np.allclose(f0_hz[55:95], 220, rtol=0.005)
    assert net.track(tone[:9000].astype(np.float32), 90).shape == (90,)


def test_mel_and_salience_are_rmvpes() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16_000).astype(np.float32)
    mel = log_mel(tone)
    assert mel.shape == (128, 51)
    # Band b's middle: mel (2595 log10(1 + f / 700)) is even from 30 to 8000 Hz.
    low, high, middle = (2595 * np.log10(1 + f / 700) for f in (30, 8000, 1000))
    assert mel[:, 25].argmax() == round((middle - low) / (high - low) * 129 - 1)
    assert log_mel(np.zeros(8000, np.float32)) == pytest.approx(np.log(1e-5))
    for pitch in (0, 2, 180, 359):
        salience = np.zeros((1, 360))
        salience[0, pitch] = 0.5
        assert salience_to_hz(salience)[0] == pytest.approx(10 * 2 ** ((1997.3794 + 20 * pitch) / 1200), rel=1e-6)
    assert salience_to_hz(np.full((2, 360), 0.03)).tolist() == [0, 0]


def test_coarse_pitch_is_rvcs() -> None:
    assert coarse_pitch(np.array([0, 50, 1100, 5000, 10], np.float32)).tolist() == [1, 1, 255, 255, 1]
    assert coarse_pitch(np.array([220], np.float32)).tolist() == [60]


def test_the_wrong_file_is_refused_in_words(tmp_path: Path) -> None:
    voice = models.synthesizer(tmp_path / "voice.onnx")
    content = models.content(tmp_path / "content.onnx")
    f0 = models.rmvpe(tmp_path / "f0.onnx")
    for wrong in (content, f0):
        with pytest.raises(VoiceModelError, match=r"Expected the inputs content features.*found"):
            Synthesizer(wrong)
    with pytest.raises(VoiceModelError, match=r"nobody knows what|no sound"):
        ContentEncoder(voice, 768)
    with pytest.raises(VoiceModelError, match="RVC v2; take the other one"):
        ContentEncoder(content, 256)
    with pytest.raises(VoiceModelError, match="This is not RMVPE"):
        Rmvpe(content)
    with pytest.raises(VoiceModelError, match="both or neither"):
        Synthesizer(
            models.synthesizer(tmp_path / "half.onnx", {k: v for k, v in models.OFFICIAL.items() if k != "pitch"})
        )


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_words(tmp_path: Path, share: float) -> None:
    for make, open_it in (
        (models.synthesizer, Synthesizer),
        (models.content, lambda path: ContentEncoder(path, 768)),
        (models.rmvpe, Rmvpe),
    ):
        path = make(tmp_path / "whole.onnx")
        raw = path.read_bytes()
        path.write_bytes(raw[: int(len(raw) * share)])
        with pytest.raises(VoiceModelError, match=r"truncated|empty"):
            open_it(path)
