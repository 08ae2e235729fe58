"""Strong changes: within 0..1, each image its own, nothing moved where maps have to stay, pure functions of their rng."""

import numpy as np
import pytest
import torch

from data.augment.strong import appearance, cutout, strong


def images(n=64, channels=3, height=12, width=16):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("change", [strong, cutout, appearance])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_change_is_new_within_range_and_the_same_again(change, channels):
    given = images(channels=channels)
    before = given.clone()
    first, again = change(given, np.random.default_rng(3)), change(given, np.random.default_rng(3))
    assert torch.equal(first, again) and torch.equal(given, before) and first.shape == given.shape
    assert first.min() >= 0 and first.max() <= 1 and not torch.equal(first, given)


def test_a_cutout_is_one_grey_square_of_at_most_half_the_shorter_side():
    given = images(500)
    cut = cutout(given, np.random.default_rng(0))
    gone = (cut != given).any(1)
    rows, columns = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.sum((1, 2)), rows * columns), "a rectangle"
    assert rows.max() == 6 and columns.max() == 6 and (cut[:, :, :][gone[:, None].expand_as(cut)] == 0.5).all()
    assert gone.float().mean(0).min() > 0, "anywhere"


def test_appearance_moves_nothing():
    """A step between two even halves stays where it is, whatever is done to both."""
    given = torch.zeros(200, 1, 8, 16)
    given[..., 8:] = 0.6
    given[..., :8] = 0.3
    changed = appearance(given, np.random.default_rng(1))
    jumps = (changed[..., 1:] - changed[..., :-1]).mean((1, 2))
    assert (jumps.argmax(1) == 7).float().mean() > 0.95
    assert changed.std(0).min() > 0.02, "each image in its own way"
