"""A full disk is one sentence at every moment of a run, and the same command goes on when there is room."""

import errno
import os
from pathlib import Path

import pytest

import experiments.segment as segment
from data.files import DiskFull
from tests.experiments.runs import command_line
from tests.small_disk import no_blocks, no_inodes, small_disk

pytestmark = pytest.mark.processes

WORDS = ["with", "tiny", "dataset_options.n_pool=14", "dataset_options.n_test=4", "steps=3", "mc_samples=2"]

OPTIONS = {"dataset_options": {"n_pool": 14, "n_test": 4}, "steps": 3, "mc_samples": 2}


def require_one_sentence(process):
    assert process.returncode == 1, process.err
    assert "Traceback" not in process.err + process.out
    said = [line for line in process.err.splitlines() if "the disk is full" in line and line.startswith("Refused: ")]
    assert len(said) == 1 and "free some space and start the same command again" in said[0], process.err


def full_from(patch, first):
    """From this write on there is no room; returns the calls."""
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if len(calls) >= first:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor)

    patch.setattr(os, "fsync", full)
    return calls


def test_full_from_any_write_on(monkeypatch, capfd, caplog):
    """While Sacred copies sources, writes a heartbeat, keeps artifacts and completes the record, too."""
    segment.SCRIPT.load_splits(segment.SCRIPT.values(["tiny", f"dataset_options={OPTIONS['dataset_options']}"]))  # cached
    with monkeypatch.context() as patch:
        calls = full_from(patch, 10**6)
        segment.SCRIPT.run(presets=("tiny",), **OPTIONS, run=1)
    last, runs = len(calls), Path(os.environ["ALIQUOT_RUNS"])
    for first in (1, 3, last // 2, *range(last - 16, last + 1, 4)):
        with monkeypatch.context() as patch, pytest.raises(DiskFull, match="the disk is full while saving .*free some"):
            patch.setenv("ALIQUOT_RUNS", str(runs / str(first)))
            full_from(patch, first)
            segment.SCRIPT.run(presets=("tiny",), **OPTIONS, run=1)
        assert "Traceback" not in capfd.readouterr().err + caplog.text
    monkeypatch.setenv("ALIQUOT_RUNS", str(runs / str(first)))
    assert segment.SCRIPT.run(presets=("tiny",), **OPTIONS, run=1) is not None


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
