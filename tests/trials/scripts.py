"""Scripts as processes of a trial: in folders of their own, watched, killed, and looked for afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MARK = "ALIQUOT_TRIAL"  # in the environment of every process that a trial starts, and of those that these start
PATIENCE = 600  # s that a command may take on a busy machine


@dataclass
class Place:
    """The folder of one trial: runs, cache, temporary files, and whatever else its commands name."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def environment(self, **more: str) -> dict[str, str]:
        """Of its processes: nothing of the user's own folders and servers."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALIQUOT_", "LABEL_STUDIO"))}
        for name in ("runs", "cache", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        ours = {"ALIQUOT_RUNS": str(self.runs), "ALIQUOT_CACHE": str(self.folder / "cache"), MARK: self.mark}
        return kept | ours | {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder / "tmp")} | more

    def start(self, words: Sequence[str], prefix: Sequence[str] = (), **environment: str) -> Running:
        """Start `classify.py with tiny ...` (or another script) in a session of its own; output goes to a file."""
        script, *rest = [word.replace("PLACE", str(self.folder)) for word in words]
        command = [*prefix, sys.executable, str(ROOT / "experiments" / script), *rest]
        with (self.folder.parent / f"{self.folder.name}.log").open("wb") as output:
            return Running(
                subprocess.Popen(
                    command, cwd=ROOT, env=self.environment(**environment), stdin=subprocess.DEVNULL, stdout=output,
                    stderr=subprocess.STDOUT, start_new_session=True
                ),
                Path(output.name),
            )  # fmt: skip

    def written(self) -> set[tuple[str, int]]:
        """Every file with the time of its last change."""
        found = set()
        for folder, _, names in os.walk(self.folder):
            for name in names:
                try:
                    found.add((os.path.join(folder, name), os.stat(os.path.join(folder, name)).st_mtime_ns))
                except OSError:  # gone meanwhile
                    continue
        return found

    def orphans(self, within: float = 20.0) -> list[str]:
        """Command lines of processes of this trial that live on, after waiting for them to end."""
        deadline = time.monotonic() + within
        while (found := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _alive(self) -> list[str]:
        found, sought = [], f"{MARK}={self.mark}".encode()
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and sought in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # ended meanwhile
                continue
        return found


@dataclass
class Running:
    """A command that was started."""

    process: subprocess.Popen
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self) -> int:
        """Wait for its end; the exit code."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill(whole=True)
            raise

    def kill(self, whole: bool) -> None:
        """SIGKILL, to the process alone or to its whole group."""
        (os.killpg if whole else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
