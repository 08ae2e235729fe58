"""The picture of a curve is read back: what it shows, beside what, and that nothing global changes."""

from __future__ import annotations

import matplotlib as mpl
import pytest

from experiments.pictures.canvas import BLUE
from experiments.pictures.curve import save_curve
from tests.experiments.pictures.reading import pixels, texts


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
    values = {"dice": [0.88, 0.883, 0.878], "hd95": [90, 91, 90.5], "ap": [0.01, 0.01, 0.02]}
    save_curve(tmp_path / "c.png", [4, 6, 8], values, "", "dice")
    heights = [high - low for low, high in (axes.get_ylim() for axes in saved[0].axes)]
    low, high = saved[0].axes[0].get_ylim()
    assert heights == pytest.approx([0.0883, 9.1, 0.05]) and low < 0.88 < high
    save_curve(tmp_path / "d.png", [4, 6], {"dice": [0.2, 0.9]}, "", "dice")
    low, high = saved[1].axes[0].get_ylim()
    assert high - low == pytest.approx(0.7 * 1.16)  # what is high enough stays as it was


def test_curve_stands_beside_its_yardsticks(tmp_path, saved):
    """A mark within reach is a line with its name; one that would flatten the curve is named at the edge."""
    curves = {"dice": [0.88, 0.90], "hd95": [20.0, 10.0], "auroc": [0.9, 0.95]}
    trivial = {"dice": 0.8802, "hd95": 400.0, "auroc": 0.5}
    save_curve(tmp_path / "c.png", [4, 6], curves, "", "dice", trivial=trivial, full={"dice": 0.93})
    dice, hd95, auroc = saved[0].axes
    assert [line.get_ydata()[0] for line in dice.lines[1:]] == [0.8802, 0.93]
    assert len(hd95.lines) == len(auroc.lines) == 1
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


def test_global_state_is_untouched(tmp_path):
    settings = dict(mpl.rcParams)
    save_curve(tmp_path / "curve.png", [1, 2], {"dice": [0.1, 0.2]}, "", "dice")
    assert dict(mpl.rcParams) == settings
