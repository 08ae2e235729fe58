"""The other processes of a run on several devices: started and watched by the user's own, and ended with it.

They import the script, get the options and the state from the first process, and go through the same loop, see
`experiments.learning.parallel`; they hold no lock, keep no record, and neither say nor write anything.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from data.files import ROOT
from data.names import Refused
from experiments.learning.devices import device_in_turn, device_of, precision_of
from experiments.learning.parallel import LOOK, Group, joined
from experiments.tracking import processes
from experiments.tracking.checkpoints import Begun, Followed
from experiments.tracking.launch import told
from experiments.tracking.processes import KILLED
from experiments.tracking.telling import VARIABLE

if TYPE_CHECKING:
    from experiments.entry import Entry

FOLLOWER = """import sys
sys.path[0] = {root!r}
from experiments.{script} import SCRIPT
from experiments.several import follow
follow(SCRIPT, {rank}, {size}, {folder!r}, {parent})
"""


@contextmanager
def several(script: str, command: str, begun: Begun) -> Iterator[None]:
    """Run a block on `devices` devices: the other processes do `follow` of the script meanwhile.

    The threads of this process are divided among all. Refused as soon as one of them has ended.
    """
    options, size = begun.options, begun.options["devices"]
    if size == 1:
        yield
        return
    before = torch.get_num_threads()
    threads, device = max(1, before // size), device_of(options["device"])
    print(f"{size} processes compute this run ({device.type}), with {threads} of {before} threads each.", flush=True)
    folder, followers = begun.checkpoint.folder / "meeting", list[tuple[processes.Group, IO[bytes]]]()
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)

    def watch() -> None:
        for rank, (process, log) in enumerate(followers, 1):
            if process.poll():
                ended = f"process {rank} of this run on {size} devices ended ({_reason(process.returncode, log)})"
                raise Refused(f"{ended}, and the run with it; the same command goes on from the last save")

    def end() -> None:
        for process, _ in followers:
            if process.poll() is None:
                process.kill()
            process.wait()

    try:
        (folder / "order").write_bytes(pickle.dumps(_order(command, begun)))
        for rank in range(1, size):
            given = {"rank": rank, "size": size, "folder": str(folder), "parent": os.getpid()}
            code = FOLLOWER.format(root=str(ROOT), script=script, **given)
            log = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process has ended
            own = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TQDM_DISABLE": "1", VARIABLE: ""}
            followers.append((processes.start((sys.executable, "-c", code), log.fileno(), own), log))
        while len(list(folder.glob("here-*"))) < size - 1:
            watch()
            time.sleep(LOOK)
        torch.set_num_threads(threads)
        with joined(Group(0, size, options["sync_batchnorm"], watch, end), folder, device):
            shutil.rmtree(folder)  # nobody else comes
            yield
    finally:
        torch.set_num_threads(before)
        end()
        for _, log in followers:
            log.close()
        shutil.rmtree(folder, ignore_errors=True)


def follow(script: Entry, rank: int, size: int, folder: str, parent: int) -> None:
    """What another process of a run does, from its start to its end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # of the death of the first process, whatever this one waits for
    with told():
        command, options, runs, place, state, code = pickle.loads(Path(folder, "order").read_bytes())
        device = device_in_turn(options["device"], rank)
        options["device"] = str(device)
        checkpoint = Followed(runs, place.name, place)
        begun = Begun(options, script.check(options), checkpoint, state, code)
        torch.use_deterministic_algorithms(device.type == "cpu")
        group = Group(rank, size, options["sync_batchnorm"], _ending_with(parent))
        Path(folder, f"here-{rank}").touch()
        with joined(group, Path(folder), device):
            script.follow(command, begun)


def _order(command: str, begun: Begun) -> tuple[Any, ...]:
    """What another process has to know; precision is that of the first device, and pictures are drawn once."""
    own = {"precision": precision_of(begun.options), "save_maps": False, "results_dir": ""}
    checkpoint, options = begun.checkpoint, {name: own.get(name, value) for name, value in begun.options.items()}
    return command, options, checkpoint.runs, checkpoint.folder, begun.state, begun.code


def _ending_with(parent: int) -> Callable[[], None]:
    """What ends this process where the first one is gone."""

    def watch() -> None:
        if os.getppid() != parent:
            os._exit(130)

    return watch


def _reason(code: int, log: IO[bytes]) -> str:
    """Why a process ended."""
    if code == KILLED:
        return "killed by SIGKILL, often for lack of memory"
    if code < 0:
        return f"by {signal.Signals(-code).name}"
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"with code {code}"
