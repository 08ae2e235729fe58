"""Too little memory, told in one sentence wherever it shows: at an import, in a library, in a computation."""

from __future__ import annotations

import sys
from types import TracebackType

SIGNS = (  # in the messages of what is raised where memory cannot be had
    "failed to map segment",
    "cannot allocate",
    "can't allocate",
    "unable to allocate",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "can't start new thread",
    "could not create a primitive",  # oneDNN's word for it
)


def is_short(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is one of too little memory."""
    if error is None:
        return False
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in SIGNS) or is_short(error.__cause__)


def sentence(error: BaseException) -> str:
    """What is said of it."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    way_out = "free some, or lower batch_size, query_batch_size or eval_batch_size, and start the same command again"
    return f"there is not enough memory{_limit()} ({reason}): {way_out}"


def say_when_short() -> None:
    """Let a process that ends for want of memory say so, also where it could not import what it needs."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if is_short(error):
            print(f"Refused: {sentence(error)}", file=sys.stderr)
        else:
            before(kind, error, trace)

    sys.excepthook = hook


def _limit() -> str:
    """The limit that was set on the addresses of this process, in words; '' where there is none."""
    try:
        import resource  # not on Windows

        allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    except ImportError:
        return ""
    return "" if allowed == resource.RLIM_INFINITY else f", with ulimit -v at {allowed / 1e9:.1f} GB"
