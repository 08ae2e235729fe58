"""Distance to the decision boundary, found by walking to it: the nearer an image, the less it takes to change its
class.

Both return minus the size of the perturbation, so that the nearest image comes first. The network is run in evaluation
mode and left as it was: training flags restored, buffers and gradients of the parameters untouched. An image stops as
soon as its class changes; one whose class does not change within `max_steps` counts as farthest, with the most that the
walk allows for a size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from data.limits import Between
from data.names import Refused
from heuristics.core.registry import scorer


@scorer
def bim(
    model: nn.Module,
    images: Float[Tensor, "b channels h w"],
    step: Annotated[float, Between(1e-6, 1)] = 2 / 255,
    max_steps: Annotated[int, Between(1, 10_000)] = 50,
) -> Float[Tensor, " b"]:
    """Minus the largest pixel change (L-infinity, in 0..1) by which the basic iterative method changes the class.

    x <- clip(x + step sign(d loss / d x), 0, 1) with the cross-entropy of the predicted class as loss (Kurakin et al.,
    2017, sec. 2.2). The images stay in 0..1. Inside the last step the crossing is found by linear interpolation of the
    margin between the predicted class and the best other one, so that scores are not multiples of `step`; for a linear
    classifier of two classes, away from 0 and 1, that is margin / ||w_1 - w_2||_1 exactly. At most `max_steps` + 1
    forward and `max_steps` backward passes. Raises ValueError for images outside 0..1, and for a model that does not
    give at least two logits per image.
    """
    if images.numel() and not (images.amin() >= 0 and images.amax() <= 1):
        raise Refused(
            f"bim needs images in 0..1; got values from {images.amin().item():.3g} to {images.amax().item():.3g}"
        )
    with attacking(model):
        original = images.detach().clone()
        size = original.new_full((len(images),), step * max_steps)
        # Images still on their way; all below are of these alone.
        active = torch.arange(len(images), device=images.device)
        before, now = original, original.clone()
        predicted, margin_before = None, original.new_empty(0)
        for turn in range(max_steps + 1):
            now = now.requires_grad_()
            logits = logits_of(model, now)
            if predicted is None:
                predicted = logits.argmax(1)
            margin = margin_of(logits.detach(), predicted)
            crossed = margin <= 0
            # On the first turn only ties have crossed, and those at distance 0.
            share = margin_before[crossed] / (margin_before - margin)[crossed] if turn else margin[crossed]
            boundary = torch.lerp(before[crossed], now.detach()[crossed], share[:, None, None, None].to(now.dtype))
            size[active[crossed]] = (boundary - original[crossed]).abs().flatten(1).amax(1)
            if crossed.all() or turn == max_steps:
                break
            # A positive multiple of the gradient of the cross-entropy, but one that does not vanish where p rounds to
            # 1.
            (gradient,) = torch.autograd.grad(odds_against(logits, predicted).sum(), now)
            going = ~crossed
            before = now.detach()[going]
            now = (before + step * gradient[going].sign()).clamp_(0, 1)
            active, original, predicted, margin_before = active[going], original[going], predicted[going], margin[going]
    return -size


@scorer
def deepfool(
    model: nn.Module,
    images: Float[Tensor, "b channels h w"],
    max_steps: Annotated[int, Between(1, 10_000)] = 50,
    overshoot: Annotated[float, Between(0, 10)] = 0.02,
    n_classes: Annotated[int, Between(2, 10_000)] = 10,
) -> Float[Tensor, " b"]:
    """Minus the length (L2) of DeepFool's perturbation, an estimate of the distance to the boundary.

    Each step goes to the nearest boundary of the linearised network: with f_k = z_k - z_0, w_k = d f_k / d x and 0 the
    predicted class, r = |f_l| / ||w_l||^2 w_l for l = argmin_k |f_k| / ||w_k|| (Moosavi-Dezfooli et al., 2016, alg. 2;
    as a query strategy Ducoffe & Precioso, 2018). The k are the `n_classes` highest logits, the predicted one included.
    The network sees x + (1 + overshoot) r_total; the length is that of r_total, exact for a linear classifier. As in
    the paper, perturbed images are not clipped to 0..1. The farthest size is the diagonal of the unit cube of pixels,
    which also bounds each step. At most `max_steps` + 1 forward and `max_steps` x `n_classes` backward passes. Raises
    ValueError for a model that does not give at least two logits per image.
    """
    with attacking(model):
        original = images.detach().clone()
        farthest = original[:1].numel() ** 0.5
        size = original.new_full((len(images),), farthest)
        active = torch.arange(len(images), device=images.device)
        total = torch.zeros_like(original)
        predicted = None
        for turn in range(max_steps + 1):
            now = (original + (1 + overshoot) * total).requires_grad_()
            logits = logits_of(model, now)
            if predicted is None:
                predicted = logits.argmax(1)
            crossed = margin_of(logits.detach(), predicted) <= 0
            size[active[crossed]] = total[crossed].flatten(1).norm(dim=1).clamp_max(farthest)
            if crossed.all() or turn == max_steps:
                break
            step, reachable = _to_nearest_boundary(logits, now, predicted, n_classes, farthest)
            going = reachable & ~crossed
            active, original, predicted, total = active[going], original[going], predicted[going], (total + step)[going]
            if not len(active):
                break
    return -size


def _to_nearest_boundary(
    logits: Float[Tensor, "b c"],
    images: Float[Tensor, "b channels h w"],
    predicted: Int[Tensor, " b"],
    n_classes: int,
    farthest: float,
) -> tuple[Float[Tensor, "b channels h w"], Bool[Tensor, " b"]]:
    """Step to the nearest class boundary of the linearised network, and whether any class has a gradient to follow."""
    own = logits.gather(1, predicted[:, None])
    others = logits.scatter(1, predicted[:, None], -torch.inf)
    rivals = others.topk(min(max(n_classes, 2), logits.shape[1]) - 1, 1).indices
    gaps = logits.gather(1, rivals) - own
    nearest = torch.full_like(gaps[:, 0].detach(), torch.inf)
    step = torch.zeros_like(images)
    for k in range(rivals.shape[1]):
        last = k + 1 == rivals.shape[1]
        (gradient,) = torch.autograd.grad(gaps[:, k].sum(), images, retain_graph=not last)
        norm = gradient.flatten(1).norm(dim=1)
        distance = torch.where(norm > 0, gaps[:, k].detach().abs() / norm, torch.inf)
        nearer = distance < nearest
        nearest = torch.where(nearer, distance, nearest)
        length = (distance.clamp_max(farthest) / norm)[:, None, None, None].to(images.dtype)
        step = torch.where(nearer[:, None, None, None], length * gradient, step)
    return step.detach(), nearest.isfinite()


@contextmanager
def attacking(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and recording of gradients for a block, whatever surrounds it; training flags are put back."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, training in flags:
            module.training = training


def logits_of(model: nn.Module, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b c"]:
    """The logits, in single precision at least; refuses what is not one row of at least two per image."""
    logits = model(images)
    if logits.ndim != 2 or logits.shape[1] < 2:
        shape = tuple(logits.shape)
        raise Refused(
            f"adversarial distances need logits (B, C) with C >= 2, one class per image; the model gave {shape}"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def margin_of(logits: Float[Tensor, "b c"], predicted: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Logit of the class first predicted minus the best other one: not positive once the class has changed."""
    own = logits.gather(1, predicted[:, None])[:, 0]
    return own - logits.scatter(1, predicted[:, None], -torch.inf).amax(1)


def odds_against(logits: Float[Tensor, "b c"], predicted: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """log((1 - p) / p) for the probability p of the class first predicted; the cross-entropy is its softplus."""
    own = logits.gather(1, predicted[:, None])[:, 0]
    return logits.scatter(1, predicted[:, None], -torch.inf).logsumexp(1) - own
