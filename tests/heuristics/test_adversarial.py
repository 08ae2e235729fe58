"""Adversarial distances against closed forms for linear classifiers and a search in all directions for a curved one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heuristics.adversarial import bim, deepfool


def linear(n_classes: int, seed: int, side: int = 4) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(side * side, n_classes)).eval()


def network(seed: int = 0, dropout: float = 0.5) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(6 * 16, 5)]
    return nn.Sequential(*layers).eval()


def images(n: int, seed: int, side: int = 4) -> Tensor:
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed)) * 0.4 + 0.3


def linear_distances(model: nn.Sequential, x: Tensor, order: float) -> np.ndarray:
    """min over other classes of margin / ||w_0 - w_k|| in the norm dual to the perturbation's."""
    weight, logits = model[1].weight.detach().double().numpy(), model(x).detach().double().numpy()
    found = []
    for z in logits:
        own = int(z.argmax())
        found.append(min((z[own] - z[k]) / np.linalg.norm(weight[own] - weight[k], order) for k in range(len(z)) if k != own))
    return np.array(found)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_deepfool_is_exact_for_a_linear_classifier(n_classes: int) -> None:
    """The nearest of all classes counts, not the last one looked at: a minimum that is never updated fails here."""
    model, x = linear(n_classes, seed=n_classes), images(20, 1)
    assert -deepfool(model, x).numpy() == pytest.approx(linear_distances(model, x, 2), rel=1e-4)


def test_bim_is_exact_for_a_linear_classifier_of_two_classes() -> None:
    model, x = linear(2, seed=0), images(20, 2)
    with torch.no_grad():
        model[1].bias -= model(x).mean(0)  # the boundary runs through the images
    expected = linear_distances(model, x, 1)
    assert expected.max() < 0.3  # no pixel is clipped on the way
    assert -bim(model, x, step=0.01, max_steps=60).numpy() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_deepfool_is_near_the_distance_found_by_search() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)).eval()
    x = torch.rand(12, 1, 1, 2, generator=torch.Generator().manual_seed(1))
    angles = torch.linspace(0, 2 * np.pi, 721)
    radii = torch.linspace(0, 1.4, 1401)
    grid = radii[:, None, None] * torch.stack([angles.cos(), angles.sin()], 1)
    distances = -deepfool(model, x)
    compared = 0
    for image, distance in zip(x, distances, strict=True):
        same = (model((image.view(2) + grid).view(-1, 1, 1, 2)).argmax(1) == model(image[None]).argmax(1)).view(len(radii), -1).all(1)
        if same.all():
            continue
        nearest = radii[int((~same).nonzero()[0])].item()
        assert nearest - 2e-3 <= distance.item() * 1.02 and distance.item() <= 1.6 * nearest + 1e-3
        compared += 1
    assert compared >= 6


@pytest.mark.parametrize("attack", [bim, deepfool])
def test_network_is_left_as_it_was(attack) -> None:
    model = network().train()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    attack(model, images(5, 0))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [m.training for m in model] == [True, False, True, True, True, True] and model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("attack", [bim, deepfool])
def test_training_mode_outside_changes_no_score(attack) -> None:
    model, x = network(), images(6, 4)
    expected = attack(model, x)
    assert torch.equal(attack(model.train(), x), expected)
    with torch.no_grad():
        assert torch.equal(attack(model.eval(), x), expected)
    with torch.inference_mode():
        inside = attack(model, images(6, 4))
    assert torch.equal(inside, expected)
    assert not x.requires_grad and torch.equal(x, images(6, 4))


@pytest.mark.parametrize("attack", [bim, deepfool])
def test_a_batch_scores_as_its_images_one_by_one(attack) -> None:
    model, x = network(seed=2), images(7, 5)
    alone = torch.cat([attack(model, image[None]) for image in x])
    assert torch.allclose(attack(model, x), alone, rtol=1e-3, atol=1e-5)
    assert attack(model, x[:0]).shape == (0,)


@pytest.mark.parametrize("attack", [bim, deepfool])
def test_a_constant_network_gives_finite_scores(attack) -> None:
    model, x = linear(3, seed=0), images(4, 0)
    nn.init.zeros_(model[1].weight)
    with torch.no_grad():
        model[1].bias.copy_(torch.tensor([1.0, 0.0, 0.5]))
    scores = attack(model, x)
    assert scores.isfinite().all() and (scores == scores[0]).all() and scores[0] <= -0.39
    with torch.no_grad():
        model[1].bias.zero_()
    assert (attack(model, x) == 0).all()  # every image lies on the boundary


def test_bim_moves_where_the_probability_rounds_to_one() -> None:
    """The gradient of the cross-entropy is zero there in single precision; the walk must not stop."""
    model, x = linear(2, seed=0), images(3, 2)
    with torch.no_grad():
        model[1].bias -= model(x).mean(0) + torch.tensor([0.1, 0.0])
        model[1].weight *= 1000
        model[1].bias *= 1000
    assert (model(x).softmax(1).amax(1) == 1).all()
    assert -bim(model, x, step=0.01).numpy() == pytest.approx(linear_distances(model, x, 1), rel=1e-3)


def test_nearer_to_the_boundary_comes_first() -> None:
    model = linear(2, seed=1)
    x = images(1, 3)
    direction = model[1].weight[0] - model[1].weight[1]
    towards = -torch.sign(model(x)[0, 0] - model(x)[0, 1]) * direction.sign().view(1, 1, 4, 4).detach()
    path = torch.cat([x + t * towards for t in (0.0, 0.005, 0.01)])
    for attack in (bim, deepfool):
        assert attack(model, path).diff().gt(0).all()


def test_misuse_is_named() -> None:
    with pytest.raises(ValueError, match=r"images in 0..1; got values from .* to 2"):
        bim(linear(2, 0), torch.full((1, 1, 4, 4), 2.0))
    for attack in (bim, deepfool):
        with pytest.raises(ValueError, match=r"C >= 2.*\(2, 1\)"):
            attack(linear(1, 0), images(2, 0))
        with pytest.raises(ValueError, match=r"one class per image.*\(2, 3, 4, 4\)"):
            attack(nn.Conv2d(1, 3, 1), images(2, 0))
