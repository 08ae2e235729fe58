"""A Label Studio that is killed at random moments while a list is sent or labels are taken: nothing is lost or sent twice.

$ALIQUOT_LABEL_STUDIO names the program, see tests/labelstudio_install.sh.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

from tests.label_studio_server import LabelStudio
from tests.trials.kills import begin, wait_for_a_write
from tests.trials.modes import shown
from tests.trials.scripts import Place
from tests.trials.tally import Tally

TASKS = ("classify", "segment", "detect")
ROUNDS = 2  # lists that are answered
SECONDS = 6.0  # about what a command does after its first write


class Trial:
    """A study whose labels are drawn in Label Studio alone, beside one whose labels are files, without a server."""

    def __init__(self, server: LabelStudio, task: str, folder: Path, rng: random.Random):
        from tests.experiments.rounds.annotator import OPTIONS, OWN, Annotator
        from tests.experiments.rounds.test_label_studio_rounds import Drawing

        self.server, self.rng, self.kills, self.refused = server, rng, 0, 0
        server.of_test = server.root / folder.name  # type: ignore[attr-defined]
        self.drawing, self.writing = Drawing(server, task), Annotator(task, folder / "own")
        self.place = Place(folder)
        self.words = (f"{task}.py", "suggest", "with", *shown(**OPTIONS[task], **OWN[task]), "save_every=0.0")

    def suggest(self, kill: bool) -> str:
        """Call `suggest` while the server may be killed, and again when it is back; what is wrong."""
        words = (*self.words, f"data_root={self.drawing.root}", "out=PLACE/drawn", f"label_studio={self.server.url}")
        if kill:
            before = self.place.written()
            running = begin(self.place, words, LABEL_STUDIO_API_KEY=self.server.token)
            wait_for_a_write(self.place, running, before)
            time.sleep(self.rng.random() * SECONDS)
            self.server.kill()
            self.kills += 1
            code, said = running.end(), running.said
            self.server.start()
            if "Traceback" in said or (code and said.count("Refused: ") != 1):
                return f"it ends with {code}: {said[-600:]}"
            self.refused += code != 0
        last = begin(self.place, words, LABEL_STUDIO_API_KEY=self.server.token)
        return f"with the server back it ends with {code}: {last.said[-600:]}" if (code := last.end()) else ""

    def compare(self, round_: int) -> str:
        """Whether the list is in Label Studio once, and both studies are the same."""
        drawn, written = (self.place.folder / name for name in ("drawn", "written"))
        words = (*self.words, f"data_root={self.writing.root}", "out=PLACE/written")
        alone = begin(self.place, words)
        if code := alone.end():
            return f"without a server it ends with {code}: {alone.said[-400:]}"
        one, two = (study_in(folder) for folder in (drawn, written))
        if one != two:
            return f"round {round_} differs: {one[:300]} | {two[:300]}"
        projects = self.server.call("GET", "/api/projects?page_size=100")["results"]
        ours = [
            each
            for each in projects
            if str(self.drawing.root) in json.dumps(each) or each["id"] == max(p["id"] for p in projects)
        ]
        tasks = self.server.tasks(ours[-1]["id"])  # fails where a name is there twice
        waiting = sorted(name for name, task in tasks.items() if not task["total_annotations"])
        asked = sorted(row["file"] for row in self.drawing.rows(drawn, round_))
        if waiting != asked:
            return f"round {round_}: asked {asked}, in Label Studio {waiting}"
        self.writing.answer(written, round_)
        self.drawing.draw(ours[-1]["id"])
        return ""


def study_in(folder: Path) -> str:
    """The state of a study without what measures the machine or names a place."""
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    rows = [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_share"))} for row in state["curve"]]
    return json.dumps([state[name] for name in ("round", "asked", "picks", "stop")] + rows)


def run(seed: int, n: int, folder: Path, jobs: int, only: int | None = None, match: str = "") -> Tally:
    """`n` studies of ROUNDS rounds, over the tasks in turn; the server is killed in each call of `suggest`."""
    tally, program = Tally("label_studio", seed), os.environ.get("ALIQUOT_LABEL_STUDIO") or shutil.which("label-studio")
    if not program:
        raise SystemExit("label_studio: no label-studio; set ALIQUOT_LABEL_STUDIO, see tests/labelstudio_install.sh")
    shutil.rmtree(folder, ignore_errors=True)
    server = LabelStudio(program, folder / "server")
    try:
        for number in range(n) if only is None else [only]:
            place = folder / f"study{number}" / f"work{number}"
            place.mkdir(parents=True)
            trial, why = Trial(server, TASKS[number % len(TASKS)], place, random.Random(f"{seed} {number}")), ""
            for round_ in range(ROUNDS + 1):
                why = why or trial.suggest(kill=True) or trial.compare(round_)
            counts = {"server killed": trial.kills, "refused": trial.refused}
            tally.add(number, TASKS[number % len(TASKS)], why, **counts)
    finally:
        server.kill()
    return tally
