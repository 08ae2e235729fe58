"""What stored runs have in common, in files and in MongoDB: folders, times, statuses, and what damage raises."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from data.names import Missing

DEAD_AFTER = 120.0  # s without a heartbeat, which comes every 10 s, after which RUNNING is taken for dead
PATIENCE = 5000  # ms to wait for MongoDB
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError)  # what reading a damaged record raises


def is_mongo(source: str | Path) -> bool:
    """Whether a source is the address of a MongoDB server."""
    return str(source).startswith(("mongodb://", "mongodb+srv://"))


def run_folders(runs: Path) -> list[Path]:
    """The folders of runs, by number. Raises FileNotFoundError where there is no such folder."""
    if not runs.is_dir():
        raise Missing(f"no folder of runs at {runs}; give one, or an address that starts with mongodb://")
    return sorted((f for f in runs.iterdir() if f.name.isdecimal() and f.name.isascii()), key=lambda f: int(f.name))


def status_of(status: str, heartbeat: datetime | None, started: datetime) -> str:
    """The status, or DEAD for a RUNNING one without a sign of life for two minutes; times are UTC, without zone."""
    silent = datetime.now(UTC).replace(tzinfo=None) - (heartbeat or started)
    return "DEAD" if status == "RUNNING" and silent.total_seconds() > DEAD_AFTER else status


def time_of(text: str | None) -> datetime | None:
    """A time as Sacred's files hold it."""
    return datetime.fromisoformat(text) if text else None


def reason_of(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {error}"
