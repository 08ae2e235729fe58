"""GPUs of a grid: which names are taken, how they are dealt out, and that each run sees its own and gives it back."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from data.names import Refused
from experiments import grid
from experiments.grids import slots
from experiments.grids.jobs import Job, Outcome
from experiments.grids.slots import named, slots_of
from experiments.grids.slurm import Attempt
from tests.experiments.grids.test_forks import STUB, forked, forks
from tests.experiments.grids.test_forks import run_all as run_forked
from tests.experiments.grids.test_jobs import run_all, stub


@pytest.fixture(autouse=True)
def _four_gpus(monkeypatch):
    """As nvidia-smi lists them, and nobody has set which of them are seen."""
    found = "".join(f"GPU {i}: NVIDIA H100 (UUID: GPU-{i}a2b-77)\n" for i in range(4))
    found += "  MIG 1g.10gb     Device  0: (UUID: MIG-5c-1)\n"
    monkeypatch.setattr(slots, "_listed", lambda: found)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def job(devices=1):
    return Job("1", (), (), Path(), False, devices)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0", ["0"]),
        ("0,1, 3", ["0", "1", "3"]),
        ("1,1", ["1", "1"]),
        ("00", ["0"]),
        ("GPU-0a2b,MIG-5c-1,MIG-GPU-4f/1/0", ["GPU-0a2b", "MIG-5c-1", "MIG-GPU-4f/1/0"]),
    ],
)
def test_names_of_gpus(text, names):
    assert named(text) == names


@pytest.mark.parametrize(
    ("text", "wrong", "meant"),
    [
        ("0..3", "0..3", "0,1,2,3"),
        ("0,2-3", "2-3", "0,2,3"),
        ("cuda:1", "cuda:1", "1"),
        ("0,-1", "-1", "0,1"),
        ("", "", "0,1"),
        ("0,,1", "", "0,1"),
        ("all", "all", "0,1"),
        ("1.5", "1.5", "5"),
        ("0..999999999", "0..999999999", ",".join(map(str, range(64)))),
    ],
)
def test_a_word_that_names_no_gpu_is_refused_with_what_may_be_meant(text, wrong, meant):
    with pytest.raises(Refused, match=f"{wrong!r} names no GPU; .* --devices {meant}$"):
        named(text)


def seen(found):
    return [slot["CUDA_VISIBLE_DEVICES"] for slot in found]


def test_one_run_at_a_time_for_each_gpu_that_is_named():
    assert seen(slots_of([job()], ["0", "1", "1", "MIG-5c-1"], None)) == ["0", "1", "1", "MIG-5c-1"]
    assert slots_of([job()], [], 3) == [{}, {}, {}] and slots_of([job()], [], None) == [{}]
    assert seen(slots_of([job(2)] * 3, ["3", "1", "0", "2"], None)) == ["3,1", "0,2"]


def test_numbers_are_those_of_nvidia_smi(monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    assert slots_of([job()], ["1"], None) == [{"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}]


def test_jobs_beside_devices(capsys):
    assert seen(slots_of([job()], ["0", "1"], 2)) == ["0", "1"] and capsys.readouterr().err == ""
    assert seen(slots_of([job()], ["0", "1", "2"], 2)) == ["0", "1"]
    assert capsys.readouterr().err == "--jobs 2 and 3 places: 2 runs at a time.\n"
    assert seen(slots_of([job()], ["0", "1"], 5)) == ["0", "1"]
    twice = "a GPU that is named twice takes two runs"
    assert capsys.readouterr().err == f"--jobs 5 and 2 places: 2 runs at a time; {twice}.\n"


@pytest.mark.parametrize(
    ("jobs", "names", "sentence"),
    [
        ([job(2)], "0,1,2", "names 3 GPUs, and each run takes devices=2 of them: name 2, or 4"),
        ([job(2)], "0", "names 1 GPUs, and each run takes devices=2 of them: name 2$"),
        ([job(2)], "0,GPU-0a2b", "one run would get GPU 0 twice"),
        ([job(2)], "0,1,2,2", "one run would get GPU 2 twice, and devices=2 needs 2 different ones"),
        ([job(1), job(2)], "0,1", "runs with devices=1,2 take different numbers of GPUs: make two grids"),
        ([job()], "0,4", "there is no GPU 4 here, but 0, 1, 2, 3"),
        ([job()], "GPU-9", "there is no GPU GPU-9 here, but 0, 1, 2, 3"),
    ],
)
def test_gpus_that_cannot_be_dealt_out_are_refused(jobs, names, sentence):
    with pytest.raises(Refused, match=sentence):
        slots_of(jobs, names.split(","), None)


def test_gpus_of_others_are_not_taken(monkeypatch):
    """As in a job of Slurm, which has given this process some."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert seen(slots_of([job()], ["3"], None)) == ["3"]
    assert seen(slots_of([job()], ["GPU-3a2b"], None)) == ["GPU-3a2b"]
    with pytest.raises(Refused, match="GPU 0 is not ours; CUDA_VISIBLE_DEVICES=2,3 .*: use --devices 2,3"):
        slots_of([job()], ["0", "2"], None)
    with pytest.raises(Refused, match="GPU GPU-1a2b is not ours"):
        slots_of([job()], ["GPU-1a2b"], None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1a2b-77")
    assert seen(slots_of([job()], ["1"], None)) == ["1"]
    with pytest.raises(Refused, match="GPU 0 is not ours"):
        slots_of([job()], ["0"], None)
    for none in ("", "-1", "NoDevFiles", "-1,0"):  # CUDA reads to the first that is no GPU
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        with pytest.raises(Refused, match=f"CUDA_VISIBLE_DEVICES='{none}' gives this process no GPU; unset it"):
            slots_of([job()], ["0"], None)


def test_where_nothing_lists_gpus_a_sentence_says_so(monkeypatch, capsys):
    monkeypatch.setattr(slots, "_listed", lambda: "")
    assert seen(slots_of([job()], ["7"], None)) == ["7"]
    assert "nvidia-smi lists no GPU here, so that runs with device=auto" in capsys.readouterr().err


HOLDS = """
import os, sys, time
from pathlib import Path
mine = Path({folder!r}, os.environ["CUDA_VISIBLE_DEVICES"].replace(",", "_"))
try:
    mine.touch(exist_ok=False)
except FileExistsError:
    print("shared", flush=True)
time.sleep(0.2)
mine.unlink()
print("saw", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
{end}
"""
ENDS = ("", "os.kill(os.getpid(), 9)", "raise SystemExit(3)", "raise KeyError", "")


def seen_by(todo):
    """What each job saw, once it is certain that no two of them saw the same at once."""
    lines = [line for each in todo for log in each.logs for line in log.read_text().splitlines()]
    assert "shared" not in lines
    return Counter(line.split()[1] for line in lines if line.startswith("saw "))


@pytest.mark.parametrize("fork", [False, True])
def test_each_run_sees_its_own_gpu_and_gives_it_back_however_it_ends(tmp_path, monkeypatch, fork):
    """Twice as many jobs as slots and more; one of them cannot even be started."""
    monkeypatch.setattr(forks, "ORIGIN", STUB)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    make, run = (forked, run_forked) if fork else (stub, run_all)
    todo = [make(tmp_path, str(i), HOLDS.format(folder=str(tmp_path), end=ENDS[i % 5])) for i in range(8)]
    todo.insert(3, replace(todo[0], key="x" * 300))  # no log can have that name
    outcomes = run(todo, [{"CUDA_VISIBLE_DEVICES": name} for name in ("0", "2", "1,3")])
    assert len(outcomes) == 9 and "could not be started" in outcomes[todo[3]].reason
    found = seen_by(todo)
    assert found.total() == 8 and found.keys() == {"0", "2", "1,3"} and max(found.values()) <= 4


def test_a_job_of_slurm_sees_what_slurm_gave(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    code, log = Attempt()((sys.executable, "-c", code), tmp_path / "1", 1)
    assert code == 0 and log.read_text().splitlines()[-1] == "3"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--devices", "0..1"], "'0..1' names no GPU; expected GPUs by number"),
        (["--devices", ""], "'' names no GPU"),
        (["--devices", "0", "--slurm"], "--devices names GPUs of this machine, and Slurm deals out its own"),
    ],
)
def test_what_the_command_line_refuses(flags, said, capsys):
    try:
        code = grid.main(["segment", "with", "tiny", *flags])
    except SystemExit as end:
        code = end.code
    assert code in (1, 2) and said in capsys.readouterr().err


def test_too_few_gpus_are_not_asked_of_slurm(monkeypatch):
    options = grid.arguments(["segment", "--slurm", "--gpus", "1"])
    monkeypatch.setattr(grid, "require_storable", lambda runs: None)
    with pytest.raises(Refused, match="--gpus 1, but each run has devices=2: use --gpus 2"):
        grid.run_grid([job(2)], options)


def test_a_grid_on_two_gpus_names_them_to_its_runs(monkeypatch, capsys, tmp_path):
    """From the command line to the environment of each run."""
    todo = [stub(tmp_path, str(i), "pass", record=True) for i in range(2)]
    monkeypatch.setattr(grid, "examined", lambda *_: todo)
    given = []

    def run_here(jobs, places, start, stops, done):
        given.extend(places)
        for each in jobs:
            done(each, Outcome("not started"))

    monkeypatch.setattr(grid, "run_here", run_here)
    assert grid.main(["segment", "with", "tiny", "run=0,1", "--devices", "1,0"]) == 130  # nothing ran
    assert seen(given) == ["1", "0"]
    capsys.readouterr()
