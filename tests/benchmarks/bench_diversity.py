"""Time and memory of the diversity, gradient and representative strategies beside the plainly written algorithms.

    python -m tests.benchmarks.bench_diversity [--small] [--threads 2] [--only coreset]

Each line of the table is one strategy and one size of pool, D = 512, float32; each measurement has a process of its own. Memory is
the rise of the resident high-water mark during the call (Linux), so that what torch allocates is seen. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from heuristics.diversity import coreset, kmeans, probcover, typiclust
from heuristics.gradient import badge
from heuristics.representative import cluster_margin, representative
from tests.benchmarks.measure import in_own_process, measured

D, C = 512, 10
# strategy: sizes of pool, labelled images, queries; whether the plain algorithm is affordable at that size
CASES = [
    ("coreset", 50_000, 1000, 500, True),
    ("badge", 20_000, 0, 500, True),
    ("kmeans", 50_000, 0, 500, True),
    ("typiclust", 50_000, 1, 500, True),
    ("probcover", 5_000, 0, 100, True),
    ("probcover", 50_000, 0, 500, False),
    ("representative", 5_000, 0, 100, True),
    ("representative", 50_000, 0, 500, False),
    ("cluster_margin", 4_000, 0, 200, True),
    ("cluster_margin", 50_000, 0, 500, False),
]


def evidence(n: int, n_labelled: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings like those of a network (200 overlapping groups of unequal spread, rectified), labelled ones, probabilities."""
    torch.manual_seed(0)
    centres = 0.7 * torch.randn(200, D)
    both = torch.empty(n + n_labelled, D)
    for rows in both.split(4096):
        rows.normal_().mul_(torch.rand(len(rows), 1)).add_(centres[torch.randint(200, (len(rows),))]).relu_()
    return both[:n], both[n:], torch.softmax(2 * torch.randn(n, C), 1)


def plain_coreset(x, labelled, probs, n_query):
    distance = torch.cdist(x, labelled).amin(1)
    for _ in range(n_query):
        pick = int(distance.argmax())
        distance = torch.minimum(distance, torch.cdist(x, x[pick : pick + 1])[:, 0])


def plain_badge(x, labelled, probs, n_query):
    residual = probs - torch.nn.functional.one_hot(probs.argmax(1), C)
    gradients = (residual[:, :, None] * x[:, None]).flatten(1)
    pick = int(gradients.norm(dim=1).argmax())
    squared = torch.full((len(x),), torch.inf)
    for _ in range(n_query - 1):
        squared = torch.minimum(squared, torch.cdist(gradients, gradients[pick : pick + 1])[:, 0] ** 2)
        pick = int(torch.multinomial(squared, 1))


def plain_kmeans(x, labelled, probs, n_query):
    KMeans(n_query, n_init="auto", max_iter=20, tol=1e-3, random_state=0).fit(x.numpy())


def plain_typiclust(x, labelled, probs, n_query):
    both = torch.cat([labelled, x]).numpy()
    labels = KMeans(min(n_query + len(labelled), 500), n_init="auto", max_iter=20, tol=1e-3, random_state=0).fit_predict(both)
    for cluster in np.unique(labels):
        members = both[labels == cluster]
        if len(members) >= 5:
            NearestNeighbors(n_neighbors=min(20, len(members) - 1)).fit(members).kneighbors()[0].mean(1).argmin()


def plain_probcover(x, labelled, probs, n_query):
    """At a fixed radius: without the search for it."""
    distance = torch.cdist(x, x)
    covers = distance < distance.flatten()[::997].quantile(0.01)
    uncovered = torch.ones(len(x), dtype=torch.bool)
    for _ in range(n_query):
        uncovered &= ~covers[(covers & uncovered).sum(1).argmax()]


def plain_representative(x, labelled, probs, n_query):
    uncertain = torch.special.entr(probs).sum(1).topk(2 * n_query).indices
    unit = torch.nn.functional.normalize(x)
    similar = unit[uncertain] @ unit.T
    best = torch.full((len(x),), -1.0)
    for _ in range(n_query):
        best = torch.maximum(best, similar[(similar - best).clamp(0).sum(1).argmax()])


def plain_cluster_margin(x, labelled, probs, n_query):
    """The clustering alone, which is nearly all of it."""
    fcluster(linkage(x.numpy(), "average"), len(x) // 10, "maxclust")


def ours(name, x, labelled, probs, n_query):
    given = {"embeddings": x, "n_query": n_query, "rng": np.random.default_rng(0)}
    if name in ("badge", "representative", "cluster_margin"):
        given["probs"] = probs
    if name in ("coreset", "typiclust", "probcover"):
        given["labelled_embeddings"] = labelled
    functions = {f.__name__: f for f in (coreset, badge, kmeans, typiclust, probcover, representative, cluster_margin)}
    functions[name](**given)


def measure(name: str, n: int, n_labelled: int, n_query: int, plain: bool, threads: int) -> None:
    """Print seconds (best of up to 3 runs of under 5 s) and the rise in memory of the first as JSON."""
    torch.set_num_threads(threads)

    def call(x, labelled, probs, n_query):
        (globals()[f"plain_{name}"] if plain else lambda *given: ours(name, *given))(x, labelled, probs, n_query)

    call(*evidence(300, 20), 20)  # loads libraries and starts threads
    given = evidence(n, n_labelled)
    runs = [measured(lambda: call(*given, n_query))]
    while len(runs) < 3 and runs[-1].seconds <= 5:
        runs.append(measured(lambda: call(*given, n_query)))
    print(json.dumps([min(run.seconds for run in runs), runs[0].megabytes]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of diversity strategies beside plain algorithms.")
    parser.add_argument("--small", action="store_true", help="a twentieth of the pool, in seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="the strategies to measure, comma-separated")
    parser.add_argument("--ours", action="store_true", help="without the plain algorithms, which take minutes")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(*json.loads(chosen.measure))
        return
    print(f"{'strategy':<16}{'N':>8}{'L':>6}{'picks':>7}{'seconds':>10}{'MB':>8}{'plain s':>10}{'plain MB':>10}{'ratio':>8}")
    for name, n, n_labelled, n_query, affordable in CASES:
        if chosen.only and name not in chosen.only.split(","):
            continue
        if chosen.small:
            n, n_labelled, n_query = n // 20, max(n_labelled // 20, min(n_labelled, 1)), n_query // 20
        affordable = affordable and not chosen.ours
        results = []
        for plain in (False, True)[: 1 + affordable]:
            results.append(in_own_process(__spec__.name, [name, n, n_labelled, n_query, plain, chosen.threads]))
        line = f"{name:<16}{n:>8}{n_labelled:>6}{n_query:>7}{results[0][0]:>10.2f}{results[0][1]:>8.0f}"
        if affordable:
            line += f"{results[1][0]:>10.2f}{results[1][1]:>10.0f}{results[1][0] / results[0][0]:>8.1f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
