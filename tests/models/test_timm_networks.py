"""Networks of timm: sizes, statistics, grey images, weights of files, and refusals; with its tiny models for tests."""

import timm
import torch
from pytest import mark, raises
from safetensors.torch import save_file

from data.names import Refused
from models import pretrained, timm_networks
from models.classifiers import make_classifier
from models.stochastic import mc_dropout


@mark.parametrize(
    "name", ["efficientnet_lite0", "timm:test_resnet", "timm:test_vit", "timm:test_efficientnet.r160_in1k"]
)
@mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_contract(name, channels):
    model = make_classifier(name, 5, channels, 0.5, image_size=36).eval()
    images = torch.rand(2, channels, 36, 44, generator=torch.Generator().manual_seed(0))
    features = model.features(images)
    assert features.shape == (2, model.classifier.in_features)
    assert torch.equal(model(images), model.head(features))
    assert not model.stochastic_trunk  # transformers have dropout layers with p = 0
    with mc_dropout(model):
        assert not torch.equal(model(images), model(images))
    colour = make_classifier(name, 5, 3, 0.5).eval()
    colour.load_state_dict(model.state_dict())
    if channels == 1:  # a grey image is seen as its colour image
        torch.testing.assert_close(model(images), colour(images.expand(-1, 3, -1, -1)))


def test_statistics_are_those_of_the_weights():
    for name, mean, std in [
        ("efficientnet_lite0", pretrained.MEAN, pretrained.STD),
        ("timm:test_resnet", (0.5,) * 3, (0.5,) * 3),
        ("timm:test_efficientnet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]:
        found = make_classifier(name, 2, 3, 0.1).standardise
        assert found.mean.flatten().tolist() == torch.tensor(mean).tolist()
        assert found.std.flatten().tolist() == torch.tensor(std).tolist()


def test_describing_draws_no_random_number():
    timm_networks.described.cache_clear()

    def weights():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return torch.cat([p.flatten() for p in make_classifier("timm:test_vit", 2, 3, 0.1).parameters()])

    assert torch.equal(weights(), weights())


@torch.no_grad()
def test_imagenet_weights_of_the_wheel():
    model = make_classifier("efficientnet_lite0", 3, 1, 0.1, weights="imagenet").eval()
    reference = timm.create_model(pretrained.NETWORK, pretrained=False)
    reference.load_state_dict(pretrained.imagenet_state())
    reference.eval().reset_classifier(0)
    images = torch.rand(2, 1, 40, 40)
    seen = (images.expand(-1, 3, -1, -1) - 127 / 255) / (128 / 255)
    torch.testing.assert_close(model.features(images), reference(seen))


@mark.parametrize("ending", ["pth", "safetensors"])
@torch.no_grad()
def test_a_file_of_timm_gives_its_features(ending, tmp_path):
    theirs = timm.create_model("test_vit", pretrained=False).eval()
    file = tmp_path / f"weights.{ending}"
    (save_file if ending == "safetensors" else torch.save)(theirs.state_dict(), file)
    model = make_classifier("timm:test_vit", 3, 3, 0.1, weights=file, image_size=160).eval()
    theirs.reset_classifier(0)
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(model.features(images), theirs((images - 0.5) / 0.5))
    with raises(Refused, match=r"do not fit 'timm:test_resnet': it lacks 'conv1\.0\.weight'"):
        make_classifier("timm:test_resnet", 3, 3, 0.1, weights=file)


def test_published_weights_are_used_and_no_random_number_is_drawn(monkeypatch):
    published, real = timm.create_model("test_resnet", pretrained=False, num_classes=0), timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained, **o: published if pretrained else real(name, **o)
    )
    monkeypatch.setattr(timm_networks, "urlopen", lambda *_, **__: open("/dev/null"))  # noqa: SIM115
    timm_networks.published_state.cache_clear()
    model = make_classifier("timm:test_resnet", 2, 3, 0.1, weights="imagenet")
    timm_networks.published_state.cache_clear()
    assert torch.equal(model.trunk.state_dict()["conv1.0.weight"], published.state_dict()["conv1.0.weight"])


def test_misuse_is_told_in_one_sentence(monkeypatch, tmp_path):
    with raises(Refused, match=r"timm has no network 'test_resnt'\. Did you mean 'test_resnet'\?"):
        make_classifier("timm:test_resnt", 2, 3, 0.1)
    with raises(Refused, match="image_size=50: 'timm:levit_128s' does not take images of 50 pixels.*image_size=224"):
        make_classifier("timm:levit_128s", 2, 3, 0.1, image_size=50)
    with raises(Refused, match="timm:test_coatnet was made for images of 64 x 64, not for 64 x 96"):
        make_classifier("timm:test_coatnet", 2, 3, 0.1, image_size=64)(torch.rand(2, 3, 64, 96))
    with raises(Refused, match="timm has no weights for 'dpn48b': use weights=random"):
        timm_networks.published_state("dpn48b")
    (tmp_path / "bad.safetensors").write_text("no tensors")
    with raises(Refused, match="bad.safetensors' is not a state dict"):
        make_classifier("timm:test_resnet", 2, 3, 0.1, weights=tmp_path / "bad.safetensors")

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm_networks, "urlopen", refuse)
    with raises(Refused, match=r"could not be downloaded from https://\S+test_resnet\S+ \(no route.*weights=FILE"):
        make_classifier("timm:test_resnet", 2, 3, 0.1, weights="imagenet")
