"""The synthesizer of an RVC voice, bound in every dialect that exporters speak, and tried once when it is opened.

A dialect is told from names, types and shapes; what shapes leave open (which axis is time, how many samples a frame
gives, what the sample rate is) is measured on a trial run. `bound` says in words what was found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.rvc.bind import Port, Role, assign, open_network, ports_of, run_network
from obs_twin.voice.rvc.content import CONTENT_RATE_HZ, VERSIONS, ContentEncoder

FRAME_SAMPLES = 160  # of 16 kHz: one frame of the synthesizer, 10 ms
NOISE_CHANNELS = 192
NOISE_SCALE = 0.66666  # of the noise in RVC's own inference; graphs that take it from outside leave it out
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 16_000, 96_000
TRIAL_FRAMES = (48, 64)

Metadata = Mapping[str, Any]


def _features(port: Port) -> bool:
    if not port.real or port.rank != 3:
        return False
    return port.shape[2] in VERSIONS or (port.shape[2] is None and port.shape[1] != NOISE_CHANNELS)


SYNTHESIZER_ROLES = {
    "features": Role("content features", ("phone", "feats", "features", "units"), _features, required=True),
    "length": Role(
        "number of frames",
        ("phone_lengths", "p_len", "lengths", "phone_length"),
        lambda port: port.whole and port.rank <= 1,
        required=True,
    ),
    "pitch": Role("coarse pitch", ("pitch", "f0_coarse"), lambda port: port.whole and port.rank == 2),
    "pitchf": Role("F0", ("pitchf", "nsff0", "f0"), lambda port: port.real and port.rank == 2),
    "speaker": Role("speaker", ("ds", "sid", "speaker", "spk"), lambda port: port.whole and port.rank <= 1),
    "noise": Role(
        "noise",
        ("rnd", "noise"),
        lambda port: port.real and port.rank == 3 and port.shape[1] in (NOISE_CHANNELS, None),
    ),
}


class Synthesizer:
    """The voice itself: features and pitch to sound.

    Attributes:
        channels: numbers in a feature frame: 256 (v1) or 768 (v2).
        hop_samples: samples that one frame of 10 ms gives.
        fixed_frames: the only number of frames that it takes, or None.
        has_f0: whether it wants the pitch.
    """

    def __init__(self, path: Path) -> None:
        self._what = f"the RVC voice {path.name}"
        self._model = open_network(path, self._what)
        self._ports = assign(ports_of(self._model, self._what), SYNTHESIZER_ROLES, self._what)
        if ("pitch" in self._ports) != ("pitchf" in self._ports):
            lone = "coarse pitch, but no F0" if "pitch" in self._ports else "F0, but no coarse pitch"
            raise VoiceModelError(
                f"{self._what}: it takes {lone}. An RVC voice takes both or neither; export it again."
            )
        self.has_f0 = "pitchf" in self._ports
        self.metadata = _metadata(self._model.metadata)
        self._audio = _output(list(self._model.outputs), ("audio", "waveform"))
        self.channels = self._find_channels()
        self.fixed_frames = self._find_fixed_frames()
        self.hop_samples = self._find_hop()
        self.bound = self._describe()

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sound that it makes."""
        return self.hop_samples * CONTENT_RATE_HZ // FRAME_SAMPLES

    @property
    def provider(self) -> str:
        """What runs it."""
        return self._model.provider

    def run(self, features: F32, f0_hz: F32, noise: F32, speaker_id: int) -> F32:
        """Make sound of T frames: features (T, channels), F0 (T,) with 0 where unvoiced, noise (192, T) of deviation 1.

        Returns (T * hop_samples,) float32. Raises VoiceModelError when the network fails.
        """
        audio = self._run(features, f0_hz, noise, speaker_id)
        wanted = len(features) * self.hop_samples
        return audio[:wanted] if len(audio) >= wanted else np.pad(audio, (0, wanted - len(audio)))

    def _run(self, features: F32, f0_hz: F32, noise: F32, speaker_id: int) -> F32:
        ports = self._ports
        frames = len(features)
        values: dict[str, Any] = {
            "features": features[None],
            "length": np.full(_solid(ports["length"]), frames),
            "pitch": coarse_pitch(f0_hz)[None],
            "pitchf": f0_hz[None],
            "noise": noise[None] * NOISE_SCALE,
        }
        if "speaker" in ports:
            values["speaker"] = np.full(_solid(ports["speaker"]), speaker_id)
        feeds = {port.name: port.cast(values[key]) for key, port in ports.items()}
        audio = np.asarray(run_network(self._model, feeds)[self._audio], np.float32).reshape(-1)
        return np.nan_to_num(audio, nan=0.0, posinf=1.0, neginf=-1.0)

    def _find_channels(self) -> int:
        size = self._ports["features"].shape[2]
        if size is None:
            size = self.metadata.get("embChannels")
        if size is None:
            size = 256 if self.metadata.get("version") == "v1" else self._channels_by_trial()
        if size not in VERSIONS:
            raise VoiceModelError(f"{self._what}: a frame has {size} numbers; expected 256 (RVC v1) or 768 (RVC v2).")
        return int(size)

    def _channels_by_trial(self) -> int:
        for channels in (768, 256):
            try:
                self._trial(channels, self._find_fixed_frames() or TRIAL_FRAMES[0])
            except VoiceModelError:
                continue
            return channels
        raise VoiceModelError(f"{self._what}: it runs neither with 256 (RVC v1) nor with 768 numbers a frame (RVC v2).")

    def _find_fixed_frames(self) -> int | None:
        sizes = [self._ports["features"].shape[1]]
        sizes += [self._ports[key].shape[1] for key in ("pitch", "pitchf") if key in self._ports]
        if "noise" in self._ports:
            sizes.append(self._ports["noise"].shape[2])
        fixed = {size for size in sizes if size is not None}
        if len(fixed) > 1:
            raise VoiceModelError(f"{self._what}: its inputs have different lengths, {sorted(fixed)}. Export it again.")
        return fixed.pop() if fixed else None

    def _trial(self, channels: int, frames: int) -> int:
        rng = np.random.default_rng(0)
        features = rng.standard_normal((frames, channels), np.float32) * np.float32(0.1)
        noise = rng.standard_normal((NOISE_CHANNELS, frames), np.float32)
        return len(self._run(features, np.full(frames, 220.0, np.float32), noise, 0))

    def _find_hop(self) -> int:
        trials = (self.fixed_frames,) if self.fixed_frames else TRIAL_FRAMES
        samples = [self._trial(self.channels, frames) for frames in trials]
        if len(trials) == 1:
            hop = round(samples[0] / trials[0])
        else:
            hop = round((samples[1] - samples[0]) / (trials[1] - trials[0]))
        missing = [frames * hop - count for frames, count in zip(trials, samples, strict=True)]
        rate = hop * CONTENT_RATE_HZ // FRAME_SAMPLES
        if not (LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ and all(0 <= short <= 2 * hop for short in missing)):
            raise VoiceModelError(
                f"{self._what}: {trials[0]} frames of 10 ms gave {samples[0]} samples, which fits no sample rate from "
                f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz. This is not an RVC voice."
            )
        return hop

    def _describe(self) -> list[str]:
        names = {"features": "features", "length": "length", "pitch": "coarse pitch", "pitchf": "F0"}
        names |= {"speaker": "speaker", "noise": "noise"}
        inputs = ", ".join(f"{names[key]} = {self._ports[key].describe()}" for key in names if key in self._ports)
        length = f"always {self.fixed_frames} frames" if self.fixed_frames else "any length"
        lines = [
            f"Voice: RVC {VERSIONS[self.channels]}, {'with' if self.has_f0 else 'without'} pitch, "
            f"{self.sample_rate_hz} Hz, {length}",
            f"  inputs: {inputs}",
            f"  output: {list(self._model.outputs)[self._audio]}",
        ]
        stated = self.metadata.get("samplingRate")
        if isinstance(stated, int) and stated != self.sample_rate_hz:
            lines.append(
                f"  Note: its metadata say {stated} Hz, but {TRIAL_FRAMES[0]} frames give samples for "
                f"{self.sample_rate_hz} Hz; the latter is used."
            )
        embedder = str(self.metadata.get("embedder") or "hubert_base")
        if embedder.lower() not in ("hubert_base", "contentvec", "hubert-base", "content_vec"):
            lines.append(f"  Note: it was made for the content encoder {embedder!r}; another one gives babble.")
        return lines


