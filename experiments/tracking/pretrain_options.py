"""The options of pretrain.py: those that it shares with the loop as they are there, and its own."""

from __future__ import annotations

from data.catalogue import CATALOGUE
from data.limits import Between, OneOf
from experiments.tracking.declare import Option, with_defaults
from experiments.tracking.loop_options import LOOP, MOST, in_table
from experiments.tracking.options import CLASSIFY, SEGMENT, TABLES

_SHARED = (
    *("dataset_options", "dataset_title", "data_root", "run", "seed", "splits_dir"),
    *("optimizer", "momentum", "weight_decay", "schedule", "lr_step_at", "warmup", "clip"),
    *("device", "devices", "sync_batchnorm", "precision", "channels_last", "workers", "resume", "save_every"),
)
PRETRAIN: dict[str, Option] = {
    "task": Option("classify", "whose datasets: classify | segment | detect", OneOf(CATALOGUE)),
    "dataset": Option(
        "phantom",
        "whose training part is learnt from, without its labels; the test part never is",
        OneOf(lambda: sorted({name for sets in CATALOGUE.values() for name in sets})),
    ),
    **with_defaults({name: LOOP[name] for name in _SHARED}, optimizer="sgd_plain", weight_decay=5e-4),
    "epochs": Option(100, "passes over the images, n // batch_size steps each", Between(1, 10**6)),
    "batch_size": Option(128, "images in a training step, two views of each", Between(2, 10**6)),
    "lr": Option(0.03, "base rate: the learning rate is lr x batch_size / 256", Between(0, 1e3)),
    "image_size": CLASSIFY["image_size"],
    "scale": SEGMENT["scale"],
    "crop": Option(
        0, "side of the random window that both views are of; 0 takes whole images of one size", Between(0, 4096)
    ),
    "model": CLASSIFY["model"],
    "augment": Option(
        "simsiam_cifar",
        "of the views, by name: simsiam_cifar | simsiam_histology | simsiam_radiograph | simsiam_dermoscopy",
        in_table("data.augment.views", "VIEWS"),
    ),
    "projector_layers": Option(2, "linear layers of the projector; the paper has 3, for CIFAR-10 2", Between(2, 3)),
    "projector_dim": Option(2048, "d, outputs of the projector; the predictor narrows to d / 4", Between(4, 2**16)),
    "record_every": Option(1, "epochs between rows of the curve", Between(1, MOST)),
    "knn": Option(
        "test",
        "images whose class their nearest neighbours in the training part tell, for reporting only: test | train "
        "(each from all others) | none",
        OneOf(("test", "train", "none")),
    ),
    "monitor_images": Option(
        5000, "images of the training part that rows are measured on, at equal distances; 0 for all", Between(0, MOST)
    ),
}
ALL = {**TABLES, "pretrain": PRETRAIN}  # of every script
