"""Detections are torchvision's own, with distributions and proposals; stochastic passes, noise and changed copies leave no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from pytest import fixture, mark, raises
from torch import nn
from torch.nn.functional import normalize

from models import detecting
from models.detecting import NOISE, detect, distribution, from_detector
from models.detectors import make_detector

EVERYTHING = frozenset({"embeddings", "detections", "mc_detections", "noisy_detections", "augmented_detections", "images"})
KEYS = {"boxes", "probs", "scores", "confidence", "labels", "proposals"}


def decided(name: str, num_classes: int, **options) -> nn.Module:
    """A network with opinions: scores spread over 0..1, and boxes away from their proposals."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make_detector(name, num_classes, **options)
        if name.startswith("fasterrcnn"):
            for layer in (model.roi_heads.box_predictor.cls_score, model.roi_heads.box_predictor.bbox_pred):
                layer.weight.data *= 20
        else:
            last = model.head.classification_head.cls_logits
            nn.init.normal_(last.weight, std=0.05)
            nn.init.normal_(last.bias)
            nn.init.normal_(model.head.regression_head.bbox_reg.weight, std=0.1)
    return model.eval()


@fixture(scope="module")
def model():
    return decided("fasterrcnn_small", 3, score_threshold=0.3, max_detections=30, dropout=0.5)


def batch(n: int = 2, height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def assert_well_formed(found, size, num_classes):
    m = len(found["boxes"])
    shapes = {"boxes": (m, 4), "probs": (m, num_classes + 1), "proposals": (m, 4)}
    shapes |= dict.fromkeys(("scores", "confidence", "labels"), (m,))
    assert {name: tuple(found[name].shape) for name in KEYS} == shapes and set(found) == KEYS
    torch.testing.assert_close(found["probs"].sum(1), torch.ones(m))
    assert (found["confidence"] >= found["scores"]).all()
    assert (found["scores"].diff() <= 0).all() and found["labels"].dtype == torch.int64
    assert (found["boxes"] >= 0).all() and (found["boxes"] <= torch.tensor([*size[::-1]] * 2)).all()


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b)


@torch.no_grad()
def test_detections_are_those_of_torchvision(model):
    images = [batch()[0], batch(1, 36, 44)[0], torch.zeros(3, 50, 33)]
    for found, theirs, image in zip(detect(model, images), model(images), images, strict=True):
        assert len(found["boxes"]) > 3
        assert_well_formed(found, image.shape[1:], 3)
        assert torch.equal(found["boxes"], theirs["boxes"]) and torch.equal(found["scores"], theirs["scores"])
        assert torch.equal(found["labels"] + 1, theirs["labels"])
        assert torch.equal(found["scores"], found["probs"][range(len(found["labels"])), 1 + found["labels"]])
        assert torch.equal(found["confidence"], found["probs"][:, 1:].amax(1))


@mark.parametrize("num_classes", [1, 3])
@mark.parametrize("name", ["retinanet_resnet50", "fcos_resnet50"])
@torch.no_grad()
def test_one_stage_detections_are_those_of_torchvision(name, num_classes):
    """The network's scores too: what is made of them for `probs` ranks, suppresses and drops no box."""
    model = decided(name, num_classes, score_threshold=0.5, max_detections=10_000)
    model.topk_candidates = 10_000
    images = [batch()[0], batch(1, 36, 44)[0]]
    for found, theirs, image in zip(detect(model, images), model(images), images, strict=True):
        assert_well_formed(found, image.shape[1:], num_classes)
        object_, large = theirs["labels"] >= 1, (theirs["boxes"][:, 2:] - theirs["boxes"][:, :2] >= 1e-2).all(1)
        assert len(found["boxes"]) == (object_ & large).sum() > 3
        torch.testing.assert_close(found["scores"], theirs["scores"][object_ & large])
        torch.testing.assert_close(found["boxes"], theirs["boxes"][object_ & large])
        assert torch.equal(found["labels"] + 1, theirs["labels"][object_ & large])
    with raises(ValueError, match="no box head with dropout.* use a fasterrcnn_ detector"):
        from_detector(model, batch(), frozenset({"mc_detections"}), 2)


def test_independent_scores_become_one_distribution():
    scores = torch.tensor([[0.5, 0.25], [0.0, 0.0], [1.0, 0.5]])
    expected = torch.tensor([[3 / 8, 5 / 12, 5 / 24], [1, 0, 0], [0, 2 / 3, 1 / 3]])
    torch.testing.assert_close(distribution(scores), expected)
    torch.testing.assert_close(distribution(torch.tensor([[0.3]])), torch.tensor([[0.7, 0.3]]))


