"""A real MongoDB server for tests marked `mongo`: a replica set of one, which keeps acknowledged writes when it is killed.

`$ALIQUOT_MONGOD` names the program, else `mongod` on the PATH is taken; `tests/mongo_install.sh` installs one.
"""

import os
import shutil
import signal
import socket
import subprocess
import time

import pymongo
import pytest
from pymongo.errors import PyMongoError


class Server:
    """One mongod on loopback that can be killed and started again on the same port and files."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None
        folder.mkdir(parents=True)
        self.start()

    def url(self, database="aliquot"):
        return f"mongodb://127.0.0.1:{self.port}/{database}?replicaSet=rs0"

    def database(self, name="aliquot"):
        return pymongo.MongoClient(self.url(name), serverSelectionTimeoutMS=20_000)[name]

    def start(self):
        """Start and wait until it takes writes."""
        options = ["--dbpath", self.folder, "--port", self.port, "--bind_ip", "127.0.0.1", "--logpath", self.folder / "log", "--logappend"]
        options += ["--wiredTigerCacheSizeGB", 0.25, "--networkMessageCompressors", "disabled", "--replSet", "rs0", "--oplogSize", 64]
        options += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        self.process = subprocess.Popen([self.program, *map(str, options)], stdout=subprocess.DEVNULL, start_new_session=True)
        with pymongo.MongoClient("127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=500) as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    if client.admin.command("hello")["isWritablePrimary"]:
                        return
                    member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
                except PyMongoError:  # not up yet, or initiated before
                    time.sleep(0.05)
        raise TimeoutError(f"mongod did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self, number=signal.SIGKILL):
        """kill -9, as a power cut would."""
        self.process.send_signal(number)
        self.process.wait(30)


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory):
    """A running server; the test is skipped where there is no mongod."""
    program = os.environ.get("ALIQUOT_MONGOD") or shutil.which("mongod")
    if not program:
        pytest.skip("no mongod: set ALIQUOT_MONGOD, see tests/mongo_install.sh")
    server = Server(program, tmp_path_factory.mktemp("mongo") / "db")
    yield server
    server.kill()


@pytest.fixture
def mongo(mongo_server):
    """The running server, without databases of earlier tests."""
    if mongo_server.process.poll() is not None:
        mongo_server.start()
    client = mongo_server.database().client
    for name in client.list_database_names():
        if name not in ("admin", "config", "local"):
            client.drop_database(name)
    client.close()
    return mongo_server
