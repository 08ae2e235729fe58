"""Volumes among images: how many there are on each side of a division, how many slices they have and how far apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.store import Images

CHANGES_NO_RESULT = True
Counted = dict[str, Any]  # plain values, see `volumes_of`


def volumes_of(sides: Mapping[str, Images]) -> Counted:
    """Volumes of each side, single pictures, the least and the most slices of a volume that are used, and millimetres.

    `spacing` is, for rows, columns and slices, the least and the most of them, or None where nothing is known; images
    of which nothing is known are `without_spacing`.
    """
    volumes = np.concatenate([side.volumes for side in sides.values()])
    names, slices = np.unique(volumes[volumes != ""], return_counts=True)
    spacings = np.concatenate([side.spacings for side in sides.values()])
    return {
        "volumes": {name: len(set(side.volumes.tolist()) - {""}) for name, side in sides.items()},
        "slices": [int(slices.min()), int(slices.max())] if len(names) else None,
        "single": int((volumes == "").sum()),
        "spacing": [_ends(side) for side in spacings.T],
        "without_spacing": int(np.isnan(spacings[:, :2]).any(1).sum()),
    }


def words(found: Counted | None) -> dict[str, str]:
    """Title -> what is said; empty for single pictures of unknown spacing, and for older runs, which noted none."""
    said = {}
    if found is None:
        return said
    if found["slices"]:
        many = ", ".join(f"{n} in {side}" for side, n in found["volumes"].items())
        single = f"; {found['single']} single pictures" if found["single"] else ""
        said["volumes"] = f"{many}; {_between(found['slices'])} slices each{single}"
    rows, columns, slices = found["spacing"]
    if rows and columns:
        between = f", {_between(slices)} mm between slices" if slices else ""
        unknown = f"; not known of {found['without_spacing']} images" if found["without_spacing"] else ""
        said["spacing"] = f"{_between(rows)} x {_between(columns)} mm (rows x columns){between}{unknown}"
    return said


def _ends(spacing: Float[ndarray, " n"]) -> list[float] | None:
    known = spacing[np.isfinite(spacing)]
    return [float(f"{known.min():.4g}"), float(f"{known.max():.4g}")] if len(known) else None


def _between(ends: Sequence[float | int]) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"
