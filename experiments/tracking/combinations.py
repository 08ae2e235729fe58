"""What no single option shows: options that do not go together, whatever the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.names import Refused
from experiments.learning.devices import require_devices
from heuristics import get as get_heuristic
from heuristics.core.registry import MC, Heuristic

WITH_VOLUMES = {"apart": 0, "balance": "none", "then": "none", "pool_subset": 0, "initial": "random"}
NEUTRAL = {"balance": "none", "select": "top", "then": "none"}  # of the ways to choose a batch by its scores


def check_together(options: Mapping[str, Any]) -> Heuristic:
    """The heuristic that was asked for, with its options. Refused where options do not go together."""
    if not options["steps"] and not options["epochs"]:
        raise Refused("steps=0 and epochs=0: give the length of a training, for example steps=100")
    if 0 < options["pool_subset"] < options["n_query"]:
        few = f"pool_subset={options['pool_subset']} is less than n_query={options['n_query']}"
        raise Refused(f"{few}: score at least as many as are picked")
    require_devices(options)
    heuristic = get_heuristic(options["heuristic"], **options["heuristic_options"])
    stochastic = heuristic.wants & (MC | {"mc_detections"})
    if stochastic and options["mc_samples"] < 2:
        compares = f"heuristic {heuristic.name!r} compares stochastic passes, use at least 2"
        raise Refused(f"mc_samples={options['mc_samples']}: {compares}")
    if options["dropout"] == 0 and (stochastic or options.get("eval_samples")):
        equal = "so stochastic passes would all be equal: set dropout above 0, or use a heuristic like entropy"
        raise Refused(f"dropout=0, {equal}")
    for name, neutral in NEUTRAL.items():
        if options[name] != neutral and (heuristic.chooser or not heuristic.per_batch):
            whole = f"heuristic {heuristic.name!r} chooses whole batches"
            raise Refused(f"{name}={options[name]} needs one score per image; {whole}, use {name}={neutral}")
        if options[name] != neutral and options["then"] != "none" and name != "then":
            both = f"{name}={options[name]} and then={options['then']} both choose the batch"
            raise Refused(f"{both}; use {name}={neutral} or then=none")
    if options["apart"] == 1:
        raise Refused("apart=1 would change nothing, two slices are always one apart: use apart=2 or more, or apart=0")
    _check_units(options, heuristic)
    return heuristic


def _check_units(options: Mapping[str, Any], heuristic: Heuristic) -> None:
    """Refuse what does not go together with whole volumes."""
    if options["unit"] == "slice":
        if options["volume_score"] != "mean":
            raise Refused(f"volume_score={options['volume_score']} would change nothing: it is for unit=volume")
        return
    if heuristic.chooser or (not heuristic.per_batch and heuristic.wants):
        whole = f"heuristic {heuristic.name!r} chooses whole batches of images"
        raise Refused(f"unit=volume needs one score per image; {whole}, use unit=slice")
    if not heuristic.per_batch and options["volume_score"] != "mean":
        none = f"heuristic {heuristic.name!r} scores no slices"
        raise Refused(f"volume_score={options['volume_score']} would change nothing: {none}; use volume_score=mean")
    for name, neutral in WITH_VOLUMES.items():
        if options[name] != neutral:
            raise Refused(f"{name}={options[name]} is for single images and unit=volume is not; use {name}={neutral}")
