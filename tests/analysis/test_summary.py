"""Completed runs as a table and a figure."""

import json

import numpy as np
import pytest

from analysis.summary import at_budgets, completed, draw, table
from analysis.summary import main as command


def store(runs, number, heuristic, run, values, status="COMPLETED", budgets=(4, 8), dataset="glas", kind="main"):
    folder = runs / str(number)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"dataset": dataset, "heuristic": heuristic, "run": run}))
    (folder / "run.json").write_text(json.dumps({"status": status, "command": kind}))
    np.save(folder / "curve.npy", np.array(list(zip(budgets, values, strict=True)), dtype=[("n_labelled", "f8"), ("dice", "f8")]))


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "resume").mkdir()
    store(tmp_path, 1, "random", 0, [0.5, 0.7])
    store(tmp_path, 2, "random", 1, [0.6, 0.7])
    store(tmp_path, 3, "bald", 0, [0.5, 0.9])
    store(tmp_path, 4, "bald", 0, [0.4, 0.8], status="FAILED")
    store(tmp_path, 5, "bald", 1, [0.4, 0.8], dataset="phantom")
    store(tmp_path, 6, "random", 0, [0.95], budgets=[85], kind="supervised")
    return tmp_path


def test_table_by_hand(runs):
    lines = table(completed(runs, "glas"), "dice").splitlines()
    assert lines[0] == "| strategy | runs | 4 | 8 | area |"
    assert lines[2] == "| `bald` | 1 | 0.500 | 0.900 | 0.700 |"
    assert lines[3] == "| `random` | 2 | 0.550 ± 0.071 | 0.700 ± 0.000 | 0.625 ± 0.035 |"


def test_mixed_budgets_are_refused(runs):
    store(runs, 9, "bald", 2, [0.5, 0.6], budgets=(4, 12))
    with pytest.raises(ValueError, match="runs \\[0, 2\\] have different budgets"):
        at_budgets(completed(runs, "glas")["bald"], "dice")


def test_nothing_found(runs):
    with pytest.raises(ValueError, match="no completed run of main on dataset 'bccd'"):
        completed(runs, "bccd")


def test_figure_has_a_labelled_line_for_each_strategy_and_the_upper_bound(runs):
    figure = draw(completed(runs, "glas"), "dice", "title", upper=0.95)
    (axes,) = figure.axes
    assert {t.get_text() for t in axes.texts} == {"bald", "random", "all labels"}
    assert [line.get_ydata()[-1] for line in axes.lines[:2]] == pytest.approx([0.9, 0.7])


def test_command_line(runs, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["summary", str(runs), "--out", str(runs / "figure.png")])
    command()
    assert "| `bald` | 1 |" in capsys.readouterr().out and (runs / "figure.png").read_bytes()[:4] == b"\x89PNG"
    monkeypatch.setattr("sys.argv", ["summary", str(runs), "--dataset", "bccd"])
    with pytest.raises(SystemExit, match="no completed run"):
        command()
