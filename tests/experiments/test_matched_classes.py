"""A saved model knows the names of its classes: another folder is matched by name, whatever its order, or refused."""

import json

import pytest
import torch

from data.names import Refused
from experiments.learning.weights import classes_of
from models.weights import read_state
from tests.experiments.runs import run_in_process
from tests.experiments.small_sets import PRESET, SCRIPTS, options_of

ORDERS = {
    "classify": (("a", "b", "c"), ("c", "a", "b"), ("a", "b", "d")),
    "segment": (("background", "x", "y"), ("background", "y", "x"), ("background", "x", "z")),
    "detect": (("x", "y"), ("y", "x"), ("x", "other")),
}


@pytest.fixture(params=ORDERS)
def trained(request, tmp_path):
    """task, options, the file of its model, and evaluate: options -> (what was measured on test, what was printed)."""
    task = request.param
    options = options_of(task, tmp_path / "mine", ORDERS[task][0])
    folder = run_in_process(SCRIPTS[task], "main", (PRESET[task],), **options)
    return task, options, next((folder.parent / "resume").rglob("model-0.pt"))


def measured(task, file, **options):
    """Every number of the test set but seconds, by its name."""
    folder = run_in_process(SCRIPTS[task], "evaluate", (PRESET[task],), **options, checkpoint=str(file))
    return {name: column["values"][0] for name, column in json.loads((folder / "metrics.json").read_text()).items()}


def test_classes_are_matched_by_name(trained, tmp_path, capsys):
    task, options, file = trained
    assert classes_of(file) == ORDERS[task][0] and read_state(file, ["random"])
    expected = measured(task, file, **options)
    assert "matched by name" not in capsys.readouterr().out
    theirs = options_of(task, tmp_path / "theirs", ORDERS[task][1])
    found = measured(task, file, **theirs)
    assert found == pytest.approx(expected, nan_ok=True) and len(expected) > 3
    assert "Classes are matched by name" in capsys.readouterr().out


def test_other_classes_are_refused_with_both_lists(trained, tmp_path):
    task, _, file = trained
    if task == "classify":
        theirs = options_of(task, tmp_path / "theirs", ORDERS[task][2])
    elif task == "segment":
        theirs = options_of(task, tmp_path / "theirs", ORDERS[task][0])
        theirs["dataset_options"]["class_names"] = list(ORDERS[task][2])
    else:
        theirs = options_of(task, tmp_path / "theirs", ORDERS[task][0])
        for table in (tmp_path / "theirs").rglob("*.json"):
            table.write_text(table.read_text().replace('"name": "y"', '"name": "other"'))
    ours, others = (", ".join(ORDERS[task][k]) for k in (0, 2))
    with pytest.raises(Refused, match=rf"trained on other classes: .*\({others}\).*\({ours}\)"):
        SCRIPTS[task].run("evaluate", (PRESET[task],), **theirs, checkpoint=str(file))


def test_an_older_file_is_taken_in_its_order_and_that_is_said(trained, capsys):
    task, options, file = trained
    expected = measured(task, file, **options)
    torch.save(torch.load(file, weights_only=True)["state_dict"], file)
    assert classes_of(file) == () and read_state(file, ["random"])
    capsys.readouterr()
    assert measured(task, file, **options) == pytest.approx(expected, nan_ok=True)
    assert f"does not say which classes it was trained on: they are taken to be {', '.join(ORDERS[task][0])}" in (
        capsys.readouterr().out
    )
