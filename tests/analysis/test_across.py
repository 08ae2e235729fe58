"""Several datasets: ranks over sets, wins that were shown, what is left out, and the figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import across
from analysis.across import Compared, ranks_over, shown, table, verdict, wins_over
from analysis.across_figure import draw_across
from analysis.comparisons import critical_difference
from data.names import Refused
from tests.analysis.stored_runs import store


def study(rng, more=True, n=12, **means):
    noise = rng.normal(0, 0.001, (n, len(means)))
    frame = pd.DataFrame(noise + np.array(list(means.values())), columns=list(means))
    return Compared(frame, "accuracy" if more else "nll", more)


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return {
        "one": study(rng, random=0.5, badge=0.6, coreset=0.4),
        "two": study(rng, random=0.5, badge=0.6, coreset=0.5),
        "loss": study(rng, False, random=0.5, badge=0.6, coreset=0.4),
    }


def test_ranks_by_hand(sets):
    ranks = ranks_over(sets)
    assert ranks.loc["one"].to_dict() == {"random": 2, "badge": 1, "coreset": 3}
    assert ranks.loc["loss"].to_dict() == {"random": 2, "badge": 3, "coreset": 1}  # less of a loss is better


def test_wins_count_the_datasets_on_which_a_difference_was_shown(sets):
    wins = wins_over(sets)
    assert wins.loc["badge", "random"] == 2 and wins.loc["random", "badge"] == 1
    assert wins.loc["random", "coreset"] == 1 and wins.loc["coreset", "random"] == 1
    assert (np.diag(wins) == 0).all()


def test_too_few_runs_show_nothing():
    rng = np.random.default_rng(0)
    few = {name: study(rng, n=3, random=0.5, badge=0.9, coreset=0.1) for name in ("a", "b")}
    assert wins_over(few).to_numpy().sum() == 0
    assert "0 of 4 pairs against random are decided" in verdict(few, "random")


def test_a_mean_against_the_ranks_makes_no_winner():
    """A strategy that is a little better in 19 runs and collapses in one is not said to win."""
    scores = pd.DataFrame({"random": np.zeros(20), "badge": np.r_[np.linspace(0.01, 0.02, 19), -5.0]})
    pairs = shown({"one": Compared(scores, "accuracy", True)})["one"]
    assert pairs.empty


def test_the_table_marks_what_is_decided_against_the_baseline(sets):
    lines = table(sets, "random").splitlines()
    assert lines[0] == "| strategy | one (accuracy) | two (accuracy) | loss (nll) | mean rank |"
    badge = next(line for line in lines if line.startswith("| `badge`"))
    assert badge.count("▲") == 2 and badge.count("▼") == 1
    assert "▲" not in next(line for line in lines if line.startswith("| `random`"))


def test_the_command_reads_every_dataset_of_a_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "resume").mkdir()
    number = 0
    for dataset in ("glas", "dsb2018"):
        for name, level in (("random", 0.5), ("bald", 0.6), *([("badge", 0.7)] if dataset == "glas" else [])):
            for run in range(2):
                number += 1
                store(tmp_path, number, name, run, [level, level + 0.01 * run], (4, 8), dataset=dataset)
    store(tmp_path, number + 1, "random", 0, [0.5, 0.6], (4, 8), dataset="phantom", status="RUNNING")
    out = tmp_path / "across.png"
    monkeypatch.setattr("sys.argv", ["across", str(tmp_path), "--baseline", "random", "--out", str(out)])
    across.main()
    said = capsys.readouterr()
    assert "badge is left out" in said.err and "| `bald` | 0.60" in said.out
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize("datasets", [("glas",), ()])
def test_one_dataset_is_refused(tmp_path, datasets, monkeypatch):
    (tmp_path / "resume").mkdir()
    for number, dataset in enumerate(datasets):
        store(tmp_path, number + 1, "random", 0, [0.5, 0.6], (4, 8), dataset=dataset)
    monkeypatch.setattr("sys.argv", ["across", str(tmp_path)])
    with pytest.raises(SystemExit, match="at least two"):
        across.main()


def test_ranks_need_a_common_run():
    scores = pd.DataFrame({"random": [0.5, np.nan], "badge": [np.nan, 0.6]})
    with pytest.raises(Refused, match="no run was made with all"):
        ranks_over({"one": Compared(scores, "accuracy", True)})


def test_the_figure_holds_every_name_within_its_edges(sets):
    long = {
        d: Compared(s.areas.rename(columns={"badge": "a_very_long_name, train=head"}), s.metric, s.more)
        for d, s in sets.items()
    }
    figure = draw_across(ranks_over(long), wins_over(long), critical_difference(3, 3), "Strategies")
    figure.canvas.draw()
    whole = figure.bbox
    for axes in figure.axes:
        for text in [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label]:
            box = text.get_window_extent()
            assert not text.get_text() or (box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y1 <= whole.y1)
