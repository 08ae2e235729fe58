"""File systems in memory that are soon full."""

import subprocess
from contextlib import contextmanager, suppress

import pytest


@contextmanager
def small_disk(place, options):
    """A file system in memory at `place`; the test is skipped where mounting is not allowed."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def no_blocks(disk):
    """Fill the disk to its last block."""
    with suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def no_inodes(disk):
    """Make files until there can be no more of them."""
    with suppress(OSError):
        for number in range(10**6):
            (disk / f"filler{number}").touch()


FILLS = {"blocks": ("size=1m", no_blocks), "inodes": ("size=1m,nr_inodes=40", no_inodes)}
