"""Rounds with a person, from no label at all: what is asked for, and that it is what a simulation asks for."""

import csv
import json

import numpy as np
import pytest

from data.names import Refused
from tests.experiments.rounds.annotator import OPTIONS, OWN, Annotator
from tests.experiments.runs import curve_of, run_in_process
from tests.experiments.small_sets import SCRIPTS

TASKS = ("classify", "segment", "detect")
METRIC = {"classify": "accuracy", "segment": "dice", "detect": "ap50"}
TIMES = ("_seconds", "_share")


def told(row):
    return {name: value for name, value in row.items() if isinstance(value, int | float) and not name.endswith(TIMES)}


@pytest.mark.parametrize("task", TASKS)
def test_rounds_from_no_label_are_those_of_the_simulation(task, tmp_path, capsys):
    person, out = Annotator(task, tmp_path / "own"), tmp_path / "out"
    asked = []
    for round_ in range(4):
        run = person.suggest(out=str(out))
        assert (run is None) == (round_ == 0), "the first list trains nothing and is no run"
        asked.append(person.answer(out, round_))
    assert len(asked[0]) == 3 + 2 and [len(names) for names in asked[1:]] == [2, 2, 2]
    state = person.state(out)
    assert state["round"] == state["recorded"] == 3 and len(set(sum(asked, []))) == 11

    whole = Annotator(task, tmp_path / "whole")
    for name in whole.names:
        whole.label(name)
    splits = tmp_path / "splits"
    splits.mkdir()
    for part, names in (("train", state["order"]), ("test", state["test"])):
        (splits / f"{part}.csv").write_text("\n".join(["name", *names]))
    options = {**OPTIONS[task], **OWN[task], "data_root": str(whole.root), "splits_dir": str(splits)}
    folder = run_in_process(SCRIPTS[task], presets=(), **options)
    picks = [row for row in csv.DictReader((folder / "picks.csv").open(newline=""))]
    assert [row["file"] for row in picks if row["cycle"] == "initial"] == state["picks"][0]
    for cycle in (0, 1):
        assert [row["file"] for row in picks if row["cycle"] == str(cycle)] == state["picks"][cycle + 1]
    simulated = curve_of(folder)
    for cycle, row in enumerate(state["curve"]):
        ours = {name: None if np.isnan(value) else value for name, value in told(row).items()}
        theirs = {name: values[cycle] for name, values in simulated.items() if name in ours}
        assert {
            OPTIONS[task].get("metric", METRIC[task]),
            "n_labelled",
            "train_loss",
            "stop_uncertainty",
        } <= theirs.keys()
        of_last = {name for name in ours if name.startswith("score_")} if cycle == 2 else set()  # it asked for more
        assert {name: ours[name] for name in theirs.keys() - of_last} == {n: theirs[n] for n in theirs.keys() - of_last}
    assert json.loads((out / "round_003" / "advice.json").read_text())["n_labelled"] == 7


@pytest.mark.parametrize("task", TASKS)
def test_check_tells_what_suggest_would_do(task, tmp_path, capsys):
    person, out = Annotator(task, tmp_path / "own"), tmp_path / "out"
    person.suggest("check", out=str(out))
    told = capsys.readouterr().out
    assert "0 of 12 to learn from are labelled" in told and "would list 3 images to start with and 2 at random" in told
    assert not (out / "state.json").exists() and "no image is of class" not in told


def test_what_is_taken_from_the_images_is_checked_too(tmp_path):
    """Fourteen images and 3 first labels are 2 more a round: more than the one image that is scored."""
    person, out = Annotator("segment", tmp_path / "own"), tmp_path / "out"
    with pytest.raises(Refused, match="pool_subset=1 is less than n_query=2: score at least as many as are picked"):
        person.suggest(out=str(out), n_query="quick", pool_subset=1)
    assert not (out / "state.json").exists()
