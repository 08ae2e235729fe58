"""What the product imports stands in requirements.txt. That nothing else is needed, runtime_only.sh tries."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.test_architecture import statements

ROOT = Path(__file__).parent.parent
ROOMS = ("data", "models", "heuristics", "experiments", "analysis")
makers = cache(packages_distributions)  # module -> the distributions that hold it
BROUGHT = {
    "torch": "torchvision",
    "gridfs": "pymongo",
    "bson": "pymongo",
    "safetensors": "timm",
    "huggingface_hub": "timm",
}  # module -> the requirement that brings it


def declared(*files: str) -> set[str]:
    """The distributions that requirements files name, in the spelling of PEP 503."""
    lines = [line for file in files for line in (ROOT / file).read_text().splitlines()]
    return {canonical(found[0]) for line in lines if (found := re.match(r"[A-Za-z0-9][\w.-]*", line))}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def imported(source: str) -> frozenset[str]:
    """The top packages that a source file imports, early or late."""
    found = set()
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


def undeclared(source: str, known: set[str]) -> set[str]:
    """The foreign packages among the imports that no requirement names."""
    foreign = {m for m in imported(source) if m not in sys.stdlib_module_names and m not in (*ROOMS, "tests")}
    return {m for m in foreign if not {canonical(d) for d in [BROUGHT.get(m, m), *makers().get(m, ())]} & known}


def optional_files() -> list[str]:
    return [file.name for file in ROOT.glob("requirements-*.txt") if file.name != "requirements-dev.txt"]


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_imported_is_declared(room):
    known = declared("requirements.txt", *optional_files())
    missing = {str(f.relative_to(ROOT)): undeclared(f.read_text(), known) for f in (ROOT / room).rglob("*.py")}
    assert not {file: packages for file, packages in missing.items() if packages}


def test_what_is_not_declared_is_found():
    """Late imports and parts of packages too; the name of a distribution may be another than that of its module."""
    source = "import os, sklearn.svm\nimport pytest as p\ndef late():\n    from skimage.measure import label"
    assert undeclared(source, {"scikit-learn"}) == {"skimage", "pytest"}
    assert undeclared(source, {"scikit-learn", "scikit-image", "pytest"}) == set()


def test_nothing_is_declared_that_no_module_imports():
    """But for what others import without declaring it, and what torchmetrics calls by name."""
    sources = [file.read_text() for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    used = {canonical(d) for s in sources for m in imported(s) for d in [BROUGHT.get(m, m), *makers().get(m, ())]}
    assert declared("requirements.txt") - used == {"setuptools", "faster-coco-eval"}
