"""The parts of public speech networks that the recipe uses, cut out of their ONNX files.

hibari (text to speech, one voice, Apache-2.0) falls apart into three:

    ids, speed -> [text] -> latents and prosody features per token, token of each frame (40 Hz)
    those      -> [prosody] -> latents, F0 and energy per frame (80 Hz)
    those      -> [decoder] -> spectra (hibari.dsp turns them into sound)

Kokoro (54 voices, Apache-2.0) into two: text to (latent, F0, energy, durations), and a decoder. Both speak the
same phoneme alphabet and the same units of F0 and energy, and count durations in the same 25 ms frames, so
hibari's latents can be laid along Kokoro's speech.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from obs_twin.zoo.store import ModelStore

HIBARI_LATENTS = "/Transpose_22_output_0"  # (1, 128, L)
HIBARI_PROSODY = "/Transpose_55_output_0"  # (1, 192, L)
HIBARI_TOKEN = "/ReduceSum_1_output_0"  # (F40,) int64: which token each 25 ms frame belongs to
HIBARI_FRAMES = "/Reshape_42_output_0"  # (1, 128, 2 * F40)
HIBARI_ENERGY = "/Mul_62_output_0"  # (1, 2 * F40)
HIBARI_SPECTRA = ("lh", "theta", "ln", "lr", "phi")  # each (1, 601, 2 * F40)

KOKORO_LATENTS = "/encoder/MatMul_1_output_0"  # (1, 512, F40)
KOKORO_F0 = "/encoder/Reshape_output_0"  # (1, 2 * F40) Hz
KOKORO_ENERGY = "/encoder/Reshape_1_output_0"  # (1, 2 * F40)
KOKORO_DURATIONS = "/encoder/Round_output_0"  # (1, L) frames of 25 ms


def open_session(path: Path) -> Any:
    """An ONNX Runtime session on one CPU thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _cut(source: Path, target: Path, inputs: list[str], outputs: list[str]) -> Path:
    if not target.is_file():
        onnx.utils.extract_model(str(source), str(target), inputs, outputs, check_model=False)
    return target


def cut_hibari(folder: Path) -> tuple[Path, Path, Path]:
    """Write hibari's text, prosody and decoder networks into `folder`; returns their paths.

    Raises:
        ModelError: hibari has not been fetched.
    """
    source = ModelStore().path("hibari_tts")
    tokens = [HIBARI_LATENTS, HIBARI_PROSODY, HIBARI_TOKEN]
    frames = [HIBARI_FRAMES, "f0", HIBARI_ENERGY]
    return (
        _cut(source, folder / "hibari_text.onnx", ["ids", "speed"], tokens),
        _cut(source, folder / "hibari_prosody.onnx", tokens, frames),
        _cut(source, folder / "hibari_decoder.onnx", frames, list(HIBARI_SPECTRA)),
    )


def cut_kokoro(source: Path, folder: Path) -> tuple[Path, Path]:
    """Write Kokoro's text network and decoder into `folder`; returns their paths."""
    frames = [KOKORO_LATENTS, KOKORO_F0, KOKORO_ENERGY]
    return (
        _cut(source, folder / "kokoro_text.onnx", ["tokens", "style", "speed"], [*frames, KOKORO_DURATIONS]),
        _cut(source, folder / "kokoro_decoder.onnx", [*frames, "style"], ["audio"]),
    )
