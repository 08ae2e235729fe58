"""A round as an expert sees it: a real Label Studio in a real browser, whose answer the next round learns from.

Pictures go to `$ALIQUOT_SCREENSHOTS`.
"""

import json
import time

import numpy as np
import pytest
from PIL import Image

from data.phantoms.glands import glands
from experiments.rounds.label_studio.answers import label_of
from tests.browser import open_browser, save_picture
from tests.experiments.small_sets import SCRIPTS

pytestmark = [pytest.mark.labelstudio, pytest.mark.parametrize("studio", ["real"], indirect=True)]
PATIENCE = 120  # s
SIZE, LABELLED, N = 256, 8, 11
OPTIONS = {"dataset": "folder", "scale": 0.5, "n_query": 2, "n_test": 0, "heuristic": "entropy", "accept": "some"}
OPTIONS |= {"steps": 150, "batch_size": 4, "lr": 0.01, "width": 8, "depth": 4, "crop": 96, "precision": "float32"}
OPTIONS |= {"dataset_options": {"class_names": ["background", "gland"]}, "n_stop": 2, "export": "csv"}


def wait_for(condition, explain=lambda: ""):
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    return pytest.fail(f"waited in vain for {PATIENCE} s. {explain()}")


@pytest.fixture
def browser():
    with open_browser() as window:
        yield window


@pytest.fixture
def own(studio, phantom_cache):
    """A folder of phantoms, of which some have a mask."""
    images, root = glands(N, 1, SIZE, cache_root=phantom_cache), studio.of_test / "Gland phantoms"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(N):
        Image.fromarray(images.raw(i)).save(root / "images" / f"slide {i:02}.png")
        if i < LABELLED:
            mask = (images.target(i).numpy() > 0).astype(np.uint8)
            Image.fromarray(mask).save(root / "masks" / f"slide {i:02}.png")
    return root


def log_in(browser, studio):
    browser.get(f"{studio.url}/user/login/")
    browser.find_element("name", "email").send_keys(studio.user)
    browser.find_element("name", "password").send_keys(studio.password)
    browser.find_element("css selector", "button[type=submit]").click()
    wait_for(lambda: "/login" not in browser.current_url)


def regions(browser):
    return browser.find_elements("css selector", ".lsf-outliner-item")


def of_canvases(browser, script):
    """What a script finds of the RGBA `values` of each canvas of the page."""
    each = f"""return [...document.querySelectorAll('canvas')].filter(c => c.width && c.height).map(c => {{
        const values = c.getContext('2d').getImageData(0, 0, c.width, c.height).data
        {script}
    }})"""
    return browser.execute_script(each)


def colours(browser):
    """How many colours each canvas shows."""
    return of_canvases(browser, "return new Set(new Uint32Array(values.buffer)).size")


def shares(browser):
    """Share of the pixels of each canvas that one sees through and that are not empty."""
    return of_canvases(
        browser, "return values.filter((v, i) => i % 4 == 3 && v > 0 && v < 255).length / values.length * 4"
    )


def foreign(window, studio):
    """Addresses on other machines that any page so far has asked for something."""
    events = [json.loads(entry["message"])["message"] for entry in window.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert any("local-files" in address for address in asked)  # the image
    return [address for address in asked if not address.startswith((studio.url, "data:", "blob:", "chrome:"))]


def test_an_expert_corrects_a_predicted_mask_and_the_next_round_learns_from_it(studio, own, browser, tmp_path, capsys):
    out, script = tmp_path / "out", SCRIPTS["segment"]
    options = {**OPTIONS, "data_root": str(own), "out": str(out), "label_studio": studio.url}
    script.run("suggest", **options)
    project = int(capsys.readouterr().out.rpartition("/projects/")[2].split()[0])
    first = min(studio.tasks(project).values(), key=lambda task: task["data"]["rank"])
    predicted = first["predictions"][0]["result"]
    assert len(predicted) > 1

    log_in(browser, studio)
    browser.get(f"{studio.url}/projects/{project}/data?labeling=1")
    wait_for(lambda: len(regions(browser)) == len(predicted), lambda: browser.page_source[-3000:])
    wait_for(lambda: max(colours(browser), default=0) > 1000)  # the image
    wait_for(lambda: max(shares(browser), default=0) > 0.01)  # the regions on it, which one sees through
    save_picture(browser, "label_studio.png", tmp_path)

    regions(browser)[0].click()
    browser.find_element("tag name", "body").send_keys("\ue003")  # Backspace
    wait_for(lambda: len(regions(browser)) == len(predicted) - 1)
    browser.find_element("css selector", "[aria-label='Submit current annotation']").click()
    wait_for(lambda: studio.tasks(project)[first["data"]["name"]]["total_annotations"])
    assert foreign(browser, studio) == []

    (submitted,) = studio.call("GET", f"/api/tasks/{first['id']}/annotations/")
    kept = {result["id"] for result in submitted["result"]}
    corrected = [result for result in predicted if result["id"] in kept]
    assert len(corrected) == len(predicted) - 1

    name = first["data"]["name"]
    script.run("suggest", **options)
    label = np.array(Image.open(out / "labels" / "masks" / name))
    both = [label_of("segment", ["background", "gland"], found, (SIZE, SIZE), name) for found in (corrected, predicted)]
    assert np.array_equal(label, both[0]) and not np.array_equal(label, both[1])
    state = json.loads((out / "state.json").read_text())
    assert [row["n_labelled"] for row in state["curve"]] == [LABELLED, LABELLED + 1] and name in state["labels"]
