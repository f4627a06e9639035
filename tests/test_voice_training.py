"""The adapter's recipe, in small: text, speech, surroundings, features, a few steps, the exported file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnxruntime as ort
import soxr
import torch

from obs_twin.voice.training import texts
from obs_twin.voice.training.augment import RATE_HZ, Scenery
from obs_twin.voice.training.course import Plan, Training
from obs_twin.voice.training.dataset import silence_latent
from obs_twin.voice.training.export import export, read_back
from obs_twin.voice.training.network import Adapter
from obs_twin.voice.training.shards import ShardWriter
from obs_twin.voice.training.sources import SPEECH
from obs_twin.voice.training.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Narrator, SpeechError, draw_voice, speaking
from obs_twin.zoo.store import ModelStore

SENTENCES = ("They think that the weather is good today.", "Why did she leave the measure there?", "About 42 percent.")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ModelStore().fetch([*SPEECH])
    folder = tmp_path_factory.mktemp("work")
    for name in ("networks", "data"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def narrator(work: Path) -> Narrator:
    return Narrator(work / "networks")


@pytest.fixture(scope="module")
def shard(work: Path, narrator: Narrator) -> Path:
    rng = np.random.default_rng(3)
    writer = ShardWriter(silence_latent(narrator.hibari), rng)
    for count, sentence in enumerate(SENTENCES * 2):
        writer.add(narrator.speak(sentence, rng), held_out=count == 0)
    writer.add_silence(held_out=False)
    path = work / "data" / "hibari-000.npz"
    writer.save(path)
    return path


def test_the_same_seed_gives_the_same_sentences(tmp_path: Path) -> None:
    prose = tmp_path / "book.txt"
    prose.write_text("It was a dark night. The wind blew hard over the sea! Did no one hear it?")
    gloss = tmp_path / "data.noun"
    gloss.write_text('00001740 03 n 01 dog 0 000 | a friendly animal; "the dog barked all night at the moon"\n')
    assert texts.prose_sentences(prose)[0] == "Did no one hear it?"
    assert texts.prose_sentences(gloss) == ["A friendly animal.", "The dog barked all night at the moon."]
    writer = texts.Writer([prose, gloss])
    first, second = ([writer.sentence(rng) for _ in range(200)] for rng in map(np.random.default_rng, (1, 1)))
    assert first == second
    assert len(set(first)) > 80
    assert not any("{" in sentence for sentence in first)


def test_a_share_of_sentences_is_held_out_by_its_letters_alone() -> None:
    share = np.mean([texts.is_held_out(f"Sentence {k}.") for k in range(8000)])
    assert 0.015 < share < 0.035


def test_an_utterance_is_labelled_frame_by_frame(narrator: Narrator) -> None:
    utterance = narrator.speak(SENTENCES[0], np.random.default_rng(5))
    frames = len(utterance.token)
    assert len(utterance.samples) == frames * FRAME_SAMPLES
    assert utterance.energy.shape == utterance.voiced.shape == (2 * frames,)
    assert utterance.latents.shape == (len(utterance.phones), 128)
    # Loud where the labels say speech, quiet where they say pause.
    level = np.sqrt((utterance.samples.reshape(2 * frames, -1) ** 2).mean(axis=1))
    spoken = speaking(utterance.energy)
    assert level[spoken].mean() > 10 * level[~spoken].mean()


def test_voices_have_the_pitch_that_was_drawn(narrator: Narrator) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        voice = draw_voice(np.random.default_rng(seed))
        utterance = narrator.speak(SENTENCES[0], rng)
        if voice.whisper:
            continue
        x = soxr.resample(utterance.samples, SAMPLE_RATE_HZ * utterance.formant_ratio, RATE_HZ)
        x = x[len(x) // 5 : -len(x) // 5].astype(np.float64)
        # The first peak of the long-term autocorrelation lies near the mean pitch.
        spectrum = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
        lags = np.fft.irfft(spectrum / (1e-6 * spectrum.max() + np.sqrt(spectrum)))
        low, high = int(RATE_HZ / (voice.f0_hz * 1.6)), int(RATE_HZ / (voice.f0_hz / 1.6))
        peak = low + int(np.argmax(lags[low:high]))
        assert RATE_HZ / peak == pytest.approx(voice.f0_hz, rel=0.45)


def test_what_cannot_be_spoken_is_refused_in_words(narrator: Narrator) -> None:
    with pytest.raises(SpeechError, match="phonemes"):
        narrator.speak("", np.random.default_rng(0))


def test_surroundings_keep_time_and_range() -> None:
    scenery = Scenery(np.random.default_rng(2))
    rng = np.random.default_rng(7)
    click = np.zeros(RATE_HZ, np.float32)
    click[6000:6400] = rng.standard_normal(400) * 0.3
    for _ in range(40):
        y = scenery.spoil(click)
        assert y.shape == click.shape
        assert y.dtype == np.float32
        assert np.isfinite(y).all()
        assert 0.02 < np.abs(y).max() <= 1
        smooth = np.convolve(y**2, np.ones(400), mode="valid")
        assert abs(int(np.argmax(smooth)) - 6000) < 400
    for _ in range(10):
        assert np.abs(scenery.no_speech(1.0)).max() <= 0.6


def test_shards_hold_what_they_say(shard: Path) -> None:
    with np.load(shard) as file:
        arrays = {name: file[name] for name in file.files}
    frames = arrays["starts"][-1]
    assert arrays["sound"].shape == (frames * 400,)
    assert arrays["latents"].shape == (len(arrays["phones"]), 128)
    assert arrays["token"].max() < len(arrays["phones"])
    assert len(arrays["voices"]) == len(arrays["held_out"]) == len(arrays["starts"]) - 1
    silent = slice(arrays["starts"][-2], frames)
    assert not arrays["speech"][silent].any()
    assert arrays["held_out"].any()


def test_shards_put_the_sound_where_the_labels_are(shard: Path) -> None:
    with np.load(shard) as file:
        arrays = {name: file[name] for name in file.files}
    start, end = arrays["starts"][:2]
    level = np.abs(arrays["sound"][start * 400 : end * 400].astype(np.float64)).reshape(end - start, -1).mean(1)
    spoken = arrays["speech"][start:end]
    assert 0.2 < spoken.mean() < 0.95
    assert level[spoken].mean() > 4 * level[~spoken].mean()


def test_training_learns_goes_on_and_is_exported(work: Path, shard: Path, tmp_path: Path) -> None:
    # Rates rise over the first hundred steps of each part: these are large ones.
    plan = Plan(9, 11, 1, 0.05, 0.01, 0.01, seed=1, bfloat16=False, device="cpu")
    first = Training(plan, work)
    start = first.evaluate("hibari", limit=1)
    first.run()
    assert first.evaluate("hibari", limit=1)["latent"] < start["latent"] - 0.05
    changes = first.average.hearing.changes()
    assert any(np.abs(changes[name]).max() > 0 for name in changes if name.endswith("/up"))
    longer = Training(replace(plan, steps=12), work)
    weights = [parameter.detach().clone() for parameter in first.average.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(weights, longer.average.parameters(), strict=True))
    longer.run()
    assert longer.write(tmp_path)["alike in ONNX"] > 0.98
    assert (tmp_path / "voice_adapter.onnx").stat().st_size < 10_000_000
    session = ort.InferenceSession(str(tmp_path / "voice_adapter.onnx"), providers=["CPUExecutionProvider"])
    past = {node.name: np.zeros(node.shape, np.float32) for node in session.get_inputs()[1:]}
    said = session.run(None, {"features": np.zeros((1, 70, 1024), np.float32)} | past)
    names = [output.name for output in session.get_outputs()]
    assert names[:4] == ["latent", "energy", "voiced", "speech"]
    assert [part.shape for part in said[:4]] == [(1, 70, 128), (1, 70, 2), (1, 70, 2), (1, 70)]
    assert len(past) == len(names) - 4
    (work / "checkpoint.pt").unlink()
    later = Training(plan, work)
    before = later.evaluate("hibari", limit=1)["phone"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("obs_twin.voice.training.course.PHONES_STEPS", 5)
        later.learn_on(tmp_path)
    # The phones' layer is not in the files, and is learnt again.
    assert later.evaluate("hibari", limit=1)["phone"] < before - 0.05
    written, read = (training.average.hearing.changes() for training in (longer, later))
    assert all(np.array_equal(array, read[name]) for name, array in written.items())
    said, again = (training.evaluate("hibari", limit=1)["latent"] for training in (longer, later))
    assert again == pytest.approx(said, rel=0.05)


def test_what_was_exported_is_read_back_to_learn_on(tmp_path: Path) -> None:
    torch.manual_seed(5)
    adapter, same = Adapter(), Adapter()
    with torch.no_grad():
        for weight in adapter.parameters():  # no two alike: the exporter keeps only one of those
            weight.add_(0.05 * torch.randn_like(weight))
    adapter.latent_sd.mul_(1.5)
    export(adapter, tmp_path / "adapter.onnx", stretched=1.2)
    read_back(tmp_path / "adapter.onnx", same)
    assert same.training
    assert torch.allclose(same.latent_sd, adapter.latent_sd / 1.2, rtol=1e-3)
    for name, weight in adapter.state_dict().items():
        if not name.startswith(("phone", "latent_")):
            assert torch.allclose(same.state_dict()[name], weight, atol=0.02 * float(weight.abs().max()) + 1e-6), name
    export(Adapter(channels=64, hidden=96), tmp_path / "small.onnx")
    with pytest.raises(ValueError, match="not an adapter of this kind"):
        read_back(tmp_path / "small.onnx", same)


def test_the_network_looks_no_further_ahead_than_it_says() -> None:
    adapter = Adapter().eval()
    for layer in adapter.layers:
        torch.nn.init.ones_(layer.scale)
    x = torch.randn(1, 1, 100, 1024, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, :, 60] = 0
    with torch.no_grad():
        difference = (adapter(x, 100).latent - adapter(changed, 100).latent).abs().amax(-1)[0]
    assert int(torch.nonzero(difference)[0]) == 60 - adapter.lookahead_frames


def test_a_stream_is_said_in_any_blocks_alike_but_for_what_comes_next() -> None:
    adapter = Adapter().eval()
    x = torch.randn(1, 200, 1024, generator=torch.Generator().manual_seed(0))
    right, frames = adapter.lookahead_frames, 8
    count = (200 - right) // frames
    rows = x[:, torch.arange(count)[:, None] * frames + torch.arange(frames + right)]
    past = adapter.nothing()
    with torch.no_grad():
        side_by_side = adapter(rows, frames).latent
        for block in range(count):
            said, given = adapter.step(rows[:, block], past)
            assert torch.allclose(said.latent[0], side_by_side[block], atol=1e-4)
            past = [
                torch.cat([old, new[:, :frames]], 1)[:, -old.shape[1] :] for old, new in zip(past, given, strict=True)
            ]
