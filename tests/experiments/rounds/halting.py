"""A script as users start it, which halts for ever at a call of one function: whoever started it kills it there.

python -m tests.experiments.rounds.halting experiments.suggesting measure 1 FILE experiments/classify.py suggest with ...
"""

import runpy
import sys
import threading
from pathlib import Path
from pkgutil import resolve_name


def halt_at(owner: str, name: str, number: int, reached: Path) -> None:
    """Make the call of this number halt, after it has left a file."""
    place, calls = resolve_name(owner), 0
    real = getattr(place, name)

    def counted(*given, **named):
        nonlocal calls
        calls += 1
        if calls == number:
            reached.touch()
            threading.Event().wait()
        return real(*given, **named)

    setattr(place, name, counted)


if __name__ == "__main__":
    owner, name, number, reached, script, *words = sys.argv[1:]
    halt_at(owner, name, int(number), Path(reached))
    sys.argv = [script, *words]
    runpy.run_path(script, run_name="__main__")
