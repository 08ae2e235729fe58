"""What a script is made of: its options, presets and task become main, supervised, evaluate, check and splits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sacred import Experiment

from data.catalogue import OWN, module_of
from data.catalogue import check as check_dataset
from data.files import require_writable, under_root
from data.names import Refused
from experiments.entry import Entry
from experiments.tracking import declare
from experiments.tracking.round_options import with_classes
from experiments.tracking.suited import provisional, wanted
from experiments.tracking.weights_option import digest_of_weights

if TYPE_CHECKING:
    from sacred.run import Run

    from data.inventory import Inventory
    from data.splits import Splits
    from experiments.suggesting import Turn
    from experiments.tasks.task import Definition
    from experiments.tracking.checkpoints import Begun, State
    from heuristics.core.registry import Heuristic


class Script(Entry):
    """Active learning for one task: what segment.py, classify.py and detect.py are."""

    continued = ("main", "supervised")
    prepared = ("evaluate", "check", "splits", "predict")
    turn: Turn | None = None  # of `suggest`

    def __init__(
        self,
        ex: Experiment,
        options: declare.Options,
        presets: Mapping[str, declare.Preset],
        definition: Callable[[], Definition],  # imported when it is needed
    ):
        super().__init__(ex, options, presets)
        self.definition = definition
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

        @ex.command
        def suggest(_run):
            """Your own images, labelled by you: which to label next, round by round (see docs/your-own-images.md)."""
            from experiments.turning import run_round

            if self.turn is None:
                raise Refused(f"start this with {self.name}.py, or with SCRIPT.run(...) of experiments.{self.name}")
            return run_round(_run, self.turn)

        @ex.command(unobserved=True)  # type: ignore[reportOptionalCall]
        def predict():
            """What the model of the last round of `suggest` makes of all images, or of those in images=DIR."""
            self._predict()

        @ex.command(unobserved=True)  # type: ignore[reportOptionalCall]
        def check():
            """Tell all that is read of the dataset, what to be wary of and about how long it takes; train nothing."""
            self._check()

        @ex.command(unobserved=True)  # type: ignore[reportOptionalCall]
        def splits():
            """Write the division of this run as CSV files, to be edited and given back as splits_dir."""
            self._write_splits()

    def start(
        self, command: str, options: declare.Values, presets: Sequence[str] = (), flags: Mapping[str, Any] | None = None
    ) -> Run | None:
        """As every script's; a call of `suggest` is a run only where it trains."""
        if command == "check" and options["dataset"] in OWN:
            return self._check_own(options, presets, flags)
        if command in ("suggest", "predict") and options["devices"] > 1:
            raise Refused(f"devices={options['devices']}: {command} computes on one device, use devices=1")
        if command != "suggest":
            return super().start(command, options, presets, flags)
        self.check(options)
        from experiments.rounds.place import checkpoint_of, require_own
        from experiments.suggesting import opened
        from experiments.turning import end_round, is_run, take_labels, tell

        require_own(options)
        checkpoint = checkpoint_of(self.name, options)
        with checkpoint.lock():
            pulled = take_labels(self.name, options, checkpoint.folder)
            turn = opened(self.name, self.definition(), options, self.check, self.code_of(options), checkpoint)
            turn.said[:0] = pulled
            if not is_run(turn):
                tell(turn)
                return None
            changed = {name: v for name, v in turn.options.items() if v != self.options[name].default}
            meta = {"meta_info": {"named_configs": list(presets)}, "options": dict(flags or {})}
            self.turn = turn
            try:
                run = self._observed(command, {"config_updates": changed, **meta})
            finally:
                self.turn = None
            end_round(turn)
            return run

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
        from experiments.tasks.representation import check_features  # later still: needs torchvision

        check_features(options, heuristic)
        if options["results_dir"]:
            require_writable("results_dir", under_root(options["results_dir"]))
        definition.check(options)
        return heuristic

    def import_late(self) -> None:
        """Import the task."""
        self.definition()

    def suited(self, options: declare.Values, command: str = "main") -> tuple[declare.Values, str]:
        """The options with values for those that are taken from the data, and which in words; '' where there are none.

        Refused for anything that cannot work, before data are loaded.
        """
        if not wanted(options) or command == "predict":  # what rounds took from the data stands in their state
            return options, ""
        self.check(options)
        from experiments.looking import suit_to_data

        return suit_to_data(self.name, self.definition(), options, command == "supervised", timed=command == "check")

    def titled(self, options: declare.Values) -> declare.Values:
        """As every script's options, with the digests of the files that hold weights."""
        titled = super().titled(with_classes(self.name, options))
        return titled | {f"{name}_digest": digest_of_weights(options[name]) for name in ("weights", "features")}

    def code_of(self, options: declare.Values) -> str:
        """Digest of the code that decides the result: script, strategies and dataset, with all that they import."""
        from experiments.tracking.code import digest_of
        from heuristics import get
        from heuristics.core.initial import STARTS
        from heuristics.core.two_stage import SECOND

        chosen = {options["heuristic"]} | {options["initial"], options["then"]} & {*STARTS, *SECOND} - {"none"}
        strategies = sorted({get(name).function.__module__ for name in chosen})
        return digest_of(f"experiments.{self.name}", *strategies, module_of(self.name, options["dataset"]))

    def data_of(self, options: declare.Values) -> str:
        """Digest of the dataset and its division."""
        from experiments.simulation import identity

        return identity(self.load_splits(options))

    def mended(self, begun: Begun, state: State, supervised: bool) -> Callable[[], None]:
        """What writes files of a finished run that were lost again. Refused where its data have changed."""
        from experiments.finish import write_again
        from experiments.simulation import identity

        splits = self.load_splits(begun.options)
        begun.checkpoint.require_same_data(state, identity(splits))
        return lambda: write_again(begun, self.definition(), splits, state, supervised)

    def load_splits(self, options: Mapping[str, Any]) -> Splits:
        """The dataset, divided."""
        from experiments.simulation import splits_of
        from experiments.tasks.representation import with_features

        definition = self.definition()
        return splits_of(with_features(definition.load(options), options, definition), options)

    def follow(self, command: str, begun: Begun) -> None:
        """The same loop, of which nothing is kept."""
        from experiments.simulation import evaluate_saved, simulate

        splits = self.load_splits(begun.options)
        if command == "evaluate":
            evaluate_saved(begun, self.definition(), splits)
        else:
            simulate(begun, self.definition(), splits, lambda row: None, command == "supervised")

    def _simulate(self, run: Run, supervised: bool = False) -> float:
        from data.inventory import lines
        from experiments.finish import finish
        from experiments.several import several
        from experiments.simulation import identity, simulate
        from experiments.tracking.ending import record_row
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

        with several(self.name, "supervised" if supervised else "main", begun):
            state, trivial = simulate(begun, definition, splits, lambda row: record_row(run, row), supervised, tell)
        if state.cycle <= (0 if supervised else begun.options["n_cycles"]):  # somebody has to label first
            print("Labels that were asked for are not there yet: the same command goes on when they are.")
            return nan
        return finish(run, begun, definition, splits, state, trivial, supervised)

    def _evaluate(self, run: Run) -> float:
        from data.inventory import take
        from experiments.finish import print_measured
        from experiments.several import several
        from experiments.simulation import evaluate_saved
        from experiments.tracking.ending import record_row

        begun = self._require_begun()
        options, splits = begun.options, self.load_splits(begun.options)
        run.info["read"] = take(splits)
        print("".join(f"warning: {sentence}\n" for sentence in run.info["read"]["warnings"]), end="", flush=True)
        with several(self.name, "evaluate", begun):
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

    def _check_own(self, options: declare.Values, presets: Sequence[str], flags: Mapping[str, Any] | None) -> None:
        """As every dataset's; where labels are missing, which a simulation refuses, what `suggest` would do instead."""
        try:
            super().start("check", options, presets, flags)
        except Refused as error:
            from experiments.rounds.place import checkpoint_of, require_own
            from experiments.suggesting import opened
            from experiments.turning import foretold

            self.check(options)  # refused for options alone: nothing is read
            try:
                require_own(options)
                checkpoint, code = checkpoint_of(self.name, options), self.code_of(options)
                turn = opened(self.name, self.definition(), {**options, "resume": "auto"}, self.check, code, checkpoint)
            except Refused:
                raise error from None
            if turn.images.labelled.all():
                raise
            print("\n".join([*foretold(turn), f"A simulation needs all labels: {str(error).splitlines()[0]}"]))

    def _predict(self) -> None:
        from experiments.predicting import predict
        from experiments.rounds.place import checkpoint_of, require_own

        options = self._require_begun().options
        require_own(options)
        checkpoint = checkpoint_of(self.name, options)
        with checkpoint.lock():
            folder, count = predict(self.name, self.definition(), dict(options), checkpoint)
        print(f"{count} images: {os.path.relpath(folder)}")

    def _write_splits(self) -> None:
        from data.splits import table, write_splits

        options = self._require_begun().options
        splits = self.load_splits(options)
        folder = under_root(Path("data") / "splits" / f"{self.name}-{options['dataset_title']}-{options['run']}")
        written = write_splits(splits, folder)
        print(table(splits))
        print(f"written: {os.path.relpath(folder)}/{{{','.join(file.stem for file in written)}}}.csv")
