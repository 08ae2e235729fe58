"""preview.html: what a round suggests on one page, which needs nothing beside itself and fetches nothing.

Cards are written as they come; the head of the page, which counts them, is put before them at the end.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data.files import room_for
from experiments.rounds.exports.cards import card, classes_in, named, plain
from experiments.rounds.exports.colours import colour_of
from experiments.rounds.exports.map import scatter
from experiments.rounds.exports.target import Target, frame_of, relative
from experiments.rounds.exports.whole import text_file
from experiments.rounds.suggestion import Seen, Writer

NAME = "preview.html"
PARTS = {"query": "chosen", "start": "to start with", "test": "for the test set"}
SORTS = {"rank": "rank", "score": "score", "uncertainty": "uncertainty", "name": "name", "patient": "patient"}
STYLE, SCRIPT = (Path(__file__).with_name(f"preview.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
PRIVATE = (
    "This page holds small copies of the images: keep it as private as they are. It fetches nothing and sends nothing."
)


@dataclass
class Counts:
    """What the head of the page tells of the cards."""

    all: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    shown: dict[str, int] = field(default_factory=dict)  # name -> rank


@contextmanager
def preview(target: Target) -> Iterator[Writer]:
    """Writes preview.html with the first `target.most` images that it is given."""
    counts = Counts()
    path = target.folder / NAME
    with text_file(path) as page, tempfile.TemporaryFile("w+", encoding="utf-8") as cards, room_for(path):

        def write(seen: Seen) -> None:
            said = seen.suggestion
            counts.all += 1
            counts.parts[said.part] += 1
            if len(counts.shown) < target.most:
                counts.shown[said.name] = said.rank
                counts.why[said.why] += 1
                found = classes_in(seen.prediction, target.classes)
                counts.classes.update(found)
                name = relative(said, target.root).as_posix() + frame_of(said)
                cards.write(card(seen, target.classes, name, found))

        yield write
        page.write(_head(target, counts))
        cards.seek(0)
        shutil.copyfileobj(cards, page)
        page.write(
            '</div><p class="none" hidden>Nothing fits this filter.</p></main>'
            f"<footer><p>{PRIVATE}</p></footer>\n<script>{SCRIPT}</script></body></html>\n"
        )


def _head(target: Target, counts: Counts) -> str:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    told = ", ".join(f"{counts.parts[part]} {words}" for part, words in PARTS.items() if counts.parts[part])
    summary = f"<p>{counts.all:,} images to label{': ' if told else ''}{told}.</p>"
    if len(counts.shown) < counts.all:
        summary += f'<p class="note">Shown here: the first {len(counts.shown):,} of {counts.all:,}.</p>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f'<title>{plain(target.title)}</title><link rel="icon" href="data:,">\n<style>{STYLE}</style></head>\n<body>'
        f"<header><h1>{named(target.title)}</h1>{summary}{_legend(target, counts)}</header>\n<main>"
        f"{_tools(target, counts)}{'' if target.chart is None else scatter(target.chart, counts.shown)}"
        '<div class="picks">\n'
    )


def _legend(target: Target, counts: Counts) -> str:
    """The colours of the classes that are drawn."""
    if target.task == "classify" or not counts.classes:
        return ""
    first = 1 if target.task == "segment" else 0
    swatches = [
        f'<li><span class="swatch" style="background:{colour_of(c - first)}"></span>{named(name)}</li>'
        for c, name in enumerate(target.classes)
        if counts.classes[name]
    ]
    return f'<ul class="legend">{"".join(swatches)}</ul>'


def _tools(target: Target, counts: Counts) -> str:
    """Filter and sort; they appear where scripts run."""
    drawn = bool(counts.classes) and target.task != "classify"
    outlines = '<label><input type="checkbox" id="outlines" checked>predictions</label>' if drawn else ""
    classes = [name for name in target.classes if counts.classes[name]]
    return (
        '<div class="tools" role="search" hidden>'
        '<label>find<input type="search" id="search" placeholder="name or patient"></label>'
        f"{_choice('part', counts.parts)}{_choice('why', counts.why)}{_choice('class', classes, 'predicted')}"
        f"{_choice('sort', SORTS, 'by', '')}"
        f'<button type="button" id="turn">↑ rising</button>{outlines}'
        '<label>size<input type="range" id="size" min="9" max="30" value="15"></label>'
        '<output id="count" aria-live="polite"></output></div>\n'
    )


def _choice(name: str, entries: Iterable[str], label: str = "", first: str = '<option value="">all</option>') -> str:
    """A list to choose from; nothing where there is no choice."""
    entries = [entry for entry in entries if entry]
    if len(entries) < 2:
        return ""
    options = "".join(f'<option value="{plain(entry)}">{plain(entry)}</option>' for entry in entries)
    return f'<label>{label or name}<select id="{name}">{first}{options}</select></label>'