@lru_cache(maxsize=2)
def open_networks(
    synthesizer: Path, content: Path, _marks: tuple[tuple[int, int], ...]
) -> tuple[Synthesizer, ContentEncoder]:
    """Both networks, kept open from one delay or setting to the next: opening them takes seconds.

    `_marks` are the files' sizes and times, so that a changed file is opened anew. Several streams may share them:
    running keeps no state.
    """
    voice = Synthesizer(synthesizer)
    return voice, ContentEncoder(content, voice.channels)


def file_mark(path: Path, what: str) -> tuple[int, int]:
    """Size and time of a file. Raises VoiceModelError if there is none."""
    try:
        stat = path.stat()
    except OSError as error:
        raise VoiceModelError(f"{what}: {path} cannot be read: {error.strerror or error}.") from error
    return stat.st_size, stat.st_mtime_ns


def coarse_pitch(f0_hz: F32) -> Any:
    """F0 (T,) in Hz as whole numbers 1..255: mel from 50 to 1100 Hz; unvoiced (0) is 1. As RVC was trained."""
    low, high = 1127 * np.log(1 + np.array([50.0, 1100.0]) / 700)
    mel = 1127 * np.log(1 + np.asarray(f0_hz, np.float64) / 700)
    scaled = np.where(mel > 0, (mel - low) * 254 / (high - low) + 1, 1)
    return np.rint(np.clip(scaled, 1, 255)).astype(np.int64)


def _metadata(found: Mapping[str, str]) -> Metadata:
    """What w-okada's exporter wrote beside the network; empty if it did not, or if it cannot be read."""
    try:
        document = json.loads(found.get("metadata", "{}"))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _output(names: list[str], known: tuple[str, ...]) -> int:
    return next((index for index, name in enumerate(names) if name.lower() in known), 0)


def _solid(port: Port) -> tuple[int, ...]:
    return tuple(size or 1 for size in port.shape)
