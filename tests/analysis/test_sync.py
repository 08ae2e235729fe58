"""Database and files brought to the same content, in both directions, against a real server."""

import json
import shutil
import sys

import pymongo
import pytest
from gridfs import DEFAULT_CHUNK_SIZE, GridFS
from pandas.testing import assert_frame_equal
from pymongo.monitoring import CommandListener
from sacred import Experiment
from sacred.observers import MongoObserver

from analysis.runs import load, load_picks
from analysis.sync import main as command
from experiments.tracking import sync
from experiments.tracking.sync import to_database, to_folder
from tests.analysis.run_folders import DEFAULTS, store
from tests.benchmarks.bench_runs import asked_by_omniboard, stages_of
from tests.mongo_server import mongo, mongo_server  # noqa: F401

pytestmark = pytest.mark.mongo


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "stored"
    store(folder, 1)
    store(folder, 2, run=1, values=(0.6, float("nan")), heuristic_options={"metric": "cosine", "k": 3})
    store(folder, 3, heuristic="bald", status="FAILED")
    store(folder, 4, heuristic="bald", run=1, status="RUNNING", age=1000)
    store(folder, 7, command="supervised", values=(0.9,), budgets=(80,))
    return folder


@pytest.fixture
def synced(runs, mongo):  # noqa: F811
    to_database(runs, mongo.database())
    return mongo


def assert_same(one, other):
    for statuses in (("COMPLETED",), None):
        assert_frame_equal(load(one, statuses=statuses), load(other, statuses=statuses))
        assert_frame_equal(load_picks(one, statuses=statuses), load_picks(other, statuses=statuses))
    assert_frame_equal(load(one, command="supervised"), load(other, command="supervised"))


def test_same_frames_and_nothing_to_do_the_second_time(runs, mongo):  # noqa: F811
    assert to_database(runs, mongo.database()).added == ["1", "2", "3", "4", "7"]
    assert_same(runs, mongo.url())
    assert to_database(runs, mongo.database()).equal == ["1", "2", "3", "4", "7"]
    run = mongo.database().runs.find_one({"_id": 1})
    assert run["captured_out"] == "läuft\n" and run["host"]["stored_in"] == str(runs / "1")
    assert GridFS(mongo.database()).get(run["experiment"]["sources"][0][1]).read() == b"print()\n"
    assert {m["name"] for m in run["info"]["metrics"]} == set(mongo.database().metrics.distinct("name"))


