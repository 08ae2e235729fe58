"""Active learning for detection.

python experiments/detect.py                                              # CT phantom, random, a few minutes
python experiments/detect.py with bccd_quick heuristic=box_entropy run=3  # real blood cells, quick
python experiments/detect.py print_named_configs                          # what else there is
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
    from experiments.tasks.detection import TASK  # with torch, for which no refused option need wait

    return TASK


PRESETS = {  # name -> what it reproduces or is for, and the options that it sets
    "deeplesion": (
        "The published setting of DeepLesion: 400 key slices, 200 more per cycle, 3 cycles, Faster R-CNN from "
        "ImageNet weights; for lung lesions alone dataset_options.lesion_type=lung. Published orientation at IoU 0.5 "
        "with all labels: sensitivity .569 / .673 / .756 / .816 / .858 / .887 at 0.5 / 1 / 2 / 4 / 8 / 16 false "
        "positives per image, counted as convention=deeplesion does. For a GPU, not run here.",
        {
            "dataset": "deeplesion", "dataset_options": {"context": 1}, "precision": "float32",
            "model": "fasterrcnn_resnet50", "weights": "imagenet", "anchor_sizes": [16, 32, 64, 128, 256],
            "n_initial": 400, "n_query": 200, "n_cycles": 3, "n_val": 200, "steps": 5000, "val_every": 500,
            "batch_size": 4, "optimizer": "sgd", "lr": 0.005, "warmup": 200, "query_batch_size": 4,
            "eval_batch_size": 4,
        },
    ),
    "bccd": (
        "Red cells, white cells and platelets at full size with pretrained weights. For a GPU, not run here.",
        {
            "dataset": "bccd", "metric": "ap50", "model": "fasterrcnn_resnet18", "weights": "imagenet", "n_initial": 20,
            "n_query": 20, "n_cycles": 5, "steps": 1000, "batch_size": 8,
        },
    ),
    "bccd_quick": (
        "Red cells, white cells and platelets at a quarter of the size, a small detector from scratch: 10 images, "
        "then 3 x 15, 100 steps each. One to two minutes on one core; docs/studies.md has the figures. bfloat16 wants "
        "a processor that has it (else precision=float32).",
        {
            "dataset": "bccd", "scale": 0.25, "metric": "ap50", "n_initial": 10, "n_query": 15, "n_cycles": 3,
            "steps": 100, "lr": 0.002, "precision": "bfloat16",
        },
    ),
    "busi": (
        "Lesions in breast ultrasound at half the size, benign or malignant; a fifth of the scans is the test part. "
        "Not run here.",
        {"dataset": "busi", "scale": 0.5, "n_initial": 40, "n_query": 40, "n_cycles": 5, "steps": 1000},
    ),
    **own("detect", "coco", "boxes", "a COCO json and its images"),
    **own(
        "detect", "voc", "boxes", "JPEGImages/, Annotations/, ImageSets/ (dataset_options.corners says how boxes count)"
    ),
    **own("detect", "voc", "boxes", "images and, as they are labelled, Annotations/ of VOC (for suggest)", "folder"),
    **own("detect", "yolo", "boxes", "images/ and labels/ (a text for each image) and classes.txt"),
    **own("detect", "labelstudio", "boxes", "a JSON export of Label Studio and its images"),
    "tiny": (
        "Seconds, for tests: a poor detector on a few phantom slices.",
        {
            "dataset_options": {"n_pool": 24, "n_test": 8, "size": 64}, "n_initial": 6, "n_query": 3, "n_cycles": 2,
            "steps": 4, "batch_size": 4, "mc_samples": 3,
        },
    ),
}  # fmt: skip


ex = Experiment("detect", base_dir=ROOT, save_git_info=False)  # here, so that Sacred keeps this file
SCRIPT = Script(ex, TABLES["detect"], PRESETS, _task)

if __name__ == "__main__":
    launch(SCRIPT.command_line)
