"""What every registered strategy keeps to, whatever it asks for."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from heuristics import get, names
from heuristics.core import aggregating
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import EVIDENCE
from heuristics.core.selecting import select
from tests.heuristics.test_detection import random_image

N, SEEDS = 24, 24
ALONE = ("labelled_", "validation_")  # evidence that is not of the pool
SCORERS = [name for name in names() if get(name).per_batch]
SELECTORS = [name for name in names() if not get(name).per_batch]


def evidence(n=N, c=3, k=4, d=5):
    """Something for every name of EVIDENCE: `n` images of the pool, 9 labelled and 7 validation images."""
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    mc = torch.randn(n, c, k, generator=generator).mul(2).softmax(1)
    found = {"mc_probs": mc, "mc_mean": mc.mean(2), "mc_std": mc.std(2, correction=0)}
    found |= {"mc_entropy": torch.stack([entropy_of(mc[:, :, i]) for i in range(k)]).mean(0)}
    found["mc_votes"] = nn.functional.one_hot(mc.argmax(1), c).float().mean(1)
    found["prediction"] = found["mc_mean"]
    for which, size in {"": n, "labelled_": 9, "validation_": 7}.items():
        found[f"{which}probs"] = torch.randn(size, c, generator=generator).mul(2).softmax(1)
        found[f"{which}embeddings"] = torch.randn(size, d, generator=generator)
        found[f"{which}targets"] = torch.arange(size) % c
    del found["targets"]
    found["detections"] = [random_image(rng, m % 4) for m in range(n)]
    found["mc_detections"] = [random_image(rng, m % 4, k=k) for m in range(n)]
    found["proposals"] = [image["proposals"] for image in found["detections"]]
    for name in ("noisy_detections", "augmented_detections"):
        found[name] = [[random_image(rng, int(rng.integers(4))) for _ in range(2)] for _ in range(n)]
    found["images"] = torch.rand(n, 1, 4, 4, generator=generator)
    model, head = nn.Sequential(nn.Flatten(), nn.Linear(16, c)), nn.Linear(d, c)
    for parameter in [*model.parameters(), *head.parameters()]:
        parameter.data = torch.randn(parameter.shape, generator=generator)
    for which in ("", "labelled_"):
        found[f"{which}logits"] = found[f"{which}probs"].log()
    return found | {"model": model.eval(), "head": head.eval()}


def take(found, index):
    """The evidence of these images of the pool, in this order."""

    def part(name, value):
        if name in ("model", "head") or name.startswith(ALONE):
            return value
        return [value[i] for i in index] if isinstance(value, list) else value[torch.as_tensor(index)]

    return {name: part(name, value) for name, value in found.items()}


def scores_of(name, found):
    """One number per image, or a row of them where the strategy has a chooser."""
    scores = get(name)(**found, rng=np.random.default_rng(0), n_query=1, n_pool=len(found["probs"]))
    scores = aggregating.over_boxes("max", scores) if isinstance(scores, list) else scores
    return scores.double().numpy()


def picks_of(name, found, n_query, seed=0):
    rng = np.random.default_rng(seed)
    if get(name).per_batch:
        given = {"scores": scores_of(name, found), "n_query": n_query, "rng": rng}
        return np.asarray(get(name).choose(**given, progress=1.0) if get(name).chooser else select(**given))
    return np.asarray(get(name)(**found, rng=rng, n_query=n_query, n_pool=len(found["probs"])))


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return same(a.state_dict(), b.state_dict()) if isinstance(a, nn.Module) else torch.equal(a, b)


def test_there_is_something_for_every_request():
    assert evidence().keys() == EVIDENCE.keys()


@pytest.mark.parametrize("name", SCORERS)
def test_a_score_is_of_its_image_alone(name):
    found = evidence()
    order = np.random.default_rng(1).permutation(N)
    scores = scores_of(name, found)
    np.testing.assert_allclose(scores_of(name, take(found, order)), scores[order], atol=1e-6)
    for size in (1, 7):
        parts = [scores_of(name, take(found, range(N)[i : i + size])) for i in range(0, N, size)]
        np.testing.assert_allclose(np.concatenate(parts), scores, atol=1e-6)
    np.testing.assert_allclose(scores_of(name, take(found, [3] * 5 + [6] * 5)), scores[[3] * 5 + [6] * 5], atol=1e-6)


@pytest.mark.parametrize("name", SELECTORS)
def test_picks_follow_the_images_not_their_places(name):
    """Where chance has a part, over many draws: how often an image is picked."""
    found, order = evidence(), np.random.default_rng(1).permutation(N)
    often, turned = np.zeros(N), np.zeros(N)
    for seed in range(SEEDS):
        often[picks_of(name, found, 6, seed)] += 1 / SEEDS
        turned[order[picks_of(name, take(found, order), 6, seed)]] += 1 / SEEDS
    certain = bool(np.isclose(often, often.round()).all())
    assert np.abs(often - turned).max() < (1e-6 if certain else 0.6)


@pytest.mark.parametrize("name", names())
def test_chance_decides_among_equals(name):
    alike = take(evidence(), [3] * 12)
    first = {int(picks_of(name, alike, 1, seed)[0]) for seed in range(40)}
    assert len(first) >= 8  # 11.6 of 12 are expected


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("pool", [range(1), range(10), [1, 2, 3, 5] * 3], ids=["one", "ten", "duplicates"])
def test_picks_are_distinct_images_of_the_pool_and_nothing_is_changed(name, pool):
    found = take(evidence(), pool)
    before = copy.deepcopy(found)
    for n_query in {0, 1, len(pool) // 2, len(pool)}:
        picks = picks_of(name, found, n_query, seed=2)
        assert picks.shape == (n_query,) and len(set(picks.tolist())) == n_query
        assert set(picks.tolist()) <= set(range(len(pool)))
        assert np.array_equal(picks, picks_of(name, found, n_query, seed=2))
    assert same(found, before)
    with pytest.raises(ValueError, match=f"{len(pool) + 1}"):
        picks_of(name, found, len(pool) + 1)
