"""Every classification network keeps the one contract: features, dropout, linear head; images in 0..1; weights from files."""

from __future__ import annotations

import torch
import torchvision
from pytest import MonkeyPatch, mark, raises
from torch import nn

from models.classifiers import MEAN, NETWORKS, STD, make_classifier

SIZE = {name: max(32, network.smallest) for name, network in NETWORKS.items()}


def pixels(name: str, channels: int = 3, n: int = 2) -> torch.Tensor:
    return torch.rand(n, channels, SIZE[name], SIZE[name], generator=torch.Generator().manual_seed(0))


@mark.parametrize("name", NETWORKS)
@mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_contract(name, channels):
    model = make_classifier(name, 5, channels, 0.5).eval()
    images = pixels(name, channels)
    features = model.features(images)
    assert features.shape == (2, model.classifier.in_features)
    assert model(images).shape == (2, 5)
    assert torch.equal(model(images), model.head(features))
    assert torch.equal(model(images), model.classifier(features))  # dropout is off in evaluation
    assert isinstance(model.classifier, nn.Linear) and list(model.modules())[-1] is model.classifier
    assert model.stochastic_trunk is (name == "small_cnn")
    in_head = model.train().head(torch.ones(2, model.classifier.in_features))
    assert not torch.equal(in_head[0], in_head[1])  # and on in training, in the head


@torch.no_grad()
def test_small_cnn_is_the_published_network_at_28_pixels():
    model = make_classifier("small_cnn", 10, 1, 0.5, image_size=28).eval()
    shapes = [tuple(p.shape) for p in model.parameters()]
    assert shapes == [(32, 1, 5, 5), (32,), (64, 32, 5, 5), (64,), (128, 1024), (128,), (10, 128), (10,)]
    images, trunk = torch.rand(3, 1, 28, 28), model.trunk
    x = (images - sum(MEAN) / 3) / (sum(STD) / 3)
    for conv in (trunk.conv1, trunk.conv2):
        x = torch.relu(torch.max_pool2d(torch.conv2d(x, conv.weight, conv.bias), 2))
    expected = model.classifier(torch.relu(trunk.hidden(x.reshape(3, 1024))))
    torch.testing.assert_close(model(images), expected)


