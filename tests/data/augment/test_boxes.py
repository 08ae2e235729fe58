"""Augmentation with boxes: they move with the pixels, stay good boxes, and one generator repeats everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.augment.boxes import AUGMENTATIONS, appearance, flips_rot90, hflip, strong, weak

SIZES = [(16, 16), (12, 17)]
LEVELS = [None, 0.0, 0.5, 1.0]  # of a constant image; None for noise
NO_BOXES = torch.zeros(0, 5)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def painted(size, boxes) -> torch.Tensor:
    """Grey image in which box k has the value (k + 1) / 4."""
    image = torch.zeros(1, *size)
    for k, (x1, y1, x2, y2) in enumerate(boxes):
        image[0, y1:y2, x1:x2] = (k + 1) / 4
    return image


def recovered(image: torch.Tensor, value: float) -> list[int]:
    ys, xs = torch.nonzero(image[0] == value, as_tuple=True)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


@pytest.mark.parametrize("name", AUGMENTATIONS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), channels=st.sampled_from([1, 3]), size=st.sampled_from(SIZES), level=st.sampled_from(LEVELS))
def test_contract(name, seed, channels, size, level):
    image = noise(channels, *size) if level is None else torch.full((channels, *size), level)
    boxes = torch.tensor([[0, 0, size[1], size[0], 2], [1.5, 2, 4, 9.25, 0]])
    image_before, boxes_before = image.clone(), boxes.clone()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    new, moved = AUGMENTATIONS[name](image, boxes, rng(seed))
    assert new.shape == image.shape and new.dtype == image.dtype and moved.shape == boxes.shape and moved.dtype == boxes.dtype
    assert new.isfinite().all() and new.min() >= 0 and new.max() <= 1
    assert moved[0].tolist() == boxes[0].tolist() and moved[1, 4] == 0  # the whole image stays whole; classes stay
    assert (moved[:, 2:4] > moved[:, :2]).all() and (moved[:, :4] >= 0).all() and (moved[:, 2:4] <= torch.tensor([size[1], size[0]])).all()
    assert torch.equal(image, image_before) and torch.equal(boxes, boxes_before)  # the inputs are left alone
    assert torch.equal(torch.get_rng_state(), torch_state) and (np.random.get_state()[1] == numpy_state).all()
    again, moved_again = AUGMENTATIONS[name](image, boxes, rng(seed))
    assert torch.equal(new, again) and torch.equal(moved, moved_again)
    alone, none_there = AUGMENTATIONS[name](image, NO_BOXES, rng(seed))
    assert torch.equal(alone, new) and none_there.shape == (0, 5)


@pytest.mark.parametrize("name", ["none", "hflip", "flips_rot90"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.sampled_from(SIZES), data=st.data())
def test_boxes_move_with_their_pixels(name, seed, size, data):
    side = [st.tuples(st.integers(0, n - 1), st.integers(1, 5)).map(lambda p, n=n: (p[0], min(n, sum(p)))) for n in size]
    (y1, y2), (x1, x2) = (data.draw(s) for s in side)
    boxes = torch.tensor([[x1, y1, x2, y2, 1.0]])
    new, moved = AUGMENTATIONS[name](painted(size, [(x1, y1, x2, y2)]), boxes, rng(seed))
    assert moved[0].tolist() == [*recovered(new, 0.25), 1]


@pytest.mark.parametrize("size", SIZES)
def test_two_boxes_keep_their_order(size):
    boxes = [(0, 0, 3, 2), (5, 4, 11, 12)]
    for seed in range(12):
        new, moved = flips_rot90(painted(size, boxes), torch.tensor([[*box, k] for k, box in enumerate(boxes)]).float(), rng(seed))
        assert moved.tolist() == [[*recovered(new, (k + 1) / 4), k] for k in range(2)]


@pytest.mark.parametrize(
    ("name", "size", "n"), [("hflip", (3, 3), 2), ("flips_rot90", (3, 3), 8), ("flips_rot90", (3, 4), 4), ("none", (3, 3), 1)]
)
def test_all_symmetries_come(name, size, n):
    image = torch.arange(float(size[0] * size[1])).reshape(1, *size) / 20
    seen = {tuple(AUGMENTATIONS[name](image, NO_BOXES, rng(seed))[0].flatten().tolist()) for seed in range(120)}
    turned = [flipped.rot90(k, (1, 2)) for flipped in (image, image.flip(-1)) for k in range(4)]
    assert len(seen) == n and seen <= {tuple(one.flatten().tolist()) for one in turned if one.shape == image.shape}
    if name == "hflip":
        assert seen == {tuple(image.flatten().tolist()), tuple(image.flip(-1).flatten().tolist())}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(48, 48), (40, 60)])
def test_strong_moves_as_weak_and_changes_the_look(channels, size):
    """From the same generator both draw the same geometry; what else `strong` does leaves objects where they are."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    image = (0.2 + 0.5 * (3 * x + y) / (3 * size[1] + size[0])).expand(channels, -1, -1).contiguous()
    image[:, 5:12, 8:30] = 0.9
    boxes = torch.tensor([[8.0, 5, 30, 12, 0]])
    for seed in range(25):
        (plain, plain_boxes), (new, new_boxes) = weak(image, boxes, rng(seed)), strong(image, boxes, rng(seed))
        assert torch.equal(plain_boxes, new_boxes) and not torch.equal(plain, new)
        assert np.corrcoef(plain.flatten(), new.flatten())[0, 1] > 0.6
        x1, y1, x2, y2 = new_boxes[0, :4].int().tolist()
        assert new[:, y1:y2, x1:x2].mean() > new.mean() + 0.05


def test_appearance_varies():
    image = noise(3, 20, 30)
    looks = [appearance(image, rng(seed)) for seed in range(60)]
    flat = [bool((look.flatten(1).unique(dim=1, return_counts=True)[1] > 1).any()) for look in looks]  # cutout repeats one colour
    assert 15 < sum(flat) < 45
    spread = torch.tensor([float(look.diff(dim=2).abs().mean()) for look in looks])
    assert spread.max() > 1.3 * spread.min()  # blur, contrast


def test_cutout_is_small():
    image = 0.4 + 0.1 * noise(1, 40, 40)  # stays clear of 0 and 1, so that only the cut repeats a value often
    for seed in range(40):
        _, counts = appearance(image, rng(seed))[0].unique(return_counts=True)
        assert counts.max() <= 8 * 8  # a fifth of either side


def test_hflip_leaves_the_rows_alone():
    boxes = torch.tensor([[1.0, 2, 4, 9, 0]])
    seen = {tuple(hflip(torch.zeros(1, 12, 17), boxes, rng(seed))[1][0].tolist()) for seed in range(20)}
    assert seen == {(1, 2, 4, 9, 0), (13, 2, 16, 9, 0)}
