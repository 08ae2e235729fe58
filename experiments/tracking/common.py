"""What the scripts share: options and their validation, Sacred's settings, observers, and the way in and out of a run."""

from __future__ import annotations

import inspect
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from sacred import SETTINGS, Experiment
from sacred.host_info import HostInfoGetter
from sacred.observers import FileStorageObserver
from sacred.utils import SacredError, apply_backspaces_and_linefeeds

from experiments.learning.training import OPTIMIZERS, PRECISIONS, SCHEDULES
from experiments.tracking.checkpoints import ROOT, Checkpoint, State, check_unchanged, code_digest, run_key
from heuristics import get as get_heuristic
from heuristics.core import aggregating, selecting
from heuristics.core.evidence import MC
from heuristics.core.initial import STARTS
from heuristics.core.registry import Heuristic, suggestion
from heuristics.core.two_stage import SECOND

# Sources are those that are imported, wherever they lie; output is captured in Python, which loses no last lines.
SETTINGS.update({"DISCOVER_SOURCES": "sys", "DISCOVER_DEPENDENCIES": "sys", "CAPTURE_MODE": "sys"})  # type: ignore[union-attr]


class Refused(SacredError):
    """A mistake of the user's in one sentence, shown without a traceback."""

    def __init__(self, sentence: str):
        super().__init__(sentence, print_traceback=False, print_usage=False)


Refused.__module__ = "builtins"  # Sacred prints the class with its module before the sentence


def loop_options():  # of every script; each adds its own. The comments are what `print_config` shows (a docstring would become an option)
    data_root = ""  # folder of the datasets; empty for $ALIQUOT_DATA, else data/raw
    run = 0  # number of the repetition: same run, other heuristic: same splits, initial set and weights
    seed = run  # of all randomness; follows run

    heuristic = "random"  # query strategy, see `python -m heuristics`
    heuristic_options = {}  # options of the heuristic, e.g. heuristic_options.metric=cosine
    n_initial = 4  # labelled images to start with
    initial = "stratified"  # stratified: of each group (class, grade) equally many | random | kmeans | typiclust: on untrained features
    n_query = 6  # images labelled in each cycle
    n_cycles = 6  # times that images are labelled; models trained: one more
    n_val = 0  # images held out of the pool for choosing the best weights; they are labels too. 0 trains to the last step
    split_seed = -1  # fixes the division into pool and validation for all runs; -1 divides anew for each run
    splits_dir = ""  # folder with train.csv, val.csv, test.csv (made by python -m data.splits) to use instead
    pool_subset = 0  # score a random subset of the pool of this size; 0 for all of it

    mc_samples = 20  # stochastic passes for scoring
    aggregate = "mean"  # of a map of scores: mean | sum | max | top_fraction | foreground | boundary | edt
    select = "top"  # top | power | softmax | softrank: the best, or a stochastic batch
    beta = 1.0  # sharpness of a stochastic batch
    balance = "none"  # none | predicted: deal the picks to the predicted classes in turn
    then = "none"  # second stage, on the embeddings of the highest scores: none | kmeans | coreset | representative
    candidates = 4  # how many times n_query the second stage chooses from
    query_batch_size = 16  # images scored at once
    memory_limit = 4.0  # GB that evidence over the whole pool may take

    start = "cold"  # cold: new weights each cycle | warm: the weights of the cycle before
    steps = 150  # optimiser steps of each training; 0 for epochs x repeats over the labelled set instead
    epochs = 0  # epochs of each training, when steps=0
    repeats = 1  # passes over the labelled set that make an epoch
    batch_size = 8  # images in a training step
    optimizer = "adamw"  # sgd | adamw
    lr = 0.002  # learning rate
    momentum = 0.9  # of sgd, nesterov
    weight_decay = 0.0001  # of either optimiser
    schedule = "cosine"  # none | step | cosine
    lr_step_at = 0.667  # share of the training after which schedule=step drops the rate to a tenth
    warmup = 0  # steps of linear warm-up
    clip = 0.0  # largest norm of the gradient; 0 for none
    val_every = 20  # steps between validations, when n_val > 0
    patience = 0  # validations without a better value before training stops; 0 for never

    device = "auto"  # auto | cpu | cuda | cuda:1 | mps
    precision = "float32"  # float32 | bfloat16 | float16 (mixed)
    channels_last = True  # memory layout that convolutions prefer
    workers = 0  # processes that prepare training batches; does not change the result

    resume = "auto"  # auto: continue where a killed run stopped | fresh: start anew | force: continue although the code changed
    save_every = 60.0  # seconds between saves of unfinished training
    keep_models = False  # keep the model of every cycle, not just the last
    save_maps = False  # a picture of what was picked, each cycle
    results_dir = ""  # also write the main metric per cycle to <results_dir>/<heuristic>_<run>.npy
    checkpoint = ""  # model file for the command `evaluate`; empty for the last one of this run
    split = "test"  # part that the command `evaluate` measures: test | val | train


