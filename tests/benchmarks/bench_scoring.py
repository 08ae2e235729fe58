"""Time and memory of scoring, querying and training on a pool like GlaS, beside baal.

    python -m tests.benchmarks.bench_scoring [--small] [--threads 2] [--only scoring,query,passes,training]

One line of the Markdown table per comparison; each measurement has a process of its own. Memory is the rise of the resident
high-water mark over what held the input. Real GlaS is used where it is found under $ALIQUOT_DATA or data/raw, else noise of its size.
No time is asserted; scores of given passes that differ from baal's end the benchmark with an error.

    scoring   BALD and its mean over the image from given passes. Ours takes them one by one, in batches of images; baal needs the stack
              of all images and passes. Making the passes is not measured.
    query     the whole way from images in memory to the choice, with the same U-Net in the same memory layout on both sides. baal's
              network ends in a softmax, so that it need not guess; it predicts all passes of a batch at once (its default) or in a loop.
    passes    a query with few and with many passes.
    training  steps of the trainer as the preset `glas` sets it, from the memory-mapped images.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baal import ModelWrapper
from baal.active.heuristics import BALD
from baal.bayesian.dropout import MCDropoutModule
from baal.modelwrapper import TrainingArgs
from numpy import ndarray
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.utils.data import Dataset

from data.augment.images import crop_example
from data.files import default_data_root
from data.sets.glas import glas
from data.store import Images, Record, cached
from experiments.learning.batches import WithoutTargets
from experiments.learning.querying import QueryOptions, query
from experiments.learning.training import fit
from experiments.loop import evidence_of
from experiments.segment import PRESETS
from experiments.tasks.segmentation import TASK
from experiments.tracking.declare import settle
from experiments.tracking.options import SEGMENT
from heuristics import get
from heuristics.core.aggregating import aggregated
from heuristics.core.evidence import RunningMC
from tests.benchmarks.measure import in_own_process, measured

C = 2
PARTS = ("scoring", "query", "passes", "training")
# images of the pool, side of the crops, stochastic passes, few and many passes, images of a query for those, training steps, images in one
FULL = {"n": 85, "side": 416, "k": 20, "few": 5, "many": 40, "n_passes": 8, "steps": 20, "batch": 16}
SMALL = {"n": 8, "side": 96, "k": 4, "few": 2, "many": 8, "n_passes": 8, "steps": 3, "batch": 4}


def options_of(**changes: Any) -> dict[str, Any]:
    """The options of the preset `glas` on the processor, changed."""
    return settle(SEGMENT, PRESETS["glas"][1].items(), {"device": "cpu", "heuristic": "bald", **changes})


def passes_of(image: int, k: int, side: int) -> Tensor:
    """Probabilities (K, C, side, side) of one image: spread over the passes, and so the score, is the image's own."""
    random = torch.Generator().manual_seed(image)
    base = 2 * torch.randn(side, side, generator=random)
    spread = 0.2 + image * 37 % 101 / 100
    foreground = torch.randn(k, side, side, generator=random).mul_(spread).add_(base).sigmoid_()
    return torch.stack([1 - foreground, foreground], 1)


def measure_scoring(peer: bool, size: dict[str, int]) -> dict[str, Any]:
    """Best of three times over the pool, which streams through in batches (ours) or lies there as one stack (baal)."""
    n, k, side = size["n"], size["k"], size["side"]
    bald, per_batch = get("bald"), n if peer else options_of()["query_batch_size"]

    def ours(passes: Tensor) -> ndarray:
        running = RunningMC(bald.wants)
        for probs in passes:
            running.add(probs)
        return aggregated("mean", bald(**running.evidence())).numpy()

    def theirs(passes: Tensor) -> ndarray:
        return BALD(reduction="mean").get_ranks(passes.numpy())[1]

    shape = (per_batch, C, side, side, k) if peer else (k, per_batch, C, side, side)
    passes, score = torch.empty(shape), theirs if peer else ours
    score(torch.full((2, C, 8, 8, 2), 0.5))  # starts threads
    runs, scores = [], []
    for first in range(0, n, per_batch):
        images = range(first, min(first + per_batch, n))
        for place, image in enumerate(images):
            if peer:
                passes[place] = passes_of(image, k, side).permute(1, 2, 3, 0)
            else:
                passes[:, place] = passes_of(image, k, side)
        given = passes[: len(images)] if peer else passes[:, : len(images)]
        runs.append([measured(lambda given=given: score(given)) for _ in range(3)])
        scores.append(runs[-1][0].result)
    seconds = min(sum(run[repetition].seconds for run in runs) for repetition in range(3))
    return {"seconds": seconds, "megabytes": max(run[0].megabytes for run in runs), "scores": np.concatenate(scores).tolist()}


