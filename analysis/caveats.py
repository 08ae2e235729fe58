"""What a reader of a study has to keep in mind, found in the runs themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.comparisons import runs_needed
from analysis.curves import Curves
from analysis.provenance import Document, environments, presets

SHORT = 1000  # optimiser steps, below which a training counts as short
FEWEST, STEADY = 5, 10  # runs for a claim at all; for an interval that covers nearly what it says


def caveats(frame: pd.DataFrame, curves: Curves, runs: Mapping[int, Document], full: float | None, higher_is_better: bool) -> list[str]:
    """Sentences: too few or unequal runs, unlike starts, short training, no result with all labels, unlike code or machines.

    `full` is the metric with all labels, `runs` holds Sacred's records of the frame's runs.
    """
    found = [*_about_runs(curves), *_about_training(frame, curves, runs, full, higher_is_better), *_about_origin(runs)]
    found.append("The spread is over splits, first labels and weights; all runs measure on the same test images of one dataset.")
    return found


def _about_runs(curves: Curves) -> list[str]:
    counts = {name: len(table) for name, table in curves.items()}
    fewest, found = min(counts.values()), []
    if fewest < FEWEST:
        few = ", ".join(f"{name} ({n})" for name, n in counts.items() if n < FEWEST)
        found.append(f"Too few runs for a claim, which takes at least {FEWEST}: {few}.")
    n_pairs = len(curves) * (len(curves) - 1) // 2
    if n_pairs and fewest < runs_needed(n_pairs):
        needed, least = runs_needed(n_pairs), runs_needed(len(curves) - 1)
        against = f", comparing each with one baseline {least}" if least < needed else ""
        found.append(f"Comparing all pairs takes at least {needed} runs of each strategy{against}; there are {fewest}.")
    if 1 < fewest < STEADY:
        found.append(f"Bootstrap intervals over {fewest} runs are narrower than they should be.")
    everything = set().union(*(table.index for table in curves.values()))
    for name, table in curves.items():
        if missing := sorted(everything - set(table.index)):
            found.append(f"{name} lacks run {', '.join(map(str, missing))}: pairs and ranks rest on the runs that both have.")
    starts = pd.DataFrame({name: table.iloc[:, 0] for name, table in curves.items()})
    unlike = [run for run, row in starts.iterrows() if np.ptp(row.dropna()) > 1e-9]
    if unlike:
        which = f"Run {', '.join(map(str, unlike))}"
        found.append(f"{which}: strategies differ before anything was picked; as options, code or machines differ, pairs are loose.")
    return found


def _about_training(
    frame: pd.DataFrame, curves: Curves, runs: Mapping[int, Document], full: float | None, higher_is_better: bool
) -> list[str]:
    found = []
    steps = sorted({int(n) for n in frame["steps"].dropna() if 0 < n < SHORT}) if "steps" in frame else []
    if steps:
        names = presets(runs.values())
        preset = f" (preset {', '.join(names)})" if names else ""
        trained = f"each model is trained for {' or '.join(map(str, steps))} steps{preset}"
        found.append(f"Short recipe: {trained}. Longer training may order strategies differently.")
    if full is None:
        found.append("No completed run of supervised with this training: what all labels would give is unknown.")
        return found
    ends = {name: table.iloc[:, -1].mean() for name, table in curves.items()}
    beyond = [name for name, end in ends.items() if (end >= full if higher_is_better else end <= full)]
    if beyond:
        ended = f"At the last budget {', '.join(beyond)} did no worse than all labels with the same training ({full:.3f})"
        found.append(f"{ended}: training, not labels, is the limit.")
    return found


def _about_origin(runs: Mapping[int, Document]) -> list[str]:
    found, origins = [], [surroundings for surroundings, _ in environments(runs.values())]
    codes = {origin["code"] for origin in origins}
    if len(codes) > 1:
        found.append(f"The runs come from {len(codes)} versions of the code.")
    if any("with changes" in code for code in codes):
        found.append("Some runs come from code with changes that were not committed, so that no version repeats them.")
    if len(origins) > len(codes):
        found.append("The runs come from different machines or versions of the software, see below.")
    return found
