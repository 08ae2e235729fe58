"""A head on frozen features, as what learns (train=head) or as what chooses for a network (proxy=head)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from data.store import Images
from experiments.learning import logistic
from experiments.learning.devices import device_of
from experiments.learning.features import Features, features_of
from experiments.learning.randomness import generator, torch_seeded
from experiments.tasks.spread_labels import Joining, joining_of
from models.heads import Head

Values = Mapping[str, Any]
Fit = Callable[[nn.Module, Int[ndarray, " l"], int], dict[str, float]]
STEPS, AT_ONCE, RATE = 400, 128, 1e-3  # of a head with a hidden layer: AdamW whose rate falls as a cosine
HIDDEN_L2 = 1.0  # precision of the prior on its weights where head_l2=0


def make_head(options: Values, images: Images) -> nn.Module:
    """A head for the classes and the features of these images."""
    features = features_of(images)
    shape = {"hidden": options["head_hidden"], "of": features.identity}
    head = Head(features.dim, len(images.classes), options["dropout"], **shape)
    return head.to(device_of(options["device"]))


def fit_of(options: Values, train: Images, weights_of: Callable[[Int[ndarray, " l"]], Tensor | None]) -> Fit:
    """How a head learns from the images with these indices; `weights_of` gives the weight of each class there."""

    @cache
    def statistics() -> tuple[Tensor, Tensor]:
        return features_of(train).statistics(train.rows)

    join = joining_of(options, train, statistics)

    def fit(model: nn.Module, labelled: Int[ndarray, " l"], cycle: int) -> dict[str, float]:
        started, head = time.perf_counter(), _head(model)
        for buffer, value in zip((head.mean, head.std), statistics(), strict=True):
            buffer.copy_(value)
        classes = np.array([int(train.target(int(i))) for i in labelled])
        class_weights = weights_of(labelled)
        weights = np.ones(len(labelled)) if class_weights is None else class_weights.double().numpy()[classes]
        targets = smoothed(classes, len(train.classes), options["label_smoothing"])
        x = views_of(features_of(train), train.rows[labelled])
        x = (x - statistics()[0]) / statistics()[1]
        report, joining = join(labelled, classes, weights, cycle)
        if options["head_hidden"]:
            found = _fit_hidden(head, x, classes, targets, weights, options, cycle)
        else:
            found = _fit_linear(head, x, classes, targets, weights, options, cycle, joining)
        model.eval()
        return {**found, **report, "train_seconds": time.perf_counter() - started}

    return fit


def smoothed(classes: Int[ndarray, " l"], n_classes: int, share: float) -> Float[ndarray, "l c"]:
    """Targets (L, C) that sum to 1, of which `share` is spread over all classes."""
    return (1 - share) * np.eye(n_classes)[classes] + share / n_classes


def views_of(features: Features, rows: Int[ndarray, " l"]) -> Float[Tensor, "views l d"]:
    """The features of these images, and of their augmented copies."""
    return torch.stack([features.of(rows, view) for view in range(features.views + 1)])


def _head(model: nn.Module) -> Head:
    if not isinstance(model, Head):
        raise TypeError(f"{type(model).__name__} is no head")
    return model


def _fit_linear(
    head: Head,
    x: Float[Tensor, "views l d"],
    classes: Int[ndarray, " l"],
    targets: Float[ndarray, "l c"],
    weights: Float[ndarray, " l"],
    options: Values,
    cycle: int,
    joining: Joining | None = None,
) -> dict[str, float]:
    """The exact solution. `joining` are examples with pseudo-labels and weights beside them, which choose no strength.

    A class without a label gets a probability of at most 1 / (L + 1), less where the others are
    certain.

    So with labels of one class alone all images of the pool look the same to a score, and are chosen at random.
    """
    views, n, _ = x.shape
    examples = x.flatten(0, 1).double().numpy()
    seen = targets.sum(0) > 0
    repeated, shares = np.tile(targets[:, seen], (views, 1)), np.tile(weights / views, views)
    weight, bias = torch.zeros(head.classifier.weight.shape), torch.full((len(seen),), -float(np.log(n + 1)))
    l2 = options["head_l2"]
    if seen.sum() > 1:
        if not l2:
            folds = logistic.folds_of(classes, generator(options["seed"], cycle, "order"))
            l2 = logistic.strength(examples, repeated, shares, np.tile(folds, views))
        if joining is not None:
            examples = np.concatenate([examples, joining[0].double().numpy()])
            repeated = np.concatenate([repeated, np.eye(len(seen))[joining[1]][:, seen]])
            shares = np.concatenate([shares, joining[2]])
        found = logistic.fit(examples, repeated, shares, l2)
        weight[torch.from_numpy(seen)] = torch.from_numpy(found.weight).float()
        bias[torch.from_numpy(seen)] = torch.from_numpy(found.bias).float()
    else:
        bias[torch.from_numpy(seen)] = 0.0
    with torch.no_grad():
        head.classifier.weight.copy_(weight)
        head.classifier.bias.copy_(bias)
    logits = x[0].double() @ weight.double().T + bias
    loss = -(torch.from_numpy(targets * weights[:, None]) * logits.log_softmax(1)).sum() / weights.sum()
    return {"train_loss": float(loss), "head_l2": float(l2)}


def _fit_hidden(
    head: Head,
    x: Float[Tensor, "views l d"],
    classes: Int[ndarray, " l"],
    targets: Float[ndarray, "l c"],
    weights: Float[ndarray, " l"],
    options: Values,
    cycle: int,
) -> dict[str, float]:
    """AdamW on batches of AT_ONCE images, each in a view that is drawn anew."""
    device, seed = head.mean.device, options["seed"]
    views, n, _ = x.shape
    x, truth = x.to(device), torch.from_numpy(targets).float().to(device)
    weighted, l2 = torch.from_numpy(weights).float().to(device), options["head_l2"] or HIDDEN_L2
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    rng, losses = generator(seed, cycle, "order"), []
    matrices = [p for p in head.parameters() if p.ndim > 1]
    head.train()
    with torch_seeded(seed, cycle, "dropout", device=device):
        for _ in range(STEPS):
            chosen = torch.from_numpy(rng.permutation(n)[:AT_ONCE]).to(device)
            view = torch.from_numpy(rng.integers(views, size=len(chosen))).to(device)
            hidden = head.hidden(x[view, chosen])
            losses_of = nn.functional.cross_entropy(head.head(hidden), truth[chosen], reduction="none")
            loss = (losses_of * weighted[chosen]).sum() / weighted[chosen].sum()
            penalty = 0.5 * l2 / n * sum(p.square().sum() for p in matrices)
            optimizer.zero_grad(set_to_none=True)
            (loss + penalty).backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
    return {"train_loss": float(torch.stack(losses[-STEPS // 10 :]).mean()), "head_l2": float(l2)}