@torch.no_grad()
def test_one_stage_scores_are_the_networks_and_probs_a_distribution():
    """Scores (.6, .59, 0) stay .6 and .59: as a distribution the first would be .42, below a threshold of .5."""
    logits = torch.tensor([0.0, 0.6, 0.59, 0.0]).logit(1e-7)
    model = decided("retinanet_resnet50", 3, score_threshold=0.5)
    last = model.head.classification_head.cls_logits
    last.weight.zero_()
    last.bias.copy_(logits.repeat(len(last.bias) // 4))
    (found,) = detect(model, batch(1))
    torch.testing.assert_close(found["scores"], torch.where(found["labels"] == 0, 0.6, 0.59))
    torch.testing.assert_close(found["confidence"], torch.full_like(found["scores"], 0.6))
    assert set(found["labels"].tolist()) == {0, 1}
    assert found["probs"][0, 1].item() == pytest.approx((1 - 0.4 * 0.41) * 0.6 / 1.19)


def decoded(proposals, offsets, size):
    """Boxes from proposals by the formulas of Ren et al. (2015), eq. 2, with torchvision's weights 10, 10, 5, 5."""
    sides = proposals[:, 2:] - proposals[:, :2]
    centres = proposals[:, :2] + sides / 2 + offsets[:, :2] / 10 * sides
    sides = sides * (offsets[:, 2:] / 5).exp()
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], 1)
    return boxes.clamp_min(0).minimum(torch.tensor([*size[::-1]] * 2))


@torch.no_grad()
def test_boxes_are_regressed_from_their_proposals(model):
    images = batch()
    transformed, _ = model.transform(list(images))
    features = model.backbone(transformed.tensors)
    for number, found in enumerate(detect(model, images)):
        maps = {key: level[number : number + 1] for key, level in features.items()}
        pooled = model.roi_heads.box_roi_pool(maps, [found["proposals"]], [(40, 56)])
        logits, offsets = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
        torch.testing.assert_close(logits.softmax(1), found["probs"], rtol=1e-3, atol=1e-4)
        chosen = offsets.reshape(len(offsets), 4, 4)[range(len(offsets)), 1 + found["labels"]]
        torch.testing.assert_close(decoded(found["proposals"], chosen, (40, 56)), found["boxes"], rtol=1e-3, atol=1e-2)
        assert not torch.allclose(found["proposals"], found["boxes"], atol=1)


@torch.no_grad()
def test_no_trace_is_left_and_all_repeats(model):
    before = copy.deepcopy(model.state_dict())
    modules = [(name, id(module), module.training) for name, module in model.named_modules()]
    state = torch.get_rng_state()
    first, second = (from_detector(model, batch(), EVERYTHING, 3, masks_seed=4) for _ in range(2))
    assert set(first) == EVERYTHING and same(first, second)
    assert torch.equal(state, torch.get_rng_state())
    assert modules == [(name, id(module), module.training) for name, module in model.named_modules()]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert set(from_detector(model, batch(), frozenset({"mc_detections"}), 3, 4)) == {"mc_detections"}


@torch.no_grad()
def test_stochastic_passes(model):
    found = from_detector(model, batch(), frozenset({"mc_detections", "detections"}), 5, masks_seed=4)
    for plain, image in zip(found["detections"], found["mc_detections"], strict=True):
        m = len(plain["boxes"])
        assert all(torch.equal(plain[key], image[key]) for key in KEYS)
        assert image["mc_boxes"].shape == (m, 5, 4) and image["mc_probs"].shape == (m, 5, 4)
        torch.testing.assert_close(image["mc_probs"].sum(2), torch.ones(m, 5))
        assert (image["mc_boxes"] >= 0).all() and (image["mc_boxes"] <= torch.tensor([56, 40, 56, 40])).all()
        assert len(image["mc_probs"][0].unique(dim=0)) == len(image["mc_boxes"][0].unique(dim=0)) == 5
    alone = from_detector(model, batch()[1:], frozenset({"mc_detections"}), 5, masks_seed=4)["mc_detections"][0]
    torch.testing.assert_close(alone["mc_probs"], found["mc_detections"][1]["mc_probs"])  # the same masks whatever the batch
    other = from_detector(model, batch(), frozenset({"mc_detections"}), 5, masks_seed=5)["mc_detections"][1]
    assert not torch.allclose(other["mc_probs"], alone["mc_probs"])


