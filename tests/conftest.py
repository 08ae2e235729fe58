"""Shapes are checked while tests run, wherever a function is annotated with jaxtyping."""

import os
import random

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two test processes share two cores

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
install_import_hook(["data", "models", "heuristics", "experiments", "analysis"], "beartype.beartype")


@pytest.fixture(scope="session")
def phantom_cache(tmp_path_factory):
    """One cache for the built-in data of all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, phantom_cache, monkeypatch):
    """No test touches the project's own runs or cache."""
    monkeypatch.setenv("ALIQUOT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALIQUOT_CACHE", str(phantom_cache))
    monkeypatch.delenv("ALIQUOT_MONGO", raising=False)


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch):
    """Files of tests need not survive one."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _seeded():
    """What a test draws without a generator of its own depends neither on the tests before it nor on the process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def saved(monkeypatch):
    """The figures that were written, to be looked into."""
    figures, original = [], Figure.savefig

    def savefig(self, *args, **kwargs):
        figures.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


@pytest.fixture
def raw_root():
    """raw_root("glas") is the folder that holds that real dataset's folder; the test is skipped where there is none."""
    root = Path(os.environ.get("ALIQUOT_DATA") or ROOT / "data" / "raw")

    def find(name):
        if not (root / name).exists():
            pytest.skip(f"no real data at {root / name}")
        return root

    return find
