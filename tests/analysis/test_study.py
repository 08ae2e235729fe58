"""What may be compared: runs that differ in nothing but the strategy and the run."""

from __future__ import annotations

import pytest

from analysis.runs import load
from analysis.study import only_study, without
from tests.analysis.stored_runs import store

TWO = (4, 8)


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "resume").mkdir()
    for number, (heuristic, run) in enumerate([("random", 0), ("random", 1), ("bald", 0), ("bald", 1)], 1):
        store(tmp_path, number, heuristic, run, [0.5, 0.7], TWO, mc_samples=10, aggregate="mean", n_val=0)
    return tmp_path


def test_strategies_may_choose_in_their_own_ways_elsewhere_with_other_seeds(runs):
    store(
        runs, 5, "entropy", 0, [0.5, 0.7], TWO, mc_samples=3, aggregate="max", n_val=0, seed=77, workers=4, device="cpu"
    )
    assert sorted(set(only_study(load(runs))["heuristic"])) == ["bald", "entropy", "random"]


def test_one_strategy_has_one_way_to_choose(runs):
    store(runs, 5, "bald", 2, [0.5, 0.7], TWO, mc_samples=10, aggregate="max", n_val=0)
    with pytest.raises(
        ValueError, match=r"the runs of bald mix values of aggregate: mean \(runs 3, 4\); max \(runs 5\). Choose"
    ):
        only_study(load(runs))
    assert set(only_study(load(runs, aggregate="mean"))["run_id"]) == {1, 2, 3, 4}
    assert set(only_study(load(runs), by=["aggregate"])["heuristic"]) == {
        "random, aggregate=mean", "bald, aggregate=mean", "bald, aggregate=max"
    }  # fmt: skip


@pytest.mark.parametrize("options", [{"n_val": 50}, {"lr": 0.1}, {"dataset_options": {"growth": 1}}])
def test_all_strategies_have_one_recipe(runs, options):
    usual = {"mc_samples": 10, "aggregate": "mean", "n_val": 0, "lr": 0.01}
    store(runs, 10, "entropy", 0, [0.5, 0.7], TWO, **usual | options)
    store(runs, 11, "margin", 0, [0.5, 0.7], TWO, **usual)
    option = next(iter(options))
    if option == "dataset_options":  # which the others were made before
        assert len(only_study(load(runs))) == len(load(runs))
        store(runs, 12, "margin", 1, [0.5, 0.7], TWO, **usual, dataset_options={"growth": 2})
    with pytest.raises(ValueError, match=f"mix values of {option}"):
        only_study(load(runs))


def test_what_changes_nothing_in_a_run_is_not_held_against_it(runs, tmp_path):
    heads, networks = {"train": "head", "features": "auto", "head_hidden": 0, "feature_views": 0}, {"train": "network"}
    for number, (run, options) in enumerate([(0, heads), (1, heads), (0, networks), (1, networks)], 1):
        store(tmp_path / "two", number, "random", run, [0.5, 0.7], TWO, **options, lr=0.1 if options is heads else 0.01)
    frame = load(tmp_path / "two")
    assert len(set(only_study(frame, by=["train"])["heuristic"])) == 2
    with pytest.raises(ValueError, match="mix values of train"):
        only_study(frame)
    store(tmp_path / "two", 5, "random", 2, [0.5, 0.7], TWO, **networks, lr=0.1)
    with pytest.raises(ValueError, match="mix values of lr: 0.01.*; 0.1"):
        only_study(load(tmp_path / "two"), by=["train"])


def test_a_neutral_value_is_a_value(runs, tmp_path):
    for number, arm in enumerate(("none", "fixmatch"), 1):
        store(tmp_path / "arms", number, "random", number, [0.5, 0.7], TWO, unlabelled=arm, mu=3)
    with pytest.raises(ValueError, match="mix values of unlabelled"):
        only_study(load(tmp_path / "arms"))


def own(runs, number, place, **options):
    folder = store(runs, number, "random", number, [0.5, 0.7], TWO, dataset="folder", **options)
    config = folder / "config.json"
    config.write_text(config.read_text().replace(str(runs / "no_data"), place))


def test_folders_of_ones_own_are_datasets_of_their_own(runs):
    for number, place in enumerate(("hospital_a", "hospital_b"), 50):
        own(runs, number, f"/data/{place}")
    with pytest.raises(ValueError, match=r"several datasets \(hospital_a, hospital_b\): choose one with --dataset"):
        only_study(load(runs, dataset="folder"))
    assert set(only_study(load(runs, dataset="hospital_b"))["run_id"]) == {51}
    assert set(only_study(load(runs, dataset="folder", data_root="/data/hospital_a"))["dataset"]) == {"hospital_a"}


def test_folders_of_one_name_are_told_apart_by_their_place(runs):
    for number, place in enumerate(("a", "b"), 50):
        own(runs, number, f"/data/{place}/images")
    with pytest.raises(ValueError, match="mix values of data_root: /data/a/images .*; /data/b/images"):
        only_study(load(runs, dataset="images"))


def test_a_title_names_ones_own_data(runs):
    own(runs, 50, "/data/a", dataset_title="lungs")
    own(runs, 51, "")
    assert set(load(runs, dataset="lungs")["run_id"]) == {50}
    assert set(load(runs, dataset="folder")["dataset"]) == {"lungs", "folder"}


def test_runs_without_the_metric_are_named(runs):
    metrics = runs / "3" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"dice"', '"slice"'))
    assert without(load(runs), "dice") == [3]
