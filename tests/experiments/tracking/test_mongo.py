"""A MongoDB that is not there costs a warning and some seconds, nothing else."""

import os
import time
from pathlib import Path

import pytest

from experiments.tracking.mongo import Mirror
from tests.experiments.runs import command_line, status_of


@pytest.fixture
def unreachable(monkeypatch):
    monkeypatch.setattr("experiments.tracking.mongo.PATIENCE", 50)
    return Mirror("mongodb://127.0.0.1:9/aliquot", lambda: "runs/1")


def start(mirror):
    return mirror.started_event({"name": "segment", "base_dir": "", "sources": []}, "main", {}, None, {}, {}, 7)


def test_every_event_survives_a_server_that_is_down(unreachable, capsys, tmp_path):
    assert start(unreachable) == 7
    unreachable.log_metrics({"dice": {"steps": [4], "values": [0.5], "timestamps": [None]}}, {})
    unreachable.heartbeat_event({}, "", None, None)
    unreachable.artifact_event("curve.npy", str(tmp_path / "curve.npy"))
    unreachable.completed_event(None, 0.5)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2 and "MongoDB does not answer" in warnings[0] and "lacks parts of this run" in warnings[1]


def test_what_was_not_sent_is_kept_and_sent_when_the_server_is_back(unreachable, monkeypatch):
    """Metrics are kept whole and set by name, so that a second sending does no harm."""
    start(unreachable)
    for step in (4, 8):
        unreachable.log_metrics({"dice": {"steps": [step], "values": [step / 10], "timestamps": [None]}}, {})
    unreachable.heartbeat_event({}, "", None, None)
    sent = {}

    class Metrics:
        def update_one(self, key, update, upsert):
            sent[key["name"]] = update["$set"]
            return type("Done", (), {"upserted_id": "id"})

    unreachable._begin = lambda: setattr(unreachable, "run_entry", {"_id": 3, "info": {}})
    unreachable.metrics = Metrics()
    monkeypatch.setattr(unreachable, "save", lambda: sent.update(run=dict(unreachable.run_entry)))
    unreachable.completed_event("now", 0.6)
    assert sent["dice"]["steps"] == [4, 8] and sent["dice"]["values"] == [0.4, 0.8]
    assert sent["run"]["status"] == "COMPLETED" and sent["run"]["result"] == 0.6
    assert sent["run"]["info"]["metrics"] == [{"name": "dice", "id": "id"}]


@pytest.mark.processes
def test_a_whole_run_without_its_server(monkeypatch):
    monkeypatch.setenv("ALIQUOT_MONGO", "mongodb://127.0.0.1:9/")
    started = time.monotonic()
    few = ("dataset_options.n_pool=14", "dataset_options.n_test=4", "n_cycles=1")
    process = command_line("with", "tiny", *few, "steps=2")
    assert process.returncode == 0 and "MongoDB does not answer" in process.err and "Traceback" not in process.err
    assert status_of(Path(os.environ["ALIQUOT_RUNS"]) / "1") == "COMPLETED"
    assert time.monotonic() - started < 120
