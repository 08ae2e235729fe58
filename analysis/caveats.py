"""What a reader of a study has to keep in mind, found in the runs themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.comparisons import runs_needed
from analysis.copies import told
from analysis.curves import Curves
from analysis.provenance import Document, environments, presets
from analysis.runs import FIRST, TAKEN
from analysis.study import Yardsticks
from analysis.wording import number
from experiments.tracking.options import CHOOSING, WHERE

SHORT = 1000  # optimiser steps, below which a training counts as short
FEWEST, STEADY = runs_needed(1), 5  # runs for a claim at all; for intervals of savings that cover what they say
MOST_VALUES = 4  # of an option that are listed
# Options of choosing that all strategies use alike; the others belong to some strategies only.
SHARED = frozenset("n_initial initial n_query n_cycles start".split())


def caveats(
    frame: pd.DataFrame, curves: Curves, runs: Mapping[int, Document], yard: Yardsticks, higher_is_better: bool
) -> list[str]:
    """What to keep in mind with a study, one sentence each.

    Copies of runs, an oracle's start, curves that are no better than a yardstick, too few or unequal runs, unlike
    starts and options, validation labels, short training, no result with all labels, unlike code or machines.

    `frame` is that of `analysis.runs.load`, `runs` holds Sacred's records of its runs.
    """
    unlike = unlike_options(frame)
    found = [sentence for sentence in [told(frame.attrs.get("copies", {}))] if sentence]
    found += [*about_yardsticks(curves, yard, higher_is_better), *_about_runs(curves), *_about_options(frame, unlike)]
    found += _about_training(frame, curves, runs, yard, higher_is_better, bool(set(unlike) - CHOOSING))
    found += _about_origin(runs)
    found.append(
        "The spread is over splits, first labels and weights; all runs measure on the same test images of one dataset."
    )
    return found


def about_yardsticks(curves: Curves, yard: Yardsticks, higher_is_better: bool) -> list[str]:
    """What the start gave away, and where nothing shows: trivial is as good, or the start is as good as all labels."""
    found = []
    if yard.oracle_runs:
        whose = "all runs" if yard.oracle_runs == yard.runs else f"{yard.oracle_runs} of {yard.runs} runs"
        begin = f"An oracle's start: the first labels of {whose} were chosen by the true classes of the pool"
        found.append(f"{begin}, which nobody knows before labelling; a random start has fewer of the rare ones.")
    start = float(np.mean([table.iloc[:, 0].mean() for table in curves.values()]))
    sign = 1 if higher_is_better else -1
    if yard.full is not None and sign * (yard.full - start) <= 0:
        begin = (
            f"All labels with the same training ({number(yard.full)}{_over(yard)}) are no better than "
            f"the start ({number(start)})"
        )
        found.append(f"{begin}: these runs cannot show anything about labels.")
    if yard.trivial is not None:
        ends = {name: table.iloc[:, -1].mean() for name, table in curves.items()}
        beaten = [name for name, end in ends.items() if sign * (end - yard.trivial) <= 0]
        what = f"the trivial value ({yard.trivial_by}, {number(yard.trivial)})"
        if beaten:
            found.append(f"Even at the last budget {', '.join(beaten)} did no better than {what}.")
        elif sign * (start - yard.trivial) <= 0:
            found.append(f"The start ({number(start)}) is no better than {what}.")
    return found


def _over(yard: Yardsticks) -> str:
    return f", {yard.full_count}" if yard.full_runs else ""


def unlike_options(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Values of each option in which runs differ that should be alike.

    An option that only some strategies use counts where runs of one strategy differ in it. Where, which run and which
    strategy are no differences, nor are options that older records lack.
    """
    options = frame.drop_duplicates("run_id")
    strategies = [runs for _, runs in options.groupby("heuristic")]
    found = {}
    for name in [str(name) for name in frame if name not in {*FIRST, *TAKEN, *WHERE}]:
        alike = strategies if name in CHOOSING - SHARED else [options]
        if any(runs[name].nunique() > 1 for runs in alike):
            found[name.removeprefix("option_")] = [str(value) for value in options[name].dropna().unique()]
    return found


def _about_options(frame: pd.DataFrame, unlike: Mapping[str, list[str]]) -> list[str]:
    found = []
    if unlike:
        told = [f"{name} ({_listed(values)})" for name, values in unlike.items()]
        found.append(f"Runs differ in {', '.join(told)}: a difference may come from that and not from the strategy.")
    counts = frame["value"].to_numpy(np.float64)[frame["metric"] == "n_validation"]
    least, most = counts.min(initial=np.inf), counts.max(initial=0)
    if least < most:
        found.append(
            f"The curves do not count validation labels, {least:g} to {most:g} a run: equal budgets did "
            "not cost the same."
        )
    elif most > 0:
        found.append(f"The curves do not count {most:g} validation labels, which must be paid for too.")
    return found


def _listed(values: list[str]) -> str:
    return f"{len(values)} values" if len(values) > MOST_VALUES else " or ".join(value or "none" for value in values)


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
        found.append(
            f"Intervals of labels saved over {fewest} runs are too narrow: of 3 runs they held the truth "
            "80 % of the time."
        )
    everything = set().union(*(table.index for table in curves.values()))
    for name, table in curves.items():
        if missing := sorted(everything - set(table.index)):
            lacking = f"{name} lacks run {', '.join(map(str, missing))}"
            found.append(
                f"{lacking}: tables of means rest on unequal runs, pairs and ranks on the runs that all compared have."
            )
    starts = pd.DataFrame({name: table.iloc[:, 0] for name, table in curves.items()})
    unlike = [run for run, row in starts.iterrows() if np.ptp(row.dropna()) > 1e-9]
    if unlike:
        which = f"Run {', '.join(map(str, unlike))}"
        found.append(
            f"{which}: strategies differ before anything was picked; as options, code or machines differ, "
            "pairs are loose."
        )
    return found


def _about_training(
    frame: pd.DataFrame,
    curves: Curves,
    runs: Mapping[int, Document],
    yard: Yardsticks,
    higher_is_better: bool,
    trained_unlike: bool,
) -> list[str]:
    found = []
    steps = sorted({int(n) for n in frame["steps"].dropna() if 0 < n < SHORT}) if "steps" in frame else []
    if steps:
        names = presets(runs.values())
        preset = f" (preset {', '.join(names)})" if names else ""
        trained = f"each model is trained for {' or '.join(map(str, steps))} steps{preset}"
        found.append(f"Short recipe: {trained}. Longer training may order strategies differently.")
    full = yard.full
    if full is None:
        found.append("No completed run of supervised with this training: what all labels would give is unknown.")
        return found
    if trained_unlike:
        found.append(
            "The result with all labels has the training of some of these runs only, and is no measure for the others."
        )
        return found
    ends = {name: table.iloc[:, -1].mean() for name, table in curves.items()}
    beyond = [name for name, end in ends.items() if (end >= full if higher_is_better else end <= full)]
    if beyond:
        ended = (
            f"At the last budget {', '.join(beyond)} did no worse than all labels with the same "
            f"training ({full:.3f}{_over(yard)})"
        )
        found.append(f"{ended}: with this training more labels may bring nothing.")
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
