"""dropquery and alfamix: which images are candidates, by the definition; then k-means and chance."""

import numpy as np
import pytest
import torch
from torch import nn

from heuristics import perturbing
from heuristics.perturbing import alfamix, dropquery


@pytest.fixture
def head():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).eval()


def pool(n=200, d=6, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def candidates(monkeypatch):
    """The candidates of the last call, in the place of a batch of them."""
    seen = {}

    def record(embeddings, found, n_query, rng):
        seen["found"] = found
        return np.flatnonzero(found)[:n_query]

    monkeypatch.setattr(perturbing, "_spread", record)
    return seen


def changes(x, head, rng, passes=3, p=0.75, block=4096):
    """In how many passes the class of each image changes; masks in the order of drawing."""
    count = np.zeros(len(x), dtype=int)
    for start in range(0, len(x), block):
        part = x[start : start + block]
        for _ in range(passes):
            kept = rng.random(part.shape, dtype=np.float32) >= p
            dropped = nn.functional.linear(part * torch.from_numpy(kept) * 4, torch.eye(6))
            count[start : start + block] += (head(dropped).argmax(1) != head(part).argmax(1)).numpy()
    return count


def test_candidates_changed_class_in_more_than_half_of_the_passes(head, candidates):
    x = pool()
    dropquery(x, head, 5, np.random.default_rng(4))
    count = changes(x, head, np.random.default_rng(4))
    assert (candidates["found"] == (count >= 2)).all() and 5 < (count >= 2).sum() < 200


def test_a_threshold_that_leaves_too_few_is_lowered(head, candidates):
    x = pool()
    count = changes(x, head, np.random.default_rng(4))
    twice, once = (count >= 2).sum(), (count >= 1).sum()
    assert twice < once < 200
    for n_query, least in ((twice, 2), (twice + 1, 1), (once + 1, 1)):
        dropquery(x, head, int(n_query), np.random.default_rng(4))
        assert (candidates["found"] == (count >= least)).all()


def test_dropout_keeps_the_mean_of_the_features():
    """A head that sums: its logits over many passes are those without dropout."""
    seen = []

    def head(z):
        seen.append(z.sum(1).mean())
        return z[:, :2]

    dropquery(torch.ones(20_000, 6), head, 1, np.random.default_rng(0))
    assert all(abs(value - 6) < 0.4 for value in seen)


def test_where_no_class_changes_chance_decides():
    def head(z):
        return torch.eye(3)[torch.zeros(len(z), dtype=int)]

    x = pool(30)
    for strategy in (
        lambda rng: dropquery(x, head, 4, rng),
        lambda rng: alfamix(x, x[:5], torch.arange(5) % 3, lambda z: z[:, :3] * 0 + torch.eye(3)[0], 4, rng),
    ):
        runs = {tuple(strategy(np.random.default_rng(seed))) for seed in range(10)}
        assert len(runs) == 10 and all(len(set(run)) == 4 for run in runs)


def plain_alfamix(x, anchors, head, eps=0.2):
    """Image by image and anchor by anchor in float64; the gradient by central differences."""
    head, found = head.double(), []
    for z in x.double():
        y = int(head(z[None]).argmax())

        def loss(at, y=y):
            return -head(at[None]).log_softmax(1)[0, y].item()

        step = 1e-5 * torch.eye(len(z), dtype=z.dtype)
        g = torch.tensor([(loss(z + h) - loss(z - h)) / 2e-5 for h in step], dtype=z.dtype)
        new = set()
        for anchor in anchors:
            alpha = eps / len(z) ** 0.5 * (anchor - z).norm() * g / (g.norm() * (anchor - z))
            new.add(int(head((alpha * anchor + (1 - alpha) * z)[None]).argmax()))
        found.append(new != {y})
    head.float()
    return np.array(found)


@pytest.mark.parametrize("epsilon", [0.2, 2.0])
def test_alfamix_is_the_formula_with_gradients_by_finite_differences(head, candidates, epsilon):
    x, labelled, targets = pool(150), pool(12, seed=1), torch.arange(12) % 2  # a class without labels
    alfamix(x, labelled, targets, head, 5, np.random.default_rng(0), epsilon=epsilon)
    anchors = [labelled[targets == c].double().mean(0) for c in (0, 1)]
    expected = plain_alfamix(x, anchors, head, epsilon)
    assert (candidates["found"] == expected).all() and 0 < expected.sum() < 150


@pytest.mark.parametrize("gap", [1.0, 20.0, 200.0])
def test_the_direction_is_kept_where_the_head_is_certain(gap):
    """The logits (gap, 0, -1) + W z: in float32 p is 1 from a gap of 17, and its gradient 0 from one of 104."""
    weight = torch.tensor([[1.0, 0, 2, -1], [0, 3, -1, 1], [2, 1, 0, -1]], dtype=torch.float64)

    def head(z):
        return z @ weight.to(z.dtype).T + torch.tensor([gap, 0, -1], dtype=z.dtype)

    z = torch.full((1, 4), 0.1)
    found = perturbing._gradient(head, z, torch.tensor([0]))
    p = head(z.double())[0].log_softmax(0).exp()
    exact = torch.stack([-p[1:].sum(), p[1], p[2]]) @ weight  # (p - e_0) W, with nothing that rounds to 1
    torch.testing.assert_close(found[0] / found.norm(), (exact / exact.norm()).float(), rtol=1e-5, atol=1e-6)


def test_an_image_at_the_anchor_and_one_without_gradient_do_not_move():
    step = perturbing._step(torch.tensor([[0.0, 0, 0], [3.0, 4, 0]]), torch.tensor([[1.0, 2, 3], [0.0, 0, 0]]), 0.1)
    assert (step == 0).all()
    moved = perturbing._step(torch.tensor([[3.0, 4, 0]]), torch.tensor([[0.0, 2, 7]]), 0.1)
    torch.testing.assert_close(moved, torch.tensor([[0, 0.5 * 2 / 53**0.5, 0]]))


def test_the_head_is_left_as_it_was(head):
    before = {name: value.clone() for name, value in head.state_dict().items()}
    with torch.no_grad():  # as a query is made
        alfamix(pool(20), pool(4), torch.arange(4), head, 3, np.random.default_rng(0))
    assert all(p.grad is None for p in head.parameters())
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_candidates_are_clustered_by_direction():
    """Three directions of very unequal lengths: one image of each, though all long ones are of one direction."""
    x = torch.eye(3).repeat(10, 1) * torch.where(torch.arange(30) % 3 == 0, 100.0, 1.0)[:, None]
    x = x + 0.01 * pool(30, 3)
    for seed in range(5):
        picks = perturbing._spread(x, np.ones(30, dtype=bool), 3, np.random.default_rng(seed))
        assert sorted(picks % 3) == [0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_features_of_half_precision_and_blocks(head, dtype):
    x = pool(5000).to(dtype)  # more than one block
    for picks in (
        dropquery(x, head, 7, np.random.default_rng(0)),
        alfamix(x, x[:5], torch.arange(5) % 3, head, 7, np.random.default_rng(0)),
        alfamix(x, x[:0], torch.arange(0), head, 7, np.random.default_rng(0)),
    ):
        assert len(set(picks.tolist())) == 7
