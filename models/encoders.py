"""A U-Net whose encoder is a classification network, for weights of ImageNet or of a pre-training."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet

from data.names import Refused, require_one_of
from models.blocks import block
from models.classifiers import Classifier, make_classifier
from models.networks import TIMM, network_of

ENCODERS = ("none", "resnet18", "resnet34", "resnet50", "resnet18_cifar", "efficientnet_lite0")  # and those of timm
PROBE = 64  # pixels a side of an image without numbers, whose maps tell the strides


class EncoderUNet(nn.Module):
    """Images (B, channels, H, W) in 0..1 -> logits (B, C, H, W); any H and W (padded inside to a multiple of the
    coarsest stride).

    The maps of the encoder, one for each of its strides, are merged from the coarsest to full resolution as in the
    U-Net (Ronneberger et al., 2015); where the encoder has no map, as at full resolution, there is none to merge.
    The decoder has `width` channels at full resolution, doubled at each level. Dropout of whole channels follows each
    of its blocks; the encoder has none, so that stochastic passes differ in the decoder.
    """

    def __init__(
        self, encoder: Classifier, levels: dict[int, tuple[int, int]], n_classes: int, width: int, dropout: float
    ):
        super().__init__()
        self.standardise, self.trunk = encoder.standardise, encoder.trunk
        self.used = [number for number, _ in levels.values()]
        self.multiple = coarsest = max(levels)
        strides = [2**level for level in range(coarsest.bit_length() - 1)][::-1]
        inputs = [levels[coarsest][1], *(width * stride for stride in strides)]
        outputs = [width * stride for stride in strides]
        skipped = [levels[stride][1] if stride in levels else 0 for stride in strides]
        self.skips = [stride in levels for stride in strides]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in zip(inputs, outputs, strict=False))
        self.merge = nn.ModuleList(block(b + s, b, dropout) for b, s in zip(outputs, skipped, strict=True))
        self.head = nn.Conv2d(outputs[-1], n_classes, 1)

    def forward(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b c h w"]:
        return self.finish(self.begin(images))

    def begin(self, images: Float[Tensor, "b channels h w"]) -> tuple[list[Tensor], torch.Size]:
        """All before the first dropout, which passes share: the encoder's maps, and the size of the images."""
        return self._encode(images), images.shape[-2:]

    def finish(self, begun: tuple[list[Tensor], torch.Size]) -> Float[Tensor, "b c h w"]:
        """The logits from what `begin` gave, which stays as it is."""
        maps, (height, width) = list(begun[0]), begun[1]
        x = maps.pop()
        for up, merge, skips in zip(self.up, self.merge, self.skips, strict=True):
            x = merge(torch.cat([maps.pop(), up(x)], 1) if skips else up(x))
        return self.head(x)[..., :height, :width]

    def features(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b d"]:
        """Embedding of an image: the deepest feature map, averaged over space."""
        return self._encode(images)[-1].mean((2, 3))

    def _encode(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        padded = F.pad(images, (0, right, 0, bottom), mode="replicate")
        maps = _maps(self.trunk, self.standardise(padded))
        return [maps[number] for number in self.used]


def make_encoder_unet(
    encoder: str, num_classes: int, channels: int, width: int, dropout: float, weights: str | Path = "random"
) -> EncoderUNet:
    """A U-Net with an encoder by name, whose `weights` are as in `make_classifier`. Refused for one without pyramid."""
    if not encoder.startswith(TIMM):
        require_one_of("encoder", encoder, (*ENCODERS[1:], f"{TIMM}<name>"))
    levels = _levels(encoder, channels)
    network = make_classifier(encoder, 2, channels, 0.0, weights=weights)
    return EncoderUNet(network, levels, num_classes, width, dropout)


@cache
def _levels(encoder: str, channels: int) -> dict[int, tuple[int, int]]:
    """Stride -> which of the encoder's maps has it, the last of several, and its channels; from fine to coarse."""
    if network_of(encoder).side:
        raise Refused(f"encoder={encoder} takes images of one size alone: use a convolutional one, such as resnet18")
    with torch.device("meta"), torch.no_grad():
        network = make_classifier(encoder, 2, channels, 0.0).eval()
        maps = _maps(network.trunk, network.standardise(torch.zeros(2, channels, PROBE, PROBE)))
    levels = {PROBE // found.shape[-1]: (number, found.shape[1]) for number, found in enumerate(maps)}
    strides = list(levels)
    if len(levels) < 2 or any(2 * a != b for a, b in zip(strides, strides[1:], strict=False)):
        found = ", ".join(map(str, strides))
        expected = "a U-Net needs maps each half as large as the one before: use resnet18, for example"
        raise Refused(f"encoder={encoder} has maps of stride {found}, and {expected}")
    return levels


def _maps(trunk: nn.Module, x: Tensor) -> list[Tensor]:
    """The maps (B, D, H', W') that a trunk makes on its way, from fine to coarse."""
    if not isinstance(trunk, ResNet):
        return trunk.forward_intermediates(x, intermediates_only=True)  # type: ignore[operator]
    x = trunk.relu(trunk.bn1(trunk.conv1(x)))
    maps = [x]
    x = trunk.maxpool(x)
    for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        x = layer(x)
        maps.append(x)
    return maps
