"""The options of learning from images without labels: which ways each script has, and what each of them uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.limits import Between, OneOf
from experiments.tracking.declare import Option

ARMS: dict[str, tuple[str, ...]] = {  # way of learning -> the scripts that have it
    "none": ("classify", "segment", "detect"),
    "fixmatch": ("classify",),
    "mean_teacher": ("classify", "segment", "detect"),
    "cps": ("segment",),
    "pseudo_labels": ("detect",),
    "label_spreading": ("classify",),
}
USED: dict[str, frozenset[str]] = {  # way of learning -> the options that change something
    "none": frozenset(),
    "fixmatch": frozenset({"mu", "pseudo_weight", "pseudo_threshold", "ema_decay"}),
    "mean_teacher": frozenset(
        {"mu", "pseudo_weight", "ema_decay", "ramp_up", "burn_in", "pseudo_threshold", "pseudo_thresholds"}
    ),
    "cps": frozenset({"mu", "pseudo_weight", "ramp_up"}),
    "pseudo_labels": frozenset({"mu", "pseudo_weight", "pseudo_threshold", "pseudo_thresholds", "pseudo_adaptive"}),
    "label_spreading": frozenset({"pseudo_weight"}),
}
OF_UNLABELLED = frozenset().union(*USED.values())
_SHARED = {
    "mu": Option(1, "unlabelled images beside each labelled one in a training step", Between(1, 1000)),
    "pseudo_weight": Option(1.0, "of the loss on unlabelled images", Between(0, 1e3)),
    "ema_decay": Option(0.99, "of the moving average of the weights that is tested, or teaches", Between(0, 1)),
}
_SOME = {
    "pseudo_threshold": Option(0.95, "least confidence of a pseudo-label of fixmatch", Between(0, 1)),
    "ramp_up": Option(
        50,
        "steps over which the weight of unlabelled images rises: mean_teacher and cps",
        Between(0, 10**9),
    ),
}


def unlabelled(script: str, *more: str) -> dict[str, Option]:
    """The options of a script: which ways it has, and of the options that are not for all those named in `more`."""
    ours = [arm for arm, scripts in ARMS.items() if script in scripts]
    elsewhere = {
        arm: f"unlabelled={arm} is a way of {', '.join(f'{name}.py' for name in scripts)}: "
        f"{script}.py takes {', '.join(ours)}"
        for arm, scripts in ARMS.items()
        if script not in scripts
    }
    way = Option("none", f"how images without labels join training: {' | '.join(ours)}", OneOf(ours, elsewhere))
    return {"unlabelled": way, **_SHARED, **{name: _SOME[name] for name in more}}


def unused(options: Mapping[str, Any]) -> frozenset[str]:
    """The options of this file that change nothing beside the others."""
    used = USED.get(arm := options.get("unlabelled", "none"), frozenset())
    if arm == "mean_teacher" and "burn_in" not in options:  # its pseudo-labels are boxes alone
        used -= {"pseudo_threshold"}
    return OF_UNLABELLED - used
