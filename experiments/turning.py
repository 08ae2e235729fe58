"""One call of `suggest`: a first list, the next round, or what it waits for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sacred.run import Run
from torch import nn

from data.names import Refused
from experiments.listing import evidence_in, seen_of, told, waited_for, write_list
from experiments.rounds.division import waiting
from experiments.rounds.label_studio import turns as label_studio
from experiments.rounds.state import load, save
from experiments.rounds.suggestion import Seen
from experiments.suggesting import FIRST, NOTHING, RECORD, TRAIN, WAIT, Turn, Values, first_list, next_round
from experiments.tracking.ending import CONTENT_TYPES, record_row

PLAIN = "text/plain"  # type of what else a round leaves


def is_run(turn: Turn) -> bool:
    """Whether Sacred gets a record: of what trains, and of what was trained by a process that was killed since."""
    return turn.step in (TRAIN, RECORD)


def tell(turn: Turn) -> None:
    """Make the first list, or show the last one again and say what is waited for."""
    _say(turn.said)
    if turn.step == FIRST:
        first_list(turn)
    write_list(turn)
    _say({WAIT: waited_for, NOTHING: _nothing}.get(turn.step, lambda turn: [])(turn))
    _say(told(turn))
    _say(_asked_for(turn, None))


def foretold(turn: Turn) -> list[str]:
    """What was read, and what `suggest` would do now; nothing is written."""
    options, state, images = turn.options, turn.state, turn.images
    heights, widths = images.shapes.T
    size = f"{heights.min()} to {heights.max()} x {widths.min()} to {widths.max()} pixels (height x width, as used)"
    n_labelled, n_first = int(turn.train.labelled.sum()), min(options["n_initial"], len(state.order))
    does = {
        WAIT: "show its last list again",
        NOTHING: "show its last list again",
        FIRST: f"list {n_first} images to start with and {len(state.test) - len(turn.test)} at random to measure with",
        TRAIN: f"train on {n_labelled} images and list up to {options['n_query']} to label next",
        RECORD: "record the round that was trained last",
    }
    classes = f"classes {', '.join(images.classes)}"
    return [f"What was read: {size}, {classes}.", *turn.said, f"`suggest` would {does[turn.step]}."]


def take_labels(task: str, options: Values, folder: Path) -> list[str]:
    """Pull what was labelled in Label Studio since the last call; what to tell of it."""
    state = load(folder) if options["resume"] != "fresh" else None
    return label_studio.take(task, options, state.classes, folder) if state else []


def run_round(run: Run, turn: Turn) -> float | None:
    """Train and ask, and write the list; the record holds all rounds so far. Returns the main metric of the last."""
    _say(turn.said)
    turn.said.clear()
    model = next_round(turn) if turn.step == TRAIN else None
    state = turn.state
    _say(turn.said)
    for row in state.curve:
        record_row(run, row)
    folder = write_list(turn, model)
    run.info.update({"round": state.round, "folder": str(folder), "classes": state.classes})
    for file in sorted(folder.iterdir()):
        if file.is_file():
            run.add_artifact(str(file), content_type=CONTENT_TYPES.get(file.suffix, PLAIN))
    if turn.step == RECORD and waiting(state, turn.images):
        _say(waited_for(turn))
    _say(told(turn))
    try:
        _say(_asked_for(turn, model))
    except Refused as error:  # the round stands: its run has not failed
        _say([f"warning: {error}", "The list is not in Label Studio yet: the same command sends it."])
    return state.curve[-1].get(turn.options["metric"])


def mark_recorded(turn: Turn) -> None:
    """Note that the record of a round is whole: not before it says so itself, for a process may be killed meanwhile."""
    turn.state.recorded = turn.state.round
    save(turn.state, turn.folder)


def _asked_for(turn: Turn, model: nn.Module | None) -> list[str]:
    """Send the list to Label Studio, where one is named."""
    state, names = turn.state, [each.name for each in turn.state.asked]
    digest = hashlib.sha256("\n".join([state.weights, *names]).encode()).hexdigest()[:8]
    version = f"round {state.round} {digest}"
    return label_studio.ask(turn.task, turn.options, state.classes, turn.folder, _seen(turn, model), version, names)


def _seen(turn: Turn, model: nn.Module | None) -> Iterator[Seen]:
    """The list, of which nothing is computed before the first image is asked for."""
    yield from seen_of(turn, evidence_in(turn, model))


def _nothing(turn: Turn) -> list[str]:
    return ["No label has come in or changed since the last round: nothing is trained."]


def _say(lines: list[str]) -> None:
    if lines:
        print("\n".join(lines), flush=True)
