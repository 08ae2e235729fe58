"""Stored runs as one tidy frame: what is taken, what is refused, what is reported. The same from MongoDB: see
test_sync.py."""

import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
import experiments.segment as segment
from analysis.records import RENAMED, read
from analysis.runs import load, load_picks
from tests.analysis.run_folders import store
from tests.experiments.runs import run_in_process


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "stored"
    (folder / "resume").mkdir(parents=True)
    store(folder, 1)
    store(folder, 2, run=1, values=(0.6, 0.8))
    store(folder, 10, heuristic="bald", heuristic_options={"metric": "cosine"})
    store(folder, 11, status="FAILED", heuristic="bald", run=1, values=(0.5,), budgets=(4,))
    store(folder, 12, status="RUNNING", heuristic="bald", run=2, age=1000)
    store(folder, 13, status="RUNNING", heuristic="bald", run=3)
    store(folder, 14, command="supervised", values=(0.9,), budgets=(80,))
    store(folder, 15, dataset="phantom", budgets=(2, 3))
    store(folder, 16, dataset="bccd", task="detect", lr=1, budgets=(2, 3))
    return folder


def test_frame_by_hand(runs):
    frame = load(runs, dataset="glas")
    assert list(frame.columns[:7]) == ["run_id", "status", "task", "dataset", "heuristic", "run", "seed"]
    assert list(frame.columns[-4:]) == ["n_labelled", "n_spent", "metric", "value"] and frame.columns.is_unique
    assert frame["n_spent"].equals(frame["n_labelled"].rename("n_spent"))
    assert frame["run_id"].unique().tolist() == [
        1,
        2,
        10,
    ]  # by number; neither the failed, the dead nor the running one
    row = frame[(frame["run_id"] == 2) & (frame["metric"] == "dice") & (frame["n_labelled"] == 8)].iloc[0]
    assert (row["value"], row["task"], row["heuristic"], row["run"], row["seed"], row["lr"]) == (
        0.8,
        "segment",
        "random",
        1,
        1,
        0.01,
    )
    assert row["option_metric"] == "dice" and row["heuristic_options"] == "{}"
    assert frame.loc[frame["run_id"] == 10, "heuristic_options"].unique().tolist() == ['{"metric": "cosine"}']
    assert len(frame) == 3 * (2 + 2 + 2 + 1)  # dice, hd95, n_validation, froc_at_0.5; n_labelled is a column
    assert math.isnan(frame[(frame["metric"] == "hd95") & (frame["n_labelled"] == 4)]["value"].iloc[0])
    assert frame.dtypes[["run_id", "run", "n_labelled", "value"]].tolist() == ["int64", "int64", "int64", "float64"]


def test_choosing(runs):
    assert set(load(runs, dataset="glas", heuristic=["bald", "random"], run=range(1))["run_id"]) == {1, 10}
    assert set(load(runs, task="detect")["run_id"]) == {16}
    assert load(runs, command="supervised")["value"].max() == 0.9
    assert set(load(runs, ids=[2, 10])["run_id"]) == {2, 10}
    assert set(load(runs, dataset="glas", metrics=["dice"])["metric"]) == {"dice"}


def test_dead_runs_are_told_from_running_ones(runs):
    frame = load(runs, dataset="glas", statuses=None)
    assert frame.groupby("status")["run_id"].unique().map(list).to_dict() == {
        "COMPLETED": [1, 2, 10], "FAILED": [11], "DEAD": [12], "RUNNING": [13],
    }  # fmt: skip
    assert set(load(runs, statuses=["DEAD"])["run_id"]) == {12}


def test_picks(runs):
    picks = load_picks(runs, dataset="glas", heuristic="bald")
    assert picks.drop(columns="score").values.tolist() == [
        [10, "bald", 0, -1, 3, "a, b.png"],
        [10, "bald", 0, 0, 15, "10.png"],
    ]
    assert math.isnan(picks["score"][0]) and picks["score"][1] == 0.25 and picks["cycle"].dtype == "int64"


@pytest.mark.parametrize("options", [{"device": "cuda"}, {"resume": "fresh"}, {"save_maps": True}])
def test_equal_runs_are_refused_and_can_be_chosen(runs, options):
    """Where and how a run is computed does not make it another run."""
    store(runs, 20, values=(0.1, 0.2), **options)
    with pytest.raises(ValueError, match=r"equal runs .*\[1, 20\].*newest=True, ids=\[...\]"):
        load(runs, dataset="glas")
    with pytest.raises(ValueError, match="equal runs"):
        load_picks(runs, dataset="glas")
    assert set(load(runs, dataset="glas", newest=True)["run_id"]) == {2, 10, 20}
    assert set(load(runs, ids=[1, 2])["run_id"]) == {1, 2}


