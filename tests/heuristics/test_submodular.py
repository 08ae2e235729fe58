"""Batches against plain greedy on the set functions themselves, and GLISTER's Taylor model against really taking the step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, one_hot

from heuristics.core.covering import cosines, facility_location, nearest
from heuristics.submodular import HeldOut, fass, glister, similar


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def features(n: int, d: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def similarity(a: Tensor, b: Tensor) -> np.ndarray:
    return cosine_similarity(a.double()[:, None], b.double()[None], dim=2).clamp_min(0).numpy()


def greedy_reference(value: Callable[[list[int]], float], n: int, n_query: int) -> list[int]:
    picks: list[int] = []
    while len(picks) < n_query:
        picks.append(max((i for i in range(n) if i not in picks), key=lambda i: value([*picks, i])))
    return picks


def coverage(kernel: np.ndarray, columns: list[int]) -> float:
    """Facility location: every row counts by its greatest similarity to a chosen column."""
    return kernel[:, columns].max(1).sum() if columns else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_facility_location_has_the_picks_of_plain_greedy(seed: int) -> None:
    x = features(40, seed=seed)
    kernel = similarity(x, x)
    expected = greedy_reference(lambda picks: coverage(kernel, picks), 40, 8)
    assert facility_location(cosines(x, x), torch.zeros(40), 8, rng(seed)).tolist() == expected


def test_fass_covers_only_the_most_uncertain() -> None:
    x, probs = features(60, seed=1), (2 * features(60, 4, seed=2)).softmax(1)
    entropy = -(probs * probs.log()).sum(1)
    uncertain = entropy.topk(15).indices
    kernel = similarity(x[uncertain], x[uncertain])
    expected = greedy_reference(lambda picks: coverage(kernel, picks), 15, 5)
    place = {int(image): at for at, image in enumerate(uncertain)}
    picks = [place[int(image)] for image in fass(probs, x, 5, rng(), candidates_per_pick=3)]
    # Mutual nearest neighbours tie exactly, so the values are compared and not the picks.
    values = [[coverage(kernel, chosen[: m + 1]) for m in range(5)] for chosen in (picks, expected)]
    assert values[0] == pytest.approx(values[1], abs=1e-5)


def test_fass_takes_maps_and_certain_predictions() -> None:
    maps = torch.zeros(6, 2, 3, 3)
    maps[:, 0] = 1
    maps[4] = 0.5
    assert fass(maps, features(6), 1, rng(), candidates_per_pick=1).tolist() == [4]


LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])


def similar_value(mode: str, x: Tensor, y: Tensor, eta: float) -> Callable[[list[int]], float]:
    """The measures from their definitions, with facility location over the pool for the conditional ones."""
    n, q, p = len(x), (LABELS == 2).nonzero().flatten() + len(x), (LABELS != 2).nonzero().flatten() + len(x)
    kernel = similarity(x, torch.cat([x, y]))
    query, private, everything = q.tolist(), p.tolist(), list(range(n, n + len(y)))
    if mode == "rare":
        return lambda a: coverage(kernel[a][:, query].T, list(range(len(a)))) + eta * coverage(kernel[a], query)
    if mode == "redundancy":
        return lambda a: coverage(kernel, a + everything) - coverage(kernel, everything)
    fixed = coverage(kernel, query + private) - coverage(kernel, private)
    return lambda a: coverage(kernel, a + private) - coverage(kernel, a + query + private) + fixed


@pytest.mark.parametrize(("mode", "eta"), [("rare", 1.0), ("rare", 0.2), ("redundancy", 1.0), ("ood", 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_similar_has_the_picks_of_greedy_on_the_definition(mode: str, eta: float, seed: int) -> None:
    x, y = features(25, 3, seed), features(8, 3, seed + 50)
    picks = similar(x, y, LABELS, 3, rng(), mode=mode, query_classes=[2], eta=eta).tolist()
    value = similar_value(mode, x, y, eta)
    expected = greedy_reference(value, 25, 3)
    assert [value(picks[: m + 1]) for m in range(3)] == pytest.approx([value(expected[: m + 1]) for m in range(3)], abs=1e-6)


def test_similar_finds_images_like_the_rarest_labelled_class() -> None:
    centres = 10 * torch.eye(4)
    x = centres[torch.arange(40) % 4] + features(40, 4)
    y = centres[torch.tensor([0, 0, 0, 1, 1, 3])]
    picks = similar(x, y, torch.tensor([0, 0, 0, 1, 1, 3]), 5, rng())
    assert (picks % 4 == 3).all()
    away = similar(x, y, torch.tensor([0, 0, 0, 1, 1, 3]), 3, rng(), mode="redundancy")
    assert away[0] % 4 == 2  # the one centre without a label


def test_similar_misuse_is_named() -> None:
    x, y = features(5), features(8)
    with pytest.raises(ValueError, match=r"unknown mode 'rares'.*Did you mean 'rare'"):
        similar(x, y, LABELS, 1, rng(), mode="rares")
    with pytest.raises(ValueError, match="needs query_classes.*labelled classes: 0, 1, 2"):
        similar(x, y, LABELS, 1, rng(), mode="ood")
    with pytest.raises(ValueError, match=r"no labelled image of \[7\]; labelled classes: 0, 1, 2"):
        similar(x, y, LABELS, 1, rng(), query_classes=[2, 7])
    with pytest.raises(ValueError, match="there are none"):
        similar(x, y[:0], LABELS[:0], 1, rng())


def last_layer(seed: int = 0, n: int = 12) -> tuple[torch.nn.Linear, Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.nn.Linear(5, 3).double(), features(n, seed=seed).double(), features(9, seed=seed + 9).double(), torch.arange(9) % 3


def stepped_loss(layer: torch.nn.Linear, x: Tensor, held: Tensor, targets: Tensor, rate: float) -> tuple[float, Tensor]:
    """Validation loss and logits after really taking a gradient step on x with its predicted class as label."""
    logits = layer(x[None])
    weight, bias = torch.autograd.grad(cross_entropy(logits, logits.argmax(1)), [layer.weight, layer.bias])
    after = held @ (layer.weight - rate * weight).T + layer.bias - rate * bias
    return cross_entropy(after, targets).item(), after.detach()


def test_glister_gain_is_the_slope_of_the_loss_along_the_step() -> None:
    layer, x, held, targets = last_layer()
    probs = layer(x).softmax(1).detach()
    residuals = probs - one_hot(probs.argmax(1), 3)
    model = HeldOut(held, layer(held).softmax(1).detach(), targets)
    gains = model.gains(x, residuals, 1.0)
    before, rate = cross_entropy(layer(held), targets).item(), 1e-6
    slopes = [(before - stepped_loss(layer, image, held, targets, rate)[0]) / rate for image in x]
    assert gains.numpy() == pytest.approx(np.array(slopes), abs=1e-4)


def test_glister_takes_the_step_exactly() -> None:
    layer, x, held, targets = last_layer(1)
    probs = layer(x).softmax(1).detach()
    model = HeldOut(held, layer(held).softmax(1).detach(), targets)
    model.step(x[3], (probs - one_hot(probs.argmax(1), 3))[3], 0.7)
    assert torch.allclose(model.logits.softmax(1), stepped_loss(layer, x[3], held, targets, 0.7)[1].softmax(1), atol=1e-12)


def glister_inputs(seed: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    layer, x, held, targets = last_layer(seed, n=30)
    probs, held_probs = layer(x).softmax(1).detach(), layer(held).softmax(1).detach()
    return (x, probs), (held, held_probs, targets)


@pytest.mark.parametrize("diversity", [0.0, 1.0])
def test_glister_has_the_picks_of_plain_greedy(diversity: float) -> None:
    (x, probs), held_out = glister_inputs(2)
    kernel, residuals = similarity(x, x), probs - one_hot(probs.argmax(1), 3)
    model, picks, units = HeldOut(*held_out), [], None
    for _ in range(6):
        taylor = model.gains(x, residuals, 0.1).numpy()
        covering = np.array([coverage(kernel, [*picks, i]) - coverage(kernel, picks) for i in range(30)])
        units = units or (np.abs(taylor).max(), covering.max())
        total = taylor / units[0] + diversity * covering / units[1]
        total[picks] = -np.inf
        picks.append(int(total.argmax()))
        model.step(x[picks[-1]], residuals[picks[-1]], 0.1)
    empty = tuple(part[:0] for part in held_out)
    assert glister(x, probs, *held_out, *empty, 6, rng(), learning_rate=0.1, diversity=diversity).tolist() == picks
    stand_in = glister(x, probs, *empty, *held_out, 6, rng(), learning_rate=0.1, diversity=diversity)
    assert stand_in.tolist() == picks
    with pytest.raises(ValueError, match="glister needs a validation set"):
        glister(x, probs, *empty, *empty, 1, rng())


def call(name: str, x: Tensor, n_query: int, seed: int, **options) -> np.ndarray:
    probs = torch.full((len(x), 3), 1 / 3, dtype=x.dtype)
    held = (x[:3], probs[:3], torch.arange(3))
    if name == "fass":
        return fass(probs, x, n_query, rng(seed), **options)
    if name == "glister":
        return glister(x, probs, *held, *held, n_query, rng(seed), **options)
    return similar(x, x[:3], torch.arange(3), n_query, rng(seed), mode=name, query_classes=[0], **options)


NAMES = ["fass", "glister", "rare", "redundancy", "ood"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["plain", "constant", "zeros", "duplicates", "half precision"])
def test_whole_pool_can_be_picked(name: str, case: str) -> None:
    x = {
        "plain": features(9),
        "constant": torch.ones(9, 5),
        "zeros": torch.zeros(9, 5),
        "duplicates": features(3).repeat(3, 1),
        "half precision": features(9).half(),
    }[case]
    picks = call(name, x, 9, 0)
    assert picks.dtype.kind == "i" and sorted(picks.tolist()) == list(range(9))
    assert len(call(name, x, 0, 0)) == 0
    with pytest.raises(ValueError, match="cannot pick 10 images from a pool of 9"):
        call(name, x, 10, 0)


@pytest.mark.parametrize("name", NAMES)
def test_ties_are_broken_by_the_generator(name: str) -> None:
    x = torch.ones(12, 5)
    assert len({int(call(name, x, 1, seed)[0]) for seed in range(40)}) >= 8
    assert call(name, x, 5, 3).tolist() == call(name, x, 5, 3).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_stands_in_where_similarities_are_too_many(name: str) -> None:
    picks = call(name, features(50), 6, 0, max_similarities=100)
    assert len(set(picks.tolist())) == 6


def test_similarities_in_blocks(monkeypatch) -> None:
    a, b = features(30), features(20, seed=1)
    monkeypatch.setattr("heuristics.core.covering.CHUNK", 1)
    assert cosines(a, b).numpy() == pytest.approx(similarity(a, b), abs=1e-6)
    assert nearest(a, b).numpy() == pytest.approx(similarity(a, b).max(1), abs=1e-6)
    assert nearest(a, b[:0]).tolist() == [0] * 30
