"""Views: in range, repeatable, per image; parts, colours and grey as often as their recipe says."""

from __future__ import annotations

import numpy as np
import torch
from pytest import approx, mark
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from data.augment.views import VIEWS, _mirror, _moved, _part, simsiam_cifar
from tests.data.augment.test_images import batch, rng


@mark.parametrize("size", [(9, 9), (8, 13)])
@mark.parametrize("channels", [1, 3])
@mark.parametrize("name", VIEWS)
def test_contract(name, channels, size):
    images = batch(6, channels, *size)
    images[0], images[1], images[2] = 0, 1, 0.5  # constant images
    before, state = images.clone(), torch.get_rng_state()
    new = VIEWS[name](images, rng(3))
    assert new.shape == images.shape and new.dtype == images.dtype and new.isfinite().all()
    assert new.min() >= 0 and new.max() <= 1
    assert torch.equal(images, before) and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(new, VIEWS[name](images, rng(3))) and not torch.equal(new, VIEWS[name](images, rng(4)))
    copies = VIEWS[name](batch(1, channels, *size).expand(12, -1, -1, -1), rng(0))
    assert len({tuple(image.flatten().tolist()) for image in copies}) > 6, "every image has its own parameters"


def test_parts_are_of_the_area_and_shape_that_are_asked_for_and_lie_within():
    part = _part(5000, rng(0), 0.2)
    width, height = part[:, 0, 0], part[:, 1, 1]
    area = width * height
    assert area.min() >= 0.2 and area.max() <= 1
    inside = (width < 1) | (height < 1)
    ratio = (width / height)[inside]
    assert ratio.min() >= 3 / 4 - 1e-9 and ratio.max() <= 4 / 3 + 1e-9
    edge = np.abs(part[:, :2, 2]) + np.stack([width, height], 1)
    assert edge.max() <= 1 + 1e-9, "no part reaches beyond the image"
    published = [RandomResizedCrop.get_params(torch.empty(1, 500, 500), [0.2, 1], [3 / 4, 4 / 3]) for _ in range(3000)]
    for ours, theirs in ((height, 2), (width, 3), (part[:, 1, 2], 0)):
        drawn = np.array([each[theirs] for each in published]) / 500
        drawn = drawn if theirs else 2 * drawn + np.array([each[2] for each in published]) / 500 - 1  # centres
        assert ks_2samp(ours, drawn).pvalue > 1e-3


def test_a_part_is_that_window_of_the_image_enlarged():
    """A view of a ramp, whose values are positions, holds the positions of its part, mirrored or not."""
    side = 64
    ramp = torch.linspace(0, 1, side).expand(400, 1, side, side)
    parts, mirrors = _part(400, rng(1), 0.2), _mirror(400, rng(2))
    seen = _moved(ramp, parts @ mirrors)[:, 0, side // 2]
    spans = (seen[:, -1] - seen[:, 0]).numpy()
    np.testing.assert_allclose(spans, (parts[:, 0, 0] * mirrors[:, 0, 0]), atol=0.04)
    np.testing.assert_allclose((seen[:, 0] + seen[:, -1]).numpy() / 2, (parts[:, 0, 2] + 1) / 2, atol=0.03)
    assert 0.4 < (mirrors[:, 0, 0] < 0).mean() < 0.6


def test_a_fifth_of_cifar_views_is_grey_and_a_fifth_keeps_its_colours():
    images = torch.tensor([0.5, 0.4, 0.3])[None, :, None, None].expand(4000, 3, 4, 4)
    new = simsiam_cifar(images, rng(0))
    grey = (new.amax(1) - new.amin(1)).amax((1, 2)) < 1e-4
    same = (new - images).abs().amax((1, 2, 3)) < 1e-4
    assert float(grey.float().mean()) == approx(0.2, abs=0.03)
    assert float(same.float().mean()) == approx(0.2 * 0.8, abs=0.03)


@mark.parametrize(("name", "channel_moves"), [("simsiam_radiograph", False), ("simsiam_histology", True)])
def test_radiographs_keep_their_hue(name, channel_moves):
    images = torch.tensor([0.5, 0.4, 0.3])[None, :, None, None].expand(40, 3, 8, 8)
    new = VIEWS[name](images, rng(0))
    ratio = (new[:, 0] - new[:, 1]) / (new[:, 1] - new[:, 2])
    assert bool((ratio - 1).abs().max() > 0.05) == channel_moves
