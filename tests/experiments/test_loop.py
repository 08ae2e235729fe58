"""The loop with someone who answers later: it returns, and the same call goes on."""

import numpy as np
import pytest

from experiments import loop, simulation
from experiments.learning import training
from experiments.segment import SCRIPT
from experiments.simulation import Begun, simulate
from experiments.tracking.checkpoints import Checkpoint
from experiments.tracking.deliver import deliver
from tests.experiments.runs import curve_of, picks_of

OPTIONS = ["tiny", "dataset_options.n_pool=10", "dataset_options.n_test=2", "steps=2", "mc_samples=2", "heuristic=bald"]
OPTIONS += ["scale=0.25", "crop=32", "precision=float32"]


@pytest.fixture
def go_on(tmp_path):
    """Start or continue one run, as the same command does."""

    def started(name):
        options = SCRIPT.values(OPTIONS)
        heuristic, definition, splits = SCRIPT.check(options), SCRIPT.definition(), SCRIPT.load_splits(options)
        checkpoint, rows = Checkpoint(tmp_path, name), []
        begun = Begun(options, heuristic, checkpoint, checkpoint.load(), "code")
        state, trivial = simulate(begun, definition, splits, rows.append)
        assert rows == state.curve, "every row is recorded, also those of cycles that were finished before"
        if state.cycle == 3:
            deliver(state, splits, tmp_path / name, "a title", "dice", {})
            return state, (curve_of(tmp_path / name), picks_of(tmp_path / name))
        return state, None

    return started


class Later:
    """Answers each question when it is asked for the second time, with all of it or as much as `part` says."""

    def __init__(self, part=None):
        self.asked, self.part = [], part

    def of(self, chosen):
        self.asked.append(chosen.tolist())
        return chosen[: self.part] if self.asked.count(chosen.tolist()) > 1 else None


def test_a_question_without_an_answer_ends_the_call_and_is_asked_again(go_on, monkeypatch):
    _, whole = go_on("whole")
    later, steps, real = Later(), [], training.autocast
    monkeypatch.setattr(simulation, "FromDataset", lambda: later)
    monkeypatch.setattr(training, "autocast", lambda *given: (steps.append(1), real(*given))[1])
    cycles, trained = [], []
    while True:
        state, result = go_on("asked")
        cycles.append(state.cycle)
        trained.append(len(steps))
        if result:
            break
    assert cycles == [0, 1, 3] and result == whole
    assert trained == [2, 4, 6], "a model that waits for an answer is not trained again"
    assert later.asked[0] == later.asked[1] and later.asked[2] == later.asked[3] and len(later.asked) == 4


def test_whoever_answers_part_of_a_question_has_labelled_that_part(go_on, monkeypatch):
    later = Later(part=2)
    monkeypatch.setattr(simulation, "FromDataset", lambda: later)
    for _ in range(3):
        state, result = go_on("asked")
    assert result[0]["n_labelled"] == [4, 6, 8] and [len(scores) for scores in state.scores] == [2, 2]
    assert [picks.tolist() for picks in state.picks] == [later.asked[0][:2], later.asked[2][:2]]
    assert np.count_nonzero(state.labelled_map) == 8


def test_progress_goes_from_0_to_1(go_on, monkeypatch):
    seen, real = [], loop.query
    monkeypatch.setattr(loop, "query", lambda *given: (seen.append(given[-1]), real(*given))[1])
    monkeypatch.setitem(globals(), "OPTIONS", [*OPTIONS, "n_cycles=3", "n_query=2"])
    go_on("three")
    assert seen == [0, 0.5, 1]
