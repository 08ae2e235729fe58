"""A real browser without a window, and pictures of what it shows."""

import os
import shutil
from pathlib import Path

import pytest

WINDOW = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --window-size=1440,1250".split()
WINDOW += "--no-first-run --disable-background-networking --disable-component-update --disable-sync".split()


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver or not chromium:
        pytest.skip("no chromium with chromedriver on the PATH: see tests/omniboard_install.sh")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in WINDOW:
        options.add_argument(word)
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield window
    window.quit()


def save_picture(window, name, tmp_path):
    folder = Path(os.environ.get("ALIQUOT_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    assert window.save_screenshot(str(folder / name))
