"""The strategies of scikit-activeml, measured in an environment of their own: it needs neither this project nor its packages.

PEER_PYTHON -m tests.benchmarks.peers --measure '["maxherding", "evidence.npz", 100, 1]'
"""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np

from tests.benchmarks.measure import measured

STRATEGIES = ("maxherding", "dropquery", "coreset", "typiclust", "badge", "probcover")


def linear(weights, bias):
    """A classifier of scikit-activeml with these weights, as if it had been fitted."""
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    classes = np.arange(len(weights))
    found = SklearnClassifier(LogisticRegression(max_iter=1), classes=classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.fit(np.tile(np.eye(len(weights), weights.shape[1]), (2, 1)), np.tile(classes, 2))
    found.estimator_.coef_, found.estimator_.intercept_ = weights.astype(np.float64), bias.astype(np.float64)
    return found


def query(name, found, n_query):
    """Indices of the picks."""
    from skactiveml.pool import Badge, CoreSet, DropQuery, MaxHerding, ProbCover, TypiClust

    everything = np.concatenate([found["x"], found["labelled"]])
    y = np.full(len(everything), np.nan)
    y[len(found["x"]) :] = found["targets"]
    given = {"X": everything, "y": y, "batch_size": n_query}
    if name == "maxherding":
        return MaxHerding(metric="rbf", metric_dict={"gamma": 1.0}, random_state=0).query(**given)
    if name == "coreset":
        return CoreSet(random_state=0).query(**given)
    if name == "probcover":
        return ProbCover(n_classes=10, random_state=0).query(**given)
    if name == "typiclust":
        return TypiClust(random_state=0, k=20).query(**given)
    given |= {"clf": linear(found["weights"], found["bias"]), "fit_clf": False}
    if name == "badge":
        return Badge(random_state=0).query(**given)
    return DropQuery(n_dropout_samples=3, random_state=0).query(**given)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of a strategy of scikit-activeml.")
    parser.add_argument("--measure", required=True)
    name, file, n_query, threads = json.loads(parser.parse_args().measure)
    from threadpoolctl import threadpool_limits

    with np.load(file) as stored, threadpool_limits(threads):
        found = dict(stored)
        query(
            name, {k: v[:200] if k in ("x", "labelled", "targets") else v for k, v in found.items()}, 5
        )  # loads libraries
        done = measured(lambda: query(name, found, n_query))
    print(json.dumps([done.seconds, done.processor, done.megabytes, np.asarray(done.result).tolist()]))


if __name__ == "__main__":
    main()
