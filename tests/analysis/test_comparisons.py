"""Statistics against scipy, tables of the literature and cases by hand; the procedure's level and power by simulation."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.comparisons import (
    cliques,
    critical_difference,
    friedman,
    holm,
    leave_one_run_out,
    pairwise,
    pairwise_per_budget,
    penalty_matrix,
    ranks,
    runs_needed,
    signed_rank,
    signed_ranks,
    verdict,
)

NAMES = ["badge", "bald", "entropy", "random"]


def scores(n_runs: int, effects: list[float], seed: int = 0, noise: float = 0.01) -> pd.DataFrame:
    """Paired runs: each has a level of its own, shared by all strategies."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.7, 0.05, (n_runs, 1)) + rng.normal(0, noise, (n_runs, len(effects))) + np.array(effects)
    return pd.DataFrame(values, index=pd.RangeIndex(n_runs, name="run"), columns=NAMES[: len(effects)])


def by_all_signs(differences) -> float:
    """Wilcoxon's p by trying all signs."""
    magnitudes = np.abs([d for d in differences if d])
    order = stats.rankdata(magnitudes)
    seen = sum(r for r, d in zip(order, [d for d in differences if d], strict=True) if d > 0)
    sums = [sum(r for r, plus in zip(order, signs, strict=True) if plus) for signs in product([0, 1], repeat=len(order))]
    low, high = np.mean([s <= seen for s in sums]), np.mean([s >= seen for s in sums])
    return min(1.0, 2 * min(low, high))


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_signed_rank_with_ties_and_zeros_is_the_count_over_all_signs(differences):
    assert signed_rank(differences) == pytest.approx(by_all_signs(differences))
    assert signed_rank([-d for d in differences]) == signed_rank(differences)


@pytest.mark.parametrize("n", [1, 5, 6, 12, 30])
def test_signed_rank_without_ties_is_that_of_scipy(n):
    d = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)
    assert signed_rank(np.abs(d)) == pytest.approx(min(1, 2 / 2**n))  # the smallest there is


def test_signed_rank_ignores_rounding_and_refuses_nan():
    assert signed_rank(np.array([0.3 - 0.2, 0.2 - 0.1, -0.1])) == signed_rank([1, 1, -1]) == 1.0
    assert signed_rank([]) == signed_rank([0.0, 0.0]) == 1.0
    assert signed_ranks([0.5, -0.5, 2.0, 0.0]).tolist() == [3, -3, 6]
    with pytest.raises(ValueError, match="finite"):
        signed_rank([0.1, float("nan")])


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(p):
    alpha, rejected = 0.2, set()
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if (len(p) - step) * p[i] > alpha:
            break
        rejected.add(i)
    assert {i for i, q in enumerate(holm(p)) if q <= alpha} == rejected


@pytest.mark.parametrize(("m", "expected"), [(1, 6), (4, 8), (10, 9), (28, 11)])
def test_runs_needed_is_the_first_number_that_can_pass(m, expected):
    assert runs_needed(m) == expected
    assert 2 / 2**expected <= 0.05 / m < 2 / 2 ** (expected - 1)


def test_pairwise_by_hand_in_both_directions():
    table = pd.DataFrame({"a": [0.9, 0.8, 0.7, np.nan], "b": [0.7, 0.8, 0.8, 0.1]}, index=[0, 1, 2, 5])
    row = pairwise(table).iloc[0]
    assert (row["n"], row["wins"], row["ties"], row["losses"], row["favoured"]) == (3, 1, 1, 1, "a")
    assert row["difference"] == pytest.approx(0.1 / 3)
    assert row["std"] == pytest.approx(np.std([0.2, 0, -0.1], ddof=1))
    assert row["p"] == row["p_holm"] == 1.0
    assert pairwise(table, higher_is_better=False).iloc[0]["favoured"] == "b"


def test_pairs_against_a_baseline_are_fewer():
    table = scores(8, [0.05, 0.0, 0.0, 0.0])
    assert len(pairwise(table)) == 6
    against = pairwise(table, "random")
    assert against["b"].unique().tolist() == ["random"] and len(against) == 3
    assert against["p_holm"].iloc[0] == pytest.approx(3 * 2 / 2**8)
    with pytest.raises(ValueError, match="no strategy 'randm'"):
        pairwise(table, "randm")
    with pytest.raises(ValueError, match="at least two strategies, got badge"):
        pairwise(table[["badge"]])
    with pytest.raises(ValueError, match="a and b share no run"):
        pairwise(pd.DataFrame({"a": [1, np.nan], "b": [np.nan, 1]}))


