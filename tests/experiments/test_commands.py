"""What every script can do, whatever its task: its commands, and which strategies it takes."""

import csv
import importlib

import pytest

from data import files
from data.names import Refused
from experiments.tracking.options import TABLES
from heuristics import names
from heuristics.core.fitting import fitting
from tests.experiments.runs import curve_of, run_in_process

SCRIPTS = {name: importlib.import_module(f"experiments.{name}").SCRIPT for name in TABLES}


def gives(task):
    return SCRIPTS[task].definition().gives(SCRIPTS[task].values(["tiny"]))


@pytest.mark.parametrize("task", TABLES)
def test_a_strategy_that_does_not_fit_is_refused_before_data_are_loaded_and_the_others_are_listed(task, monkeypatch):
    """Those that fit run in the tests of their task."""
    module = importlib.import_module(SCRIPTS[task].definition().load.__module__)
    monkeypatch.setattr(module, "load_images", None)
    fit = fitting(gives(task))
    assert {"random", "coreset"} <= set(fit) < set(names())
    for name in sorted(set(names()) - set(fit)):
        with pytest.raises(
            Refused, match=f"heuristic '{name}' needs .*, which .* does not give.* Those that fit: {', '.join(fit)}$"
        ):
            SCRIPTS[task].run("main", ["tiny"], heuristic=name)


def test_every_strategy_fits_some_task():
    assert set().union(*(fitting(gives(task)) for task in TABLES)) == set(names())


@pytest.mark.parametrize("task", TABLES)
def test_a_division_is_written_edited_and_given_back(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    SCRIPTS[task].run("splits", ["tiny"], n_val=3, run=2)
    folder = tmp_path / "data" / "splits" / f"{task}-phantom-2"
    assert f"{task}-phantom-2/{{train,val,test}}.csv" in capsys.readouterr().out
    given = {"run": 2, "steps": 1, "val_every": 1, "splits_dir": str(folder)}
    as_written = run_in_process(SCRIPTS[task], "supervised", n_val=3, **given)
    divided_anew = run_in_process(SCRIPTS[task], "supervised", n_val=3, **{**given, "splits_dir": ""})
    assert curve_of(as_written) == curve_of(divided_anew)
    rows = {
        part: list(csv.reader((folder / f"{part}.csv").read_text().splitlines())) for part in ("train", "val", "test")
    }
    n_pool, n_test = len(rows["train"]) - 1, len(rows["test"]) - 1
    assert len(rows["val"]) == 4
    rows["val"].append(rows["train"].pop())  # one more to validate on, one that nobody sees, one less to test on
    rows["train"].pop()
    rows["test"].pop()
    for part, table in rows.items():
        with open(folder / f"{part}.csv", "w", newline="") as file:
            csv.writer(file).writerows(table)
    edited = run_in_process(SCRIPTS[task], "supervised", **given)
    assert curve_of(edited)["n_labelled"] == [n_pool - 2] and curve_of(edited)["n_validation"] == [4]
    splits = SCRIPTS[task].load_splits(SCRIPTS[task].values(["tiny", f"splits_dir={folder}"]))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (n_pool - 2, 4, n_test - 1)
    assert [*splits.val.names] == [row[rows["val"][0].index("name")] for row in rows["val"][1:]]


def test_a_command_without_its_script_says_how_to_start_it():
    with pytest.raises(Refused, match="start this with segment.py, or with SCRIPT.run"):
        SCRIPTS["segment"].ex.run("splits")
