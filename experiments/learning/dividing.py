"""A training step on several devices that comes to what one device does, but for the rounding of sums.

Every process prepares the whole batch, whose images and views are addressed by the step. A network gets its share of
the rows, and what it gives is put together again, so that every loss is that of the whole batch, whatever it is a mean
over: classes of unlike weight, the pixels of a batch, its Dice. Dropout draws for the whole batch and keeps its rows.
Batch norm takes the statistics of the whole batch (Ioffe and Szegedy, 2015, algorithm 1) with sync_batchnorm=True. Then
gradients are summed. A detector gives losses in place of outputs: theirs is the mean over the shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from experiments.learning.parallel import group, rows_of_all, summed
from experiments.learning.teacher import MeanTeacher, learners_of

NOISE = (_DropoutNd, StochasticDepth)  # layers that draw for each row of a batch
NOISE_OF_TIMM = "DropPath"  # another, known by its name: timm is imported by those who use it


@contextmanager
def divided(model: nn.Module) -> Iterator[None]:
    """For a block, each process passes its share of a batch through the networks of a model, and all get the whole."""
    if group().size == 1:
        yield
        return
    hooks, batch_norm = [], functional.batch_norm
    for network in [*learners_of(model), *([model.teacher] if isinstance(model, MeanTeacher) else [])]:
        hooks += [network.register_forward_pre_hook(_take_share), network.register_forward_hook(_put_together)]
        for layer in network.modules():
            if isinstance(layer, NOISE) or type(layer).__name__ == NOISE_OF_TIMM:
                hooks += [layer.register_forward_pre_hook(_as_whole), layer.register_forward_hook(_take_back)]
    if group().sync_batchnorm:
        functional.batch_norm = _batch_norm
    try:
        yield
    finally:
        functional.batch_norm = batch_norm
        for hook in hooks:
            hook.remove()


def sum_gradients(model: nn.Module) -> None:
    """Give each weight the sum of its gradients over the processes; without sync_batchnorm also take the mean of their
    running statistics, which follow the shares.
    """
    if group().size == 1:
        return
    weights = [p for p in model.parameters() if p.requires_grad]
    kept = [] if group().sync_batchnorm else [b for b in model.buffers() if b.is_floating_point()]
    there = torch.tensor([float(p.grad is not None) for p in weights], device=weights[0].device)
    parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in weights] + kept
    total = summed(torch.cat([part.detach().reshape(-1).float() for part in parts] + [there]))
    pieces = total.split([part.numel() for part in parts] + [len(there)])
    for weight, piece, count in zip(weights, pieces, pieces[-1].tolist(), strict=False):
        weight.grad = piece.view_as(weight).to(weight.dtype, copy=True) if count else None
    with torch.no_grad():
        for buffer, piece in zip(kept, pieces[len(weights) :], strict=False):
            buffer.copy_(piece.view_as(buffer) / group().size)


def own_rows(n: int) -> slice:
    """The rows of this process of a batch of n, which the number of processes divides."""
    share = n // group().size
    return slice(group().rank * share, (group().rank + 1) * share)


def _take_share(network: nn.Module, inputs: tuple) -> tuple:
    """Of a batch, or of lists with an entry for each of its images, what this process computes."""
    return tuple(part[own_rows(len(part))] if isinstance(part, Tensor | list) else part for part in inputs)


def _put_together(network: nn.Module, inputs: tuple, output: Any) -> Any:
    if isinstance(output, dict):
        return type(output)((name, _put_together(network, inputs, part)) for name, part in output.items())
    if isinstance(output, tuple):
        return tuple(_put_together(network, inputs, part) for part in output)
    return _Together.apply(output) if output.ndim else _Mean.apply(output)


class _Together(torch.autograd.Function):
    """The rows of all processes, which compute the same loss of them: each knows the gradient of its own."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return rows_of_all(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0][own_rows(len(gradients[0]))]


class _Mean(torch.autograd.Function):
    """The mean over the processes of a number."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return summed(value) / group().size

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / group().size


def _as_whole(layer: nn.Module, inputs: tuple) -> tuple | None:
    """The rows at their place in a batch of zeros, in the same layout, for which a layer draws what it does alone."""
    if not layer.training:
        return None
    (rows,) = inputs
    n, last = len(rows) * group().size, torch.channels_last
    layout = last if not rows.is_contiguous() and rows.is_contiguous(memory_format=last) else torch.contiguous_format
    whole = rows.new_zeros(n, *rows.shape[1:]).contiguous(memory_format=layout)
    whole[own_rows(n)] = rows
    return (whole,)


def _take_back(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return output[own_rows(len(output))] if layer.training else output


def _batch_norm(
    x: Float[Tensor, "b c *s"],
    running_mean: Float[Tensor, " c"] | None,
    running_var: Float[Tensor, " c"] | None,
    weight: Float[Tensor, " c"] | None = None,
    bias: Float[Tensor, " c"] | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "b c *s"]:
    """torch's `batch_norm` with the statistics of all processes in training."""
    if not training:
        known = running_mean, running_var
        return torch.batch_norm(x, weight, bias, *known, False, momentum, eps, torch.backends.cudnn.enabled)
    found, mean, var, count = _Normalised.apply(x, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
    return found


class _Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) weight + bias with the mean and variance of a channel over all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        axes = [0, *range(2, x.ndim)]
        sums = torch.stack([x.sum(axes, dtype=torch.float64), x.float().square().sum(axes, dtype=torch.float64)])
        n = torch.full_like(sums[:1], x.numel() / x.shape[1])
        total = summed(torch.cat([sums, n]))
        count = total[2, 0]
        mean = total[0] / count
        var = (total[1] / count - mean.square()).clamp_min(0)
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt())
        ctx.count = count
        ctx.mark_non_differentiable(mean, var, count)
        narrow = mean.float(), var.float()
        found = torch.batch_norm(x, weight, bias, *narrow, False, 0.0, eps, torch.backends.cudnn.enabled)
        return found, mean, var, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight, mean, inverse = ctx.saved_tensors
        axes, shape = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
        towards = gradients[0].float()
        standard = (x.float() - mean.float().view(shape)) * inverse.float().view(shape)
        own = torch.stack([towards.sum(axes, dtype=torch.float64), (towards * standard).sum(axes, dtype=torch.float64)])
        of_bias, of_weight = (summed(own) / ctx.count).float().view(2, *shape)
        scale = inverse.float().view(shape) * (1 if weight is None else weight.float().view(shape))
        to_x = scale * (towards - of_bias - standard * of_weight)
        needs = ctx.needs_input_grad
        to_weight, to_bias = (own[i].to(mean.dtype).float() if needs[2 - i] else None for i in (1, 0))
        return to_x.to(x.dtype), to_weight, to_bias, None
