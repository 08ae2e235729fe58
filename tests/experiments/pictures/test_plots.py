"""The pictures are read back: what they show, that they appear whole or not at all, and that nothing global changes."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from experiments.pictures import plots
from experiments.pictures.canvas import BLUE, VERMILION, write_figure
from experiments.pictures.plots import OUTLINE, save_curve, save_picks


def pick(
    h: int = 24, w: int = 36, classes: int = 2, channels: int = 3, mapped: bool = True, score: float = 0.25
) -> plots.PickedImage:
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


def pixels(path, colour: str) -> int:
    """How many pixels of a picture have nearly this colour."""
    seen = np.asarray(Image.open(path).convert("RGB"), dtype=float) / 255
    return int((np.abs(seen - to_rgb(colour)).max(-1) < 0.05).sum())


def texts(figure: Figure) -> str:
    """All that is written in a figure, except ticks."""
    written = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        written += [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]
    return " | ".join(written)


def test_curve_shows_every_metric_with_its_last_value(tmp_path, saved):
    values = {"hd95": [80.0, 41.5], "dice": [0.5, 0.8125], "object_f1": [0.1, 0.2]}
    path = save_curve(tmp_path / "new" / "curve.png", [4, 6], values, "segment · run 3", "dice")
    assert path == tmp_path / "new" / "curve.png"
    main, *others = saved[0].axes
    assert [a.get_title(loc="left") for a in (main, *others)] == ["dice", "hd95", "object f1"]
    for axes, name in zip((main, *others), ("dice", "hd95", "object_f1"), strict=True):
        assert axes.lines[0].get_xdata().tolist() == [4, 6]
        assert axes.lines[0].get_ydata().tolist() == values[name]
    assert main.get_position().width > 2 * others[0].get_position().width
    assert all(word in texts(saved[0]) for word in ("segment · run 3", "0.812", "41.5", "0.200"))
    assert pixels(path, BLUE) > 500


def test_curve_of_one_point_and_of_missing_values(tmp_path, saved):
    save_curve(tmp_path / "one.png", [4], {"dice": [0.5]}, "one", "dice")
    values = {"dice": [0.5, 0.6, 0.7], "auroc": [float("nan")] * 3, "hd95": [9.0, 8.0, float("nan")]}
    save_curve(tmp_path / "gap.png", [4, 6, 8], values, "gap", "dice")
    assert "8.000" in texts(saved[1]) and texts(saved[1]).count("no value") == 1
    assert len({a.get_xlim() for a in saved[1].axes}) == 1  # all panels span the same budgets


def test_noise_does_not_fill_an_axis(tmp_path, saved):
    save_curve(
        tmp_path / "c.png",
        [4, 6, 8],
        {"dice": [0.88, 0.883, 0.878], "hd95": [90, 91, 90.5], "ap": [0.01, 0.01, 0.02]},
        "",
        "dice",
    )
    heights = [high - low for low, high in (axes.get_ylim() for axes in saved[0].axes)]
    assert heights == pytest.approx([0.0883, 9.1, 0.05]) and all(
        a.get_ylim()[0] < 0.88 < a.get_ylim()[1] for a in saved[0].axes[:1]
    )
    save_curve(tmp_path / "d.png", [4, 6], {"dice": [0.2, 0.9]}, "", "dice")
    low, high = saved[1].axes[0].get_ylim()
    assert high - low == pytest.approx(0.7 * 1.16)  # what is high enough stays as it was


def test_curve_stands_beside_its_yardsticks(tmp_path, saved):
    """A mark within reach is a line with its name; one that would flatten the curve is named at the edge."""
    curves = {"dice": [0.88, 0.90], "hd95": [20.0, 10.0], "auroc": [0.9, 0.95]}
    trivial = {"dice": 0.8802, "hd95": 400.0, "auroc": 0.5}
    save_curve(tmp_path / "c.png", [4, 6], curves, "", "dice", trivial=trivial, full={"dice": 0.93})
    dice, hd95, auroc = saved[0].axes
    assert [line.get_ydata()[0] for line in dice.lines[1:]] == [0.8802, 0.93] and len(hd95.lines) == len(
        auroc.lines
    ) == 1
    written = [[text.get_text() for text in axes.texts] for axes in (dice, hd95, auroc)]
    assert "trivial 0.880" in written[0] and "all labels 0.930" in written[0]
    assert "↑ trivial 400" in written[1] and "↓ trivial 0.500" in written[2]
    assert dice.get_ylim()[1] > 0.93 and hd95.get_ylim()[1] < 40


def test_curve_misuse_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'dcie' has no values; expected one of dice"):
        save_curve(tmp_path / "c.png", [1, 2], {"dice": [0.1, 0.2]}, "", "dcie")
    with pytest.raises(ValueError, match="'iou' has values of shape"):
        save_curve(tmp_path / "c.png", [1, 2], {"dice": [0.1, 0.2], "iou": [0.1]}, "", "dice")
    assert not list(tmp_path.iterdir())


def test_picks_of_different_sizes_with_and_without_maps(tmp_path, saved):
    rows = [pick(), pick(40, 20, channels=1), pick(20, 60, mapped=False)]
    path = save_picks(
        tmp_path / "picks.png", rows, np.linspace(0, 1, 50), [0.2, 0.3, 0.4], "cycle 2", ["background", "gland"]
    )
    figure = saved[0]
    assert len(figure.axes) == 1 + 3 * 4 + 2  # histogram, pictures, two colour bars
    for word in (
        "cycle 2",
        "input",
        "ground truth",
        "probability of gland",
        "uncertainty",
        "slide_$7.png   score 0.250",
    ):
        assert word in texts(figure)
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
    expected = np.array([to_rgb(plots._colour(c)) for c in range(4)])[row["prediction"].argmax(0)]
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
    assert (
        save_picks(tmp_path / "picks.png", [flat, thin], [0.0, 0.0], [0.0], "", ["background", "gland"]).stat().st_size
        > 1000
    )


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
    save_curve(tmp_path / "curve.png", [1, 2], {"dice": [0.1, 0.2]}, "", "dice")
    save_picks(tmp_path / "picks.png", [pick(8, 8)], [0.1, 0.2], [0.2], "", ["background", "gland"])
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch, ending):
    figure, settings = Figure(figsize=(1, 1)), dict(mpl.rcParams)
    figure.text(0.1, 0.5, "dice")
    path = write_figure(figure, tmp_path / "new" / f"curves{ending}")
    before = path.read_bytes()
    assert (
        before.startswith({".png": b"\x89PNG", ".pdf": b"%PDF"}[ending])
        and b"Type3" not in before
        and b"CreationDate" not in before
    )
    assert dict(mpl.rcParams) == settings

    def fails(self, file, **kwargs):
        file.write_bytes(b"half")
        raise OSError("the cable was pulled")

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(OSError, match="the cable was pulled"):
        write_figure(figure, path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"curves.svg: a figure is written as .png or .pdf"):
        write_figure(Figure(), tmp_path / "curves.svg")
    assert not list(tmp_path.iterdir())
