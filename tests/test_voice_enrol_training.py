"""The decoder in PyTorch: the same as its ONNX file, there and back, and able to learn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from obs_twin.voice.decoder import Decoder as OnnxDecoder
from obs_twin.voice.enrol.weights import read_weights, write_decoder
from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.neural_grid import MAKE_RATE_HZ, MAKE_STEP
from obs_twin.voice.speaker import SpeakerEmbedder, similarity
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.derive import derived_path
from obs_twin.zoo.store import ModelStore

torch = pytest.importorskip("torch")

from obs_twin.voice.enrol.likeness import Likeness  # noqa: E402
from obs_twin.voice.enrol.losses import MelDistance  # noqa: E402
from obs_twin.voice.enrol.material import Material, Version  # noqa: E402
from obs_twin.voice.enrol.network import (  # noqa: E402
    Decoder,
    excite,
    load_weights,
    pulse_spectra,
    random_phases,
    to_sound,
    weights_of,
)
from obs_twin.voice.enrol.timbre import Timbre  # noqa: E402
from obs_twin.voice.enrol.train import Plan, Progress, Trainer  # noqa: E402

STEPS = 64


@pytest.fixture(scope="module")
def base() -> Path:
    try:
        ModelStore().fetch(["hibari_tts"])
        return derived_path("hibari_decoder")
    except ModelError as error:
        pytest.skip(f"the decoder cannot be had: {error}")


@pytest.fixture(scope="module")
def weights(base: Path) -> dict[str, F32]:
    torch.set_num_threads(1)
    return read_weights(base)


@pytest.fixture(scope="module")
def resemblyzer() -> Path:
    try:
        ModelStore().fetch(["resemblyzer"])
        return ModelStore().path("resemblyzer")
    except ModelError as error:
        pytest.skip(f"the speaker encoder cannot be had: {error}")


def inputs(seed: int = 0) -> tuple[F32, F32, F32]:
    random = np.random.default_rng(seed)
    content = np.repeat(random.standard_normal((STEPS // 2, 128)), 2, axis=0).astype(np.float32) * 0.3
    f0_hz = np.where(np.arange(STEPS) < STEPS // 2, np.linspace(150, 240, STEPS), 0).astype(np.float32)
    return content, f0_hz, random.uniform(-3, 3, STEPS).astype(np.float32)


def test_there_and_back(base: Path, weights: dict[str, F32], tmp_path: Path) -> None:
    model = Decoder()
    load_weights(model, weights)
    again = weights_of(model)
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    path = tmp_path / "decoder.onnx"
    write_decoder(base, weights, path, notes={"adapter_sha256": "0"})
    assert path.stat().st_size < 9e6
    content, f0_hz, energy = inputs()
    written = OnnxDecoder(path).run(content, f0_hz, energy)
    with torch.no_grad():
        parts = model(*(torch.from_numpy(np.ascontiguousarray(x))[None] for x in (content.T, f0_hz, energy)))
    for mine, theirs in zip(parts, written, strict=True):
        assert np.abs(mine[0].numpy() - theirs).mean() < 5e-3  # 16-bit weights
    for mine, theirs in zip(parts, OnnxDecoder(base).run(content, f0_hz, energy), strict=True):
        assert np.abs(mine[0].numpy() - theirs).mean() < 0.1  # 8-bit products
    write_decoder(path, read_weights(path), tmp_path / "again.onnx", notes={})
    assert np.array_equal(OnnxDecoder(tmp_path / "again.onnx").run(content, f0_hz, energy).lh, written.lh)


def test_what_is_no_decoder_is_refused(base: Path, weights: dict[str, F32], tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(base.read_bytes()[:1000])
    with pytest.raises(VoiceModelError, match=r"broken\.onnx"):
        read_weights(tmp_path / "broken.onnx")
    with pytest.raises(VoiceModelError, match="expected the inputs content"):
        read_weights(ModelStore().path("hibari_tts"))
    with pytest.raises(VoiceModelError, match="dec_in"):
        write_decoder(base, {k: v for k, v in weights.items() if "dec_in" not in k}, tmp_path / "x", notes={})
    with pytest.raises(VoiceModelError, match="diverged"):
        write_decoder(base, weights | {"head.bias": weights["head.bias"] * np.nan}, tmp_path / "x", notes={})


def test_pulses_and_synthesis_are_those_of_the_package() -> None:
    from hibari import dsp

    window = torch.hann_window(1200)
    f0_hz = inputs()[1]
    mine = pulse_spectra(torch.from_numpy(f0_hz)[None], window)[0].numpy()
    theirs = dsp.stft(dsp.pulses(f0_hz), STEPS)
    # The phase at the beginning differs; the strengths do not.
    assert np.abs(np.abs(mine) - np.abs(theirs))[:, 3:28].mean() < 0.05
    random = np.random.default_rng(0)
    lh, theta, lr, phi = (random.standard_normal((601, STEPS)).astype(np.float32) for _ in range(4))
    silent = np.full((601, STEPS), -30, np.float32)
    parts = tuple(torch.from_numpy(part)[None] for part in (lh, theta, silent, lr, phi))
    spectrum, noise = excite(parts, torch.from_numpy(theirs)[None])
    sound = to_sound(spectrum + noise * random_phases(noise), window)[0].numpy()
    expected = dsp.synth(lh, theta, silent, lr, phi, f0_hz, random)
    assert np.abs(sound - expected)[2400:-2400].max() < 1e-3 * np.abs(expected).max()


def test_the_distance_is_least_for_the_same_sound() -> None:
    distance = MelDistance()
    sound = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 12000)).astype(np.float32) * 0.05)
    assert float(distance(sound, sound)) == pytest.approx(0.0, abs=1e-5)
    assert 0 < float(distance(sound * 0.9, sound)) < float(distance(sound * 0.5, sound))


def example(weights: dict[str, F32]) -> list[Material]:
    """A voice that is twice as loud as the decoder's own, and darker."""
    model = Decoder()
    load_weights(model, weights)
    window = torch.hann_window(1200)
    material = []
    for seed in range(2):
        content, f0_hz, energy = inputs(seed)
        given = [torch.from_numpy(np.ascontiguousarray(x))[None] for x in (content.T, f0_hz, energy)]
        with torch.no_grad():
            spectrum, noise = excite(model(*given), pulse_spectra(given[1], window))
            tilt = torch.linspace(2.0, 0.2, 601)[None, :, None]
            sound = to_sound((spectrum + noise * random_phases(noise)) * tilt, window)[0].numpy()
        material.append(Material(sound[: STEPS * MAKE_STEP], f0_hz, (Version(content, energy),)))
    return material


