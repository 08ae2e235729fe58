"""Grids: what the words expand to, what is refused, how the jobs end, and that nothing outlives a grid."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import experiments.segment as segment
from experiments import grid, jobs
from experiments.jobs import Job, Outcome, run_here
from experiments.mongo import LACKS
from tests.experiments.runs import ROOT, run_in_process, status_of

TINY = {"phantom_pool": 14, "phantom_test": 4, "steps": 3, "n_cycles": 1}
TINY_WORDS = ("tiny", *(f"{name}={value}" for name, value in TINY.items()))


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("glas_quick", ["glas_quick"]),
        ("run=3", ["run=3"]),
        ("run=0..2", ["run=0", "run=1", "run=2"]),
        ("run=-1..1", ["run=-1", "run=0", "run=1"]),
        ("run=0..1,7,3..4", ["run=0", "run=1", "run=7", "run=3", "run=4"]),
        ("run=2,0..3", ["run=2", "run=0", "run=1", "run=3"]),
        ("heuristic=random,bald,random", ["heuristic=random", "heuristic=bald"]),
        ("data_root=../elsewhere", ["data_root=../elsewhere"]),
        ("lr=0.1..0.3", ["lr=0.1..0.3"]),
        ("heuristic_options.metric=l2,cosine", ["heuristic_options.metric=l2", "heuristic_options.metric=cosine"]),
        ("x=[1,2]", ["x=[1,2]"]),
        ("x=(1,2),(3,)", ["x=(1,2)", "x=(3,)"]),
        ("x={'a':[1,2],'b':'},'},{}", ["x={'a':[1,2],'b':'},'}", "x={}"]),
        ("x='a,b',c", ["x='a,b'", "x=c"]),
        ("x=a=b", ["x=a=b"]),
        ("x=", ["x="]),
    ],
)
def test_what_a_word_stands_for(word, values):
    assert grid.values_of(word) == values


LEAVES = st.integers() | st.text("ab,'\"\\[]{}().= ", max_size=6) | st.booleans() | st.none()
LITERALS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a,'", max_size=3), inner, max_size=2))


@given(st.lists(LITERALS, min_size=1, max_size=4))
def test_literals_of_python_stay_whole(values):
    written = [repr(value) for value in values]
    assert grid.split_values(",".join(written)) == written


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), min_size=1, max_size=3))
def test_a_grid_is_the_product_of_its_values(columns):
    words = [f"option{i}=" + ",".join(map(str, values)) for i, values in enumerate(columns)]
    expected = [tuple(f"option{i}={v}" for i, v in enumerate(row)) for row in product(*columns)]
    assert grid.expand(["tiny", *words]) == [("tiny", *row) for row in expected]


REFUSED = [
    (["segmnt", "with", "tiny"], "unknown script 'segmnt'. Did you mean 'segment'\\? Known: classify"),
    (["segment", "supervise", "with", "tiny"], "unknown command 'supervise'. Did you mean 'supervised'\\? Known: main, supervised"),
    (["segment", "heuristic=bald"], "unknown command 'heuristic=bald'. Presets and options come after the word `with`"),
    (["segment", "with", "run=4..0"], "run=4..0 counts down; write run=0..4"),
    (["segment", "with", "run=0..99999999999"], "run=0..99999999999 are 100000000000 values, more than the 10000 of a grid"),
    (["segment", "with", "run=0..999", "n_val=0..99"], "these are 100000 command lines"),
    (["segment", "with", "run=1,,2"], "'1,,2' has an empty value beside a comma"),
    (["segment", "with", "x=[1,2"], "'\\[1,2' lacks a closing \\]"),
    (["segment", "with", "x='1,2"], "'1,2\" lacks a closing '"),
    (["segment", "with", "tinny"], "unknown preset 'tinny'. Did you mean 'tiny'\\?"),
    (["segment", "with", "tiny", "heuristc=bald"], "unknown option 'heuristc'. Did you mean 'heuristic'\\?"),
    (["segment", "with", "tiny", "heuristic=random,entropi", "run=0..2"], "unknown heuristic 'entropi'. Did you mean 'entropy'\\?"),
    (["segment", "with", "tiny", "workers=0,1"], "`tiny workers=0` and `tiny workers=1` are one and the same run"),
    (["segment", "supervised", "with", "tiny", "heuristic=random,bald"], "are one and the same run"),
    (["segment", "with", "tiny", "--slurm"], "--slurm needs the commands of Slurm"),
]


@pytest.fixture
def here(monkeypatch):
    """Options are checked in this process, which has the script imported already."""
    monkeypatch.setattr(grid, "examined", grid.examine)


@pytest.mark.parametrize(("words", "sentence"), REFUSED, ids=lambda x: " ".join(x[-2:]) if isinstance(x, list) else "")
def test_mistakes_are_refused_before_anything_starts(here, monkeypatch, capsys, words, sentence):
    monkeypatch.setattr("experiments.slurm.shutil.which", lambda name: None)
    monkeypatch.setattr(grid, "run_here", None)
    assert grid.main(words) == 1
    err = capsys.readouterr().err
    assert err.startswith("Refused: ") and err.count("\n") == 1, "one sentence, however many command lines have the mistake"
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(err)


def test_all_mistakes_are_named_at_once(here, capsys):
    assert grid.main(["segment", "with", "tiny", "heuristic=bold", "loss=dise,dice"]) == 1
    assert grid.main(["segment", "with", "tiny", "n_query=0,-1,3", "run=0..2"]) == 1
    assert "n_query=0 must be" in (err := capsys.readouterr().err) and "n_query=-1 must be" in err


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--jobs", "two"], ["--gpus", "1"], ["--job", "2"]])
def test_mistakes_in_the_options_of_the_grid(words, capsys):
    with pytest.raises(SystemExit) as stop:
        grid.main(["segment", "with", "tiny", *words])
    assert stop.value.code == 2 and "usage: grid.py" in capsys.readouterr().err


def test_print_names_what_is_finished_and_prints_the_rest(here, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    run_in_process(segment.ex, **TINY, run=1)
    capsys.readouterr()
    assert grid.main(["segment", "with", *TINY_WORDS, "run=0..2", "--print"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"python experiments/segment.py with {' '.join(TINY_WORDS)} run={run}" for run in (0, 2)]
    assert err == f"# finished before: {' '.join(TINY_WORDS)} run=1\n"


def test_another_option_or_resume_fresh_is_not_finished(here, capsys):
    run_in_process(segment.ex, **TINY, run=1)
    for more, lines in (([], 0), (["steps=4"], 1), (["resume=fresh"], 1), (["workers=1"], 0)):
        capsys.readouterr()
        assert grid.main(["segment", "with", *TINY_WORDS, "run=1", *more, "--print"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == lines, more


def test_a_real_grid(capsys, monkeypatch):
    """Two runs of a script, one of them finished before; and once more, when nothing is left to do."""
    run_in_process(segment.ex, **TINY, run=1)
    words = ["segment", "with", *TINY_WORDS, "run=1,2", "--jobs", "2"]
    assert grid.main(words) == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0].split() == ["status", "seconds", "result", "run", "what"]
    assert lines[1].startswith("finished before ") and lines[1].split()[4:] == ["1", "run=1"]
    status, seconds, result, number, what = lines[2].split()
    assert (status, number, what) == ("completed", "2", "run=2") and 0 < float(result) < 1 and int(seconds) < 300
    assert lines[3] == "1 completed, 1 finished before"
    folder = Path(os.environ["ALIQUOT_RUNS"])
    assert status_of(folder / "2") == "COMPLETED" and "area under the curve of dice" in next(folder.glob("grid/*.log")).read_text()
    monkeypatch.setattr(grid, "examined", grid.examine)
    assert grid.main(words) == 0 and "\n2 finished before\n" in capsys.readouterr().out


def stub(folder, name, code, record=False):
    """A job that runs some Python; with `record`, the files of a completed run are there."""
    if record:
        times = {"start_time": "2020-01-01T00:00:00", "stop_time": "2020-01-01T00:01:30.5"}
        for file, content in {
            folder / "resume" / name / "state.json": {"finished_by": name},
            folder / name / "run.json": {"status": "COMPLETED", "result": 0.75, **times},
        }.items():
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(content))
    return Job(name, ("tiny", f"run={name}"), (sys.executable, "-c", code), folder, False)


def run_all(todo, slots=2, threads=1, stops=()):
    outcomes = {}
    run_here(todo, slots, threads, stops, lambda job, outcome: outcomes.update({job: outcome}))
    return outcomes


def test_how_jobs_end(tmp_path):
    code = "print('warning: x: y'); print('Failed after 0:00:01!'); print('Refused: lr=9 is too much'); print('bye'); raise SystemExit(1)"
    todo = [
        stub(tmp_path, "1", "pass", record=True),
        stub(tmp_path, "2", code),
        stub(tmp_path, "3", "raise KeyError('nothing')"),
        stub(tmp_path, "4", "pass"),
        stub(tmp_path, "5", "import os; os.kill(os.getpid(), 9)"),
        stub(tmp_path, "6", "import os; os.kill(os.getpid(), 15)"),
        stub(tmp_path, "7", "raise SystemExit(3)"),
    ]
    outcomes = run_all(todo, 4)
    ends = [outcomes[job] for job in todo]
    assert ends[0] == Outcome("completed", 90.5, 0.75, "1")
    assert [end.status for end in ends[1:]] == ["failed", "failed", "failed", "failed", "interrupted", "failed"]
    reasons = [end.reason for end in ends]
    assert reasons[1] == "Refused: lr=9 is too much" and reasons[2] == "KeyError: 'nothing'"
    assert reasons[3] == "it ended without a completed run" and reasons[4].startswith("killed by SIGKILL")
    assert reasons[6].startswith("$ "), "a run that says nothing leaves its command line"


def test_the_table_of_failures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    todo = [stub(tmp_path, "1", "pass", record=True), stub(tmp_path, "2", "raise ValueError('no data')")]
    ends = run_all(todo)
    text = grid.table({job: ends[job] for job in todo} | {stub(tmp_path, "3", ""): Outcome("not started")})
    lines = text.splitlines()
    assert lines[1].split() == ["completed", "90", "0.7500", "1", "run=1"]
    assert lines[2].split()[::2] == ["failed", "-", "run=2"] and lines[3:5] == ["    ValueError: no data", "    grid/2.log"]
    assert lines[5].split() == ["not", "started", "-", "-", "-", "run=3"]
    assert lines[6] == "1 completed, 1 failed, 1 not started"
    assert "$ " in todo[1].log.read_text() and "Traceback" in todo[1].log.read_text()


@pytest.mark.parametrize(
    ("ends", "code"), [(["completed", "finished before"], 0), (["completed", "failed"], 1), (["failed", "interrupted"], 130)]
)
def test_exit_codes(monkeypatch, tmp_path, ends, code):
    outcomes = {stub(tmp_path, str(i), ""): Outcome(end) for i, end in enumerate(ends)}
    monkeypatch.setattr(grid, "examined", lambda *_: list(outcomes))
    monkeypatch.setattr(grid, "run_grid", lambda *_: outcomes)
    assert grid.main(["segment", "with", "tiny"]) == code


SAVES = """
import os, signal, sys, time
def save(*_):
    time.sleep(.3)
    print("saved", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""
WAITS = "import os,time; print('pid', os.getpid(), os.environ['OMP_NUM_THREADS'], flush=True)\n"
DEAF = "import os,signal,time; signal.signal(15, signal.SIG_IGN); print('pid', os.getpid(), flush=True); time.sleep(60)"


def pids(todo):
    """Process ids that stubs wrote to their logs."""
    texts = [job.log.read_text() for job in todo if job.log.exists()]
    return [int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("pid ")]


def alive(pid):
    """Whether a process runs; one that ended and that nobody asked about does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def until(sign, seconds=30):
    end = time.monotonic() + seconds
    while not sign():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_a_stop_lets_runs_save_and_starts_no_other(tmp_path):
    todo, stops = [stub(tmp_path, str(i), SAVES) for i in range(3)], []
    stopper = threading.Thread(target=lambda: (until(lambda: len(pids(todo)) == 2), stops.append(15)))
    stopper.start()
    outcomes = run_all(todo, 2, 1, stops)
    stopper.join()
    assert [outcomes[job].status for job in todo] == ["interrupted", "interrupted", "not started"]
    assert all("saved" in job.log.read_text() for job in todo[:2]) and not todo[2].log.exists()


def test_slots_and_threads(tmp_path):
    """Three of five start and wait for a word; no fourth does until one has ended."""
    word, seen = tmp_path / "word", []
    code = f"{WAITS}while not os.path.exists({str(word)!r}): time.sleep(.02)"
    todo = [stub(tmp_path, str(i), code) for i in range(5)]

    def watch():
        until(lambda: len(pids(todo)) == 3)
        time.sleep(0.5)
        seen.append(len(pids(todo)))
        word.touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    run_all(todo, slots=3, threads=7)
    watcher.join()
    assert seen == [3] and len(pids(todo)) == 5
    assert all(job.log.read_text().splitlines()[-1].endswith(" 7") for job in todo)


@pytest.mark.parametrize("patience", ["second signal", "time"])
def test_a_run_that_does_not_hear_is_ended(tmp_path, monkeypatch, patience):
    todo, stops = [stub(tmp_path, "1", DEAF)], []
    monkeypatch.setattr(jobs, "GRACE", 60.0 if patience == "second signal" else 0.3)
    stopper = threading.Thread(target=lambda: (until(lambda: pids(todo)), stops.extend([2] * (1 + (patience == "second signal")))))
    stopper.start()
    began = time.monotonic()
    assert run_all(todo, 1, 1, stops)[todo[0]].status == "interrupted" and time.monotonic() - began < 20
    stopper.join()
    assert not alive(*pids(todo))


GRID = """
import sys
from pathlib import Path
from experiments.jobs import Job, noting_stops, run_here
with noting_stops() as stops:
    todo = [Job(str(i), (), (sys.executable, "-c", {code!r}), Path({folder!r}), False) for i in range(3)]
    run_here(todo, 2, 1, stops, lambda job, outcome: print(outcome.status, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_run_outlives_a_grid_that_is_killed(tmp_path, number):
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent was killed")
    todo = [stub(tmp_path, str(i), SAVES) for i in range(2)]
    code = GRID.format(code=SAVES, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    until(lambda: len(pids(todo)) == 2)
    assert all(map(alive, pids(todo)))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert out.split("\n")[:3] == ["interrupted", "interrupted", "not started"] and process.returncode == 0
    until(lambda: not any(map(alive, pids(todo))))
    assert all("saved" in job.log.read_text() for job in todo), "every run was let save itself"


def test_a_server_that_stays_away_is_told_once(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(grid, "AWAY", 50)
    monkeypatch.setenv("ALIQUOT_MONGO", "mongodb://127.0.0.1:1/sacred")
    whole, lacking = (Job(name, (), (), tmp_path, False) for name in ("whole", "lacking"))
    for job, said in ((whole, "done"), (lacking, f"warning: {LACKS}; its files are complete")):
        job.log.parent.mkdir(exist_ok=True)
        job.log.write_text(said)
    grid.send_rest([whole])
    assert capsys.readouterr().out == ""
    grid.send_rest([whole, lacking])
    assert "lacks parts of these runs; their files are complete" in capsys.readouterr().out
