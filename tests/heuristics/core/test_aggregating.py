"""From maps, and from the scores of boxes, to scores of images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from heuristics.core.aggregating import AGGREGATIONS, BOX_AGGREGATIONS, aggregated, get, over_boxes, top_fraction


def prediction_of(labels, n_classes=2, sharpness=0.9):
    """Probabilities (1, C, H, W) whose argmax is the label map."""
    hot = torch.nn.functional.one_hot(torch.as_tensor(labels), n_classes).permute(2, 0, 1)[None].float()
    return hot * sharpness + (1 - sharpness) / n_classes


def test_hand_computed():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])
    assert aggregated("mean", maps).tolist() == [2.0]
    assert aggregated("sum", maps).tolist() == [8.0]
    assert aggregated("max", maps).tolist() == [5.0]
    assert top_fraction(maps, 0.5).tolist() == [3.5]
    prediction = torch.tensor([[[[1.0, 0.5], [0.5, 1.0]], [[0.0, 0.5], [0.5, 0.0]]]])
    assert aggregated("foreground", maps, prediction).tolist() == [1.5]


def test_top_fraction_takes_at_least_one_pixel():
    assert aggregated("top_fraction", torch.tensor([[[0.0, 7.0, 1.0]]])).tolist() == [7.0]


def test_boundary_and_edt_against_a_pixel_by_pixel_reference():
    rng = np.random.default_rng(1)
    labels = ndimage.gaussian_filter(rng.normal(size=(20, 24)), 3) > 0
    maps = rng.random((1, 20, 24)).astype(np.float32)
    rows, columns = np.mgrid[:20, :24]
    distance = np.empty(labels.shape)
    for r in range(20):
        for c in range(24):
            others = labels != labels[r, c]
            distance[r, c] = np.sqrt((rows[others] - r) ** 2 + (columns[others] - c) ** 2).min()
    near = distance <= 3
    prediction = prediction_of(labels.astype(int))
    assert aggregated("boundary", torch.from_numpy(maps), prediction).item() == pytest.approx(maps[0][near].mean(), rel=1e-5)
    expected = (maps[0] * distance).sum() / distance.sum()
    assert aggregated("edt", torch.from_numpy(maps), prediction).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", AGGREGATIONS)
@pytest.mark.parametrize("label", [0, 1])
def test_images_without_a_boundary_are_finite(name, label):
    """An image predicted as one class has no boundary: its weight falls back to the plain mean."""
    maps = torch.rand(1, 6, 5)
    value = aggregated(name, maps, prediction_of(np.full((6, 5), label), sharpness=1.0))
    assert torch.isfinite(value).all()
    if name in ("boundary", "edt") or (name == "foreground" and label == 0):
        assert value.item() == pytest.approx(maps.mean().item(), rel=1e-5)


@given(st.integers(0, 10_000), st.floats(0.125, 8))
def test_scaling_a_map_scales_its_score(seed, factor):
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.random((2, 7, 9)))
    prediction = torch.from_numpy(rng.dirichlet([1, 1, 1], (2, 7, 9)).transpose(0, 3, 1, 2))
    for name in AGGREGATIONS:
        once, scaled = aggregated(name, maps, prediction), aggregated(name, maps * factor, prediction)
        np.testing.assert_allclose(scaled, once * factor, rtol=1e-5)
        if name != "sum":
            assert (once >= maps.amin((1, 2)) - 1e-6).all() and (once <= maps.amax((1, 2)) + 1e-6).all()


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown aggregate 'men'. Did you mean 'mean'"):
        get("men")


def test_boxes_of_images_hand_computed():
    scores = [torch.tensor([1.0, 4.0, 1.0]), torch.empty(0), torch.tensor([3.0])]
    expected = {"max": [4, 0, 3], "mean": [2, 0, 3], "min": [1, 0, 3], "sum": [6, 0, 3]}
    assert {name: over_boxes(name, scores).tolist() for name in BOX_AGGREGATIONS} == expected
    for name in BOX_AGGREGATIONS:
        assert over_boxes(name, scores, empty=7.5).tolist()[1] == 7.5
        assert over_boxes(name, [torch.empty(0)]).tolist() == [0]
        assert over_boxes(name, [torch.tensor([1.0, torch.nan])]).isnan().all()


@given(st.lists(st.lists(st.floats(0, 100, width=32), max_size=6), min_size=1, max_size=5))
def test_boxes_against_plain_python(images):
    scores = [torch.tensor(image, dtype=torch.float32) for image in images]
    plain = {"max": max, "min": min, "sum": sum, "mean": lambda values: sum(values) / len(values)}
    for name, reduce in plain.items():
        expected = [reduce(image) if image else 0.0 for image in images]
        np.testing.assert_allclose(over_boxes(name, scores), expected, rtol=1e-5, atol=1e-30)  # torch flushes the smallest numbers


def test_unknown_name_for_boxes():
    with pytest.raises(ValueError, match="unknown aggregate 'maximum' of boxes. Did you mean 'max'\\? Known: max, mean, min, sum"):
        over_boxes("maximum", [torch.ones(1)])
