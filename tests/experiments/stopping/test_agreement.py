"""Agreement of two models by hand: classes, masks and boxes, and what tells nothing."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from data.names import Refused
from experiments.stopping.agreement import BOXES, CLASSES, MAPS, Predictions, agreement, changed, kappa, matched


def classes(*labels):
    return Predictions(CLASSES, np.array(labels))


def maps(*drawn):
    return Predictions(MAPS, [np.array(each, dtype=np.int16) for each in drawn])


def boxes(*of_images):
    return Predictions(BOXES, [np.array(each, dtype=float).reshape(-1, 5) for each in of_images])


def test_kappa_by_hand():
    # 20 images: both say 0 of 8 and 1 of 7; p_o = .75, shares .5 x .55 + .5 x .45 = .5
    before = np.array([0] * 10 + [1] * 10)
    after = np.array([0] * 8 + [1] * 2 + [0] * 3 + [1] * 7)
    assert kappa(before, after) == pytest.approx((0.75 - 0.5) / 0.5)
    assert changed(classes(*before), classes(*after)) == pytest.approx(0.25)


def test_kappa_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        before, after = rng.integers(0, 4, (2, 30))
        assert kappa(before, after) == pytest.approx(cohen_kappa_score(before, after))


def test_kappa_of_one_class_tells_nothing():
    """Two models that call everything one class agree by chance alone."""
    assert isnan(agreement(classes(2, 2, 2), classes(2, 2, 2)))
    assert agreement(classes(0, 0, 0), classes(1, 1, 1)) == 0
    assert agreement(classes(0, 1), classes(0, 1)) == 1


def test_dice_by_hand():
    before = maps([[1, 1], [0, 0]], [[0, 0], [0, 0]], [[1, 2], [2, 2]])
    after = maps([[1, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 2], [2, 0]])
    # 2/3 in the first image; the second has no foreground in either; the third has 1 and 4/5
    assert agreement(before, after) == pytest.approx((2 / 3 + (1 + 4 / 5) / 2) / 2)
    assert changed(before, after) == pytest.approx(2 / 12)
    empty = maps([[0, 0]])
    assert isnan(agreement(empty, empty)) and changed(empty, empty) == 0


def test_the_share_of_pixels_weighs_images_by_their_size():
    assert changed(maps([[1]], [[0, 0, 0]]), maps([[0]], [[0, 0, 0]])) == pytest.approx(1 / 4)


def test_boxes_by_hand():
    square, moved, far = [0, 0, 10, 10, 0], [0, 5, 10, 10, 0], [50, 50, 60, 60, 0]  # IoU of the first two is 0.5
    other = [0, 0, 10, 10, 1]
    before, after = boxes([square, far], [square], []), boxes([moved], [other], [])
    assert agreement(before, after) == pytest.approx(2 * 1 / 5)  # one pair of five boxes
    assert changed(before, after) == pytest.approx(2 / 3)  # the empty image is the same
    assert changed(boxes([square, far]), boxes([far, moved])) == 0
    assert isnan(agreement(boxes([], []), boxes([], []))) and changed(boxes([]), boxes([])) == 0
    assert agreement(boxes([square]), boxes([])) == 0


def test_each_box_has_one_partner_the_nearest():
    a = np.array([[0, 0, 10, 10, 0], [0, 1, 10, 11, 0]], dtype=float)
    b = np.array([[0, 1, 10, 11, 0]], dtype=float)
    assert matched(a, b).tolist() == [[1, 0]]
    slightly_less = np.array([[0, 5.1, 10, 10, 0]])
    assert len(matched(a[:1], slightly_less)) == 0
    nothing = np.zeros((1, 5))  # of no area
    assert len(matched(nothing, nothing)) == 0


def test_agreement_is_symmetric():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, (2, 12, 2))
    a, b = (np.c_[c, c + rng.uniform(5, 20, (12, 2)), rng.integers(0, 2, 12)] for c in corners)
    assert agreement(boxes(a), boxes(b)) == agreement(boxes(b), boxes(a))


@pytest.mark.parametrize("other", [classes(1), maps([[1]], [[1]]), classes()])
def test_other_images_are_refused(other):
    with pytest.raises(Refused, match="expected the same images"):
        agreement(classes(1, 2), other)
    with pytest.raises(Refused, match="at least one"):
        changed(classes(), classes())
