"""The end of a run: its files, its record, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sacred.run import Run

from data.files import atomic, under_root
from data.splits import Splits
from experiments.learning.devices import precision_of
from experiments.learning.randomness import generator
from experiments.measures.area import aubc
from experiments.pictures.advice import save_advice
from experiments.simulation import Begun
from experiments.stopping.advice import Advice, advise, record, sentence
from experiments.stopping.rules import rounds_of
from experiments.tasks.task import Definition, Trivial
from experiments.tracking.checkpoints import State
from experiments.tracking.deliver import (
    beside_trivial,
    column,
    deliver,
    print_table,
    save_result,
    title_of,
)
from experiments.tracking.ending import mark_finished, name_files, restore_lost


def finish(
    run: Run, begun: Begun, definition: Definition, splits: Splits, state: State, trivial: Trivial, supervised: bool
) -> float:
    """Write what the run delivers, mark it finished, print its table; returns the area under the main curve."""
    options, metric = begun.options, begun.options["metric"]
    oracle = definition.oracle(options) and not supervised
    noted = {"trivial": {name: value for name, (value, _) in trivial.items()}, "oracle_start": oracle}
    run.info.update(noted | {"precision": precision_of(options)})
    files = write_files(begun, definition, splits, state, trivial, supervised)
    save_beside(options, state, supervised)
    mark_finished(run, begun.checkpoint, state, files)
    result = aubc(*column(state, metric))
    print_table(state, metric)
    print(f"area under the curve of {metric}: {result:.4f}")
    print(beside_trivial(metric, state.curve[-1][metric], trivial))
    if advice := advice_of(options, state, len(splits.test)):
        print(sentence(advice))
    name_files(run, files)
    return result


def write_files(
    begun: Begun, definition: Definition, splits: Splits, state: State, trivial: Trivial, supervised: bool
) -> list[Path]:
    """Write what a run delivers into the outputs of its checkpoint; returns all files there, also older pictures."""
    options, folder = begun.options, begun.checkpoint.outputs
    title = title_of(options, definition.oracle(options) and not supervised)
    least = {name: value for name, (value, _) in trivial.items()}
    files = deliver(state, splits, folder, title, options["metric"], least)
    files += definition.more_files(state, folder, options, splits.test)
    if advice := advice_of(options, state, len(splits.test)):
        with atomic(folder / "advice.json") as temporary:
            temporary.write_text(json.dumps(record(advice), indent=1))
        files += [folder / "advice.json", save_advice(folder / "advice.png", advice, title)]
    return files


def advice_of(options: Mapping[str, Any], state: State, n_test: int) -> Advice | None:
    """What the rounds of a run advise, without an interval of the metric; None for a run without a stop set."""
    if "stop_uncertainty" not in state.curve[0]:
        return None
    rounds = rounds_of(state.curve, options["metric"], options["n_query"], n_test)
    rng = generator(options["seed"], len(state.curve), "stop")
    return advise(rounds, options["metric"], rng, target=options["target"] or None, heuristic=options["heuristic"])


def save_beside(options: Mapping[str, Any], state: State, supervised: bool) -> None:
    """Keep the main curve in `results_dir` too, where that is asked for."""
    if options["results_dir"]:
        stem = f"{'supervised' if supervised else options['heuristic']}_{options['run']}"
        print(save_result(under_root(options["results_dir"]), stem, column(state, options["metric"])[1]))


def write_again(begun: Begun, definition: Definition, splits: Splits, state: State, supervised: bool) -> None:
    """Write what a finished run delivered and what has been lost or damaged since again, from its state."""

    def write() -> list[Path]:
        trivial = definition.make_task(begun.options, splits.train).trivial(splits.test)
        return write_files(begun, definition, splits, state, trivial, supervised)

    restore_lost(begun.checkpoint, state, write)
    save_beside(begun.options, state, supervised)


def print_measured(row: Mapping[str, Any], trivial: Trivial, metric: str) -> None:
    """All numbers of a row, each beside its trivial value."""
    measured = {name: value for name, value in row.items() if isinstance(value, float)}
    width = max(28, *map(len, measured))
    print(f"{'':>{width}}  {'value':>9}  {'trivial':>9}")
    for name, value in measured.items():
        print(f"{name:>{width}}  {value:>9.4f}" + (f"  {trivial[name][0]:>9.4f}" if name in trivial else ""))
    print(beside_trivial(metric, row[metric], trivial))
