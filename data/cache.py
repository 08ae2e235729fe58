"""A folder of large files that is whole or absent, and is rebuilt where it is damaged.

It is built beside its place, brought to the disk and renamed, so that a kill or a second builder leaves no half of
one. The last file written is WHOLE: of every other file the size, its times, and a checksum (crc32) of each block of
1 MiB. At every opening

- names and sizes of all files are compared;
- a file that was touched since its checksums were taken (its times differ, as after any write or copy) is read whole;
- any other file is read whole up to READ_WHOLE bytes; of a larger one the first, the last and SAMPLE random blocks are
  read: that finds a zeroed file always, and rot of a single block in the long run.

ALIQUOT_CHECK_CACHE=full reads everything. Without WHOLE, or with one that is damaged, the folder is rebuilt. Measured
with as many bytes as GlaS in full size has (200 MB of pixels, 130 MB of masks; two cores): 0.03 to 0.05 s an opening,
0.2 to 0.4 s to read it all.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.files import read_sealed, room_for, to_disk, write_sealed

WHOLE = "whole.json"
BLOCK = 2**20  # bytes
READ_WHOLE = 64 * BLOCK
SAMPLE = 16  # blocks
ABANDONED = 24 * 3600.0  # s without a write after which an unfinished folder belongs to a process that was killed


def whole_folder(folder: Path, build: Callable[[Path], None], what: str = "decoded images") -> Path:
    """The folder, whole: as it is, or filled by `build`, which gets the folder to write into; `what` it holds."""
    _remove_abandoned(folder)
    if folder.exists():
        damage = damage_of(folder, fully=os.environ.get("ALIQUOT_CHECK_CACHE") == "full")
        if not damage:
            return folder
        warnings.warn(f"the {what} in {folder} are damaged ({damage}) and are made again", stacklevel=3)
        _remove(folder)
    with room_for(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            build(building)
            files = sorted(building.iterdir())
            for file in files:
                to_disk(file)
            write_sealed(building / WHOLE, {file.name: _described(file) for file in files})
            building.chmod(0o755)  # mkdtemp made it private
            to_disk(building)
            try:
                building.rename(folder)
            except OSError:
                if not folder.exists():  # else another process finished first: use its files
                    raise
            to_disk(folder.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder


def damage_of(folder: Path, fully: bool = False) -> str:
    """What is wrong with a folder, in words, or '' where nothing is."""
    try:
        record = read_sealed(folder / WHOLE)
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        return f"{WHOLE} is missing" if isinstance(error, FileNotFoundError) else f"{WHOLE} cannot be read"
    now = {}
    for name, known in record.items():
        file, checksums = folder / name, known["crc32"]
        try:
            size, times = file.stat().st_size, _times(file)
            if size != known["size"]:
                return f"{name} has {size} bytes instead of {known['size']}"
            blocks = range(len(checksums))
            if times == known["times"] and size > READ_WHOLE and not fully:
                blocks = sorted({0, len(checksums) - 1, *random.SystemRandom().sample(blocks, SAMPLE)})
            if any(crc32 != checksums[block] for block, crc32 in _checksums(file, blocks)):
                return f"the content of {name} has changed"
            now[name] = {**known, "times": times}
        except FileNotFoundError:
            return f"{name} is missing"
        except PermissionError:
            raise
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    if now != record and os.access(folder, os.W_OK):
        write_sealed(folder / WHOLE, now)  # what was touched has just been read whole
    return ""


def _described(file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    crc32 = [crc32 for _, crc32 in _checksums(file, range(-(-size // BLOCK)))]
    return {"size": size, "times": _times(file), "crc32": crc32}


def _times(file: Path) -> list[int]:
    """When a file was last written and, but on Windows, renamed or copied, in ns."""
    stat = file.stat()
    return [stat.st_mtime_ns, stat.st_ctime_ns]


def _checksums(file: Path, blocks: Iterable[int]) -> Iterable[tuple[int, int]]:
    """The numbers of these blocks of a file, each with its checksum."""
    with open(file, "rb") as opened:
        for block in blocks:
            opened.seek(block * BLOCK)
            yield block, zlib.crc32(opened.read(BLOCK))


def _remove(folder: Path) -> None:
    """Take a folder out of the way in one step; a process that has it open keeps what it sees."""
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    with suppress(FileNotFoundError):  # another process did it
        folder.rename(aside / "damaged")
    shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove what builds of this folder that were killed have left beside it."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        try:
            newest = max(file.stat().st_mtime for file in (left, *left.iterdir()))
        except OSError:  # a build that has just finished
            continue
        if time.time() - newest > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
