"""The named configs of classify.py with a head on frozen ImageNet features: budgets from a few labels.

Features are computed at the first use and kept; after that a run takes seconds, so that twenty runs of each strategy
fit an afternoon. Each query looks at a random 1,000 of the pool. The strength of the prior is fixed: on radiographs
cross-validation reached the same means. docs/studies.md has the figures.
"""

from __future__ import annotations

from typing import Any

_HEAD = {
    **{"train": "head", "features": "auto", "head_l2": 100.0, "n_cycles": 20, "n_initial": 10, "pool_subset": 1000},
    **{"mc_samples": 10, "query_batch_size": 2048, "eval_batch_size": 2048, "augment": "none"},
}
_SAYS = "a linear head on frozen ImageNet features (EfficientNet-Lite0, from requirements-pretrained.txt)"

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "pneumonia_head": (
        f"Pneumonia or not in chest radiographs of 28 pixels, {_SAYS} at 112: 10 labels, then 20 x 10, of 4,708.",
        {**_HEAD, "dataset": "pneumoniamnist", "metric": "macro_auroc", "n_query": 10},
    ),
    "retina_head": (
        f"Five grades of diabetic retinopathy in images of 28 pixels, {_SAYS} at 112: 10 labels, then 20 x 15, of "
        "1,080.",
        {**_HEAD, "dataset": "retinamnist", "metric": "macro_auroc", "n_query": 15},
    ),
    "brain_head": (
        f"Three kinds of brain tumour or none in MRI slices, {_SAYS} at 224: 10 labels, then 20 x 15.",
        {**_HEAD, "dataset": "brain_tumor_mri", "image_size": 224, "n_query": 15},
    ),
    "cifar_head": (
        f"CIFAR-10, or a subset of it in folders, {_SAYS} at 112: 10 labels, then 20 x 20.",
        {**_HEAD, "dataset": "cifar10", "n_query": 20},
    ),
    "tissue_head": (
        f"The built-in tissue patches, {_SAYS} at 112: 10 labels, then 20 x 15.",
        {**_HEAD, "dataset": "phantom", "n_query": 15},
    ),
}
