"""Queries of slices that are no neighbours and of whole volumes, and what of it does not go together."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.names import Refused
from data.phantoms.heart import heart_phantom
from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from experiments.learning.querying import QueryOptions, query
from experiments.segment import SCRIPT
from experiments.tracking import declare
from heuristics import get
from heuristics.core.evidence import from_logits
from models.segmenters import UNet
from tests.experiments.runs import picks_of, run_in_process

HEARTS = {"dataset": "heart_phantom", "dataset_options": {"n_pool": 4, "n_test": 1, "size": 32}}


@pytest.fixture(scope="module")
def pool(phantom_cache):
    return heart_phantom(phantom_cache, n_pool=4, n_test=1, size=32).part("train")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return UNet(4, 1, width=4, depth=2).eval()


def ask(heuristic, model, images, seed=0, pool=None, **typed):
    options = QueryOptions.of(declare.settle(SCRIPT.options, (), typed))
    provider = ModelEvidence(from_logits, model, 3, 64, 4.0, seed=seed, cycle=0)
    pool = np.arange(len(images)) if pool is None else pool
    known = {"labelled": images.subset(np.arange(3))}
    return query(get(heuristic), provider, WithoutTargets(images), pool, options, known)


def pairs_nearer_than(apart, images, chosen):
    volumes, slices = images.volumes[chosen], images.slices[chosen]
    near = (volumes[:, None] == volumes) & (np.abs(slices[:, None] - slices) < apart)
    return int(np.triu(near, 1).sum())


@pytest.mark.parametrize(("heuristic", "more"), [("entropy", {}), ("bald", {"select": "power"}), ("entropy", {"then": "coreset"}), ("entropy", {"balance": "predicted"}), ("random", {}), ("coreset", {}), ("clasp", {})])  # fmt: skip
def test_no_neighbours_in_a_batch(pool, model, heuristic, more):
    for apart in (2, 4):
        found = ask(heuristic, model, pool, n_query=9, apart=apart, **more)
        assert len(set(found.chosen.tolist())) == 9 and pairs_nearer_than(apart, pool, found.chosen) == 0


def test_the_best_slices_that_are_no_neighbours(pool, model):
    """As by hand: down the ranking, passing over every neighbour of what is taken."""
    everything = ask("entropy", model, pool, n_query=len(pool))
    by_hand = []
    for i in everything.chosen.tolist():
        if len(by_hand) < 8 and pairs_nearer_than(3, pool, np.array([*by_hand, i])) == 0:
            by_hand.append(i)
    assert ask("entropy", model, pool, n_query=8, apart=3).chosen.tolist() == by_hand
    assert pairs_nearer_than(3, pool, everything.chosen[:8]) > 0  # else this shows nothing


def test_where_too_few_are_apart_the_batch_is_filled(pool, model):
    few = np.flatnonzero(pool.volumes == pool.volumes[0])
    for heuristic in ("entropy", "random", "coreset"):
        found = ask(heuristic, model, pool, pool=few, n_query=len(few), apart=3)
        assert sorted(found.chosen) == list(range(len(few)))


@pytest.mark.parametrize("apart", [0, 1])
def test_by_default_nothing_changes(pool, model, apart):
    one, other = (ask("entropy", model, pool, n_query=9, **typed) for typed in ({}, {"apart": apart}))
    assert one.chosen.tolist() == other.chosen.tolist() and one.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize("how", ["mean", "max", "sum", "median"])
def test_whole_volumes_by_the_scores_of_their_slices(pool, model, how):
    slices = ask("entropy", model, pool, n_query=1).scores
    found = ask("entropy", model, pool, n_query=25, unit="volume", volume_score=how)
    names = list(dict.fromkeys(pool.volumes[found.chosen]))
    expected = {v: getattr(np, how)(slices[pool.volumes == v]) for v in set(pool.volumes)}
    best = max(expected, key=expected.__getitem__)
    assert names[0] == best and len(found.chosen) <= 25
    for name in names:  # all of a volume, each slice with its score
        own = found.chosen[pool.volumes[found.chosen] == name]
        assert sorted(own) == np.flatnonzero(pool.volumes == name).tolist()
        np.testing.assert_allclose(found.scores_of(own), expected[name])
    left = 25 - len(found.chosen)
    others = {v: (pool.volumes == v).sum() for v in expected if v not in names}
    assert all(size > left for v, size in others.items() if expected[v] >= expected[names[-1]])


def test_one_volume_is_taken_however_large(pool, model):
    found = ask("entropy", model, pool, n_query=2, unit="volume")
    assert len(set(pool.volumes[found.chosen])) == 1 and len(found.chosen) > 2


def test_every_volume_is_as_likely_at_random(pool, model):
    counts = dict.fromkeys(pool.volumes.tolist(), 0)
    for seed in range(400):
        counts[pool.volumes[ask("random", model, pool, seed=seed, n_query=1, unit="volume").chosen[0]]] += 1
    assert min(counts.values()) > 25 and max(counts.values()) < 80  # of 50 expected, standard deviation 7


REFUSED = [
    ({"unit": "volume", "heuristic": "coreset"}, "unit=volume needs one score per image; heuristic 'coreset' chooses whole batches"),
    ({"unit": "volume", "heuristic": "clasp"}, "unit=volume needs one score per image; heuristic 'clasp'"),
    ({"unit": "volume", "heuristic": "entropy", "then": "kmeans"}, "then=kmeans is for single images and unit=volume is not; use then=none"),
    ({"unit": "volume", "heuristic": "entropy", "balance": "predicted"}, "use balance=none"),
    ({"unit": "volume", "apart": 2}, "apart=2 is for single images and unit=volume is not; use apart=0"),
    ({"unit": "volume", "pool_subset": 20}, "use pool_subset=0"),
    ({"unit": "volume", "initial": "stratified"}, "use initial=random"),
    ({"unit": "volume", "n_query": 3, "n_initial": 30}, "n_query=3: unit=volume pays for whole volumes, and the largest of the pool, .* has .* slices; use n_query="),
    ({"unit": "volume", "n_query": 30, "n_initial": 2}, "n_initial=2: unit=volume pays for whole volumes"),
    ({"unit": "volume", "volume_score": "max", "heuristic": "random", "n_query": 30, "n_initial": 30}, "heuristic 'random' scores no slices; use volume_score=mean"),
    ({"apart": 1}, "apart=1 would change nothing, two slices are always one apart: use apart=2 or more, or apart=0"),
    ({"volume_score": "max"}, "volume_score=max would change nothing: it is for unit=volume"),
    ({"unit": "volum"}, "unknown unit 'volum'. Did you mean 'volume'"),
    ({"unit": "volume", "volume_score": "maks"}, "unknown volume_score 'maks'. Did you mean 'max'"),
    ({"apart": -1}, "apart=-1 must be between 0 and"),
    ({"unit": "volume", "dataset": "phantom"}, "unit=volume needs volumes, which dataset 'phantom' does not have"),
    ({"apart": 2, "dataset": "phantom"}, "apart=2 needs volumes, which dataset 'phantom' does not have"),
    ({"metric": "dice_volume", "dataset": "phantom"}, "metric 'dice_volume' needs volumes, which dataset 'phantom'"),
    ({"metric": "hd95_volume"}, "unknown metric 'hd95_volume'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "sentence"), REFUSED, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_what_does_not_go_together_is_one_sentence(options, sentence):
    asked = HEARTS | options
    if asked["dataset"] == "phantom":
        asked |= {"dataset_options": {"n_pool": 24, "n_test": 8}}
    with pytest.raises(Refused, match=sentence):
        run_in_process(SCRIPT, **asked)


def test_a_run_of_whole_volumes_pays_for_every_slice(pool):
    more = {
        "n_initial": 20,
        "n_query": 22,
        "n_cycles": 2,
        "steps": 2,
        "crop": 32,
        "unit": "volume",
        "metric": "dice_volume",
    }
    runs = {name: run_in_process(SCRIPT, **HEARTS, **more, heuristic=name) for name in ("random", "entropy")}
    starts = {}
    for name, folder in runs.items():
        with open(folder / "picks.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        volumes = {f"{row['file'].rpartition('_slice_')[0]}" for row in rows}
        assert len(rows) == np.isin(pool.volumes, list(volumes)).sum()  # no volume in part
        cycles = [sum(row["cycle"] == c for row in rows) for c in ("initial", "0", "1")]
        assert 0 < cycles[0] <= 20 and all(0 < n <= 22 for n in cycles[1:])
        curve = np.load(folder / "curve.npy")
        assert curve["n_labelled"].tolist() == np.cumsum(cycles).tolist()
        assert {"dice_volume", "hd95_volume", "asd_volume_ED", "dice_volume_ES[left ventricle]"} <= set(
            curve.dtype.names
        )
        starts[name] = picks_of(folder)[: cycles[0]]
    assert starts["random"] == starts["entropy"]


def test_a_run_without_neighbours(pool):
    folder = run_in_process(
        SCRIPT, **HEARTS, n_initial=4, n_query=8, n_cycles=1, steps=2, crop=32, apart=2, heuristic="entropy"
    )
    assert pairs_nearer_than(2, pool, np.array(picks_of(folder)[4:])) == 0


def test_the_options_are_those_of_a_query():
    assert (
        replace(QueryOptions.of(declare.settle(SCRIPT.options, (), {})), unit="volume", apart=2).volume_score == "mean"
    )
