"""Networks of timm by name, without their head: what is asked of them is found by a pass without numbers.

timm is imported when one is asked for. Its networks always see three channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from data.names import Refused, suggestion

PATIENCE = 10  # s that a hub may take to answer
ANY_SIZE = {"dynamic_img_size": True, "dynamic_img_pad": True}  # of transformers that interpolate their positions


@dataclass(frozen=True)
class TimmNetwork:
    """How a network of timm is made for images of one size or of any, and what it gives."""

    name: str  # in timm, with or without the tag of its weights
    options: tuple[tuple[str, Any], ...]  # of timm.create_model
    dim: int  # features
    side: int  # the one side that images may have, 0 for any
    native: int  # side of the images that its weights were trained on
    mean: tuple[float, ...]
    std: tuple[float, ...]
    heads: tuple[str, ...]  # layers that files of its weights hold and it is without


def create(name: str, **options: Any) -> Any:
    """The network without its head, with random weights from torch's global generator: (B, 3, H, W) -> (B, D)."""
    import timm

    return timm.create_model(name, pretrained=False, num_classes=0, **options)


def build(network: TimmNetwork) -> nn.Module:
    """The network as it was described."""
    return create(network.name, **dict(network.options))


@cache
def described(name: str, image_size: int | None = None) -> TimmNetwork:
    """What there is to know about a network of timm for images of `image_size` pixels a side, None for its own size.

    Transformers are made for images of any size where they can be, else for this one; no weights are made here, and no
    random number drawn. Refused for an unknown name, and for a size that the network does not take.
    """
    with torch.device("meta"):
        model, options = _for_size(name, image_size)
        settings = model.pretrained_cfg
        native = settings["input_size"][-1]
        side = image_size or native
        if "img_size" not in options and settings.get("fixed_input_size") and not options and side != native:
            raise Refused(_other_size(name, side, native))
        try:
            dim = model.eval()(torch.zeros(2, 3, side, side)).shape[1]
        except Exception as error:  # whatever the network stumbles over
            raise Refused(_other_size(name, side, native)) from error
    only = side if settings.get("fixed_input_size") and "dynamic_img_size" not in options else 0
    heads = settings.get("classifier") or ()
    return TimmNetwork(
        name,
        tuple(options.items()),
        dim,
        only,
        native,
        tuple(settings["mean"]),
        tuple(settings["std"]),
        (heads,) if isinstance(heads, str) else tuple(heads),
    )


@lru_cache(maxsize=1)
def published_state(name: str) -> dict[str, Tensor]:
    """The weights that timm has for a network, with its names; they are downloaded once. No random number is drawn.

    Refused where there are none, and where they cannot be fetched: the sentence says which file to fetch elsewhere.
    """
    import timm
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    settings = timm.get_pretrained_cfg(name)
    hub, url = (str(getattr(settings, field, None) or "") for field in ("hf_hub_id", "url"))
    if not hub and not url:
        raise Refused(f"timm has no weights for {name!r}: use weights=random, or give a file as weights=FILE")
    cached = hub and try_to_load_from_cache(hub, "model.safetensors")
    source = hf_hub_url(hub, "model.safetensors") if hub else url
    try:
        if not cached:  # without a network the hub's own client waits for a minute
            urlopen(Request(source, method="HEAD"), timeout=PATIENCE).close()
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # clients of hubs raise what they like
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refused(
            f"the weights of 'timm:{name}' could not be downloaded from {source} ({reason}); "
            "fetch that file elsewhere and give its path as weights=FILE"
        ) from error


def _for_size(name: str, image_size: int | None) -> tuple[Any, dict[str, Any]]:
    """The network for images of this size and the options that made it so; the plain one where it takes none."""
    import timm

    try:
        model = create(name)
    except RuntimeError as error:  # unknown name or tag
        known = [*timm.list_models(), *timm.list_pretrained()]
        near = suggestion(name, known)
        raise Refused(f"timm has no network {name!r}.{near} timm.list_models() names all {len(known)}") from error
    settings = model.pretrained_cfg
    if not settings.get("fixed_input_size"):
        return model, {}
    tries: list[dict[str, Any]] = [ANY_SIZE]
    if image_size and image_size != settings["input_size"][-1]:
        tries.append({"img_size": image_size})
    for options in tries:
        try:
            return create(name, **options), options
        except (TypeError, AssertionError):  # it has not this option
            continue
    return model, {}


def _other_size(name: str, side: int, native: int) -> str:
    return f"image_size={side}: 'timm:{name}' does not take images of {side} pixels a side, use image_size={native}"
