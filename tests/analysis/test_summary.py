"""Completed runs as a table and a figure."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pandas as pd
import pytest

from analysis.curves import curves_of
from analysis.runs import load
from analysis.study import full_result, split_by
from analysis.summary import chosen_options, main, table
from data.files import ROOT
from experiments.measures.table import higher_is_better
from tests.analysis.stored_runs import store

TWO = (4, 8)


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "resume").mkdir()
    store(tmp_path, 1, "random", 0, [0.5, 0.7], TWO)
    store(tmp_path, 2, "random", 1, [0.6, 0.7], TWO)
    store(tmp_path, 3, "bald", 0, [0.5, 0.9], TWO)
    store(tmp_path, 4, "bald", 0, [0.4, 0.8], TWO, status="FAILED")
    store(tmp_path, 5, "bald", 1, [0.4, 0.8], TWO, dataset="phantom")
    store(tmp_path, 6, "random", 0, [0.95], [85], command="supervised")
    return tmp_path


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["summary", *map(str, words)])
        main()
        return capsys.readouterr().out

    return run


def test_table_by_hand(runs):
    lines = table(curves_of(load(runs, dataset="glas"), "dice")).splitlines()
    assert lines[0] == "| strategy | runs | 4 | 8 | area |"
    assert lines[2] == "| `bald` | 1 | 0.500 | 0.900 | 0.700 |"
    assert lines[3] == "| `random` | 2 | 0.550 ± 0.071 | 0.700 ± 0.000 | 0.625 ± 0.035 |"


def test_labels_needed_by_hand(runs):
    """bald crosses 0.7 half way; of random, both end there; beyond it neither gets, and counts with the last budget."""
    curves = curves_of(load(runs, dataset="glas"), "dice")
    assert table(curves, 0.7).splitlines()[0].endswith("| labels for 0.7 |")
    assert [line.split(" | ")[-1] for line in table(curves, 0.7).splitlines()[2:]] == ["6.0 |", "8.0 ± 0.0 |"]
    assert [line.split(" | ")[-1] for line in table(curves, 0.8).splitlines()[2:]] == [
        "7.0 |",
        "> 8.0 (2 of 2 never) |",
    ]
    early = {"x": pd.DataFrame([[0.8, 0.9], [0.7, 0.9]], columns=[4, 8])}
    assert table(early, 0.8).endswith("| ≤ 5.0 (1 of 2 at once) |")
    assert table({"x": pd.DataFrame([[0.8, 0.9], [0.5, 0.7]], columns=[4, 8])}, 0.8).endswith(
        "| unknown (1 at once and 1 never, of 2) |"
    )


def test_against_a_baseline_by_hand(runs, command):
    """One common run: 0.7 against 0.6 of area, 0.7 reached after 6 labels instead of 8, and nothing decided."""
    lines = command(runs, "--dataset", "glas", "--baseline", "random").splitlines()
    assert lines[-3] == "| `bald` | 1 | +0.100 ± – | 1 / 0 / 0 | 1 | 1 | 2 | – |"
    assert lines[-1].startswith(
        "Cannot decide: with 1 run the smallest possible p is 1, and the comparison needs 0.05."
    )
    lines = command(runs, "--dataset", "glas", "--baseline", "random", "--metric", "nll").splitlines()
    assert lines[-3] == "| `bald` | 1 | -0.100 ± – | 1 / 0 / 0 | 1 | 1 | 2 | – |"
    with pytest.raises(SystemExit, match="no strategy 'rendom' to compare with; known: bald, random"):
        command(runs, "--dataset", "glas", "--baseline", "rendom")


def test_yardsticks_are_told(tmp_path, command):
    noted = {"trivial": {"dice": 0.55}, "oracle_start": True}
    for run in range(2):
        store(tmp_path, run, "random", run, [0.6, 0.5], TWO, info=noted, task="classify", initial="stratified")
    store(tmp_path, 6, "random", 0, [0.6], [85], command="supervised", task="classify", initial="stratified")
    said = command(tmp_path)
    assert "| trivial: majority class |  | 0.550 | 0.550 | 0.550 |" in said
    assert "All labels with the same training: 0.600 (1 run)." in said
    assert "(0.600, 1 run) are no better than the start (0.600): these runs cannot show anything about labels." in said
    assert "Even at the last budget random did no better than the trivial value (majority class, 0.550)." in said
    assert "An oracle's start: the first labels of all runs" in said
    assert command(tmp_path, "--metric", "nll").count("trivial") == 0


def test_less_is_better_of_losses(runs):
    assert [higher_is_better(name) for name in ("dice", "mc_nll", "hd95", "worst_class_accuracy")] == [
        True,
        False,
        False,
        True,
    ]
    curves = curves_of(load(runs, dataset="glas"), "nll")
    lines = table(curves, 0.2, more_is_better=False).splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == ["bald", "random"]
    assert lines[2].endswith("| 7.0 |")


def test_strategies_are_divided_by_an_option(runs):
    store(runs, 7, "bald", 0, [0.5, 0.8], TWO, steps=900)
    with pytest.raises(ValueError, match="bald run 0 has dice twice"):
        curves_of(load(runs, dataset="glas"), "dice")
    curves = curves_of(split_by(load(runs, dataset="glas"), ["steps"]), "dice")
    assert {name: len(table) for name, table in curves.items()} == {
        "bald, steps=200": 1,
        "bald, steps=900": 1,
        "random, steps=200": 2,
    }
    with pytest.raises(ValueError, match="no run has option 'step' to divide by. Did you mean 'steps'"):
        split_by(load(runs, dataset="glas"), ["step"])


def test_options_are_read_as_values():
    words = ["heuristic=bald,random", "lr=0.01", "pseudo_labels=True", "run=0,1", "model=unet"]
    expected = {"heuristic": ["bald", "random"], "lr": 0.01, "pseudo_labels": True, "run": (0, 1), "model": "unet"}
    assert chosen_options(words) == expected
    with pytest.raises(ValueError, match="--where lr: expected option=value"):
        chosen_options(["lr"])


def test_full_result_takes_the_same_training_alone(runs):
    frame = load(runs, dataset="glas")
    assert full_result(runs, frame, "dice") == 0.95
    store(runs, 8, "random", 1, [0.85], [85], command="supervised")
    store(runs, 9, "random", 2, [0.1], [85], command="supervised", steps=900)
    store(runs, 10, "random", 3, [0.1], [85], command="supervised", status="FAILED")
    assert full_result(runs, frame, "dice") == pytest.approx(0.9)
    assert full_result(runs, load(runs, dataset="phantom"), "dice") is None


def test_command_line(runs, command):
    out = command(runs, "--dataset", "glas", "--target", "0.8", "--out", runs / "figure.png")
    assert "| `bald` | 1 |" in out and "(2 of 2 never)" in out
    assert (runs / "figure.png").read_bytes()[:4] == b"\x89PNG"
    out = command(
        runs, "--dataset", "glas", "--metric", "nll", "--where", "heuristic=random", "run=0,1", "--by", "steps"
    )
    assert "| `random, steps=200` | 2 |" in out and "bald" not in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dataset", "bccd"], "found no run"),
        ([], "several datasets \\(glas, phantom\\): choose one with --dataset"),
        (["--dataset", "glas", "--metric", "dise"], "no run has metric 'dise'"),
        (["--dataset", "glas", "--where", "dataset=glas"], "use --task, --dataset"),
        (["--dataset", "glas", "--where", "source=runs"], "use --task, --dataset"),
        (
            ["--dataset", "glas", "--where", "heuristic=bald,rendom"],
            "no run has heuristic='rendom'. Did you mean 'random'",
        ),
        (["--dataset", "glas", "--target", "nan"], "--target nan: expected a finite number"),
        (["--dataset", "glas", "--target=-inf"], "--target -inf: expected a finite number"),
        (["--dataset", "glas", "--target", "many"], "--target many: expected a finite number"),
        (["--dataset", "glas", "--metric", ""], "metric is an empty word"),
        (["--dataset", "glas", "--baseline", ""], "baseline is an empty word"),
        (["--dataset", "glas", "--out", ""], "out is an empty word"),
        (["--dataset", "glas", "--out", "curves.svg"], "curves.svg: a figure is written as .png or .pdf"),
        (["--dataset", "glass"], "dataset='glass'. Did you mean 'glas'"),
        (["--task", "segmnt"], "task='segmnt'. Did you mean 'segment'"),
        (["--dataset", "glas", "--where", "steps=200", "steps=300"], "--where steps stands there twice"),
        (["--dataset", "glas", "--costs", "/bin/ls"], "/bin/ls is no text in UTF-8"),
        (["--dataset", "glas", "--by", "heuristic"], "no run has option 'heuristic' to divide by"),
    ],
)
def test_mistakes_are_one_sentence(runs, command, capsys, words, sentence):
    with pytest.raises(SystemExit, match=sentence):
        command(runs, *words)
    assert capsys.readouterr().out == ""  # nothing was said before the refusal


def test_mixed_budgets_are_refused(runs, command):
    store(runs, 9, "bald", 2, [0.5, 0.6], (4, 12))
    with pytest.raises(SystemExit, match="mixes budgets"):
        command(runs, "--dataset", "glas")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_any_terminal_can_show_it(runs, monkeypatch, encoding):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(
        "sys.argv", ["summary", str(runs), "--dataset", "glas", "--target", "0.6", "--baseline", "random"]
    )
    main()
    said = written.getvalue().decode(encoding)
    assert {"latin-1": "0.550 ± 0.071", "ascii": "0.550 +- 0.071", "utf-8": "0.550 ± 0.071"}[encoding] in said
    assert ("| – |" if encoding == "utf-8" else "| - |") in said and "?" not in said


def test_nobody_reads_on(runs):
    """As `| head -0`: the pipe is closed before anything is said."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "analysis.summary", str(runs), "--dataset", "glas"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
