"""The way in and out of a script: its words, its signals, and mistakes as one sentence."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from data.files import AGAIN, FULL
from data.names import Refused, suggestion
from experiments.tracking.telling import tell

CHANGES_NO_RESULT = True

FLAGS = {"-h": "--help", "-D": "--debug", "-c": "--comment"}
ELSEWHERE = {  # what Sacred's own flags are for here
    "-m": "ALIQUOT_MONGO=mongodb://host:port/database names a server",
    "-F": "ALIQUOT_RUNS=folder names the folder of runs",
    "-u": "every run is recorded: ALIQUOT_RUNS=folder records it elsewhere",
    "-p": "the command print_config shows the options",
}


@dataclass(frozen=True)
class Words:
    """A command line, taken apart."""

    command: str
    updates: tuple[str, ...]  # presets, files and name=value
    comment: str = ""
    debug: bool = False
    help: bool = False


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: Sacred marks the run INTERRUPTED, as it does for Ctrl-C."""


def read_words(words: Sequence[str], commands: Sequence[str]) -> Words:
    """Take a command line apart: COMMAND with UPDATES, and the flags of FLAGS. Refused for all else."""
    left, flags, comment = [], set[str](), ""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-") or "=" in word.lstrip("-") and not word.startswith("--comment="):
            left.append(word)
            continue
        name, _, value = word.partition("=")
        name = FLAGS.get(name, name)
        if name == "--comment":
            if not value and not waiting:
                raise Refused("--comment needs a text behind it")
            comment = value or waiting.pop(0)
        elif name in FLAGS.values():
            flags.add(name)
        else:
            why = ELSEWHERE.get(word[:2], f"known are {', '.join(f'{s} {long}' for s, long in FLAGS.items())}")
            raise Refused(f"{word} is no flag of this script: {why}")
    end = left.index("with") if "with" in left else len(left)
    command, *more = left[:end] or ["main"]
    if more or command not in commands:
        wrong = more[0] if command in commands else command
        hint = suggestion(wrong, commands) if "with" in left else " Presets and options come after the word `with`."
        raise Refused(f"unknown command {wrong!r}.{hint} Known: {', '.join(commands)}")
    return Words(command, tuple(left[end + 1 :]), comment, "--debug" in flags, "--help" in flags)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated(signal.Signals(number).name)


def listen() -> None:
    """Let the signals that ask a process to end stop a run like Ctrl-C, but for one that was ignored at the start (nohup)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)


@contextmanager
def told(debug: bool = False) -> Iterator[None]:
    """Mistakes and stops in one sentence, with the mistake's exit code or 130; all else keeps its traceback, with 1.

    A grid hears the reason in a file of its own, see `tell`.
    """
    try:
        yield
    except (Refused, OSError) as error:
        if debug:
            raise
        on_file = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        reason = str(error) if isinstance(error, Refused) else error.strerror or str(error)
        if not isinstance(error, Refused) and error.errno in FULL:
            reason = f"the disk is full; {AGAIN}"
        print(sentence := f"Refused: {reason}{on_file}", file=sys.stderr)
        tell(reason=sentence)
        sys.exit(error.exit_code if isinstance(error, Refused) else 1)
    except KeyboardInterrupt as stop:
        again = "The same command without resume=fresh" if "resume=fresh" in sys.argv else "The same command"
        print(f"\nStopped{f' by {stop}' if str(stop) else ''}. {again} continues from here.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        tell(reason=f"{type(error).__name__}: {error}")
        raise


def quiet() -> None:
    """Warnings are one line each, and libraries keep theirs to themselves."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", module=r"(sacred|baal|monai|torch|pkg_resources|docopt)(\.|$)")


def launch(run: Callable[[Sequence[str]], Any]) -> None:
    """Run a script's command line."""
    listen()
    quiet()
    with told("-D" in sys.argv or "--debug" in sys.argv):
        run(sys.argv[1:])
