"""The named configs of classify.py: for each what it reproduces or is for, in words, and the options that it sets.

They are a table, not functions, because there is one for every dataset. Unless a sentence says otherwise, budgets and
recipes are choices of this project, meant as a start.
"""

from __future__ import annotations

from typing import Any

from experiments.own_presets import HEAD, own

Preset = tuple[str, dict[str, Any]]

_AT_28 = (
    "At 28 pixels with the network, batch and rate of the MedMNIST v2 benchmark (Yang et al., 2023). For a GPU, not "
    "run here."
)
_CIFAR_NET = {"model": "resnet18_cifar", "batch_size": 128, "lr": 0.001, "steps": 1000, "dropout": 0.25}
_RESNET = {"model": "resnet18", "batch_size": 64, "lr": 0.001, "steps": 1000, "dropout": 0.25}
# Wang et al., "A comprehensive survey on deep active learning in medical image analysis", Medical Image Analysis 95,
# 2024: the settings of the code published with it, which holds out a tenth of the pool for validation as these presets
# do not. Dropout, random weights and a random initial set are choices made here: the published settings do not state
# them.
_SURVEY = {
    **{"model": "resnet18", "image_size": 224, "initial": "random", "dropout": 0.5, "precision": "float32"},
    **{"steps": 0, "epochs": 100, "batch_size": 128, "eval_batch_size": 512},
    **{"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine"},
}
_LOW = {**_SURVEY, "n_initial": 50, "n_query": 50, "n_cycles": 5, "batch_size": 50}
_HIGH = {**_SURVEY, "n_initial": 1000, "n_query": 1000}
_PUBLISHED = (
    "of the comparison in Wang et al. (Medical Image Analysis 95, 2024): ResNet-18 at 224 pixels, SGD 0.01 with "
    "cosine, 100 epochs; they validate with a tenth of the pool"
)


def _medmnist(what: str, **options: Any) -> Preset:
    return f"{what} {_AT_28}", {**_CIFAR_NET, **options}


