"""A full disk is one sentence at every moment of a run, and the same command goes on when there is room."""

import os
from pathlib import Path

import pytest

from tests.experiments.runs import command_line
from tests.small_disk import no_blocks, no_inodes, small_disk

WORDS = ["with", "tiny", "dataset_options.n_pool=14", "dataset_options.n_test=4", "steps=3", "mc_samples=2"]

FULL_FROM = """
import errno, os, sys
real, calls, first = os.fsync, [], int(sys.argv.pop(1))
def full(descriptor):
    calls.append(1)
    if len(calls) >= first:
        raise OSError(errno.ENOSPC, "No space left on device")
    return real(descriptor)
sys.path.insert(0, ".")
import experiments.segment as segment
from experiments.tracking import launch
os.fsync = full
launch.launch(segment.SCRIPT.command_line)
"""


def require_one_sentence(process):
    assert process.returncode == 1, process.err
    assert "Traceback" not in process.err + process.out
    said = [line for line in process.err.splitlines() if "the disk is full" in line and line.startswith("Refused: ")]
    assert len(said) == 1 and "free some space and start the same command again" in said[0], process.err


@pytest.mark.parametrize("first", [1, 2, 40, 80, 95, 105, 115, 125])
def test_full_from_any_write_on(tmp_path, first):
    """Also while Sacred copies sources, writes a heartbeat, keeps artifacts, and completes the record."""
    (tmp_path / "script.py").write_text(FULL_FROM)
    process = command_line(str(first), *WORDS, script=tmp_path / "script.py")
    if process.returncode == 0:
        pytest.skip(f"a run is over before write {first}")
    require_one_sentence(process)
    assert command_line(*WORDS).returncode == 0


@pytest.mark.parametrize("fill", [no_blocks, no_inodes])
def test_a_disk_without_blocks_or_inodes(tmp_path, monkeypatch, fill):
    with small_disk(tmp_path / "disk", "size=64m,nr_inodes=2000") as disk:
        monkeypatch.setenv("ALIQUOT_RUNS", str(disk / "runs"))
        (disk / "runs").mkdir()
        fill(disk)
        require_one_sentence(command_line(*WORDS))
        for file in disk.glob("filler*"):
            file.unlink()
        assert command_line(*WORDS).returncode == 0


@pytest.mark.parametrize("place", ["/proc", "file"])
def test_results_dir_is_tried_before_anything_is_made(tmp_path, place):
    (tmp_path / "file").touch()
    place = place if place == "/proc" else tmp_path / place
    process = command_line(*WORDS, f"results_dir={place}")
    assert process.returncode == 1 and "full" not in process.err and "Traceback" not in process.err
    assert process.err.startswith(f"Refused: results_dir='{place}' is no folder that can be written")
    assert not list(Path(os.environ["ALIQUOT_RUNS"]).glob("*")), "no record, no state"
