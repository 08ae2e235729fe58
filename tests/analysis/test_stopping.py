"""Rules are replayed on runs that are known: where each stops, what it wastes and what it loses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import stopping
from analysis.records import read
from analysis.replaying import FULL, ORACLE, oracle, rules_for, score, scored, smoothed
from analysis.runs import load
from analysis.stopping import means, table
from analysis.stopping_figure import draw_rules
from experiments.stopping.rules import Rounds
from tests.analysis.stored_runs import store

VALUES = [0.5, 0.7, 0.8, 0.796, 0.8, 0.804]
BUDGETS = (10, 20, 30, 40, 50, 60)


def rounds(values=VALUES, agreement=None, more=True, n_test=100):
    n = np.array(BUDGETS[: len(values)], dtype=float)
    agreement = np.full(len(values), np.nan) if agreement is None else np.array(agreement, dtype=float)
    return Rounds(n, np.array(values, dtype=float), agreement, 1 - agreement, 1 - agreement, 10, more, n_test)


def of(rule, scores):
    return scores[scores["rule"] == rule].iloc[0]


def test_smoothed_only_improves_and_keeps_the_mean():
    assert smoothed(rounds()).tolist() == pytest.approx([0.5, 0.7, 0.798, 0.798, 0.8, 0.804])
    assert smoothed(rounds([3.0, 1.0, 2.0], more=False)).tolist() == pytest.approx([3, 1.5, 1.5])


def test_the_oracle_is_the_first_round_within_one_percent():
    assert oracle(rounds()) == 2, "0.798 is within 1 % of 0.804"
    assert oracle(rounds(), tolerance=0.005) == 4
    assert oracle(rounds([0.9, 0.5, 0.4], more=False)) == 2 and oracle(rounds([0.5] * 4)) == 0
    falling = rounds([0.9, 0.8, 0.7])
    assert oracle(falling) == 0, "a curve that only falls is flat at its mean"


def test_scores_by_hand():
    found = score(rounds(), "accuracy", 0.79, 0)
    end, best, half = of(FULL, found), of(ORACLE, found), of("50% of the labels", found)
    assert (end["used"], end["too_many"], end["lost"], end["stopped"]) == (1, 0.5, 0, False)
    assert (best["used"], best["too_many"], best["early"]) == (0.5, 0, False)
    assert best["lost"] == pytest.approx((0.804 - 0.798) / 0.804) and best["lost_to_oracle"] == 0
    assert half["used"] == 0.5 and half["lost"] == best["lost"]
    quarter = of("25% of the labels", found)
    assert quarter["early"] and quarter["used"] == pytest.approx(2 / 6) and quarter["too_many"] == 0
    assert quarter["lost"] == pytest.approx((0.804 - 0.7) / 0.804)
    assert quarter["lost_to_oracle"] == pytest.approx((0.798 - 0.7) / 0.804)
    value, lower = of("value at the target", found), of("lower end at the target", found)
    assert value["used"] == 0.5 and not lower["stopped"], "100 images do not show 0.79"
    assert of("lower end at the target", score(rounds(n_test=10**6), "accuracy", 0.79, 0))["used"] == 0.5


def test_a_rule_of_the_stop_set_stops_where_the_models_agree():
    agreement = [np.nan, 0.5, 0.99, 0.995, 0.99, 0.99]
    found = score(rounds(agreement=agreement), "accuracy", 0.9, 0)
    assert of("agreement 0.99, 1 round", found)["used"] == 0.5
    assert of("agreement 0.99, 3 rounds", found)["used"] == pytest.approx(5 / 6)
    assert of("agreement 0.8, 3 rounds", found)["used"] == pytest.approx(4 / 6)
    assert of("uncertainty at most 0.02", found)["used"] == 0.5
    assert of("changed at most 2%, 2 rounds", found)["used"] == pytest.approx(4 / 6)
    assert not of("changed at most 0%, 2 rounds", found)["stopped"]


def test_less_is_better_is_scored_alike():
    less = score(rounds([1 - v for v in VALUES], more=False), "nll", 0.21, 0)
    assert of(ORACLE, less)["used"] > 0.5 and of("value at the target", less)["used"] == 0.5
    assert of("25% of the labels", less)["lost"] == pytest.approx((0.804 - 0.7) / (1 - 0.804))


def test_rules_are_those_that_a_run_has_columns_for():
    without = rules_for(rounds(n_test=0), "accuracy")
    assert "lower end at the target" not in without and not any(name.startswith("agreement") for name in without)
    assert "lower end at the target" in rules_for(rounds(), "accuracy")
    assert "lower end at the target" not in rules_for(rounds(), "hd95")
    assert "agreement 0.99, 3 rounds" in rules_for(rounds(agreement=[0.1] * 6), "accuracy")


def test_no_rule_sees_what_comes_later():
    """A run that is cut off ends every rule where the whole run ended it, if that was before the cut."""
    rng = np.random.default_rng(0)
    whole = rounds(np.sort(rng.uniform(0.5, 0.9, 6)), np.sort(rng.uniform(0.8, 1, 6)))
    cut = whole.until(5)
    now, then = score(whole, "accuracy", 0.7, 1), score(cut, "accuracy", 0.7, 1)
    for name in set(now["rule"]) - {ORACLE, FULL} - {n for n in now["rule"] if n.endswith("of the labels")}:
        spent = of(name, now)["used"] * 60
        assert of(name, then)["used"] * 50 == pytest.approx(min(spent, 50)), name


def test_means_count_a_division_once():
    scores = pd.DataFrame(
        {"rule": "x", "dataset": "a", "run": [0, 0, 1], "stopped": [True, True, False], "early": False}
        | dict.fromkeys(("used", "too_many", "lost", "lost_to_oracle"), [0.2, 0.4, 0.5])
    )
    found = means(scores).loc["x"]
    assert found["used"] == pytest.approx(0.4) and found["stopped"] == 0.5 and found["runs"] == 3
    assert found["used_low"] == pytest.approx(0.4 - 12.706 * 0.1, abs=1e-3)


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "resume").mkdir()
    number = 0
    for task, metric in (("segment", "dice"), ("classify", "accuracy")):
        for heuristic in ("random", "bald"):
            for run in range(2):
                number += 1
                stop = {"stop_agreement": [0.1, 0.5, 0.9, 0.995, 0.995, 0.995], "stop_changed": [0.1] * 6}
                stop |= {"stop_uncertainty": [0.3, 0.2, 0.1, 0.05, 0.04, 0.03], metric: np.array(VALUES) + 0.01 * run}
                info = {"read": {"parts": [{"name": "pool", "images": 80}, {"name": "test", "images": 40}]}}
                more = {"task": task, "metric": metric, "measured": stop, "info": info, "dataset": task[:4]}
                store(tmp_path, number, heuristic, run, VALUES, BUDGETS, n_stop=20, **more)
    return tmp_path


def test_the_command_writes_a_table_a_task_and_a_figure(runs, monkeypatch, capsys):
    out = runs / "stopping.png"
    monkeypatch.setattr("sys.argv", ["stopping", str(runs), "--out", str(out)])
    stopping.main()
    said = capsys.readouterr().out
    assert "**classify: 4 runs of clas**" in said and "**segment: 4 runs of segm**" in said
    assert said.count("| oracle | 4 |") == said.count("| full budget | 4 | 0 % |") == 2
    assert "| agreement 0.99, 3 rounds | 4 | 0 % |" in said and "| lower end at the target | 4 |" in said
    assert out.stat().st_size > 10_000


def test_a_task_alone_and_nothing_found(runs, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["stopping", str(runs), "--task", "segment", "--where", "heuristic=bald"])
    stopping.main()
    said = capsys.readouterr().out
    assert "**segment: 2 runs of segm**" in said and "classify" not in said
    monkeypatch.setattr("sys.argv", ["stopping", str(runs), "--task", "detect"])
    with pytest.raises(SystemExit, match="no run of main"):
        stopping.main()


def test_the_figure_holds_every_name_within_its_edges():
    agreement = [np.nan, 0.5, 0.99, 0.995, 0.99, 0.99]
    parts = [score(rounds(agreement=agreement), "dice", 0.79, i).assign(dataset="a", run=i, run_id=i) for i in range(3)]
    found = means(pd.concat(parts))
    figure = draw_rules({"segment: 3 runs of a set with a long name, and of another": found, "classify": found})
    figure.canvas.draw()
    for text in figure.axes[0].get_yticklabels():
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y1 <= figure.bbox.y1
    assert "(" in table(found).splitlines()[2]


def test_runs_of_whole_volumes_are_replayed_as_they_were_measured(tmp_path):
    """At the budgets of all runs, 4, 8 and 12, a value would hold something of the round after it."""
    folder = store(tmp_path, 1, "random", 0, [0.2, 0.6, 0.8], (3, 6, 9), unit="volume")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_initial": 4}))
    frame = load(tmp_path)
    assert sorted(set(frame["n_labelled"])) == [4, 8, 12]
    found = scored(read(tmp_path), frame, "dice", target=0.6).set_index("rule")
    assert found.loc["value at the target", "used"] == pytest.approx(6 / 9)
    assert found.loc["25% of the labels", "lost"] == pytest.approx(0.75)
