"""Where things lie, and writing that leaves no half of a file."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.names import Missing, Refused

ROOT = Path(__file__).resolve().parent.parent
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a file system without room answers, for blocks and for inodes alike
AGAIN = "free some space and start the same command again to continue"
LEFT = re.compile(r"\..+\.\d+")  # names of the temporary files of `atomic`
STALE = 3600.0  # s after which a temporary file belongs to a process that was killed


class DiskFull(Refused, OSError):
    """No room for what has to be written."""


def under_root(path: str | Path) -> Path:
    """A path as users give it: `~` is their home, and relative ones start at the project, wherever the command was
    typed.
    """
    return ROOT / at_home(path)


def at_home(path: str | Path) -> Path:
    """The path with `~` and `~name` as the folder of that user. Refused where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        nobody = "begins with the home of a user that this computer does not have"
        raise Refused(f"{str(path)!r} {nobody}: give the whole path") from error


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
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent.glob(f".{glob.escape(path.name)}.*"))
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            yield temporary
            to_disk(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """DiskFull names `path` where the block finds no room to write it, or what it consists of."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch reports every failed write as RuntimeError
        unnamed = isinstance(error, RuntimeError)
        if not isinstance(error, DiskFull) and (_is_full(path.parent) if unnamed else error.errno in FULL):
            raise DiskFull(f"the disk is full while saving {path}; {AGAIN}") from error
        raise


def to_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk and not only in memory."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_sealed(path: Path, content: Any) -> None:
    """Write plain content as JSON beside its checksum."""
    crc32 = zlib.crc32(json.dumps(content).encode())
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({"crc32": crc32, "content": content}))


def read_sealed(path: Path) -> Any:
    """What `write_sealed` wrote; ValueError where the file is damaged."""
    try:
        sealed = json.loads(path.read_text())
        crc32, content = sealed["crc32"], sealed["content"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged") from error
    if zlib.crc32(json.dumps(content).encode()) != crc32:
        raise ValueError(f"{path} is damaged")
    return content


def require_writable(option: str, folder: Path) -> None:
    """Refused where no file can be written into a folder, which need not exist yet; leaves nothing behind."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        _write_probe(nearest)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(f"the disk is full: {option}={str(folder)!r} cannot be written; {AGAIN}") from None
        reason = "it is a file" if nearest.is_file() else f"{nearest}: {error.strerror}"
        raise Refused(f"{option}={str(folder)!r} is no folder that can be written ({reason}); name another") from None


def sweep(files: Iterable[Path], older_than: float = STALE) -> None:
    """Remove those of the files that `atomic` left in a process that was killed."""
    for file in files:
        try:
            if LEFT.fullmatch(file.name) and time.time() - file.lstat().st_mtime >= older_than:
                file.unlink()
        except OSError:  # gone, or not ours
            continue


def _is_full(folder: Path) -> bool:
    """Whether the next file has no room, be it for want of blocks, of inodes or of a quota."""
    try:
        _write_probe(folder)
    except OSError as error:
        return error.errno in FULL
    return False


def _write_probe(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(2**16))
        probe.flush()
        os.fsync(probe.fileno())
