"""Strategies for few labels on good features, beside scikit-activeml where it has them and beside the plain algorithms.

    python -m tests.benchmarks.bench_herding [--small] [--peer-python PATH] [--only maxherding]

PATH is the Python of an environment that has scikit-activeml (`python -m venv peers && peers/bin/pip install
scikit-activeml==1.0.1`); without it only the plain algorithms stand beside. D = 512, C = 10, float32, 100 labelled images,
which are enough for all strategies. Each measurement has a process of its own; seconds are of the processor, memory is the
rise of the resident peak during the call (Linux). "same" is the share of our picks that the other has as well. Plain
algorithms run where they finish; nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import nn

from heuristics import get
from tests.benchmarks.bench_diversity import evidence
from tests.benchmarks.measure import in_own_process, measured
from tests.benchmarks.peers import STRATEGIES as OF_PEER

D, C, L = 512, 10, 100
# strategy, options: sizes of pool for ours and the peer and for the plain algorithm (0: none), features, queries
CASES = [
    ("maxherding", {}, 20_000, 10_000, D, 100),
    ("uherding", {}, 20_000, 10_000, D, 100),
    ("dropquery", {}, 20_000, 20_000, D, 100),
    ("alfamix", {}, 20_000, 20_000, D, 100),
    ("bait", {"max_exact": 1}, 20_000, 20_000, D, 100),
    ("bait", {"max_exact": 100_000}, 20_000, 0, D, 100),
    ("bait", {"max_exact": 100_000}, 1_000, 1_000, 64, 20),
    ("coreset", {}, 20_000, 0, D, 100),
    ("typiclust", {}, 20_000, 0, D, 100),
    ("badge", {}, 20_000, 0, D, 100),
    *(
        (name, {}, 50_000, 0, D, 100)
        for name in ("coreset", "typiclust", "badge", "probcover", "kmeans", "representative")
    ),
]


def given(n: int, dim: int) -> dict[str, np.ndarray]:
    """What all algorithms see: features, labelled ones with targets, a linear head."""
    x, labelled, _ = evidence(n, L)
    weights = torch.randn(C, dim, generator=torch.Generator().manual_seed(1)) / dim**0.5
    arrays = {"x": x[:, :dim], "labelled": labelled[:, :dim], "weights": weights, "bias": torch.zeros(C)}
    return {name: array.contiguous().numpy() for name, array in arrays.items()} | {"targets": np.arange(L) % C}


def requested(found: dict[str, np.ndarray]) -> dict[str, object]:
    """The evidence of our strategies."""
    head = nn.Linear(found["x"].shape[1], C)
    head.weight.data, head.bias.data = torch.from_numpy(found["weights"]), torch.from_numpy(found["bias"])
    given, targets = {"head": head.eval()}, torch.from_numpy(found["targets"])
    for which, array in {"": found["x"], "labelled_": found["labelled"]}.items():
        x = torch.from_numpy(array)
        with torch.no_grad():
            logits = head(x)
        given |= {f"{which}embeddings": x, f"{which}logits": logits, f"{which}probs": logits.softmax(1)}
    return given | {"labelled_targets": targets}


def plain_herding(x, labelled, weights, delta, n_query):
    """The whole kernel, and every candidate at every pick."""
    x, labelled = nn.functional.normalize(x), nn.functional.normalize(labelled)
    kernel = torch.exp((x @ x.T - 1) * 2 / delta**2)
    covered = torch.exp((x @ labelled.T - 1) * 2 / delta**2).amax(1)
    picks = []
    for _ in range(n_query):
        gains = ((kernel - covered).clamp(0) * weights).mean(1)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = torch.maximum(covered, kernel[picks[-1]])
    return picks


def plain_maxherding(embeddings, labelled_embeddings, n_query, **others):
    return plain_herding(embeddings, labelled_embeddings, 1, 1.0, n_query)


def plain_uherding(embeddings, logits, labelled_embeddings, labelled_logits, labelled_targets, n_query, **others):
    from heuristics.herding import least_distance, temperature

    p = (logits / temperature(labelled_logits, labelled_targets)).softmax(1).sort(1).values
    delta = least_distance(labelled_embeddings)
    return plain_herding(embeddings, labelled_embeddings, 1 - p[:, -1] + p[:, -2], delta, n_query)


def plain_clusters(candidates, n_query):
    rows = nn.functional.normalize(candidates).numpy()
    return KMeans(n_query, n_init=1, random_state=0).fit_transform(rows).argmin(0).tolist()


def plain_dropquery(embeddings, head, n_query, **others):
    before = head(embeddings).argmax(1)
    changed = sum(head(nn.functional.dropout(embeddings, 0.75)).argmax(1) != before for _ in range(3))
    candidates = (changed >= 2).nonzero().squeeze(1)
    return candidates[plain_clusters(embeddings[candidates], n_query)].tolist()


def plain_alfamix(embeddings, labelled_embeddings, labelled_targets, head, n_query, **others):
    z = embeddings.clone().requires_grad_()
    with torch.enable_grad():
        before = head(z).argmax(1)
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(head(z), before, reduction="sum"), z)
    z, changed = z.detach(), torch.zeros(len(z), dtype=torch.bool)
    for c in range(C):
        anchor = labelled_embeddings[labelled_targets == c].mean(0)
        apart = anchor - z
        alpha = 0.2 / z.shape[1] ** 0.5 * apart.norm(dim=1, keepdim=True) * g / (g.norm(dim=1, keepdim=True) * apart)
        changed |= head(alpha * anchor + (1 - alpha) * z).argmax(1) != before
    candidates = changed.nonzero().squeeze(1)
    if len(candidates) <= n_query:
        return candidates.tolist()
    return candidates[plain_clusters(embeddings[candidates], n_query)].tolist()


def plain_bait(embeddings, probs, labelled_embeddings, labelled_probs, n_query, max_exact, **others):
    """The published search: a product of every candidate with the inverse at every pick; scores of the whole matrix."""

    def rows(z, p):
        if max_exact == 1:
            top = p.amax(1)
            return ((top * (1 - top)).sqrt()[:, None] * z)[:, None].double()
        return (
            ((p.sqrt()[:, :, None] * (torch.eye(C) - p[:, None]))[:, :, :, None] * z[:, None, None]).flatten(2).double()
        )

    v, known = rows(embeddings, probs), rows(labelled_embeddings, labelled_probs).flatten(0, 1)
    flat = v.flatten(0, 1)
    of_all = flat.T @ flat + known.T @ known
    inverse = torch.linalg.inv(torch.eye(v.shape[2], dtype=v.dtype) + known.T @ known)
    picks, unit = [], torch.eye(v.shape[1], dtype=v.dtype)

    def scores(some, sign):
        side = some @ inverse
        inner = torch.linalg.inv(unit + sign * side @ some.transpose(1, 2))
        return ((side @ of_all @ side.transpose(1, 2)) * inner.transpose(1, 2)).sum((1, 2))

    def follow(one, sign):
        side = one @ inverse
        return inverse - sign * side.T @ torch.linalg.inv(unit + sign * side @ one.T) @ side

    for _ in range(2 * n_query):
        found = scores(v, 1)
        found[picks] = -torch.inf
        picks.append(int(found.argmax()))
        inverse = follow(v[picks[-1]], 1)
    while len(picks) > n_query:
        worst = int(scores(v[picks], -1).argmin())
        inverse = follow(v[picks.pop(worst)], -1)
    return picks


def measure(name: str, options: dict, file: str, n: int, n_query: int, plain: bool, threads: int) -> None:
    """Print seconds, processor seconds, MB and picks of one call as JSON."""
    torch.set_num_threads(threads)
    with np.load(file) as stored, torch.no_grad():
        found = dict(stored)
        call = globals()[f"plain_{name}"] if plain else get(name, **options)

        def run(rows: int, picks: int):
            cut = found | {"x": found["x"][:rows]}
            wanted = requested(cut) | {"n_query": picks, "rng": np.random.default_rng(0), "n_pool": rows}
            return lambda: call(**wanted, **(options if plain else {}))

        run(400, 5)()  # loads libraries
        done = measured(run(n, n_query))
    print(json.dumps([done.seconds, done.processor, done.megabytes, np.asarray(done.result).tolist()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a twentieth of the pool: seconds in all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="the strategies to measure, comma-separated")
    parser.add_argument("--ours", action="store_true", help="nothing beside")
    parser.add_argument("--peer-python", default="", help="Python of an environment with scikit-activeml")
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a measurement is given up")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(*json.loads(chosen.measure))
        return
    print(f"{'strategy':<28}{'N':>7}{'picks':>6}{'cpu s':>9}{'MB':>7}   beside")
    for name, options, n, n_plain, dim, n_query in CASES:
        if chosen.only and name not in chosen.only.split(","):
            continue
        if chosen.small:
            n, n_plain, dim, n_query = max(n // 20, 400), n_plain // 20, dim // 8, 10
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "evidence.npz")
            np.savez(file, **given(n, dim))

            def row(size: int, plain: bool, case: tuple = (name, options, file, n_query)) -> list:
                request = [case[0], case[1], case[2], size, case[3], plain, chosen.threads]
                return in_own_process(__spec__.name, request, chosen.limit)

            ours, beside = row(n, False), []
            if chosen.peer_python and name in OF_PEER and not chosen.ours:
                request = [name, file, n_query, chosen.threads]
                try:
                    peer = in_own_process("tests.benchmarks.peers", request, chosen.limit, chosen.peer_python)
                    beside.append(_beside("scikit-activeml", ours, peer))
                except subprocess.TimeoutExpired:
                    beside.append(f"scikit-activeml: not within {chosen.limit:g} s")
                except SystemExit as failed:  # of memory, mostly
                    beside.append(f"scikit-activeml failed: {str(failed).splitlines()[-1]}")
            if n_plain and not chosen.ours:
                same_size = ours if n_plain == n else row(n_plain, False)
                beside.append(_beside(f"plain, N = {n_plain}", same_size, row(n_plain, True)))
        title = " ".join([name, *(f"{key}={value}" for key, value in options.items()), f"D={dim}"])
        print(f"{title:<28}{n:>7}{n_query:>6}{ours[1]:>9.2f}{ours[2]:>7.0f}   {'; '.join(beside)}", flush=True)


def _beside(title: str, ours: list, other: list) -> str:
    same = len({*ours[3]} & {*other[3]}) / len(ours[3])
    ratio = f"{other[1] / ours[1]:.1f} times ours"
    return f"{title}: {other[1]:.2f} s, {other[2]:.0f} MB, {ratio}, {same:.0%} same picks"


if __name__ == "__main__":
    main()
