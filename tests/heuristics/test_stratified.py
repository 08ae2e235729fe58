"""clasp: the rows of an image, and the batch of quotas that its chooser makes of them."""

import numpy as np
import pytest
import torch

from data.names import Refused
from heuristics import get
from heuristics.stratified import clasp, clasp_batch


def maps(n=3, c=4, side=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, c, side, side, generator=generator)).softmax(1)


def test_a_row_is_the_mean_entropy_and_its_share_of_each_class_but_the_background():
    probs = maps()
    rows = clasp(probs)
    assert rows.shape == (3, 4)
    for image, row in zip(probs.double().numpy(), rows.tolist(), strict=True):
        h = -(image * np.log(image)).sum(0)
        assert row == pytest.approx([h.mean(), *((p * h).mean() for p in image[1:])], rel=1e-5)
    single = maps()[:, :, 0, 0]
    h = -(single * single.log()).sum(1, keepdim=True)
    torch.testing.assert_close(clasp(single), torch.cat([h, single * h], 1))  # without a background
    torch.testing.assert_close(clasp(single).sum(1), 2 * h[:, 0])


def test_without_noise_each_ranking_gets_its_quota_of_the_best():
    """Three classes: 66 % of 20 are 13, four each and one more; 7 for the entropy. No image is on two lists."""
    scores = np.full((60, 4), 1e-6)
    for column in range(4):
        scores[15 * column : 15 * column + 15, column] = np.linspace(1, 2, 15)
    for seed in range(5):
        picks = clasp_batch(scores, 20, np.random.default_rng(seed), 1.0, last_beta=1e9)
        counts = [int(((picks >= 15 * column) & (picks < 15 * column + 15)).sum()) for column in range(4)]
        assert counts[0] == 7 and sorted(counts[1:]) == [4, 4, 5]
        for column, count in enumerate(counts):
            assert set(range(15 * column + 15 - count, 15 * column + 15)) <= set(picks.tolist())


def test_an_image_that_two_rankings_want_is_taken_once():
    scores = np.tile(np.arange(1.0, 11)[:, None], (1, 3))
    picks = clasp_batch(scores, 6, np.random.default_rng(0), 1.0, last_beta=1e9)
    assert sorted(picks) == [4, 5, 6, 7, 8, 9]


def test_without_classes_share_zero_is_power_selection_of_the_entropy():
    scores = np.random.default_rng(1).random((200, 3))
    picks = clasp_batch(scores, 10, np.random.default_rng(0), 1.0, share=0.0, last_beta=1e9)
    assert picks.tolist() == np.argsort(-scores[:, 0])[:10].tolist()


@pytest.mark.parametrize(("progress", "beta"), [(0.0, 1.0), (0.5, 10.0), (1.0, 100.0)])
def test_noise_falls_in_powers_over_the_run(progress, beta):
    """Of two images, with scores 2 and 1, the better one comes first with p = 2^beta / (2^beta + 1)."""
    scores = np.array([[2.0, 1], [1.0, 1]])
    first = [clasp_batch(scores, 1, np.random.default_rng(s), progress, share=0.0)[0] == 0 for s in range(800)]
    assert np.mean(first) == pytest.approx(2**beta / (2**beta + 1), abs=0.06)


def test_scores_of_zero_come_last():
    scores = np.zeros((8, 2))
    scores[:3] = 1
    for seed in range(5):
        assert set(clasp_batch(scores, 3, np.random.default_rng(seed), 0.0).tolist()) == {0, 1, 2}
        assert len(set(clasp_batch(scores, 8, np.random.default_rng(seed), 0.0).tolist())) == 8


def test_options_are_those_of_the_chooser():
    assert set(get("clasp").options) == {"share", "first_beta", "last_beta"}
    assert get("clasp", share=0.5).chooser is clasp_batch and get("clasp").wants == {"mc_mean"}
    with pytest.raises(Refused, match="share=1.5 must be between 0 and 1"):
        get("clasp", share=1.5)
    with pytest.raises(Refused, match="cannot pick 3 images from a pool of 2"):
        get("clasp").choose(scores=np.ones((2, 2)), n_query=3, rng=np.random.default_rng(0), progress=0.0)
    with pytest.raises(Refused, match="'bald' gives one score per image"):
        get("bald").choose(scores=np.ones((2, 2)))
