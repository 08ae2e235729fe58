"""Pre-training without labels as a kind of script: what pretrain.py is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sacred import Experiment

from data.catalogue import check as check_dataset
from data.catalogue import module_of
from data.names import Refused
from experiments.entry import Entry
from experiments.tracking import declare

if TYPE_CHECKING:
    from sacred.run import Run

    from data.splits import Splits
    from experiments.tracking.checkpoints import Begun, State


class Pretraining(Entry):
    """An encoder is learnt from the images of a training part alone."""

    def __init__(self, ex: Experiment, options: declare.Options, presets: Mapping[str, declare.Preset]):
        super().__init__(ex, options, presets)
        ex.capture(lambda dataset_options: None)  # Sacred lets dictionaries grow only where a function takes them

        @ex.main  # type: ignore
        def main(_run):
            """Learn an encoder without labels, for weights=simsiam:RUN of the other scripts (the default)."""
            return self._pretrain(_run)

    def check(self, options: declare.Values) -> None:
        """Refused for anything that cannot work, before data are loaded."""
        declare.check(self.options, options)
        check_dataset(options["task"], options["dataset"], options["dataset_options"])
        from experiments.learning.devices import require_devices  # late: needs torch
        from models.classifiers import make_classifier

        require_devices(options)
        for name, task in (("image_size", "classify"), ("scale", "segment, detect")):
            if options[name] != self.options[name].default and options["task"] not in task:
                other = "scale" if name == "image_size" else "image_size"
                raise Refused(f"{name}={options[name]} is for task={task}; with task={options['task']} use {other}")
        import torch

        with torch.device("meta"):
            size = options["crop"] or options["image_size"] or None
            make_classifier(options["model"], 2, 3, 0.0, image_size=size)

    def code_of(self, options: declare.Values) -> str:
        """Digest of the code that decides the result: script and dataset, with all that they import."""
        from experiments.tracking.code import digest_of

        return digest_of(f"experiments.{self.name}", module_of(options["task"], options["dataset"]))

    def import_late(self) -> None:
        """Import what trains."""
        import_module("experiments.tasks.siamese")

    def data_of(self, options: declare.Values) -> str:
        """Digest of the images that are learnt from and of those that report."""
        from experiments.tasks.siamese import load

        return _identity(load(options))

    def mended(self, begun: Begun, state: State, supervised: bool) -> Callable[[], None]:
        """What writes files of a finished run that were lost again. Refused where its data have changed."""
        from experiments.tasks.siamese import load, make_measure
        from experiments.tracking.ending import restore_lost

        splits = load(begun.options)
        begun.checkpoint.require_same_data(state, _identity(splits))

        def write() -> list[Path]:
            return self._write(begun, state, make_measure(begun.options, splits)[1])

        return lambda: restore_lost(begun.checkpoint, state, write)

    def follow(self, command: str, begun: Begun) -> None:
        """The same training, of which nothing is kept."""
        from experiments.tasks.siamese import load, make_measure, pretrain
        from experiments.tracking.checkpoints import State

        options, splits = begun.options, load(begun.options)
        state = begun.state or State(cycle=0)
        pretrain(options, splits, make_measure(options, splits)[0], begun.checkpoint, state, lambda row: None)

    def _pretrain(self, run: Run) -> float:
        import torch

        from data.inventory import lines, take
        from experiments.learning.devices import device_of, precision_of
        from experiments.several import several
        from experiments.tasks.siamese import encoder_in, load, make_measure, pretrain, save_encoder
        from experiments.tracking.checkpoints import State
        from experiments.tracking.ending import mark_finished, name_files, record_row
        from experiments.tracking.processes import warn_of_shared_cores

        warn_of_shared_cores()
        begun = self._require_begun()
        options, state = begun.options, begun.state
        splits = load(options)
        if state is None:
            state = State(cycle=0, data=_identity(splits))
        else:
            begun.checkpoint.require_same_data(state, _identity(splits))
            print(f"Continuing after epoch {max(0, state.cycle - 1)}.")
        if not state.finished_by:  # else nothing is trained: only its record is made again
            state.code = begun.code
        begun.checkpoint.save(state)  # what an unfinished training belongs to
        run.info["read"] = take(splits)
        print("\n".join(lines(run.info["read"])), flush=True)
        torch.use_deterministic_algorithms(device_of(options["device"]).type == "cpu")  # a GPU keeps its fast kernels
        measure, yardsticks = make_measure(options, splits)
        with several(self.name, "main", begun):
            model = pretrain(options, splits, measure, begun.checkpoint, state, lambda row: record_row(run, row))
        if model is not None:
            save_encoder(encoder_in(begun.checkpoint), model, options, splits.train)
            begun.checkpoint.training_file.unlink(missing_ok=True)
        files = self._write(begun, state, yardsticks)
        verdict = told(options, state)
        run.info.update({"yardsticks": yardsticks, "collapsed": verdict[0], "verdict": verdict[1]})
        run.info["precision"] = precision_of(options)
        mark_finished(run, begun.checkpoint, state, files)
        print_rows(state, yardsticks)
        print(verdict[1])
        name_files(run, files)
        return state.curve[-1].get("knn_accuracy", state.curve[-1]["loss"])

    def _write(self, begun: Begun, state: State, yardsticks: Mapping[str, float]) -> list[Path]:
        """Write the curve as an array and as a picture; returns these and the file of the encoder."""
        from experiments.pictures.curve import save_curve
        from experiments.tasks.siamese import healthy_std
        from experiments.tracking.deliver import curve_of, save_array

        options, folder, curve = begun.options, begun.checkpoint.outputs, curve_of(state)
        save_array(folder / "curve.npy", curve)
        drawn = {name: curve[name].tolist() for name in curve.dtype.names or () if name not in ("epoch", "seconds")}
        main = "knn_accuracy" if "knn_accuracy" in drawn else "loss"
        beside = {"output_std": {"1/sqrt(d)": healthy_std(options)}, "knn_accuracy": dict(yardsticks)}
        title = f"SimSiam: {options['dataset_title'] or options['dataset']}, {options['model']}, run {options['run']}"
        epochs = curve["epoch"].tolist()
        save_curve(folder / "curve.png", epochs, drawn, title, main, beside=beside, along="epochs")
        encoder = folder / "encoder.pt"
        return [folder / "curve.npy", folder / "curve.png", *([encoder] if encoder.is_file() else [])]


def told(options: Mapping[str, Any], state: State) -> tuple[bool, str]:
    """Whether the outputs collapsed, and what the run says of it at its end."""
    from experiments.tasks.siamese import healthy_std
    from models.simsiam import collapsed

    std, healthy = state.curve[-1]["output_std"], healthy_std(options)
    near = f"output_std is {std:.2g}, healthy is about 1/sqrt({options['projector_dim']}) = {healthy:.2g}"
    if collapsed(std, options["projector_dim"]):
        way_out = "this encoder tells images apart badly; try a lower lr or a larger batch_size"
        return True, f"Collapsed: the outputs of all images are nearly the same ({near}); {way_out}."
    return False, f"Not collapsed: {near}."


def print_rows(state: State, yardsticks: Mapping[str, float]) -> None:
    """The curve, the first and the last rows of a long one, and what its accuracy is read beside."""
    columns = [name for name in state.curve[-1] if name != "epoch"]
    print("\n" + f"{'epoch':>8}" + "".join(f"{name:>16}" for name in columns))
    rows = state.curve if len(state.curve) <= 20 else [*state.curve[:5], {}, *state.curve[-15:]]
    for row in rows:
        numbers = "".join(f"{row[name]:>16.4f}" if name in row else f"{'':>16}" for name in columns)
        print(f"{row.get('epoch', '...'):>8}{numbers}")
    for name, value in yardsticks.items():
        print(f"knn_accuracy beside: {name} {value:.4f}")


def _identity(splits: Splits) -> str:
    from experiments.tracking.checkpoints import data_digest

    return data_digest(splits.train, splits.val, splits.test)
