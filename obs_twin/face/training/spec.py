"""The shape of a SAEHD network, DeepFaceLab's autoencoder for faces, and of all its weights.

Two faces share one encoder. In `df` each has a decoder of its own; in `liae` they share the decoder too, and the
code between them is in two halves, of which one knows both faces and the other only the actor's. Names and sizes are
DeepFaceLab's (iperov/DeepFaceLab, `core/leras/archis/DeepFakeArchi.py`, `models/Model_SAEHD`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SaehdSpec:
    """One network's sizes.

    Attributes:
        resolution: side of the square picture, a multiple of 16, with `d` of 32.
        archi: `df` or `liae`.
        opts: letters: `u` normalises the code (more likeness), `d` doubles the resolution in the last step.
        ae_dims, e_dims, d_dims, d_mask_dims: width of the code, the encoder, the decoder and its mask branch.
    """

    resolution: int = 224
    archi: str = "liae"
    opts: str = "ud"
    ae_dims: int = 256
    e_dims: int = 64
    d_dims: int = 64
    d_mask_dims: int = 22

    def __post_init__(self) -> None:
        step = 32 if "d" in self.opts else 16
        if self.archi not in ("df", "liae") or set(self.opts) - set("ud"):
            raise ValueError(f"the network should be df or liae with -u, -d or -ud, found {self.archi}-{self.opts}")
        if self.resolution % step or self.resolution < 2 * step:
            raise ValueError(f"the resolution should be a multiple of {step} from {2 * step}, found {self.resolution}")

    @property
    def name(self) -> str:
        """As DeepFaceLab writes it: "liae-ud 224"."""
        return f"{self.archi}{'-' + self.opts if self.opts else ''} {self.resolution}"

    @property
    def dense_side(self) -> int:
        """Side of the smallest picture, the one that the code is unfolded to."""
        return self.resolution // (32 if "d" in self.opts else 16)

    @property
    def encoded(self) -> int:
        """Numbers that leave the encoder."""
        return self.e_dims * 8 * (self.resolution // 16) ** 2

    @property
    def code_channels(self) -> int:
        """Channels that leave one of the networks in between."""
        return self.ae_dims * (2 if self.archi == "liae" else 1)

    @property
    def inters(self) -> tuple[str, ...]:
        """The networks between encoder and decoder."""
        return ("inter_AB", "inter_B") if self.archi == "liae" else ("inter",)

    @property
    def decoders(self) -> tuple[str, ...]:
        return ("decoder",) if self.archi == "liae" else ("decoder_src", "decoder_dst")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """{weight: shape}: convolutions `(out, in, k, k)`, dense `(out, in)`, each with a `.bias`."""
        shapes: dict[str, tuple[int, ...]] = {}

        def layer(name: str, *shape: int) -> None:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

        widths = [3, *(self.e_dims * min(2**i, 8) for i in range(4))]
        for i in range(4):
            layer(f"encoder.down{i}", widths[i + 1], widths[i], 5, 5)
        out = self.code_channels
        for inter in self.inters:
            layer(f"{inter}.dense1", self.ae_dims, self.encoded)
            layer(f"{inter}.dense2", self.dense_side**2 * out, self.ae_dims)
            layer(f"{inter}.upscale1", out * 4, out, 3, 3)
        code = out * (2 if self.archi == "liae" else 1)
        for decoder in self.decoders:
            into, into_mask = code, code
            for i, factor in enumerate((8, 4, 2)):
                width, mask_width = self.d_dims * factor, self.d_mask_dims * factor
                layer(f"{decoder}.upscale{i}", width * 4, into, 3, 3)
                layer(f"{decoder}.res{i}.conv1", width, width, 3, 3)
                layer(f"{decoder}.res{i}.conv2", width, width, 3, 3)
                layer(f"{decoder}.upscalem{i}", mask_width * 4, into_mask, 3, 3)
                into, into_mask = width, mask_width
            layer(f"{decoder}.out_conv", 3, into, 1, 1)
            if "d" in self.opts:
                for i in (1, 2, 3):
                    layer(f"{decoder}.out_conv{i}", 3, into, 3, 3)
                layer(f"{decoder}.upscalem3", self.d_mask_dims * 4, into_mask, 3, 3)
                into_mask = self.d_mask_dims
            layer(f"{decoder}.out_convm", 1, into_mask, 1, 1)
        return shapes


def random_weights(spec: SaehdSpec, seed: int = 0) -> dict[str, FloatArray]:
    """Weights of the right shapes and of usual size (He et al. 2015), for measuring speed.

    The face that comes out is a blurred nothing, but its mask is nearly full, so that all of it has to be drawn.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in spec.shapes().items():
        if name.endswith(".bias"):
            weights[name] = np.full(shape, 4.0 if "out_convm" in name else 0.0, np.float32)
            continue
        scale = (0.1 if "out_conv" in name else 1.0) * (2.0 / np.prod(shape[1:])) ** 0.5
        weights[name] = rng.standard_normal(shape, np.float32) * np.float32(scale)
    return weights
