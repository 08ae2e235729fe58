"""The end of a run: its files, its record, and what it tells."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sacred.run import Run

from data.files import under_root
from data.splits import Splits
from experiments.learning.devices import precision_of
from experiments.measures.area import aubc
from experiments.simulation import Begun
from experiments.tasks.task import Definition, Trivial
from experiments.tracking.checkpoints import State
from experiments.tracking.deliver import (
    CONTENT_TYPES,
    beside_trivial,
    column,
    deliver,
    print_table,
    save_result,
    title_of,
)
from experiments.tracking.recording import stored_folder


def record_row(run: Run, row: Mapping[str, Any]) -> None:
    """Log every number of a cycle at its number of labels."""
    for name, value in row.items():
        if isinstance(value, int | float):
            run.log_scalar(name, value, row["n_labelled"])


def finish(
    run: Run, begun: Begun, definition: Definition, splits: Splits, state: State, trivial: Trivial, supervised: bool
) -> float:
    """Write what the run delivers, mark it finished, print its table; returns the area under the main curve."""
    options, checkpoint, metric = begun.options, begun.checkpoint, begun.options["metric"]
    oracle = definition.oracle(options) and not supervised
    noted = {"trivial": {name: value for name, (value, _) in trivial.items()}, "oracle_start": oracle}
    run.info.update(noted | {"precision": precision_of(options)})
    title = title_of(options, oracle)
    files = deliver(state, splits, checkpoint.outputs, title, metric, noted["trivial"])
    files += definition.more_files(state, checkpoint.outputs, options, splits.test)
    for file in files:
        run.add_artifact(str(file), content_type=CONTENT_TYPES[file.suffix])
    if options["results_dir"]:
        stem = f"{'supervised' if supervised else options['heuristic']}_{options['run']}"
        print(save_result(under_root(options["results_dir"]), stem, column(state, metric)[1]))
    state.finished_by = str(run._id)
    checkpoint.save(state)
    result = aubc(*column(state, metric))
    print_table(state, metric)
    print(f"area under the curve of {metric}: {result:.4f}")
    print(beside_trivial(metric, state.curve[-1][metric], trivial))
    print("\n".join(os.path.relpath(stored_folder(run) / file.name) for file in files))
    return result


def print_measured(row: Mapping[str, Any], trivial: Trivial, metric: str) -> None:
    """All numbers of a row, each beside its trivial value."""
    measured = {name: value for name, value in row.items() if isinstance(value, float)}
    width = max(28, *map(len, measured))
    print(f"{'':>{width}}  {'value':>9}  {'trivial':>9}")
    for name, value in measured.items():
        print(f"{name:>{width}}  {value:>9.4f}" + (f"  {trivial[name][0]:>9.4f}" if name in trivial else ""))
    print(beside_trivial(metric, row[metric], trivial))