RANGES: dict[str, tuple[float, float]] = {
    "run": (0, 2**31), "seed": (0, 2**31), "n_initial": (1, 1e9), "n_query": (1, 1e9), "n_cycles": (0, 1e6), "n_val": (0, 1e9),
    "split_seed": (-1, 2**31), "pool_subset": (0, 1e9), "mc_samples": (1, 10_000), "beta": (0, 1e6), "candidates": (1, 1e6),
    "query_batch_size": (1, 1e6), "memory_limit": (0, 1e6), "steps": (0, 1e9), "epochs": (0, 1e6), "repeats": (1, 1e6),
    "batch_size": (1, 1e6), "lr": (0, 1e3), "momentum": (0, 1), "weight_decay": (0, 1e3), "lr_step_at": (0, 1), "warmup": (0, 1e9),
    "clip": (0, 1e9), "val_every": (1, 1e9), "patience": (0, 1e9), "workers": (0, 1024), "save_every": (0, 1e9), "dropout": (0, 0.999),
}  # fmt: skip
CHOICES: dict[str, Iterable[str]] = {
    "initial": ("random", "stratified", *STARTS),
    "aggregate": aggregating.AGGREGATIONS,
    "select": selecting.SELECTIONS,
    "balance": ("none", "predicted"),
    "then": SECOND,
    "start": ("cold", "warm"),
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "resume": ("auto", "fresh", "force"),
    "split": ("test", "val", "train"),
}


def validate(
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    choices: Mapping[str, Iterable[str]],
    ranges: Mapping[str, tuple[float, float]],
) -> Heuristic:
    """Check every option against the type of its default, its choices and its range; returns the heuristic asked for.

    Raises ValueError with the value, what was expected and the nearest valid name.
    """
    for name, value in options.items():
        if name not in defaults:
            raise ValueError(f"unknown option {name!r}.{suggestion(name, defaults)} All options: print_config")
        _check_type(name, value, defaults[name])
    for name, allowed in {**CHOICES, **choices}.items():
        if name in options and options[name] not in allowed:
            known = ", ".join(allowed)
            raise ValueError(f"unknown {name} {options[name]!r}.{suggestion(options[name], allowed)} Known: {known}")
    for name, (low, high) in {**RANGES, **ranges}.items():
        if name in options and not low <= options[name] <= high:
            raise ValueError(f"{name}={options[name]!r} must be between {low:g} and {high:g}")
    if not options["steps"] and not options["epochs"]:
        raise ValueError("steps=0 and epochs=0: give the length of a training, for example steps=100")
    if 0 < options["pool_subset"] < options["n_query"]:
        few = f"pool_subset={options['pool_subset']} is less than n_query={options['n_query']}"
        raise ValueError(f"{few}: score at least as many as are picked")
    device_of(options["device"])
    found = get_heuristic(options["heuristic"], **options["heuristic_options"])
    stochastic = found.wants & (MC | {"mc_detections"})
    if stochastic and options["mc_samples"] < 2:
        raise ValueError(f"mc_samples={options['mc_samples']}: heuristic {found.name!r} compares stochastic passes, use at least 2")
    if options["dropout"] == 0 and (stochastic or options.get("eval_samples")):
        raise ValueError("dropout=0, so stochastic passes would all be equal: set dropout above 0, or use a heuristic like entropy")
    for name, neutral in (("balance", "none"), ("select", "top"), ("then", "none")):
        if options[name] != neutral and not found.per_batch:
            whole = f"heuristic {found.name!r} chooses whole batches"
            raise ValueError(f"{name}={options[name]} needs one score per image; {whole}, use {name}={neutral}")
        if options[name] != neutral and options["then"] != "none" and name != "then":
            both = f"{name}={options[name]} and then={options['then']} both choose the batch"
            raise ValueError(f"{both}; use {name}={neutral} or then=none")
    return found


def _check_type(name: str, value: Any, default: Any) -> None:
    kind = type(default)
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits = whole if kind is int else whole or isinstance(value, float) if kind is float else isinstance(value, kind)
    if not fits:
        words = {int: "a whole number", float: "a number", bool: "True or False", str: "text", dict: "a dictionary", list: "a list"}
        expected = words[kind]
        raise ValueError(f"{name}={value!r} must be {expected}, like {default!r}")


