"""A run with files and mirror that takes as long as a test likes: python -m tests.experiments.mirrored URL RUNS number points pause."""

import signal
import sys
import time
from pathlib import Path

import numpy as np
from sacred import SETTINGS, Experiment
from sacred.observers import FileStorageObserver

from experiments.tracking import mongo

SETTINGS.update({"DISCOVER_SOURCES": "sys", "DISCOVER_DEPENDENCIES": "sys", "CAPTURE_MODE": "sys", "DEFAULT_BEAT_INTERVAL": 0.2})
mongo.PATIENCE, mongo.PAUSE = 1000, 0.3
url, runs, number, points, pause = sys.argv[1], Path(sys.argv[2]), *map(float, sys.argv[3:6])
files = FileStorageObserver(runs)
ex = Experiment("segment", save_git_info=False)
ex.observers += [files, mongo.Mirror(url, lambda: str(files.dir))]
ex.add_config(
    dataset="phantom", heuristic="random", run=int(number), seed=int(number), data_root="", beta=float("nan"),
    classes=["a", "b"], options={},
)


def stop(*_):
    raise KeyboardInterrupt


@ex.main
def main(_run):
    _run.info["array"], _run.info["path"], _run.info["pair"] = np.arange(3), Path("/a/b"), (1, np.float32(0.5))
    print("begun", file=sys.stderr, flush=True)
    for i in range(1, int(points) + 1):
        _run.log_scalar("dice", i / points, i)
        _run.log_scalar("froc_at_0.5", i, i)
        _run.log_scalar("hd95", float("nan") if i == 1 else np.float64(i), i)
        if i == int(points) // 2:
            files_dir = Path(_run.observers[0].dir)
            (files_dir.parent / f"half-{int(number)}.bin").write_bytes(b"half" * 100_000)
            _run.add_artifact(str(files_dir.parent / f"half-{int(number)}.bin"), "half.bin", content_type="application/octet-stream")
        time.sleep(pause)
    (runs / f"picks-{int(number)}.csv").write_text(f"cycle,index,file,score\ninitial,{int(number)},a.png,\n0,7,b.png,0.5\n")
    _run.add_artifact(str(runs / f"picks-{int(number)}.csv"), "picks.csv", content_type="text/csv")
    print("done")
    return np.float64(0.5)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    runs.mkdir(parents=True, exist_ok=True)
    ex.run()
