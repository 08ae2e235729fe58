"""Several processes of one run, as forks of the one that tests: what they have imported is there at once."""

import gc
import os
import pickle
import signal
import sys
import tempfile
import traceback
from functools import partialmethod
from pathlib import Path

import torch
from tqdm import tqdm

from experiments.learning.parallel import Group, joined


class Fork:
    """A forked process that does some work and ends; to be used like one of `processes.start`."""

    def __init__(self, work):
        self.returncode = None
        gc.collect()  # with the exchanges of groups that were: each waits for a thread, which a fork does not have
        self.pid = os.fork()
        if not self.pid:
            gc.freeze()
            code = 1
            try:
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                work()
                code = 0
            except SystemExit as end:
                code = end.code
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def poll(self):
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def together(work, size=2, sync_batchnorm=True):
    """What `work()` gives in each of so many processes that are joined, in their order."""
    with tempfile.TemporaryDirectory() as folder:

        def joining(rank):
            def run():
                with joined(Group(rank, size, sync_batchnorm), Path(folder), torch.device("cpu")):
                    made = work()
                (Path(folder) / f"made-{rank}").write_bytes(pickle.dumps(made))

            return run

        forks = [Fork(joining(rank)) for rank in range(size)]
        codes = [fork.wait() for fork in forks]
        assert codes == [0] * size
        return [pickle.loads((Path(folder) / f"made-{rank}").read_bytes()) for rank in range(size)]


def starting_forks(started):
    """In the place of `processes.start`: the code of a command line is run by a fork, which joins the list."""

    def start(command, output, environment, pass_fds=()):
        def work():
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout = sys.stderr = os.fdopen(os.dup(output), "w", buffering=1)
            os.environ.update(environment)
            tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)  # as TQDM_DISABLE does at the import
            exec(command[2], {})

        started.append(Fork(work))
        return started[-1]

    return start
