"""Gradients of strided convolutions over a single pixel hold nothing of what lay in memory before."""

import pytest
import torch
from torch import nn

from experiments.learning.recipe import autocast
from experiments.learning.single_pixels import single_pixels_in_float32

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1)])
def test_gradients_are_finite_whatever_lay_in_memory(shape):
    torch.manual_seed(0)
    convolution = nn.Conv2d(64, 64, 3, 2, padding=1, bias=False)
    for _ in range(60):
        maps = torch.randn(4, 64, *shape, requires_grad=True)
        freed = [torch.full((2**14,), float("nan")) for _ in range(20)]
        del freed
        with autocast(CPU, "bfloat16"), single_pixels_in_float32(convolution, CPU, "bfloat16"):
            found = convolution(maps)
        convolution.zero_grad()
        found.float().square().mean().backward()
        gradient = convolution.weight.grad
        assert gradient is not None and bool(gradient.isfinite().all())


def test_all_else_stays_in_mixed_precision_and_the_network_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3))
    with autocast(CPU, "bfloat16"), single_pixels_in_float32(model, CPU, "bfloat16"):
        assert model[0](torch.rand(1, 3, 9, 9)).dtype == torch.bfloat16
        assert "forward" in vars(model[0]) and "forward" not in vars(model[1])
    assert not any("forward" in vars(module) for module in model)
    with single_pixels_in_float32(model, CPU, "float32"):
        assert "forward" not in vars(model[0])
