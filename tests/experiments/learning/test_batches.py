"""What is drawn, and what travels to the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.phantoms.ct import ct_slices
from data.phantoms.glands import glands
from experiments.learning.batches import WithoutTargets, pictures

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("coloured", [True, False])
def test_pictures_on_the_device_are_those_of_the_dataset_bit_for_bit(phantom_cache, device, coloured):
    images = glands(6, 4, cache_root=phantom_cache) if coloured else ct_slices(6, 4, 64, cache_root=phantom_cache)
    order = [3, 0, 9]
    batch = pictures(images, order, device)
    assert batch.dtype == torch.float32 and batch.is_contiguous()
    assert torch.equal(batch.cpu(), torch.stack([images.image(i) for i in order]))
    assert torch.equal(WithoutTargets(images)[3], images.image(3))


def test_all_bytes_become_the_same_numbers_on_the_device():
    """Every of the 256 values, divided by 255 in float32 on either side."""
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    every = object.__new__(WithoutTargets)
    every.raw = lambda i: stored
    expected = torch.from_numpy(stored.transpose(2, 0, 1).astype(np.float32)).div_(255)
    for device in DEVICES:
        assert torch.equal(pictures(every, [0], device)[0].cpu(), expected)
