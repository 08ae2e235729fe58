"""Which code made a run: what the script, its heuristic and its dataset import, and nothing beside it."""

import importlib
import subprocess
import sys

import pytest

from experiments.segment import SCRIPT
from experiments.tracking import code
from tests.experiments.runs import ROOT

SCRIPT_TEXT = """
from experiments.rooms import tool

def late():
    from data.sets import much_later
"""
PROJECT = {
    "experiments/script.py": SCRIPT_TEXT,
    "experiments/rooms/tool.py": "import data.names\nimport numpy\nfrom experiments.rooms.drawn import draw\n",
    "experiments/rooms/drawn.py": "from experiments.rooms.colours import RED\nCHANGES_NO_RESULT = True\n",
    "experiments/rooms/colours.py": "RED = 1\n",
    "data/names.py": "A = 1\n",
    "data/sets/much_later.py": "import data.sets.digits\n",
    "data/sets/digits.py": "B = 1\n",
    "heuristics/core/registry.py": "C = 1\n",
    "heuristics/__init__.py": "from heuristics.core.registry import C\n",
    "heuristics/chosen.py": "from heuristics import C\n",
    "heuristics/other.py": "from heuristics import C\n",
}
ASKED = ("experiments.script", "heuristics.chosen")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project to change files of; digest() is that of its code now."""

    class Project:
        def __init__(self, root):
            self.root = root
            for name, text in PROJECT.items():
                self.write(name, text)

        def write(self, name, text):
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

        def digest(self, *modules):
            monkeypatch.setattr(code, "ROOT", self.root)
            code._read.cache_clear()
            code._file_of.cache_clear()
            return code.digest_of(*(modules or ASKED))

        def closure(self):
            self.digest()
            return {file.relative_to(self.root).as_posix() for file in code.closure(ASKED)}

    yield Project(tmp_path / "project")
    code._read.cache_clear()
    code._file_of.cache_clear()


COUNTED = {
    "experiments/script.py",
    "experiments/rooms/tool.py",
    "data/names.py",
    "data/sets/much_later.py",
    "data/sets/digits.py",
}
COUNTED |= {"heuristics/core/registry.py", "heuristics/__init__.py", "heuristics/chosen.py"}


def test_the_closure_is_what_is_imported_early_or_late(project):
    assert project.closure() == COUNTED


@pytest.mark.parametrize("file", PROJECT)
def test_a_changed_file_changes_the_digest_if_it_is_imported(project, file):
    before = project.digest()
    project.write(file, PROJECT[file] + "# changed\n")
    assert (project.digest() != before) == (file in COUNTED)


def test_what_lies_beside_changes_nothing(project):
    before = project.digest()
    for name in (
        "heuristics/another.py",
        "data/sets/new.py",
        "experiments/new.py",
        "experiments/rooms/new.py",
        "notes.txt",
    ):
        project.write(name, "import data.names\n")
        assert project.digest() == before
    assert project.digest("experiments.script", "heuristics.another") != before


def test_the_digest_does_not_depend_on_where_the_project_lies(project, tmp_path):
    before = project.digest()
    deeper = type(project)(tmp_path / "a" / "much" / "deeper" / "place")
    assert deeper.digest() == before


def test_a_file_is_told_by_its_place_in_the_project(project):
    """Two files that exchange their texts are another code."""
    before = project.digest()
    project.write("data/names.py", PROJECT["data/sets/digits.py"])
    project.write("data/sets/digits.py", PROJECT["data/names.py"])
    assert project.digest() != before


def test_the_digest_does_not_depend_on_what_was_imported_before():
    """Here the tests have imported nearly everything, in a new process nothing is."""
    for module in ("heuristics.joint", "data.sets.glas", "experiments.detect"):
        importlib.import_module(module)
    words = ["tiny", "heuristic=bald"]
    program = f"from experiments.segment import SCRIPT; print(SCRIPT.code_of(SCRIPT.values({words!r})))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == SCRIPT.code_of(SCRIPT.values(words))


def of(*words):
    options = SCRIPT.values(["tiny", *words])
    return SCRIPT.code_of(options)


def test_another_heuristic_or_dataset_is_other_code():
    assert of("heuristic=bald") == of("heuristic=entropy"), "they stand in one file"
    assert len({of("heuristic=bald"), of("heuristic=coreset"), of("dataset=glas"), of("dataset=folder")}) == 4


def test_drawing_and_recording_change_no_result_and_the_rest_does():
    code._read.cache_clear()
    counted = {
        file.relative_to(ROOT).as_posix()
        for file in code.closure([f"experiments.{SCRIPT.name}", "heuristics.uncertainty"])
    }
    drawn, recorded = {"pictures/canvas", "pictures/curve"}, {"mongo", "database", "recording", "launch"}
    marked = drawn | {f"tracking/{name}" for name in recorded}
    assert not {f"experiments/{name}.py" for name in marked} & counted
    decide = {"loop", "simulation", "learning/training", "learning/querying", "tasks/segmentation", "tracking/options"}
    assert {f"experiments/{name}.py" for name in decide} <= counted
    assert {"data/store.py", "data/splits.py", "models/segmenters.py", "heuristics/core/selecting.py"} <= counted
    assert not [
        name
        for name in counted
        if name.startswith(("experiments/grids", "analysis", "data/sets", "experiments/tasks/detection"))
    ]
