"""The figures are read back: what they show, that nothing is cut off, and that both files appear whole."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import figures
from analysis.figures import draw_balance, draw_curves, draw_penalties, draw_ranks, draw_times, save, styles

NAMES = ["random", "bald", "entropy", "$badge", "least_confidence"]


def study(names=NAMES, runs: int = 4) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    budgets = pd.Index([4, 8, 12], name="n_labelled")
    return {name: pd.DataFrame(0.7 + 0.01 * rng.random((runs, 3)), columns=budgets) for name in names}


def inside(figure: Figure) -> bool:
    """Whether all that is drawn lies on the page."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn, size = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    return bool((drawn.min >= -1e-6).all() and (drawn.max <= size + 1e-6).all())


def overlaps(figure: Figure) -> int:
    """Pairs of names in the first axes that cover each other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in figure.axes[0].texts]  # of an annotation without its line
    return int(sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]))


def test_curves_show_means_deviations_and_every_name():
    curves = study()
    figure = draw_curves(curves, "object_dice", "glas", full=0.72)
    (axes,) = figure.axes
    assert {t.get_text() for t in axes.texts} == {*NAMES, "all labels"}
    assert axes.get_ylabel() == "object dice"
    for line, band, name in zip(axes.lines, axes.collections, ["$badge", "bald", "entropy", "least_confidence", "random"], strict=False):
        values = curves[name].to_numpy()
        assert line.get_ydata() == pytest.approx(values.mean(0))
        seen = band.get_paths()[0].vertices[:, 1]
        assert seen.max() == pytest.approx((values.mean(0) + values.std(0, ddof=1)).max())
    assert axes.lines[-1].get_ydata()[0] == 0.72
    assert inside(figure) and overlaps(figure) == 0


def test_bands_that_are_given_are_drawn():
    curves = study(["bald"])
    figure = draw_curves(curves, "dice", "", bands={"bald": (np.zeros(3), np.ones(3))})
    seen = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (seen.min(), seen.max()) == (0, 1)


def test_one_run_has_no_band():
    figure = draw_curves(study(runs=1), "dice", "")
    assert all(not np.isfinite(path.vertices).any() for band in figure.axes[0].collections for path in band.get_paths())
    assert overlaps(figure) == 0


def test_names_move_as_little_as_keeps_them_apart():
    assert figures._apart(np.array([0.0, 1.0, 2.0]), 0.5).tolist() == [0, 1, 2]
    assert figures._apart(np.array([1.0, 1.0, 1.0]), 0.5) == pytest.approx([0.5, 1, 1.5])
    assert figures._apart(np.array([0.0, 1.0, 1.2]), 0.6) == pytest.approx([0, 0.8, 1.4])


def test_styles_are_one_for_each_strategy_and_random_is_black():
    many = [f"s{i}" for i in range(14)] + ["random"]
    found = styles(many)
    assert len(set(found.values())) == 15 and found["random"][0] == "#000000"
    assert styles(list(reversed(many))) == found


def test_penalties_are_sorted_by_their_mean_and_the_diagonal_is_empty():
    matrix = pd.DataFrame([[0, 0.25, 0.0], [0, 0, 0], [0.5, 0.75, 0]], index=["a", "bb", "least_confidence"], columns=["a", "bb", "c"])
    figure = draw_penalties(matrix, "glas")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["least_confidence", "a", "bb"]
    written = [t.get_text() for t in axes.texts]
    assert written == ["", "0.50", "0.75", "0.00", "", "0.25", "0.00", "0.00", "", "0.00", "0.25", "0.50"]
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
    assert inside(figure) and overlaps(figure) == 0


def test_balance_stacks_shares_beside_the_pool():
    counts = {"bald": np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]]), "random": np.ones((3, 3))}
    figure = draw_balance(counts, ["a", "b", "$c"], np.array([10, 10, 20]), "classes")
    bars = figure.axes[0].patches
    heights = np.array([bar.get_height() for bar in bars]).reshape(3, 4).T
    assert heights == pytest.approx(np.array([[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5], [0.25, 0.25, 0.5]]))
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "2", "3", "pool"]
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


def test_both_files_and_nothing_else(tmp_path, monkeypatch):
    settings = dict(mpl.rcParams)
    png, pdf = save(draw_curves(study(["bald"]), "dice", ""), tmp_path / "new" / "curves.png")
    assert (png.name, pdf.name) == ("curves.png", "curves.pdf")
    assert png.read_bytes()[:4] == b"\x89PNG" and pdf.read_bytes()[:4] == b"%PDF" and b"Type3" not in pdf.read_bytes()
    assert dict(mpl.rcParams) == settings
    before, original = pdf.read_bytes(), Figure.savefig

    def full_disk(self, file, format, **kwargs):
        if format == "pdf":
            file.write_bytes(b"half")
            raise OSError("No space left on device")
        original(self, file, format=format, **kwargs)

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(draw_curves(study(["bald"]), "dice", "other"), tmp_path / "new" / "curves.png")
    assert pdf.read_bytes() == before
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["curves.pdf", "curves.png"]


def test_letters_are_dark_enough_for_white():
    def luminance(colour):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    assert all(1.05 / (luminance(figures._dark(colour)) + 0.05) > 3 for colour in figures.COLOURS)  # WCAG 2, large or bold text