def device_of(name: str) -> torch.device:
    """The device of that name; ValueError where this machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: use auto, cpu, cuda, cuda:0 or mps") from None
    missing = (device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count())) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing or device.type not in ("cpu", "cuda", "mps"):
        there = f"CUDA devices: {torch.cuda.device_count()}"
        raise ValueError(f"device={name} was asked for, but this machine has none such ({there}); use device=cpu")
    return device


def runs_folder() -> Path:
    """Where runs are stored: $ALIQUOT_RUNS, relative to the project, else runs/."""
    return ROOT / os.environ.get("ALIQUOT_RUNS", "runs")


def stored_folder(run: Any) -> Path:
    """Where the files of a run are."""
    return next((Path(o.dir) for o in run.observers if isinstance(o, FileStorageObserver) and o.dir), runs_folder())


def under_root(folder: str) -> Path:
    """A path as users give it: relative ones start at the project, wherever the command was typed."""
    return ROOT / Path(folder).expanduser()


def prepare(ex: Experiment, check: Callable[[Mapping[str, Any]], Any], identify: Callable[[Mapping[str, Any]], str]) -> None:
    """Give an experiment its observers and its gate, which stands before any record is made.

    The gate checks the options (`check`), refuses a run that another process holds or whose code changed, and names a finished one if
    its data (`identify`) are still the same.
    """
    ex.additional_host_info.append(HostInfoGetter(torch.get_num_threads, "threads"))  # on which the last bits of a result depend
    ex.captured_out_filter = apply_backspaces_and_linefeeds  # type: ignore[assignment]
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger = logging.getLogger(str(ex.path))
    logger.addFilter(lambda record: not record.getMessage().startswith("Added new config entry"))
    ex.logger = logger  # type: ignore[assignment]
    # Sacred lets dictionaries grow only where a function takes them.
    ex.capture(lambda heuristic_options, dataset_options=None, pseudo_thresholds=None: None)
    files = FileStorageObserver(runs_folder())
    ex.observers.append(files)
    if os.environ.get("ALIQUOT_MONGO"):
        from experiments.tracking.mongo import Mirror

        ex.observers.append(Mirror(os.environ["ALIQUOT_MONGO"], lambda: str(files.dir)))

    @ex.config_hook
    def gate(config: dict[str, Any], command_name: str, logger: Any) -> dict[str, Any]:
        if command_name.removeprefix(f"{ex.path}.") in COMMANDS:
            with sentences():
                check(config)
                if command_name != "evaluate":
                    _pass_gate(Checkpoint(runs_folder(), run_key(f"{ex.path}-{command_name}", config)), config, identify)
        return {}


def preset(ex: Experiment) -> Callable[[Callable[[], None]], Any]:
    """Decorator for a named config; `print_named_configs` shows the comment above it (Sacred would make an option of a docstring)."""

    def register(options: Callable[[], None]) -> Any:
        scope = ex.named_config(options)
        scope.__doc__ = " ".join(line.lstrip("# ") for line in (inspect.getcomments(options) or "").splitlines())
        return scope

    return register


COMMANDS = ("main", "supervised", "evaluate")


def _pass_gate(checkpoint: Checkpoint, options: Mapping[str, Any], identify: Callable[[Mapping[str, Any]], str]) -> None:
    """Refuse what cannot go on; end quietly where this very run was completed, so that a grid can be started again blindly.

    What goes on is held from here to its end, so that nobody else makes a record of it in between.
    """
    with checkpoint.lock():
        state = checkpoint.load() if options["resume"] != "fresh" else None
    if state is None or not checkpoint.is_completed(state):
        if state is not None:
            check_unchanged(state, state.data, options["resume"])
        checkpoint.hold()
        return
    check_unchanged(state, identify(options), "force")
    curve = runs_folder() / state.finished_by / "curve.png"
    print(f"This run was finished before as run {state.finished_by}: {os.path.relpath(curve)}")
    if state.code != code_digest():
        print(f"The code has changed since (then {state.code}, now {code_digest()}); resume=fresh runs it again.")
    raise SystemExit(0)


def open_state(checkpoint: Checkpoint, data: str, resume: str) -> State | None:
    """The state to continue from, or None to begin."""
    if resume == "fresh":
        checkpoint.clear()
    state = checkpoint.load()
    if state is not None:
        check_unchanged(state, data, resume)
    return state


@contextmanager
def sentences() -> Iterator[None]:
    """Turn the errors that this project raises on purpose, and those of files, into `Refused`; others keep their traceback."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
        if raised_in.parent.parent != ROOT and not isinstance(error, OSError):
            raise
        on_file = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        raise Refused(f"{getattr(error, 'strerror', None) or error}{on_file}") from error


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: Sacred marks the run INTERRUPTED, as it does for Ctrl-C."""


def _terminate(number: int, frame: Any) -> None:
    raise Terminated(signal.Signals(number).name)


def launch(ex: Experiment) -> None:
    """Run the command line: quiet, and every way of stopping leaves a run that the same command continues."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", module=r"(sacred|baal|monai|torch|pkg_resources|docopt)(\.|$)")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    for word in sys.argv[1:]:  # Sacred asserts this before any check of ours
        name, _, text = word.partition("=")
        if name in ("run", "seed") and not re.fullmatch(r"-?(0|[1-9]\d*)", text):
            sys.exit(f"Refused: {word}: expected a whole number such as {name}=3")
    try:
        ex.run_commandline()
    except KeyboardInterrupt as stop:
        again = "The same command without resume=fresh" if "resume=fresh" in sys.argv else "The same command"
        print(f"\nStopped{f' by {stop}' if str(stop) else ''}. {again} continues from here.", file=sys.stderr)
        sys.exit(130)
