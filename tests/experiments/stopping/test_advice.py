"""The sentence, the record and the verdict, from one round to many, and the picture."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest

from experiments.pictures.advice import save_advice
from experiments.pictures.canvas import BLUE, VERMILION
from experiments.stopping.advice import ENOUGH, MORE, advise, record, sentence
from experiments.stopping.outlook import TOLD, Outlook
from experiments.stopping.rules import Rounds
from experiments.stopping.sample import CANNOT_TELL, NOT_REACHED, REACHED, Interval
from tests.experiments.pictures.reading import pixels, texts

N = np.arange(20.0, 161.0, 20.0)


def rounds(t=8, agreement=0.93, **more):
    made = Rounds(
        N,
        0.9 - 1.2 * N**-0.7 + np.random.default_rng(0).normal(0, 0.004, 8),
        np.array([nan, *[agreement] * 7]),
        np.array([nan, *[0.05] * 7]),
        np.linspace(0.4, 0.1, 8),
        n_query=20,
        n_test=25,
        **more,
    )
    return made.until(t)


def told(made, **more):
    return advise(made, "dice", np.random.default_rng(0), **more)


def test_the_sentence_of_the_readme():
    made = told(rounds(), sample=Interval(0.868, 0.82, 0.91), target=0.9)
    expected = Outlook(
        TOLD, gain=Interval(0.01, 0.0, 0.021), more_labels=Interval(60.0, 30.0, inf), fits=made.expected.fits
    )
    said = sentence(replace(made, expected=expected, rounds=rounds(4)))
    assert said == (
        "Round 4, 80 labelled: dice 0.87 (0.82 to 0.91) on 25 test images; the last two models agree to 0.93; "
        "20 more labels are expected to bring 0 to 0.02. A target of 0.90 cannot be ruled out; "
        "by the curves it takes at least 30 more labels, if it is ever reached."
    )


def test_the_first_round_says_what_is_known():
    made = told(rounds(1))
    assert sentence(made) == (
        f"Round 1, 20 labelled: dice {made.sample.value:.2f} on 25 test images; "
        "what 20 more labels bring cannot be told (1 of the 4 rounds that a curve needs)."
    )
    assert made.verdict == CANNOT_TELL and record(made)["agreement"] is None


def test_models_that_find_nothing_do_not_agree():
    assert "the last two models found nothing that could agree" in sentence(told(rounds(3, agreement=nan)))


def test_a_loss_gets_lower_and_a_distance_has_a_unit():
    made = Rounds(N, 60 * N**-0.4, *[np.full(8, nan)] * 3, n_query=20, more_is_better=False)
    said = sentence(advise(made, "hd95", np.random.default_rng(0), Interval(8.0, 6.5, 9.25), 5.0))
    assert "hd95 8 px (6.5 to 9.25); " in said and "are expected to lower it by 0." in said and " px. " in said
    assert "The target of 5 px is not reached" in said


@pytest.mark.parametrize(
    ("sample", "target", "reached", "verdict"),
    [
        (Interval(0.87, 0.85, 0.89), 0.84, REACHED, ENOUGH),
        (Interval(0.87, 0.85, 0.89), 0.88, CANNOT_TELL, CANNOT_TELL),
        (Interval(0.87, 0.85, 0.89), 0.99, NOT_REACHED, CANNOT_TELL),  # and no curve comes to it
        (None, 0.5, CANNOT_TELL, CANNOT_TELL),  # no interval, no judgement
    ],
)
def test_a_target_is_judged_by_the_interval(sample, target, reached, verdict):
    made = told(rounds(), sample=sample, target=target)
    assert (made.at_target, made.verdict) == (reached, verdict)
    assert record(made)["target"]["verdict"] == reached


def test_without_a_target_agreement_and_curves_must_both_say_enough():
    assert told(rounds(agreement=0.995)).verdict == ENOUGH
    assert told(rounds(agreement=0.9)).verdict == CANNOT_TELL
    assert told(rounds(3, agreement=0.995)).verdict == CANNOT_TELL
    steep = replace(rounds(agreement=0.995), values=np.linspace(0.2, 0.6, 8))
    assert told(steep).verdict == MORE


def test_a_strategy_is_warned_of():
    made = told(rounds(), heuristic="bald")
    assert "Picks by bald bend the curve" in sentence(made) and len(record(made)["warnings"]) == 1
    assert not told(rounds(), heuristic="random").warnings and not told(rounds(2), heuristic="bald").warnings


def test_the_record_is_json_without_holes():
    made = told(rounds(), sample=Interval(0.87, 0.82, 0.91), target=0.99)
    found = json.loads(json.dumps(record(made), allow_nan=False))
    assert found["sentence"] == sentence(made) and found["sample"] == {"value": 0.87, "low": 0.82, "high": 0.91}
    assert (found["round"], found["n_labelled"], found["n_test"], found["agreement"]) == (8, 160, 25, 0.93)
    assert found["next"]["gain"]["low"] <= found["next"]["gain"]["high"] and found["next"]["by_family"]
    assert found["target"]["more_labels"]["high"] is None and found["target"]["beyond_horizon"]["high"] is True
    json.dumps(record(told(rounds(1))), allow_nan=False)


def test_the_picture_shows_curve_fan_and_agreement(tmp_path, saved):
    made = told(rounds(), sample=Interval(0.868, 0.82, 0.91), target=0.88)
    path = save_advice(tmp_path / "new" / "advice.png", made, "glas, bald, run 0")
    curve, below = saved[0].axes
    assert curve.lines[2].get_xdata().tolist() == N.tolist() and [0.82, 0.91] in [
        list(x.get_ydata()) for x in curve.lines
    ]
    assert "target 0.880" in texts(saved[0]) and "glas, bald, run 0" in texts(saved[0])
    assert " ".join(texts(saved[0]).split()).count("expected to bring") == 1
    assert isnan(below.lines[0].get_ydata()[0]) and below.lines[0].get_ydata()[1] == 0.93
    assert pixels(path, BLUE) > 500 and pixels(path, VERMILION) > 50


def test_the_picture_of_one_round_without_a_stop_set(tmp_path, saved):
    alone = Rounds(*[np.array([x]) for x in (20.0, 0.5, nan, nan, nan)], n_query=20)
    path = save_advice(tmp_path / "advice.pdf", told(alone), "one")
    assert path.stat().st_size > 1000 and len(saved[0].axes) == 1
