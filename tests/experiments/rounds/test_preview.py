"""The page of a round: whole, light, escaped, and alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from experiments.rounds.exports.preview import preview
from experiments.rounds.exports.target import Chart, Target
from experiments.rounds.exports.thumbnails import SIDE, small
from experiments.rounds.suggestion import Prediction, Seen
from tests.experiments.rounds.made import CLASSES, round_of, suggestion
from tests.experiments.rounds.test_writing import HOSTILE

VOID = {"meta", "link", "img", "input"}
EXTERNAL = re.compile(r"\b(?:https?|ftp|file|ws|wss|blob):|//\w|@import|url\(", re.IGNORECASE)


class Page(HTMLParser):
    """Tags and attributes of a page; refuses tags that do not match."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def of(self, tag, kind=None):
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and (kind is None or kind in attrs.get("class", "").split())
        ]

    @property
    def text(self):
        return " ".join(self.words)


def page_of(tmp_path, task, seen, root=None, **options):
    target = Target(tmp_path / "out", CLASSES[task], options.pop("title", "Round 1"), task, root, **options)
    with preview(target) as add:
        for each in seen:
            add(each)
    text = (tmp_path / "out" / "preview.html").read_text(encoding="utf-8")
    return text, Page(text)


@pytest.mark.parametrize("task", CLASSES)
def test_each_image_has_its_card(tmp_path, task):
    seen = round_of(task, [tmp_path / f"image {i}.png" for i in range(6)], test=2)
    text, page = page_of(tmp_path, task, seen, tmp_path)
    cards = page.of("article", "pick")
    assert [card["data-name"] for card in cards] == [f"image {i}.png" for i in range(6)]
    assert [card["id"] for card in cards] == [f"pick-{i}" for i in range(1, 7)]
    assert cards[0]["data-uncertainty"] == "0.25" and cards[5]["data-uncertainty"] == ""
    assert "6 images to label: 4 chosen, 2 for the test set" in page.text and "no prediction" in page.text
    assert [json.loads(card["data-part"]) for card in cards] == [["query"]] * 4 + [["test"]] * 2
    assert len(page.of("svg", "overlay")) == (0 if task == "classify" else 4)
    assert len(page.of("div", "bars")) == (4 if task == "classify" else 0)
    for picture in page.of("img"):
        kind, _, data = picture["src"].partition(",")
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert kind == "data:image/jpeg;base64" and max(image.size) <= SIDE and picture["alt"]
        assert image.size == (int(picture["width"]), int(picture["height"]))


def test_predictions_are_drawn_where_they_are(tmp_path):
    class_map = np.zeros((80, 40), int)
    class_map[20:60, 10:30] = 1
    seen = Seen(
        suggestion(tmp_path / "a.png", size=(80, 40)), np.zeros((40, 20, 1), np.uint8), Prediction(class_map=class_map)
    )
    _, page = page_of(tmp_path, "segment", [seen])
    (overlay,) = page.of("svg", "overlay")
    assert overlay["viewbox"] == "0 0 40 80"  # twice as fine as the picture of 20 x 40
    assert {path["d"] for path in page.of("path")} == {"M10 20 30 20 30 60 10 60Z"}
    boxes = Prediction(boxes=np.array([[10, 20, 30, 60, 1, 0.875]]))
    text, page = page_of(tmp_path, "detect", [replace(seen, prediction=boxes)])
    (rect, _) = page.of("rect")
    assert [float(rect[side]) for side in ("x", "y", "width", "height")] == [5, 10, 10, 20]
    assert "a <b> & 'c' 0.88" in page.text and page.of("svg", "overlay")[0]["viewbox"] == "0 0 20 40"


