"""The generated speech: right length, timed phones, two speakers, always the same."""

from __future__ import annotations

import numpy as np
import pytest

from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, PERSONA_SPEAKER, SAMPLE_RATE_HZ, Speech, speak

TEXT = "Good morning. Nobody recorded this voice."


@pytest.fixture(scope="module")
def persona() -> Speech:
    return speak(TEXT, pitch_ratio=PERSONA_SPEAKER.pitch_ratio, formant_ratio=PERSONA_SPEAKER.formant_ratio)


@pytest.fixture(scope="module")
def actor() -> Speech:
    return speak(TEXT, pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio)


def median_f0_hz(speech: Speech) -> float:
    import pyworld

    f0, _ = pyworld.harvest(speech.samples.astype(np.float64), speech.sample_rate_hz)
    return float(np.median(f0[f0 > 0]))


def test_samples_are_sound(persona: Speech) -> None:
    assert persona.samples.dtype == np.float32
    assert persona.sample_rate_hz == SAMPLE_RATE_HZ
    assert 1.5 < persona.duration_s < 6
    assert 0.1 < np.abs(persona.samples).max() <= 0.9


def test_the_same_text_gives_the_same_samples(persona: Speech) -> None:
    again = speak(TEXT)
    assert np.array_equal(again.samples, persona.samples)
    assert again.phones == persona.phones


def test_phones_cover_the_sound_without_gaps(persona: Speech) -> None:
    assert persona.phones[0].start_s == 0
    assert persona.phones[-1].end_s == pytest.approx(persona.duration_s, abs=1e-6)
    for before, after in zip(persona.phones, persona.phones[1:], strict=False):
        assert before.end_s == pytest.approx(after.start_s, abs=1e-9)
        assert before.end_s > before.start_s
    names = [p.phone for p in persona.phones]
    assert names[0] == names[-1] == "sil"
    assert {"ɡ", "m", "v"} <= set(names)
    assert "ˈ" not in names


def test_phones_are_where_the_sound_is(persona: Speech) -> None:
    def rms(start_s: float, end_s: float) -> float:
        part = persona.samples[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
        return float(np.sqrt(np.mean(part**2)))

    vowels = [rms(p.start_s, p.end_s) for p in persona.phones if p.phone in "ɪɔOYæɑAIuʊɛɜ"]
    pauses = [
        rms(p.start_s + 0.05, p.end_s - 0.1) for p in persona.phones if p.phone == "sil" and p.end_s - p.start_s > 0.25
    ]
    assert np.median(vowels) > 10 * np.max(pauses)


def test_two_speakers_differ_in_pitch(persona: Speech, actor: Speech) -> None:
    assert 0.85 < len(actor.samples) / len(persona.samples) < 1.15
    assert 165 < median_f0_hz(persona) < 255
    assert 90 < median_f0_hz(actor) < 140


def test_speed_shortens() -> None:
    assert speak("Good morning.", speed=1.5).duration_s < speak("Good morning.").duration_s


@pytest.mark.parametrize("wrong", [{"pitch_ratio": 0.0}, {"formant_ratio": 9.0}, {"speed": float("nan")}])
def test_ratios_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be between"):
        speak("Hello.", **wrong)


@pytest.mark.parametrize("text", ["", "   \n", "..."])
def test_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        speak(text)
