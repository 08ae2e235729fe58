"""Database and files brought to the same content, in both directions, against a real server."""

import json
import shutil

import pytest
from gridfs import GridFS
from pandas.testing import assert_frame_equal
from sacred import Experiment
from sacred.observers import MongoObserver

from analysis.runs import load, load_picks
from analysis.sync import main as command
from analysis.sync import to_database, to_folder
from tests.analysis.run_folders import DEFAULTS, store
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


def test_indexes_serve_the_reader_and_omniboard(runs, synced):
    database = synced.database()
    plan = database.metrics.find({"run_id": {"$in": [1, 2]}}).explain()["queryPlanner"]["winningPlan"]
    assert "IXSCAN" in json.dumps(plan, default=str) and "COLLSCAN" not in json.dumps(plan, default=str)
    keys = [list(index["key"]) for index in database.runs.index_information().values() for index in [dict(key=dict(index["key"]))]]
    assert ["status"] in keys and ["start_time", "host.hostname"] in keys


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
