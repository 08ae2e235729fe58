"""What a classifier's probabilities are worth: accuracy, ranking, likelihood and calibration."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import rankdata
from sklearn.metrics import f1_score

from data.names import Refused


def classification_metrics(probs: Float[ndarray, "n c"], targets: Int[ndarray, " n"]) -> dict[str, float | list]:
    """The metrics of N predictions over C classes. The predicted class is the most probable one, the first of equals.

    accuracy              share of correct predictions
    balanced_accuracy     mean of the per-class accuracies (recalls)
    worst_class_accuracy  the lowest of them
    macro_f1              mean F1 over the classes that occur among targets or predictions, as scikit-learn's
    macro_auroc           mean area under the ROC curve of each class against the rest, ties counted half; of two
                          classes the area for the difference of their logits; 0.5 where no class has both positives
                          and negatives
    nll                   mean -ln p(target), nats, each p at least the smallest normal number of the type of `probs`
    ece                   expected calibration error in 15 equal bins of confidence (Guo et al., 2017, eq. 3), 0..1
    per_class_accuracy    C values; NaN for a class that does not occur in targets
    confusion             C x C numbers of examples; rows are targets, columns predicted classes

    Classes that do not occur in targets are left out of balanced_accuracy, worst_class_accuracy and macro_auroc; every
    number except those of per_class_accuracy is finite. Raises ValueError for no example, probabilities that do not sum
    to 1, unknown targets.
    """
    least = np.finfo(probs.dtype).tiny
    probs = _checked(probs, targets)
    predicted = probs.argmax(1)
    correct = predicted == targets
    n_classes = probs.shape[1]
    confusion = np.bincount(targets * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)
    n_per_class = confusion.sum(1)
    present = n_per_class > 0
    per_class = np.full(n_classes, np.nan)
    per_class[present] = confusion.diagonal()[present] / n_per_class[present]
    likelihood = np.maximum(probs[np.arange(len(targets)), targets], least)  # a softmax underflows to 0
    return {
        "accuracy": float(correct.mean()),
        "balanced_accuracy": float(per_class[present].mean()),
        "worst_class_accuracy": float(per_class[present].min()),
        "macro_f1": float(f1_score(targets, predicted, average="macro")),
        "macro_auroc": _macro_auroc(probs, targets),
        "nll": float(-np.log(likelihood).mean()),
        "ece": expected_calibration_error(probs.max(1), correct),
        "per_class_accuracy": per_class.tolist(),
        "confusion": confusion.tolist(),
    }


def trivial_metrics(targets: Int[ndarray, " n"], n_classes: int) -> dict[str, float]:
    """The metrics of a prediction that looks at no image: how often each class occurs, and so the commonest one.

    Accuracy is the share of that class, macro_auroc 0.5. A class alone has no such value: its recall is 1 or 0.
    """
    shares = np.bincount(targets, minlength=n_classes) / len(targets)
    metrics = classification_metrics(np.tile(shares, (len(targets), 1)), targets)
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def expected_calibration_error(
    confidence: Float[ndarray, " n"], correct: Bool[ndarray, " n"], n_bins: int = 15
) -> float:
    """sum_m |B_m| / N * |accuracy(B_m) - confidence(B_m)| over M equal bins (Guo et al., 2017, eq. 3).

    Bin m holds (m - 1) / M < confidence <= m / M.
    """
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gap = np.bincount(bins, weights=correct - confidence, minlength=n_bins)  # |B_m| (accuracy - confidence)
    return float(np.abs(gap).sum() / len(confidence))


def _macro_auroc(probs: Float[ndarray, "n c"], targets: Int[ndarray, " n"]) -> float:
    """Mean over classes of the Mann-Whitney statistic: the chance that a positive ranks above a negative.

    Above one half, ranks of p are taken from what the other classes have: p near 1 are rounded to one number, their
    rest is not.
    """
    n_positive = np.bincount(targets, minlength=probs.shape[1])
    n_negative = len(targets) - n_positive
    defined = (n_positive > 0) & (n_negative > 0)
    if not defined.any():
        return 0.5
    rest = np.sort(probs, axis=1)[:, :-1].sum(axis=1, keepdims=True)  # only the largest can be above one half
    scores = np.where(probs > 0.5, 1 / np.maximum(rest, np.finfo(np.float64).tiny), probs)
    ranks = rankdata(scores, axis=0)  # equal scores share their mean rank
    rank_sums = np.bincount(targets, weights=ranks[np.arange(len(targets)), targets], minlength=probs.shape[1])
    wins = rank_sums - n_positive * (n_positive + 1) / 2
    return float((wins[defined] / (n_positive * n_negative)[defined]).mean())


def _checked(probs: Float[ndarray, "n c"], targets: Int[ndarray, " n"]) -> Float[ndarray, "n c"]:
    if len(targets) == 0:
        raise Refused("classification metrics need at least one example, there is none")
    sums = probs.sum(1, dtype=np.float64)
    wrong = np.flatnonzero(~((np.abs(sums - 1) < 1e-2) & (probs >= 0).all(1)))
    if len(wrong):
        row = f"row {wrong[0]} of the probabilities is {probs[wrong[0]].tolist()}"
        raise Refused(f"{row}; expected values of 0 or more that sum to 1")
    unknown = targets[(targets < 0) | (targets >= probs.shape[1])]
    if len(unknown):
        raise Refused(f"target {unknown[0]} is not a class of 0 to {probs.shape[1] - 1}")
    return probs.astype(np.float64)
