"""Labels spread over the frozen features of all images, for a head to learn beside the labels that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_matrix
from torch import Tensor

from data.store import Images
from experiments.learning.devices import device_of
from experiments.learning.features import features_of
from experiments.learning.randomness import generator
from experiments.learning.spreading import graph, spread, told
from experiments.measures.pseudo import of_classes
from experiments.tasks.unlabelled import pool_of

Values = Mapping[str, Any]
Joining = tuple[Float[Tensor, "u d"], Int[ndarray, " u"], Float[ndarray, " u"]]  # features, pseudo-labels, weights
MOST = 5000  # unlabelled images that a head learns from, drawn anew each cycle where there are more


def joining_of(
    options: Values, train: Images, statistics: Callable[[], tuple[Tensor, Tensor]]
) -> Callable[..., tuple[dict[str, float], Joining | None]]:
    """What gives, from labelled indices, their classes and weights and the cycle, how right the spread labels of the
    pool are, and those that join training: None without unlabelled=label_spreading, and where nothing is reached.

    Their weights are their certainties, in equal sums for all classes where classes are balanced, and together
    `pseudo_weight` times those of the labelled images.
    """

    def standardised(rows: Int[ndarray, " b"]) -> Float[Tensor, "b d"]:
        mean, std = statistics()
        return (features_of(train).of(rows) - mean) / std

    @cache
    def neighbours() -> csr_matrix:
        return graph(standardised(train.rows).to(device_of(options["device"])))

    def join(
        labelled: Int[ndarray, " l"], classes: Int[ndarray, " l"], weights: Float[ndarray, " l"], cycle: int
    ) -> tuple[dict[str, float], Joining | None]:
        if options["unlabelled"] != "label_spreading" or not len(pool := pool_of(options, train, labelled)):
            return {}, None
        start = np.zeros((len(train), len(train.classes)))
        start[labelled, classes] = weights
        seen = np.unique(classes)
        found, certain = told(spread(neighbours(), start[:, seen])[pool])
        found, reached = seen[found], np.flatnonzero(certain > 0)
        report = of_classes(pool, found, certain > 0, train)
        drawn = np.sort(generator(options["seed"], cycle, "unlabelled").permutation(reached)[:MOST])
        if len(seen) < 2 or not len(drawn):
            return report, None
        pool, found, certain = pool[drawn], found[drawn], certain[drawn]
        if options["class_weighting"] == "balanced":
            certain = certain / np.bincount(found, certain)[found]
        share = options["pseudo_weight"] * weights.sum() / certain.sum()
        return report, (standardised(train.rows[pool]), found, certain * share)

    return join
