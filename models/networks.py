"""Trunks of classification networks by name: how each is built, what it accepts, and where its ImageNet weights are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vgg import make_layers

from data.names import Refused, suggestion
from models import pretrained, timm_networks
from models.narrow import resnet10_narrow

# Statistics of ImageNet in 0..1; grey images use the mean over the three channels.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# (channels, dropout, image_size) -> trunk, number of features.
Trunk = Callable[[int, float, int | None], tuple[nn.Module, int]]
State = dict[str, Tensor]
TIMM = "timm:"  # begins the names of networks that are timm's
VGG16: list[int | str] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


@dataclass(frozen=True)
class Network:
    """How a trunk is built and what it accepts."""

    trunk: Trunk
    smallest: int = 1  # smallest side of an image
    side: int = 0  # the one side that images may have, 0 for any
    published: Callable[[], State] | None = None  # the state dict of its ImageNet weights
    mean: tuple[float, ...] = MEAN  # of the images that it wants, in 0..1
    std: tuple[float, ...] = STD
    repeats_grey: bool = False  # always of three channels; else its first layer is made for grey images
    heads: tuple[str, ...] = ("fc", "classifier")  # layers in files of weights that the trunk is without


def network_of(name: str, image_size: int | None = None) -> Network:
    """The network of this name, one of NETWORKS or "timm:" and a name of timm's. Refused for an unknown one."""
    if name.startswith(TIMM):
        found = timm_networks.described(name.removeprefix(TIMM), image_size)
        return Network(
            lambda channels, dropout, size: (timm_networks.build(found), found.dim),
            side=found.side,
            published=partial(timm_networks.published_state, found.name),
            mean=found.mean,
            std=found.std,
            repeats_grey=True,
            heads=found.heads,
        )
    if name not in NETWORKS:
        known = f"Known: {', '.join(NETWORKS)}, {TIMM}<name>"
        raise Refused(f"unknown network {name!r}.{suggestion(name, NETWORKS)} {known}")
    return NETWORKS[name]


def first_convolution(trunk: nn.Module, channels: int) -> nn.Module:
    """The trunk with its first convolution made for this many channels; unchanged for 3."""
    if channels != 3:
        first = next(module for module in trunk.modules() if isinstance(module, nn.Conv2d))
        first.in_channels = channels
        first.weight = nn.Parameter(torch.empty(first.out_channels, channels, *first.kernel_size))
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    return trunk


def _torchvision(name: str, head: str, dim: int) -> Trunk:
    """The torchvision network without the layer `head`, which received `dim` features."""

    def build(channels: int, dropout: float, image_size: int | None) -> tuple[nn.Module, int]:
        trunk = torchvision.models.get_model(name, weights=None, num_classes=1)
        setattr(trunk, head, nn.Identity())
        return first_convolution(trunk, channels), dim

    return build


def _from_torchvision(name: str) -> State:
    """The ImageNet weights that torchvision publishes, downloaded once. Refused where they cannot be fetched."""
    published = torchvision.models.get_model_weights(name)["DEFAULT"]
    try:
        return published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise Refused(
            f"the ImageNet weights of {name!r} could not be downloaded from {published.url} ({error}); "
            f"fetch that file elsewhere and give its path as weights=FILE"
        ) from error


def _resnet18_cifar(channels: int, dropout: float, image_size: int | None) -> tuple[nn.Module, int]:
    """ResNet-18 that starts with a 3x3 convolution at full resolution, as in He et al. (2016), section 4.2."""
    trunk = torchvision.models.resnet18(num_classes=1)
    trunk.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(trunk.conv1.weight, mode="fan_out", nonlinearity="relu")
    trunk.set_submodule("maxpool", nn.Identity())
    trunk.set_submodule("fc", nn.Identity())
    return trunk, 512


def _vgg16_bn(channels: int, dropout: float, image_size: int | None) -> tuple[nn.Module, int]:
    """The convolutions of VGG16 with batch norm, averaged over space: its three linear layers (124 M weights) are left
    out.
    """
    layers = make_layers(VGG16, batch_norm=True)
    for module in layers.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.get_parameter("bias"))
    trunk = nn.Sequential(OrderedDict(features=layers, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))
    return first_convolution(trunk, channels), 512


def _efficientnet_lite0(channels: int, dropout: float, image_size: int | None) -> tuple[nn.Module, int]:
    """EfficientNet-Lite0 with timm's names; its weights need no network, see `models.pretrained`."""
    return timm_networks.create(pretrained.NETWORK), pretrained.DIM


def _small_cnn(channels: int, dropout: float, image_size: int | None) -> tuple[nn.Module, int]:
    """The network of the BatchBALD paper for MNIST (Kirsch et al., 2019): two 5x5 convolutions and a hidden layer.

    At 28 pixels it is the published one. Larger maps are averaged to 4x4; below 28 pixels the convolutions are padded,
    so that 16 pixels still end in a 4x4 map and 8 pixels in 2x2.
    """
    padding = 2 if image_size is not None and image_size < 28 else 0
    side = min(4, image_size // 4) if padding and image_size else 4
    trunk = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 32, 5, padding=padding),
            dropout1=nn.Dropout2d(dropout),
            pool1=nn.MaxPool2d(2),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 5, padding=padding),
            dropout2=nn.Dropout2d(dropout),
            pool2=nn.MaxPool2d(2),
            relu2=nn.ReLU(),
            average=nn.AdaptiveAvgPool2d(side),
            flatten=nn.Flatten(),
            hidden=nn.Linear(64 * side**2, 128),
            relu3=nn.ReLU(),
        )
    )
    return trunk, 128


def _published(name: str, head: str, dim: int, smallest: int = 1) -> Network:
    return Network(_torchvision(name, head, dim), smallest, published=partial(_from_torchvision, name))


NETWORKS = {
    "resnet18": _published("resnet18", "fc", 512),
    "resnet18_cifar": Network(_resnet18_cifar),
    "resnet10_narrow": Network(resnet10_narrow),
    "resnet34": _published("resnet34", "fc", 512),
    "resnet50": _published("resnet50", "fc", 2048),
    "densenet121": _published("densenet121", "classifier", 1024, smallest=29),
    "efficientnet_b0": _published("efficientnet_b0", "classifier", 1280),
    "efficientnet_lite0": Network(
        _efficientnet_lite0,
        published=pretrained.imagenet_state,
        mean=pretrained.MEAN,
        std=pretrained.STD,
        repeats_grey=True,
    ),
    "vgg16_bn": Network(_vgg16_bn, smallest=32, published=partial(_from_torchvision, "vgg16_bn")),
    "small_cnn": Network(_small_cnn, smallest=28),
}