@mark.parametrize("seed", [None, 3])
@torch.no_grad()
def test_passes_with_hardly_any_dropout_give_the_detections(model, seed):
    nearly = copy.deepcopy(model)
    for module in nearly.modules():
        if isinstance(module, nn.Dropout):
            module.p = 1e-9
    for image in from_detector(nearly, batch(), frozenset({"mc_detections"}), 2, seed)["mc_detections"]:
        for k in range(2):
            torch.testing.assert_close(image["mc_boxes"][:, k], image["boxes"], rtol=1e-3, atol=1e-2)
            torch.testing.assert_close(image["mc_probs"][:, k], image["probs"], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_without_a_seed_masks_come_from_torch(model):
    def passes(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return from_detector(model, batch(), frozenset({"mc_detections"}), 2)["mc_detections"][0]["mc_probs"]

    assert torch.equal(passes(1), passes(1)) and not torch.equal(passes(1), passes(2))


@torch.no_grad()
def test_nothing_found_keeps_its_shapes(model):
    blind = copy.deepcopy(model)
    blind.roi_heads.score_thresh = 1.0
    found = from_detector(blind, batch(), EVERYTHING, 3, 0)
    assert_well_formed(found["detections"][0], (40, 56), 3)
    assert found["detections"][0]["boxes"].shape == (0, 4)
    assert found["mc_detections"][1]["mc_boxes"].shape == (0, 3, 4) and found["mc_detections"][1]["mc_probs"].shape == (0, 3, 4)
    assert [len(level["boxes"]) for level in found["noisy_detections"][0]] == [0] * 6


@torch.no_grad()
def test_embeddings_are_means_over_the_picture(model):
    images = batch(2, 40, 56)  # padded to 64 x 64
    transformed, _ = model.transform(list(images))
    levels = list(model.backbone(transformed.tensors).values())
    assert [tuple(level.shape[2:]) for level in levels] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    valid = [levels[0][..., :10, :14], levels[1][..., :5, :7], levels[2][..., :3, :4]]
    found = from_detector(model, images, frozenset({"embeddings"}), 1)["embeddings"]
    torch.testing.assert_close(found, torch.cat([level.mean((2, 3)) for level in valid], 1))
    assert found.shape == (2, 192) and not torch.allclose(normalize(found[0], dim=0), normalize(found[1], dim=0))


def brightest(model, images):
    """A detector that finds the one bright rectangle, for tests of geometry."""
    found = []
    for image in images:
        rows, columns = (torch.nonzero((image[0] > 0.6 * image[0].max()).any(axis))[:, 0] for axis in (1, 0))
        box = torch.tensor([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]).float()
        found.append({"boxes": box, "proposals": box - 1, "scores": image.max()[None]})
    return found


@torch.no_grad()
def test_changed_copies_are_brought_back(model, monkeypatch):
    monkeypatch.setattr(detecting, "detect", brightest)
    images = torch.full((2, 3, 40, 60), 0.1)
    images[0, :, 10:30, 5:25], images[1, :, 20:40, 45:60] = 0.5, 0.9
    truth = torch.tensor([[5.0, 10, 25, 30], [45, 20, 60, 40]])
    found = from_detector(model, images, frozenset({"augmented_detections"}), 1)["augmented_detections"]
    assert len(found) == 2 and all(len(copies) == 4 for copies in found)
    for copies, box in zip(found, truth, strict=True):
        assert all((version["boxes"] - box).abs().max() <= 1.3 for version in copies)  # a pixel of the shrunk copy is 1.25 wide
        for exact in copies[:3]:
            assert torch.equal(exact["boxes"][0], box)
        assert torch.equal(copies[0]["proposals"][0], box + torch.tensor([1, -1, 1, -1]))  # moved left in the mirror
        assert copies[3]["proposals"][0, 0] - copies[3]["boxes"][0, 0] == pytest.approx(-1.25)
    brightness = [[version["scores"].item() for version in copies] for copies in found]
    assert brightness[0][:3] == pytest.approx([0.5, 0.35, 0.65]) and brightness[1][:3] == pytest.approx([0.9, 0.63, 1.0])


@torch.no_grad()
def test_noise_has_the_published_levels(model, monkeypatch):
    def noise(images, seed):
        seen = []
        monkeypatch.setattr(detecting, "detect", lambda _, changed: seen.append(changed - images) or [{} for _ in images])
        assert len(from_detector(model, images, frozenset({"noisy_detections"}), 1, seed)["noisy_detections"]) == len(images)
        return torch.stack(seen)

    drawn = noise(batch(3, 100, 100), 5)
    assert NOISE == (8, 16, 24, 32, 40, 48)
    torch.testing.assert_close(drawn.std((2, 3, 4)) * 255, torch.tensor(NOISE).float()[:, None].expand(6, 3), rtol=0.03, atol=0)
    assert drawn.mean().abs() < 0.001
    torch.testing.assert_close(drawn[:, 0], drawn[:, 2])  # one draw for all images, so that batches do not matter
    assert abs(torch.corrcoef(torch.stack([drawn[0, 0].flatten(), drawn[1, 0].flatten()]))[0, 1]) < 0.05
    without = noise(batch(2, 20, 20), None)
    assert not torch.allclose(without[:, 0], without[:, 1])