def noise(n: int = 85) -> Iterator[Record]:
    """Images of the size of GlaS: blobs of a contrast and a roughness of their own."""
    for i in range(n):
        random = torch.Generator().manual_seed(i)
        coarse = torch.randn(1, 3, 8 + i % 7 * 4, 12 + i % 7 * 6, generator=random)
        smooth = nn.functional.interpolate(coarse, (522, 775), mode="bilinear")[0]
        pixels = 0.5 + (0.05 + i * 37 % 101 / 500) * smooth + 0.03 * torch.randn(smooth.shape, generator=random)
        image = (255 * pixels.clamp(0, 1)).byte().permute(1, 2, 0).numpy()
        yield Record(f"noise_{i}.png", image, (smooth[0] > 0).byte().numpy())


def pool_of(folder: str) -> Images:
    """The training part of GlaS where there is one, else noise, decoded into `folder` for this benchmark."""
    if (default_data_root() / "glas").is_dir():
        return glas(default_data_root()).part("train")
    return cached("noise", "benchmark", "class_map", ("background", "gland"), noise, cache_root=Path(folder))


def crops_of(images: Images, n: int, side: int, folder: str) -> Images:
    """A crop of each of the first `n` images, kept in `folder`."""

    def records() -> Iterator[Record]:
        for i in range(min(n, len(images))):
            crop, mask = crop_example(images.raw(i), images.target(i).numpy(), side, np.random.default_rng(i))
            yield Record(images.names[i], crop, np.asarray(mask, dtype=np.uint8))

    return cached("crops", f"{n}x{side}", "class_map", images.classes, records, cache_root=Path(folder))


class Pairs(Dataset):
    """What baal reads: pairs of an image and nothing."""

    def __init__(self, images: Images, indices: ndarray):
        self.pictures = [images.image(i) for i in indices]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.pictures[i], 0


def measure_query(peer: str, n: int, k: int, side: int, folder: str) -> dict[str, Any]:
    """A query with BALD; `peer` is empty for ours, else how baal makes its passes: replicated or loop."""
    images, options = pool_of(folder), options_of(mc_samples=k)
    task = TASK.make_task(options, images)
    crops = crops_of(images, n, side, folder)
    pairs = Pairs(crops, np.arange(len(crops)))
    torch.manual_seed(0)
    model = task.make_model()
    with torch.no_grad():  # new weights, with batch norm's statistics of these images: scores are not all alike
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
        model.train()(torch.stack([crops.image(i) for i in range(4)]))
    model.eval()

    def ours(pool: ndarray) -> ndarray:
        asked = QueryOptions.of(options | {"n_query": min(options["n_query"], len(pool))})
        evidence = evidence_of(task, model, asked, seed=0, cycle=0)
        return query(get("bald"), evidence, WithoutTargets(crops), pool, asked).scores

    def theirs(pool: ndarray) -> ndarray:
        replicated, batch_size = peer == "replicated", options["query_batch_size"]
        settings = TrainingArgs(batch_size=batch_size, use_cuda=False, workers=0, replicate_in_memory=replicated)
        with MCDropoutModule(nn.Sequential(model, nn.Softmax(1)).eval()) as stochastic:
            subset = torch.utils.data.Subset(pairs, pool.tolist())
            passes = ModelWrapper(stochastic, settings).predict_on_dataset(subset, k, verbose=False)
        return BALD(reduction="mean").get_ranks(passes)[1]

    run = theirs if peer else ours
    run(np.arange(1))
    torch.manual_seed(1)
    done = measured(lambda: run(np.arange(len(crops))))
    return {"seconds": done.seconds, "megabytes": done.megabytes, "scores": done.result.tolist()}


