"""Whisper's encoder, taught to hear a stream: low-rank changes of its weights (Hu et al. 2021, LoRA).

Whisper hears 30 s at once. `obs_twin.voice.listening` gives it one block after another, each with a little of what
comes next, and of what came before only keys and values. Here a whole row of blocks is computed side by side, exactly
as the stream would: what comes after a block is computed for that block alone (Shi et al. 2021, Emformer: right
context as copies), and a block attends to the middles of the blocks before it, as these were when they were new.

Whisper's own weights stay as they are; what is learnt are the changes, `W + up @ down`, whose file (models/) is small
and this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from obs_twin.voice.listening import MEL_LEAD, MEMORY_TOKENS, TOKEN, Loudness, log_mel
from obs_twin.voice.neural_grid import HEAR_FRAME
from obs_twin.voice.training.network import Adapter
from obs_twin.zoo.whisper_encoder_onnx import CHANGED, HEADS, LAYERS, TAPS, WIDTH

RANK = 32


@dataclass(frozen=True)
class Blocks:
    """A way to cut a row: frames of 25 ms in a block, a multiple of 4, and after it. In tokens of 20 ms: `middle` and
    `length`, what comes after included."""

    frames: int
    right_frames: int

    @property
    def middle(self) -> int:
        return self.frames * HEAR_FRAME // TOKEN

    @property
    def length(self) -> int:
        return (self.frames + self.right_frames) * HEAR_FRAME // TOKEN


class Changed(nn.Module):
    """A linear layer whose weights stand, with what is learnt beside them."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], rank: int, kind: torch.dtype
    ) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(weight).to(kind), persistent=False)
        self.register_buffer("bias", torch.from_numpy(bias).to(kind), persistent=False)
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) * weight.shape[1] ** -0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, x: Tensor, changed: bool) -> Tensor:
        kind = self.weight.dtype
        x = x.to(kind)
        y = F.linear(x, self.weight, self.bias)
        return y + F.linear(F.linear(x, self.down.to(kind)), self.up.to(kind)) if changed else y


