"""One call of `suggest`: a first list, the next round, or what it waits for."""

from __future__ import annotations

from sacred.run import Run

from experiments.listing import told, waited_for, write_list
from experiments.rounds.division import waiting
from experiments.rounds.state import save
from experiments.suggesting import FIRST, NOTHING, RECORD, TRAIN, WAIT, Turn, first_list, next_round
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
    state.recorded = state.round
    save(state, turn.folder)
    if turn.step == RECORD and waiting(state, turn.images):
        _say(waited_for(turn))
    _say(told(turn))
    return state.curve[-1].get(turn.options["metric"])


def _nothing(turn: Turn) -> list[str]:
    return ["No label has come in or changed since the last round: nothing is trained."]


def _say(lines: list[str]) -> None:
    if lines:
        print("\n".join(lines), flush=True)
