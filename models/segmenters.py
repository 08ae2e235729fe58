"""The U-Net (Ronneberger et al., 2015) with batch normalisation and dropout after each block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from data.names import Refused, require_one_of
from models.blocks import block
from models.encoders import make_encoder_unet


class UNet(nn.Module):
    """Images (B, channels, H, W) in 0..1 -> logits (B, C, H, W); any H and W (padded inside to a multiple of 2^(depth -
    1)).

    `width` channels at full resolution, doubled at each of `depth` levels: width 16 and depth 6 give 16 to 512, as in
    the GlaS active-learning literature. Dropout of whole channels (Tompson et al., 2015) follows every block, so that
    stochastic passes vary at every scale; a mask for every pixel would cost a quarter of the training time, and
    neighbours tell each other what is missing.
    """

    def __init__(self, num_classes: int, channels: int = 3, width: int = 16, depth: int = 6, dropout: float = 0.1):
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.multiple = 2 ** (depth - 1)
        self.down = nn.ModuleList(block(a, b, dropout) for a, b in zip([channels, *widths], widths, strict=False))
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps)
        self.merge = nn.ModuleList(block(2 * b, b, dropout) for _, b in steps)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b c h w"]:
        return self.finish(self.begin(images))

    def begin(self, images: Float[Tensor, "b channels h w"]) -> tuple[Tensor, torch.Size]:
        """All before the first dropout, which stochastic passes share: the first map, and the size of the images."""
        bottom, right = (-side % self.multiple for side in images.shape[-2:])
        x = F.pad((images - 0.5) / 0.25, (0, right, 0, bottom), mode="replicate")
        for layer in self._first[:-1]:
            x = layer(x)
        return x, images.shape[-2:]

    def finish(self, begun: tuple[Tensor, torch.Size]) -> Float[Tensor, "b c h w"]:
        """The logits from what `begin` gave, which stays as it is."""
        first, (height, width) = begun
        skips = self._encode(first)
        x = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)[..., :height, :width]

    def features(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b d"]:
        """Embedding of an image: the deepest feature map, averaged over space."""
        return self._encode(self.begin(images)[0])[-1].mean((2, 3))

    @property
    def _first(self) -> list[nn.Module]:
        """The layers of the first block, of which the last is its dropout."""
        return list(self.down[0].children())

    def _encode(self, first: Tensor) -> list[Tensor]:
        maps = [self._first[-1](first)]
        for convolve in self.down[1:]:
            maps.append(convolve(F.max_pool2d(maps[-1], 2)))
        return maps


# Name -> (num_classes, channels, width, depth, dropout).
SEGMENTERS: dict[str, Callable[..., nn.Module]] = {"unet": UNet}


def make_segmenter(
    name: str,
    num_classes: int,
    channels: int,
    width: int = 16,
    depth: int = 6,
    dropout: float = 0.1,
    encoder: str = "none",
    weights: str | Path = "random",
) -> nn.Module:
    """A network with `model(images (B, channels, H, W) in 0..1) -> logits (B, C, H, W)` and `features(images) -> (B,
    D)`.

    `width` channels at full resolution, doubled at each of `depth` levels. An `encoder`, a classification network by
    name, brings levels and `weights` of its own (see `make_classifier`). Raises Refused for an unknown name, and for
    weights without an encoder.
    """
    require_one_of("model", name, SEGMENTERS)
    if encoder != "none":
        return make_encoder_unet(encoder, num_classes, channels, width, dropout, weights)
    if weights != "random":
        raise Refused(f"weights={str(weights)!r} are for an encoder, and model={name} has none: set encoder=resnet18")
    return SEGMENTERS[name](num_classes, channels, width=width, depth=depth, dropout=dropout)
