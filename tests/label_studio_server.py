"""A real Label Studio for tests marked `labelstudio`: on loopback, with SQLite, telling nobody anything.

`$ALIQUOT_LABEL_STUDIO` names the program, else `label-studio` on the PATH is taken; `tests/labelstudio_install.sh`
installs one, and beside it an empty database, without which the first start takes minutes on a busy machine.
"""

import os
import shutil
import socket
import subprocess
import time
from functools import cached_property
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.label_studio_calls import PLAIN, Calls

PATIENCE = 600  # s: a start without a database makes one, on a busy machine in minutes
QUIET = {"COLLECT_ANALYTICS": "False", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "", "LATEST_VERSION_CHECK": "False"}


class LabelStudio(Calls):
    """One server with one user, whose images lie below `root`."""

    user, password, token = "expert@example.org", "a long password", "0123456789abcdef" * 2 + "01234567"

    def __init__(self, program, folder):
        self.program, self.folder, self.root = program, folder, folder / "root"
        self.root.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.authorization = f"Token {self.token}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        self.process = None
        database = Path(program).resolve().parents[2] / "database"  # see tests/labelstudio_install.sh
        if database.exists():
            shutil.copytree(database, folder / "data")
        self.start()

    def start(self, **variables):
        """Start, with other variables of its environment; it goes on with its database."""
        env = {k: v for k, v in os.environ.items() if k != "LABEL_STUDIO_API_KEY"} | QUIET
        env |= {"LABEL_STUDIO_BASE_DATA_DIR": str(self.folder / "data"), "LOCAL_FILES_SERVING_ENABLED": "true"}
        env |= {"LOCAL_FILES_DOCUMENT_ROOT": str(self.root)} | variables
        options = ["--no-browser", "--port", self.port, "--internal-host", "127.0.0.1", "--enable-legacy-api-token"]
        options += ["--username", self.user, "--password", self.password, "--user-token", self.token]
        with self.log.open("a") as output:
            command = [self.program, "start", *map(str, options)]
            self.process = subprocess.Popen(command, env=env, stdout=output, stderr=output, cwd=self.folder)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if PLAIN.open(f"{self.url}/health", timeout=5).status == 200:
                    return
            except (URLError, OSError):
                time.sleep(0.2)
        self.kill()
        raise TimeoutError(f"Label Studio did not start: {self.log.read_text()[-3000:]}")

    @cached_property
    def personal(self):
        """A personal access token; the server gives a user one alone."""
        return self.call("POST", "/api/token/", {})["token"]

    def kill(self):
        self.process.kill()
        self.process.wait(30)


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory):
    """A running server for all tests; skipped where there is none."""
    program = os.environ.get("ALIQUOT_LABEL_STUDIO") or shutil.which("label-studio")
    if not program:
        pytest.skip("no Label Studio: set ALIQUOT_LABEL_STUDIO, see tests/labelstudio_install.sh")
    server = LabelStudio(program, tmp_path_factory.mktemp("label_studio"))
    yield server
    server.kill()


@pytest.fixture
def label_studio(label_studio_server, monkeypatch):
    """The running server, whose token is in the environment."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio_server.token)
    return label_studio_server
