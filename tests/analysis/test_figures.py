"""The figures are read back: what they show, that nothing is cut off, and that no text covers another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import figure_parts
from analysis.comparisons import critical_difference, penalty_matrix, ranks
from analysis.curves import areas
from analysis.figure_parts import styles
from analysis.figures import draw_balance, draw_curves, draw_penalties, draw_ranks, draw_times

NAMES = ["random", "bald", "entropy", "$badge", "least_confidence"]


def study(names=NAMES, runs: int = 4) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    budgets = pd.Index([4, 8, 12], name="n_labelled")
    return {name: pd.DataFrame(0.7 + 0.01 * rng.random((runs, 3)), columns=budgets) for name in names}


def inside(figure: Figure) -> bool:
    """Whether all that is drawn lies on the page."""
    drawn, size = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer()), figure.get_size_inches()
    return bool((drawn.min >= -1e-6).all() and (drawn.max <= size + 1e-6).all())


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other: names, numbers, ticks, titles, legends."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    ticks = [
        (axes, axis, tick)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
    ]
    unseen = {
        label
        for axes, axis, tick in ticks
        for label in (tick.label1, tick.label2)
        if not (axes.axison and min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval()))
    }
    texts = [t for t in dict.fromkeys(figure.findobj(Text)) if t.get_visible() and t.get_text() and t not in unseen]
    boxes = [Text.get_window_extent(text, renderer) for text in texts]  # of an annotation without its line
    x0, y0, x1, y1 = np.array([box.extents for box in boxes]).T
    near = (x0[:, None] < x1) & (x0 < x1[:, None]) & (y0[:, None] < y1) & (y0 < y1[:, None])
    pairs = [(texts[i], texts[j]) for i, j in np.argwhere(np.triu(near, 1))]
    return [(a.get_text(), b.get_text()) for a, b in pairs if collide(tilted_box(a, renderer), tilted_box(b, renderer))]


def tilted_box(text: Text, renderer) -> tuple[np.ndarray, float]:
    """The four corners around the letters, and their angle."""
    upright, angle = Text.get_window_extent(text, renderer), text.get_rotation()
    text.set_rotation(0)
    flat = Text.get_window_extent(text, renderer)
    text.set_rotation(angle)
    turn = np.array(
        [
            [np.cos(np.radians(angle)), np.sin(np.radians(angle))],
            [-np.sin(np.radians(angle)), np.cos(np.radians(angle))],
        ]
    )
    half = np.array([flat.width, flat.height]) / 2
    return (upright.min + upright.max) / 2 + np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * half @ turn, np.radians(
        angle
    )


def collide(a: tuple[np.ndarray, float], b: tuple[np.ndarray, float]) -> bool:
    """Whether two rectangles overlap: no side of either has one of them on each hand (separating axes)."""
    sides = [[np.cos(angle + quarter), np.sin(angle + quarter)] for _, angle in (a, b) for quarter in (0, np.pi / 2)]
    (p, q) = (corners @ np.array(sides).T for corners, _ in (a, b))
    return bool(((p.max(0) > q.min(0) + 0.01) & (q.max(0) > p.min(0) + 0.01)).all())


def test_overlaps_are_seen():
    figure = Figure(figsize=(4, 4), dpi=100)
    for y, name, angle in [
        (0.5, "a", 0),
        (0.52, "b", 0),
        (0.1, "tilted by much", 45),
        (0.2, "tilted as much", 45),
        (0.3, "flat text", 0),
    ]:
        figure.text(0.1, y, name, rotation=angle, rotation_mode="anchor")
    assert overlaps(figure) == [("a", "b"), ("tilted as much", "flat text")]


LONG = [f"{name}, with an option that makes forty letters"[:40] for name in NAMES]
MANY = [f"{name}_{i}" for i in range(5) for name in NAMES]


@pytest.mark.parametrize("names", [NAMES[:2], MANY, LONG], ids=["two", "many", "long"])
def test_no_text_covers_another_or_leaves_the_page(names):
    curves = study(names)
    area, title = areas(curves), "a title that tells of everything that there is to be seen in the figure, " * 2
    seconds = pd.Series(np.geomspace(1e-3, 1e2, len(names)), index=names)
    drawn = [
        draw_curves(curves, "dice", title, full=0.72, trivial=("trivial: majority class", 0.69)),
        draw_curves(curves, "dice", title, full=0.72, trivial=("trivial: majority class", 0.2)),
        draw_penalties(penalty_matrix(curves), title),
        draw_ranks(ranks(area).mean(), critical_difference(len(names), 4), title),
        draw_times(seconds, area, "dice", title),
        draw_times(seconds / seconds, area, "dice", title),
        draw_balance({name: np.ones((30, 20)) for name in names[:2]}, (names * 10)[:20], np.ones(20), title),
    ]
    assert [overlaps(figure) for figure in drawn] == [[]] * len(drawn)
    assert all(inside(figure) for figure in drawn)


@pytest.mark.parametrize("ends", [1, 2, 10, 1e3, 1e5, 1e9])
def test_ticks_of_seconds_are_few_enough_to_read(ends):
    figure = draw_times(
        pd.Series({"bald": 0.0015, "random": 0.0015 * ends}), areas(study(["bald", "random"])), "dice", ""
    )
    low, high = figure.axes[0].get_xlim()
    assert sum(low <= x <= high for x in figure.axes[0].get_xticks()) >= 2
    assert overlaps(figure) == [] and inside(figure)


def test_missing_values_leave_a_gap_and_every_name():
    curves = study(["bald", "entropy", "random"])
    curves["bald"].iloc[0, 2] = np.nan
    curves["entropy"].iloc[:, :] = np.nan
    figure = draw_curves(curves, "hd95", "")
    names = {text.get_text(): text for text in figure.axes[0].texts}
    assert set(names) == set(curves) and inside(figure) and overlaps(figure) == []
    assert names["bald"].xy == pytest.approx((8, curves["bald"][8].mean())) and names["entropy"].arrow_patch is None


def test_axes_name_the_unit():
    assert draw_curves(study(["bald"]), "hd95", "").axes[0].get_ylabel() == "hd95 (px)"
    assert draw_curves(study(["bald"]), "mc_nll", "").axes[0].get_ylabel() == "mc nll (nats)"
    assert draw_curves(study(["bald"]), "object_dice", "").axes[0].get_ylabel() == "object dice"


def test_trivial_values_are_lines_and_noise_stays_low():
    curves = study(["bald", "random"])  # within 0.70 and 0.71
    (axes,) = draw_curves(curves, "dice", "", trivial=("trivial: all foreground", 0.69)).axes
    assert {t.get_text() for t in axes.texts} == {"bald", "random", "trivial: all foreground"}
    assert axes.lines[-1].get_ydata()[0] == 0.69 and axes.get_ylim()[0] < 0.69
    assert np.ptp(axes.get_ylim()) >= 0.07
    (axes,) = draw_curves(curves, "dice", "", trivial=("trivial: all foreground", 0.1)).axes
    assert "↓ trivial: all foreground 0.100" in {t.get_text() for t in axes.texts} and axes.get_ylim()[0] > 0.5


def test_curves_show_means_deviations_and_every_name():
    curves = study()
    figure = draw_curves(curves, "object_dice", "glas", full=0.72)
    (axes,) = figure.axes
    assert {t.get_text() for t in axes.texts} == {*NAMES, "all labels"}
    assert axes.get_ylabel() == "object dice"
    for line, band, name in zip(
        axes.lines, axes.collections, ["$badge", "bald", "entropy", "least_confidence", "random"], strict=False
    ):
        values = curves[name].to_numpy()
        assert line.get_ydata() == pytest.approx(values.mean(0))
        seen = band.get_paths()[0].vertices[:, 1]
        assert seen.max() == pytest.approx((values.mean(0) + values.std(0, ddof=1)).max())
    assert axes.lines[-1].get_ydata()[0] == 0.72
    assert inside(figure) and overlaps(figure) == []


def test_bands_that_are_given_are_drawn():
    curves = study(["bald"])
    figure = draw_curves(curves, "dice", "", bands={"bald": (np.zeros(3), np.ones(3))})
    seen = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (seen.min(), seen.max()) == (0, 1)


def test_one_run_has_no_band():
    figure = draw_curves(study(runs=1), "dice", "")
    assert all(not np.isfinite(path.vertices).any() for band in figure.axes[0].collections for path in band.get_paths())
    assert overlaps(figure) == []


def test_names_move_as_little_as_keeps_them_apart_and_inside():
    assert figure_parts._apart(np.array([0.0, 1.0, 2.0]), 0.5, 2.0).tolist() == [0, 1, 2]
    assert figure_parts._apart(np.array([1.0, 1.0, 1.0]), 0.5, 2.0) == pytest.approx([0.5, 1, 1.5])
    assert figure_parts._apart(np.array([0.0, 1.0, 1.2]), 0.6, 2.0) == pytest.approx([0, 0.8, 1.4])
    assert figure_parts._apart(np.array([0.0, 0.1, 1.9, 2.0]), 0.5, 2.0) == pytest.approx([0, 0.5, 1.5, 2])


def test_styles_are_one_for_each_strategy_and_random_is_black():
    many = [f"s{i}" for i in range(14)] + ["random"]
    found = styles(many)
    assert len(set(found.values())) == 15 and found["random"][0] == "#000000"
    assert styles(list(reversed(many))) == found


def test_penalties_are_sorted_by_their_mean_and_the_diagonal_is_empty():
    matrix = pd.DataFrame(
        [[0, 0.25, 0.0], [0, 0, 0], [0.5, 0.75, 0]], index=["a", "bb", "least_confidence"], columns=["a", "bb", "c"]
    )
    figure = draw_penalties(matrix, "glas")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["least_confidence", "a", "bb"]
    written = [t.get_text() for t in axes.texts]
    assert written == ["", "0.50", "0.75", "0", "", "0.25", "0", "0", "", "0", "0.25", "0.50"]
    assert inside(figure)


@pytest.mark.parametrize("k", [2, 5])
def test_rank_diagram_has_every_name_and_a_bar_for_each_group(k):
    names = ["random", "expected_gradient_length", *NAMES[1:]][:k]
    means = pd.Series(np.linspace(1.2, k - 0.2, k), index=names)
    figure = draw_ranks(means, 0.3 if k == 2 else 1.0, "glas")
    axes = figure.axes[0]
    assert sum(t.get_text().split("  ")[0] in names or t.get_text().split("  ")[-1] in names for t in axes.texts) == k
    wide = [c for c in axes.collections if c.get_linewidth()[0] == 3.5]
    assert len(wide) == (0 if k == 2 else 4)
    assert inside(figure) and overlaps(figure) == []


def test_balance_stacks_shares_beside_the_pool():
    counts = {"bald": np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]]), "random": np.ones((3, 3))}
    figure = draw_balance(counts, ["a", "b", "$c"], np.array([10, 10, 20]), "classes")
    bars = figure.axes[0].patches
    heights = np.array([bar.get_height() for bar in bars]).reshape(3, 4).T
    assert heights == pytest.approx(np.array([[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5], [0.25, 0.25, 0.5]]))
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0", "1", "2", "pool"]  # cycles as in picks.csv
    assert [t.get_text() for t in figure.legends[0].texts] == ["a", "b", "$c"]
    alone = draw_balance({name: np.ones((20, 12)) for name in "abcd"}, [f"class {i}" for i in range(12)], None, "")
    assert len(alone.axes[0].patches) == 20 * 12 and len({bar.get_facecolor() for bar in alone.axes[0].patches}) == 12
    assert inside(figure) and inside(alone)


def test_times_stand_at_their_seconds():
    scores = pd.DataFrame({name: table[12] for name, table in study().items()})
    seconds = pd.Series({name: 10.0**i for i, name in enumerate(NAMES)})
    figure = draw_times(seconds, scores, "AUBC", "glas")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log" and {t.get_text() for t in axes.texts} == set(NAMES)
    points = {tuple(line.get_color() for line in [bar[0]]): bar[0].get_data() for bar in axes.containers}
    (x,), (y,) = points[("#000000",)]
    assert (x, y) == (1.0, pytest.approx(scores["random"].mean()))
    assert inside(figure)
    with pytest.raises(ValueError, match="bald takes 0.0 seconds"):
        draw_times(seconds.replace(10.0, 0.0), scores, "AUBC", "")


def test_letters_are_dark_enough_for_white():
    def luminance(colour):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    assert all(
        1.05 / (luminance(figure_parts._dark(colour)) + 0.05) > 3 for colour in figure_parts.COLOURS
    )  # WCAG 2, large or bold text
