"""The page of a round in a real browser: filter, sort, the map, and that nothing but the page is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.rounds.exports.target import Chart
from experiments.rounds.writing import writing
from tests.browser import open_browser
from tests.experiments.rounds.made import CLASSES, pictures, round_of
from tests.experiments.rounds.test_writing import HOSTILE

pytestmark = pytest.mark.browser


@pytest.fixture
def window():
    with open_browser() as opened:
        yield opened


def test_filter_sort_and_map(tmp_path, window):
    files = [*pictures(tmp_path / "own", 5), *(tmp_path / "own" / name for name in HOSTILE)]
    seen = round_of("segment", files, test=1)
    picks = {each.suggestion.name: (float(i), float(i % 3)) for i, each in enumerate(seen)}
    chart = Chart(np.random.default_rng(0).normal(size=(50, 2)), np.zeros((0, 2)), picks)
    with writing(["preview"], tmp_path, CLASSES["segment"], "</title>", "segment", tmp_path / "own", chart) as add:
        for each in seen:
            add(each)
    address = (tmp_path / "preview.html").as_uri()
    window.get(address)

    def one(selector):
        return window.find_element("css selector", selector)

    def ranks():
        shown = [card for card in window.find_elements("css selector", ".pick") if card.is_displayed()]
        return [int(card.get_attribute("data-rank")) for card in shown]

    def choose(name, value):
        one(f"#{name} option[value='{value}']").click()

    n = len(seen)
    assert ranks() == list(range(1, n + 1)) and one("#count").text == f"{n} of {n}"
    choose("part", "test")
    assert ranks() == [n] and one("#count").text == f"1 of {n}"
    choose("part", "")
    one("#search").send_keys("IMAGE 3")
    assert (
        ranks() == [4] and len([a for a in window.find_elements("css selector", ".chart a") if a.is_displayed()]) == 1
    )
    one("#search").send_keys("no such")
    assert ranks() == [] and one(".none").is_displayed()
    window.execute_script(
        "const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'))"
    )
    choose("sort", "score")
    assert ranks() == [*range(n - 1, 0, -1), n]  # scores fall with the rank, and the test image has none
    one("#turn").click()
    assert ranks() == list(range(1, n + 1))
    assert not one(".tip").is_displayed()
    window.execute_script("document.querySelector('.chart a[href=\"#pick-2\"]').focus()")
    assert one(".tip").is_displayed() and "image 1.png" in one(".tip").text and one("#pick-2.near")
    one("#outlines").click()
    assert window.execute_script("return getComputedStyle(document.querySelector('.overlay')).visibility") == "hidden"
    assert window.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in window.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    asked = {url for url in asked if not url.startswith(("data:", "chrome:"))}  # the browser's own first page
    assert asked == {address}
