"""Bad inputs: each ends in one clear sentence and a code that is not 0, or, where it is valid, in a whole run."""

from __future__ import annotations

import importlib
import io
import os
import random
import re
import shutil
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from tests.trials.bad_pairs import of_pairs
from tests.trials.bad_places import of_places, of_words, prepare
from tests.trials.bad_values import Input, of_name, of_option
from tests.trials.judging import wrong_with
from tests.trials.scripts import Place
from tests.trials.tally import Tally

SCRIPTS = ("segment", "classify", "detect", "pretrain")
BASE = {
    "segment": ("tiny", "n_cycles=1", "steps=2", "dataset_options.n_pool=14", "dataset_options.n_test=4"),
    "classify": ("tiny", "n_cycles=1", "steps=2"),
    "detect": ("tiny", "n_cycles=1", "steps=1", "dataset_options.n_pool=14", "dataset_options.n_test=4"),
    "pretrain": ("tiny", "epochs=1"),
}
PROCESSES = 30  # of the inputs are given to real processes too


def inputs(place: Path) -> list[tuple[str, Input]]:
    """All bad inputs that there are, each with its script, in one order for all."""
    from experiments.tracking.pretrain_options import ALL

    found: list[tuple[str, Input]] = []
    for script in SCRIPTS:
        table = ALL[script]
        of_one = [
            each for name, option in table.items() for each in (*of_option(name, option), *of_name(name, {*table}))
        ]
        more = () if script == "pretrain" else of_words(script, place)
        for each in (*of_one, *of_pairs(script), *of_places(script, place), *more):
            found.append((script, each))
    return found


def drawn(every: list[tuple[str, Input]], seed: int, n: int) -> list[int]:
    """Numbers of `n` inputs: of as many options as can be one each, then any; all of them where n is 0."""
    order = list(range(len(every)))
    random.Random(seed).shuffle(order)
    if not n or n >= len(every):
        return order
    first, seen = [], set[str]()
    for number in order:
        option = every[number][1].option
        if option not in seen:
            seen.add(option)
            first.append(number)
    return (first + [number for number in order if number not in {*first}])[:n]


def words_of(script: str, given: Input) -> list[str]:
    """The whole command line; what an input says replaces what the small run says."""
    named = {word.partition("=")[0] for word in given.words}
    own = any(word.startswith("data_root=") for word in given.words)
    base = [word for word in BASE[script] if word.partition("=")[0] not in named]
    if "dataset_options" in named or own:
        base = [word for word in base if not word.startswith("dataset_options")]
    if own:  # images of one's own, whose options `tiny` does not set
        base = [word for word in base if word != "tiny"]
    if given.command == "suggest":
        base.append("resume=fresh")
    if given.option == "pseudo_thresholds":  # which is of no consequence else
        base.append("unlabelled=pseudo_labels")
    return [given.command, "with", *base, *given.words]


def in_process(script: str, words: list[str], place: Path) -> tuple[int, str, str, float]:
    """Exit code, output and messages of a command line, and its seconds, in this process."""
    from experiments.tracking.launch import quiet, told

    entry = importlib.import_module(f"experiments.{script}").SCRIPT
    said, wrong, began, code = io.StringIO(), io.StringIO(), time.monotonic(), 0
    own = {
        "ALIQUOT_RUNS": str(place / "runs"),
        "ALIQUOT_CACHE": str(place / "cache"),
        "LABEL_STUDIO_API_KEY": "f00d" * 10,
    }
    with mock.patch.dict(os.environ, own), redirect_stdout(said), redirect_stderr(wrong):
        os.environ.pop("ALIQUOT_MONGO", None)
        quiet()
        try:
            with told():
                entry.command_line(words)
        except SystemExit as end:
            code = int(end.code or 0)
        except Exception as error:  # what would be a traceback
            code = 1
            wrong.write(f"Traceback: {type(error).__name__}: {error}")
    return code, said.getvalue(), wrong.getvalue(), time.monotonic() - began


def as_process(script: str, words: list[str], place: Path) -> tuple[int, str, str, float]:
    """The same by a process of its own, whose output and messages come in one."""
    began = time.monotonic()
    running = Place(place / "process").start((f"{script}.py", *words), LABEL_STUDIO_API_KEY="f00d" * 10)
    code = running.end()
    return code, "", running.said, time.monotonic() - began


def run(seed: int, n: int, folder: Path, jobs: int, only: int | None = None, match: str = "") -> Tally:
    """Give `n` bad inputs to the scripts, and some of them to real processes; `n` of 10**6 gives all."""
    place = folder / "inputs"
    shutil.rmtree(place, ignore_errors=True)
    prepare(place)
    tally, every = Tally("inputs", seed), inputs(place)
    numbers = drawn(every, seed, n) if only is None else [only]
    numbers = [number for number in numbers if re.search(match, every[number][1].kind)]
    real = {*numbers[:: max(1, len(numbers) // PROCESSES)][:PROCESSES]} if only is None else {only}
    log = (folder / "inputs.log").open("w", errors="backslashreplace")
    for number in numbers:
        script, given = every[number]
        words = words_of(script, given)
        ways = [in_process, *([as_process] if number in real else [])]
        for way in ways:
            code, said, wrong, seconds = way(script, words, place)
            why = wrong_with(given, code, said, wrong, seconds)
            print(
                number,
                script,
                given.kind,
                repr(words)[:300],
                code,
                f"{seconds:.1f}",
                wrong[:1500],
                sep="\t",
                file=log,
                flush=True,
            )
            tally.add(
                number,
                f"{script}, {way.__name__.replace('_', ' ')}",
                why and f"{given.option}, {given.kind}: {why[-500:]}",
                taken=int(code == 0),
            )
    return tally
