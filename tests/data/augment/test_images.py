"""Augmentation: in range, repeatable, per image, and masks that follow their images."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx, mark
from scipy.stats import chisquare
from skimage.color import hed2rgb
from torchvision.transforms.functional import adjust_brightness, adjust_contrast, adjust_saturation, adjust_sharpness

from data.augment.colours import blurred, jittered, recoloured, restained
from data.augment.images import AUGMENTATIONS, _sharpened, crop_example, warped

GEOMETRIC = ["hflip", "flips_rot90", "segmentation", "dermoscopy", "histology", "randaugment"]


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def batch(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@mark.parametrize("name", AUGMENTATIONS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), channels=st.sampled_from([1, 3]), size=st.sampled_from([(9, 9), (8, 13)]))
def test_contract(name, seed, channels, size):
    images = batch(6, channels, *size)
    masks = 50 * torch.randint(0, 4, (6, *size), generator=torch.Generator().manual_seed(seed))  # gaps: no class may be interpolated
    images[0], images[1], images[2] = 0, 1, 0.5  # constant images
    images_before, masks_before = images.clone(), masks.clone()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    new, new_masks = AUGMENTATIONS[name](images, rng(seed), masks)
    assert new.shape == images.shape and new.dtype == images.dtype and new_masks.shape == masks.shape and new_masks.dtype == masks.dtype
    assert new.isfinite().all() and new.min() >= 0 and new.max() <= 1
    assert set(new_masks.unique().tolist()) <= set(masks.unique().tolist())
    assert torch.equal(images, images_before) and torch.equal(masks, masks_before)  # the inputs are left alone
    assert torch.equal(torch.get_rng_state(), torch_state) and (np.random.get_state()[1] == numpy_state).all()
    again, again_masks = AUGMENTATIONS[name](images, rng(seed), masks)
    assert torch.equal(new, again) and torch.equal(new_masks, again_masks)
    alone, no_masks = AUGMENTATIONS[name](images, rng(seed))
    assert no_masks is None and torch.equal(alone, new)  # the same with and without masks


@mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_images_of_a_batch_differ_and_seeds_differ(name):
    images = batch(1, 3, 16, 16).expand(12, -1, -1, -1)
    new, _ = AUGMENTATIONS[name](images, rng(0))
    assert len({tuple(image.flatten().tolist()) for image in new}) > 1
    other, _ = AUGMENTATIONS[name](images, rng(1))
    assert not torch.equal(new, other)


def test_none_is_the_identity():
    images, masks = batch(3, 3, 5, 7), torch.ones(3, 5, 7, dtype=torch.int64)
    new, new_masks = AUGMENTATIONS["none"](images, rng(0), masks)
    assert torch.equal(new, images) and torch.equal(new_masks, masks)


@mark.parametrize("name", ["hflip", "flips_rot90"])
@mark.parametrize("size", [(6, 6), (5, 8)])
def test_flips_move_image_and_mask_alike(name, size):
    masks = torch.arange(size[0] * size[1]).reshape(1, *size).repeat(30, 1, 1)
    new, new_masks = AUGMENTATIONS[name]((masks / masks.max()).float()[:, None], rng(0), masks)
    assert torch.equal((new[:, 0] * masks.max()).round().long(), new_masks)
    assert not torch.equal(new_masks, masks)


@mark.parametrize("name", GEOMETRIC)
def test_colours_and_blur_leave_the_geometry_to_the_mask(name):
    """Mask and image hold the same slanted plane of values; whatever moves them, they stay in the same order within each image."""
    size, n = 48, 40
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    plane = 2 * x + y
    images = (0.3 + 0.4 * plane / plane.max()).expand(n, 3, -1, -1).contiguous()
    new, masks = AUGMENTATIONS[name](images, rng(1), plane.expand(n, -1, -1).contiguous())
    correlations = []
    for image, mask in zip(new, masks, strict=True):
        correlations.append(np.corrcoef(image.mean(0).flatten(), mask.flatten())[0, 1])
    # solarise, posterise, equalise may bend the values of randaugment, not displace them
    assert min(correlations) > 0.995 if name != "randaugment" else np.median(correlations) > 0.995
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 1


@mark.parametrize("size", [(24, 24), (20, 31)])
def test_warp_moves_image_and_mask_within_half_a_pixel(size):
    height, width = size
    masks = torch.arange(width).expand(20, height, width).contiguous()
    images = (masks / (width - 1)).float()[:, None]
    angle = rng(0).uniform(0, 6, 20)
    theta = np.stack([np.stack([np.cos(angle), -np.sin(angle)], 1), np.stack([np.sin(angle), np.cos(angle)], 1)], 1)
    new, new_masks = warped(images, masks, theta)
    assert (new[:, 0] * (width - 1) - new_masks).abs().max() < 0.51
    quarter, _ = warped(batch(2, 3, 9, 9), None, np.array([[[0.0, -1.0], [1.0, 0.0]]] * 2))
    torch.testing.assert_close(quarter, batch(2, 3, 9, 9).rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_warp_keeps_a_disc_round_on_a_wide_image():
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(80) - 39.5, indexing="ij")
    disc = ((x**2 + y**2) < 15**2).float()[None, None]
    turned, _ = warped(disc, None, np.array([[[0.6, -0.8], [0.8, 0.6]]]))
    within = (x**2 + y**2) < 19**2  # beyond it, reflections of the disc appear
    assert not ((turned - disc)[0, 0, within].abs() > 0.6).any()


def test_dihedral_elements_are_all_there_and_equally_likely():
    image = torch.arange(9.0).reshape(1, 1, 3, 3) / 9
    new, _ = AUGMENTATIONS["flips_rot90"](image.expand(4000, -1, -1, -1), rng(5))
    seen, counts = np.unique(new.flatten(1).numpy(), axis=0, return_counts=True)
    expected = [rotated for flipped in (image, image.flip(-1)) for rotated in (flipped.rot90(k, (2, 3)) for k in range(4))]
    assert {tuple(row) for row in seen} == {tuple(e.flatten().tolist()) for e in expected}
    assert chisquare(counts).pvalue > 0.001
    flipped, _ = AUGMENTATIONS["hflip"](image.expand(4000, -1, -1, -1), rng(5))
    assert abs((flipped == image).all((1, 2, 3)).float().mean() - 0.5) < 0.03


def test_colour_map_against_torchvision():
    images = 0.3 + 0.4 * batch(3, 3, 6, 7)  # far from the ends, where the order of clamping would matter
    one, factor = torch.ones(3), torch.tensor([0.8, 1.0, 1.25])
    for found, adjust in (
        (recoloured(images, factor, one, one, 0 * one), adjust_brightness),
        (recoloured(images, one, factor, one, 0 * one), adjust_contrast),
        (recoloured(images, one, one, factor, 0 * one), adjust_saturation),
    ):
        expected = torch.stack([adjust(image, float(f)) for image, f in zip(images, factor, strict=True)])
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)  # they round the weights of grey
    sharp = torch.stack([adjust_sharpness(image, f) for image, f in zip(images, (0.73, 1.27), strict=False)])
    torch.testing.assert_close(_sharpened(images[:2], torch.tensor([-1.0, 1.0])), sharp, atol=1e-5, rtol=0)


def test_turn_of_hue_keeps_grey_and_turns_colours_back():
    images = 0.4 + 0.2 * batch(2, 3, 4, 4)
    one, turn = torch.ones(2), torch.tensor([0.5, -1.0])
    there = recoloured(images, one, one, one, turn)
    torch.testing.assert_close(recoloured(there, one, one, one, -turn), images, atol=1e-5, rtol=0)
    assert (there - images).abs().max() > 0.01
    luma = torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(torch.einsum("bchw,c->bhw", there, luma), torch.einsum("bchw,c->bhw", images, luma), atol=1e-3, rtol=0)


def test_grey_images_are_jittered_about_their_mean():
    images = 0.4 + 0.2 * batch(2, 1, 4, 4)
    found = recoloured(images, torch.tensor([0.9, 1.1]), torch.tensor([1.2, 0.8]), torch.ones(2), torch.zeros(2))
    for i, (brightness, contrast) in enumerate([(0.9, 1.2), (1.1, 0.8)]):
        expected = brightness * (images[i].mean() + contrast * (images[i] - images[i].mean()))
        torch.testing.assert_close(found[i], expected)


def test_restaining_scales_the_stains():
    amounts = np.zeros((2, 2, 3)) + np.linspace(0.01, 0.05, 4).reshape(2, 2, 1) * [1.0, 0.5, 0.2]
    scale = np.array([1.3, 0.8, 1.1])
    # skimage measures optical density in units of -ln(1e-6) and does not normalise the stains: pure scaling is free of both
    before, after = (torch.from_numpy(hed2rgb(a).transpose(2, 0, 1)).float()[None] for a in (amounts, amounts * scale))
    found = restained(before, torch.from_numpy(scale).float()[None], torch.zeros(1, 3))
    torch.testing.assert_close(found, after, atol=1e-5, rtol=0)
    same = restained(before, torch.ones(1, 3), torch.zeros(1, 3))
    torch.testing.assert_close(same, before, atol=1e-5, rtol=0)
    assert (restained(before, torch.ones(1, 3), torch.full((1, 3), 0.1)) < before).all()  # more stain, less light


def test_blur_is_the_separable_kernel():
    images = batch(2, 3, 7, 8)
    found = blurred(images, torch.tensor([0.0, 0.2]))
    torch.testing.assert_close(found[0], images[0])
    kernel = torch.tensor([0.2, 0.6, 0.2])
    expected = torch.nn.functional.conv2d(images[1][:, None], torch.outer(kernel, kernel)[None, None])[:, 0]
    torch.testing.assert_close(found[1][:, 1:-1, 1:-1], expected)


def test_jitter_draws_within_its_strength():
    images = torch.full((500, 1, 2, 2), 0.5)
    values = jittered(images, rng(0), brightness=0.2, contrast=0.2)[:, 0, 0, 0]
    assert 0.4 <= values.min() < 0.405 and 0.595 < values.max() <= 0.6
    assert values.mean().item() == approx(0.5, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.integers(1, 30), st.integers(0, 10**6))
def test_crop_keeps_image_and_mask_together(height, width, size, seed):
    mask = np.arange(height * width, dtype=np.int32).reshape(height, width)
    image = np.stack([mask % 256, mask // 256], 2).astype(np.uint8)
    cropped, cropped_mask = crop_example(image, mask, size, rng(seed))
    assert cropped.shape == (size, size, 2) and cropped_mask.shape == (size, size) and cropped_mask.dtype == mask.dtype
    assert (cropped[..., 0] + 256 * cropped[..., 1].astype(int) == cropped_mask).all()
    again, nothing = crop_example(image, None, size, rng(seed))
    assert nothing is None and (again == cropped).all()
    if size <= min(height, width):  # a true window: neighbours stay neighbours
        assert (np.diff(cropped_mask, axis=1) == 1).all() and (np.diff(cropped_mask, axis=0) == width).all()
    else:  # reflected: nothing of a short side is lost
        rows, columns = set((cropped_mask // width).flatten()), set((cropped_mask % width).flatten())
        assert len(rows) == min(size, height) and len(columns) == min(size, width)
    cropped[:] = 0
    assert image[..., 0].max() == min(mask.max(), 255)  # a copy


def test_crop_reaches_every_position():
    image = np.arange(5, dtype=np.uint8).reshape(1, 5, 1).repeat(5, 0)
    starts = {int(crop_example(image, None, 3, rng(seed))[0][0, 0, 0]) for seed in range(50)}
    assert starts == {0, 1, 2}


def test_crop_reflects_without_repeating_the_edge():
    image = np.array([10, 20, 30], dtype=np.uint8).reshape(1, 3, 1).repeat(3, 0)
    cropped, _ = crop_example(image, None, 5, rng(0))
    assert cropped[0, :, 0].tolist() == [20, 10, 20, 30, 20]