def curves_with(effect) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(3)
    base = rng.normal(0.5, 0.1, (6, 1))
    budgets = pd.Index([4, 8, 12, 16], name="n_labelled")
    return {name: pd.DataFrame(base + rng.normal(0, 0.01, (6, 4)) * [0, 1, 1, 1] + e, columns=budgets) for name, e in effect.items()}


def test_penalty_matrix_is_the_share_of_significant_t_tests():
    curves = curves_with({"a": np.array([0, 0.1, 0.02, 0]), "b": np.zeros(4), "c": np.array([0, 0, 0.1, 0.1])})
    matrix = penalty_matrix(curves)
    for a, b in product(curves, repeat=2):
        tests = [stats.ttest_rel(curves[a][n], curves[b][n]) for n in (8, 12, 16)]  # at 4 all runs are equal
        expected = sum(test.pvalue < 0.05 and test.statistic > 0 for test in tests) / 4
        assert matrix.loc[a, b] == pytest.approx(0 if a == b else expected), (a, b)
    assert matrix.loc["a", "b"] >= 0.25
    assert penalty_matrix(curves, higher_is_better=False).equals(matrix.T.rename_axis(index="wins", columns="loses"))
    with pytest.raises(ValueError, match="a and b share 1 runs"):
        penalty_matrix({name: table.iloc[:1] for name, table in curves.items()})


def test_penalties_of_many_close_calls_agree_with_scipy():
    rng = np.random.default_rng(0)
    curves = {name: pd.DataFrame(rng.normal(mean, 1, (5, 300))) for name, mean in (("a", 1.5), ("b", 0.0))}
    tests = stats.ttest_rel(curves["a"], curves["b"])
    expected = [[0, np.mean((tests.pvalue < 0.05) & (tests.statistic > 0))], [np.mean((tests.pvalue < 0.05) & (tests.statistic < 0)), 0]]
    assert penalty_matrix(curves).to_numpy() == pytest.approx(np.array(expected))


def test_per_budget_is_pairwise_at_each_budget():
    curves = curves_with({"a": np.array([0, 0.1, 0.1, 0]), "b": np.zeros(4), "c": np.zeros(4)})
    table = pairwise_per_budget(curves)
    assert table["n_labelled"].tolist() == [4] * 3 + [8] * 3 + [12] * 3 + [16] * 3
    assert (table[table["n_labelled"] == 4]["p_holm"] == 1).all()
    assert (table[table["n_labelled"] == 4]["ties"] == 6).all()
    first = table[(table["n_labelled"] == 8) & (table["a"] == "a")]["p"]
    assert first.tolist() == [2 / 2**6] * 2


def test_critical_difference_is_that_of_the_table():
    # Demsar (2006), table 5: q at 0.05 for k = 2, 3, 4, 5, 10 classifiers
    for k, q in [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]:
        assert critical_difference(k, 14) == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 14)), rel=1e-3)


def test_ranks_and_friedman():
    table = scores(9, [0.02, 0.01, 0.0, 0.0])
    ranked = ranks(table)
    assert ranked.iloc[0].tolist() == (5 - stats.rankdata(table.iloc[0])).tolist()
    assert friedman(table) == pytest.approx(stats.friedmanchisquare(*table.to_numpy().T).pvalue)
    assert ranks(table, higher_is_better=False).equals(5 - ranked)
    assert friedman(table * 0) == 1.0 and np.isnan(friedman(table[["bald", "badge"]]))
    table.loc[3, "bald"] = np.nan
    assert len(ranks(table)) == 8
    with pytest.raises(ValueError, match="no run was made with all of badge, bald"):
        ranks(table.assign(bald=np.nan))


def test_cliques_are_the_largest_groups():
    means = pd.Series({"d": 4.0, "a": 1.0, "b": 2.0, "c": 2.5})
    assert cliques(means, 1.5) == [("a", "c"), ("c", "d")]
    assert cliques(means, 0.4) == []
    assert cliques(means, 3.0) == [("a", "d")]


