"""Scripts as processes of a trial: in folders of their own, watched, killed, and looked for afterwards."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

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

    def fork(self, words: Sequence[str], **environment: str) -> Running:
        """The same as a fork of this process, which imports the script once: what a start takes is mostly imports.

        It is a process with a session, a log and an end of its own, and runs the same words in the same way.
        """
        script, *rest = [word.replace("PLACE", str(self.folder)) for word in words]
        from experiments.grids.forks import import_late

        entry = importlib.import_module(f"experiments.{Path(script).stem}").SCRIPT
        import_late(entry)
        given, log = self.environment(**environment), self.folder.parent / f"{self.folder.name}.log"
        if pid := os.fork():
            return Running(Fork(pid), log)
        _become(str(ROOT / "experiments" / script), rest, given, log, entry)

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
        while (found := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def alive(self) -> list[str]:
        """Command lines of all processes of this trial but forks of this one."""
        found, sought = [], f"{MARK}={self.mark}".encode()
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and sought in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # ended meanwhile
                continue
        return found


class Fork:
    """A fork of this process, as `subprocess` has its processes."""

    def __init__(self, pid: int):
        self.pid, self.returncode = pid, None

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), seconds)
            time.sleep(0.01)
        return self.returncode or 0


def _become(script: str, words: list[str], environment: dict[str, str], log: Path, entry: object) -> NoReturn:
    """Go on as the process of a script, and end as it ends."""
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(output, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        sys.argv = [script, *words]
        from experiments.tracking.launch import launch

        launch(entry.command_line)  # type: ignore[attr-defined]
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass
class Running:
    """A command that was started."""

    process: subprocess.Popen | Fork
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
