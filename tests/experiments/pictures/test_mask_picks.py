"""The pictures of picks with masks are read back: what they show, and that nothing global changes."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from experiments.pictures import mask_picks
from experiments.pictures.canvas import VERMILION
from experiments.pictures.mask_picks import OUTLINE, save_picks
from tests.experiments.pictures.reading import pixels, texts


def pick(
    h: int = 24, w: int = 36, classes: int = 2, channels: int = 3, mapped: bool = True, score: float = 0.25
) -> mask_picks.PickedImage:
    rng = np.random.default_rng(h * w)
    truth = np.zeros((h, w), dtype=np.int64)
    truth[5:15, 6:20] = classes - 1
    probabilities = rng.dirichlet(np.ones(classes), (h, w)).transpose(2, 0, 1)
    return {
        "name": "slide_$7.png",  # a lone $ must not be read as mathematics
        "image": np.full((h, w, channels), 128, dtype=np.uint8),
        "truth": truth,
        "prediction": probabilities,
        "uncertainty": rng.random((h, w)) if mapped else None,
        "score": score,
    }


def test_picks_of_different_sizes_with_and_without_maps(tmp_path, saved):
    rows = [pick(), pick(40, 20, channels=1), pick(20, 60, mapped=False)]
    pool, picked, names = np.linspace(0, 1, 50), [0.2, 0.3, 0.4], ["background", "gland"]
    path = save_picks(tmp_path / "picks.png", rows, pool, picked, "cycle 2", names)
    figure = saved[0]
    assert len(figure.axes) == 1 + 3 * 4 + 2  # histogram, pictures, two colour bars
    headings = ("input", "ground truth", "probability of gland", "uncertainty")
    for words in ("cycle 2", *headings, "slide_$7.png   score 0.250"):
        assert words in texts(figure)
    assert "no map" in texts(figure)
    assert pixels(path, OUTLINE) > 100
    assert pixels(path, VERMILION) > 100
    shown = figure.axes[3].images[0]
    assert np.array_equal(shown.get_array(), rows[0]["prediction"][1])
    assert (shown.norm.vmin, shown.norm.vmax) == (0, 1)
    scales = {(a.images[0].norm.vmin, a.images[0].norm.vmax) for a in (figure.axes[4], figure.axes[8])}
    together = np.concatenate([row["uncertainty"].ravel() for row in rows if row["uncertainty"] is not None])
    assert scales == {tuple(np.percentile(together, [0.5, 99.5]))}


def test_marks_of_the_histogram_are_the_picked_scores(tmp_path, saved):
    save_picks(tmp_path / "picks.png", [pick()], np.linspace(-1, 1, 80), [0.5, 0.75], "", ["background", "gland"])
    histogram = saved[0].axes[0]
    assert histogram.lines[0].get_xdata().tolist() == [0.5, 0.75]
    assert sum(bar.get_height() for bar in histogram.patches) == 80
    assert "80 images in the pool, 2 picked" in histogram.get_xlabel()


def test_picks_without_scores_have_no_histogram_and_no_score(tmp_path, saved):
    """As `random` picks them."""
    rows = [pick(mapped=False, score=float("nan")), pick(mapped=False, score=0.5)]
    save_picks(tmp_path / "picks.png", rows, [], [], "cycle 0", ["background", "gland"])
    assert len(saved[0].axes) == 2 * 3 + 1 and "nan" not in texts(saved[0])
    assert "slide_$7.png" in texts(saved[0]) and texts(saved[0]).count("score") == 1


def test_likeliest_class_of_many(tmp_path, saved):
    row = pick(classes=4)
    save_picks(tmp_path / "picks.png", [row], [0.1, 0.25], [0.25], "", ["background", "axon", "myelin", "vessel"])
    expected = np.array([to_rgb(mask_picks._colour(c)) for c in range(4)])[row["prediction"].argmax(0)]
    assert np.array_equal(saved[0].axes[3].images[0].get_array(), expected)
    assert [t.get_text() for t in saved[0].legends[0].texts] == ["axon", "myelin", "vessel"]


def test_no_column_for_maps_that_no_row_has(tmp_path, saved):
    save_picks(tmp_path / "picks.png", [pick(mapped=False)], np.full(30, 0.5), [0.5], "", ["background", "gland"])
    assert len(saved[0].axes) == 1 + 3 + 1
    assert "uncertainty" not in texts(saved[0])


def test_only_eight_rows_are_drawn_and_the_rest_counted(tmp_path, saved):
    rows = [pick(8, 8, mapped=False)] * 11
    save_picks(tmp_path / "picks.png", rows, np.arange(20.0), np.arange(11.0), "cycle 0", ["background", "gland"])
    assert "cycle 0 · 8 of 11 picks drawn" in texts(saved[0])
    assert len(saved[0].axes) == 1 + 8 * 3 + 1


def test_constant_maps_empty_truth_and_one_pixel_rows(tmp_path):
    flat = pick()
    flat["uncertainty"] = np.zeros((24, 36))
    flat["truth"] = np.zeros((24, 36), dtype=np.int64)
    thin = pick(1, 30)
    path = save_picks(tmp_path / "picks.png", [flat, thin], [0.0, 0.0], [0.0], "", ["background", "gland"])
    assert path.stat().st_size > 1000


def test_pick_misuse_is_refused(tmp_path):
    names = ["background", "gland"]
    with pytest.raises(ValueError, match="no picked image"):
        save_picks(tmp_path / "p.png", [], [0.1], [0.1], "", names)
    for key, wrong in [
        ("truth", np.zeros((3, 3), int)),
        ("prediction", np.zeros((3, 24, 36))),
        ("uncertainty", np.zeros((36, 24))),
    ]:
        row = pick()
        row[key] = wrong
        with pytest.raises(ValueError, match=rf"slide_\$7.png: {key} has shape"):
            save_picks(tmp_path / "p.png", [row], [0.1], [0.1], "", names)
    with pytest.raises(ValueError, match="image has shape"):
        save_picks(tmp_path / "p.png", [pick(channels=2)], [0.1], [0.1], "", names)
    with pytest.raises(ValueError, match="1 class names"):
        save_picks(tmp_path / "p.png", [pick()], [0.1], [0.1], "", ["gland"])


def test_global_state_is_untouched(tmp_path):
    settings = dict(mpl.rcParams)
    save_picks(tmp_path / "picks.png", [pick(8, 8)], [0.1, 0.2], [0.2], "", ["background", "gland"])
    assert dict(mpl.rcParams) == settings
