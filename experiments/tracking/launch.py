"""The way in and out of a script: its words, its signals, and mistakes as one sentence."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from data.files import AGAIN, FULL
from data.memory import is_short, sentence
from data.names import Refused, readable, suggestion
from experiments.tracking.telling import tell

CHANGES_NO_RESULT = True

FLAGS = {"-h": "--help", "-D": "--debug", "-c": "--comment"}
FOLDER = "ALIQUOT_RUNS=folder names the folder of runs"
SERVER = "ALIQUOT_MONGO=mongodb://host:port/database names a server, and no other kind of storage is written"
ALWAYS = "this is the same for all runs here"
SACREDS = {  # Sacred's own flags, short and long, and what to use here instead
    ("-F", "--file_storage"): FOLDER,
    ("-u", "--unobserved"): f"every run is recorded; {FOLDER}",
    ("-f", "--force"): "an unknown option is always refused",
    ("-m", "--mongo_db"): SERVER,
    ("-t", "--tiny_db"): SERVER,
    ("-s", "--sql"): SERVER,
    ("-S", "--s3"): SERVER,
    ("-p", "--print-config"): "the command print_config shows the options",
    ("-q", "--queue"): "experiments/grid.py runs many command lines",
    ("-n", "--name"): "-c 'some text' notes something on a run; its number and options name it",
    ("-i", "--id"): "the number of a run is the next free one",
    ("-d", "--pdb"): "-D shows the traceback of a refusal",
    ("-l", "--loglevel"): ALWAYS,
    ("-C", "--capture"): ALWAYS,
    ("-P", "--priority"): ALWAYS,
    ("-b", "--beat-interval"): ALWAYS,
    ("-e", "--enforce_clean"): "the record of a run says which commit it is of, and whether files differ from it",
}
INSTEAD = {flag: sentence for flags, sentence in SACREDS.items() for flag in flags}


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
        name, equals, value = word.partition("=")
        name = FLAGS.get(name, name)
        if not word.startswith("-"):
            left.append(word)
        elif name == "--comment":
            comment = value if equals else waiting.pop(0) if waiting else ""
            if not comment.isprintable() or not comment:
                raise Refused("--comment needs a text behind it")
        elif name in FLAGS.values() and not equals:
            flags.add(name)
        else:
            instead = INSTEAD.get(name) or INSTEAD.get(word[:2] if word[1:2] != "-" else "")
            known = "known are " + ", ".join(map(" ".join, FLAGS.items()))
            raise Refused(f"{word} is no flag of this script: {instead or known}")
    end = left.index("with") if "with" in left else len(left)
    command, *more = left[:end] or ["main"]
    if command == "help":
        return Words("main", (), help=True)
    if more or command not in commands:
        wrong = more[0] if command in commands else command
        after = "with" not in left or "=" in wrong
        hint = " Presets and options come after the word `with`." if after else suggestion(wrong, commands)
        raise Refused(f"unknown command {wrong!r}.{hint} Known: {', '.join(commands)}")
    return Words(command, tuple(left[end + 1 :]), comment, "--debug" in flags, "--help" in flags)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated(signal.Signals(number).name)


def listen() -> None:
    """Let the signals that ask a process to end stop a run like Ctrl-C, but for one ignored at the start (nohup)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)


@contextmanager
def told(debug: bool = False) -> Iterator[None]:
    """Mistakes, stops and too little memory in one sentence, with the mistake's exit code, 130 or 1; all else
    keeps its traceback, with 1.

    A grid hears the reason in a file of its own, see `tell`.
    """
    try:
        yield
    except (Refused, OSError) as error:
        if debug:
            raise
        on_file = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        short = not isinstance(error, Refused) and is_short(error)
        reason = str(error) if isinstance(error, Refused) else error.strerror or str(error)
        reason = sentence(error) if short else reason
        if not isinstance(error, Refused) and error.errno in FULL:
            reason = f"the disk is full; {AGAIN}"
        print(said := readable(f"Refused: {reason}{on_file}"), file=sys.stderr)
        tell(reason=said)
        sys.exit(error.exit_code if isinstance(error, Refused) else 1)
    except KeyboardInterrupt as stop:
        again = "The same command without resume=fresh" if "resume=fresh" in sys.argv else "The same command"
        print(f"\nStopped{f' by {stop}' if str(stop) else ''}. {again} continues from here.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if is_short(error) and not debug:
            print(said := f"Refused: {sentence(error)}", file=sys.stderr)
            tell(reason=said)
            sys.exit(1)
        tell(reason=f"{type(error).__name__}: {error}")
        raise


def quiet() -> None:
    """Warnings are one line each, and libraries keep theirs to themselves."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", module=r"(sacred|baal|monai|torch|pkg_resources|docopt)(\.|$)")


class Patient:
    """Output that cannot fail what it tells of: letters that a terminal lacks are spelt, and no reader need stay."""

    def __init__(self, stream: Any):
        self._stream = stream
        stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._to_nobody():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._to_nobody():
            self._stream.flush()

    @contextmanager
    def _to_nobody(self) -> Iterator[None]:
        try:
            yield
        except (BrokenPipeError, ConnectionResetError):
            nobody = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nobody, self._stream.fileno())
            os.close(nobody)


def speak_patiently() -> None:
    """Let no output of this process fail, see `Patient`."""
    sys.stdout, sys.stderr = Patient(sys.stdout), Patient(sys.stderr)  # type: ignore[assignment]


def launch(run: Callable[[Sequence[str]], Any]) -> None:
    """Run a script's command line."""
    listen()
    quiet()
    speak_patiently()
    with told("-D" in sys.argv or "--debug" in sys.argv):
        run(sys.argv[1:])
