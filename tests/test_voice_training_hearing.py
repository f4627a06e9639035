"""What is trained on is what the live stream hears; and how sentences are found in recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from obs_twin.voice.content import ContentEncoder
from obs_twin.voice.listening import LEAST_LEFT_SAMPLES, Ear
from obs_twin.voice.model import VoiceModelError
from obs_twin.voice.neural_grid import HEAR_FRAME, STEPS_PER_FRAME
from obs_twin.voice.training.export import export
from obs_twin.voice.training.hearing import Blocks, Hearing, mel_of_blocks, write_changes
from obs_twin.voice.training.network import Adapter
from obs_twin.voice.training.recordings import NotFoundError, best_path, found_recordings
from obs_twin.voice.training.views import shown
from obs_twin.zoo.store import ModelStore
from obs_twin.zoo.whisper_encoder_onnx import CHANGES, WEIGHTS, encoder_graph, encoder_weights, with_changes

FRAMES = 80


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Whisper's weights, and changes that are made up but as large as learnt ones."""
    store = ModelStore()
    found = {name: store.path(name) for name in WEIGHTS}
    torch.manual_seed(3)
    hearing = Hearing(encoder_weights(found))
    for name, parameter in hearing.named_parameters():
        if name.endswith("up"):
            torch.nn.init.normal_(parameter, std=0.01)
    path = tmp_path_factory.mktemp("changes") / "voice_hearing.npz"
    write_changes(hearing, path)
    return found | {CHANGES: path}


@pytest.fixture(scope="module")
def hearing(sources: dict[str, Path]) -> Hearing:
    found = Hearing(encoder_weights(sources), kind=torch.float32)
    with np.load(sources[CHANGES]) as changes, torch.no_grad():
        for name in changes.files:
            layer, _, part = name.rpartition("/")
            getattr(found.linear[layer.replace("/", "-")], part).copy_(torch.from_numpy(changes[name]))
    return found


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    torch.manual_seed(4)
    found = Adapter().eval()
    for layer in found.layers:
        torch.nn.init.constant_(layer.scale, 0.5)
    return found


@pytest.fixture(scope="module")
def encoder(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    path.write_bytes(encoder_graph(with_changes(sources)))
    return path


@pytest.mark.parametrize("blocks", [Blocks(4, 9), Blocks(20, 26)])
def test_a_row_is_heard_and_said_as_the_live_stream_does(
    encoder: Path, hearing: Hearing, adapter: Adapter, blocks: Blocks, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    frames = FRAMES + blocks.right_frames
    sound = rng.standard_normal(frames * HEAR_FRAME) * np.repeat(rng.uniform(0, 0.3, frames), HEAR_FRAME)
    sound = np.asarray(sound, np.float32)
    count = FRAMES // blocks.frames
    with torch.no_grad():
        mel = torch.from_numpy(mel_of_blocks(sound, count, blocks))[None]
        heard = shown(hearing(mel, torch.zeros(1, dtype=torch.long), blocks), blocks.frames + blocks.right_frames)
        said = adapter(heard, blocks.frames).latent.numpy()
    export(adapter, tmp_path / "adapter.onnx")
    ear, mouth = Ear(encoder), ContentEncoder(encoder, tmp_path / "adapter.onnx")
    stream = np.concatenate([np.zeros(LEAST_LEFT_SAMPLES, np.float32), sound])
    kept: list[np.ndarray] = []
    for block in range(count):
        end = LEAST_LEFT_SAMPLES + ((block + 1) * blocks.frames + blocks.right_frames) * HEAR_FRAME
        given = (stream[:end], -LEAST_LEFT_SAMPLES, blocks.frames, blocks.right_frames)
        live = ear.hear(*given)
        for tap in (slice(0, 512), slice(512, 1024)):
            alike = np.corrcoef(heard[0, block].numpy()[:, tap].ravel(), live[:, tap].ravel())[0, 1]
            assert alike > 0.9999
        latent = mouth.hear(*given, before=4).content[::STEPS_PER_FRAME]
        assert latent.shape == (4 + blocks.frames + blocks.right_frames, 128)
        assert np.corrcoef(latent[4:].ravel(), said[block].ravel())[0, 1] > 0.98  # its weights have 8 bits
        if kept:
            assert (latent[:4] == kept[-1][-4:]).all()
        kept.append(latent[4 : 4 + blocks.frames])


def test_another_network_is_no_adapter_and_is_refused_in_words(encoder: Path) -> None:
    with pytest.raises(VoiceModelError, match="not a voice adapter: it should take features"):
        ContentEncoder(encoder, encoder)


def test_changes_that_are_zero_leave_whisper_as_it_is(sources: dict[str, Path], tmp_path: Path) -> None:
    weights = encoder_weights(sources)
    untouched = Hearing(weights)
    write_changes(untouched, tmp_path / "none.npz")
    same = with_changes(sources | {CHANGES: tmp_path / "none.npz"})
    assert all(np.array_equal(np.asarray(weights[name], np.float32), same[name]) for name in weights)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_best_path_finds_what_was_said(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 12))
    passable = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    lengths = [
        data.draw(st.integers(0 if free and (k < 1 or not passable[k - 1]) else 1, 5))
        for k, free in enumerate(passable)
    ]
    said = np.repeat(np.arange(count), lengths)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    scores = rng.uniform(-6, -4, (len(said), count)).astype(np.float32)
    scores[np.arange(len(said)), said] = -0.5
    assert (best_path(scores, passable) == said).all()


def test_too_short_a_recording_is_refused_in_words() -> None:
    with pytest.raises(NotFoundError, match="too few"):
        best_path(np.zeros((3, 8), np.float32), np.zeros(8, bool))


def test_recordings_are_those_with_a_text_beside_them(tmp_path: Path) -> None:
    for name in ("b.wav", "a.mp3", "c.flac", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a.txt").write_text(" Good morning.\n")
    (tmp_path / "b.txt").write_text("Hello")
    assert found_recordings(tmp_path) == [(tmp_path / "a.mp3", "Good morning."), (tmp_path / "b.wav", "Hello")]


def test_lists_of_librispeech_are_understood(tmp_path: Path) -> None:
    (tmp_path / "1-2-0003.flac").write_bytes(b"")
    (tmp_path / "1-2.trans.txt").write_text("1-2-0003 HE WAS THERE\n1-2-0004 GONE\n")
    assert found_recordings(tmp_path) == [(tmp_path / "1-2-0003.flac", "he was there")]


def test_lists_of_common_voice_are_understood(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("one.mp3", "two.mp3", "clips/three.mp3"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "test.csv").write_text("filename,text,down_votes\none.mp3,hello there,0\ntwo.mp3,wrong,1\n")
    (tmp_path / "test.tsv").write_text("path\tsentence\nthree.mp3\tGood morning\nfour.mp3\tgone\n")
    assert found_recordings(tmp_path) == [
        (tmp_path / "clips/three.mp3", "Good morning"),
        (tmp_path / "one.mp3", "hello there"),
    ]
