"""How often the 95 % intervals of `analysis` hold the truth, by simulation; the docstrings there quote what this
prints.

    python -m tests.benchmarks.bench_intervals [--studies 2000]

Means: of normal values, and of log-normal ones with a skewness of 1.75. Savings: mean curves 0.5 + 0.3 (1 - exp(-n /
60)) of the baseline and the same with n 30 labels, or none, ahead; each run adds an offset of its own and noise at each
budget, the strategies of a run share half of the offset's variance. Beside each stands the plain percentile bootstrap.
No number is asserted.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from analysis import savings
from analysis.curves import mean_interval
from analysis.savings import label_saving

RUNS = (3, 5, 6, 10, 20)
BUDGETS = np.arange(20, 201, 20)
SIGMA = 0.5  # of the logarithm


def means(n_runs: int, n_studies: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of the studies whose interval holds the mean: Student's and the percentile bootstrap's."""
    normal, skewed = rng.normal(size=(n_runs, n_studies)), rng.lognormal(sigma=SIGMA, size=(n_runs, n_studies))
    found = {}
    for name, values, truth in (("normal", normal, 0.0), ("log-normal", skewed, np.exp(SIGMA**2 / 2))):
        low, high = mean_interval(values)
        found[f"mean, {name}"] = float(((low <= truth) & (truth <= high)).mean())
        weights = rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=2000)
        low, high = np.quantile(weights @ values / n_runs, [0.025, 0.975], axis=0)
        found[f"mean, {name}, percentiles"] = float(((low <= truth) & (truth <= high)).mean())
    return found


def saved(n_runs: int, ahead: float, n_studies: int, rng: np.random.Generator) -> float:
    """Share of the studies whose interval holds the true saving of `ahead` labels."""
    held = 0
    for _ in range(n_studies):
        shared, own = rng.normal(0, 0.01, n_runs), rng.normal(0, 0.01, (2, n_runs))
        tables = {}
        for name, more, apart in (("random", 0.0, own[0]), ("other", ahead, own[1])):
            height = 0.5 + 0.3 * (1 - np.exp(-(BUDGETS + more) / 60))
            tables[name] = pd.DataFrame(
                height + (shared + apart)[:, None] + rng.normal(0, 0.01, (n_runs, len(BUDGETS))), columns=BUDGETS
            )
        found = label_saving(tables, "other", "random", rng, n_resamples=2000)
        held += found["low"] <= ahead <= found["high"]
    return held / n_studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    n_studies = parser.parse_args().studies
    usual, rows = savings.widened, {}
    for n_runs in RUNS:
        row = means(n_runs, n_studies, np.random.default_rng(n_runs))
        for ahead in (30.0, 0.0):
            row[f"saving of {ahead:g}"] = saved(n_runs, ahead, n_studies, np.random.default_rng(n_runs))
            savings.widened = lambda level, n: level
            row[f"saving of {ahead:g}, percentiles"] = saved(n_runs, ahead, n_studies, np.random.default_rng(n_runs))
            savings.widened = usual
        rows[n_runs] = row
    print(f"{'covered by 95 %, runs:':<32}" + "".join(f"{n:>7}" for n in rows))
    for name in rows[RUNS[0]]:
        print(f"{name:<32}" + "".join(f"{rows[n][name]:>7.3f}" for n in rows))


if __name__ == "__main__":
    main()
