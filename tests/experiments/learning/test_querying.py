"""The pool is streamed, the model is left as it was, and only what is asked for is computed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data.phantoms.glands import glands
from data.phantoms.tissue import tissue
from experiments.learning.batches import WithoutTargets, equal_size_batches
from experiments.learning.evidence import ModelEvidence
from experiments.learning.querying import QueryOptions, query
from experiments.segment import SCRIPT
from experiments.tracking import declare
from heuristics import get
from heuristics.core.evidence import MC, from_logits
from heuristics.core.registry import Heuristic
from models.classifiers import make_classifier
from models.segmenters import UNet


@pytest.fixture(scope="module")
def pool(phantom_cache):
    return glands(10, 4, cache_root=phantom_cache).part("train")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return UNet(2, width=4, depth=2).eval()


def options(**typed):
    """The options of a query, else as they are by default."""
    return QueryOptions.of(declare.settle(SCRIPT.options, (), typed))


def ask(heuristic, model, images, options, evidence=from_logits, known=None, pool=None):
    pool = np.arange(len(images)) if pool is None else pool
    sizes = options.mc_samples, options.query_batch_size, options.memory_limit
    provider = ModelEvidence(evidence, model, *sizes, seed=0, cycle=0)
    return query(heuristic, provider, WithoutTargets(images), pool, options, known)


def test_only_the_wanted_evidence_is_computed(pool, model):
    seen = []

    def evidence(model, images, wanted, mc_samples, masks_seed):
        seen.append(wanted)
        return from_logits(model, images, wanted, mc_samples, masks_seed)

    few = options(n_query=2, mc_samples=2, query_batch_size=4)
    ask(get("entropy"), model, pool, few, evidence)
    assert set(seen) == {frozenset({"probs"})}
    seen.clear()
    ask(get("bald"), model, pool, replace(few, aggregate="foreground"), evidence)
    assert set(seen) == {frozenset({"mc_mean", "mc_entropy", "prediction"})}
    seen.clear()
    ask(get("random"), model, pool, few, evidence)
    assert seen == []


@pytest.mark.parametrize("name", ["bald", "entropy", "coreset", "mean_std"])
def test_the_model_is_bit_identical_afterwards(pool, model, name):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ask(
        get(name),
        model,
        pool,
        options(n_query=2, mc_samples=3, query_batch_size=4),
        known={"labelled": pool.subset([0, 1])},
    )
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m.training for m in model.modules())


def test_choices_are_the_best_scores_and_positions_are_relative_to_the_pool(pool, model):
    subset = np.array([7, 2, 9, 4])
    selection = ask(get("entropy"), model, pool, options(n_query=2, query_batch_size=3), pool=subset)
    with torch.no_grad():
        expected = [get("entropy")(probs=model(pool.image(int(i))[None]).softmax(1)).mean().item() for i in subset]
    np.testing.assert_allclose(selection.scores, expected, rtol=1e-5)
    assert selection.chosen.tolist() == np.argsort(expected)[::-1][:2].tolist()
    assert selection.scores_of_chosen() == sorted(selection.scores.tolist())[::-1][:2]


def test_the_pool_has_no_targets(pool):
    view = WithoutTargets(pool)
    assert not hasattr(view, "target") and isinstance(view[0], torch.Tensor)


def test_a_score_that_is_not_finite_names_the_image(pool, model):
    def broken(probs):
        return torch.full((len(probs),), float("nan"))

    with pytest.raises(ValueError, match="heuristic 'broken' gave a score that is not finite for image 'train_0003"):
        ask(Heuristic("broken", broken, True), model, pool, options(n_query=1), pool=np.array([3, 4]))


def test_a_selector_must_return_distinct_picks(pool, model):
    with pytest.raises(ValueError, match="heuristic 'twice' must return 2 distinct pool indices below 10"):
        ask(Heuristic("twice", lambda n_query: np.zeros(n_query, dtype=int), False), model, pool, options(n_query=2))


def test_evidence_that_does_not_fit_is_refused_with_its_size(pool, model):
    heuristic = Heuristic("greedy", lambda mc_probs, n_query: np.arange(n_query), False)
    sentence = "mc_probs at 2x3x128x128 of 10 images is 0.0 GB, above memory_limit=0.001: "
    sentence += "use a streamed heuristic like bald, or pool_s"
    with pytest.raises(ValueError, match=sentence):
        ask(heuristic, model, pool, options(n_query=1, mc_samples=3, memory_limit=1e-3))


def test_pool_subset_scores_that_many(pool, model):
    selection = ask(get("entropy"), model, pool, options(n_query=2, pool_subset=5))
    assert len(selection.considered) == len(selection.scores) == 5 and set(selection.chosen) <= set(
        selection.considered
    )


def test_a_missing_validation_set_has_no_rows(pool, model):
    seen = {}

    def needs(validation_embeddings, labelled_embeddings, n_query):
        seen.update(validation=tuple(validation_embeddings.shape), labelled=tuple(labelled_embeddings.shape))
        return np.arange(n_query)

    ask(Heuristic("needs", needs, False), model, pool, options(n_query=1), known={"labelled": pool.subset([0, 1, 2])})
    assert seen == {"validation": (0, 8), "labelled": (3, 8)}


def test_batches_hold_one_size_each_and_every_image_once():
    shapes = np.array([[4, 4], [2, 3], [4, 4], [4, 4], [2, 3]])
    batches = [b.tolist() for b in equal_size_batches(shapes, 2)]
    assert batches == [[0, 2], [3], [1, 4]]


def test_masks_are_shared_across_batches_for_joint_evidence(pool, model):
    """mc_probs of an image does not depend on the batch that it came in."""
    both = from_logits(model, torch.stack([pool.image(0), pool.image(1)]), frozenset({"mc_probs"}), 3, masks_seed=5)[
        "mc_probs"
    ]
    alone = from_logits(model, pool.image(1)[None], frozenset({"mc_probs"}), 3, masks_seed=5)["mc_probs"]
    torch.testing.assert_close(both[1:], alone)
    assert not torch.allclose(both[:, :, 0], both[:, :, 1])


def test_stochastic_passes_need_no_more_memory_when_there_are_more(model):
    """Nothing that grows with K is kept: the arrays alive after 3 and after 30 passes take equally many bytes."""
    import gc

    images = torch.rand(2, 3, 32, 32)

    def bytes_alive(k):
        with torch.no_grad():
            found = from_logits(model, images, frozenset(MC - {"mc_probs"}), k)
        gc.collect()
        return sum(t.numel() for t in found.values())

    assert bytes_alive(3) == bytes_alive(30)


def test_a_network_without_dropout_is_refused(pool):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.head(x)

    with pytest.raises(ValueError, match="no dropout"):
        ask(get("bald"), Plain().eval(), pool, options(n_query=1))


def asked_of_a_classifier(images, function, n_query=2, progress=0.0, chooser=None):
    """What a strategy of this function chooses of six images, where three others are labelled and the head has dropout."""
    torch.manual_seed(0)
    network = make_classifier("small_cnn", 3, images.channels, dropout=0.5, image_size=28)  # in training mode
    few = options(n_query=n_query, query_batch_size=4)
    provider = ModelEvidence(from_logits, network, few.mc_samples, few.query_batch_size, few.memory_limit, 0, 0)
    heuristic = Heuristic("asked", function, chooser is not None, chooser=chooser)
    known = {"labelled": images.subset([6, 7, 8])}
    return query(heuristic, provider, WithoutTargets(images), np.arange(6), few, known, progress)


@pytest.fixture(scope="module")
def patches(phantom_cache):
    return tissue(9, 1, cache_root=phantom_cache).part("train")


def test_the_head_makes_the_logits_of_the_embeddings_and_can_be_differentiated(patches):
    seen = {}

    def needs(logits, probs, embeddings, labelled_logits, labelled_embeddings, labelled_targets, head, n_query):
        seen.update(locals())
        return np.arange(n_query)

    asked_of_a_classifier(patches, needs)
    for which in ("", "labelled_"):
        torch.testing.assert_close(seen["head"](seen[f"{which}embeddings"]), seen[f"{which}logits"])
    assert len(seen["labelled_logits"]) == len(seen["labelled_targets"]) == 3
    torch.testing.assert_close(seen["logits"].softmax(1), seen["probs"])
    features = seen["embeddings"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(seen["head"](features)[:, 0].sum(), features)
    assert gradient.shape == features.shape and gradient.abs().sum() > 0


def test_a_chooser_gets_the_rows_of_the_pool_and_how_far_the_run_has_come(patches):
    seen = {}

    def rows(probs):
        return probs.cumsum(1)

    def choose(scores, n_query, rng, progress):
        seen.update(scores=scores, progress=progress)
        return scores[:, 1].argsort()[:n_query]

    selection = asked_of_a_classifier(patches, rows, progress=0.25, chooser=choose)
    assert seen["scores"].shape == (6, 3) and seen["progress"] == 0.25
    assert selection.chosen.tolist() == seen["scores"][:, 1].argsort()[:2].tolist()
    assert selection.scores.tolist() == seen["scores"][:, 0].tolist()


def test_a_row_that_is_not_finite_names_the_image(patches):
    def rows(probs):
        return probs.cumsum(1) + torch.tensor([0, 0, torch.nan])

    with pytest.raises(ValueError, match="heuristic 'asked' gave a score that is not finite for image"):
        asked_of_a_classifier(patches, rows, chooser=lambda scores: None)
