"""A process that is killed while it makes a round: the same command makes the same list, and nothing twice."""

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest

from data import files
from data.files import DiskFull
from data.names import InProgress
from experiments import listing, suggesting, turning
from experiments.rounds import place
from tests.experiments.moments import Killed, stop_at
from tests.experiments.rounds.annotator import Annotator
from tests.small_disk import no_blocks, small_disk

SOME = (1, 4, 7, 10, 13)  # moments of the default suite
WATCHED = ((suggesting, "train"), (suggesting, "measure"), (suggesting, "ask"), (suggesting, "save_weights"))


@pytest.fixture
def prepared(tmp_path):
    """A person who answered the first list, the folder of that study, and what an unbroken round makes of it."""
    person, out = Annotator("classify", tmp_path / "own", n=10), tmp_path / "out"
    person.suggest(out=str(out), export="csv")
    person.answer(out, 0)
    shutil.copytree(out, tmp_path / "before")
    person.suggest(out=str(out), export="csv")
    return person, out, tmp_path / "before", made(person, out)


def made(person, out):
    state = person.state(out)
    rows = [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_share"))} for row in state["curve"]]
    kept = {name: state[name] for name in ("round", "asked", "picks", "labels", "stop", "recorded")}
    return json.dumps([kept, rows, person.rows(out, 1)])


def killed_at(moment, prepared, monkeypatch):
    """Whether a round was killed at a moment; the next call must end with what an unbroken round makes."""
    person, out, before, whole = prepared
    shutil.rmtree(out)
    shutil.copytree(before, out)
    with monkeypatch.context() as patch:
        passed = stop_at(patch, moment, *WATCHED)
        with suppress(Killed):
            person.suggest(out=str(out), export="csv")
    person.suggest(out=str(out), export="csv")
    assert made(person, out) == whole, f"killed at {passed[-1]}"
    assert sorted(each.name for each in out.glob("*round*")) == ["round_000", "round_001"]
    return len(passed) >= moment


@pytest.mark.parametrize("moment", SOME)
def test_a_round_that_is_killed_is_made_again(moment, prepared, monkeypatch):
    assert killed_at(moment, prepared, monkeypatch)


@pytest.mark.processes
def test_a_round_that_is_killed_at_any_moment_is_made_again(prepared, monkeypatch):
    moment = next(m for m in range(1, 1000) if not killed_at(m, prepared, monkeypatch))
    assert moment > max(SOME)


ROOM = {
    "writing the list": (listing, "seen"),
    "writing the advice": (listing, "save_advice"),
    "its state": (files, "to_disk"),
}


@pytest.mark.parametrize("moment", ROOM)
def test_a_disk_that_is_full_is_one_sentence_and_the_round_goes_on(moment, prepared, tmp_path, monkeypatch):
    person, _, before, whole = prepared
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        out = disk / "out"
        shutil.copytree(before, out)
        module, name = ROOM[moment]
        real = getattr(module, name)

        def filled(*given):
            no_blocks(disk)
            return real(*given)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, filled)
            with pytest.raises(DiskFull, match="the disk is full while saving .*start the same command again"):
                person.suggest(out=str(out), export="csv")
        (disk / "filler").unlink()
        person.suggest(out=str(out), export="csv")
        assert made(person, out) == whole


def test_two_calls_at_once_are_one_and_a_sentence(prepared):
    person, out, _, _ = prepared
    with (
        place.checkpoint_of("classify", person.options(out=str(out), dataset_title="own")).lock(),
        pytest.raises(InProgress, match=r"already in progress \(process \d+ on .*\); stop that process"),
    ):
        person.suggest(out=str(out), export="csv")


def test_an_unfinished_training_of_other_labels_is_dropped(prepared, monkeypatch):
    person, out, before, _ = prepared
    shutil.rmtree(out)
    shutil.copytree(before, out)
    with monkeypatch.context() as patch:
        patch.setattr(suggesting, "measure", _killed)
        with pytest.raises(Killed):
            person.suggest(out=str(out), save_every=0.0)
    assert (out / "training.pt").is_file()
    table = person.root / "labels.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("".join(f"{name},{'a' if c in 'bc' else c}\n" for name, c in rows))
    person.suggest(out=str(out))
    resumed = person.state(out)["curve"][0]["train_loss"]
    again = out.with_name("again")
    shutil.copytree(before, again)
    person.suggest(out=str(again))
    assert np.isclose(resumed, person.state(again)["curve"][0]["train_loss"], rtol=0, atol=0)


def test_a_round_that_is_killed_while_its_list_is_sent_is_recorded(prepared, monkeypatch):
    """As complete, before anything is sent: the same command trains nothing again, and makes no second record."""
    person, out, before, whole = prepared
    shutil.rmtree(out)
    shutil.copytree(before, out)
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(turning, "_asked_for", _killed)
        person.suggest(out=str(out), export="csv")
    monkeypatch.setattr(suggesting, "train", _killed)
    assert made(person, out) == whole
    assert person.suggest(out=str(out), export="csv") is None and made(person, out) == whole


def _killed(*args):
    raise Killed
