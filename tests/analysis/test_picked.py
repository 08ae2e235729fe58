"""The classes of what the strategies picked, where the dataset lies here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.picked import balance, class_weights, dataset_of
from analysis.provenance import documents
from analysis.runs import load_picks
from data.phantoms.glands import glands
from tests.analysis.pages import Page
from tests.analysis.stored_runs import store


@pytest.fixture
def phantom_study(tmp_path):
    """Runs on the built-in glands, whose images are there."""
    runs, images = tmp_path / "runs", glands(12, 4)
    for i, name in enumerate(["random", "bald"]):
        picks = [
            ("initial", 0, images.names[0]),
            (0, 1 + i, images.names[1 + i]),
            (0, 3, images.names[3]),
            (1, 5, images.names[5]),
        ]
        store(
            runs,
            i,
            name,
            0,
            [0.5, 0.6, 0.7 + i / 10],
            (1, 3, 4),
            dataset="phantom",
            phantom_pool=12,
            phantom_test=4,
            picks=picks,
        )
    return runs, images


def test_classes_of_the_picks(phantom_study, reported):
    runs, images = phantom_study
    picks = load_picks(runs)
    weights, classes = class_weights(images)
    counts = balance(picks, weights)
    expected = [np.bincount(images.groups[rows], minlength=2).tolist() for rows in ([2, 3], [5])]
    assert counts["bald"].tolist() == expected and classes == ["group 0", "group 1"]
    found = Page(reported(runs, "--metric", "dice"))
    share = weights[images.parts == "train"].sum(0)[0] / 12
    assert "picked by" in found.text and f"{share:.1%}" in found.text
    assert len(found.pictures()) == 3  # curves, classes, times: one run has no ranks
    assert (
        "Ranks need two strategies that share two runs" in found.text
        and "needs two common runs of every pair" in found.text
    )


def test_classes_of_a_cut_record_are_not_shown(phantom_study, reported):
    runs, _ = phantom_study
    record = runs / "1" / "picks.csv"
    record.write_text("\n".join(record.read_text().splitlines()[:3]))
    assert (
        "The classes of the picks are not shown: run 1 has 4 labels, but a record of 2 picks."
        in Page(reported(runs)).text
    )


def test_one_class_alone_is_said(phantom_study, reported, monkeypatch):
    monkeypatch.setattr("analysis.gathered.class_balance", lambda records, frame: None)
    said = Page(reported(phantom_study[0])).text
    assert "There is one class alone, or nothing was picked" in said and "see the last lines" not in said


def test_classes_of_another_dataset_are_not_shown(phantom_study):
    runs, _ = phantom_study
    picks = load_picks(runs).assign(file="other.png")
    with pytest.raises(ValueError, match="the dataset 'phantom' that lies here is not the one"):
        dataset_of("segment", documents(runs)[0]["config"], picks)


def test_a_run_of_whole_volumes_that_left_labels_unspent_has_its_picks_shown(phantom_study, reported):
    """It was given 2, 6 and 10 labels, spent 1, 3 and 4, and has a record of 4 picks."""
    runs, _ = phantom_study
    for number in "01":
        file = runs / number / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"unit": "volume", "n_initial": 2}))
    text = Page(reported(runs, "--metric", "dice")).text
    assert "picked by" in text and "are not shown" not in text
