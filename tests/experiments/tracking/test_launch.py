"""Signals, and output that nobody reads: how a script ends, whatever happens to it."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.files import ROOT
from experiments import segment
from experiments.tracking import launch

pytestmark = pytest.mark.processes

LONG = ("with", "tiny", "workers=2", "steps=100000", "save_every=0", "heuristic=bald")


def begin(*words, **variables):
    """A Python process in the project's folder, its output in pipes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, env={**os.environ, **variables}, text=True, errors="replace", **pipes)


def training(*words):
    """A run of segment.py that is in the middle of its training."""
    process = begin("experiments/segment.py", *words)
    seen = ""
    while "train: " not in seen or "step/s" not in seen:
        letter = process.stderr.read(1)
        assert letter, seen
        seen += letter
    return process


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_stop_during_training_with_workers_is_never_swallowed(name):
    process = training(*LONG)
    process.send_signal(getattr(signal, name))
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130 and "The same command continues from here." in told
    assert "Traceback" not in told and "ignored" not in told and "Aborted" not in told
    record = json.loads(next(Path(os.environ["ALIQUOT_RUNS"]).glob("[0-9]*/run.json")).read_text())
    assert record["status"] == "INTERRUPTED"


def test_a_killed_run_with_workers_frees_its_lock_at_once():
    process = training(*LONG)
    checkpoint = segment.SCRIPT.checkpoint_of("main", segment.SCRIPT.values(LONG[1:]))
    with pytest.raises(ValueError, match=f"already in progress .process {process.pid} "), checkpoint.lock():
        pass
    process.kill()
    process.wait()  # its pipes stay open: a child that had inherited them would hold the lock as well
    with checkpoint.lock():
        pass
    assert process.stderr.read() is not None and "dice" not in process.stdout.read().partition("warning")[2]


LISTENING = "from experiments.tracking import launch; import os, signal; launch.launch(lambda _: {})"


def test_a_hangup_that_was_ignored_at_the_start_stops_nothing():
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"  # as nohup does
    process = begin("-c", ignoring + LISTENING.format("(os.kill(os.getpid(), signal.SIGHUP), print('went on'))"))
    assert process.communicate(timeout=60)[0] == "went on\n" and process.returncode == 0


def test_other_hangups_stop():
    process = begin("-c", LISTENING.format("(os.kill(os.getpid(), signal.SIGHUP), print('went on'))"))
    out, told = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 130) and "Stopped by SIGHUP" in told


@pytest.mark.parametrize("script", ["segment", "classify", "detect", "pretrain"])
def test_ctrl_c_during_imports_has_no_traceback(script, tmp_path):
    (tmp_path / "sacred.py").write_text("import time; print('importing', flush=True); time.sleep(60)")
    process = begin(f"experiments/{script}.py", PYTHONPATH=str(tmp_path))
    assert process.stdout.readline() == "importing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "") and process.returncode == -signal.SIGINT  # 130 in a shell


def test_a_reader_that_leaves_turns_no_run_failed():
    process = begin("experiments/segment.py", "with", "tiny", "steps=1", "n_cycles=1")
    process.stdout.close()  # as `| head` does once it has seen enough
    told = process.stderr.read()
    assert process.wait(timeout=120) == 0, told
    assert "Broken pipe" not in told and "Traceback" not in told
    folder = next(Path(os.environ["ALIQUOT_RUNS"]).glob("[0-9]*"))
    assert json.loads((folder / "run.json").read_text())["status"] == "COMPLETED"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_some_letters_fails_no_run(encoding):
    words = ("with", "tiny", "steps=1", "n_cycles=0", "dataset_title=Drüse–λ", "results_dir=λ")
    process = begin("experiments/segment.py", "print_config", *words, PYTHONIOENCODING=encoding)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "Dr" in out and "\\u03bb" in out


def test_patient_output_spells_what_cannot_be_shown():
    raw = io.BytesIO()
    stream = launch.Patient(io.TextIOWrapper(raw, encoding="ascii"))
    assert stream.write("α ± 1") == 5
    stream.flush()
    assert raw.getvalue() == b"\\u03b1 \\xb1 1" and stream.encoding == "ascii"


def raising(error):
    return f"from data.names import Refused; from experiments.tracking.launch import launch\ndef run(_): raise {error}\nlaunch(run)"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Refused('lr=-1 must be more')", "Refused: lr=-1 must be more\n"),
        ("PermissionError(13, 'Permission denied', '/x')", "Refused: Permission denied: /x\n"),
    ],
)
def test_a_mistake_is_one_sentence_and_d_shows_where_it_was_found(error, told):
    process = begin("-c", raising(error))
    assert process.communicate(timeout=60) == ("", told) and process.returncode == 1
    process = begin("-c", raising(error), "-D")
    assert "Traceback" in process.communicate(timeout=60)[1] and process.returncode == 1


def test_a_fault_of_the_project_keeps_its_traceback():
    process = begin("-c", raising("TypeError('x')"))
    assert "Traceback" in process.communicate(timeout=60)[1] and process.returncode == 1


def test_a_refusal_within_a_run_is_one_sentence_too():
    process = begin("experiments/segment.py", "with", "tiny", "n_cycles=9")
    out, told = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in told and "Failed after" not in told + out
    assert told.strip().splitlines()[-1].startswith("Refused: n_initial=4 + n_cycles=9 x n_query=3 are 31 labels")
