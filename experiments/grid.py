"""A grid of runs: every combination of the values given, each as a process and a command line of its own.

python experiments/grid.py segment with glas_quick heuristic=random,entropy,bald run=0..4            # one after another, here
python experiments/grid.py segment with glas_quick heuristic=random,entropy,bald run=0..4 --jobs 4   # four at a time
python experiments/grid.py segment with glas_quick heuristic=random,entropy,bald run=0..4 --print    # only print the command lines
python experiments/grid.py segment with glas heuristic=random,bald run=0..4 --slurm --gpus 1 --time 240

`a,b,c` and `0..4` (4 included) stand for several values; commas within brackets or quotes do not separate. Names, values and
combinations of options are checked before anything starts; what depends on the data (that the files are there, that the pool is large
enough) each run finds out when it has loaded them. Finished runs are named and left alone, what another process works on is left to
it, and stopped runs continue, so that the same grid can be started again at any time.
"""

from __future__ import annotations

import argparse
import logging
import math
import multiprocessing
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, wherever this is started from

from tqdm import tqdm

from experiments.grids.jobs import Job, Outcome, noting_stops, recorded, require_address, require_storable, run_here, send_rest, table

tqdm.monitor_interval = 0  # no thread beside the processes that are started
ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("main", "supervised")  # those that know a finished run
MOST = 10_000  # command lines
BRACKETS = {"(": ")", "[": "]", "{": "}"}
NUMBER = r"\s*[-+.]?\d[\d.e+-]*\s*"


