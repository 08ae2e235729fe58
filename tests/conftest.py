"""Shapes are checked while tests run, wherever a function is annotated with jaxtyping."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Not the Sacred scripts: Sacred reads the source of their option scopes.
CHECKED = ["data", "models", "heuristics", "analysis"] + [
    f"experiments.{module.stem}"
    for module in (Path(__file__).parent.parent / "experiments").glob("*.py")
    if module.stem not in ("common", "simulation", "segment", "classify", "detect", "__init__")
]
install_import_hook(CHECKED, "beartype.beartype")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """No test touches the project's own runs or cache."""
    monkeypatch.setenv("ALIQUOT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def raw_root():
    """raw_root("glas") is the folder that holds that real dataset's folder; the test is skipped where there is none."""
    root = Path(os.environ.get("ALIQUOT_DATA") or Path(__file__).parent.parent / "data" / "raw")

    def find(name):
        if not (root / name).exists():
            pytest.skip(f"no real data at {root / name}")
        return root

    return find
