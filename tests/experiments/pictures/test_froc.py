"""The drawn free-response curves are those given, named, and say by which convention they were computed."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.measures.froc import FPS, convention
from experiments.pictures.froc import save_froc

CONVENTION = convention("iou", 0.5, "ignored", True)
LOW = np.array([[0, 0], [0, 0.1], [0.5, 0.25], [3, 0.5], [3, 0.5]])
HIGH = np.array([[0, 0], [0.25, 0.5], [1, 0.75], [40, 1.0]])


def test_curves_points_and_conventions_are_drawn(tmp_path, saved):
    path = save_froc(
        tmp_path / "new" / "froc.png", {"40 labelled": LOW, "$60 labelled": HIGH}, "detect · run 3", CONVENTION
    )
    assert path.stat().st_size > 10_000
    figure, axes = saved[0], saved[0].axes[0]
    assert figure.texts[0].get_text() == "detect · run 3"
    assert axes.get_title(loc="left") == f"sensitivity · {CONVENTION}"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["$60 labelled", "40 labelled"]
    assert axes.get_xscale() == "log" and axes.get_xlim()[0] == 1 / 8
    low, beyond, low_points, high, high_points = axes.lines
    assert low.get_drawstyle() == high.get_drawstyle() == "steps-post"
    assert low.get_ydata().tolist() == LOW[:, 1].tolist() and high.get_ydata().tolist() == HIGH[:, 1].tolist()
    assert high.get_xdata()[1:].tolist() == HIGH[1:, 0].tolist()
    assert beyond.get_xydata().tolist() == [[3, 0.5], [16, 0.5]]  # the curve of `low` ends at 3
    assert tuple(low_points.get_xdata()) == tuple(high_points.get_xdata()) == FPS
    assert low_points.get_ydata().tolist() == [0.25, 0.25, 0.25, 0.5, 0.5, 0.5]
    assert high_points.get_ydata().tolist() == [0.5, 0.75, 0.75, 0.75, 0.75, 0.75]
    assert [text.get_text() for text in axes.texts] == ["0.50", *["0.75"] * 5]  # of the last cycle alone


def test_one_curve_many_curves_and_no_detections(tmp_path, saved):
    save_froc(tmp_path / "one.png", {"40 labelled": np.zeros((2, 2))}, "", CONVENTION)
    save_froc(tmp_path / "many.png", {f"{i} labelled": HIGH for i in range(30)}, "", CONVENTION)
    names = [text.get_text() for text in saved[1].axes[0].get_legend().get_texts()]
    assert len(names) == 12 and names[0] == "29 labelled" and names[-1] == "0 labelled"


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no free-response curve"):
        save_froc(tmp_path / "froc.png", {}, "", CONVENTION)
