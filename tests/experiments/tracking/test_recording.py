"""The record of a run is whole or absent, and comes back where it was lost."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import experiments.segment as segment
from data.files import ROOT, STALE
from data.names import Refused
from experiments import loop
from experiments.learning import training
from experiments.tracking import recording
from experiments.tracking.recording import Files

OPTIONS = {"dataset_options": {"n_pool": 14, "n_test": 4}, "steps": 3, "mc_samples": 2, "heuristic": "bald"}
TIMED = ("_seconds", "_share")


def run(**options):
    """The folder of a tiny run, or None where it was finished before."""
    done = segment.SCRIPT.run(presets=("tiny",), **{**OPTIONS, **options})
    return recording.stored_folder(done) if done else None


def result_of(folder):
    """Curve, without what measures time, and picks."""
    curve = np.load(folder / "curve.npy")
    columns = {name: repr(curve[name].tolist()) for name in curve.dtype.names if not name.endswith(TIMED)}
    return columns, np.load(folder / "picks.npy").tolist()


def status_of(folder):
    return json.loads((folder / "run.json").read_text())["status"]


def untrained(monkeypatch):
    """Any training from here on fails the test."""
    monkeypatch.setattr(loop, "fit", None)


def metrics_of(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: repr(m["values"]) for name, m in metrics.items() if not name.endswith(TIMED)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, phantom_cache):
    """A folder of runs with one finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIQUOT_RUNS", str(tmp_path_factory.mktemp("whole")))
        patch.setenv("ALIQUOT_CACHE", str(phantom_cache))
        return run().parent


@pytest.fixture
def finished(whole):
    """The folder of a finished run, of which a test may do what it likes."""
    return Path(shutil.copytree(whole, os.environ["ALIQUOT_RUNS"])) / "1"


class TestRecordsOfFinishedRuns:
    @pytest.mark.parametrize("name", ["run.json", "config.json", "metrics.json"])
    @pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"null", b"\xff\xfe\x00"])
    def test_a_damaged_record_is_made_again_without_training(self, finished, monkeypatch, capsys, name, content):
        folder = finished
        before, metrics, config = result_of(folder), metrics_of(folder), (folder / "config.json").read_text()
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        untrained(monkeypatch)
        again = run()
        assert again is not None and again != folder and status_of(again) == "COMPLETED"
        assert result_of(again) == before and metrics_of(again) == metrics
        assert (again / "config.json").read_text() == config
        assert f"The record of run {folder.name} is not whole ({name} is" in capsys.readouterr().out
        assert run() is None

    def test_metrics_without_the_last_cycle_are_not_whole(self, finished, monkeypatch):
        folder = finished
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["n_labelled"]["values"].pop()
        (folder / "metrics.json").write_text(json.dumps(metrics))
        untrained(monkeypatch)
        assert run() not in (None, folder)

    def test_a_record_is_made_again_without_the_model_and_with_other_code(self, finished, monkeypatch):
        folder = finished
        shutil.rmtree(folder)
        for file in (folder.parent / "resume").rglob("model-*.pt"):
            file.unlink()
        untrained(monkeypatch)
        monkeypatch.setattr(segment.SCRIPT, "code_of", lambda options: "changed")
        assert status_of(run()) == "COMPLETED"
        (state,) = (folder.parent / "resume").rglob("state.json")
        assert json.loads(state.read_text())["code"] != "changed", "the code that trained it"

    def test_the_number_of_a_removed_run_may_be_another_s(self, finished):
        folder = finished
        shutil.rmtree(folder)
        assert run(run=1) == folder, "numbers are given again"
        again = run()
        assert again not in (None, folder) and json.loads((again / "config.json").read_text())["run"] == 0


