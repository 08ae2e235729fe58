"""What a report says beside its curves: trivial values, all labels, single classes, and what the start gave away."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from tests.analysis.pages import Page
from tests.analysis.stored_runs import store

YARD = {"trivial": {"dice": 0.88, "nll": 0.7}}


def test_yardsticks_stand_beside_the_curves(tmp_path, reported):
    """Membrane images: all foreground has a Dice of 0.88, and all labels are no better than the start."""
    runs = tmp_path / "runs"
    for run in range(2):
        store(runs, run, "random", run, [0.89, 0.8, 0.87], info=YARD)
        store(runs, 10 + run, "bald", run, [0.89, 0.9, 0.91], info=YARD)
    store(runs, 90, "random", 0, [0.85], [85], command="supervised")
    page_ = Page(reported(runs))
    assert page_.text.count("trivial: all foreground") == 2 and "0.880" in page_.text
    assert "Even at the last budget random did no better than the trivial value (all foreground, 0.880)." in page_.text
    assert (
        "All labels with the same training (0.850, 1 run) are no better than the start (0.890): these runs cannot"
        in page_.text
    )
    assert "An oracle's start" not in page_.text


def test_per_class_measures_have_tables_of_their_own(tmp_path, reported):
    runs = tmp_path / "runs"
    for run in range(2):
        measured = {
            "dice[gland]": [0.1, 0.2, 0.3 + run / 10],
            "dice[<b>]": [0.4] * 3,
            "dice_pooled": [0.5] * 3,
            "dice_testB": [0.5] * 3,
        }
        store(runs, run, "random", run, [0.5, 0.6, 0.7], measured=measured)
        store(runs, 10 + run, "bald", run, [0.5, 0.6, 0.7], measured={"dice[gland]": [0.1, 0.2, 0.9]})
    said = " ".join(Page(reported(runs)).text.split())
    assert "strategy <b> gland bald – 0.900 ± 0.000 random 0.400 ± 0.000 0.350 ± 0.071" in said
    assert "pooled" not in said and "testB" not in said


@pytest.mark.parametrize(
    ("task", "initial", "info", "told"),
    [
        ("classify", "stratified", None, True),
        ("detect", "stratified", None, True),
        ("segment", "stratified", None, False),
        ("classify", "random", None, False),
        (
            "classify",
            "stratified",
            {"trivial": {"dice": 0.1}},
            False,
        ),  # noted, and no oracle: strata known before labelling
        ("segment", "stratified", {"oracle_start": True}, True),
    ],
)
def test_an_oracles_start_is_called_one(tmp_path, reported, monkeypatch, task, initial, info, told):
    drawn = []
    monkeypatch.setattr(
        "analysis.report.draw_curves", lambda curves, metric, title, *_, **__: drawn.append(title) or Figure()
    )
    for run in range(2):
        store(tmp_path / "runs", run, "random", run, [0.5, 0.6, 0.7], task=task, initial=initial, info=info)
    said = Page(reported(tmp_path / "runs")).text
    assert ("An oracle's start: the first labels of all runs were chosen by the true classes" in said) == told
    assert ("oracle's start" in drawn[0]) == told
