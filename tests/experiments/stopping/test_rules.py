"""Each rule by hand: when it ends labelling, and that what is unknown never does."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from experiments.stopping.outlook import CANNOT_TELL, TOLD, Outlook
from experiments.stopping.rules import Rounds, at_target, certain, little_gain, rounds_of, stable, unchanged
from experiments.stopping.sample import Interval


def rounds(agreement=(nan,), changed=(nan,), uncertainty=(nan,), values=(0.9,), **more):
    columns = values, agreement, changed, uncertainty
    longest = max(map(len, columns))
    padded = [np.array([*[nan] * (longest - len(column)), *column], dtype=float) for column in columns]
    return Rounds(np.arange(1.0, longest + 1), *padded, 10, **more)


@pytest.mark.parametrize(
    ("agreement", "window", "ends"),
    [
        ([nan, 0.98, 0.991, 1.0], 3, True),  # their mean is 0.9903
        ([nan, 0.97, 0.99, 1.0], 3, False),
        ([nan, 0.97, 0.99, 1.0], 2, True),
        ([nan, 1.0, 1.0], 3, False),  # the first round has no model before it
        ([0.995, 0.995], 3, False),
        ([1.0, nan, 1.0, 1.0], 3, False),
        ([1.0, 1.0, 1.0, 0.9], 3, False),
    ],
)
def test_stable(agreement, window, ends):
    assert stable(rounds(agreement), window) == ends


def test_unchanged():
    assert unchanged(rounds(changed=[nan, 0.2, 0.0, 0.0])) and not unchanged(rounds(changed=[nan, 0.0]))
    assert not unchanged(rounds(changed=[nan, 0.0, 0.01])) and unchanged(rounds(changed=[nan, 0.0, 0.01]), 2, 0.01)


def test_certain():
    assert certain(rounds(uncertainty=[0.01, 0.05])) and not certain(rounds(uncertainty=[0.01, 0.051]))
    assert not certain(rounds(uncertainty=[nan]))


def test_at_target_needs_the_lower_end():
    many, few = rounds(values=[0.9], n_test=1000), rounds(values=[0.9], n_test=20)
    assert at_target(many, 0.87) and not at_target(few, 0.87) and at_target(few, 0.69)
    assert not at_target(rounds(values=[0.9]), 0.1), "nobody knows how many images"
    assert not at_target(rounds(values=[0.9], n_test=1000, more_is_better=False), 0.1), "a loss is no share"


def test_little_gain():
    expected = Outlook(TOLD, gain=Interval(0.004, 0.0, 0.02))
    assert not little_gain(expected, 0.9) and little_gain(expected, 0.9, surely=False)
    assert little_gain(expected, 2.5) and not little_gain(expected, 0.3, surely=False)
    assert not little_gain(Outlook(CANNOT_TELL, gain=Interval(0.0, 0.0, 0.0)), 0.9)
    assert not little_gain(Outlook(TOLD), 0.9)


def test_rounds_are_read_from_the_rows_of_a_run():
    rows = [
        {"n_labelled": 4, "nll": 1.0, "stop_uncertainty": 0.5},
        {"n_labelled": 8, "nll": 0.9, "stop_uncertainty": 0.4, "stop_agreement": 0.7, "stop_changed": 0.2},
    ]
    found = rounds_of(rows, "nll", 4, 25)
    assert found.n_labelled.tolist() == [4, 8] and found.values.tolist() == [1, 0.9] and not found.more_is_better
    assert np.isnan(found.agreement[0]) and found.agreement[1] == 0.7 and found.changed[1] == 0.2
    first = found.until(1)
    assert len(first.values) == len(first.uncertainty) == 1 and (first.n_query, first.n_test) == (4, 25)
