"""What the verdict says, and what it does not say, on tables made by hand and drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparisons import pairwise
from analysis.verdict import verdict
from tests.analysis.test_comparisons import scores


def test_verdict_cannot_decide_with_five_runs():
    said = verdict(scores(5, [0.5, 0.0, 0.0, 0.0]))
    assert said.startswith(
        "Cannot decide: with 5 runs the smallest possible p is 0.062, and the first of 6 comparisons needs 0.0083."
    )
    assert "At least 8 runs are needed." in said and "beats" not in said
    assert "badge stays first whichever run is left out" in said
    assert "the smallest possible p is 0.062, and the comparison needs 0.05. At least 6 runs" in verdict(
        scores(5, [0.5, 0.0])
    )
    assert verdict(scores(1, [0.5, 0.0])).startswith("Cannot decide: with 1 run the smallest possible p is 1,")


def test_verdict_names_winner_and_says_what_was_not_shown():
    said = verdict(scores(10, [0.0, 0.1, 0.0, 0.0]), measure="AUBC of dice")
    for loser in ("badge", "entropy", "random"):
        assert f"bald beats {loser}: +0.1" in said or f"bald beats {loser}: +0.09" in said
    assert "better in 10 of 10 runs, p = 0.012" in said
    assert "No difference was found in the other 3 pairs" in said and "AUBC of dice" in said
    loss = verdict(scores(10, [0.0, 0.1]), higher_is_better=False)
    assert "badge beats bald: -0.1" in loss and "Best mean over 10 runs: badge" in loss


def test_verdict_makes_no_winner_against_the_mean():
    d = np.r_[np.linspace(0.01, 0.02, 11), -1.0]  # better in all runs but one, which collapsed
    table = pd.DataFrame({"a": 0.9 + d, "b": 0.9})
    said = verdict(table)
    assert said.startswith(
        "a is better than b in 11 of 12 runs (p = 0.034), but not on average (-0.070 ± 0.293): no winner."
    )
    assert "beats" not in said and "Best mean over 12 runs: b" in said
    loss = verdict(1 - table, higher_is_better=False)
    assert loss.startswith(
        "a is better than b in 11 of 12 runs (p = 0.034), but not on average (+0.070 ± 0.293): no winner."
    )
    level = pd.DataFrame({"a": 0.9 + np.r_[np.full(11, 0.1), -1.1], "b": 0.9})
    assert "but not on average" in verdict(level)  # the means are equal


def test_verdict_counts_who_ties_for_the_first_place():
    said = verdict(pd.DataFrame({"a": [0.5, 0.6] * 3, "b": [0.6, 0.5] * 3, "c": [0.5] * 6}))
    assert "Best mean over 6 runs: a and b (0.550); worst: c (0.500)." in said
    assert "a and b stay first in 0 of the 6 tables" in said  # one of them alone
    assert "All means over 6 runs are equal (0.500)." in verdict(pd.DataFrame({"a": [0.5] * 6, "b": [0.5] * 6}))


def test_verdict_counts_the_runs_that_are_not_tied():
    said = verdict(pd.DataFrame({"a": [0.5] * 7 + [0.6], "b": [0.5] * 8}))
    assert said.startswith(
        "Cannot decide: with 1 untied run the smallest possible p is 1, and the comparison needs 0.05."
    )
    assert "At least 6 untied runs are needed." in said
    said = verdict(pd.DataFrame({"a": [0.5] * 6, "b": [0.5] * 6}))
    assert said.startswith("Cannot decide: with 0 untied runs the smallest possible p is 1,")


def test_verdict_asks_later_steps_for_fewer_runs():
    """Two pairs need 7 runs, but once one has passed the other needs 6."""
    rest = [np.nan] * 4
    table = pd.DataFrame(
        {"a": np.linspace(0.6, 0.8, 10), "b": np.linspace(0.5, 0.6, 10), "c": [0.5, 0.9, 0.5, 0.9, 0.5, 0.9, *rest]}
    )
    said = verdict(table, "a")
    assert "a beats b" in said and "Cannot decide" not in said and "No difference was found in the other 1 pair" in said
    table.loc[5, "c"] = np.nan
    said = verdict(table, "a")
    assert "Cannot decide between c and a (5 runs): at least 6 common runs are needed." in said


def test_verdict_at_another_level_and_with_few_runs():
    table = pd.DataFrame({"a": [0.6, 0.7, 0.8, 0.9, 1.0], "b": [0.5] * 5})
    said = verdict(table, alpha=0.0625)  # p is the level itself
    assert "a beats b" in said and "level 0.0625" in said
    assert "stays first" not in verdict(table.iloc[:2])
    worse = verdict(scores(10, [-0.1, 0.0, 0.1]), higher_is_better=False)
    assert "badge stays first whichever run is left out" in worse


def test_verdict_of_two_sides_and_of_the_nearest_pair():
    table = pd.DataFrame({"a": [0.5] * 9 + [0.9], "b": np.r_[np.linspace(0.6, 0.7, 9), 0.88]})
    assert "b beats a" in verdict(table) and "better in 9 of 10" in verdict(table)
    assert verdict(scores(10, [0.1, 0.0, 0.0]), "entropy").count("beats") == 1
    assert "2 pairs, Holm" in verdict(scores(10, [0.1, 0.0, 0.0]), "entropy")
    equal = scores(12, [0.0, 0.0, 0.0], seed=5)
    nearest = pairwise(equal).sort_values("p_holm").iloc[0]
    assert f"the smallest p is {nearest['p_holm']:.2g} ({nearest['a']} against {nearest['b']}" in verdict(equal)


def test_verdict_claims_no_more_than_holm_allows():
    tables = [scores(9, [0.008, 0.0, 0.0], seed) for seed in range(12)]
    compared = [pairwise(table) for table in tables]
    assert any(((pairs["p"] <= 0.05) & (pairs["p_holm"] > 0.05)).any() for pairs in compared)
    for table, pairs in zip(tables, compared, strict=True):
        assert verdict(table).count(" beats ") == (pairs["p_holm"] <= 0.05).sum()


def test_verdict_of_no_difference_does_not_claim_equality():
    said = verdict(scores(12, [0.0, 0.0, 0.0]))
    assert said.startswith("No difference was found in any pair") and "does not prove them equal" in said
    assert verdict(scores(6, [0.0, 0.0], seed=2)).startswith("No difference was found: p = ")


def test_verdict_tells_the_pairs_with_too_few_runs():
    table = scores(10, [0.1, 0.0, 0.0])
    table.loc[4:, "bald"] = np.nan
    said = verdict(table)
    assert "badge beats entropy" in said
    assert "Cannot decide between" in said and "badge and bald (4 runs)" in said and "at least 7 common runs" in said
    assert "No difference was found" not in said and "Best mean over 4 runs" in said