class TestLostFiles:
    DELIVERED = ("curve.npy", "picks.npy", "picks.csv", "curve.png")

    @pytest.mark.parametrize("damage", ["missing", "empty", "cut", "one bit"])
    def test_they_are_written_again_from_the_state(self, finished, monkeypatch, capsys, damage):
        folder = finished
        before = {name: (folder / name).read_bytes() for name in self.DELIVERED}
        for name, content in before.items():
            flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
            (folder / name).write_bytes({"empty": b"", "cut": content[:-7]}.get(damage, flipped))
            if damage == "missing":
                (folder / name).unlink()
        untrained(monkeypatch)
        capsys.readouterr()
        assert run() is None
        told = capsys.readouterr().out
        assert "written again: " in told and all(name in told for name in self.DELIVERED)
        assert {name: (folder / name).read_bytes() for name in self.DELIVERED} == before
        assert run() is None and "written again" not in capsys.readouterr().out

    def test_those_of_an_older_version_too(self, finished, capsys):
        folder = finished
        (state,) = (folder.parent / "resume").rglob("state.json")
        saved = json.loads(state.read_text())
        del saved["delivered"], saved["finished_start"]
        state.write_text(json.dumps(saved))
        (folder / "curve.npy").unlink()
        (folder / "picks.csv").write_bytes(b"")
        assert run() is None and "written again: " in capsys.readouterr().out
        assert (folder / "curve.npy").stat().st_size and (folder / "picks.csv").stat().st_size

    def test_pictures_come_back_from_the_copy_that_is_kept(self, capsys):
        folder = run(save_maps=True)
        first, second = sorted(set(folder.glob("*.png")) - {folder / "curve.png"})[:2]
        before = first.read_bytes()
        first.write_bytes(b"")
        second.unlink()
        for kept in (folder.parent / "resume").rglob(second.name):
            kept.unlink()
        capsys.readouterr()
        assert run(save_maps=True) is None
        told = capsys.readouterr().out
        assert first.read_bytes() == before and f"written again: {first.name}" in told
        assert f"drawn only while a run is going on (resume=fresh runs it again): {second.name}" in told

    @pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY\x01\x00", b"text"])
    def test_the_curve_in_results_dir_comes_back(self, tmp_path, content):
        run(results_dir=str(tmp_path / "results"))
        (file,) = (tmp_path / "results").iterdir()
        before = file.read_bytes()
        file.unlink() if content is None else file.write_bytes(content)
        assert run(results_dir=str(tmp_path / "results")) is None
        assert file.read_bytes() == before and list((tmp_path / "results").iterdir()) == [file]