def test_newest_is_the_last_started_not_the_highest_number(runs):
    store(runs, 20, age=5000)
    assert set(load(runs, dataset="glas", newest=True)["run_id"]) == {1, 2, 10}


def test_another_option_makes_another_run(runs):
    store(runs, 20, lr=0.5)
    assert set(load(runs, dataset="glas", heuristic="random")["run_id"]) == {1, 2, 20}
    assert set(load(runs, dataset="glas", lr=0.5)["run_id"]) == {20}


def test_mixed_budgets_are_refused(runs):
    store(runs, 20, run=7, budgets=(4, 12), n_query=8)
    with pytest.raises(
        ValueError,
        match=r"segment on glas mixes budgets: runs \[1, 2, 10\] at 4, 8 labels; runs \[20\] at 4, 12 .*n_query",
    ):
        load(runs)
    assert set(load(runs, dataset="glas", n_query=8)["run_id"]) == {20}


def test_mistakes_are_one_sentence(runs, tmp_path):
    with pytest.raises(ValueError, match="unknown status 'COMPLETE'. Did you mean 'COMPLETED'"):
        load(runs, statuses=["COMPLETE"])
    with pytest.raises(ValueError, match="no run has option 'heuristc'. Did you mean 'heuristic'"):
        load(runs, heuristc="bald")
    with pytest.raises(ValueError, match="no run has heuristic='blad'. Did you mean 'bald'\\? Known: bald, "):
        load(runs, heuristic=["bald", "blad"])
    with pytest.raises(ValueError, match="no run has metric 'dicee'. Did you mean 'dice'"):
        load(runs, dataset="glas", metrics=["dicee"])
    with pytest.raises(ValueError, match="heuristic='bald', run=1.* there are 1 FAILED"):
        load(runs, dataset="glas", heuristic="bald", run=1)
    with pytest.raises(ValueError, match=r"runs \[11, 99\] are not among"):
        load(runs, ids=[1, 11, 99])
    with pytest.raises(FileNotFoundError, match="no folder of runs at"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="not the address of a MongoDB server"):
        load("mongodb://")


def test_a_server_that_is_down_is_one_sentence(monkeypatch):
    monkeypatch.setattr("analysis.records.PATIENCE", 100)
    with pytest.raises(ConnectionError, match="MongoDB does not answer"):
        load("mongodb://127.0.0.1:9/aliquot")