@mark.parametrize("size", [8, 11, 16, 27, 28, 40, 64])
@torch.no_grad()
def test_small_cnn_adapts_to_the_image_size(size):
    model = make_classifier("small_cnn", 3, 1, 0.5, image_size=size).eval()
    assert model(torch.rand(2, 1, size, size)).shape == (2, 3)
    assert model.trunk.hidden.in_features == 64 * min(4, size // 4) ** 2


@torch.no_grad()
def test_cifar_stem_keeps_the_resolution():
    model = make_classifier("resnet18_cifar", 3, 3, 0.1)
    assert model.trunk.maxpool(model.trunk.conv1(torch.rand(1, 3, 32, 32))).shape == (1, 64, 32, 32)


@torch.no_grad()
def test_images_are_standardised_by_the_network():
    model = make_classifier("resnet18", 3, 3, 0.1)
    images = torch.rand(4, 3, 8, 8)
    expected = torchvision.transforms.functional.normalize(images, MEAN, STD)
    torch.testing.assert_close(model.standardise(images), expected)
    assert not any("standardise" in key for key in model.state_dict())


def test_weights_follow_the_global_seed():
    def weights(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return torch.cat([p.flatten() for p in make_classifier("small_cnn", 3, 1, 0.1).parameters()])

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


@mark.parametrize("name", ["resnet18", "densenet121"])
@torch.no_grad()
def test_torchvision_file_gives_torchvision_features(name, tmp_path):
    theirs = getattr(torchvision.models, name)(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    model = make_classifier(name, 3, 3, 0.1, weights=tmp_path / "weights.pth").eval()
    images = pixels(name)
    last = next(n for n, m in theirs.named_modules() if isinstance(m, nn.Linear))
    setattr(theirs, last, nn.Identity())
    torch.testing.assert_close(model.features(images), theirs((images - model.standardise.mean) / model.standardise.std))


@torch.no_grad()
def test_grey_network_sums_the_colour_weights(tmp_path):
    theirs = torchvision.models.resnet18()
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "weights.pth")  # as many training scripts nest it
    model = make_classifier("resnet18", 3, 1, 0.1, weights=str(tmp_path / "weights.pth"))
    torch.testing.assert_close(model.trunk.conv1.weight, theirs.conv1.weight.sum(1, keepdim=True))
    x = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(model.trunk.conv1(x), theirs.conv1(x.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_own_file_keeps_the_head_when_the_classes_agree(tmp_path):
    saved = make_classifier("small_cnn", 4, 1, 0.1).eval()
    torch.save(saved.state_dict(), tmp_path / "own.pth")
    images = pixels("small_cnn", 1)
    same = make_classifier("small_cnn", 4, 1, 0.1, weights=tmp_path / "own.pth").eval()
    assert torch.equal(same(images), saved(images))
    other = make_classifier("small_cnn", 6, 1, 0.1, weights=tmp_path / "own.pth").eval()
    assert torch.equal(other.features(images), saved.features(images)) and other(images).shape == (2, 6)


def test_old_names_of_densenet_are_read(tmp_path):
    state = torchvision.models.densenet121().state_dict()
    old = {}
    for key, value in state.items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            if "denselayer" in key:
                key = key.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        if not key.endswith("num_batches_tracked"):
            old[key] = value
    assert any(".norm.1." in key for key in old)
    torch.save(old, tmp_path / "old.pth")
    model = make_classifier("densenet121", 3, 3, 0.1, weights=tmp_path / "old.pth")
    key = "features.denseblock2.denselayer3.conv2.weight"
    assert torch.equal(model.trunk.state_dict()[key], state[key])


def test_misuse_is_told_in_one_sentence(tmp_path):
    with raises(ValueError, match=r"unknown network 'resnet81'\. Did you mean 'resnet18'\?"):
        make_classifier("resnet81", 3, 3, 0.1)
    with raises(ValueError, match="num_classes=1 must be at least 2"):
        make_classifier("resnet18", 1, 3, 0.1)
    with raises(ValueError, match="channels=4 must be 1"):
        make_classifier("resnet18", 2, 4, 0.1)
    with raises(ValueError, match="dropout=1.0"):
        make_classifier("resnet18", 2, 3, 1.0)
    with raises(ValueError, match="image_size=28 is too small for vgg16_bn, which needs at least 32"):
        make_classifier("vgg16_bn", 2, 3, 0.1, image_size=28)
    with raises(ValueError, match="image_size=7 is too small for small_cnn, which needs at least 8"):
        make_classifier("small_cnn", 2, 3, 0.1, image_size=7)
    with raises(ValueError, match="made for images of 1 channel.* not for 3 x 28 x 28"):
        make_classifier("small_cnn", 2, 1, 0.1)(torch.rand(1, 3, 28, 28))
    with raises(FileNotFoundError, match="'imagnet'.*Did you mean 'imagenet'"):
        make_classifier("resnet18", 2, 3, 0.1, weights="imagnet")
    (tmp_path / "resnet18.pth").write_text("not a checkpoint")
    with raises(FileNotFoundError, match="Did you mean '.*resnet18.pth'"):
        make_classifier("resnet18", 2, 3, 0.1, weights=tmp_path / "resnet81.pth")
    with raises(ValueError, match=r"resnet18.pth' is not a state dict"):
        make_classifier("resnet18", 2, 3, 0.1, weights=tmp_path / "resnet18.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with raises(ValueError, match="holds no state dict"):
        make_classifier("resnet18", 2, 3, 0.1, weights=tmp_path / "list.pth")
    with raises(ValueError, match=r"no ImageNet weights for 'resnet18_cifar'\. Did you mean 'resnet18'"):
        make_classifier("resnet18_cifar", 2, 3, 0.1, weights="imagenet")


def test_weights_of_another_network_are_named(tmp_path):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "r34.pth")
    with raises(ValueError, match=r"r34.pth' do not fit 'resnet18': it holds 'layer\d.*It fits 'resnet34'\.$"):
        make_classifier("resnet18", 2, 3, 0.1, weights=tmp_path / "r34.pth")
    torch.save({"some.weight": torch.zeros(2)}, tmp_path / "alien.pth")
    with raises(ValueError, match="do not fit 'small_cnn': it lacks 'conv1.weight'. It fits none of"):
        make_classifier("small_cnn", 2, 3, 0.1, weights=tmp_path / "alien.pth")


def test_no_network_no_download(monkeypatch: MonkeyPatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", refuse)
    with raises(ValueError, match=r"ImageNet weights of 'resnet18' could not be downloaded from https.*give its path as weights=FILE"):
        make_classifier("resnet18", 2, 3, 0.1, weights="imagenet")


@torch.no_grad()
def test_downloaded_weights_are_used(monkeypatch: MonkeyPatch):
    published = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: published)
    model = make_classifier("resnet18", 2, 3, 0.1, weights="imagenet")
    assert torch.equal(model.trunk.layer4[1].conv2.weight, published["layer4.1.conv2.weight"])
