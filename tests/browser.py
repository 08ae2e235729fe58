"""A real browser without a window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WINDOW = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --window-size=1440,1250".split()
WINDOW += "--no-first-run --disable-background-networking --disable-component-update --disable-sync".split()


@contextmanager
def open_browser() -> Iterator:
    """Chromium, driven by selenium, which keeps what pages log and ask for; skips the test where it is not there."""
    webdriver = pytest.importorskip("selenium.webdriver")
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver or not chromium:
        pytest.skip("no chromium with chromedriver on the PATH: see tests/omniboard_install.sh")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for word in WINDOW:
        options.add_argument(word)
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield window
    finally:
        window.quit()


def save_picture(window, name, tmp_path):
    """Save what the window shows, to `$ALIQUOT_SCREENSHOTS` where that is set."""
    folder = Path(os.environ.get("ALIQUOT_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    assert window.save_screenshot(str(folder / name))