class Hearing(nn.Module):
    """The encoder. `weights`: CTranslate2's names without "encoder/"; `kind`: of the numbers that are multiplied."""

    def __init__(
        self, weights: Mapping[str, npt.NDArray[np.generic]], rank: int = RANK, kind: torch.dtype = torch.bfloat16
    ) -> None:
        super().__init__()
        self._kind = kind
        numbers = {name: np.array(weight, np.float32) for name, weight in weights.items()}
        self.linear = nn.ModuleDict(
            {
                name.replace("/", "-"): Changed(numbers[f"{name}/weight"], numbers[f"{name}/bias"], rank, kind)
                for name in CHANGED
            }
        )
        for name, array in numbers.items():
            if name.startswith("conv") or name.endswith(("gamma", "beta", "encodings")):
                self.register_buffer(name.replace("/", "-"), torch.from_numpy(array), persistent=False)

    def forward(self, mel: Tensor, places: Tensor, blocks: Blocks, changed: bool = True) -> Tensor:
        """Features (B, blocks, length, 1024) of `mel` (B, blocks, 80, lead + 2 length); `places` (B,) is the place of
        each row's first token in Whisper's 1500. `changed`: with what was learnt."""
        rows, count = mel.shape[:2]
        x = self._convolve(mel.flatten(0, 1)).view(rows, count, blocks.length, WIDTH)
        block, token = (torch.arange(n, device=mel.device) for n in (count, blocks.length))
        at = block[:, None] * blocks.middle + token
        x = x + self._buffer("position_encodings/encodings")[places[:, None, None] + at]
        mask = past_mask(count, blocks).to(mel.device, self._kind)
        taps = []
        for layer in range(LAYERS):
            name = f"layer_{layer}/"
            y = self._norm(x, name + "self_attention/layer_norm")
            x = x + self._attend(y, name + "self_attention/", mask, blocks, changed)
            y = self._norm(x, name + "ffn/layer_norm")
            y = F.gelu(self._linear(y, name + "ffn/linear_0", changed))
            x = x + self._linear(y, name + "ffn/linear_1", changed)
            if layer in TAPS.values():
                taps.append(x)
        return torch.cat([*taps, self._norm(x, "layer_norm").float()], dim=-1)

    def _attend(self, x: Tensor, name: str, mask: Tensor, blocks: Blocks, changed: bool) -> Tensor:
        rows, count, length, _ = x.shape
        size = WIDTH // HEADS
        query, key, value = self._linear(x, name + "linear_0", changed).view(*x.shape[:3], 3, HEADS, size).unbind(3)
        query = (query * size**-0.5).permute(0, 3, 1, 2, 4)  # rows, heads, blocks, tokens, size
        key, value = (part.permute(0, 3, 1, 2, 4) for part in (key, value))
        own = query @ key.transpose(-1, -2)  # rows, heads, blocks, tokens, tokens
        if count == 1:
            y = own.softmax(-1) @ value
        else:
            past_key, past_value = (part[:, :, :, : blocks.middle].flatten(2, 3) for part in (key, value))
            past = (query.flatten(2, 3) @ past_key.transpose(-1, -2)).view(rows, HEADS, count, length, -1) + mask
            share = torch.cat([past, own], dim=-1).softmax(-1)
            of_past, of_own = share[..., :-length], share[..., -length:]
            y = (of_past.flatten(2, 3) @ past_value).view(query.shape) + of_own @ value
        return self._linear(y.permute(0, 2, 3, 1, 4).flatten(-2), name + "linear_1", changed)

    def _convolve(self, mel: Tensor) -> Tensor:
        mel = mel.to(self._kind)
        for name, stride in (("conv1", 1), ("conv2", 2)):
            weight, bias = (self._buffer(f"{name}/{part}").to(self._kind) for part in ("weight", "bias"))
            mel = F.gelu(F.conv1d(mel, weight, bias, stride=stride, padding=1))
        return mel.transpose(1, 2)[:, MEL_LEAD // 2 :].float()

    def _linear(self, x: Tensor, name: str, changed: bool) -> Tensor:
        y: Tensor = self.linear[name.replace("/", "-")](x, changed)
        return y

    def _norm(self, x: Tensor, name: str) -> Tensor:
        scale, offset = (self._buffer(f"{name}/{part}") for part in ("gamma", "beta"))
        return F.layer_norm(x, (WIDTH,), scale, offset)

    def _buffer(self, name: str) -> Tensor:
        return self.get_buffer(name.replace("/", "-"))

    def changes(self) -> dict[str, npt.NDArray[np.float16]]:
        """What was learnt: "NAME/down" (rank, in) and "NAME/up" (out, rank) for each layer NAME that is changed."""
        found = {}
        for name in CHANGED:
            layer = self.linear[name.replace("/", "-")]
            for part in ("down", "up"):
                found[f"{name}/{part}"] = getattr(layer, part).detach().cpu().numpy().astype(np.float16)
        return found


class Pupils(nn.Module):
    """What learns."""

    def __init__(self, hearing: Hearing, adapter: Adapter) -> None:
        super().__init__()
        self.hearing = hearing
        self.adapter = adapter


def past_mask(count: int, blocks: Blocks) -> Tensor:
    """(count, 1, count * middle) 0 where a block may attend to the middle of an earlier one, else -inf."""
    own, other = torch.arange(count)[:, None], torch.arange(count)[None]
    seen = (other < own) & ((own - other) * blocks.middle <= MEMORY_TOKENS)
    mask = torch.zeros(count, count).masked_fill(~seen, -torch.inf).repeat_interleave(blocks.middle, dim=1)
    return mask[:, None]


def mel_of_blocks(x: npt.NDArray[np.float32], count: int, blocks: Blocks) -> npt.NDArray[np.float32]:
    """(count, 80, lead + 2 length) what the stream (N,) at 16 kHz gives to the encoder, block by block."""
    lead = np.zeros(MEL_LEAD * HEAR_FRAME, np.float32)
    end = 2 * ((count - 1) * blocks.middle + blocks.length)
    levels = log_mel(np.concatenate([lead, x]), -len(lead), -MEL_LEAD, end)
    loudness = Loudness()
    found = []
    for block in range(count):
        first = 2 * block * blocks.middle
        found.append(loudness.scaled(levels[:, first : first + MEL_LEAD + 2 * blocks.length]))
    return np.stack(found)


def write_changes(hearing: Hearing, path: Path) -> None:
    """Write what was learnt as a `.npz`, whole or not at all."""
    part = path.with_suffix(".part.npz")
    np.savez(part, allow_pickle=False, **hearing.changes())
    part.replace(path)


def read_changes(hearing: Hearing, path: Path) -> None:
    """Give `hearing` what was learnt before.

    Raises:
        ValueError: the file is of another encoder.
        OSError: the file cannot be read.
    """
    with np.load(path, allow_pickle=False) as file:
        found = {_state_name(name): torch.from_numpy(file[name].astype(np.float32)) for name in file.files}
    try:
        hearing.load_state_dict(found)
    except RuntimeError as error:
        raise ValueError(f"{path} does not change this encoder: {error}") from error


def _state_name(name: str) -> str:
    layer, _, part = name.rpartition("/")
    return f"linear.{layer.replace('/', '-')}.{part}"
