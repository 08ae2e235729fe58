"""Stochastic passes through a trained network: Monte Carlo dropout, with fresh or with shared masks.

Dropout that stays on in prediction samples weights from an approximate posterior (Gal and Ghahramani, 2016). All else
stays in evaluation mode, so batch normalisation neither depends on the batch nor changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from data.names import Refused

Place = tuple[nn.Module, str, _DropoutNd]  # parent, name of the child, the dropout layer


@contextmanager
def mc_dropout(model: nn.Module) -> Iterator[nn.Module]:
    """Switch the dropout layers of a network in evaluation mode on; every call of the yielded network is one stochastic
    pass.

    Each image of each pass draws its own masks from torch's global generator. The yielded object is `model` itself; on
    exit, also after an exception, it has the very layers it had before.

    Raises ValueError where all passes would be equal or some dropout would stay off: no dropout layer, p = 0 in all of
    them, a kind other than Dropout and Dropout2d, a layer that serves at two places, a network in training mode.
    """
    from baal.bayesian.dropout import MCDropoutModule  # late: it brings torchmetrics

    places = _dropout_places(model)
    try:
        with MCDropoutModule(model):
            yield model
    finally:
        _put_back(places)


@contextmanager
def shared_masks(model: nn.Module, *seed: int) -> Iterator[Callable[[int], None]]:
    """Stochastic passes in which pass k uses the same dropout masks for every image of every batch.

    That is one fixed sample of the weights per pass, which joint quantities over several images need (BatchBALD, EPIG).

        with shared_masks(model, seed, cycle) as set_pass:
            for images in batches:
                for k in range(mc_samples):
                    set_pass(k)
                    logits = model(images)

    Masks have the shape of one example and depend on `seed` (non-negative integers), k, the layer and that shape alone,
    not on the device, the batch or torch's generators. Before the first `set_pass`, k is 0. Restores and raises as
    `mc_dropout`.
    """
    places = _dropout_places(model)
    layers = [SharedMask(layer, (*seed, number)) for number, (_, _, layer) in enumerate(places)]

    def set_pass(k: int) -> None:
        for layer in layers:
            layer.k = k

    try:
        for (parent, name, _), layer in zip(places, layers, strict=True):
            setattr(parent, name, layer)
        yield set_pass
    finally:
        _put_back(places)


class SharedMask(nn.Module):
    """Dropout with one mask for all examples of all batches, addressed by (address, k)."""

    def __init__(self, layer: _DropoutNd, address: tuple[int, ...]):
        super().__init__()
        self.p, self.per_channel, self.address = layer.p, isinstance(layer, nn.Dropout2d), address
        self.k = 0
        self._made_for: tuple | None = None
        self._mask = torch.empty(0)
        self.train(layer.training)

    def forward(self, x: Float[Tensor, " b *shape"]) -> Float[Tensor, " b *shape"]:
        shape = (*x.shape[1:2], *(1 for _ in x.shape[2:])) if self.per_channel else tuple(x.shape[1:])
        if self._made_for != (self.k, shape, x.device, x.dtype):
            draws = np.random.default_rng([*self.address, self.k]).random(shape, dtype=np.float32)
            keep = torch.from_numpy(draws >= self.p).to(x.device)
            self._mask = torch.where(keep, 1 / (1 - self.p) if self.p < 1 else 0.0, 0.0).to(x.dtype)
            self._made_for = (self.k, shape, x.device, x.dtype)
        return x * self._mask


def mc_logits(
    model: nn.Module,
    images: Float[Tensor, "b channels h w"],
    k_passes: int,
    set_pass: Callable[[int], None] | None = None,
) -> Iterator[Float[Tensor, "b c *s"]]:
    """The logits of K stochastic passes, one after the other, inside `mc_dropout` or `shared_masks` (then with its
    `set_pass`).

    What comes before the first dropout is computed once for all passes, where the network says what that is: the trunk,
    if only its head is stochastic (`stochastic_trunk` is False, with `features` and `head`), or what its `begin` gives
    to its `finish`. The masks are as in whole passes, and so are the results.
    """
    network: Any = model
    if not getattr(model, "stochastic_trunk", True):
        stochastic, given = network.head, network.features(images)
    elif hasattr(network, "begin"):
        stochastic, given = network.finish, network.begin(images)
    else:
        stochastic, given = network, images
    if set_pass is not None and hasattr(network, "passes"):
        yield from network.passes(given, k_passes, set_pass)
        return
    for k in range(k_passes):
        if set_pass is not None:
            set_pass(k)
        yield stochastic(given)


def _dropout_places(model: nn.Module) -> list[Place]:
    """Every dropout layer with its parent, after checking that stochastic passes will differ as they should."""
    if any(module.training for module in model.modules()):
        raise Refused(
            "stochastic passes need the network in evaluation mode, "
            "or its batch norm would change: call model.eval() first"
        )
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if isinstance(child, _DropoutNd)
    ]
    if not places:
        raise Refused(
            f"{type(model).__name__} has no dropout layer, so its stochastic passes would all be equal and BALD zero; "
            "choose a network with nn.Dropout or nn.Dropout2d"
        )
    if all(layer.p == 0 for _, _, layer in places):
        raise Refused(
            f"every dropout layer of {type(model).__name__} has p=0, "
            "so its stochastic passes would all be equal and BALD zero; "
            "set dropout above 0"
        )
    for number, (_, name, layer) in enumerate(places):
        if not isinstance(layer, nn.Dropout | nn.Dropout2d):
            kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
            raise Refused(
                f"dropout layer {name!r} is a {kind}, which would not be sampled; use nn.Dropout or nn.Dropout2d"
            )
        if any(layer is other for _, _, other in places[:number]):
            raise Refused(
                f"dropout layer {name!r} serves at two places of {type(model).__name__}; "
                "give each place a layer of its own"
            )
    return places


def _put_back(places: list[Place]) -> None:
    for parent, name, layer in places:
        setattr(parent, name, layer)
