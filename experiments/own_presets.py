"""The presets for the user's own data: for every format one that suits the device, and a quick one."""

from __future__ import annotations

from typing import Any

from experiments.tracking.declare import QUICK, SUITED
from experiments.tracking.options import SUITABLE

HEAD = {  # with `folder`: a head on frozen features, whose budget suits the data
    **{"dataset": "folder", "train": "head", "head_l2": 100.0, "image_size": 128, "augment": "none"},
    **dict.fromkeys(("n_initial", "n_query", "n_cycles", "pool_subset", "metric"), QUICK),
    **{"mc_samples": 10, "query_batch_size": 2048, "eval_batch_size": 2048},
}


def own(task: str, dataset: str, what: str, holds: str, **more: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Two presets for a format: of `what` it is, and what its folder `holds`; `more` options are set by both."""
    suit = "Sizes, training and budget suit the data and the device and are told before; what you give stands."
    short = "for two processor cores, meant to end within ten minutes and told before; see docs/your-own-data.md."
    quick = {"mc_samples": 10} | more
    return {
        dataset: (
            f"Your own {what}: with {dataset} data_root=/path/to/folder, which holds {holds}. {suit}",
            {"dataset": dataset, **dict.fromkeys(SUITABLE[task], SUITED), **more},
        ),
        f"{dataset}_quick": (
            f"Your own {what} as in {dataset}, {short}",
            {"dataset": dataset, **dict.fromkeys(SUITABLE[task], QUICK), **quick},
        ),
    }
