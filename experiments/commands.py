"""What scripts are made of: the commands `main` (active learning), `supervised` and `evaluate`, and presets from a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sacred import Experiment
from sacred.config import ConfigDict

from data.splits import Splits
from data.store import Images
from experiments.loop import MakeBatches, Task
from experiments.simulation import MoreFiles, Watch, checkpoint_of, evaluate_saved, identity, simulate
from experiments.tracking.common import prepare, sentences

Options = Mapping[str, Any]


def add_commands(
    ex: Experiment,
    check: Callable[[Options], Any],
    load_splits: Callable[[Options], Splits],
    make_task: Callable[[Options, Images], Task],
    batches_of: Callable[[Options, Images], MakeBatches],
    picture_of_picks: Callable[[Options, Task, Images], Watch],
    more_files: MoreFiles | None = None,
) -> None:
    """Give an experiment its commands, made of the functions in which tasks differ, and the gate that checks options first."""

    def run_command(command: str, options: Options, run: Any) -> float:
        with sentences(), checkpoint_of(run, command, options).lock():  # held since the gate, and free again if data cannot be loaded
            splits = load_splits(options)
            task = make_task(options, splits.train)
            batches, watch = batches_of(options, splits.train), picture_of_picks(options, task, splits.train)
            return simulate(run, command, options, task, splits, batches, watch, more_files)

    @ex.main
    def main(_run, _config):
        """Active learning: label a few images in each cycle, train, test (the default)."""
        return run_command("main", _config, _run)

    @ex.command
    def supervised(_run, _config):
        """Train once on the whole pool with the same recipe: the upper bound."""
        return run_command("supervised", _config, _run)

    @ex.command
    def evaluate(_run, _config):
        """Measure a saved model (checkpoint=..., else the last of this run) on a split: test, val or train."""
        with sentences():
            splits = load_splits(_config)
            return evaluate_saved(_run, _config, splits, make_task(_config, splits.train))

    prepare(ex, check, lambda options: identity(load_splits(options)))


def add_presets(ex: Experiment, presets: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
    """Give an experiment named configs: for each name a sentence, which `print_named_configs` shows, and the options that it sets."""
    for name, (sentence, options) in presets.items():
        ex.named_configs[name] = ConfigDict(options)
        ex.named_configs[name].__doc__ = sentence
