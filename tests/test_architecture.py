"""The ladder data < models < heuristics < experiments < analysis, drawn from the sources."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LADDER = ("data", "models", "heuristics", "experiments", "analysis")
MOST_LINES, MOST_CHARACTERS = 300, 120
SCRIPTS = ("segment.py", "classify.py", "detect.py", "pretrain.py")
OF_SACRED = (*SCRIPTS, "entry.py", "commands.py", "finish.py", "pretraining.py", "turning.py", "tracking")  # below experiments/

Graph = dict[str, set[str]]  # file -> the files that it imports, as paths below the root


def sources(root: Path) -> dict[str, str]:
    """The text of every file of the product."""
    files = (file for room in LADDER for file in sorted((root / room).rglob("*.py")))
    return {file.relative_to(root).as_posix(): file.read_text() for file in files}


def statements(block: ast.AST) -> Iterator[ast.AST]:
    """All statements within; expressions, which are most of a file and hold no import, are not walked through."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(block, field, ()):
            yield node
            yield from statements(node)


@cache
def imports_of(text: str, file: str) -> frozenset[str]:
    """Every module that a file imports: at its top, late in a function, for type checkers, or by a name in text."""
    found = set()
    for node in statements(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = file.removesuffix(".py").split("/")[: -node.level] if node.level else []
            module = ".".join([*package, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def graph_of(texts: dict[str, str]) -> Graph:
    """The arrows between the files of the product."""
    modules = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in texts}
    return {
        file: {modules[m] for m in imports_of(text, file) & modules.keys()} - {file} for file, text in texts.items()
    }


def circles(graph: Graph) -> list[list[str]]:
    """Every way back to a node that a walk finds, as the nodes of the circle."""
    found, done = [], set()

    def walk(node: str, path: list[str]) -> None:
        if node in path:
            found.append([*path[path.index(node) :], node])
        elif node not in done:
            for other in sorted(graph.get(node, ())):
                walk(other, [*path, node])
            done.add(node)

    for node in graph:
        walk(node, [])
    return found


def between(graph: Graph, folder_of) -> Graph:
    """The arrows between folders, from those between files; None is no folder of interest."""
    found: Graph = {}
    for file, others in graph.items():
        here = folder_of(file)
        if here is not None:
            found.setdefault(here, set()).update({there for other in others if (there := folder_of(other))} - {here})
    return found


def below(room: str):
    """The folder below a room in which a file lies; None elsewhere and for files at the top of the room."""

    def folder_of(file: str) -> str | None:
        parts = file.split("/")
        return parts[1] if parts[0] == room and len(parts) > 2 else None

    return folder_of


def up(graph: Graph) -> list[str]:
    """Arrows that run up the ladder."""
    rung = {room: number for number, room in enumerate(LADDER)}
    return [
        f"{file} imports {other}"
        for file, others in graph.items()
        for other in sorted(others)
        if rung[other.split("/")[0]] > rung[file.split("/")[0]]
    ]


def from_below(graph: Graph) -> list[str]:
    """Files in a folder of experiments that import a file at its top, and those of core that import a family."""
    pairs = [(file, other) for file, others in graph.items() for other in sorted(others)]
    top = {file for file in graph if file.count("/") == 1 and not file.endswith("__init__.py")}
    return [
        f"{file} imports {other}"
        for file, other in pairs
        if file.count("/") > 1
        and other in top
        and file.split("/")[0] == other.split("/")[0] in ("experiments", "heuristics")
    ]


def sacred_outside(texts: dict[str, str]) -> list[str]:
    """Files that import Sacred and are not at its edge."""
    with_sacred = [f for f, text in texts.items() if any(m.split(".")[0] == "sacred" for m in imports_of(text, f))]
    return [file for file in with_sacred if file.split("/")[0] != "experiments" or file.split("/")[1] not in OF_SACRED]


def too_long(texts: dict[str, str]) -> list[str]:
    """Files with too many lines, and lines with too many characters."""
    files = [f"{file}: {n} lines" for file, text in texts.items() if (n := len(text.splitlines())) > MOST_LINES]
    return files + [
        f"{file}:{number}: {len(line)} characters"
        for file, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > MOST_CHARACTERS
    ]


def standard_names(texts: dict[str, str]) -> list[str]:
    """Files at the top of experiments, which is first on sys.path, that hide a module of Python."""
    tops = [file for file in texts if file.startswith("experiments/")]
    return sorted({f for f in tops if f.split("/")[1].removesuffix(".py") in sys.stdlib_module_names})


def faults(texts: dict[str, str]) -> dict[str, list]:
    """All that is wrong with a tree, by rule."""
    graph = graph_of(texts)
    return {
        "arrows up the ladder": up(graph),
        "circles between files": circles(graph),
        "circles between folders of experiments": circles(between(graph, below("experiments"))),
        "circles between folders of data": circles(between(graph, below("data"))),
        "folders that import what stands above them": from_below(graph),
        "Sacred away from the edge": sacred_outside(texts),
        "too long": too_long(texts),
        "names of the standard library": standard_names(texts),
    }


@pytest.fixture(scope="module")
def texts():
    return sources(ROOT)


@pytest.mark.parametrize("rule", faults({}))
def test_the_tree_keeps_the_rule(rule, texts):
    assert faults(texts)[rule] == []


def test_the_graph_is_drawn(texts):
    graph = graph_of(texts)
    assert len(graph) > 90 and {file.split("/")[0] for file in graph} == set(LADDER)
    assert "data/names.py" in graph["data/limits.py"] and "experiments/loop.py" in graph["experiments/simulation.py"]
    assert "experiments/finish.py" in graph["experiments/commands.py"]  # late, in a function
    assert "experiments/tracking/checkpoints.py" in graph["experiments/commands.py"]  # for type checkers too


WRONG = {
    "arrows up the ladder": {"data/a.py": "def f():\n    from models import b\n", "models/b.py": ""},
    "circles between files": {
        "data/a.py": "import data.b",
        "data/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from data.c import x\n",
        "data/c.py": "def f():\n    from .a import y\n",
    },
    "circles between folders of experiments": {
        "experiments/tasks/a.py": "import experiments.grids.b",
        "experiments/grids/b.py": "",
        "experiments/grids/c.py": "from experiments.tasks import d",
        "experiments/tasks/d.py": "",
    },
    "circles between folders of data": {
        "data/sets/a.py": "import data.formats.b",
        "data/formats/b.py": "",
        "data/formats/c.py": "from data.sets.a import x",
    },
    "folders that import what stands above them": {
        "heuristics/core/a.py": "from heuristics.joint import x",
        "heuristics/joint.py": "",
        "experiments/tasks/b.py": "from experiments import loop",
        "experiments/loop.py": "",
    },
    "Sacred away from the edge": {
        "data/a.py": "from sacred.run import Run",
        "experiments/loop.py": "import sacred",
        "experiments/tracking/b.py": "import sacred",
    },
    "too long": {"analysis/a.py": "x = 1\n" * 301, "models/b.py": f"# {'x' * 119}\n", "models/c.py": "# " + "x" * 118},
    "names of the standard library": {"experiments/select.py": "", "experiments/tasks/select.py": ""},
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_tree_is_found_out(rule):
    found = faults(WRONG[rule])[rule]
    assert len(found) == {
        "too long": 2,
        "Sacred away from the edge": 2,
        "folders that import what stands above them": 2,
    }.get(rule, 1)


def test_a_rule_finds_nothing_else():
    assert WRONG.keys() == faults({}).keys()
    assert not any(faults({"data/a.py": "import numpy", "models/b.py": "from data.a import x"}).values())
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]