def measure_training(precision: str, channels_last: bool, size: dict[str, int], folder: str) -> dict[str, Any]:
    """Steps of `fit`, after two to warm up."""
    images = pool_of(folder)
    sizes = {"steps": size["steps"], "batch_size": size["batch"], "crop": size["side"]}
    options = options_of(precision=precision, channels_last=channels_last, **sizes)
    task = TASK.make_task(options, images)
    torch.manual_seed(0)
    model, labelled = task.make_model(), np.arange(len(images))

    def train(steps: int) -> dict[str, float]:
        batches = TASK.make_batches(options | {"steps": steps}, images)(labelled, 0, None)
        return fit(model, task.loss, batches)

    train(2)
    done = measured(lambda: train(size["steps"]))
    rate = size["steps"] * size["batch"] / done.result["train_seconds"]
    return {"seconds": done.seconds, "megabytes": done.megabytes, "rate": rate, "loader_share": done.result["loader_share"]}


MEASURES = {"scoring": measure_scoring, "query": measure_query, "training": measure_training}


def line(what: str, ours: dict[str, Any], peer: dict[str, Any] | None, remark: str) -> None:
    """One line of the table."""
    cells = [what, f"{ours['seconds']:.3g}", f"{ours['megabytes']:.0f}"]
    if peer:
        cells += [f"{peer['seconds']:.3g}", f"{peer['megabytes']:.0f}"]
        cells += [f"{peer['seconds'] / ours['seconds']:.1f}", f"{peer['megabytes'] / max(ours['megabytes'], 0.1):.0f}"]
    else:
        cells += ["-"] * 4
    print("| " + " | ".join([*cells, remark]) + " |", flush=True)


def report(parts: list[str], size: dict[str, int], threads: int, folder: str) -> None:
    """The table."""

    def ask(measure: str, *request: Any) -> dict[str, Any]:
        return in_own_process(__spec__.name, [threads, measure, *request])

    source = "GlaS" if (default_data_root() / "glas").is_dir() else "noise"
    n, k, side = size["n"], size["k"], size["side"]
    versions = f"torch {torch.__version__}, baal {version('baal')}, Python {platform.python_version()}"
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {threads} threads, {versions}; images: {source}\n")
    print("| what | s | MB above input | baal: s | MB | times faster | times less memory | |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    if "scoring" in parts:
        ours, peer = ask("scoring", False, size), ask("scoring", True, size)
        line(f"scoring given passes, {n} x {C} x {side} x {side}, K = {k}", ours, peer, compared(ours["scores"], peer["scores"]))
    if "query" in parts:
        ours = ask("query", "", n, k, side, folder)
        for how in ("replicated", "loop"):
            peer = ask("query", how, n, k, side, folder)
            remark = f"Spearman {spearmanr(ours['scores'], peer['scores']).statistic:.2f} between the scores (other masks)"
            line(f"query, {n} x 3 x {side} x {side}, K = {k}; baal: passes {how}", ours, peer, remark)
    if "passes" in parts:
        for passes in (size["few"], size["many"]):
            line(f"query, {size['n_passes']} images, K = {passes}", ask("query", "", size["n_passes"], passes, side, folder), None, "")
    if "training" in parts:
        for precision, channels_last in (("float32", False), ("float32", True), ("bfloat16", True)):
            ours = ask("training", precision, channels_last, size, folder)
            what = f"{size['steps']} training steps of {size['batch']}, {precision}, {'channels_last' if channels_last else 'contiguous'}"
            line(what, ours, None, f"{ours['rate']:.1f} images/s, {ours['loader_share']:.1%} of the time spent waiting for batches")


def compared(ours: list[float], peer: list[float]) -> str:
    """That both are the same up to rounding, with the same ranking; else an error that ends the benchmark."""
    off = float(np.abs(np.subtract(ours, peer)).max())
    if not np.allclose(ours, peer, rtol=1e-4, atol=1e-6):
        sys.exit(f"the scores differ from baal's by up to {off:.2g}")
    if not np.array_equal(np.argsort(ours), np.argsort(peer)):
        sys.exit("the ranking differs from baal's")
    return f"same ranking, scores within {off:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few small images: the numbers mean little, but all of it runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(PARTS), help="the parts to measure, comma-separated")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        threads, measure, *request = json.loads(given.measure)
        torch.set_num_threads(threads)
        print(json.dumps(MEASURES[measure](*request)))
        return
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part {sorted(unknown)[0]!r}. Known: {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        report(parts, SMALL if given.small else FULL, given.threads, folder)


if __name__ == "__main__":
    main()