DIFFERENCES = {
    "metric gone": lambda d: d.metrics.delete_one({"run_id": 2, "name": "dice"}),
    "point gone": lambda d: d.metrics.update_one({"run_id": 2, "name": "dice"}, {"$set": {"steps": [4], "values": [0.6]}}),
    "other value": lambda d: d.metrics.update_one({"run_id": 2, "name": "dice"}, {"$set": {"values.0": 0.61}}),
    "metric too many": lambda d: d.metrics.insert_one({"run_id": 2, "name": "x", "steps": [4], "values": [1.0], "timestamps": []}),
    "other status": lambda d: d.runs.update_one({"_id": 2}, {"$set": {"status": "RUNNING"}}),
    "other option": lambda d: d.runs.update_one({"_id": 2}, {"$set": {"config.lr": 1}}),
    "artifact not listed": lambda d: d.runs.update_one({"_id": 2}, {"$pop": {"artifacts": 1}}),
    "file gone": lambda d: d["fs.files"].delete_one({"filename": "artifact://runs/2/picks.csv"}),
    "run gone": lambda d: d.runs.delete_one({"_id": 2}),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_what_differs_is_repaired(runs, synced, difference):
    DIFFERENCES[difference](synced.database())
    report = to_database(runs, synced.database())
    assert (report.repaired or report.added) == ["2"] and len(report.equal) == 4
    assert_same(runs, synced.url())
    assert len(to_database(runs, synced.database()).equal) == 5


@pytest.mark.parametrize(("step", "done"), [("_send_metrics", False), ("store_files", False), ("store_files", True)])
def test_a_sync_that_ends_in_the_middle_is_completed_by_the_next(runs, mongo, monkeypatch, step, done):  # noqa: F811
    """No run says how it ended before all of it is there."""
    work = getattr(sync, step)
    with monkeypatch.context() as killed:
        killed.setattr(sync, step, lambda *arguments: (done and work(*arguments), sys.exit("killed")))
        with pytest.raises(SystemExit):
            to_database(runs, mongo.database())
    assert mongo.database().runs.distinct("status") == ["RUNNING"]
    report = to_database(runs, mongo.database())
    assert report.added == [] and mongo.database().runs.count_documents({}) == 5
    assert_same(runs, mongo.url())
    assert mongo.database().runs.distinct("captured_out") == ["läuft\n"]
    assert mongo.database().metrics.count_documents({}) == sum(len(json.loads(f.read_bytes())) for f in runs.glob("*/metrics.json"))
    names = [file["filename"] for file in mongo.database()["fs.files"].find()]
    assert len(names) == len(set(names)) == 2 * 5 + 1


def test_more_runs_than_are_sent_at_once_in_few_round_trips(mongo, tmp_path):  # noqa: F811
    for number in range(1, 46):
        store(tmp_path, number, run=number)
    commands = []

    class Listener(CommandListener):
        def started(self, event):
            commands.append(event.command_name)

        def succeeded(self, event):
            pass

        failed = succeeded

    database = pymongo.MongoClient(mongo.url(), event_listeners=[Listener()])["aliquot"]
    assert len(to_database(tmp_path, database).added) == 45 and len(commands) < 2 * 45
    commands.clear()
    assert len(to_database(tmp_path, database).equal) == 45 and len(commands) < 45
    assert_frame_equal(load(tmp_path), load(mongo.url()))


def test_files_of_every_size(runs, mongo):  # noqa: F811
    """Empty, of one chunk and of several."""
    files = {"none.bin": b"", "one.bin": b"1" * DEFAULT_CHUNK_SIZE, "more.bin": b"2" * (2 * DEFAULT_CHUNK_SIZE + 1)}
    for name, content in files.items():
        (runs / "1" / name).write_bytes(content)
    record = json.loads((runs / "1" / "run.json").read_text())
    (runs / "1" / "run.json").write_text(json.dumps(record | {"artifacts": [*record["artifacts"], *files]}))
    to_database(runs, mongo.database())
    stored = {a["name"]: a["file_id"] for a in mongo.database().runs.find_one({"_id": 1})["artifacts"]}
    for name, content in files.items():
        assert GridFS(mongo.database()).get(stored[name]).read() == content
    assert len(to_database(runs, mongo.database()).equal) == 5


def test_a_copied_folder_is_the_same_run(runs, synced, tmp_path):
    """It was written from a database, and so holds its place."""
    copy = tmp_path / "copy"
    to_folder(synced.database(), copy)
    shutil.copytree(copy / "2", copy / "9")
    synced.database().runs.delete_one({"_id": 2})
    to_database(copy, synced.database())
    assert sorted(run["_id"] for run in synced.database().runs.find()) == [1, 2, 3, 4, 7]
    assert_same(runs, synced.url())


def test_indexes_serve_the_reader_and_omniboard(runs, synced):
    database = synced.database()
    omniboard = asked_by_omniboard(1)
    names = ("table, one dataset and strategy", "all tags", "suggested strategies", "a run", "metrics of a run")
    asked = [omniboard[name] for name in names]
    asked += [{"find": "metrics", "filter": {"run_id": {"$in": [1, 2]}}}]
    asked += [{"find": "runs", "filter": {"start_time": {"$in": [run["start_time"] for run in database.runs.find()]}}}]
    asked += [{"find": "fs.files", "filter": {"filename": {"$in": ["artifact://runs/1/picks.csv"]}}}]
    for query in asked:
        assert stages_of(database.command("explain", query, verbosity="queryPlanner")) <= {"IXSCAN", "DISTINCT_SCAN", "IDHACK"}
    assert stages_of(database.command("explain", omniboard["table by result"])) == {"COLLSCAN"}  # as it would for any of the above


def test_into_an_empty_folder_and_back(runs, synced, tmp_path):
    copy = tmp_path / "copy"
    assert len(to_folder(synced.database(), copy).added) == 5
    assert_same(copy, synced.url())
    assert_same(copy, runs)
    for name in ("picks.csv", "curve.npy", "cout.txt"):
        assert (copy / "2" / name).read_bytes() == (runs / "2" / name).read_bytes()
    assert (copy / "_sources" / "segment_0123.py").exists()
    assert json.loads((copy / "2" / "config.json").read_text()) == json.loads((runs / "2" / "config.json").read_text())
    assert len(to_folder(synced.database(), copy).equal) == 5
    assert len(to_database(copy, synced.database()).equal) == 5  # known again, though it lies elsewhere


def test_files_are_completed_but_never_replaced_by_less(runs, synced):
    (runs / "1" / "metrics.json").write_text('{"dice": {"ste')
    (runs / "2" / "picks.csv").unlink()
    shutil.rmtree(runs / "3")
    synced.database().metrics.delete_many({"run_id": 7})
    before = (runs / "7" / "metrics.json").read_bytes()
    report = to_folder(synced.database(), runs)
    assert (report.repaired, report.added, report.equal) == (["1", "2"], ["3"], ["4", "7"])
    assert (runs / "7" / "metrics.json").read_bytes() == before
    assert to_database(runs, synced.database()).repaired == ["7"]
    assert_same(runs, synced.url())


def test_two_machines_with_equal_paths(runs, synced, tmp_path):
    """Equal host name, path and number, but another start: another run."""
    other = tmp_path / "other" / "stored"
    store(other, 1, run=5, age=50)
    other.rename(other.parent.parent / "moved")
    shutil.rmtree(runs)
    (tmp_path / "moved").rename(runs)
    assert to_database(runs, synced.database()).added == ["1"]
    assert synced.database().runs.find_one({"_id": 8})["config"]["run"] == 5
    assert set(load(synced.url())["run_id"]) == {1, 2, 8}
    assert to_folder(synced.database(), runs).added == ["1", "2", "3", "4", "7"]  # the first takes the next free number
    assert sorted(f.name for f in runs.iterdir() if f.name.isdigit()) == ["1", "2", "3", "4", "5", "7"]
    assert len(to_database(runs, synced.database()).equal) == 6


def test_runs_in_progress_are_left_alone_and_damaged_ones_reported(runs, synced):
    store(runs, 8, run=8, status="RUNNING")
    (runs / "2" / "run.json").write_text("{")
    report = to_database(runs, synced.database())
    assert report.in_progress == ["8"] and list(report.damaged) == ["2"] and "damaged, left out: run 2" in str(report)
    assert synced.database().runs.count_documents({}) == 5


def test_runs_of_an_ordinary_observer_become_files(mongo, tmp_path):  # noqa: F811
    ex = Experiment("segment", save_git_info=False)
    ex.observers.append(MongoObserver(url=mongo.url(), db_name="aliquot"))
    ex.add_config({**DEFAULTS, "seed": 0, "steps": (1, 2)})

    @ex.main
    def main(_run):
        _run.log_scalar("dice", 0.5, 4)

    ex.run()
    assert to_folder(mongo.database(), tmp_path / "runs").added == ["1"]
    assert_frame_equal(load(tmp_path / "runs"), load(mongo.url()))
    assert to_database(tmp_path / "runs", mongo.database()).added == []
    assert to_folder(mongo.database(), tmp_path / "runs").equal == ["1"]


def test_command_line(runs, mongo, monkeypatch, capsys):  # noqa: F811
    def run(*words):
        monkeypatch.setattr("sys.argv", ["sync", *map(str, words)])
        command()
        return capsys.readouterr().out

    assert run(runs, mongo.url()).strip() == "5 added, 0 repaired, 0 as they were"
    assert run(mongo.url(), runs).strip() == "0 added, 0 repaired, 5 as they were"
    monkeypatch.setattr("analysis.sync.PATIENCE", 100)
    for words, message in (
        ([runs, runs], "an address that starts with mongodb://"),
        ([runs, "mongodb://127.0.0.1:9"], "MongoDB does not answer"),
        ([runs / "none", mongo.url()], "no folder of runs at"),
    ):
        with pytest.raises(SystemExit, match=message):
            run(*words)
