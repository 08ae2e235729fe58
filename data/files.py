"""Where things lie, and writing that leaves no half of a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.names import Missing, Refused

ROOT = Path(__file__).resolve().parent.parent
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a file system without room answers, for blocks and for inodes alike


class DiskFull(Refused, OSError):
    """No room for what has to be written."""


def under_root(path: str | Path) -> Path:
    """A path as users give it: `~` is their home, and relative ones start at the project, wherever the command was
    typed.
    """
    return ROOT / Path(path).expanduser()


def folder_from(variable: str, default: str) -> Path:
    """The folder that an environment variable names, or the default where it is unset or empty; see `under_root`."""
    return under_root(os.environ.get(variable) or default)


def default_data_root() -> Path:
    """Where datasets lie: the environment variable ALIQUOT_DATA, else data/raw."""
    return folder_from("ALIQUOT_DATA", "data/raw")


def folder_of(data_root: str) -> Path:
    """Where datasets lie, from the option `data_root`; empty for the default."""
    return under_root(data_root) if data_root else default_data_root()


def require_folder(folder: Path, tree: str) -> Path:
    """The folder, or an error that shows the tree of files which the dataset consists of."""
    if not folder.is_dir():
        raise Missing(f"folder {folder} does not exist; expected this tree:\n{tree.strip()}")
    return folder


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place if the block succeeds, so that `path` is always whole.

    Raises DiskFull with one sentence where there is no room; what was there before is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        if getattr(error, "errno", None) in FULL or _no_space(path.parent):
            again = "free some space and start the same command again to continue"
            raise DiskFull(f"the disk is full while saving {path}; {again}") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _no_space(folder: Path) -> bool:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize < 2**16
