"""Runs that are one run under several numbers count once, wherever runs are counted."""

from __future__ import annotations

import warnings

import pytest

from analysis.report import main as report
from analysis.runs import load, load_picks
from analysis.study import full_result
from analysis.summary import main as summary
from tests.analysis.stored_runs import store


@pytest.fixture
def copied(tmp_path):
    """`classify.py with seed=1 heuristic=random|entropy run=0..5`."""
    for run in range(6):
        store(tmp_path, 10 + run, "random", run, [0.5, 0.6, 0.7], seed=1)
        store(tmp_path, 20 + run, "entropy", run, [0.5, 0.55, 0.65], seed=1)
    return tmp_path


def chosen(runs, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(runs, **options)


def test_copies_count_once_and_are_named(copied):
    with pytest.warns(
        UserWarning, match="10 runs are copies.*: runs 11, 12, 13, 14, 15 of run 10; runs 21, 22, .* of run 20"
    ) as caught:
        frame = load(copied)
    assert len(caught) == 1 and frame["run_id"].unique().tolist() == [10, 20]
    assert frame.attrs["copies"] == {10: [11, 12, 13, 14, 15], 20: [21, 22, 23, 24, 25]}
    with pytest.warns(UserWarning, match="copies"):
        assert set(load_picks(copied)["run_id"]) <= {10, 20}


def test_copies_prove_nothing(copied, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["summary", str(copied), "--baseline", "random"])
    with pytest.warns(UserWarning, match="copies"):
        summary()
    said = capsys.readouterr().out
    assert "Cannot decide: with 1 run" in said and "beats" not in said and "runs 21, 22, 23, 24, 25 of run 20" in said
    monkeypatch.setattr("sys.argv", ["report", str(copied), "--out", str(tmp_path / "out")])
    with pytest.warns(UserWarning, match="copies"):
        report()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Cannot decide: with 1 run" in page and "10 runs are copies" in page and "in 2 runs" in page


def test_another_seed_start_or_option_makes_no_copy(tmp_path):
    store(tmp_path, 1, "random", 0, [0.5, 0.6, 0.7], split_seed=5)
    store(
        tmp_path, 2, "random", 1, [0.5, 0.6, 0.7], split_seed=5
    )  # one division, but another start: the seed follows the run
    store(tmp_path, 3, "random", 2, [0.5, 0.6, 0.7], split_seed=5, seed=0, lr=0.5)
    store(tmp_path, 4, "random", 3, [0.5, 0.6, 0.7], split_seed=6, seed=0)
    store(tmp_path, 5, "random", 4, [0.5, 0.6, 0.7], split_seed=5, seed=0, splits_dir="elsewhere")
    assert len(set(load(tmp_path)["run_id"])) == 5
    store(
        tmp_path, 6, "random", 5, [0.5, 0.6, 0.7], split_seed=5, seed=0, device="cuda:0", workers=2
    )  # computed elsewhere
    assert chosen(tmp_path).attrs["copies"] == {1: [6]}


def test_strategies_stay_paired(tmp_path):
    """The run that both have counts, not the lowest."""
    for run in range(3):
        store(tmp_path, 1 + run, "random", run, [0.5, 0.6, 0.7], seed=9)
    for run in range(1, 3):
        store(tmp_path, 10 + run, "bald", run, [0.5, 0.6, 0.7], seed=9)
    frame = chosen(tmp_path)
    assert frame.groupby("heuristic")["run"].unique().map(list).to_dict() == {"bald": [1], "random": [1]}


def test_copies_of_runs_on_all_labels_count_once(tmp_path):
    store(tmp_path, 1, "random", 0, [0.5, 0.6, 0.7])
    for number, (run, seed, value) in enumerate([(0, 0, 0.9), (1, 0, 0.9), (2, 2, 0.6)], 50):
        store(tmp_path, number, "random", run, [value], [85], command="supervised", seed=seed)
    frame = load(tmp_path)
    with pytest.warns(UserWarning, match="1 run is a copy.*: run 51 of run 50"):
        assert full_result(tmp_path, frame, "dice") == pytest.approx((0.9 + 0.6) / 2)
