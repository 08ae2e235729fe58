"""The options of the loop, which all three scripts have: default, sentence, limit, and what each decides."""

from __future__ import annotations

from importlib import import_module

from data.limits import Between, OneOf
from experiments.tracking.declare import CHOICE, NOTHING, Option
from experiments.tracking.label_studio_options import LABEL_STUDIO
from experiments.tracking.round_options import ROUND

MOST = 10**9  # of anything that is counted


def in_table(module: str, table: str, prefix: str = "") -> OneOf:
    """The names in a table of a module that is imported only when one of them is asked for; see OneOf for `prefix`."""
    return OneOf(lambda: getattr(import_module(module), table), prefix=prefix)


LOOP: dict[str, Option] = {
    "dataset": Option("phantom", "what to learn from, see `print_named_configs`; phantom is built in"),
    "dataset_options": Option(
        {}, "options of the dataset, e.g. dataset_options.n_pool=100 of phantom; {} clears a preset's"
    ),
    "dataset_title": Option(
        "", "what figures and reports call the dataset; empty for its name, or that of your folder", decides=NOTHING
    ),
    "data_root": Option("", "folder of the datasets; empty for $ALIQUOT_DATA, else data/raw", decides=NOTHING),
    "run": Option(
        0,
        "number of the repetition: same run, other heuristic: same splits, first labels and weights",
        Between(0, 2**31),
    ),
    "seed": Option(0, "of all randomness; follows run unless it is typed", Between(0, 2**31)),
    # what is labelled
    "heuristic": Option("random", "query strategy, see `python -m heuristics`", decides=CHOICE),
    "heuristic_options": Option({}, "options of the heuristic, e.g. heuristic_options.metric=cosine", decides=CHOICE),
    "n_initial": Option(4, "labelled images to start with", Between(1, MOST), CHOICE),
    "initial": Option(
        "random",
        "how they are drawn: random | kmeans, typiclust, probcover, maxherding (on frozen features, see features) | "
        "stratified (of each group equally many: where the group is the class itself, as in classify.py and detect.py, "
        "an oracle's start)",
        in_table("heuristics.core.initial", "INITIAL"),
        CHOICE,
    ),
    "n_query": Option(6, "images labelled in each cycle", Between(1, MOST), CHOICE),
    "n_cycles": Option(6, "times that images are labelled; models trained: one more", Between(0, 10**6), CHOICE),
    "n_val": Option(
        0,
        "images held out of the pool for choosing the best weights; they are labels too. 0 trains to the last step",
        Between(0, MOST),
    ),
    "split_seed": Option(
        -1, "fixes the division into pool and validation for all runs; -1 divides anew for each run", Between(-1, 2**31)
    ),
    "splits_dir": Option("", "folder with train.csv, val.csv, test.csv (made by the command `splits`) to use instead"),
    "pool_subset": Option(
        0, "score a random subset of the pool of this size; 0 for all of it", Between(0, MOST), CHOICE
    ),
    "n_stop": Option(
        0,
        "images of the pool on which each model is compared with the one before, for advice on stopping; 0 for none",
        Between(0, MOST),
        CHOICE,
    ),
    "target": Option(
        0.0, "value of the main metric that is enough, for advice on stopping; 0 for none", Between(0, MOST), NOTHING
    ),
    "mc_samples": Option(20, "stochastic passes for scoring", Between(1, 10_000), CHOICE),
    "aggregate": Option(
        "mean",
        "of a map of scores: mean | sum | max | top_fraction | foreground | boundary | edt",
        in_table("heuristics.core.aggregating", "AGGREGATIONS"),
        CHOICE,
    ),
    "empty_score": Option(
        0.0,
        "score of an image in which no box was found; 0 is the least that a box can have",
        Between(-MOST, MOST),
        CHOICE,
    ),
    "select": Option(
        "top",
        "top | power | softmax | softrank: the best, or a stochastic batch",
        in_table("heuristics.core.selecting", "SELECTIONS"),
        CHOICE,
    ),
    "beta": Option(1.0, "sharpness of a stochastic batch", Between(0, 1e6), CHOICE),
    "balance": Option(
        "none",
        "none | predicted: deal the picks to the predicted classes in turn",
        OneOf(("none", "predicted")),
        CHOICE,
    ),
    "then": Option(
        "none",
        "second stage, on the embeddings of the highest scores: none | kmeans | coreset | representative",
        in_table("heuristics.core.two_stage", "SECOND"),
        CHOICE,
    ),
    "candidates": Option(4, "how many times n_query the second stage chooses from", Between(1, 10**6), CHOICE),
    "unit": Option(
        "slice",
        "slice: each image is chosen alone | volume: whole volumes, whose slices together are at most n_query",
        OneOf(("slice", "volume")),
        CHOICE,
    ),
    "volume_score": Option(
        "mean",
        "with unit=volume, of the scores of its slices: mean | median | max | sum",
        in_table("heuristics.core.units", "VOLUME_SCORES"),
        CHOICE,
    ),
    "apart": Option(
        0,
        "slices of a volume whose numbers differ by less are not chosen in one cycle, 2 for no neighbours; 0 for any",
        Between(0, MOST),
        CHOICE,
    ),
    "query_batch_size": Option(16, "images scored at once", Between(1, 10**6), CHOICE),
    "memory_limit": Option(4.0, "GB that evidence over the whole pool may take", Between(0, 1e6), NOTHING),
    # how it is learnt
    "start": Option(
        "cold", "cold: new weights each cycle | warm: the weights of the cycle before", OneOf(("cold", "warm")), CHOICE
    ),
    "steps": Option(
        150, "optimiser steps of each training; 0 for epochs x repeats over the labelled set instead", Between(0, MOST)
    ),
    "epochs": Option(0, "epochs of each training, when steps=0", Between(0, 10**6)),
    "repeats": Option(1, "passes over the labelled set that make an epoch", Between(1, 10**6)),
    "batch_size": Option(8, "images in a training step", Between(1, 10**6)),
    "optimizer": Option(
        "adamw", "sgd (nesterov) | sgd_plain | adamw", in_table("experiments.learning.recipe", "OPTIMIZERS")
    ),
    "lr": Option(0.002, "learning rate", Between(0, 1e3)),
    "momentum": Option(0.9, "of sgd and sgd_plain", Between(0, 1)),
    "weight_decay": Option(0.0001, "of any optimiser", Between(0, 1e3)),
    "schedule": Option("cosine", "none | step | cosine", in_table("experiments.learning.recipe", "SCHEDULES")),
    "lr_step_at": Option(
        0.667, "share of the training after which schedule=step drops the rate to a tenth", Between(0, 1)
    ),
    "warmup": Option(0, "steps of linear warm-up", Between(0, MOST)),
    "clip": Option(0.0, "largest norm of the gradient; 0 for none", Between(0, MOST)),
    "val_every": Option(20, "steps between validations, when n_val > 0", Between(1, MOST)),
    "patience": Option(0, "validations without a better value before training stops; 0 for never", Between(0, MOST)),
    # where and how it runs
    "device": Option("auto", "auto | cpu | cuda | cuda:1 | mps", decides=NOTHING),
    "devices": Option(
        1,
        "devices that compute this run together; the script starts a process for each itself: GPUs, or parts of the "
        "processor",
        Between(1, 64),
        NOTHING,
    ),
    "sync_batchnorm": Option(
        True,
        "with several devices: batch norm takes the statistics of the whole batch, as one device does, not of a share",
    ),
    "precision": Option(
        "auto",
        "auto | float32 | bfloat16 | float16 (mixed); auto takes bfloat16 where the device computes it fast, and the "
        "run says which",
        OneOf(("auto", "float32", "bfloat16", "float16")),
    ),
    "channels_last": Option(True, "memory layout that convolutions prefer"),
    "workers": Option(
        0, "threads that prepare training batches; does not change the result", Between(0, 1024), NOTHING
    ),
    "resume": Option(
        "auto",
        "auto: continue where a killed run stopped | fresh: start anew | force: continue although the code changed",
        OneOf(("auto", "fresh", "force")),
        NOTHING,
    ),
    "save_every": Option(60.0, "seconds between saves of unfinished training", Between(0, MOST), NOTHING),
    "keep_models": Option(False, "keep the model of every cycle, not just the last", decides=NOTHING),
    "save_maps": Option(False, "a picture of what was picked, each cycle", decides=NOTHING),
    "results_dir": Option(
        "", "also write the main metric per cycle to <results_dir>/<heuristic>_<run>.npy", decides=NOTHING
    ),
    "checkpoint": Option(
        "", "model file for the command `evaluate`; empty for the last one of this run", decides=NOTHING
    ),
    "split": Option(
        "test",
        "part that the command `evaluate` measures: test | val | train",
        OneOf(("test", "val", "train")),
        NOTHING,
    ),
    # rounds with a person
    **ROUND,
    **LABEL_STUDIO,
}
