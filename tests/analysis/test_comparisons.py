"""Statistics against scipy, tables of the literature and cases by hand; the procedure's level and power by
simulation."""

from __future__ import annotations

import re
from itertools import product

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
)
from analysis.verdict import verdict

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
    sums = [
        sum(r for r, plus in zip(order, signs, strict=True) if plus) for signs in product([0, 1], repeat=len(order))
    ]
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
    assert signed_ranks([1.0, 1.0 + 1e-8]).tolist() == [2, 4]  # so little is a difference
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
    assert runs_needed(1, 0.01) == 8 and runs_needed(4, 0.2) == 6
    assert 2 / 2**expected <= 0.05 / m < 2 / 2 ** (expected - 1)


def test_pairwise_by_hand_in_both_directions():
    table = pd.DataFrame({"a": [0.9, 0.8, 0.7, np.nan], "b": [0.7, 0.8, 0.8, 0.1]}, index=[0, 1, 2, 5])
    row = pairwise(table).iloc[0]
    assert (row["n"], row["wins"], row["ties"], row["losses"], row["favoured"]) == (3, 1, 1, 1, "a")
    assert row["difference"] == pytest.approx(0.1 / 3)
    assert row["std"] == pytest.approx(np.std([0.2, 0, -0.1], ddof=1))
    assert row["p"] == row["p_holm"] == 1.0
    assert pairwise(table, higher_is_better=False).iloc[0]["favoured"] == "b"


def test_rounding_is_a_tie_everywhere():
    table = pd.DataFrame({"a": [0.1 + 0.2] * 6, "b": [0.3] * 6, "c": [0.2] * 6})
    row = pairwise(table).iloc[0]
    assert (row["ties"], row["difference"], row["favoured"], row["p"]) == (6, 0, "", 1)
    assert "beats" not in verdict(table[["a", "b"]]) and "a beats c" in verdict(table[["a", "c"]])
    assert ranks(table).iloc[0].tolist() == [1.5, 1.5, 3]
    assert leave_one_run_out(table).iloc[0].tolist() == [1, 1, 3]
    assert (
        "Best mean over 6 runs: a and b (0.300); worst: c (0.200). a and b stay first whichever run is left out."
        in verdict(table)
    )
    matrix = penalty_matrix({name: table[[name]].set_axis([4], axis=1) for name in table})
    assert matrix.loc["a", "b"] == matrix.loc["b", "a"] == 0 and matrix.loc["b", "c"] == 1
    small = table * 1e-9
    assert pairwise(small).iloc[0]["ties"] == 6 and pairwise(small).iloc[1]["wins"] == 6  # rounding is relative
    with pytest.raises(ValueError, match="finite"):
        pairwise(table.assign(a=np.inf))


def test_pairs_without_a_common_run_do_not_stop_the_others():
    table = scores(8, [0.1, 0.0, 0.0]).assign(random=np.nan)
    table.loc[8] = [np.nan, 0.5, np.nan, 0.5]
    found = pairwise(table)
    assert (found["a"] + " " + found["b"]).tolist() == ["badge bald", "badge entropy", "bald entropy", "bald random"]
    said = verdict(table)
    assert "badge beats bald" in said and "4 pairs, Holm" in said
    assert "Without a common run, not comparable: badge and random, entropy and random." in said
    assert "No run was made with all strategies" in said


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
    return {
        name: pd.DataFrame(base + rng.normal(0, 0.01, (6, 4)) * [0, 1, 1, 1] + e, columns=budgets)
        for name, e in effect.items()
    }


def test_penalty_matrix_is_the_share_of_significant_t_tests():
    curves = curves_with({"a": np.array([0, 0.1, 0.02, 0]), "b": np.zeros(4), "c": np.array([0, 0, 0.1, 0.1])})
    matrix = penalty_matrix(curves)
    for a, b in product(curves, repeat=2):
        tests = [stats.ttest_rel(curves[a][n], curves[b][n]) for n in (8, 12, 16)]  # at 4 all runs are equal
        expected = sum(test.pvalue < 0.05 and test.statistic > 0 for test in tests) / 3
        assert matrix.loc[a, b] == pytest.approx(0 if a == b else expected), (a, b)
    assert matrix.loc["a", "b"] >= 0.25
    assert penalty_matrix(curves, higher_is_better=False).equals(matrix.T.rename_axis(index="wins", columns="loses"))
    with pytest.raises(ValueError, match="a and b share 1 runs"):
        penalty_matrix({name: table.iloc[:1] for name, table in curves.items()})


def test_penalties_reach_one_and_need_no_difference():
    base = np.linspace(0.4, 0.6, 6)[:, None]
    noise = np.random.default_rng(0).normal(0, 0.001, (6, 3))
    curves = {
        name: pd.DataFrame(np.hstack([base, base + e + noise * e])) for name, e in (("best", 0.1), ("random", 0.0))
    }
    assert penalty_matrix(curves).to_numpy().tolist() == [[0, 1], [0, 0]]
    assert penalty_matrix({"a": curves["best"], "b": curves["best"]}).to_numpy().tolist() == [[0, 0], [0, 0]]
    unequal = {
        "a": pd.DataFrame([[1.0], [1.1], [1.2], [9.0]], index=[0, 1, 2, 5]),
        "b": pd.DataFrame([[0.5], [0.6], [0.71], [3.0]]),
    }
    assert penalty_matrix(unequal).loc["a", "b"] == 1  # on runs 0, 1, 2


