"""The way in of a script whose runs are checked, held, continued and recorded, whatever it is that they do."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sacred import SETTINGS, Experiment
from sacred.config import ConfigDict
from sacred.utils import apply_backspaces_and_linefeeds

from data.catalogue import OWN
from data.files import folder_of
from data.names import Refused
from experiments.tracking import declare, launch
from experiments.tracking.weights_option import runs_folder

if TYPE_CHECKING:
    from sacred.run import Run

    from experiments.tracking.checkpoints import Begun, Checkpoint, State

# Sources are those that are imported, wherever they lie; output is captured in Python, which loses no last lines.
OF_SACRED = {"DISCOVER_SOURCES": "sys", "DISCOVER_DEPENDENCIES": "sys", "CAPTURE_MODE": "sys"}
SETTINGS.update(OF_SACRED)  # type: ignore[union-attr]
NOT_SAID = ("Added new config entry", "Aborted after", "Failed after")  # by Sacred: scripts say what matters themselves


class Entry:
    """A Sacred experiment whose runs go on where they stopped. A kind of script says what they are: see `commands`.

    Attributes: `continued`, the commands whose runs are continued; `prepared`, others whose options are checked.
    """

    continued: tuple[str, ...] = ("main",)
    prepared: tuple[str, ...] = ()

    def __init__(self, ex: Experiment, options: declare.Options, presets: Mapping[str, declare.Preset]):
        self.ex, self.options, self.presets = ex, options, presets
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

    def check(self, options: declare.Values) -> Any:
        """Refused for anything that cannot work, before data are loaded; what else `Begun` holds."""
        raise NotImplementedError

    def code_of(self, options: declare.Values) -> str:
        """Digest of the code that decides the result."""
        raise NotImplementedError

    def data_of(self, options: declare.Values) -> str:
        """Digest of the data and their division."""
        raise NotImplementedError

    def mended(self, begun: Begun, state: State, supervised: bool) -> Callable[[], None]:
        """What writes files of a finished run that were lost again. Refused where its data have changed."""
        raise NotImplementedError

    def follow(self, command: str, begun: Begun) -> None:
        """What another process of a run on several devices does beside it, see `experiments.several`."""
        raise NotImplementedError

    def import_late(self) -> None:
        """Import what runs of this script need once their options are accepted, beside what all scripts need."""
        raise NotImplementedError

    def suited(self, options: declare.Values, command: str = "main") -> tuple[declare.Values, str]:
        """The options with values for those that are taken from the data, and which in words; '' where none are."""
        return options, ""

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
        needed = command in (*self.continued, *self.prepared)
        if needed:
            options, said = self.suited(options, command)
            print(said, end="\n" if said else "")
        changed = {name: value for name, value in options.items() if value != self.options[name].default}
        meta = {"named_configs": list(presets)}
        sacred: dict[str, Any] = {"config_updates": changed, "meta_info": meta, "options": dict(flags or {})}
        if not needed:
            return self.ex.run(command, **sacred)
        checked = self.check(options)
        checkpoint = self.checkpoint_of(command if command in self.continued else "main", options)
        from experiments.tracking.checkpoints import Begun  # late: needs torch

        if command not in self.continued:
            self.begun = Begun(options, checked, checkpoint, None, "")
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
                self.begun = Begun(options, checked, checkpoint, state, code)
                return self._observed(command, sacred)
        finished = Begun(options, checked, checkpoint, state, code)
        self._name_finished(finished, state, command == "supervised")  # held no longer: others may ask the same
        return None

    def titled(self, options: declare.Values) -> declare.Values:
        """The options, each checked, with the title of the dataset in figures: its own name, or the user's folder's."""
        declare.check(self.options, options)
        own = folder_of(options["data_root"]).resolve().name if options["dataset"] in OWN else options["dataset"]
        return {**options, "dataset_title": options["dataset_title"] or own}

    def checkpoint_of(self, command: str, options: declare.Values) -> Checkpoint:
        """Where this run keeps what a restart needs."""
        from experiments.tracking.checkpoints import Checkpoint, run_key

        return Checkpoint(runs_folder(), run_key(f"{self.name}-{command}", options))

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
        write_again = self.mended(begun, state, supervised)
        curve = begun.checkpoint.record_of(state) / "curve.png"
        print(f"This run was finished before as run {state.finished_by}: {os.path.relpath(curve)}")
        write_again()
        if state.code != begun.code:
            print(f"The code has changed since (then {state.code}, now {begun.code}); resume=fresh runs it again.")

    def _require_begun(self) -> Begun:
        if self.begun is None:
            raise Refused(f"start this with {self.name}.py, or with SCRIPT.run(...) of experiments.{self.name}")
        return self.begun