def test_leave_one_run_out_shows_a_place_that_hangs_on_one_run():
    table = pd.DataFrame({"a": [0.5, 0.5, 0.9], "b": [0.6, 0.6, 0.6]}, index=pd.Index([0, 1, 2], name="run"))
    places = leave_one_run_out(table)
    assert places["a"].tolist() == [1, 1, 2] and places["b"].tolist() == [2, 2, 1]
    with pytest.raises(ValueError, match="1 runs were made"):
        leave_one_run_out(table.iloc[:1])


def test_verdict_cannot_decide_with_five_runs():
    said = verdict(scores(5, [0.5, 0.0, 0.0, 0.0]))
    assert said.startswith("Cannot decide: with 5 runs the smallest possible p is 0.062, and the first of 6 comparisons needs 0.0083.")
    assert "At least 8 runs are needed." in said and "beats" not in said
    assert "badge stays first whichever run is left out" in said
    assert "the smallest possible p is 0.062, and the comparison needs 0.05. At least 6 runs" in verdict(scores(5, [0.5, 0.0]))
    assert verdict(scores(1, [0.5, 0.0])).startswith("Cannot decide: with 1 run the smallest possible p is 1,")


def test_verdict_names_winner_and_says_what_was_not_shown():
    said = verdict(scores(10, [0.0, 0.1, 0.0, 0.0]), measure="AUBC of dice")
    for loser in ("badge", "entropy", "random"):
        assert f"bald beats {loser}: +0.1" in said or f"bald beats {loser}: +0.09" in said
    assert "better in 10 of 10 runs, p = 0.012" in said
    assert "No difference was found in the other 3 pairs" in said and "AUBC of dice" in said
    loss = verdict(scores(10, [0.0, 0.1]), higher_is_better=False)
    assert "badge beats bald: -0.1" in loss and "Best mean over 10 runs: badge" in loss


def test_verdict_claims_no_more_than_holm_allows():
    tables = [scores(9, [0.008, 0.0, 0.0], seed) for seed in range(12)]
    compared = [pairwise(table) for table in tables]
    assert any(((pairs["p"] <= 0.05) & (pairs["p_holm"] > 0.05)).any() for pairs in compared)
    for table, pairs in zip(tables, compared, strict=True):
        assert verdict(table).count(" beats ") == (pairs["p_holm"] <= 0.05).sum()


def test_verdict_of_no_difference_does_not_claim_equality():
    said = verdict(scores(12, [0.0, 0.0, 0.0]))
    assert said.startswith("No difference was found in any pair") and "does not prove them equal" in said
    assert verdict(pd.DataFrame({"a": [0.5] * 6, "b": [0.5] * 6})).startswith("No difference was found: p = 1 ")


def test_verdict_tells_the_pairs_with_too_few_runs():
    table = scores(10, [0.1, 0.0, 0.0])
    table.loc[4:, "bald"] = np.nan
    said = verdict(table)
    assert "badge beats entropy" in said
    assert "Cannot decide between" in said and "badge and bald (4 runs)" in said and "at least 7 common runs" in said


def family_wise_rate(n_runs: int, effects: list[float], n_studies: int, seed: int) -> tuple[float, float]:
    """Share of studies in which some true null is rejected, and in which the first strategy is found better than all others."""
    pairs = list(combinations(range(len(effects)), 2))
    nulls = [i for i, (a, b) in enumerate(pairs) if effects[a] == effects[b]]
    best = [i for i, (a, _) in enumerate(pairs) if a == 0]
    false, found = 0, 0
    for study in range(n_studies):
        values = scores(n_runs, effects, seed + study).to_numpy()
        differences = [values[:, a] - values[:, b] for a, b in pairs]
        rejected = holm([signed_rank(d) for d in differences]) <= 0.05
        false += rejected[nulls].any()
        found += all(rejected[i] and differences[i].mean() > 0 for i in best)
    return false / n_studies, found / n_studies


def test_family_wise_error_stays_at_its_level_under_the_null():
    rate, _ = family_wise_rate(10, [0.0, 0.0, 0.0, 0.0], 300, seed=10_000)
    assert 0 < rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_power_with_a_planted_effect_and_the_level_of_the_other_pairs():
    # Differences are 0.02 with a standard deviation of 0.014: an effect of 1.4 standard deviations.
    rate, power = family_wise_rate(12, [0.02, 0.0, 0.0, 0.0], 150, seed=20_000)
    assert rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)
    assert power >= 0.75
    assert family_wise_rate(5, [0.2, 0.0, 0.0, 0.0], 5, seed=0)[1] == 0  # too few runs find nothing, however large the effect