class TestTemporaries:
    def test_those_of_a_killed_process_are_removed_at_the_next_start(self, monkeypatch):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(loop, "query", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            run()
        runs = Path(os.environ["ALIQUOT_RUNS"])
        (key,) = (path for path in (runs / "resume").iterdir())
        ours = [key / ".state.json.1", key / "outputs" / ".curve.png.12", key / "outputs" / "maps" / ".a.png.3"]
        old = [runs / "1" / ".run.json.4", runs / "_sources" / ".loop_0.py.5"]
        young = runs / "1" / ".metrics.json.6"
        for file in (*ours, *old, young):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("half")
        for file in old:
            os.utime(file, (time.time() - 2 * STALE,) * 2)
        run()
        assert not any(file.exists() for file in (*ours, *old)) and young.exists()


COPIES = """
import os, signal, sys
from pathlib import Path
from experiments.tracking import recording
real = recording.shutil.copyfile
def cut(source, target):
    Path(target).write_bytes(Path(source).read_bytes()[:10])
    os.kill(os.getpid(), signal.SIGKILL)
recording.shutil.copyfile = cut
recording.Files(Path(sys.argv[1])).find_or_save(sys.argv[2], Path(sys.argv[1]) / "_sources")
"""


class TestSources:
    def test_a_kill_while_sources_are_copied_leaves_no_cut_copy(self, tmp_path):
        source = ROOT / "experiments" / "loop.py"
        done = subprocess.run([sys.executable, "-c", COPIES, str(tmp_path), str(source)], cwd=ROOT)
        assert done.returncode == -9 and not list((tmp_path / "_sources").glob("loop_*"))
        kept = Files(tmp_path).find_or_save(str(source), tmp_path / "_sources")
        assert kept.read_bytes() == source.read_bytes()

    def test_a_copy_that_an_older_version_cut_is_repaired(self, finished):
        kept = next((finished.parent / "_sources").glob("segment_*.py"))
        kept.write_bytes(kept.read_bytes()[:100])
        run(run=1)
        assert kept.read_bytes() == (ROOT / "experiments" / "segment.py").read_bytes()


def at_step(monkeypatch, step, act):
    """Do something in the middle of the training of a run."""
    real, steps = training.autocast, []

    def counted(*args):
        steps.append(1)
        if len(steps) == step:
            act()
        return real(*args)

    monkeypatch.setattr(training, "autocast", counted)


class TestRemovedFolders:
    def test_a_folder_that_is_removed_meanwhile_is_recorded_anew(self, monkeypatch):
        expected = run(run=7)
        expected = result_of(expected), metrics_of(expected)
        runs = Path(os.environ["ALIQUOT_RUNS"])
        at_step(monkeypatch, 4, lambda: shutil.rmtree(runs / "2"))
        folder = run(run=7, resume="fresh")
        assert folder == runs / "2" and status_of(folder) == "COMPLETED" and (folder / "cout.txt").exists()
        assert (result_of(folder), metrics_of(folder)) == expected
        assert json.loads((folder / "config.json").read_text())["run"] == 7
        assert run(run=7) is None

    def test_a_folder_whose_number_was_given_away_is_refused(self, monkeypatch):
        runs = Path(os.environ["ALIQUOT_RUNS"])

        def give_away():
            shutil.rmtree(runs / "1")
            (runs / "1").mkdir()
            (runs / "1" / "run.json").write_text('{"start_time": "2020-01-01", "status": "COMPLETED"}')

        at_step(monkeypatch, 4, give_away)
        with pytest.raises(Refused, match="folder .*/1 was removed while .* start the same command again to record"):
            run()
        monkeypatch.undo()
        monkeypatch.setenv("ALIQUOT_RUNS", str(runs))
        assert json.loads((runs / "1" / "run.json").read_text())["start_time"] == "2020-01-01"
        untrained(monkeypatch)
        assert run() == runs / "2"


def started(runs):
    files = Files(runs)
    info = {"name": "x", "base_dir": str(ROOT), "sources": [("experiments/loop.py", "0")]}
    files.started_event(info, "main", {}, datetime(2020, 1, 1), {"a": 1}, {}, None)
    return files


def measured(number):
    return {"dice": {"values": [number], "steps": [number], "timestamps": [datetime(2020, 1, 1)]}}


def test_heartbeats_beside_artifacts_leave_whole_files(tmp_path):
    files = started(tmp_path)
    (tmp_path / "a.txt").write_text("a")

    def beat():
        for number in range(20):
            files.log_metrics(measured(number), {})
            files.heartbeat_event({}, "out", datetime(2020, 1, 1), None)

    threads = [threading.Thread(target=beat) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        files.artifact_event(f"{number}.txt", str(tmp_path / "a.txt"))
    for thread in threads:
        thread.join()
    files.completed_event(datetime(2020, 1, 2), 1.0)
    files.require_recorded()
    folder = Path(str(files.dir))
    assert status_of(folder) == "COMPLETED" and not list(folder.glob(".*"))
    assert len(json.loads((folder / "metrics.json").read_text())["dice"]["values"]) == 60
    assert len(list(folder.glob("*.txt"))) == 21


def test_a_changed_artifact_is_copied_again(tmp_path):
    files = started(tmp_path)
    for text in ("first", "second"):
        (tmp_path / "a.txt").write_text(text)
        files.artifact_event("a.txt", str(tmp_path / "a.txt"))
        assert (Path(str(files.dir)) / "a.txt").read_text() == text
