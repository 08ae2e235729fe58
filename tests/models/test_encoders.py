"""U-Nets with an encoder: any size, stochastic passes in the decoder, weights that arrive, and refusals."""

import torch
from pytest import mark, raises

from data.names import Refused
from models import pretrained
from models.classifiers import make_classifier
from models.segmenters import make_segmenter
from models.stochastic import mc_dropout


@mark.parametrize(
    "encoder", ["resnet18", "resnet18_cifar", "efficientnet_lite0", "timm:test_resnet", "timm:test_convnext"]
)
@mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_any_size_and_stochastic_passes(encoder, channels):
    model = make_segmenter("unet", 3, channels, width=4, dropout=0.3, encoder=encoder).eval()
    images = torch.rand(2, channels, 37, 70)
    assert model(images).shape == (2, 3, 37, 70)
    assert model.features(images).shape[0] == 2 and model.features(images).ndim == 2
    assert torch.equal(model(images), model(images))
    with mc_dropout(model):
        assert not torch.equal(model(images), model(images))
        assert torch.equal(model.features(images), model.features(images)), "the encoder has no dropout"


def test_all_maps_are_merged():
    """The decoder of ResNet-18 has a level for each stride, and every layer that is used learns."""
    model = make_segmenter("unet", 2, 3, width=4, encoder="resnet18").train()
    assert model.skips == [True, True, True, True, False] and model.multiple == 32
    model(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@torch.no_grad()
def test_weights_arrive_in_the_encoder(tmp_path):
    model = make_segmenter("unet", 2, 3, encoder="efficientnet_lite0", weights="imagenet")
    state = model.trunk.state_dict()
    published = pretrained.imagenet_state()
    assert all(torch.equal(value, published[key]) for key, value in state.items())
    source = make_classifier("resnet18_cifar", 4, 1, 0.1)
    trunk = {key: value for key, value in source.state_dict().items() if key.startswith("trunk.")}
    torch.save({"state_dict": trunk, "network": "resnet18_cifar"}, tmp_path / "encoder.pt")
    model = make_segmenter("unet", 2, 1, encoder="resnet18_cifar", weights=tmp_path / "encoder.pt").eval()
    source.eval()
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(model.features(images), source.features(images))  # mean of the last map is what it gives


def test_misuse_is_told_in_one_sentence():
    for encoder, expected in {
        "small_cnn": "unknown encoder 'small_cnn'.*timm:<name>",
        "timm:test_vit": "has maps of stride 16, and a U-Net needs",
        "timm:test_coatnet": "takes images of one size alone",
        "timm:test_resnt": "Did you mean 'test_resnet'",
    }.items():
        with raises(Refused, match=expected):
            make_segmenter("unet", 2, 3, encoder=encoder)
    with raises(Refused, match="weights='imagenet' are for an encoder"):
        make_segmenter("unet", 2, 3, weights="imagenet")
