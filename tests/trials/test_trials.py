"""A few of the hard trials, in seconds; `python -m tests.trials` has all of them."""

import random
import time

import pytest

from tests.trials import inputs, kills
from tests.trials.bad_values import FINE, REFUSED, Input
from tests.trials.judging import wrong_with
from tests.trials.modes import MODES
from tests.trials.scripts import Place
from tests.trials.tally import Tally

FEW = 40
SEED = 3


def test_some_bad_inputs_are_one_sentence_each(tmp_path):
    """Those that no data need be read for."""
    inputs.prepare(tmp_path / "place")
    every = inputs.inputs(tmp_path / "place")
    quick = [
        pair for pair in every if pair[1].expected == REFUSED and pair[1].command == "main" and pair[1].kind in QUICK
    ]
    assert len(every) > 300 and len({given.option for _, given in every}) > 100
    for number in inputs.drawn(quick, SEED, FEW):
        script, given = quick[number]
        code, said, wrong, seconds = inputs.in_process(script, inputs.words_of(script, given), tmp_path / "place")
        assert not wrong_with(given, code, said, wrong, seconds), given


QUICK = {
    "word",
    "empty",
    "nan",
    "nothing",
    "below",
    "above",
    "letter lost",
    "very long",
    "control",
    "name: upper case",
    "nested dictionary",
    "twice",
}


@pytest.mark.parametrize(
    ("expected", "code", "errors", "why"),
    [
        (REFUSED, 1, "Refused: lr='x' must be a number, like 0.002\n", ""),
        (REFUSED, 0, "", "taken"),
        (REFUSED, 1, "Traceback (most recent call last):\n", "traceback"),
        (REFUSED, 1, "Refused: lr='x' must be a number\nRefused: once more\n", "2 sentences"),
        (REFUSED, 1, "Refused: something must be another\n", "names neither"),
        (REFUSED, 1, "Refused: lr='x' is wrong\n", "does not say what was expected"),
        (REFUSED, 1, "Refused: lr must be a number" + "x " * 2000 + "\n", "characters"),
        (FINE, 1, "Refused: lr='x' must be a number\n", "is valid"),
        (FINE, 0, "", ""),
    ],
)
def test_what_is_wrong_with_a_sentence(expected, code, errors, why):
    found = wrong_with(Input("lr", "word", ("lr=x",), expected), code, "", errors, 0.1)
    assert why in found and bool(why) == bool(found)


def test_a_tally_names_what_repeats_a_failure():
    tally = Tally("kills", 7)
    tally.add(0, "classify", kills=2)
    tally.add(1, "classify", "curve differs", kills=1)
    assert (
        "| classify | 2 | 1 | 1 | 3 |" in tally.table()
        and "python -m tests.trials kills --seed 7 --only 1" in tally.table()
    )


@pytest.mark.processes
def test_a_grid_that_is_killed_while_it_checks_its_lines_leaves_no_process(tmp_path):
    place = Place(tmp_path / "place")
    place.folder.mkdir()
    grid = place.start(("grid.py", "classify", "with", "tiny", "run=0..3"))
    while "spawn_main" not in " ".join(place.alive()) and grid.process.poll() is None:
        time.sleep(0.05)
    grid.kill(whole=False)
    assert place.orphans(within=60) == []


@pytest.mark.processes
@pytest.mark.trials
@pytest.mark.parametrize("name", ["classify", "classify predict"])
def test_killed_at_random_moments(name, tmp_path):
    made = kills.reference_of(next(mode for mode in MODES if mode.name == name), tmp_path)
    for number in range(3):
        why, counts = kills.tried(made, random.Random(number))
        assert not why and counts["kills"] <= 9
