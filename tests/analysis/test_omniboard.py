"""Runs as a user sees them: a real MongoDB, a real Omniboard, a real browser without a window.

`$ALIQUOT_OMNIBOARD` is the folder where Omniboard was installed; `tests/omniboard_install.sh` installs it and the
browser. Pictures go to `$ALIQUOT_SCREENSHOTS`.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.browser import save_picture
from tests.experiments.runs import ROOT, command_line
from tests.mongo_server import mongo, mongo_server  # noqa: F401

pytestmark = pytest.mark.browser
PATIENCE = 120  # s


@pytest.fixture
def omniboard(mongo, tmp_path):  # noqa: F811
    """The port of an Omniboard that shows the test's database."""
    folder, node = os.environ.get("ALIQUOT_OMNIBOARD"), shutil.which("node")
    if not folder or not node:
        pytest.skip("no Omniboard: set ALIQUOT_OMNIBOARD, see tests/omniboard_install.sh")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "omniboard.log"
    command = [node, str(ROOT / "analysis" / "omniboard.js"), "--mu", mongo.url()]
    with log.open("w") as output:
        server = subprocess.Popen(command, env=os.environ | {"PORT": str(port)}, stdout=output, stderr=output)
    try:
        wait_for(
            lambda: "established successfully" in log.read_text() and answers(port), lambda: log.read_text()[-2000:]
        )
        yield port
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def runs(mongo, monkeypatch):  # noqa: F811
    """Folders of a run of each script, which are in the database too."""
    monkeypatch.setenv("ALIQUOT_MONGO", mongo.url())
    for script, heuristic in (("segment", "bald"), ("classify", "margin")):
        process = command_line(
            "with", "tiny", f"heuristic={heuristic}", "run=3", script=ROOT / "experiments" / f"{script}.py"
        )
        assert process.returncode == 0, process.err
    return [Path(os.environ["ALIQUOT_RUNS"]) / number for number in "12"]


def answers(port):
    try:
        return urlopen(f"http://127.0.0.1:{port}/sacred").status == 200
    except URLError:
        return False


def wait_for(condition, explain=lambda: ""):
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    return pytest.fail(f"waited in vain for {PATIENCE} s. {explain()}")


def table(window):
    """The rows of the run table, each a dictionary from header to text."""
    headers, *rows = (
        row.text.split("\n") for row in window.find_elements("css selector", ".fixedDataTableRowLayout_main")
    )
    return [
        dict(zip(headers, (cell.strip() for cell in row[1:]), strict=True)) for row in rows
    ]  # the first cell opens the run


def test_a_user_sees_runs_and_opens_one(runs, omniboard, browser, tmp_path):
    browser.get(f"http://127.0.0.1:{omniboard}")
    wait_for(
        lambda: len(browser.find_elements("css selector", ".fixedDataTableRowLayout_main")) == 3,
        lambda: browser.page_source[-2000:],
    )
    newer, older = table(browser)
    save_picture(browser, "omniboard_table.png", tmp_path)
    stored = [json.loads((folder / "run.json").read_text()) for folder in runs]
    assert {name: older[name] for name in ("Experiment Name", "C Dataset", "C Heuristic", "C Run", "Status")} == {
        "Experiment Name": "segment", "C Dataset": "phantom", "C Heuristic": "bald", "C Run": "3", "Status": "COMPLETED"
    }  # fmt: skip
    assert (newer["Experiment Name"], newer["C Heuristic"], newer["Command"]) == ("classify", "margin", "main")
    assert [float(row["Result"]) for row in (older, newer)] == [run["result"] for run in stored]

    next(cell for cell in browser.find_elements("xpath", "//*[text()='bald']") if cell.is_displayed()).click()
    lines = ".js-plotly-plot .scatterlayer path.js-line"
    wait_for(lambda: browser.find_elements("css selector", lines), lambda: browser.page_source[-2000:])
    traces = browser.execute_script(
        "return document.querySelector('.js-plotly-plot').data.map(t => [t.name, t.x, t.y])"
    )
    curve = json.loads((runs[0] / "metrics.json").read_text())["dice"]
    assert ["dice", curve["steps"], curve["values"]] in traces
    save_picture(browser, "omniboard_run.png", tmp_path)


def test_it_listens_on_this_machine_alone(omniboard):
    """127.0.0.2 reaches a server on all interfaces, but not one on 127.0.0.1."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", omniboard), timeout=5)
