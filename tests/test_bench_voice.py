"""Voice scores and the voice bench: on generated speech, with the real networks where they are installed."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from obs_twin.bench.clips import read_sound, speech_clips
from obs_twin.bench.contours import contours, envelope_correlation, f0_correlation, loudest_dbfs
from obs_twin.bench.conversion import RATE_HZ, Condition, VoiceUnderTest, convert, convert_live
from obs_twin.bench.extra import BenchError
from obs_twin.bench.page import text_table
from obs_twin.bench.quiet import SECONDS, quiet_clips
from obs_twin.bench.voice_bench import SOURCE, VoiceResult, VoiceRow
from obs_twin.bench.voice_metrics import VoiceScores
from obs_twin.bench.voice_report import quiet_lines, speaker_table, table, write_report
from obs_twin.bench.words import edit_distance, word_error_rate, word_errors
from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, SAMPLE_RATE_HZ, speak
from obs_twin.voice.mel import mel_filterbank
from obs_twin.voice.model import VoiceSettings
from obs_twin.voice.speaker import EMBEDDING_SIZE, SpeakerEmbedder, similarity
from obs_twin.voice.target import analyse
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.checkpoint import read_legacy_checkpoint
from obs_twin.zoo.store import ModelStore

F32 = npt.NDArray[np.float32]
SENTENCE = "The harbour was quiet that morning, and nobody was about."


@pytest.fixture(scope="module")
def persona() -> F32:
    return speak(SENTENCE).samples


@pytest.fixture(scope="module")
def actor() -> F32:
    return speak(SENTENCE, pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio).samples


def test_edit_distance_counts_each_kind_of_error() -> None:
    said = ["a", "b", "c"]
    assert edit_distance(said, said) == 0
    assert edit_distance(said, ["a", "x", "c"]) == 1
    assert edit_distance(said, ["a", "c"]) == 1
    assert edit_distance(["a", "c"], ["a", "b", "c", "d"]) == 2
    assert edit_distance([], ["a"]) == 1


def test_word_error_rate_is_blind_to_spelling_and_punctuation() -> None:
    pytest.importorskip("whisper_normalizer")
    assert word_error_rate("It's twenty-one, Mr. Grey's colour!", "it is 21 mister grey is color") == 0.0
    assert word_errors("the red boat sails", "the boat sails home") == (2, 4)
    assert word_error_rate("", "") == 0.0
    assert word_error_rate("", "babble") == 1.0


def test_contours_of_a_known_glide() -> None:
    at_s = np.arange(2 * RATE_HZ) / RATE_HZ
    f0_hz = 150 * 2 ** (np.sin(2 * np.pi * at_s) / 3)
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
    x = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.2 + 0.1 * np.sin(2 * np.pi * 1.5 * at_s))
    found = contours(x, RATE_HZ)
    voiced = found.f0_hz > 0
    expected = np.interp(np.arange(len(found.f0_hz)) * 0.005, at_s, f0_hz)
    assert voiced.mean() > 0.9
    assert np.median(np.abs(np.log2(found.f0_hz[voiced] / expected[voiced]))) < 0.02
    assert f0_correlation(found, found) == pytest.approx(1.0)
    assert envelope_correlation(found, found) == pytest.approx(1.0)


def test_contours_survive_another_voice(persona: F32) -> None:
    higher = speak(SENTENCE, pitch_ratio=1.3).samples
    a, b = contours(persona, SAMPLE_RATE_HZ), contours(higher, SAMPLE_RATE_HZ)
    assert f0_correlation(a, b) > 0.9
    assert envelope_correlation(a, b) > 0.9
    assert math.isnan(f0_correlation(a, contours(np.zeros(RATE_HZ), RATE_HZ)))


def test_loudest_level() -> None:
    tone = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert loudest_dbfs(tone, RATE_HZ) == pytest.approx(-20.0, abs=0.1)
    assert loudest_dbfs(np.zeros(RATE_HZ), RATE_HZ) == -120.0


def test_quiet_clips_are_the_same_every_time_and_not_loud() -> None:
    clips = quiet_clips(RATE_HZ)
    again = quiet_clips(RATE_HZ)
    for name, sound in clips.items():
        assert sound.dtype == np.float32
        assert len(sound) == round(SECONDS * RATE_HZ)
        assert np.array_equal(sound, again[name])
        assert float(np.abs(sound).max()) <= 0.2
    assert not clips["silence"].any()


def test_speech_clips_finds_transcripts_and_spreads_over_speakers(tmp_path: Path, persona: F32) -> None:
    for name in ("a_LJ001-0001", "a_LJ001-0002", "a_LJ001-0003", "b-1-0001"):
        soundfile.write(tmp_path / f"{name}.wav", persona[:4000], SAMPLE_RATE_HZ)
    (tmp_path / "x_metadata.csv").write_text("LJ001-0001|Said 1|said one\n", encoding="utf-8")
    (tmp_path / "b-1-0001.txt").write_text("hello\n", encoding="utf-8")
    texts = {clip.name: clip.text for clip in speech_clips(tmp_path)}
    assert texts == {"a_LJ001-0001": "said one", "a_LJ001-0002": None, "a_LJ001-0003": None, "b-1-0001": "hello"}
    assert [clip.name for clip in speech_clips(tmp_path, limit=2)] == ["a_LJ001-0001", "b-1-0001"]
    assert len(speech_clips(tmp_path)[0].samples(RATE_HZ)) == 8000
    with pytest.raises(BenchError, match="no sound"):
        speech_clips(_folder(tmp_path / "empty"))
    with pytest.raises(BenchError, match="cannot be read as sound"):
        read_sound(tmp_path / "b-1-0001.txt", RATE_HZ)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_convert_streams_as_the_engine_does_and_keeps_every_sample(tmp_path: Path, persona: F32, actor: F32) -> None:
    target = tmp_path / "target.json"
    analyse(persona, SAMPLE_RATE_HZ).save(target)
    voice = VoiceUnderTest("world", {"target": target}, VoiceSettings())
    source = soxr.resample(actor, SAMPLE_RATE_HZ, RATE_HZ)[: RATE_HZ * 2]
    condition = Condition(0.5)
    done = convert(voice.open(condition), source, condition)
    assert len(done.samples) == len(source)
    assert 0 < done.owed_samples <= done.lookahead_samples <= RATE_HZ * condition.budget_ms / 1000
    assert done.cpu_s > 0


def test_the_lead_in_is_cut_off_again(tmp_path: Path, persona: F32) -> None:
    target = tmp_path / "target.json"
    analyse(persona, SAMPLE_RATE_HZ).save(target)
    voice = VoiceUnderTest("world", {"target": target}, VoiceSettings())
    source = soxr.resample(persona, SAMPLE_RATE_HZ, RATE_HZ)[:RATE_HZ]
    done = convert_live(voice.open(Condition(0.5)), source, Condition(0.5), 0.5)
    assert (len(done.samples), done.fed_s) == (RATE_HZ, 1.5)


class _Forgetful:
    """A voice that loses samples, which none of ours does."""

    sample_rate_hz = RATE_HZ
    lookahead_samples = RATE_HZ
    provider = "none"

    def push(self, x: F32) -> F32:
        return x[1:]

    def flush(self) -> F32:
        return np.zeros(0, np.float32)

    def reset(self) -> None:
        pass


def test_convert_catches_a_voice_that_loses_samples() -> None:
    with pytest.raises(BenchError, match="as many as it gets"):
        convert(_Forgetful(), np.zeros(5000, np.float32), Condition(0.5))


@pytest.fixture(scope="module")
def embedder() -> SpeakerEmbedder:
    try:
        return SpeakerEmbedder(ModelStore().fetch(["resemblyzer"])[0])
    except ModelError as error:
        pytest.skip(str(error))


def test_embedder_tells_speakers_apart(embedder: SpeakerEmbedder, persona: F32, actor: F32) -> None:
    other = speak("Please bring your questions along tomorrow.").samples
    a, b, c = (embedder.embed(x, SAMPLE_RATE_HZ) for x in (persona, other, actor))
    assert a.shape == (EMBEDDING_SIZE,)
    assert np.linalg.norm(a) == pytest.approx(1.0, abs=1e-5)
    assert similarity(a, b) > 0.8
    assert similarity(a, c) < 0.75
    louder = embedder.embed(persona * 3, SAMPLE_RATE_HZ)
    assert similarity(a, louder) > 0.999
    assert np.isfinite(embedder.embed(np.zeros(100), SAMPLE_RATE_HZ)).all()


def test_mel_filterbank_is_slaneys() -> None:
    bank = mel_filterbank(16000, 400, 40)
    assert bank.shape == (40, 201)
    centres = bank.argmax(1) * 40.0
    assert np.all(np.diff(centres) > 0)
    # Area 1 where the triangles are wide enough for the bins to show it.
    assert bank[-10:].sum(1) * 40.0 == pytest.approx(np.ones(10), rel=0.05)


def test_checkpoint_refuses_code_and_half_a_file(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("ran",))

    bad = tmp_path / "bad.pt"
    bad.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(1) + pickle.dumps({}) + pickle.dumps(Harmful()))
    with pytest.raises(ModelError, match=r"builtins\.print"):
        read_legacy_checkpoint(bad)
    bad.write_bytes(b"\x80\x02")
    with pytest.raises(ModelError, match="cannot be read"):
        read_legacy_checkpoint(bad)
    bad.write_bytes(json.dumps({}).encode())
    with pytest.raises(ModelError):
        read_legacy_checkpoint(bad)


def scored(clip: str, condition: str, errors: int, likeness: float) -> VoiceRow:
    scores = VoiceScores("heard <b>", errors, 10, errors / 10, likeness, 0.5, 4.4, 3.2, 3.5, 0.93, math.nan)
    rtf = math.nan if condition == SOURCE else 0.2
    return VoiceRow(clip, "ann", condition, 4.0, True, "said", scores, rtf, 12.0, 400.0, f"{clip}.flac")


def test_voice_report_pools_words_and_takes_medians(tmp_path: Path) -> None:
    rows = [scored(clip, c, e, v) for c in (SOURCE, "0.5 s") for clip, e, v in (("a", 0, 0.9), ("b", 3, 0.8))]
    result = VoiceResult(rows, {"typing": -70.0, "room noise": -30.0}, "somewhere")
    head, _, streamed = table(result)
    found = dict(zip(head, streamed, strict=True))
    assert found["WER, transcript"] == "0.15"
    assert found["like target"] == "0.85"
    assert found["envelope r"] == ""
    assert found["RTF"] == "0.20"
    assert speaker_table(result)[1][:4] == ["ann", SOURCE, "2", "0.15"]
    assert [("good" in line) for line in quiet_lines(result)] == [True, False]
    page = write_report(result, tmp_path, title="T", facts=["x"])
    text = page.read_text(encoding="utf-8")
    assert "heard &lt;b&gt;" in text
    assert text.count("<audio") == 4
    assert text_table(table(result)).count("\n") == 2
    document = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert document["clips"][0]["scores"]["envelope"] is None
    assert len((tmp_path / "clips.csv").read_text(encoding="utf-8").splitlines()) == 5
