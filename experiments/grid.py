"""A grid of runs: every combination of the values given, each as a process and a command line of its own.

python experiments/grid.py segment with glas_quick heuristic=random,bald run=0..4            # one after another, here
python experiments/grid.py segment with glas_quick heuristic=random,bald run=0..4 --jobs 4   # four at a time
python experiments/grid.py segment with glas heuristic=random,bald run=0..4 --devices 0,1,2  # one on each GPU
python experiments/grid.py classify with tiny run=0..299 --in-process                        # many short runs
python experiments/grid.py segment with glas_quick heuristic=random,bald run=0..4 --print    # only the command lines
python experiments/grid.py segment with glas heuristic=random,bald run=0..4 --slurm --gpus 1 --time 240

`a,b,c` and `0..4` (4 included) stand for several values; commas within brackets or quotes do not separate. Names,
values and combinations of options are checked before anything starts; what depends on the data (that the files are
there, that the pool is large enough) each run finds out when it has loaded them. Finished runs are named and left
alone, what another process works on is left to it, and stopped runs continue, so that the same grid can be started
again at any time, and twice at once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, wherever this is started from
if __name__ == "__main__":
    from data.memory import say_when_short

    say_when_short()

from tqdm import tqdm

from data.names import Refused
from experiments.grids.examining import examined
from experiments.grids.forks import forking, require_forks
from experiments.grids.jobs import (
    Job,
    Outcome,
    noting_stops,
    recorded,
    require_address,
    require_storable,
    run_here,
    send_rest,
    sharing,
    starting,
    table,
)
from experiments.grids.slots import devices_of, named, slots_of
from experiments.grids.words import expand, parse

tqdm.monitor_interval = 0  # no thread beside the processes that are started


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

            if 0 < options.gpus < (each := devices_of(left)):
                raise Refused(f"--gpus {options.gpus}, but each run has devices={each}: use --gpus {each}")
            resources = Resources(options.partition, options.gpus, options.time, options.cpus, options.jobs or 0)
            run_on_slurm(left, resources, stops, done)
        else:
            slots = slots_of(left, options.devices, options.jobs)[: len(left)]
            shared = sharing(max(1, len(slots)))
            with forking(shared) if options.in_process else nullcontext(starting(shared)) as start:
                run_here(left, slots, start, stops, done)
    return {job: outcomes[job] or Outcome("finished before") for job in jobs}


def _whole(least: int):
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {least}")
        return int(text)

    return number


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of the grid itself."""
    parser = argparse.ArgumentParser(
        prog="grid.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="grid.py SCRIPT [supervised] with [PRESET ...] [OPTION=VALUE,VALUE] [OPTION=FIRST..LAST] "
        "[--jobs N] [--devices 0,1,...] [--in-process | --print | --slurm]",
    )
    add = parser.add_argument
    add("words", nargs="+", help=argparse.SUPPRESS)
    add("--jobs", type=_whole(1), metavar="N", help="runs at a time: 1 here (or 1 on each GPU), all of them on Slurm")
    gpus = "GPUs of this machine, one run on each; one that is named twice takes two (numbers or uuids)"
    add("--devices", metavar="0,1,...", help=gpus)
    add("--in-process", action="store_true", help="import the script once for all runs: for many short ones")
    add("--print", action="store_true", help="print the command lines of the runs that are not finished, and no more")
    add("--slurm", action="store_true", help="submit the runs to Slurm and wait for them")
    add("--partition", default="", help="with --slurm: partition, else the cluster's default")
    add("--gpus", type=_whole(0), default=0, metavar="N", help="with --slurm: GPUs of each run (0)")
    add("--cpus", type=_whole(1), default=2, metavar="N", help="with --slurm: cores of each run (2)")
    minutes = "with --slurm: until a run is queued again (60)"
    add("--time", type=_whole(1), default=60, metavar="MINUTES", help=minutes)
    options = parser.parse_intermixed_args(words)
    for name in ("partition", "gpus", "cpus", "time"):
        if not options.slurm and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} is for jobs of Slurm: add --slurm")
    if options.slurm and options.in_process:
        parser.error("--in-process is for runs on this machine: leave out --slurm")
    if options.slurm and options.devices is not None:
        parser.error("--devices names GPUs of this machine, and Slurm deals out its own: use --gpus 1")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Run a grid; 0 if all is finished, 1 if something failed or was refused, 130 if it was stopped or is shared."""
    options = arguments(words)
    try:
        options.devices = [] if options.devices is None else named(options.devices)
        script, command, described = parse(options.words)
        if options.slurm:
            from experiments.grids.slurm import require_slurm

            require_slurm()
        if options.in_process:
            require_forks()
        require_address()
        jobs = examined(script, command, expand(described), options.slurm)
        if options.print:
            for job in jobs:
                if job.finished:
                    print(f"# finished before: {job.title}", file=sys.stderr)
                else:
                    print(shlex.join(["python", os.path.relpath(job.command[1]), *job.command[2:]]))
            return 0
        outcomes = run_grid(jobs, options)
    except (Refused, OSError) as error:
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