@pytest.mark.parametrize("task", CLASSES)
def test_names_are_text_and_nothing_is_fetched(tmp_path, task):
    marks = [
        "</script><script>alert(1)</script>",
        '" onload="alert(1)',
        "<!--",
        "https://example.org/x.png",
        "]]>",
        "&amp;",
        "{{1}}",
    ]
    names = [*HOSTILE, *(f"{mark.replace('/', '∕')}.png" for mark in marks)]
    seen = round_of(task, [tmp_path / name for name in names])
    evil = [
        replace(s, suggestion=replace(s.suggestion, patient=m, nearest=m, why=m))
        for s, m in zip(seen, marks, strict=False)
    ]
    picks = {each.suggestion.name: (float(i), 0.0) for i, each in enumerate(seen)}
    chart = Chart(np.zeros((4, 2)), np.zeros((0, 2)), picks, "</svg><script>")
    text, page = page_of(
        tmp_path, task, [*evil, *seen[len(evil) :]], tmp_path, title="</title><script>alert(2)</script>", chart=chart
    )
    known = "html head body meta title link style script header h1 h2 p ul li main div span label input select option button output"
    known += " details summary svg path a circle rect text article figure img bdi dl dt dd i footer"
    assert {tag for tag, _ in page.tags} <= set(known.split())
    assert len(page.of("script")) == text.count("<script") == text.count("</script") == 1
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert attrs.get(name, "#").startswith(("#", "data:image/jpeg;base64,", "data:,")), (tag, attrs)
        assert not EXTERNAL.search(attrs.get("style", ""))
    for part in (
        *re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
        *re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
    ):
        assert not EXTERNAL.search(part)
        assert not re.search(r"fetch|XMLHttp|WebSocket|sendBeacon|innerHTML|eval|document\.write", part)
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069]", text) and "\\u202egnp.exe.png" in page.text
    assert {json.loads(card["data-why"])[0] for card in page.of("article")} >= set(marks)


def test_the_policy_lets_only_the_own_script_run(tmp_path):
    text, page = page_of(tmp_path, "classify", round_of("classify", [tmp_path / "a.png"]))
    (policy,) = (m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:" and rules["script-src"] == f"'sha256-{digest}'"
    assert text.index("Content-Security-Policy") < text.index("<script>")


def test_what_is_asked_of_the_page_is_on_it(tmp_path):
    """The script finds every element that it names."""
    text, page = page_of(tmp_path, "segment", round_of("segment", [tmp_path / f"{i}.png" for i in range(4)], test=1))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert set(re.findall(r'tool\("(\w+)"\)', script)) <= ids and {"part", "why", "class", "sort"} <= ids
    (keys,) = (
        [o["value"] for _, o in page.tags[i + 1 : i + 6]] for i, (_, a) in enumerate(page.tags) if a.get("id") == "sort"
    )
    assert all(f"data-{key}" in page.of("article")[0] for key in keys)


def test_a_long_round_shows_its_beginning_and_says_so(tmp_path):
    seen = [Seen(suggestion(tmp_path / f"{i}.png", i + 1), np.zeros((4, 4, 1), np.uint8), None) for i in range(30)]
    text, page = page_of(tmp_path, "classify", seen, most=7)
    assert len(page.of("article")) == 7
    assert "30 images to label" in page.text and "Shown here: the first 7 of 30." in page.text
    assert "Shown here" not in page_of(tmp_path, "classify", seen[:7], most=7)[0]


def test_pages_are_light(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (150, 100, 3), dtype=np.uint8)
    (seen,) = round_of("segment", [tmp_path / "a.png"])
    speckles = Prediction(class_map=rng.integers(0, 3, (150, 100)))  # the worst that a model can say
    plain, _ = page_of(tmp_path, "segment", [replace(seen, picture=noise, prediction=None)])
    heavy, _ = page_of(tmp_path, "segment", [replace(seen, picture=noise, prediction=speckles)])
    assert len(plain) < 70_000 and len(heavy) < len(plain) + 100_000


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_keep_their_form(channels):
    data, size = small(np.full((600, 300, channels), 200, np.uint8))
    image = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
    assert size == image.size == (128, 256) and np.abs(np.asarray(image).astype(int) - 200).max() <= 2
    assert small(np.zeros((20, 30, channels), np.uint8))[1] == (30, 20)


def test_the_map_leads_to_each_pick(tmp_path):
    seen = round_of("classify", [tmp_path / f"{i}.png" for i in range(3)])
    pool = np.column_stack([np.arange(12001) / 12000, np.zeros(12001)])
    pool[5] = np.nan
    picks = {"0.png": (0.0, 0.0), "1.png": (1.0, 0.0), "other.png": (9.0, 9.0)}
    text, page = page_of(tmp_path, "classify", seen, chart=Chart(pool, np.array([[0.5, 0.0]]), picks, "two components"))
    links = page.of("a")
    assert [link["href"] for link in links] == ["#pick-1", "#pick-2"]
    assert [circle["cx"] for circle in page.of("circle")[:2]] == ["16", "944"]
    assert "12001 unlabelled (one of 3 drawn)" in page.text and "two components" in page.text
    assert "1 labelled" in page.text and "2 to label" in page.text
    assert page_of(tmp_path, "classify", seen, chart=Chart(pool, pool[:0], {}))[1].of("a") == []
