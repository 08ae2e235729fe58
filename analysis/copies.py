"""Copies of a run: only `run` differs, and nothing follows from it. One experiment counted twice proves no more."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from analysis.records import Record
from experiments.tracking.checkpoints import run_key

Copies = Mapping[int, Sequence[int]]  # number of the run that counts -> of its copies


def without_copies(chosen: Sequence[Record]) -> tuple[list[Record], dict[int, list[int]]]:
    """The runs without copies of each other, and which were left out.

    Runs of one task, dataset, strategy and equal options that matter, the seed, the split's seed and its folder among
    them, have the same data division, start and weights: they are one run, whatever their `run`. Of copies a completed
    one counts, then the `run` that most others have, so that strategies stay paired, then the lowest.
    """
    alike: dict[object, list[Record]] = defaultdict(list)
    seeds = Counter(map(_seed_of, chosen))
    for stored in chosen:  # a digest of all options only where there may be copies
        many = seeds[_seed_of(stored)] > 1
        key = run_key(f"{stored.task}-{stored.command}", {**stored.config, "run": 0}) if many else stored.run_id
        alike[key].append(stored)
    common = Counter(run for group in alike.values() for run in {stored.config["run"] for stored in group})
    kept, copies = [], {}
    for group in alike.values():
        first, *others = sorted(
            group, key=lambda s: (s.status != "COMPLETED", -common[s.config["run"]], s.config["run"], s.run_id)
        )
        kept.append(first)
        if others:
            copies[first.run_id] = sorted(other.run_id for other in others)
    return sorted(kept, key=lambda s: s.run_id), copies


def _seed_of(record: Record) -> tuple[str, ...]:
    chosen_by = "" if record.command == "supervised" else str(record.config["heuristic"])
    return record.task, record.command, record.dataset, chosen_by, str(record.config["seed"])


def told(copies: Copies) -> str:
    """One sentence that names the copies; '' without any."""
    if not copies:
        return ""
    named = "; ".join(f"{_runs(others)} of run {first}" for first, others in sorted(copies.items()))
    n = sum(map(len, copies.values()))
    begin = "1 run is a copy" if n == 1 else f"{n} runs are copies"
    return f"{begin}, with the same data division, start and seed, and not counted: {named}."


def _runs(ids: Sequence[int]) -> str:
    return f"run{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"