PRESETS: dict[str, Preset] = {
    "tiny": (
        "Seconds, for tests: a poor network on a few phantom patches.",
        {
            **{"dataset_options": {"n_pool": 90, "n_test": 36}, "image_size": 16},
            **{"n_initial": 18, "n_query": 6, "n_cycles": 2, "steps": 12, "batch_size": 16, "mc_samples": 3},
            **{"query_batch_size": 64},
        },
    ),
    "repeated_digits": (
        "The redundancy study of BatchBALD (Kirsch et al., 2019, section 4.1) on the built-in digits: each digit four "
        "times, copies with a little noise; 20 labels, two of each digit as in the paper (an oracle's start), then 10 "
        "at a time, its network and dropout. For batchbald, bald and random; not MNIST.",
        {
            **{"dataset": "digits", "dataset_options": {"repeat": 4, "noise": 0.1}, "image_size": 16, "dropout": 0.5},
            **{"augment": "none", "n_initial": 20, "n_query": 10, "n_cycles": 18, "mc_samples": 20, "steps": 150},
            **{"query_batch_size": 512, "initial": "stratified", "precision": "float32"},
        },
    ),
    "retina_quick": (
        "Grades of diabetic retinopathy, few and imbalanced (RetinaMNIST, 28 pixels), a small network, weighted "
        "classes. About half a minute on one core; docs/studies.md has the figures.",
        {
            **{"dataset": "retinamnist", "metric": "macro_auroc", "class_weighting": "balanced", "augment": "hflip"},
            **{"n_initial": 30, "n_query": 40, "n_cycles": 6, "steps": 300, "mc_samples": 10, "precision": "float32"},
        },
    ),
    "pneumonia_quick": (
        "Pneumonia or not in chest radiographs of children (PneumoniaMNIST, 28 pixels), a small network, picks from a "
        "random 1000 of the pool. About half a minute on one core; docs/studies.md has the figures.",
        {
            **{"dataset": "pneumoniamnist", "metric": "macro_auroc", "augment": "none", "pool_subset": 1000},
            **{"n_initial": 10, "n_query": 20, "n_cycles": 6, "steps": 300, "mc_samples": 10, "precision": "float32"},
        },
    ),
    "brain_quick": (
        "Three kinds of brain tumour or none in MRI slices at 32 pixels, a small network, picks from a random 1000 of "
        "the pool. About a minute on one core; docs/studies.md has the figures.",
        {
            **{"dataset": "brain_tumor_mri", "image_size": 32, "augment": "hflip", "pool_subset": 1000},
            **{"n_initial": 40, "n_query": 60, "n_cycles": 5, "steps": 500, "mc_samples": 10, "precision": "float32"},
        },
    ),
    "nct_low": (
        f"NCT-CRC-HE tissues, the low budget (50 labels, then 5 x 50) {_PUBLISHED}. Batches of 50 here. For a GPU, "
        "not run here.",
        {**_LOW, "dataset": "nct", "augment": "hflip"},
    ),
    "nct_high": (
        f"NCT-CRC-HE tissues, the high budget (1000 labels, then 20 x 1000) {_PUBLISHED}. For a GPU, not run here.",
        {**_HIGH, "dataset": "nct", "augment": "hflip", "n_cycles": 20},
    ),
    "isic_low": (
        f"Melanoma in ISIC 2020, the low budget (50 labels, then 5 x 50) {_PUBLISHED}; measured by the AUC. Batches "
        "of 50 here. For a GPU, not run here.",
        {**_LOW, "dataset": "isic2020", "augment": "dermoscopy", "metric": "macro_auroc"},
    ),
    "isic_high": (
        f"Melanoma in ISIC 2020, the high budget (1000 labels, then 10 x 1000) {_PUBLISHED}; measured by the AUC. For "
        "a GPU, not run here.",
        {**_HIGH, "dataset": "isic2020", "augment": "dermoscopy", "metric": "macro_auroc", "n_cycles": 10},
    ),
    "phantom": (
        "The built-in tissue patches: nine classes with a long tail, near-duplicates, mixtures and wrong labels. The "
        "default.",
        {},
    ),
    "digits": (
        "The 1,797 handwritten digits of scikit-learn at 16 pixels, each once.",
        {
            **{"dataset": "digits", "image_size": 16, "augment": "none", "n_initial": 20, "n_query": 20, "n_cycles": 8},
            **{"steps": 150},
        },
    ),
    "nct": (
        "NCT-CRC-HE tissues (nine classes, 100,000 tiles; tested on 7,180 of other patients) at 112 pixels. For a "
        "GPU, not run here.",
        {
            **{**_RESNET, "dataset": "nct", "image_size": 112, "augment": "histology"},
            **{"n_initial": 90, "n_query": 90, "n_cycles": 8},
        },
    ),
    "isic2020": (
        "Melanoma in ISIC 2020 (fewer than 2 in 100 images), with weighted classes, at 128 pixels. For a GPU, not run "
        "here.",
        {
            **{**_RESNET, "dataset": "isic2020", "image_size": 128, "augment": "dermoscopy", "metric": "macro_auroc"},
            **{"class_weighting": "balanced", "n_initial": 200, "n_query": 200, "n_cycles": 8},
        },
    ),
    "cifar10": (
        "CIFAR-10 with the ResNet-18 for small images, the common benchmark of general active learning. For a GPU, "
        "not run here.",
        {
            **{**_CIFAR_NET, "dataset": "cifar10", "augment": "randaugment", "steps": 2000},
            **{"n_initial": 500, "n_query": 500, "n_cycles": 8},
        },
    ),
    "eurosat": (
        "Ten kinds of land use in satellite tiles of 64 pixels. For a GPU, not run here.",
        {**_CIFAR_NET, "dataset": "eurosat", "augment": "flips_rot90", "n_initial": 100, "n_query": 100, "n_cycles": 8},
    ),
    "oct": (
        "Four states of the retina in OCT scans (Kermany et al., 2018) at 128 pixels; dataset_options.id_list takes a "
        "subset. For a GPU, not run here.",
        {
            **{**_RESNET, "dataset": "oct", "image_size": 128, "augment": "hflip"},
            **{"n_initial": 100, "n_query": 100, "n_cycles": 8},
        },
    ),
    "braintumor": (
        "Three kinds of brain tumour in 3,064 MRI slices (Cheng, 2017, figshare), one of five folds of patients to "
        "test, at 128 pixels. For a GPU, not run here.",
        {
            **{**_RESNET, "dataset": "braintumor", "image_size": 128, "augment": "flips_rot90"},
            **{"n_initial": 60, "n_query": 60, "n_cycles": 8},
        },
    ),
    "brain_tumor_mri": (
        "Three kinds of brain tumour or none in MRI slices at 128 pixels; see brain_quick. For a GPU, not run here.",
        {
            **{**_RESNET, "dataset": "brain_tumor_mri", "image_size": 128, "augment": "hflip"},
            **{"n_initial": 80, "n_query": 80, "n_cycles": 8},
        },
    ),
    "gaps": (
        "Distress of roads in patches of 160 pixels, brought to 96 (GAPs v2, NORMvsDISTRESS_50k; "
        "dataset_options.issue takes another). For a GPU, not run here.",
        {
            **{**_RESNET, "dataset": "gaps", "image_size": 96, "augment": "flips_rot90"},
            **{"n_initial": 100, "n_query": 100, "n_cycles": 8},
        },
    ),
    "ksdd2": (
        "Rare surface defects (KolektorSDD2: about 1 in 10), squeezed to 224 pixels, with weighted classes. For a "
        "GPU, not run here.",
        {
            **{**_RESNET, "dataset": "ksdd2", "image_size": 224, "augment": "flips_rot90", "metric": "macro_auroc"},
            **{"class_weighting": "balanced", "n_initial": 50, "n_query": 50, "n_cycles": 8},
        },
    ),
    "ksdd": (
        "Rare surface defects of the older KolektorSDD, squeezed to 224 pixels, with weighted classes; a fifth of the "
        "items is the test set. For a GPU, not run here.",
        {
            **{**_RESNET, "dataset": "ksdd", "image_size": 224, "augment": "flips_rot90", "metric": "macro_auroc"},
            **{"class_weighting": "balanced", "n_initial": 20, "n_query": 20, "n_cycles": 8},
        },
    ),
    "imagenet": (
        "ImageNet, or any subset of its classes, at 224 pixels with ResNet-50. For a GPU, not run here.",
        {
            **{**_RESNET, "dataset": "imagenet", "model": "resnet50", "image_size": 224, "augment": "randaugment"},
            **{"steps": 20000, "optimizer": "sgd", "lr": 0.1, "batch_size": 256},
            **{"n_initial": 50_000, "n_query": 50_000, "n_cycles": 5},
        },
    ),
    **own(
        "classify", "folder", "images", "a folder for each class, or labels.csv (file, label, patient)", augment="hflip"
    ),
    "folder_head": (
        "Your own images as in folder, a linear head on frozen ImageNet features (requirements-pretrained.txt) of 128 "
        "pixels: seconds a run once the features are there, and far more per label than a small network from scratch.",
        HEAD,
    ),
    **own("classify", "labelstudio", "images", "an export of Label Studio (JSON) and its images", augment="hflip"),
    "pathmnist": _medmnist("Nine colorectal tissues (from NCT-CRC-HE).", dataset="pathmnist", augment="flips_rot90"),
    "dermamnist": _medmnist(
        "Seven kinds of pigmented skin lesions, imbalanced.",
        dataset="dermamnist", augment="dermoscopy", metric="balanced_accuracy", class_weighting="balanced",
        n_initial=100, n_query=100,
    ),
    "octmnist": _medmnist(
        "Four states of the retina in OCT scans.",
        dataset="octmnist", augment="hflip", n_initial=100, n_query=100,
    ),
    "pneumoniamnist": _medmnist(
        "Pneumonia or not in chest radiographs.",
        dataset="pneumoniamnist", augment="none", n_initial=20, n_query=20,
    ),
    "retinamnist": _medmnist(
        "Five grades of diabetic retinopathy, imbalanced.",
        dataset="retinamnist", augment="hflip", metric="balanced_accuracy", class_weighting="balanced",
    ),
    "breastmnist": _medmnist(
        "Malignant or not in breast ultrasound.",
        dataset="breastmnist", augment="hflip", n_initial=20, n_query=20,
    ),
    "bloodmnist": _medmnist(
        "Eight kinds of blood cells.",
        dataset="bloodmnist", augment="flips_rot90", n_initial=40, n_query=40,
    ),
    "tissuemnist": _medmnist(
        "Eight kinds of kidney cells, imbalanced.",
        dataset="tissuemnist", augment="flips_rot90", n_initial=200, n_query=200,
    ),
    "organamnist": _medmnist("Eleven organs in axial CT.", dataset="organamnist", augment="none"),
    "organcmnist": _medmnist("Eleven organs in coronal CT.", dataset="organcmnist", augment="none"),
    "organsmnist": _medmnist("Eleven organs in sagittal CT.", dataset="organsmnist", augment="none"),
}  # fmt: skip
