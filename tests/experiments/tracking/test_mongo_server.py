"""The mirror against a real MongoDB server that is killed, emptied and shared: whatever happens, the files are complete, and in the end
the database says the same."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gridfs import GridFS
from pandas.testing import assert_frame_equal

from analysis.runs import load, load_picks
from experiments.tracking.sync import to_database
from tests.experiments.runs import ROOT, command_line, status_of
from tests.mongo_server import mongo, mongo_server  # noqa: F401

pytestmark = pytest.mark.mongo


def begin(server, runs, number=0, points=20, pause=0.05):
    words = [server.url(), runs, number, points, pause]
    command = [sys.executable, "-W", "ignore", "-m", "tests.experiments.mirrored", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    process.out, process.err = process.communicate(timeout=240)
    return process


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.05)


def points_in(database):
    return sum(len(metric["steps"]) for metric in database.metrics.find({"name": "dice"}))


def assert_same(server, runs, n_runs=1):
    """The database has all that the files have, without the help of sync."""
    report = to_database(runs, server.database())
    assert (len(report.equal), report.added, report.repaired, report.damaged) == (n_runs, [], [], {})
    assert_frame_equal(load(runs), load(server.url()))
    assert_frame_equal(load_picks(runs), load_picks(server.url()))


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_a_random_moment_and_back(mongo, tmp_path, seed):  # noqa: F811
    database, moment = mongo.database(), random.Random(seed).uniform(0, 2)
    process = begin(mongo, tmp_path, points=60, pause=0.1)
    until(lambda: points_in(database) > 0)
    time.sleep(moment)
    mongo.kill()
    time.sleep(1)
    mongo.start()
    assert end(process).returncode == 0 and "Traceback" not in process.err
    run = database.runs.find_one()
    dice = database.metrics.find_one({"name": "dice"})
    assert run["status"] == "COMPLETED" and dice["steps"] == list(range(1, 61)) and dice["values"][-1] == 1.0
    assert run["info"]["array"] == [0, 1, 2] and run["info"]["path"] == "/a/b" and run["info"]["pair"] == [1, 0.5] and run["result"] == 0.5
    files = {a["name"]: GridFS(database).get(a["file_id"]).read() for a in run["artifacts"]}
    assert files["half.bin"] == b"half" * 100_000 and "done" in run["captured_out"]
    assert_same(mongo, tmp_path)


def test_down_at_the_start_and_back(mongo, tmp_path):  # noqa: F811
    mongo.kill()
    process = begin(mongo, tmp_path, points=60, pause=0.1)
    until(lambda: (tmp_path / "1" / "metrics.json").exists())
    mongo.start()
    assert end(process).returncode == 0 and process.err.count("MongoDB does not answer") == 1
    assert_same(mongo, tmp_path)


def test_never_back_and_sent_later(mongo, tmp_path):  # noqa: F811
    process = begin(mongo, tmp_path, points=40)
    until(lambda: points_in(mongo.database()) > 0)
    mongo.kill()
    assert end(process).returncode == 0 and "lacks parts of this run" in process.err and status_of(tmp_path / "1") == "COMPLETED"
    mongo.start()
    assert mongo.database().runs.find_one()["status"] == "RUNNING"
    report = to_database(tmp_path, mongo.database())
    assert report.repaired == ["1"]
    assert mongo.database().runs.find_one()["info"]["path"] == "/a/b" and mongo.database().runs.find_one()["info"]["pair"][0] == 1
    assert_same(mongo, tmp_path)


def test_twelve_runs_start_together_on_two_machines(mongo, tmp_path):  # noqa: F811
    """Both number their folders from one; each run gets a number of its own in the database."""
    processes = [begin(mongo, tmp_path / "one", number, 4) for number in range(6)]
    processes += [begin(mongo, tmp_path / "two", number + 6, 4) for number in range(6)]
    assert [end(process).returncode for process in processes] == [0] * 12
    assert sorted(run["_id"] for run in mongo.database().runs.find()) == list(range(1, 13))
    for folder in ("one", "two"):
        report = to_database(tmp_path / folder, mongo.database())
        assert (len(report.equal), report.added, report.repaired) == (6, [], [])
    assert sorted(load(mongo.url())["run"].unique()) == list(range(12))


def test_emptied_database_beside_old_files(mongo, tmp_path):  # noqa: F811
    assert end(begin(mongo, tmp_path, 0, 4)).returncode == 0
    mongo.database().client.drop_database("aliquot")
    assert end(begin(mongo, tmp_path, 1, 4)).returncode == 0
    assert [run["_id"] for run in mongo.database().runs.find()] == [2]
    assert to_database(tmp_path, mongo.database()).added == ["1"]
    sources = [file["filename"] for file in mongo.database()["fs.files"].find({"filename": {"$regex": "^_sources/"}})]
    assert sources and len(sources) == len(set(sources))  # kept once for all runs
    assert_same(mongo, tmp_path, 2)


def test_emptied_in_mid_run_and_its_number_taken(mongo, tmp_path):  # noqa: F811
    process = begin(mongo, tmp_path / "one", points=60, pause=0.1)
    until(lambda: points_in(mongo.database()) > 0)
    mongo.database().client.drop_database("aliquot")
    mongo.database().runs.insert_one({"_id": 1, "status": "FAILED", "host": {}, "other": True})
    assert end(process).returncode == 0
    assert mongo.database().runs.find_one({"_id": 1})["other"] and mongo.database().metrics.count_documents({"run_id": 1}) == 0
    report = to_database(tmp_path / "one", mongo.database())
    assert report.equal == ["1"] and mongo.database().runs.find_one({"_id": 2})["status"] == "COMPLETED"


def test_sigkill_is_dead_by_heartbeat(mongo, tmp_path, monkeypatch):  # noqa: F811
    process = begin(mongo, tmp_path, points=10_000)
    until(lambda: points_in(mongo.database()) > 0)
    process.kill()
    end(process)
    assert load(mongo.url(), statuses=None)["status"].unique().tolist() == ["RUNNING"]
    monkeypatch.setattr("experiments.tracking.records.DEAD_AFTER", 0.5)
    time.sleep(0.6)
    for source in (tmp_path, mongo.url()):
        assert load(source, statuses=None)["status"].unique().tolist() == ["DEAD"]
        with pytest.raises(ValueError, match="there are 1 DEAD"):
            load(source)


def test_sigterm_leaves_interrupted(mongo, monkeypatch):  # noqa: F811
    """The script itself, as a batch system stops it."""
    monkeypatch.setenv("ALIQUOT_MONGO", mongo.url())
    few = ("dataset_options.n_pool=14", "dataset_options.n_test=4", "n_cycles=1")
    process = command_line("with", "tiny", *few, "steps=100000", wait=False)
    runs = Path(os.environ["ALIQUOT_RUNS"])
    until(lambda: list(runs.glob("resume/*/state.json")) or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert mongo.database().runs.find_one()["status"] == "INTERRUPTED" == status_of(runs / "1")


def test_a_server_that_hangs_delays_a_run_but_does_not_stop_it(mongo, tmp_path):  # noqa: F811
    process = begin(mongo, tmp_path, points=60, pause=0.1)
    until(lambda: points_in(mongo.database()) > 0)
    mongo.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(3)
    finally:
        mongo.process.send_signal(signal.SIGCONT)
    assert end(process).returncode == 0
    assert_same(mongo, tmp_path)


def complete(runs):
    """How many runs the files call completed."""
    return sum('"status": "COMPLETED"' in record.read_text() for record in runs.glob("[0-9]*/run.json"))


@pytest.mark.parametrize(("seed", "last", "way"), [(0, 2, []), (1, 5, ["--in-process"])], ids=["processes", "forks"])
def test_killed_again_and_again_during_a_grid(mongo, monkeypatch, seed, last, way):  # noqa: F811
    """Also while runs begin and end, and for longer than the end of a run waits: the grid sends what its runs could not."""
    monkeypatch.setenv("ALIQUOT_MONGO", mongo.url())
    n_runs = 2 * (last + 1)
    runs, moments, kills = Path(os.environ["ALIQUOT_RUNS"]), random.Random(seed), []
    words = ["classify", "with", "tiny", "heuristic=random,margin", f"run=0..{last}", "--jobs", "2", *way]
    log = runs.parent / "grid.txt"
    with log.open("w") as output:
        grid = subprocess.Popen([sys.executable, "experiments/grid.py", *words], cwd=ROOT, stdout=output, stderr=output)
        while grid.poll() is None and complete(runs) < n_runs:
            time.sleep(moments.uniform(0, 4))
            mongo.kill()
            kills.append(moments.choice([moments.uniform(0, 2), moments.uniform(8, 12)]))
            time.sleep(kills[-1])
            mongo.start()
        assert grid.wait(240) == 0, log.read_text()
    assert len(kills) > 2 and complete(runs) == n_runs and f"{n_runs} completed" in log.read_text()
    assert_same(mongo, runs, n_runs)
