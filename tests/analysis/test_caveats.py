"""Each sentence appears where it is true, and not elsewhere; runs are stored as the scripts leave them."""

from __future__ import annotations

import json

import pytest

from analysis.caveats import caveats
from analysis.curves import curves_of
from analysis.provenance import documents, same_recipe
from analysis.runs import load
from analysis.study import Yardsticks
from tests.analysis.stored_runs import store


@pytest.fixture
def study(tmp_path):
    """Sentences about paired runs of two strategies; `options` of a strategy and run, `left_out` runs that are
    missing."""

    def sentences(options=lambda name, run: {}, n_runs=6, left_out=(), validation=None, **yard):
        number = 0
        for name, end in (("bald", 0.8), ("random", 0.7)):
            for run in range(n_runs):
                number += 1
                if (name, run) not in left_out:
                    folder = store(
                        tmp_path,
                        number,
                        name,
                        run,
                        [0.5 + run / 100, end, end],
                        **{"steps": 2000, **options(name, run)},
                    )
                    if validation is not None:
                        _add_metric(folder, "n_validation", validation(name))
        frame = load(tmp_path)
        return " ".join(caveats(frame, curves_of(frame, "dice"), documents(tmp_path), Yardsticks(**yard), True))

    return sentences


def _add_metric(folder, name, value):
    file = folder / "metrics.json"
    metrics = json.loads(file.read_text())
    file.write_text(json.dumps(metrics | {name: {**metrics["dice"], "values": [value] * 3}}))


def test_alike_runs_differ_in_nothing(study):
    said = study(
        lambda name, run: {"results_dir": f"{name}{run}", "heuristic_options": {"k": 5} if name == "bald" else {}}
    )
    assert "differ" not in said and "validation" not in said and "Too few runs" not in said
    assert "No completed run of supervised" in said and "too narrow" not in said


def test_options_in_which_runs_differ_are_named(study):
    said = study(
        lambda name, run: {
            "lr": 0.1 if run < 3 else 0.001,
            "start": "warm" if name == "bald" else "cold",
            "metric": "dice",
        }
    )
    assert (
        "Runs differ in lr (0.1 or 0.001), start (warm or cold): "
        "a difference may come from that and not from the strategy." in said
    )


def test_options_of_a_strategy_count_within_it(study):
    said = study(
        lambda name, run: {
            "mc_samples": 20 if name == "bald" else 5,
            "aggregate": "mean" if run or name == "random" else "max",
        }
    )
    assert "Runs differ in aggregate (max or mean):" in said


def test_many_values_are_counted_and_records_without_an_option_left_alone(study):
    said = study(lambda name, run: {"split_seed": run} | ({"clip": 0.0} if run else {}))
    assert "Runs differ in split_seed (6 values):" in said


@pytest.mark.parametrize(
    ("validation", "sentence"),
    [
        (lambda name: 50, "The curves do not count 50 validation labels, which must be paid for too."),
        (lambda name: 50 * (name == "bald"), "validation labels, 0 to 50 a run: equal budgets did not cost the same."),
        (lambda name: 0, ""),
    ],
)
def test_validation_labels_are_told(study, validation, sentence):
    said = study(validation=validation)
    assert sentence in said and ("validation" in said) == bool(sentence)


def test_missing_runs_make_tables_unequal(study):
    said = study(left_out=[("bald", 0), ("bald", 3)])
    assert (
        "bald lacks run 0, 3: tables of means rest on unequal runs, pairs and ranks on the runs that all compared have."
        in said
    )
    assert "random lacks" not in said


def test_the_least_claim_takes_six_runs(study):
    assert "Too few runs for a claim, which takes at least 6: random (5)." in study(left_out=[("random", 5)])


def test_all_labels_with_the_same_training(study):
    said = study(full=0.75, full_runs=1)
    assert "bald did no worse than all labels with the same training (0.750, 1 run):" in said
    assert "with this training more labels may bring nothing." in said
    assert "random did no worse" not in said


def test_all_labels_with_the_training_of_some_runs(study):
    said = study(lambda name, run: {"steps": 2000 if name == "random" else 9000}, full=0.75)
    assert "same training" not in said and "has the training of some of these runs only" in said


def test_number_of_runs_with_all_labels_may_be_unknown(study):
    assert "the same training (0.750): with" in study(full=0.75)


def test_one_whole_recipe_is_matched():
    runs = [
        {"lr": 0.1, "steps": 200, "run": 0, "heuristic": "bald"},
        {"lr": 0.01, "steps": 900, "run": 1, "n_query": 4},
    ]
    assert same_recipe({"lr": 0.01, "steps": 900, "run": 7, "heuristic": "random", "data_root": "there"}, runs)
    assert not same_recipe({"lr": 0.1, "steps": 900}, runs)  # each value is there, but not together
    assert not same_recipe({"lr": 0.1}, runs) and not same_recipe({"lr": 0.1, "steps": 200, "clip": 1.0}, runs)
