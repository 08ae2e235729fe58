"""What a script is made of: its options, presets and task become main, supervised, evaluate, check and splits."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sacred import SETTINGS, Experiment
from sacred.config import ConfigDict
from sacred.utils import apply_backspaces_and_linefeeds

from data.catalogue import OWN, module_of
from data.catalogue import check as check_dataset
from data.files import folder_from, folder_of, require_writable, under_root
from data.names import Refused
from experiments.tracking import declare, launch
from experiments.tracking.suited import provisional, wanted

if TYPE_CHECKING:
    from sacred.run import Run

    from data.inventory import Inventory
    from data.splits import Splits
    from experiments.simulation import Begun
    from experiments.tasks.task import Definition
    from experiments.tracking.checkpoints import Checkpoint, State
    from heuristics.core.registry import Heuristic

# Sources are those that are imported, wherever they lie; output is captured in Python, which loses no last lines.
OF_SACRED = {"DISCOVER_SOURCES": "sys", "DISCOVER_DEPENDENCIES": "sys", "CAPTURE_MODE": "sys"}
SETTINGS.update(OF_SACRED)  # type: ignore[union-attr]
NOT_SAID = ("Added new config entry", "Aborted after", "Failed after")  # by Sacred: scripts say what matters themselves
CONTINUED = ("main", "supervised")  # commands whose runs are continued where they stopped


def runs_folder() -> Path:
    """Where runs are stored: $ALIQUOT_RUNS, relative to the project, else runs/."""
    return folder_from("ALIQUOT_RUNS", "runs")


class Script:
    """A Sacred experiment with one task: what segment.py, classify.py and detect.py are."""

    def __init__(
        self,
        ex: Experiment,
        options: declare.Options,
        presets: Mapping[str, declare.Preset],
        definition: Callable[[], Definition],  # imported when it is needed
    ):
        self.ex, self.options, self.presets, self.definition = ex, options, presets, definition
        self.name = str(ex.path)
        self.begun: Begun | None = None
        ex.configurations.append(declare.Configuration(options))
        for name, (sentence, chosen) in presets.items():
            ex.named_configs[name] = ConfigDict(dict(chosen))
            ex.named_configs[name].__doc__ = sentence
        ex.captured_out_filter = apply_backspaces_and_linefeeds  # type: ignore[assignment]
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logger = logging.getLogger(self.name)
        for said_by in (logger, logger.getChild(self.name)):  # the experiment, and its runs
            said_by.addFilter(lambda record: not record.getMessage().startswith(NOT_SAID))
        ex.logger = logger  # type: ignore[assignment]
        # Sacred lets dictionaries grow only where a function takes them.
        ex.capture(lambda heuristic_options, dataset_options=None, pseudo_thresholds=None: None)

        @ex.main  # type: ignore
        def main(_run):
            """Active learning: label a few images in each cycle, train, test (the default)."""
            return self._simulate(_run)

        @ex.command
        def supervised(_run):
            """Train once on the whole pool with the same recipe: the upper bound."""
            return self._simulate(_run, supervised=True)

        @ex.command
        def evaluate(_run):
            """Measure a saved model (checkpoint=..., else the last of this run) on a split: test, val or train."""
            return self._evaluate(_run)

        @ex.command(unobserved=True)  # type: ignore[reportOptionalCall]
        def check():
            """Tell all that is read of the dataset, what to be wary of and about how long it takes; train nothing."""
            self._check()

        @ex.command(unobserved=True)  # type: ignore[reportOptionalCall]
        def splits():
            """Write the division of this run as CSV files, to be edited and given back as splits_dir."""
            self._write_splits()

    def command_line(self, words: Sequence[str]) -> Run | None:
        """Do what a command line asks for; None where that run was finished before."""
        given = launch.read_words(words, list(self.ex.commands))
        if given.help:
            print(self.manual())
            return None
        named = [word for word in given.updates if "=" not in word]
        flags = {"COMMAND": given.command, "UPDATE": list(given.updates), "--comment": given.comment or None}
        return self.start(given.command, self.values(given.updates), named, flags)

    def run(self, command: str = "main", presets: Sequence[str] = (), **typed: Any) -> Run | None:
        """Run a command from Python, with presets and options as on a command line; None where it was finished."""
        chosen = [item for name in presets for item in declare.preset(self.options, self.presets, name).items()]
        values = declare.settle(self.options, chosen, typed)
        return self.start(command, self.titled(values), presets)

    def values(self, words: Sequence[str]) -> declare.Values:
        """The value of every option, from the words of a command line after `with`."""
        return self.titled(declare.resolve(self.options, self.presets, words))

    def start(
        self, command: str, options: declare.Values, presets: Sequence[str] = (), flags: Mapping[str, Any] | None = None
    ) -> Run | None:
        """Check the options, and run a command with them under the lock of its run."""
        needed = command in (*CONTINUED, "evaluate", "check", "splits")
        if needed:
            options, said = self.suited(options, command)
            print(said, end="\n" if said else "")
        changed = {name: value for name, value in options.items() if value != self.options[name].default}
        meta = {"named_configs": list(presets)}
        sacred: dict[str, Any] = {"config_updates": changed, "meta_info": meta, "options": dict(flags or {})}
        if not needed:
            return self.ex.run(command, **sacred)
        heuristic = self.check(options)
        checkpoint = self.checkpoint_of(command if command in CONTINUED else "main", options)
        from experiments.simulation import Begun

        if command not in CONTINUED:
            self.begun = Begun(options, heuristic, checkpoint, None, "")
            return self._observed(command, sacred)
        with checkpoint.lock():
            state, code = checkpoint.open(options["resume"]), self.code_of(options)
            if state is None or not checkpoint.is_completed(state):
                if state is not None and state.finished_by:
                    reason = checkpoint.damage_of_record(state)
                    damage = f"The record of run {state.finished_by} is not whole ({reason})"
                    print(f"{damage}; it is made again, untrained.")
                elif state is not None:
                    checkpoint.require_same_code(state, code, options["resume"])
                self.begun = Begun(options, heuristic, checkpoint, state, code)
                return self._observed(command, sacred)
        finished = Begun(options, heuristic, checkpoint, state, code)
        self._name_finished(finished, state, command == "supervised")  # held no longer: others may ask the same
        return None

    def check(self, options: declare.Values) -> Heuristic:
        """The heuristic that the options ask for. Refused for anything that cannot work, before data are loaded."""
        declare.check(self.options, options)
        from experiments.tracking.combinations import check_together  # late: needs torch
        from heuristics.core.fitting import require_given

        options = provisional(self.options, options)
        check_dataset(self.name, options["dataset"], options["dataset_options"])
        heuristic = check_together(options)
        definition = self.definition()
        require_given(heuristic, definition.gives(options))
        if options["results_dir"]:
            require_writable("results_dir", under_root(options["results_dir"]))
        definition.check(options)
        return heuristic

    def suited(self, options: declare.Values, command: str = "main") -> tuple[declare.Values, str]:
        """The options with values for those that are taken from the data, and which in words; '' where there are none.

        Refused for anything that cannot work, before data are loaded.
        """
        if not wanted(options):
            return options, ""
        self.check(options)
        from experiments.looking import suit_to_data

        timed = command == "check"  # it measures the time
        return suit_to_data(self.name, self.definition(), options, command == "supervised", timed)

    def titled(self, options: declare.Values) -> declare.Values:
        """The options, each checked, with the title of the dataset in figures: its own name, or the user's folder's."""
        declare.check(self.options, options)
        own = folder_of(options["data_root"]).resolve().name if options["dataset"] in OWN else options["dataset"]
        return {**options, "dataset_title": options["dataset_title"] or own}

    def checkpoint_of(self, command: str, options: declare.Values) -> Checkpoint:
        """Where this run keeps what a restart needs."""
        from experiments.tracking.checkpoints import Checkpoint, run_key

        return Checkpoint(runs_folder(), run_key(f"{self.name}-{command}", options))

    def code_of(self, options: declare.Values) -> str:
        """Digest of the code that decides the result: script, heuristic and dataset, with all that they import."""
        from experiments.tracking.code import digest_of
        from heuristics import get

        reads = module_of(self.name, options["dataset"])
        return digest_of(f"experiments.{self.name}", get(options["heuristic"]).function.__module__, reads)

    def load_splits(self, options: Mapping[str, Any]) -> Splits:
        """The dataset, divided."""
        from experiments.simulation import splits_of

        return splits_of(self.definition().load(options), options)

    def manual(self) -> str:
        """What `--help` shows."""
        commands = {name: (f.__doc__ or "").strip().split("\n")[0] for name, f in self.ex.commands.items()}
        listed = "\n".join(f"  {name:<22}{sentence}" for name, sentence in commands.items())
        flags = "\n".join(f"  {short}, {name}" for short, name in launch.FLAGS.items())
        return f"{(self.ex.doc or '').strip()}\n\nCommands:\n{listed}\n\nFlags:\n{flags}"

    def _observed(self, command: str, sacred: Mapping[str, Any]) -> Run:
        from experiments.tracking.recording import observe

        files = observe(self.ex, runs_folder())
        try:
            run = self.ex.run(command, **sacred)
        finally:
            self.begun = None
        files.require_recorded()
        return run

    def _name_finished(self, begun: Begun, state: State, supervised: bool) -> None:
        """End quietly where this very run was completed, so that a grid can be started again blindly.

        Files of it that were lost are written again.
        """
        from experiments.finish import write_again
        from experiments.simulation import identity

        splits = self.load_splits(begun.options)
        begun.checkpoint.require_same_data(state, identity(splits))
        curve = begun.checkpoint.record_of(state) / "curve.png"
        print(f"This run was finished before as run {state.finished_by}: {os.path.relpath(curve)}")
        write_again(begun, self.definition(), splits, state, supervised)
        if state.code != begun.code:
            print(f"The code has changed since (then {state.code}, now {begun.code}); resume=fresh runs it again.")

    def _simulate(self, run: Run, supervised: bool = False) -> float:
        from data.inventory import lines
        from experiments.finish import finish, record_row
        from experiments.simulation import identity, simulate
        from experiments.tracking.processes import warn_of_shared_cores

        warn_of_shared_cores()
        begun, definition = self._require_begun(), self.definition()
        splits = self.load_splits(begun.options)
        if begun.state is not None:
            begun.checkpoint.require_same_data(begun.state, identity(splits))
            print(f"Continuing after {begun.state.cycle} finished cycles.")

        def tell(found: Inventory) -> None:
            print("\n".join(lines(found)), flush=True)
            run.info["read"] = found

        state, trivial = simulate(begun, definition, splits, lambda row: record_row(run, row), supervised, tell)
        return finish(run, begun, definition, splits, state, trivial, supervised)

    def _evaluate(self, run: Run) -> float:
        from data.inventory import take
        from experiments.finish import print_measured, record_row
        from experiments.simulation import evaluate_saved

        begun = self._require_begun()
        options, splits = begun.options, self.load_splits(begun.options)
        run.info["read"] = take(splits)
        print("".join(f"warning: {sentence}\n" for sentence in run.info["read"]["warnings"]), end="", flush=True)
        file, images, row, trivial = evaluate_saved(begun, self.definition(), splits)
        record_row(run, {"n_labelled": 0, **row})  # a saved model does not say on how many labels it was trained
        print(f"{file} on {len(images)} images ({options['split']})")
        print_measured(row, trivial, options["metric"])
        return row[options["metric"]]

    def _check(self) -> None:
        from experiments.checking import examine

        begun = self._require_begun()
        for line in examine(begun, self.definition(), self.load_splits(begun.options)):
            print(line, flush=True)

    def _write_splits(self) -> None:
        from data.splits import table, write_splits

        options = self._require_begun().options
        splits = self.load_splits(options)
        folder = under_root(Path("data") / "splits" / f"{self.name}-{options['dataset_title']}-{options['run']}")
        written = write_splits(splits, folder)
        print(table(splits))
        print(f"written: {os.path.relpath(folder)}/{{{','.join(file.stem for file in written)}}}.csv")

    def _require_begun(self) -> Begun:
        if self.begun is None:
            raise Refused(f"start this with {self.name}.py, or with SCRIPT.run(...) of experiments.{self.name}")
        return self.begun
