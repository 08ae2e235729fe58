"""What unlabelled images add to a loss, beside the sums written out."""

import math

import pytest
import torch

from experiments.learning.agreement_losses import confident_agreement, consistency, cross_supervision, ramp


def logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def shares(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


def places(plain, changed):
    """Pairs of rows of logits (C,), one for each image or pixel."""
    return list(
        zip(plain.movedim(1, -1).flatten(0, -2).tolist(), changed.movedim(1, -1).flatten(0, -2).tolist(), strict=True)
    )


@pytest.mark.parametrize("threshold", [0.0, 0.7, 0.95, 1.0])
def test_fixmatch_learns_the_class_of_certain_images_alone(threshold):
    plain, changed = logits(12, 3), logits(12, 3, seed=1).requires_grad_()
    total = 0.0
    for sure, learnt in places(plain, changed):
        p = shares(sure)
        total += -math.log(shares(learnt)[p.index(max(p))]) if max(p) >= threshold else 0.0
    loss = confident_agreement(plain, changed, threshold)
    assert loss.item() == pytest.approx(total / 12, abs=1e-6)
    assert (total > 0) == (threshold < 1)
    loss.backward()
    certain = plain.softmax(1).amax(1) >= threshold
    assert ((changed.grad.abs().sum(1) > 0) == certain).all()


@pytest.mark.parametrize("space", [(), (2, 3)])
def test_consistency_is_the_squared_distance_of_probabilities(space):
    taught, student = logits(4, 3, *space), logits(4, 3, *space, seed=1)
    pairs = places(taught, student)
    expected = sum(sum((a - b) ** 2 for a, b in zip(shares(x), shares(y), strict=True)) for x, y in pairs) / len(pairs)
    assert float(consistency(taught, student)) == pytest.approx(expected, abs=1e-6)


def test_each_network_learns_the_classes_of_the_other():
    first, second = logits(2, 3, 4, 5).requires_grad_(), logits(2, 3, 4, 5, seed=1).requires_grad_()
    pairs = places(first.detach(), second.detach())
    of_first = sum(-math.log(shares(a)[b.index(max(b))]) for a, b in pairs) / len(pairs)
    of_second = sum(-math.log(shares(b)[a.index(max(a))]) for a, b in pairs) / len(pairs)
    assert float(cross_supervision(first, second)) == pytest.approx(of_first + of_second, abs=1e-5)


def test_a_teacher_gets_no_gradient():
    taught, student = logits(4, 3).requires_grad_(), logits(4, 3, seed=1).requires_grad_()
    (consistency(taught, student) + confident_agreement(taught, student, 0.0)).backward()
    assert taught.grad is None and student.grad.abs().sum() > 0


def test_the_weight_rises_to_the_whole():
    assert [ramp(step, 4) for step in range(6)] == pytest.approx(
        [math.exp(-5), math.exp(-2.8125), math.exp(-1.25), math.exp(-0.3125), 1, 1]
    )
    assert ramp(0, 0) == 1
