"""The trainer's rates, worked out by hand."""

from __future__ import annotations

import pytest

from experiments.learning.recipe import Recipe


@pytest.mark.parametrize(("steps", "share", "first"), [(60, 0.667, 40), (60, 2 / 3, 40), (3, 0.667, 2), (150, 0.5, 75), (10, 1.0, 10)])
def test_schedule_step_drops_at_the_step_nearest_to_its_share(steps, share, first):
    recipe = Recipe(steps, 1, lr=1.0, schedule="step", lr_step_at=share)
    assert [learning_rate(recipe, step) for step in range(steps)] == [1.0] * first + [0.1] * (steps - first)


def test_cosine_falls_from_the_whole_rate_and_warm_up_rises_to_it():
    recipe = Recipe(4, 1, lr=2.0, schedule="cosine")
    assert [learning_rate(recipe, step) for step in range(4)] == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])
    warm = Recipe(4, 1, lr=2.0, schedule="none", warmup=2)
    assert [learning_rate(warm, step) for step in range(4)] == pytest.approx([2 / 3, 4 / 3, 2, 2])
