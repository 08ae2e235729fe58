"""The options of rounds with a person: the commands `suggest` and `predict`."""

from __future__ import annotations

from data import catalogue
from data.limits import Between, OneOf
from data.names import Refused
from experiments.tracking.declare import NOTHING, Option, Values

ACCEPT = ("all", "some")

ROUND: dict[str, Option] = {
    "classes": Option(
        "",
        "names of the classes of your own images in order, with commas between: benign,malignant; empty for those that "
        "are read (classes.txt, folders, labels)",
        decides=NOTHING,  # it becomes an option of the dataset, which decides
    ),
    "n_test": Option(
        -1,
        "images that the first `suggest` sets aside at random, by whole patients, to measure with; -1 for 25, or a "
        "fifth of fewer than 125; 0 for none: then nothing says how good a model is",
        Between(-1, 10**6),
        NOTHING,
    ),
    "accept": Option(
        "all",
        "all: `suggest` waits until everything that it asked for is labelled | some: it goes on with what there is",
        OneOf(ACCEPT),
        NOTHING,
    ),
    "out": Option("", "folder of what `suggest` and `predict` write; empty for one below runs/rounds", decides=NOTHING),
    "labels": Option(
        "",
        "folder with more labels beside your own, as a tool for annotation left them (masks/, labels.csv, boxes/); "
        "empty for labels/ in `out`",
        decides=NOTHING,
    ),
    "export": Option(
        "csv,preview", "what a round, or `predict`, writes of predictions, with commas between", decides=NOTHING
    ),
    "images": Option("", "another folder of images for `predict`; empty for those of the rounds", decides=NOTHING),
    "least_score": Option(
        0.3, "score below which a box is not written as a prediction", Between(0, 1), decides=NOTHING
    ),
}


def with_classes(task: str, options: Values) -> Values:
    """The options with the `classes` as the dataset's own option, whatever it calls that."""
    names = options["classes"]
    if not names:
        return options
    if not isinstance(names, str | list | tuple):
        raise Refused(f"classes={names!r} is no list of names, such as classes=benign,malignant")
    listed = names.split(",") if isinstance(names, str) else list(names)
    known = catalogue.options(task, options["dataset"])
    name = next((name for name in ("class_names", "classes") if name in known), None)
    if name is None:
        raise Refused(f"classes={names!r}: dataset {options['dataset']!r} says itself which classes it has")
    if given := options["dataset_options"].get(name):
        raise Refused(f"classes={names!r} and dataset_options.{name}={given!r} both name the classes; use one of them")
    listed = [str(each).strip() for each in listed if str(each).strip()]
    if len(listed) > len(set(listed)) or not all(each.isprintable() for each in listed):
        raise Refused(f"classes={names!r}: expected each class once, by a name that can be printed")
    if task == "classify" and len(listed) < 2:
        raise Refused(f"classes={names!r}: expected at least two classes that images can have")
    chosen = {**options["dataset_options"], name: listed}
    return {**options, "classes": "", "dataset_options": chosen}
