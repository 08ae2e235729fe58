"""The datasets of the three tasks, by name; a loader is imported when its dataset is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from data.limits import Limit, check_options, options_of
from data.names import Refused, require_one_of

MEDMNIST = "data.sets.medmnist:medmnist"
# task -> dataset -> its loader as module:function, and its first argument
CATALOGUE: dict[str, dict[str, tuple[str, ...]]] = {
    "segment": {
        "phantom": ("data.phantoms.glands:phantom",),
        "heart_phantom": ("data.phantoms.heart:heart_phantom",),
        "acdc": ("data.sets.acdc:acdc",),
        "glas": ("data.sets.glas:glas",),
        "dsb2018": ("data.sets.dsb2018:dsb2018",),
        "folder": ("data.formats.mask_folder:mask_folder",),
        "coco": ("data.formats.coco_masks:coco_masks",),
        "yolo": ("data.formats.yolo_masks:yolo_masks",),
        "labelstudio": ("data.formats.labelstudio:masks",),
    },
    "classify": {
        "phantom": ("data.phantoms.tissue:phantom",),
        "digits": ("data.sets.digits:digits",),
        "nct": ("data.sets.class_folders:nct",),
        "isic2020": ("data.sets.isic:isic2020",),
        "cifar10": ("data.sets.cifar:cifar10",),
        "eurosat": ("data.sets.class_folders:eurosat",),
        "imagenet": ("data.sets.class_folders:imagenet",),
        "oct": ("data.sets.class_folders:oct_scans",),
        "braintumor": ("data.sets.brain_tumor:braintumor",),
        "brain_tumor_mri": ("data.sets.class_folders:brain_tumor_mri",),
        "gaps": ("data.sets.defects:gaps",),
        "ksdd2": ("data.sets.defects:ksdd2",),
        "ksdd": ("data.sets.defects:ksdd",),
        "folder": ("data.formats.class_folder:own",),
        "labelstudio": ("data.formats.labelstudio:choices",),
        **{
            name: (MEDMNIST, name)
            for name in "pathmnist dermamnist octmnist pneumoniamnist retinamnist breastmnist bloodmnist tissuemnist "
            "organamnist organcmnist organsmnist".split()
        },
    },
    "detect": {
        "phantom": ("data.phantoms.ct:phantom",),
        "deeplesion": ("data.sets.deeplesion:deeplesion",),
        "busi": ("data.sets.busi:busi",),
        "bccd": ("data.sets.bccd:bccd",),
        "coco": ("data.formats.coco:coco",),
        "voc": ("data.formats.voc:voc",),
        "yolo": ("data.formats.yolo:yolo",),
        "labelstudio": ("data.formats.labelstudio:boxes",),
    },
}
# Whatever lies in the user's folder: another folder, other data.
OWN = frozenset({"folder", "coco", "voc", "yolo", "labelstudio"})
NOT_HERE = {  # known datasets that cannot be used, and why
    "chestmnist": "chestmnist gives each image 14 yes-or-no labels, "
    "and only sets with one class per image can be used here"
}
# What scripts pass to a loader; all else are the dataset's options.
GIVEN = ("name", "data_root", "image_size", "scale", "cache_root", "unlabelled")


def names(task: str) -> list[str]:
    """The datasets of a task ('segment', 'classify' or 'detect'), in alphabetical order."""
    require_one_of("task", task, CATALOGUE)
    return sorted(CATALOGUE[task])


def loader(task: str, name: str) -> Callable[..., Any]:
    """The function that reads a dataset as `data.store.Images`. Refused with the nearest name where there is none."""
    if name in NOT_HERE:
        raise Refused(NOT_HERE[name])
    require_one_of("dataset", name, names(task))
    path, *first = CATALOGUE[task][name]
    module, function = path.split(":")
    return partial(getattr(import_module(module), function), *first)


def module_of(task: str, name: str) -> str:
    """The name of the module that reads a dataset."""
    return CATALOGUE[task][name][0].partition(":")[0]


def options(task: str, name: str) -> dict[str, tuple[Any, Limit | None]]:
    """The options of a dataset, each with its default and its limit."""
    return options_of(loader(task, name), without=GIVEN)


def check(task: str, name: str, chosen: Mapping[str, Any]) -> None:
    """Refused for an unknown dataset or option, or a value that it cannot have; reads nothing."""
    known = options(task, name)
    for option in chosen:
        if option in GIVEN:
            raise Refused(
                f"dataset_options.{option} is no option of a dataset; "
                "set dataset, data_root or the size of images beside it"
            )
    check_options(f"dataset {name!r}", known, chosen)
