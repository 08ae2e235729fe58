"""How often the intervals of `experiments.stopping` hold the truth, by simulation; docs/stopping.md quotes what this
prints.

    python -m tests.benchmarks.bench_stopping [--studies 500]

Curves: each family that is fitted, a step that none of them is (a logistic curve over the logarithm of the labels), and
noise of a test sample at each round. Samples: a proportion, and means of skewed values, over few or many patients of
one to four images. No number is asserted.
"""

from __future__ import annotations

import argparse

import numpy as np

from experiments.stopping.outlook import TOLD, outlook
from experiments.stopping.sample import mean_of, sampled

CURVES = {
    "power": lambda n: 0.92 - 1.6 * n**-0.7,
    "exponential": lambda n: 0.85 - 0.35 * np.exp(-n / 90),
    "hyperbola": lambda n: 0.95 - 0.6 * 60 / (n + 60),
    "logarithm": lambda n: 0.35 + 0.08 * np.log(n),
    "step": lambda n: 0.55 + 0.3 / (1 + np.exp(-3 * (np.log(n) - np.log(100)))),
}
NOISES, ROUNDS, N_QUERY, AHEAD = (0.005, 0.02), (4, 6, 10, 20), 20, 3


def curves(name: str, noise: float, rounds: int, n_studies: int, rng: np.random.Generator) -> str:
    """A row: share of the studies whose interval holds the true gain of the next round, and the true number of labels
    to what the curve reaches AHEAD rounds later; median width of the first; share that told.
    """
    n, true = np.arange(1, rounds + 1) * float(N_QUERY), CURVES[name]
    gain = float(true(n[-1] + N_QUERY) - true(n[-1]))
    target, more = float(true(n[-1] + AHEAD * N_QUERY)), AHEAD * N_QUERY
    held, reached, widths, told = 0, 0, [], 0
    for _ in range(n_studies):
        found = outlook(n, true(n) + rng.normal(0, noise, rounds), N_QUERY, rng, target)
        held += found.gain.low <= gain <= found.gain.high
        reached += found.more_labels.low <= more <= found.more_labels.high
        widths.append(found.gain.high - found.gain.low)
        told += found.verdict == TOLD
    shares = [held / n_studies, reached / n_studies, float(np.median(widths)), told / n_studies]
    return f"| {name} | {noise} | {rounds} | {gain:.4f} | " + " | ".join(f"{x:.3f}" for x in shares) + " |"


def samples(n: int, n_studies: int, rng: np.random.Generator) -> str:
    """A row: share of the studies whose interval holds the true mean, of n patients."""
    held = {"p": 0, "high": 0, "dice": 0}
    for _ in range(n_studies):
        patients = np.repeat(np.arange(n), rng.integers(1, 5, n)).astype(str)
        own = rng.normal(0, 1, n)[np.unique(patients, return_inverse=True)[1]]
        both = (own + rng.normal(0, 1, len(patients))) / np.sqrt(2)  # half of the variance is the patient's
        for kind, values, truth in (
            ("p", (both < 0.8416).astype(float), 0.8),
            ("high", (both < 1.6449).astype(float), 0.95),
            ("dice", 1 - 0.15 * np.exp(0.5 * both - 0.125), 0.85),
        ):
            found = sampled(mean_of(values), patients, rng, n_resamples=500)
            held[kind] += found.low - 1e-12 <= truth <= found.high + 1e-12
    return f"| {n} | " + " | ".join(f"{count / n_studies:.3f}" for count in held.values()) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    n_studies = parser.parse_args().studies
    print("| curve | noise | rounds | true gain | gain held | labels to target held | width | told |")
    print("|---|---|---|---|---|---|---|---|")
    for name in CURVES:
        for noise in NOISES:
            for rounds in ROUNDS:
                print(curves(name, noise, rounds, n_studies, np.random.default_rng(0)), flush=True)
    print("\n| patients | proportion 0.8 | proportion 0.95 | skewed mean 0.85 |\n|---|---|---|---|")
    for n in (5, 10, 25, 100):
        print(samples(n, n_studies, np.random.default_rng(0)), flush=True)


if __name__ == "__main__":
    main()