DAMAGE = {
    "truncated run.json": lambda f: (f / "run.json").write_text((f / "run.json").read_text()[:50]),
    "no config.json": lambda f: (f / "config.json").unlink(),
    "truncated metrics.json": lambda f: (f / "metrics.json").write_text((f / "metrics.json").read_text()[:99]),
    "no metrics.json": lambda f: (f / "metrics.json").unlink(),
    "unequal columns": lambda f: (f / "metrics.json").write_text(
        json.dumps({"dice": {"steps": [4, 8], "values": [0.5]}})
    ),
    "another document": lambda f: (f / "run.json").write_text("[]"),
    "no bytes of text": lambda f: (f / "config.json").write_bytes(b"\xff\xfe"),
    "an empty folder": lambda f: [file.unlink() for file in f.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folders_are_reported_and_left_out(runs, damage):
    DAMAGE[damage](runs / "2")
    with pytest.warns(UserWarning, match="run 2 is damaged and left out") as caught:
        frame = load(runs, dataset="glas")
    assert len(caught) == 1 and set(frame["run_id"]) == {1, 10} and list(frame.attrs["damaged"]) == ["2"]


def test_missing_and_damaged_picks(runs):
    (runs / "1" / "picks.csv").unlink()
    (runs / "2" / "picks.csv").write_text("cycle,index,file,score\n0,x,")
    with pytest.warns(UserWarning, match="damaged") as caught:
        picks = load_picks(runs, dataset="glas")
    assert len(caught) == 2 and set(picks["run_id"]) == {10}


def test_a_real_run(tmp_path):
    """Every number of curve.npy and every pick, to the last digit."""
    folder = run_in_process(
        segment.SCRIPT, dataset_options={"n_pool": 14, "n_test": 4}, steps=2, mc_samples=2, heuristic="bald"
    )
    curve, picked = np.load(folder / "curve.npy"), pd.read_csv(folder / "picks.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame, picks = load(Path(os.environ["ALIQUOT_RUNS"])), load_picks(os.environ["ALIQUOT_RUNS"])
    table = frame.pivot(index="n_labelled", columns="metric", values="value")
    assert set(table.columns) == set(curve.dtype.names) - {"n_labelled"}
    for name in table.columns:
        np.testing.assert_array_equal(table[name].to_numpy(), curve[name])
    assert picks["index"].tolist() == picked["index"].tolist() and picks["file"].tolist() == picked["file"].tolist()
    np.testing.assert_array_equal(picks["score"], picked["score"])
    assert frame["heuristic"].unique().tolist() == ["bald"] and frame["task"].unique().tolist() == ["segment"]


def test_unreadable_parts_are_reported_and_not_fatal(runs):
    """Empty measurements of a completed run, picks that are a folder or no text, and a folder with a digit that is no
    number."""
    (runs / "1" / "metrics.json").write_text("{}")
    (runs / "2" / "picks.csv").unlink()
    (runs / "2" / "picks.csv").mkdir()
    (runs / "10" / "picks.csv").write_bytes(b"\xff\x00\xfe" * 50)
    (runs / "²").mkdir()
    with pytest.warns(UserWarning, match="run 1 is damaged and left out .no metrics"):
        assert 1 not in set(load(runs, dataset="glas")["run_id"])
    with pytest.warns(UserWarning, match="picks.csv: "):
        picks = load_picks(runs, dataset="glas")
    assert set(picks.attrs["damaged"]) == {"2", "10"} and not {2, 10} & set(picks["run_id"])
    for run in (runs / "2", runs / "10"):
        (run / "metrics.json").write_text("cut")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="all runs that match are damaged: 1, 2, 10"):
        load(runs, dataset="glas")


def test_options_that_were_renamed_are_read_by_their_new_names(runs, monkeypatch):
    monkeypatch.setitem(RENAMED, "n_query", "query_size")
    frame = load(runs, dataset="glas", query_size=4)
    assert set(frame["run_id"]) == {1, 2, 10} and "n_query" not in frame


def test_the_door_is_light_and_opens(runs):
    light = "import sys, analysis; print(sorted({'pandas', 'torch', 'analysis.runs'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", light], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "[]\n"
    pd.testing.assert_frame_equal(analysis.load(runs, dataset="glas"), load(runs, dataset="glas"))


def test_records_that_were_read_are_not_read_again(runs):
    records = read(runs)
    before = load(records, dataset="glas")
    for folder in (runs / "1", runs / "2"):
        for file in folder.glob("*.json"):
            file.unlink()
    assert load(records, dataset="glas").equals(before) and read(records) is records


def test_runs_of_whole_volumes_are_read_at_the_labels_that_they_were_given(tmp_path):
    """n_initial=4, n_query=4: 3 and 7 labels were spent by one run, 4 and 9 by the other."""
    store(tmp_path, 1, unit="volume", values=(0.5, 0.7), budgets=(3, 7))
    store(tmp_path, 2, unit="volume", values=(0.2, 0.7), budgets=(4, 9), run=1)
    frame = load(tmp_path)
    dice = frame[frame["metric"] == "dice"]
    assert dice["n_labelled"].tolist() == [4, 8, 4, 8] and dice["n_spent"].tolist() == [3, 7, 4, 9]
    np.testing.assert_allclose(dice["value"], [0.55, 0.7, 0.2, 0.6])  # between 3 and 7; beyond 7; at 4; between 4 and 9
    assert load(tmp_path, metrics=["dice"])["value"].tolist() == dice["value"].tolist()
    froc = load(tmp_path, metrics=["froc_at_0.5"])
    assert froc["n_labelled"].tolist() == [4, 4] and froc["n_spent"].tolist() == [3, 4]
    store(tmp_path, 3, values=(0.5, 0.7), budgets=(3, 7), run=2)
    with pytest.raises(ValueError, match="mixes budgets"):
        load(tmp_path)
    store(tmp_path, 4, unit="volume", values=(0.5, 0.7), budgets=(6, 7), run=3)
    with pytest.raises(ValueError, match="run 4 began with 6 labels: its first volume has more slices than n_initial=4"):
        load(tmp_path)


def test_seconds_stay_with_the_cycle_that_took_them(tmp_path):
    """Whoever asks after the first cycle, 3 of 4 labels, took 6 s; that nothing is asked after the last takes none."""
    folder = store(tmp_path, 1, unit="volume", values=(0.5, 0.7), budgets=(3, 7))
    measured = json.loads((folder / "metrics.json").read_text())
    measured["query_seconds"] = measured["dice"] | {"values": [6.0, 0.0]}
    (folder / "metrics.json").write_text(json.dumps(measured))
    assert load(tmp_path, metrics=["query_seconds"])["value"].tolist() == [6.0, 0.0]
