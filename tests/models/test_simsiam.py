"""SimSiam: the loss by hand, the stopped gradient, the layers of the published code, and what collapse is."""

from __future__ import annotations

import math

import torch
from pytest import approx, mark
from torch import nn

from models.classifiers import make_classifier
from models.simsiam import SimSiam, collapsed, encoder_state, output_std, simsiam_loss


def network(dim=16, layers=2, name="small_cnn"):
    torch.manual_seed(0)
    return SimSiam(make_classifier(name, 2, 3, 0.0, image_size=16), dim, layers)


def test_the_loss_is_the_mean_of_two_negative_cosines():
    z1, z2 = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    p1, p2 = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 5.0], [0.0, -1.0]])
    d1 = -(3 / 5 + 1 / math.sqrt(2)) / 2  # p1 with z2
    d2 = -(0 - 1) / 2  # p2 with z1
    assert float(simsiam_loss((z1, z2), (p1, p2))) == approx((d1 + d2) / 2)


def test_no_gradient_flows_into_the_targets():
    z = tuple(torch.randn(4, 3, requires_grad=True) for _ in range(2))
    p = tuple(torch.randn(4, 3, requires_grad=True) for _ in range(2))
    simsiam_loss(z, p).backward()
    assert all(target.grad is None for target in z) and all(part.grad.abs().sum() > 0 for part in p)


@mark.parametrize("layers", [2, 3])
def test_projector_and_predictor_are_the_published_ones(layers):
    model = network(dim=16, layers=layers)
    kinds = [type(part).__name__ for part in model.projector]
    assert kinds == [*["Linear", "BatchNorm1d", "ReLU"] * (layers - 1), "Linear", "BatchNorm1d"]
    assert all(part.bias is None for part in model.projector if isinstance(part, nn.Linear))
    assert [part.affine for part in model.projector if isinstance(part, nn.BatchNorm1d)] == [True] * (layers - 1) + [False]
    assert [tuple(p.shape) for p in model.predictor.parameters()] == [(4, 16), (4,), (4,), (16, 4), (16,)]


def test_residual_branches_start_at_zero_and_the_head_is_not_trained():
    model = network(name="resnet10_narrow")
    assert all(not block.bn2.weight.any() for block in model.encoder.trunk.blocks)
    assert not any(p.requires_grad for p in model.encoder.classifier.parameters())
    z, p = model(torch.rand(4, 3, 16, 16))
    assert z.shape == p.shape == (4, 16)


def test_output_std_is_that_of_a_sphere_or_of_a_point():
    z = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert output_std(z) == approx(1 / 8, rel=0.02) == approx(float((z / z.norm(dim=1, keepdim=True)).std(0).mean()), rel=1e-3)
    assert output_std(torch.ones(10, 64)) == approx(0, abs=1e-9) == output_std(torch.zeros(10, 64))
    assert collapsed(0.001, 64) and not collapsed(1 / 8, 64)


def test_what_is_kept_is_the_trunk_as_a_classifier_names_it(tmp_path):
    model = network()
    torch.save({"state_dict": encoder_state(model)}, tmp_path / "encoder.pt")
    made = make_classifier("small_cnn", 5, 3, 0.3, tmp_path / "encoder.pt", image_size=16)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(made.eval().features(images), model.eval().encoder.features(images))
