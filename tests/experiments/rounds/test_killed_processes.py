"""Real processes of `suggest` that are killed by SIGKILL: the same command makes the same list, and sends nothing twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.experiments.rounds.annotator import Annotator
from tests.experiments.rounds.between import AFTER, BEFORE, between
from tests.experiments.rounds.test_label_studio_rounds import Drawing
from tests.experiments.runs import ROOT, command_line

pytestmark = pytest.mark.processes

PATIENCE = 300  # s until a process has come to a moment
MOMENTS = {  # owner and name of a function, and the number of its call at which the process halts
    "reading": ("data.formats.pictures:Reader", "read", 5),
    "having read": ("data.cache", "write_sealed", 1),
    "training": ("experiments.learning.training", "_take_step", 2),
    "having trained": ("experiments.suggesting", "measure", 1),
    "choosing": ("experiments.suggesting", "ask", 1),
    "saving the model": ("experiments.learning.weights:torch", "save", 1),
    "having saved it": ("experiments.suggesting", "keep", 1),
    "having chosen": ("experiments.turning", "write_list", 1),
    "writing the list": ("experiments.listing", "seen", 2),
    "writing the advice": ("experiments.listing", "save_advice", 1),
    "recording": ("experiments.turning", "save", 1),
}
FIRST = {  # the same before the first list
    "reading": ("data.formats.pictures:Reader", "read", 5),
    "asking": ("experiments.suggesting", "keep", 1),
    "writing the list": ("experiments.listing", "seen", 2),
}
CASES = [("classify", "round", name) for name in MOMENTS] + [("classify", "first", name) for name in FIRST]
CASES += [(task, "round", name) for task in ("segment", "detect") for name in ("training", "writing the list")]
OFTEN = [("classify", "round", "training"), ("classify", "round", "recording"), ("detect", "round", "writing the list")]


def words_of(person, **options):
    """A call of `suggest` as a person types it."""
    return ["suggest", "with", *(f"{name}={value}" for name, value in person.options(**options).items())]


def script_of(person):
    return ROOT / "experiments" / f"{person.task}.py"


def until(happened, process):
    """Wait for a moment of a process, which must not end before."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.05)


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def whole(out, round_):
    """What a list and its state say, without what differs from run to run."""
    folder, state = out / f"round_{round_:03d}", json.loads((out / "state.json").read_text())
    kept = {name: state[name] for name in ("round", "order", "test", "asked", "picks", "labels", "stop", "recorded")}
    rows = [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_share"))} for row in state["curve"]]
    files = [(folder / name).read_bytes() for name in ("suggestions.csv", "preview.html")]
    return [kept, repr(rows), *files, sorted(file.name for file in folder.iterdir())]


@pytest.mark.parametrize(
    ("task", "step", "moment"),
    [pytest.param(*case, marks=() if case in OFTEN else pytest.mark.trials) for case in CASES],
)
def test_a_killed_process_is_as_if_it_had_not_begun(task, step, moment, tmp_path, monkeypatch):
    person, out, undisturbed = Annotator(task, tmp_path / "own", n=8), tmp_path / "out", tmp_path / "undisturbed"
    round_ = int(step == "round")
    given = {"n_test": 2, "save_every": 0.0, "dataset_title": "mine"}
    if round_:
        person.suggest(out=str(undisturbed), **given)
        person.answer(undisturbed, 0)
        shutil.copytree(undisturbed, out)
    person.suggest(out=str(undisturbed), **given)
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "cache"))  # the process reads the images itself
    words, reached = words_of(person, out=str(out), **given), tmp_path / "reached"
    owner, name, number = (MOMENTS if round_ else FIRST)[moment]
    halting = [sys.executable, "-m", "tests.experiments.rounds.halting", owner, name, str(number), str(reached)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*halting, str(script_of(person)), *words],
        cwd=ROOT,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    )
    until(reached.exists, process)
    kill(process)
    again = command_line(*words, script=script_of(person))
    assert again.returncode == 0, again.err
    assert whole(out, round_) == whole(undisturbed, round_)
    assert sorted(each.name for each in out.glob("*round*")) == [f"round_{n:03d}" for n in range(round_ + 1)]


SENDING = [  # calls at which the process is killed, one after another, before and after the server has done them
    ("POST", "/api/projects/", AFTER),
    ("POST", "/api/storages/localfiles/", AFTER),
    ("POST", "/import", BEFORE),
    ("POST", "/import", AFTER),
]
PULLING = [("GET", "/export", BEFORE), ("GET", "/export", AFTER)]
ROUNDS = [SENDING, [*PULLING, *SENDING[2:], ("PATCH", "/", BEFORE)]]
DONE = [[moment for moment in moments if moment[2] == AFTER] for moments in ROUNDS]  # what would be done twice


@pytest.mark.parametrize("rounds", [DONE, pytest.param(ROUNDS, marks=pytest.mark.trials)], ids=["done", "all"])
def test_a_process_that_is_killed_while_it_pulls_or_sends_sends_nothing_twice(studio, tmp_path, monkeypatch, rounds):
    drawing, writing = Drawing(studio, "segment"), Annotator("segment", tmp_path / "own")
    out, other = tmp_path / "out", tmp_path / "other"
    with between(studio.url) as passing:
        words = words_of(drawing, out=str(out), label_studio=passing.here, n_test=3)
        for round_, moments in enumerate(rounds):
            for moment in moments:
                passing.hold_next(*moment)
                process = command_line(*words, script=script_of(drawing), wait=False)
                until(passing.held.is_set, process)
                kill(process)
            again = command_line(*words, script=script_of(drawing))
            assert again.returncode == 0, again.err
            writing.suggest(out=str(other), n_test=3)
            names = [row["file"] for row in drawing.rows(out, round_)]
            assert names == writing.answer(other, round_)
            project = int(again.out.rpartition("/projects/")[2].split()[0])
            asked = {name: t for name, t in studio.tasks(project).items() if not t["total_annotations"]}
            assert sorted(asked) == sorted(names)  # `tasks` refuses a name that is there twice
            for task in asked.values():
                assert set(Counter(p["model_version"] for p in task["predictions"]).values()) == {1}
            assert drawing.draw(project) == names, "in the order of the list"
        assert passing.done.count(("POST", "/api/projects/")) == 1
        assert drawing.state(out)["round"] == 1 and len(drawing.state(out)["labels"]) == 3
        (run,) = {file.parent.name for file in (tmp_path / "runs").glob("*/run.json") if is_recorded(file, out)}
        assert run == "1", "one round, one record"


def is_recorded(file, out):
    """Whether a record is whole, and of the study in a folder."""
    said = json.loads(file.read_text())
    return said["status"] == "COMPLETED" and json.loads((file.parent / "config.json").read_text())["out"] == str(out)
