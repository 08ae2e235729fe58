"""Classification networks with one contract: `model(x) == model.head(model.features(x))`, dropout before the last
linear layer.

Images come in 0..1 and are standardised by the first layer, so that no caller has to know a network's statistics.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.vgg import make_layers

from data.names import Refused, suggestion
from models.narrow import resnet10_narrow
from models.weights import read_state

# Statistics of ImageNet in 0..1; grey images use the mean over the three channels.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# (channels, dropout, image_size) -> trunk, number of features.
Trunk = Callable[[int, float, int | None], tuple[nn.Module, int]]
VGG16: list[int | str] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


class Standardise(nn.Module):
    """(x - mean) / std per channel, with the statistics of ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int):
        super().__init__()
        mean, std = torch.tensor(MEAN), torch.tensor(STD)
        if channels == 1:
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        # Constants, not weights: they move with the network but are not saved with it.
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)

    def forward(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
        return (images - self.mean) / self.std


class Classifier(nn.Module):
    """Standardisation, a trunk that gives one feature vector per image, dropout, and one linear layer.

    Attributes: `stochastic_trunk`, whether `features` contains dropout; `classifier`, the last linear layer;
    `smallest`, the smallest side of an image that the trunk accepts.
    """

    def __init__(
        self, trunk: nn.Module, dim: int, channels: int, num_classes: int, dropout: float, name: str, smallest: int
    ):
        super().__init__()
        self.standardise = Standardise(channels)
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, num_classes)
        self.name, self.channels, self.smallest = name, channels, smallest
        self.stochastic_trunk = any(isinstance(module, nn.modules.dropout._DropoutNd) for module in trunk.modules())

    def features(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b d"]:
        """Penultimate features, before the dropout of the head."""
        if images.shape[1] != self.channels or min(images.shape[-2:]) < self.smallest:
            raise Refused(
                f"{self.name} was made for images of {self.channels} "
                f"channel(s) and at least {self.smallest} pixels a side, "
                f"not for {images.shape[1]} x {images.shape[2]} x {images.shape[3]}"
            )
        return self.trunk(self.standardise(images))

    def head(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]:
        """Logits from penultimate features: dropout, then the linear layer."""
        return self.classifier(self.dropout(features))

    def forward(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b c"]:
        """Logits (B, C) of images in 0..1."""
        return self.head(self.features(images))


@dataclass(frozen=True)
class Network:
    """How a trunk is built and what it accepts."""

    trunk: Trunk
    smallest: int = 1  # smallest side of an image
    published: bool = False  # torchvision has ImageNet weights for it under the same name


def _torchvision(name: str, head: str, dim: int) -> Trunk:
    """The torchvision network without the layer `head`, which received `dim` features."""

    def build(channels: int, dropout: float, image_size: int | None) -> tuple[nn.Module, int]:
        trunk = torchvision.models.get_model(name, weights=None, num_classes=1)
        setattr(trunk, head, nn.Identity())
        return _first_convolution(trunk, channels), dim

    return build


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
    return _first_convolution(trunk, channels), 512


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


NETWORKS = {
    "resnet18": Network(_torchvision("resnet18", "fc", 512), published=True),
    "resnet18_cifar": Network(_resnet18_cifar),
    "resnet10_narrow": Network(resnet10_narrow),
    "resnet34": Network(_torchvision("resnet34", "fc", 512), published=True),
    "resnet50": Network(_torchvision("resnet50", "fc", 2048), published=True),
    "densenet121": Network(_torchvision("densenet121", "classifier", 1024), smallest=29, published=True),
    "efficientnet_b0": Network(_torchvision("efficientnet_b0", "classifier", 1280), published=True),
    "vgg16_bn": Network(_vgg16_bn, smallest=32, published=True),
    "small_cnn": Network(_small_cnn, smallest=28),
}


def make_classifier(
    name: str,
    num_classes: int,
    channels: int,
    dropout: float,
    weights: str | Path = "random",
    image_size: int | None = None,
) -> Classifier:
    """A classification network with dropout before its head.

    `weights` is "random" (drawn from torch's global generator: seed it around this call), "imagenet" (torchvision's,
    downloaded once) or a file: a state dict of the torchvision model, or of a network made here. Its head is used where
    the file is of a network made here with as many classes, else the head is random. Networks for grey images take
    colour weights summed over the colours. `image_size`, the smaller side of the images in pixels, checks that the
    network accepts them and shapes `small_cnn` (default there: 28 or more).

    Raises ValueError for an unknown name, a value out of range, an image too small or weights that do not fit, and
    FileNotFoundError for a missing file.
    """
    if name not in NETWORKS:
        raise Refused(f"unknown network {name!r}.{suggestion(name, NETWORKS)} Known: {', '.join(NETWORKS)}")
    if num_classes < 2:
        raise Refused(f"num_classes={num_classes} must be at least 2 (a binary task has two softmax channels)")
    if channels not in (1, 3):
        raise Refused(f"channels={channels} must be 1 (grey) or 3 (colour)")
    if not 0 <= dropout < 1:
        raise Refused(f"dropout={dropout} must lie in 0 <= dropout < 1")
    network = NETWORKS[name]
    smallest = network.smallest
    if name == "small_cnn" and image_size is not None:
        smallest = max(8, min(image_size, smallest))
    if image_size is not None and image_size < smallest:
        raise Refused(f"image_size={image_size} is too small for {name}, which needs at least {smallest} pixels a side")
    state = _read_weights(weights, name)
    model = _build(name, num_classes, channels, dropout, image_size, smallest)
    if state is not None:
        problem = _load(model, state)
        if problem:
            fitting = _fitting_name(state, channels)
            hint = f" It fits {fitting!r}." if fitting else f" It fits none of {', '.join(NETWORKS)}."
            raise Refused(f"the weights in {str(weights)!r} do not fit {name!r}: {problem}.{hint}")
    return model


def _build(
    name: str, num_classes: int, channels: int, dropout: float, image_size: int | None, smallest: int
) -> Classifier:
    trunk, dim = NETWORKS[name].trunk(channels, dropout, image_size)
    return Classifier(trunk, dim, channels, num_classes, dropout, name, smallest)


def _first_convolution(trunk: nn.Module, channels: int) -> nn.Module:
    """The trunk with its first convolution made for this many channels; unchanged for 3."""
    if channels != 3:
        first = next(module for module in trunk.modules() if isinstance(module, nn.Conv2d))
        first.in_channels = channels
        first.weight = nn.Parameter(torch.empty(first.out_channels, channels, *first.kernel_size))
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    return trunk


def _read_weights(weights: str | Path, name: str) -> dict[str, Tensor] | None:
    """The state dict that `weights` names, None for "random"."""
    if weights == "random":
        return None
    if weights == "imagenet":
        return _download(name)
    return read_state(weights, ("random", "imagenet"))


def _download(name: str) -> dict[str, Tensor]:
    if not NETWORKS[name].published:
        known = [other for other, network in NETWORKS.items() if network.published]
        raise Refused(
            f"there are no ImageNet weights for {name!r}.{suggestion(name, known)} They exist for {', '.join(known)}"
        )
    published = torchvision.models.get_model_weights(name)["DEFAULT"]
    try:
        return published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise Refused(
            f"the ImageNet weights of {name!r} could not be downloaded from {published.url} ({error}); "
            f"fetch that file elsewhere and give its path as weights=FILE"
        ) from error


def _load(model: Classifier, state: dict[str, Tensor]) -> str:
    """Copy a state dict into the model; the reason why it does not fit, or '' where it does."""
    ours = any(key.startswith("trunk.") for key in state)
    # The published densenet has names such as `denselayer1.norm.1.weight`, from before dots were forbidden in names.
    given = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key): value for key, value in state.items()}
    if ours:
        given = {key.removeprefix("trunk."): value for key, value in given.items() if key.startswith("trunk.")}
    wanted = model.trunk.state_dict()
    first = next(key for key, value in wanted.items() if value.ndim == 4)
    if first in given and wanted[first].shape[1] == 1 and given[first].ndim == 4 and given[first].shape[1] == 3:
        given[first] = given[first].sum(1, keepdim=True)
    for key, value in wanted.items():
        if key not in given:
            if key.endswith("num_batches_tracked"):  # absent from old files, and unused at a fixed momentum
                given[key] = value
                continue
            return f"it lacks {key!r}"
        if given[key].shape != value.shape:
            return f"{key!r} is {tuple(given[key].shape)}, expected {tuple(value.shape)}"
    extra = [key for key in given if key not in wanted and not re.match(r"(fc|classifier)\.", key)]
    if extra:
        return f"it holds {extra[0]!r}, which this network lacks"
    model.trunk.load_state_dict({key: given[key] for key in wanted})
    head = {"weight": state.get("classifier.weight"), "bias": state.get("classifier.bias")}
    if ours and head["weight"] is not None and head["weight"].shape == model.classifier.weight.shape:
        model.classifier.load_state_dict(head)
    return ""


def _fitting_name(state: dict[str, Tensor], channels: int) -> str:
    """The name of a network that these weights fit, or ''."""
    for name, network in NETWORKS.items():
        with torch.device("meta"):
            if not _load(
                _build(name, 2, channels, 0.5, None, network.smallest), {k: v.to("meta") for k, v in state.items()}
            ):
                return name
    return ""
