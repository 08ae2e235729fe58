"""What a task is: everything that classification, segmentation and detection do differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from data.store import Images
from experiments.learning.batches import Batch, TrainingBatches, pictures
from experiments.learning.evidence import EvidenceOf, Look
from experiments.learning.querying import Selection
from experiments.tracking.checkpoints import State
from heuristics.core.fitting import Gives

Values = Mapping[str, Any]  # the value of every option
Trivial = Mapping[str, tuple[float, str]]  # metric -> its value for a prediction that looks at no image, and which
# The training batches from the labelled indices, the cycle and the model of the cycle before (for pseudo-labels).
MakeBatches = Callable[[Int[ndarray, " l"], int, nn.Module | None], TrainingBatches]
# Draws what was chosen: folder, cycle, model, dataset indices of the pool, selection -> the picture.
Watch = Callable[[Path, int, nn.Module, Int[ndarray, " n"], Selection], Path]


@dataclass(frozen=True)
class Task:
    """A task on one dataset: four functions for the loop, what its numbers are read beside, what a teacher does."""

    make_model: Callable[[], nn.Module]  # with dropout, unpatched, on its device
    loss: Callable[[nn.Module, Batch], Float[Tensor, ""]]
    evidence: EvidenceOf
    evaluate: Callable[[nn.Module, Images, int], dict[str, Any]]  # model, images with targets, cycle -> metrics
    trivial: Callable[[Images], Trivial]
    before_step: Callable[[nn.Module], None] | None = None  # sees the model before each step of a training
    predicts: str = "probs"  # the evidence that is its prediction: probs | detections
    look: Look = pictures  # how a batch of images is shown to the model
    # model, labelled indices, cycle: trains without steps, in place of loss and batches -> numbers for the row
    fit: Callable[[nn.Module, Int[ndarray, " l"], int], dict[str, float]] | None = None
    proxy: Task | None = None  # what chooses in place of what learns
    # trained model, labelled indices, cycle: how right its pseudo-labels are -> numbers for the row
    report: Callable[[nn.Module, Int[ndarray, " l"], int], dict[str, float]] | None = None


@dataclass(frozen=True)
class Definition:
    """What a script needs of its task: first from the options alone, then from options and images."""

    check: Callable[[Values], None]  # refuses what no single option shows, before data are loaded
    gives: Callable[[Values], Gives]
    load: Callable[[Values], Images]
    make_task: Callable[[Values, Images], Task]
    make_batches: Callable[[Values, Images], MakeBatches]
    draw_picks: Callable[[Values, Task, Images], Watch]
    more_files: Callable[[State, Path, Values, Images], list[Path]] = lambda state, folder, options, test: []
    oracle: Callable[[Values], bool] = lambda options: False  # whether the start is drawn with the classes known
