"""The SAEHD network of `spec` in PyTorch, with the same names for its weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from obs_twin.face.training.spec import FloatArray, SaehdSpec


def depth_to_space(x: Tensor) -> Tensor:
    """`(N, 4 C, H, W)` to `(N, C, 2 H, 2 W)`; the order of the channels is TensorFlow's, and so DeepFaceLab's."""
    n, c, h, w = x.shape
    return x.view(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


class Saehd(nn.Module):
    """Two faces' autoencoder. Pictures are `(N, 3, S, S)` BGR 0..1, masks `(N, 1, S, S)` 0..1."""

    def __init__(self, spec: SaehdSpec) -> None:
        super().__init__()
        self.spec = spec
        # Weights by the names of the specification; a parameter's name must not hold a dot.
        self._layers = nn.ParameterDict()
        for name, shape in spec.shapes().items():
            value = torch.zeros(shape)
            if name.endswith(".weight"):
                nn.init.kaiming_normal_(value, a=0.1)
                if ".dense" in name:
                    nn.init.xavier_uniform_(value)
            self._layers[name.replace(".", "/")] = nn.Parameter(value)

    def weights(self) -> dict[str, FloatArray]:
        """All weights, as `SaehdSpec.shapes` names them."""
        return {name.replace("/", "."): np.asarray(p.detach().float().numpy()) for name, p in self._layers.items()}

    def target(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The target's face and its mask, from a picture of the target (training) or of the actor (use)."""
        return self._decode(self._code(picture, "src"), "src")

    def actor(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's face and its mask, from the actor's own picture."""
        return self._decode(self._code(picture, "dst"), "dst")

    def _code(self, x: Tensor, side: str) -> Tensor:
        for i in range(4):
            x = F.leaky_relu(self._convolve(f"encoder.down{i}", x, stride=2), 0.1)
        x = x.flatten(1)
        if "u" in self.spec.opts:
            x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)
        if self.spec.archi == "df":
            return self._inter("inter", x)
        both = self._inter("inter_AB", x)
        return torch.cat([both if side == "src" else self._inter("inter_B", x), both], 1)

    def _inter(self, name: str, code: Tensor) -> Tensor:
        x = self._dense(f"{name}.dense2", self._dense(f"{name}.dense1", code))
        side = self.spec.dense_side
        return self._upscale(f"{name}.upscale1", x.view(-1, self.spec.code_channels, side, side))

    def _decode(self, code: Tensor, side: str) -> tuple[Tensor, Tensor]:
        decoder = "decoder" if self.spec.archi == "liae" else f"decoder_{side}"
        x = code
        for i in range(3):
            x = self._upscale(f"{decoder}.upscale{i}", x)
            inner = F.leaky_relu(self._convolve(f"{decoder}.res{i}.conv1", x), 0.2)
            x = F.leaky_relu(x + self._convolve(f"{decoder}.res{i}.conv2", inner), 0.2)
        if "d" in self.spec.opts:
            x = depth_to_space(torch.cat([self._convolve(f"{decoder}.out_conv{i}", x) for i in ("", 1, 2, 3)], 1))
        else:
            x = self._convolve(f"{decoder}.out_conv", x)
        mask = code
        for i in range(4 if "d" in self.spec.opts else 3):
            mask = self._upscale(f"{decoder}.upscalem{i}", mask)
        return torch.sigmoid(x), torch.sigmoid(self._convolve(f"{decoder}.out_convm", mask))

    def _upscale(self, name: str, x: Tensor) -> Tensor:
        return depth_to_space(F.leaky_relu(self._convolve(name, x), 0.1))

    def _convolve(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self._layer(name)
        return F.conv2d(x, weight, bias, stride, weight.shape[2] // 2)

    def _dense(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, *self._layer(name))

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        name = name.replace(".", "/")
        return self._layers[f"{name}/weight"], self._layers[f"{name}/bias"]


def dssim(a: Tensor, b: Tensor, window: Callable[[Tensor], Tensor]) -> Tensor:
    """Structural dissimilarity (1 - SSIM) / 2 of two pictures (Wang et al. 2004); `window` is a local mean."""
    mean_a, mean_b = window(a), window(b)
    var_a, var_b = window(a * a) - mean_a**2, window(b * b) - mean_b**2
    covariance = window(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return ((1 - ssim) / 2).mean()
