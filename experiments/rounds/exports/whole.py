"""Files and folders that appear when all of a round is in them, written entry by entry."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from data.files import atomic, room_for
from data.names import Refused

OURS = ".aliquot"  # lies in every folder that is written here, and may be written again


@contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """A file of text in UTF-8 that takes its place if the block succeeds; what is no Unicode is escaped."""
    with (
        atomic(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as out,
    ):
        yield out


@contextmanager
def json_list(path: Path, head: str = "[", tail: Callable[[], str] = lambda: "]") -> Iterator[Callable[[Any], None]]:
    """A function that adds an entry to the list in a JSON file; `head` and `tail` stand around the entries."""
    with text_file(path) as out:
        out.write(head)
        between = "\n"

        def add(entry: Any) -> None:
            nonlocal between
            out.write(between + json.dumps(entry, allow_nan=False))
            between = ",\n"

        yield add
        out.write("\n" + tail() + "\n")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` if the block succeeds. Refused where that is not of ours."""
    if folder.exists() and not (folder / OURS).is_file():
        raise Refused(f"{folder} exists and was not written here; name another folder, or move it away")
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    with room_for(folder):
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        (building / OURS).touch()
        try:
            yield building
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
