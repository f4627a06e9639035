"""Microphone and room are measured, corrected as far as a filter can, and the rest is said in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from obs_twin.cli.main import main
from obs_twin.twin.synthetic.speech import speak
from obs_twin.voice.device import THIRDS_HZ, DeviceMeter, DeviceReport
from obs_twin.voice.device_match import (
    MOST_DB,
    REFERENCE_DB,
    DeviceMatcher,
    StreamingEqualiser,
    correct_whole,
    correction_db,
    describe,
    minimum_phase_taps,
)
from obs_twin.voice.model import F32

RATE = 48_000
TEXT = "She sells sea shells on the shore, and talked about the weather. Numbers never lie, but people sometimes do."


@pytest.fixture(scope="module")
def speech() -> F32:
    said = speak(TEXT)
    sound = soxr.resample(said.samples, said.sample_rate_hz, RATE)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(sound))
    return np.asarray(sound + noise, np.float32)


def measured(sound: F32, rate: int = RATE) -> DeviceReport:
    meter = DeviceMeter(rate)
    for at in range(0, len(sound), 1024):
        meter.push(sound[at : at + 1024])
    report = meter.report()
    assert report is not None
    return report


def test_a_good_microphone_needs_little(speech: F32) -> None:
    report = measured(speech)
    assert report.bandwidth_hz > 9500
    assert report.signal_to_noise_db > 30
    assert report.reverberation_s < 0.3
    assert not report.words()
    assert np.abs(correction_db(report)).max() < 6


@pytest.mark.parametrize(
    ("cut_hz", "words"), [(8000, "cuts at 8 kHz; a condenser"), (4000, "carries nothing above 4.0 kHz")]
)
def test_a_headset_that_cuts_is_told(speech: F32, cut_hz: int, words: str) -> None:
    cut = soxr.resample(soxr.resample(speech, RATE, 2 * cut_hz), 2 * cut_hz, RATE)
    report = measured(np.asarray(cut, np.float32))
    assert abs(report.bandwidth_hz - cut_hz) <= 500
    assert words in " ".join(report.words())


def test_noise_echo_and_level_are_told(speech: F32) -> None:
    rng = np.random.default_rng(1)
    noisy = speech + 0.015 * rng.standard_normal(len(speech)).astype(np.float32)
    assert "quieter than your voice" in " ".join(measured(noisy).words())
    echo = rng.standard_normal(RATE) * 10 ** (-3 * np.arange(RATE) / (0.8 * RATE))
    echo /= np.sqrt((echo**2).sum())
    size = 1 << 20
    echoed = speech + np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(echo, size))[: len(speech)]
    assert 0.5 < measured(np.asarray(0.5 * echoed, np.float32)).reverberation_s < 1.2
    assert "echoes" in " ".join(measured(np.asarray(0.5 * echoed, np.float32)).words())
    assert "turned up too far" in " ".join(measured(np.clip(8 * speech, -1, 1)).words())
    assert "very quiet" in " ".join(measured(0.02 * speech).words())


def test_silence_and_noise_give_no_report() -> None:
    for sound in (np.zeros(5 * RATE, np.float32), 0.01 * np.random.default_rng(0).standard_normal(5 * RATE)):
        meter = DeviceMeter(RATE)
        meter.push(np.asarray(sound, np.float32))
        assert meter.report() is None
    assert "not enough speech" in describe(None)[0]
    meter.push(np.array([np.nan, np.inf, -1e30], np.float32))
    assert meter.report() is None


def test_the_filter_mends_a_dull_microphone_within_its_bounds(speech: F32) -> None:
    dull = np.interp(np.log(THIRDS_HZ), np.log([100, 1000, 8000, 16000]), [6, 0, -15, -15])
    taps = minimum_phase_taps(dull, RATE)
    muffled = np.convolve(speech, taps)[: len(speech)].astype(np.float32)
    report = measured(muffled)
    gains = correction_db(report, strength=1.0)
    assert np.abs(gains).max() <= MOST_DB
    assert gains[np.argmin(np.abs(THIRDS_HZ - 4000))] > 4
    equaliser = StreamingEqualiser(RATE)
    equaliser.set_gains(gains)
    mended = np.concatenate([equaliser.push(muffled[at : at + 480]) for at in range(0, len(muffled), 480)])
    assert len(mended) == len(muffled)
    inside = (THIRDS_HZ > 400) & (THIRDS_HZ < 8000)
    before, after = (
        float(np.std((np.array(r.spectrum_db) - REFERENCE_DB)[inside])) for r in (report, measured(mended))
    )
    assert after < 0.7 * before
    assert "dB at" in describe(report)[1]


def test_the_filter_adds_no_delay_and_no_click(speech: F32) -> None:
    gains = np.linspace(-6, 6, len(THIRDS_HZ))
    taps = minimum_phase_taps(gains, RATE)
    assert np.argmax(np.abs(taps)) <= 2
    response = 20 * np.log10(np.abs(np.fft.rfft(taps, 1 << 16)))
    hz = np.fft.rfftfreq(1 << 16, 1 / RATE)
    assert np.abs(np.interp(THIRDS_HZ[3:], hz, response) - gains[3:]).max() < 1.0
    flat = StreamingEqualiser(RATE)
    assert np.allclose(flat.push(speech[:4800]), speech[:4800], atol=1e-6)
    tone = np.sin(2 * np.pi * 440 * np.arange(9600) / RATE).astype(np.float32)
    turned = StreamingEqualiser(RATE)
    first = turned.push(tone[:4800])
    turned.set_gains(gains)
    both = np.concatenate([first, turned.push(tone[4800:])])
    assert np.abs(np.diff(both, 2)).max() < 2 * (2 * np.pi * 440 / RATE) ** 2
    assert turned.push(np.zeros(0, np.float32)).size == 0


def test_the_matcher_measures_and_corrects_as_it_goes(speech: F32) -> None:
    taps = minimum_phase_taps(np.linspace(8, -12, len(THIRDS_HZ)), RATE)
    dull = np.tile(np.convolve(speech, taps)[: len(speech)].astype(np.float32), 3)
    matcher = DeviceMatcher(RATE, strength=1.0)
    assert "not enough speech" in matcher.state()[0]
    assert matcher.advice() == []
    out = np.concatenate([matcher.push(dull[at : at + 1024]) for at in range(0, len(dull), 1024)])
    assert len(out) == len(dull)
    assert matcher.report is not None
    assert "Corrected by a filter" in matcher.state()[1]
    assert matcher.advice() == matcher.report.words()
    matcher.reset()


def test_a_whole_recording_is_corrected_from_its_first_sample_on(speech: F32) -> None:
    taps = minimum_phase_taps(np.linspace(8, -12, len(THIRDS_HZ)), RATE)
    dull = np.convolve(speech, taps)[: len(speech)].astype(np.float32)
    mended, report = correct_whole(dull, RATE)
    assert len(mended) == len(dull)
    assert report is not None
    before, after = correction_db(report), correction_db(measured(mended))
    assert np.abs(after).max() < 0.7 * np.abs(before).max()
    assert np.allclose(mended[:RATE], np.convolve(dull[:RATE], minimum_phase_taps(before, RATE))[:RATE], atol=1e-5)
    short, nothing = correct_whole(dull[: RATE // 2], RATE)
    assert nothing is None
    assert np.array_equal(short, dull[: RATE // 2])


def test_the_command(speech: F32, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "me.wav"
    soundfile.write(path, soxr.resample(speech, RATE, 16_000), 16_000)
    assert main(["voice", "check", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "Microphone: speech" in shown
    assert "above 8.0 kHz" in shown
    assert "headset" not in shown
    soundfile.write(path, np.zeros(16_000), 16_000)
    assert main(["voice", "check", str(path)]) == 1
    assert "Not enough speech" in capsys.readouterr().err
    assert main(["voice", "check"]) == 1
