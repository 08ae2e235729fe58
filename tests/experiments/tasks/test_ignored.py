"""Pixels that a mask leaves open count neither in the loss nor in a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.formats.masks import IGNORED
from experiments.measures.segmentation import PartScores, trivial_scores
from experiments.tasks.segmentation import _criterion

CLASSES = ("background", "gland", "lumen")


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=generator)
    return logits, torch.randint(0, 3, (2, 1, 8, 8), generator=generator)


@pytest.mark.parametrize("name", ["ce", "dice", "dice_ce", "batch_dice_ce"])
class TestLoss:
    def test_without_such_pixels_it_is_the_usual_one(self, name):
        logits, masks = batch()
        assert torch.allclose(
            _criterion(name, ignoring=True)(logits, masks), _criterion(name)(logits, masks), atol=1e-6
        )

    def test_what_is_predicted_there_is_of_no_effect(self, name):
        logits, masks = batch()
        masks[:, :, 2:4] = IGNORED
        others = logits.clone()
        others[:, :, 2:4] = 50 * torch.randn(2, 3, 2, 8, generator=torch.Generator().manual_seed(1))
        loss = _criterion(name, ignoring=True)
        assert torch.equal(loss(logits, masks), loss(others, masks))
        logits.requires_grad_()
        loss(logits, masks).backward()
        assert logits.grad is not None and not logits.grad[:, :, 2:4].any() and logits.grad[:, :, 4:].any()

    def test_a_batch_of_them_alone_is_finite(self, name):
        logits, masks = batch()
        logits.requires_grad_()
        loss = _criterion(name, ignoring=True)(logits, torch.full_like(masks, IGNORED))
        loss.backward()
        assert torch.isfinite(loss) and logits.grad is not None and not logits.grad.any()


def test_cross_entropy_is_the_mean_over_the_others():
    logits, masks = batch()
    masks[:, :, :4] = IGNORED
    expected = torch.nn.functional.cross_entropy(logits[:, :, 4:], masks[:, 0, 4:])
    assert torch.allclose(_criterion("ce", ignoring=True)(logits, masks), expected)


class TestScores:
    truth = np.array([[0, 1, 1, 2], [0, 1, IGNORED, IGNORED]])

    def test_leave_them_out(self):
        scores = PartScores(["test"], CLASSES)
        scores.add("test", np.array([[0, 1, 1, 2], [0, 1, 1, 2]]), self.truth)
        assert scores.summary()["dice"] == 1 and scores.summary()["iou"] == 1
        wrong = PartScores(["test"], CLASSES)
        wrong.add("test", np.array([[1, 1, 1, 2], [0, 1, 1, 2]]), self.truth)
        assert wrong.summary()["dice[gland]"] == pytest.approx(6 / 7)

    def test_trivial_values_leave_them_out(self):
        found = trivial_scores(lambda: [("test", self.truth, None)], CLASSES)
        assert found["dice[gland]"] == (pytest.approx(2 * 3 / (6 + 3)), "all gland")

    def test_255_is_a_class_where_there_are_256(self):
        classes = [str(c) for c in range(256)]
        scores = PartScores(["test"], classes)
        scores.add("test", np.zeros((2, 2), np.int64), np.array([[0, 255], [0, 0]]))
        assert scores.summary()["dice[255]"] == 0
