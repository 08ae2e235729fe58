"""Stochastic passes: dropout on, all else untouched; shared masks are the same for every image; the trunk is computed once."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import torch
from pytest import fixture, mark, raises
from torch import nn

from models.classifiers import make_classifier
from models.segmenters import make_segmenter
from models.stochastic import mc_dropout, mc_logits, shared_masks


class WithBoth(nn.Module):
    """Both kinds of dropout, batch norm and nesting; maps as output."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout2d(p), nn.ReLU())
        self.drop = nn.Dropout(p)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.out(self.drop(self.block(x)))


@fixture
def model():
    torch.manual_seed(0)
    model = WithBoth()
    model.train()(torch.rand(8, 3, 6, 6))  # batch statistics that are not the initial ones
    return model.eval()


images = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def snapshot(model):
    layers = [(name, id(module), module.training) for name, module in model.named_modules()]
    return layers, {key: value.clone() for key, value in model.state_dict().items()}


def assert_untouched(model, before):
    layers, state = snapshot(model)
    assert layers == before[0]
    assert list(state) == list(before[1]) and all(torch.equal(state[key], before[1][key]) for key in state)


@contextmanager
def shared(model):
    with shared_masks(model, 0) as set_pass:
        set_pass(1)
        yield model


@mark.parametrize("passes", [mc_dropout, shared])
@torch.no_grad()
def test_model_is_the_same_after(model, passes):
    before, deterministic = snapshot(model), model(images)
    with passes(model) as stochastic:
        assert stochastic is model and list(model.state_dict()) == list(before[1])
        assert not torch.equal(stochastic(images), deterministic)
    assert_untouched(model, before)
    assert torch.equal(model(images), deterministic)
    with raises(KeyError), passes(model):
        raise KeyError
    assert_untouched(model, before)


@torch.no_grad()
def test_mc_dropout_draws_new_masks_and_averages_to_the_mean(model):
    with mc_dropout(model):
        assert not torch.equal(model(images), model(images))
        twins = model(images[:1].expand(2, -1, -1, -1))
        assert not torch.equal(twins[0], twins[1])
    linear = nn.Sequential(nn.Identity(), nn.Dropout(0.3)).eval()
    with mc_dropout(linear):
        passes = torch.stack(list(mc_logits(linear, torch.ones(1, 1, 100, 100), 20)))
    assert set(passes.unique().tolist()) == {0.0, float(np.float32(1 / 0.7))}
    assert abs(passes.mean().item() - 1) < 0.01


@mark.parametrize("passes", [mc_dropout, shared])
def test_refusals(passes, model):
    def refused(network, match):
        before = snapshot(network)
        with raises(ValueError, match=match), passes(network):
            pass
        assert_untouched(network, before)

    refused(nn.Sequential(nn.Linear(2, 2)).eval(), "has no dropout layer")
    refused(WithBoth(p=0).eval(), "every dropout layer of WithBoth has p=0")
    refused(model.train(), r"call model\.eval\(\) first")
    model.eval().block[1].train()
    refused(model, "evaluation mode")
    refused(nn.Sequential(nn.Linear(2, 2), nn.AlphaDropout()).eval(), "'1' is a torch.nn.modules.dropout.AlphaDropout")
    drop = nn.Dropout()
    refused(nn.Sequential(drop, nn.Linear(2, 2), drop).eval(), "'2' serves at two places")


def test_some_layers_may_have_p_zero(model):
    model.drop.p = 0
    with mc_dropout(model), torch.no_grad():
        assert not torch.equal(model(images), model(images))


@torch.no_grad()
def test_shared_masks_do_not_depend_on_the_batch(model):
    with shared_masks(model, 3, 1) as set_pass:
        whole = {}
        for k in range(3):
            set_pass(k)
            whole[k] = model(images)
        for k in (2, 0, 1):  # another order, image by image
            set_pass(k)
            torch.testing.assert_close(torch.cat([model(image[None]) for image in images]), whole[k])
            twins = model(images[:1].expand(2, -1, -1, -1))
            torch.testing.assert_close(twins[0], twins[1])
    assert not torch.allclose(whole[0], whole[1])


