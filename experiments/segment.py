"""Active learning for segmentation.

python experiments/segment.py                                       # histology phantom, random, a few minutes
python experiments/segment.py with glas_quick heuristic=bald run=3  # real glands, quick
python experiments/segment.py print_named_configs                   # what else there is
"""

import signal
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, so that `data` is ours
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback; later `launch` listens
    from data.memory import say_when_short

    say_when_short()

from sacred import Experiment

from data.files import ROOT
from experiments.commands import Script
from experiments.own_presets import own
from experiments.tracking.launch import launch
from experiments.tracking.options import TABLES


def _task():
    from experiments.tasks.segmentation import TASK  # with torch, for which no refused option need wait

    return TASK


PRESETS = {  # name -> what it reproduces or is for, and the options that it sets
    "glas": (
        "The published GlaS protocol: 4 images, 2 of each grade, 2 more per cycle, 15 cycles; 60 epochs of 8 repeats, "
        "crops of 416, SGD 0.1 with a step at 40; tested by averaging 20 stochastic passes. For a GPU. Published "
        "reading of random labelling: Dice about 0.55 / 0.80 / 0.85 / 0.885 at 5 / 10 / 15 / 20 labels, about 0.91 "
        "with all 85. With test A and test B (80 images) dice is over both; dice_testA, dice_testB, mc_dice_testB "
        "stand beside it. Run here to 12 labels on a GPU: random 0.71 with 4, 0.80 with 10 (docs/studies.md).",
        {
            **{"dataset": "glas", "metric": "mc_dice", "precision": "float32"},
            **{"initial": "stratified", "n_initial": 4, "n_query": 2, "n_cycles": 15},
            **{"width": 16, "depth": 6, "loss": "ce", "crop": 416},
            **{"steps": 0, "epochs": 60, "repeats": 8, "batch_size": 16, "schedule": "step", "lr_step_at": 2 / 3},
            **{"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
            **{"eval_samples": 20, "eval_batch_size": 4, "query_batch_size": 4},
        },
    ),
    "glas_quick": (
        "GlaS at a fifth of its size: 4 images, 2 of each grade, then 5 x 8, 200 steps each. Three minutes on two CPU "
        "cores. Mean Dice on test B over runs 0, 1, 3: random 0.73 -> 0.78, entropy 0.73 -> 0.79, bald 0.73 -> 0.80 "
        "at 4 -> 44 labels; all 85 labels 0.79. That copy lacks test A: with test A and B dice is over both, and "
        "dice_testB compares with these figures. bfloat16 wants a processor that has it (else precision=float32).",
        {
            **{"dataset": "glas", "scale": 0.2, "crop": 96, "min_object": 20},
            **{"initial": "stratified", "n_initial": 4, "n_query": 8, "n_cycles": 5, "mc_samples": 10},
            **{"width": 16, "depth": 5, "steps": 200, "batch_size": 8, "lr": 0.003, "precision": "bfloat16"},
        },
    ),
    "acdc": (
        "ACDC, the published protocol: 10 slices, then 5 x 10; U-Net of 32 to 512 channels, Adam 1e-3, cross-entropy "
        "and Dice, 4,000 iterations of 32 in each round from the weights before, the best of validation; five seeds "
        "(run=0..4). Published: nnU-Net with everything Dice about 0.91. Unlike it: random crops of 256 where slices "
        "are resized to 256, flips and quarter turns without small rotations, a constant rate, Dice of a whole batch "
        "(as in SSL4MIS), dropout of 0.1 for stochastic passes, validation every 200 steps by dice_volume on 10 "
        "patients of the pool (or the val.list of SSL4MIS), whose slices count as labels. Not run here: the data were "
        "not at hand.",
        {
            **{"dataset": "acdc", "metric": "dice_volume", "n_initial": 10, "n_query": 10, "n_cycles": 5, "n_val": 190},
            **{"width": 32, "depth": 5, "loss": "batch_dice_ce", "crop": 256, "augment": "flips_rot90"},
            **{"start": "warm", "steps": 4000, "batch_size": 32, "val_every": 200},
            **{"optimizer": "adamw", "weight_decay": 0.0},
            **{"lr": 0.001, "schedule": "none", "mc_samples": 10, "query_batch_size": 8, "eval_batch_size": 8},
        },
    ),
    "acdc_quick": (
        "Hearts that are built in (heart_phantom) at 64 pixels, 12 patients to learn from: 10 slices, then 5 x 10, "
        "each time 250 steps from new weights and without augmentation. Two minutes of one core with bfloat16. "
        "dice_volume of random, run 0: 0.763 with 10 slices, 0.850 with 60 (docs/volumes.md).",
        {
            **{"dataset": "heart_phantom", "dataset_options": {"n_pool": 12, "n_test": 8, "size": 64}},
            **{"metric": "dice_volume", "n_initial": 10, "n_query": 10, "n_cycles": 5, "mc_samples": 5},
            **{"width": 16, "depth": 4, "loss": "batch_dice_ce", "crop": 64, "augment": "none"},
            **{"steps": 250, "batch_size": 8, "lr": 0.003},
        },
    ),
    "dsb2018": (
        "Nuclei of very different sizes and stains, at half size.",
        {"dataset": "dsb2018", "scale": 0.5, "n_initial": 4, "n_query": 4, "n_cycles": 9, "crop": 128},
    ),
    **own("segment", "folder", "images and masks", "images/ and masks/ with equal stems"),
    **own("segment", "coco", "images and masks", "a COCO json with polygons or run lengths and its images"),
    **own("segment", "yolo", "images and masks", "images/ and labels/ (a text of polygons for each image)"),
    **own("segment", "labelstudio", "images and masks", "a JSON export of Label Studio and its images"),
    "tiny": (
        "Seconds, for tests: a poor network on a few phantom images.",
        {
            **{"dataset": "phantom", "dataset_options": {"n_pool": 24, "n_test": 8}},
            **{"n_initial": 4, "n_query": 3, "n_cycles": 2, "mc_samples": 3},
            **{"steps": 12, "batch_size": 4, "lr": 0.01, "width": 4, "depth": 3, "crop": 64},
        },
    ),
}  # fmt: skip


ex = Experiment("segment", base_dir=ROOT, save_git_info=False)  # here, so that Sacred keeps this file
SCRIPT = Script(ex, TABLES["segment"], PRESETS, _task)

if __name__ == "__main__":
    launch(SCRIPT.command_line)
