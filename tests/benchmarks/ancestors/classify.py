"""A plain script for classification with BADGE and with the k-centre search.

It imitates scripts that decode the pool again for every pass, write out one gradient of N x C D numbers or all
distances of an N x N matrix, look at all labelled images again at every pick, and measure with a loop over classes and
thresholds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.classifiers import make_classifier
from tests.benchmarks.ancestors.shared import Files, Plain, Values, as_tensor, augmented


def make_model(options: Values, files: Files) -> nn.Module:
    size = min(files.picture("train", 0).shape[:2])
    shape = {"num_classes": len(files.known["classes"]), "channels": files.known["channels"]}
    return make_classifier(options["model"], dropout=options["dropout"], image_size=size, **shape)


def example(files: Files, part: str, i: int, options: Values, rng: np.random.Generator) -> tuple[Tensor, int]:
    picture, _ = augmented(as_tensor(files.picture(part, i)), None, options["augment"], rng)
    return picture, files.target(part, i)


def loss(model: nn.Module, batch: list) -> Tensor:
    pictures, classes = zip(*batch, strict=True)
    return nn.functional.cross_entropy(model(torch.stack(pictures)), torch.tensor(classes))


@torch.no_grad()
def embedded(model: nn.Module, files: Files, part: str, numbers: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and probabilities of images, decoded batch by batch."""
    embeddings, probs = [], []
    for start in range(0, len(numbers), size):
        batch = torch.cat([files.tensor(part, i) for i in numbers[start : start + size]])
        features = model.features(batch)
        embeddings.append(features.numpy())
        probs.append(model.head(features).softmax(1).numpy())
    return np.concatenate(embeddings), np.concatenate(probs)


def query(model: nn.Module, files: Files, labelled: list[int], pool: list[int], options: Values) -> list[int]:
    size, n_query = options["query_batch_size"], options["n_query"]
    embeddings, probs = embedded(model, files, "train", pool, size)
    if options["heuristic"] == "badge":
        picks = badge(embeddings, probs, n_query, np.random.default_rng(options["seed"]))
    else:
        picks = coreset(embeddings, embedded(model, files, "train", labelled, size)[0], n_query)
    return [pool[i] for i in picks]


def gradients(embeddings: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """(N, C D): the gradient of every image for the class that is predicted, written out."""
    n, d = embeddings.shape
    found = np.zeros((n, probs.shape[1] * d), np.float32)
    for i in range(n):
        for c in range(probs.shape[1]):
            factor = probs[i, c] - (c == probs[i].argmax())
            found[i, c * d : (c + 1) * d] = factor * embeddings[i]
    return found


def badge(embeddings: np.ndarray, probs: np.ndarray, n_query: int, rng: np.random.Generator) -> list[int]:
    """k-means++ on the gradients, from the longest one."""
    points = gradients(embeddings, probs)
    picks = [int(np.linalg.norm(points, axis=1).argmax())]
    squared = np.full(len(points), np.inf)
    while len(picks) < n_query:
        squared = np.minimum(squared, ((points - points[picks[-1]]) ** 2).sum(1))
        picks.append(int(rng.choice(len(points), p=squared / squared.sum())))
    return picks


def coreset(embeddings: np.ndarray, labelled: np.ndarray, n_query: int) -> list[int]:
    """The image farthest from its nearest labelled one, by a matrix of all distances that every pick looks through."""
    everything = np.concatenate([embeddings, labelled]).astype(np.float64)
    squares = (everything**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * everything @ everything.T, 0))
    chosen = np.zeros(len(everything), bool)
    chosen[len(embeddings) :] = True
    picks = []
    for _ in range(n_query):
        rest = np.flatnonzero(~chosen)
        pick = int(rest[distances[np.ix_(rest, np.flatnonzero(chosen))].min(1).argmax()])
        chosen[pick] = True
        picks.append(pick)
    return picks


def test(model: nn.Module, files: Files, options: Values) -> dict[str, float]:
    numbers = list(files.numbers("test"))
    _, probs = embedded(model, files, "test", numbers, options["eval_batch_size"])
    return measured(probs.astype(np.float64), np.array([files.target("test", i) for i in numbers]))


def measured(probs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Accuracies, F1 and area under the ROC curve, class by class and threshold by threshold."""
    predicted, n_classes = probs.argmax(1), probs.shape[1]
    recalls, f1s, areas = [], [], []
    for c in range(n_classes):
        said, true = predicted == c, targets == c
        if said.any() or true.any():
            f1s.append(2 * (said & true).sum() / (said.sum() + true.sum()))
        if true.any():
            recalls.append((said & true).sum() / true.sum())
        if true.any() and not true.all():
            areas.append(area(probs[:, c], true))
    scores = {"accuracy": (predicted == targets).mean(), "balanced_accuracy": np.mean(recalls)}
    scores |= {"worst_class_accuracy": min(recalls), "macro_f1": np.mean(f1s), "macro_auroc": np.mean(areas)}
    return {name: float(value) for name, value in scores.items()}


def area(scores: np.ndarray, true: np.ndarray) -> float:
    """Under the ROC curve, by trapezoids between all thresholds."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(scores)[::-1]:
        found = scores >= threshold
        points.append(((found & ~true).sum() / (~true).sum(), (found & true).sum() / true.sum()))
    return sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in zip(points, points[1:], strict=False))


PLAIN = Plain(make_model, example, loss, test, query)