def split_values(text: str) -> list[str]:
    """Split at commas that stand in no bracket and no quotes; ValueError where one is left open or a value is empty."""
    pieces, closing = [""], list[str]()
    for token in re.findall(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", text, re.DOTALL):  # a whole quotation or one letter
        if token in ("'", '"'):
            raise ValueError(f"{text!r} lacks a closing {token}")
        if token == "," and not closing:
            pieces.append("")
            continue
        if token in BRACKETS:
            closing.append(BRACKETS[token])
        elif closing and token == closing[-1]:
            closing.pop()
        pieces[-1] += token
    if closing:
        raise ValueError(f"{text!r} lacks a closing {closing[-1]}")
    if "" in pieces and len(pieces) > 1:
        raise ValueError(f"{text!r} has an empty value beside a comma")
    return pieces


def values_of(word: str) -> list[str]:
    """The words that one word of a grid stands for: `run=0..2` is run=0, run=1, run=2; a preset is itself."""
    name, equals, text = word.partition("=")
    if not equals:
        return split_values(word)
    values: list[str] = []
    for piece in split_values(text):
        whole = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", piece)
        if whole is None and re.fullmatch(rf"{NUMBER}\.\.[^/]*|[^/]*\.\.{NUMBER}", piece):
            raise ValueError(f"{name}={piece} is no range: write whole numbers on both sides, like {name}=0..4, and text in quotes")
        if whole is None:
            values.append(piece)
            continue
        first, last = int(whole[1]), int(whole[2])
        if first > last:
            raise ValueError(f"{name}={piece} counts down; write {name}={last}..{first}")
        if last - first >= MOST:
            raise ValueError(f"{name}={piece} are {last - first + 1} values, more than the {MOST} of a grid")
        values += map(str, range(first, last + 1))
    return [f"{name}={value}" for value in dict.fromkeys(values)]


def expand(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of the values of all words; the last word changes fastest. ValueError for an option that is given twice."""
    given: dict[str, list[str]] = {}
    for name, equals, text in (word.partition("=") for word in words):
        if equals:
            given.setdefault(name.strip(), []).append(text)
    for name, texts in given.items():
        if len(texts) > 1:
            raise ValueError(f"{name} is given {len(texts)} times; write all its values at once: {name}={','.join(texts)}")
    columns = [values_of(word) for word in words]
    count = math.prod(map(len, columns))
    if count > MOST:
        raise ValueError(f"these are {count} command lines, more than the {MOST} of a grid")
    return list(product(*columns))


def scripts() -> list[str]:
    """The scripts beside this one that make runs."""
    return sorted(file.stem for file in Path(__file__).resolve().parent.glob("*.py") if "\n    launch(ex)\n" in file.read_text())


def parse(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """Script, command and the words after `with`. Raises ValueError with the nearest name."""
    from heuristics.core.registry import suggestion

    end = words.index("with") if "with" in words else len(words)
    script, command, *more = [*words[:end], "main"]
    script = Path(script).stem  # experiments/segment.py is segment
    if script not in scripts():
        raise ValueError(f"unknown script {script!r}.{suggestion(script, scripts())} Known: {', '.join(scripts())}")
    if command not in COMMANDS or len(more) > 1:
        hint = suggestion(command, COMMANDS) if "with" in words else " Presets and options come after the word `with`."
        raise ValueError(f"unknown command {command!r}.{hint} Known: {', '.join(COMMANDS)}")
    return script, command, list(words[end + 1 :])


def examine(script: str, command: str, lines: Sequence[tuple[str, ...]]) -> list[Job]:
    """Check every line as the script does and find its finished run; ValueError with all mistakes, one sentence each.

    The script is imported once for all lines (seconds), so this belongs into a process of its own.
    """
    import importlib

    from sacred.arg_parser import get_config_updates
    from sacred.initialize import create_run
    from sacred.utils import SacredError

    from experiments.tracking.checkpoints import run_key
    from experiments.tracking.common import runs_folder, sentences
    from heuristics.core.registry import suggestion

    module = importlib.import_module(f"experiments.{script}")
    mistakes: dict[str, tuple[str, ...]] = {}
    options = {}
    for words in lines:
        updates, presets = get_config_updates(list(words))
        try:
            for preset in presets:
                if preset not in module.ex.named_configs and not Path(preset).exists():
                    known = f"Known: {', '.join(module.ex.named_configs)}"
                    raise ValueError(f"unknown preset {preset!r}.{suggestion(preset, module.ex.named_configs)} {known}")
            options[words] = create_run(module.ex, "print_config", updates, presets, force=True).config
            with sentences():
                module.check(options[words])
        except (ValueError, SacredError, AssertionError, TypeError) as error:  # Sacred's own mistrust of a seed is an AssertionError
            mistakes.setdefault(str(error), words)
    if mistakes:
        raise ValueError("\n".join(f"{sentence} ({' '.join(words)})" for sentence, words in mistakes.items()))
    keys = {words: run_key(f"{module.ex.path}-{command}", options[words]) for words in lines}
    first: dict[str, tuple[str, ...]] = {}
    for words, key in keys.items():
        if first.setdefault(key, words) != words:
            raise ValueError(f"`{' '.join(first[key])}` and `{' '.join(words)}` are one and the same run: leave one of them out")
    start = (sys.executable, str(ROOT / "experiments" / f"{script}.py"), *([] if command == "main" else [command]))
    return [
        Job(key, words, (*start, *(["with", *words] if words else [])), runs_folder(), _is_finished(module, key, options[words]))
        for words, key in keys.items()
    ]


def _is_finished(module: ModuleType, key: str, options: Mapping[str, Any]) -> bool:
    """Whether this run was completed on the data that are there now. What is wrong with it otherwise is for the run itself to say."""
    from experiments.simulation import identity
    from experiments.tracking.checkpoints import Checkpoint
    from experiments.tracking.common import runs_folder

    checkpoint = Checkpoint(runs_folder(), key)
    try:
        state = checkpoint.load() if options["resume"] != "fresh" else None
        return state is not None and checkpoint.is_completed(state) and state.data == identity(module.load_splits(options))
    except (ValueError, OSError):
        return False


def examined(script: str, command: str, lines: Sequence[tuple[str, ...]]) -> list[Job]:
    """`examine` in a process of its own, so that this one stays small."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, logging.disable, (logging.CRITICAL,)) as pool:  # what Sacred would log, the runs log again
        return pool.submit(examine, script, command, lines).result()


def run_grid(jobs: Sequence[Job], options: argparse.Namespace) -> dict[Job, Outcome]:
    """Run what is not finished, here or on Slurm, with a bar of overall progress."""
    outcomes = {job: recorded(job, "finished before") for job in jobs if job.finished}
    left = [job for job in jobs if not job.finished]
    if left:
        require_storable(left[0].runs)
    with noting_stops() as stops, tqdm(total=len(left), unit="run", disable=None) as bar:

        def done(job: Job, outcome: Outcome) -> None:
            outcomes[job] = outcome
            bar.update(outcome.status in ("completed", "failed"))
            if outcome.status not in ("not started", "in the queue"):
                bar.write(f"{outcome.status}: {job.title}", file=sys.stderr)

        if options.slurm:
            from experiments.grids.slurm import Resources, run_on_slurm

            resources = Resources(options.partition, options.gpus, options.time, options.cpus, options.jobs or 0)
            run_on_slurm(left, resources, stops, done)
        else:
            slots = options.jobs or 1
            threads = int(os.environ.get("OMP_NUM_THREADS", max(1, _cores() // slots)))
            run_here(left, slots, threads, stops, done)
    return {job: outcomes[job] or Outcome("finished before") for job in jobs}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _whole(least: int):
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {least}")
        return int(text)

    return number


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of the grid itself."""
    parser = argparse.ArgumentParser(
        prog="grid.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        usage="grid.py SCRIPT [supervised] with [PRESET ...] [OPTION=VALUE,VALUE] [OPTION=FIRST..LAST] [--jobs N] [--print | --slurm]",
    )  # fmt: skip
    parser.add_argument("words", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=_whole(1), metavar="N", help="runs at a time: 1 here unless given, all of them on Slurm")
    parser.add_argument("--print", action="store_true", help="print the command lines of the runs that are not finished, and do no more")
    parser.add_argument("--slurm", action="store_true", help="submit the runs to Slurm and wait for them")
    parser.add_argument("--partition", default="", help="with --slurm: partition, else the cluster's default")
    parser.add_argument("--gpus", type=_whole(0), default=0, metavar="N", help="with --slurm: GPUs of each run (0)")
    parser.add_argument("--cpus", type=_whole(1), default=2, metavar="N", help="with --slurm: cores of each run (2)")
    parser.add_argument("--time", type=_whole(1), default=60, metavar="MINUTES", help="with --slurm: until a run is queued again (60)")
    options = parser.parse_intermixed_args(words)
    for name in ("partition", "gpus", "cpus", "time"):
        if not options.slurm and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} is for jobs of Slurm: add --slurm")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Run a grid; returns 0 if all is finished, 1 if something failed or was refused, 130 if it was stopped or others hold some of it."""
    options = arguments(words)
    try:
        script, command, described = parse(options.words)
        if options.slurm:
            from experiments.grids.slurm import require_slurm

            require_slurm()
        require_address()
        jobs = examined(script, command, expand(described))
        if options.print:
            for job in jobs:
                if job.finished:
                    print(f"# finished before: {job.title}", file=sys.stderr)
                else:
                    print(shlex.join(["python", os.path.relpath(job.command[1]), *job.command[2:]]))
            return 0
        outcomes = run_grid(jobs, options)
    except (ValueError, OSError) as error:
        print("\n".join(f"Refused: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while the options are checked; nothing has started
        return 130
    print(table(outcomes))
    send_rest([job for job in jobs if not job.finished])
    statuses = {outcome.status for outcome in outcomes.values()}
    if statuses - {"completed", "finished before", "failed"}:
        print("The same command continues from here.")
        return 130
    return 1 if "failed" in statuses else 0


if __name__ == "__main__":
    sys.exit(main())
