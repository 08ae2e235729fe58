"""What several tests look into: figures that were written, and pages in a real browser without a window."""

import pytest

from analysis.report import main
from tests.browser import open_browser


@pytest.fixture
def reported(tmp_path, monkeypatch, phantom_cache):
    """Write the report of the runs below a folder; returns its text."""

    def write(runs, *words):
        monkeypatch.setattr("sys.argv", ["report", str(runs), "--out", str(tmp_path / "out"), *words])
        main()
        return (tmp_path / "out" / "index.html").read_text(encoding="utf-8")

    return write


@pytest.fixture
def browser():
    with open_browser() as window:
        yield window