def test_penalties_of_many_close_calls_agree_with_scipy():
    rng = np.random.default_rng(0)
    curves = {name: pd.DataFrame(rng.normal(mean, 1, (5, 300))) for name, mean in (("a", 1.5), ("b", 0.0))}
    tests = stats.ttest_rel(curves["a"], curves["b"])
    expected = [
        [0, np.mean((tests.pvalue < 0.05) & (tests.statistic > 0))],
        [np.mean((tests.pvalue < 0.05) & (tests.statistic < 0)), 0],
    ]
    assert penalty_matrix(curves).to_numpy() == pytest.approx(np.array(expected))
    assert penalty_matrix(curves, alpha=0.2).loc["a", "b"] == pytest.approx(
        np.mean((tests.pvalue < 0.2) & (tests.statistic > 0))
    )


def test_per_budget_is_pairwise_at_each_budget():
    curves = curves_with({"a": np.array([0, 0.1, 0.1, 0]), "b": np.zeros(4), "c": np.zeros(4)})
    table = pairwise_per_budget(curves)
    assert table["n_labelled"].tolist() == [4] * 3 + [8] * 3 + [12] * 3 + [16] * 3
    assert (table[table["n_labelled"] == 4]["p_holm"] == 1).all()
    assert (table[table["n_labelled"] == 4]["ties"] == 6).all()
    first = table[(table["n_labelled"] == 8) & (table["a"] == "a")]["p"]
    assert first.tolist() == [2 / 2**6] * 2
    losses = pairwise_per_budget(curves, "c", higher_is_better=False)
    assert len(losses) == 8 and losses.loc[losses["n_labelled"] == 8, "favoured"].iloc[0] == "c"


def test_critical_difference_is_that_of_the_table():
    # Demsar (2006), table 5: q at 0.05 for k = 2, 3, 4, 5, 10 classifiers
    for k, q in [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]:
        assert critical_difference(k, 14) == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 14)), rel=1e-3)
    assert critical_difference(4, 14, 0.1) == pytest.approx(2.291 * np.sqrt(20 / 84), rel=1e-3)


def test_ranks_and_friedman():
    table = scores(9, [0.02, 0.01, 0.0, 0.0])
    ranked = ranks(table)
    assert ranked.iloc[0].tolist() == (5 - stats.rankdata(table.iloc[0])).tolist()
    assert friedman(table) == pytest.approx(stats.friedmanchisquare(*table.to_numpy().T).pvalue)
    assert ranks(table, higher_is_better=False).equals(5 - ranked)
    assert friedman(table * 0) == 1.0 and np.isnan(friedman(table[["bald", "badge"]]))
    tied = pd.DataFrame([[1.0, 1, 0], [2, 1, 0], [0, 0, 1], [3, 2, 1]])  # mean ranks are halves
    assert friedman(tied) == pytest.approx(stats.friedmanchisquare(*tied.to_numpy().T).pvalue)
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
    assert leave_one_run_out(table, higher_is_better=False)["a"].tolist() == [2, 2, 1]
    table.loc[3] = [0.1, np.nan]  # a run that not all have counts for nobody
    assert leave_one_run_out(table)["a"].to_dict() == {0: 1, 1: 1, 2: 2}
    collapsed = pd.DataFrame({"a": [0, 0, 0, 0.9], "b": [0.1] * 4})  # means, not medians
    assert leave_one_run_out(collapsed)["a"].tolist() == [1, 1, 1, 2]
    with pytest.raises(ValueError, match="1 runs were made"):
        leave_one_run_out(table.iloc[:1])


def family_wise_rate(n_runs: int, effects: list[float], n_studies: int, seed: int) -> tuple[float, float]:
    """Share of studies whose verdict names a winner of equal strategies, and in which it says that the first beats all
    others."""
    names = NAMES[: len(effects)]
    effect = dict(zip(names, effects, strict=True))
    false, found = 0, 0
    for study in range(n_studies):
        claims = set(re.findall(r"(\w+) beats (\w+):", verdict(scores(n_runs, effects, seed + study))))
        false += any(effect[winner] == effect[loser] for winner, loser in claims)
        found += claims >= {(names[0], other) for other in names[1:]}
    return false / n_studies, found / n_studies


def test_family_wise_error_stays_at_its_level_under_the_null():
    rate, _ = family_wise_rate(10, [0.0, 0.0, 0.0, 0.0], 200, seed=10_000)
    assert 0 < rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_power_with_a_planted_effect_and_the_level_of_the_other_pairs():
    # Differences are 0.02 with a standard deviation of 0.014: an effect of 1.4 standard deviations.
    rate, power = family_wise_rate(12, [0.02, 0.0, 0.0, 0.0], 100, seed=20_000)
    assert rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)
    assert power >= 0.75
    assert (
        family_wise_rate(5, [0.2, 0.0, 0.0, 0.0], 5, seed=0)[1] == 0
    )  # too few runs find nothing, however large the effect