@torch.no_grad()
def test_shared_masks_are_dropout_with_the_masks_of_their_address(model):
    mask_2d, mask = (np.random.default_rng([7, layer, 5]) for layer in (1, 0))  # `drop` is a child of the root and comes first
    with shared_masks(model, 7) as set_pass:
        set_pass(5)
        found = model(images)
    channel = torch.from_numpy((mask_2d.random((8, 1, 1), dtype=np.float32) >= 0.5) * np.float32(2))
    element = torch.from_numpy((mask.random((8, 6, 6), dtype=np.float32) >= 0.5) * np.float32(2))
    hidden = torch.relu(model.block[1](model.block[0](images)) * channel)
    torch.testing.assert_close(found, model.out(hidden * element))


@torch.no_grad()
def test_shared_masks_follow_the_seed_and_leave_torchs_generator(model):
    def logits(*seed):
        with shared_masks(model, *seed):
            return model(images)

    state = torch.get_rng_state()
    assert torch.equal(logits(1, 2), logits(1, 2))
    assert not torch.allclose(logits(1, 2), logits(1, 3)) and not torch.allclose(logits(1), logits(2))
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_shared_masks_keep_the_rate_and_the_mean():
    layers = nn.Sequential(nn.Identity(), nn.Dropout(0.2), nn.Dropout(0.0)).eval()
    with shared_masks(layers, 0) as set_pass:
        passes = torch.stack(list(mc_logits(layers, torch.ones(1, 1, 100, 100), 10, set_pass)))
    assert abs((passes == 0).float().mean() - 0.2) < 0.01 and abs(passes.mean() - 1) < 0.01
    layers[1].p = 1.0
    with shared_masks(layers, 0):
        assert torch.equal(layers(torch.ones(1, 3)), torch.zeros(1, 3))


@mark.parametrize("name", ["resnet18_cifar", "small_cnn"])
@torch.no_grad()
def test_trunk_once_gives_the_naive_passes(name, monkeypatch):
    torch.manual_seed(0)
    model = make_classifier(name, 3, 3, 0.5).eval()
    x = torch.rand(3, 3, 28, 28)
    calls = []
    trunk = type(model).features
    monkeypatch.setattr(type(model), "features", lambda self, images: calls.append(1) or trunk(self, images))
    with shared_masks(model, 4) as set_pass:
        fast = torch.stack(list(mc_logits(model, x, 5, set_pass)))
        assert len(calls) == (5 if name == "small_cnn" else 1)
        naive = []
        for k in range(5):
            set_pass(k)
            naive.append(model(x))
    torch.testing.assert_close(fast, torch.stack(naive), rtol=0, atol=0)
    assert fast.std(0).min() > 0
    with mc_dropout(model):
        state = torch.get_rng_state()
        fast = list(mc_logits(model, x, 3))
        torch.set_rng_state(state)
        for k in range(3):
            torch.testing.assert_close(fast[k], model(x), rtol=0, atol=0)


@mark.parametrize("encoder", ["none", "resnet18_cifar"])
@torch.no_grad()
def test_what_a_unet_does_before_its_dropout_is_done_once(encoder, monkeypatch):
    torch.manual_seed(0)
    model = make_segmenter("unet", 2, 3, width=4, depth=3, dropout=0.5, encoder=encoder).eval()
    calls, begin = [], type(model).begin
    monkeypatch.setattr(type(model), "begin", lambda self, images: calls.append(1) or begin(self, images))
    x = torch.rand(2, 3, 21, 30)
    with mc_dropout(model):
        state = torch.get_rng_state()
        fast = torch.stack(list(mc_logits(model, x, 4)))
        assert len(calls) == 1
        torch.set_rng_state(state)
        whole = torch.stack([model(x) for _ in range(4)])
    assert torch.equal(fast, whole)
    assert fast.std(0).max() > 0
    with shared_masks(model, 4) as set_pass:
        fast = list(mc_logits(model, x, 2, set_pass))
        for k in range(2):
            set_pass(k)
            assert torch.equal(fast[k], model(x))


@torch.no_grad()
def test_network_without_a_split_runs_whole_passes(model):
    with shared_masks(model, 0) as set_pass:
        first, second = mc_logits(model, images, 2, set_pass)
        set_pass(0)
        assert torch.equal(model(images), first)
        assert not torch.equal(first, second)
