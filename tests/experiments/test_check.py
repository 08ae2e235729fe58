"""A run says and records what it read before it trains; `check` tells the same in full and leaves nothing behind."""

import json
import re

import pytest

from data.names import Refused
from experiments import checking
from experiments.tracking.suited import duration
from tests.experiments.runs import curve_of, picks_of, run_in_process
from tests.experiments.small_sets import PRESET, SCRIPTS, options_of

TASKS = tuple(SCRIPTS)


@pytest.mark.parametrize("task", TASKS)
def test_check_tells_what_is_read_and_the_time_and_leaves_nothing_behind(task, tmp_path, capsys):
    options = options_of(task, tmp_path / "mine") | {"n_initial": 3, "n_cycles": 1, "n_val": 1, "val_every": 1}
    SCRIPTS[task].run("check", (PRESET[task],), **options)
    told = capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    n_train = {"classify": 14, "segment": 4, "detect": 4}[task]
    assert f"  pool       {n_train} images; " in told and "  validation 1 image; " in told
    assert "  start      3 images of the pool, labelled first; " in told and "  trivial    " in told
    n_test = {"classify": 15, "segment": 5, "detect": 5}[task]
    assert f"the test part has {n_test} images: its numbers mean little." in told
    steps = {"classify": 6, "segment": 6, "detect": 2}[task]
    timed = rf"A run takes about \d+ \w+ here \(cpu, float32\): 2 trainings of {steps} steps at [\d.e-]+ s, tests of {n_test} images at "
    assert re.search(timed + r"[\d.e-]+ s, validations of 1 images, 1 question about", told), told


@pytest.mark.parametrize("task", TASKS)
def test_a_run_says_and_records_what_it_read_and_check_changes_nothing_of_it(task, tmp_path, capsys):
    options = options_of(task, tmp_path / "mine") | {"n_cycles": 1}
    before = run_in_process(SCRIPTS[task], "main", (PRESET[task],), **options)
    printed = capsys.readouterr()
    assert "What was read: " in printed.out and printed.out.index("What was read: ") < printed.out.index("n_labelled")
    read = json.loads((before / "info.json").read_text())["read"]
    sizes = {part["name"]: part["images"] for part in read["parts"]}
    assert sizes == {"pool": 15, "test": 15} if task == "classify" else sizes == {"pool": 5, "test": 5}
    assert read["counted"]["start"] == 4 and read["trivial"]["metric"] and read["warnings"]
    SCRIPTS[task].run("check", (PRESET[task],), **options)
    after = run_in_process(SCRIPTS[task], "main", (PRESET[task],), **options, resume="fresh")
    assert curve_of(before) == curve_of(after) and picks_of(before) == picks_of(after)
    assert json.loads((after / "info.json").read_text())["read"] == read


@pytest.mark.parametrize("command", ["supervised", "evaluate"])
def test_other_commands_tell_too_evaluate_its_warnings_alone(command, tmp_path, capsys):
    options = options_of("segment", tmp_path / "mine")
    run_in_process(SCRIPTS["segment"], "main", ("folder",), **options)
    capsys.readouterr()
    folder = run_in_process(SCRIPTS["segment"], command, ("folder",), **options)
    told = capsys.readouterr().out
    assert "warning" in told and "the test part has 5 images" in told
    assert ("What was read" in told) == (command == "supervised") and "labelled first" not in told
    assert json.loads((folder / "info.json").read_text())["read"]["images"] == 10


@pytest.mark.parametrize("command", ["main", "check"])
def test_a_test_part_without_a_box_is_refused_before_anything_is_trained(command, tmp_path, capsys, monkeypatch):
    options = options_of("detect", tmp_path / "mine")
    table = tmp_path / "mine/annotations/instances_test.json"
    table.write_text(json.dumps(json.loads(table.read_text()) | {"annotations": []}))
    monkeypatch.setattr("experiments.loop.fit", None)
    with pytest.raises(Refused, match="no image of the test part has a box"):
        SCRIPTS["detect"].run(command, ("coco",), **options)
    if command == "check":
        assert "warning    no image of the test part has a box: nothing can be measured on it." in capsys.readouterr().out


def test_check_tells_what_is_read_also_where_the_budget_is_refused(tmp_path, capsys):
    options = options_of("segment", tmp_path / "mine") | {"n_cycles": 9}
    with pytest.raises(Refused, match="but the pool has 5 images; n_cycles=1 is the most"):
        SCRIPTS["segment"].run("check", ("folder",), **options)
    assert "  pool       5 images; " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["main", "check"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"unit": "volume"}, "n_initial=3: unit=volume pays for whole volumes, .* use n_initial="),
        ({"apart": 2, "dataset": "phantom"}, "apart=2 needs volumes, which dataset 'phantom' does not have"),
    ],
)
def test_check_refuses_what_a_run_would_be_refused_for_its_volumes(command, options, sentence, capsys):
    of_set = {"n_pool": 8, "n_test": 2} if "dataset" in options else {"n_pool": 4, "n_test": 1, "size": 32}
    asked = {"dataset": "heart_phantom", "dataset_options": of_set, "heuristic": "entropy", "n_initial": 3, "n_query": 3}
    with pytest.raises(Refused, match=sentence):
        SCRIPTS["segment"].run(command, (), **asked | {"n_cycles": 1, "steps": 2, "crop": 32} | options)
    assert ("  pool " in capsys.readouterr().out) == (command == "check")


def test_check_times_the_recipe_that_grows_with_the_labels(tmp_path, capsys, monkeypatch):
    """Epochs are more steps with more labels: 4 and 5 images, 3 epochs, 2 repeats, batches of 2."""
    for name, seconds in (("seconds_of_step", 2.0), ("seconds_of_test", 1.0), ("seconds_of_asking", 10.0)):
        monkeypatch.setattr(checking, name, lambda *given, seconds=seconds: seconds)
    options = options_of("segment", tmp_path / "mine") | {"n_cycles": 1, "steps": 0, "epochs": 3, "repeats": 2}
    SCRIPTS["segment"].run("check", ("folder",), **options)
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == (  # 2 x (12 + 15) + 2 x 5 x 1 + 1 x 10
        "A run takes about 74 seconds here (cpu, float32): 2 trainings of 12 to 15 steps at 2 s, tests of 5 images at 1 s, "
        "1 question about 1 images at 10 s."
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (89, "89 seconds"), (91, "2 minutes"), (5300, "88 minutes"), (3 * 3600, "3 hours"), (4e5, "5 days")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_one_time_is_told_a_guess_before_a_run_and_a_measured_one_by_check(tmp_path, capsys):
    options = {"data_root": options_of("segment", tmp_path / "mine")["data_root"], "results_dir": str(tmp_path / "runs")}
    chosen = SCRIPTS["segment"].values(["folder_quick", f"data_root={options['data_root']}"])
    assert "on two cores" in SCRIPTS["segment"].suited(chosen, "main")[1]
    assert "on two cores" not in SCRIPTS["segment"].suited(chosen, "check")[1]