def test_a_timbre_in_the_head_does_what_it_did_beside_it(weights: dict[str, F32]) -> None:
    model, changed, timbre = Decoder(), Decoder(), Timbre()
    load_weights(model, weights)
    with torch.no_grad():
        timbre.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
        timbre.bias.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
        given = [torch.from_numpy(np.ascontiguousarray(x))[None] for x in (inputs()[0].T, *inputs()[1:])]
        features = model.features(*given)
        expected = timbre.colour(model.parts(features), timbre(features))
        load_weights(changed, timbre.into(weights))
        for mine, theirs, untrained in zip(changed(*given), expected, model(*given), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-3)
            is_phase = theirs is expected[1] or theirs is expected[4]
            assert torch.equal(theirs, untrained) == is_phase


def test_the_likeness_is_that_of_the_speaker_encoder(resemblyzer: Path) -> None:
    from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, SAMPLE_RATE_HZ, speak

    embedder = SpeakerEmbedder(resemblyzer)
    text = "Every morning the harbour wakes up slowly, and the first boats go out."
    woman = speak(text).samples
    man = speak(text, pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio).samples
    assert SAMPLE_RATE_HZ == MAKE_RATE_HZ
    voice = embedder.embed(woman, MAKE_RATE_HZ)
    crops = np.stack([sound[start : start + 38_400] for sound in (woman, man) for start in (12_000, 24_000)])
    sounds = torch.from_numpy(crops).requires_grad_()
    alike = Likeness(resemblyzer, voice)(sounds)
    for mine, crop in zip(alike.tolist(), crops, strict=True):
        assert mine == pytest.approx(similarity(embedder.embed(crop, MAKE_RATE_HZ), voice), abs=0.06)
    assert min(alike[:2]) > max(alike[2:])
    alike.sum().backward()
    assert sounds.grad is not None
    assert float(sounds.grad.abs().max()) > 0


def test_training_lowers_the_loss_and_goes_on_where_it_stopped(
    weights: dict[str, F32], resemblyzer: Path, tmp_path: Path
) -> None:
    material = example(weights)
    likeness = Likeness(resemblyzer, SpeakerEmbedder(resemblyzer).embed(material[0].sound, MAKE_RATE_HZ))
    plan = Plan(seconds=1e6, steps=12, threads=1, batch=2, others=1, crop_frames=48)
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.step == 6:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        Trainer(weights, material, material[:1], likeness, plan, checkpoint=checkpoint).run(stop)
    assert checkpoint.is_file()
    trained = Trainer(weights, material, material[:1], likeness, plan, checkpoint=checkpoint).run(seen.append)
    assert [progress.step for progress in seen] == list(range(1, 13))
    assert seen[-1].loss < 0.95 * seen[0].loss
    assert trained.steps == 12
    assert all(np.isfinite(value).all() for value in trained.weights.values())
    # A checkpoint of other recordings is left aside.
    one = Plan(seconds=1e6, steps=1, threads=1, batch=1)
    assert Trainer(weights, material[:1], [], likeness, one, checkpoint=checkpoint).run().steps == 1


def test_a_diverged_training_is_refused(weights: dict[str, F32], resemblyzer: Path) -> None:
    likeness = Likeness(resemblyzer, np.full(256, 1 / 16, np.float32))
    broken = {name: value * np.float32(math.nan) for name, value in weights.items()}
    with pytest.raises(VoiceModelError, match="diverged"):
        Trainer(broken, example(weights), [], likeness, Plan(seconds=1e6, steps=2, threads=1, batch=1)).run()
