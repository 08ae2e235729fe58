"""The notebooks run from top to bottom on what the scripts leave, and are stored without output."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from analysis.runs import load
from experiments import classify, detect, segment
from experiments.measures.table import higher_is_better
from tests.experiments.runs import run_in_process

FOLDER = Path(__file__).parent.parent.parent / "analysis"
HIGHER = set(
    "accuracy balanced_accuracy worst_class_accuracy macro_f1 macro_auroc "
    "dice dice_pooled iou object_dice object_f1".split()
)
HIGHER |= {"ap", "ap50", "ar", "froc", *(f"froc_at_{x:g}" for x in (0.5, 1, 2, 4, 8, 16))}
HIGHER |= {f"sensitivity_{size}" for size in ("small", "medium", "large")}
UNDIRECTED = {"n_validation", "score_min", "score_mean", "score_max", "score_std"}
SCRIPTS = {"classify": classify, "segment": segment, "detect": detect}


def read(task: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{task}.ipynb", as_version=4)


@pytest.mark.parametrize("task", SCRIPTS)
def test_notebooks_are_stored_without_output_and_without_logic(task):
    notebook = read(task)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) < 10 and "SOURCE = " in code[0].source
    assert not any(cell.outputs or cell.execution_count for cell in code)
    words = {word for cell in code for line in cell.source.splitlines() for word in line.split()[:1]}
    assert not words & {"def", "for", "if", "while", "class", "try:", "with"}


@pytest.mark.parametrize("task", SCRIPTS)
def test_notebooks_run_on_what_the_scripts_leave(task):
    for heuristic in ("random", "coreset"):
        run_in_process(SCRIPTS[task].SCRIPT, heuristic=heuristic, n_cycles=1, steps=2, mc_samples=2)
    measured = set(load(os.environ["ALIQUOT_RUNS"])["metric"])
    bare = {name.partition("[")[0] for name in measured}
    assert bare - UNDIRECTED <= {name for name in bare if higher_is_better(name) == (name in HIGHER | {"sensitivity"})}
    notebook = read(task)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    shown = [
        output.data
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert "| `coreset` | 1 |" in shown[0]["text/markdown"]
    assert sum("image/png" in data for data in shown) >= 2  # curves and what was picked
    assert any("Cannot decide" in data.get("text/markdown", "") for data in shown)
    errors = [
        o
        for cell in notebook.cells
        if cell.cell_type == "code"
        for o in cell.outputs
        if o.output_type in ("error", "stream")
    ]
    assert not errors
