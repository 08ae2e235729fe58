"""Time and memory of the joint, adversarial and submodular strategies beside the same algorithms written plainly.

    python -m tests.benchmarks.bench_joint [--small]

Each measurement runs in a process of its own; memory is the rise of its peak over what held the input. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from heuristics.adversarial import bim, deepfool
from heuristics.core.evidence import RunningMC, from_logits
from heuristics.joint import batchbald, epig
from heuristics.submodular import fass, glister, similar
from heuristics.uncertainty import bald
from models.classifiers import make_classifier
from models.stochastic import mc_dropout
from tests.benchmarks.measure import in_own_process, measured

Case = tuple[Callable[[], object], Callable[[], object] | None]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def passes(n: int, c: int, k: int) -> Tensor:
    g = generator()
    return (2 * torch.randn(n, c, 1, generator=g) + torch.randn(n, c, k, generator=g)).softmax(1)


def plain_batchbald(probs: Tensor, n_query: int, max_outcomes: int = 10_000) -> list[int]:
    """Every candidate at every pick; outcomes sampled anew for each pick once there are too many."""
    noise = -torch.special.xlogy(probs, probs).sum(1).mean(1)
    joint, picks = probs.new_ones(1, probs.shape[2]), []
    for _ in range(n_query):
        weight = joint.mean(1)
        gains = torch.empty(len(probs))
        for i, image in enumerate(probs):
            q = joint @ image.T / probs.shape[2]
            gains[i] = -torch.special.xlogy(q, q / weight[:, None]).sum() / weight.sum() - noise[i]
        gains[picks] = -torch.inf
        picks.append(int(gains.argmax()))
        joint = (joint[:, None] * probs[picks[-1]][None]).flatten(0, 1)
        if len(joint) > max_outcomes:
            drawn = torch.multinomial(joint.mean(1), max_outcomes, replacement=True, generator=generator())
            joint = joint[drawn] / joint[drawn].mean(1, keepdim=True)
    return picks


def plain_epig(probs: Tensor, n_targets: int = 100) -> Tensor:
    targets, scores = probs[:n_targets], []
    for image in probs:
        joint = torch.einsum("ck,tdk->tcd", image, targets) / probs.shape[2]
        product = image.mean(1)[None, :, None] * targets.mean(2)[:, None]
        scores.append(torch.special.xlogy(joint, joint / product).sum((1, 2)).mean())
    return torch.stack(scores)


def plain_facility_location(x: Tensor, n_query: int) -> list[int]:
    """The whole kernel, and every candidate at every pick."""
    x = x / x.norm(dim=1, keepdim=True)
    kernel = (x @ x.T).clamp_min(0)
    cover, picks = kernel.new_zeros(len(x)), []
    for _ in range(n_query):
        gains = (kernel - cover).clamp_min(0).sum(1)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        cover = torch.maximum(cover, kernel[picks[-1]])
    return picks


def plain_deepfool(model: nn.Module, images: Tensor, max_steps: int = 50) -> list[float]:
    """Image by image, one backward pass per class."""
    sizes = []
    for image in images[:, None]:
        total, first = torch.zeros_like(image), None
        for _ in range(max_steps):
            now = (image + 1.02 * total).requires_grad_()
            logits = model(now)[0]
            first = int(logits.argmax()) if first is None else first
            if int(logits.argmax()) != first:
                break
            best, move = np.inf, total
            for k in range(len(logits)):
                if k != first:
                    (w,) = torch.autograd.grad(logits[k] - logits[first], now, retain_graph=True)
                    ratio = (logits[first] - logits[k]).item() / w.norm().item()
                    if ratio < best:
                        best, move = ratio, ratio * w / w.norm()
            total = total + move
        sizes.append(total.norm().item())
    return sizes


def plain_bim(model: nn.Module, images: Tensor, step: float = 2 / 255, max_steps: int = 50) -> list[float]:
    sizes = []
    for image in images[:, None]:
        now, first = image.clone(), int(model(image).argmax())
        for _ in range(max_steps):
            now.requires_grad_()
            logits = model(now)
            if int(logits.argmax()) != first:
                break
            (w,) = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.tensor([first])), now)
            now = (now.detach() + step * w.sign()).clamp(0, 1)
        sizes.append((now - image).abs().max().item())
    return sizes


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    blocks = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10)]
    return nn.Sequential(*blocks).eval()


def cases(small: bool) -> dict[str, Callable[[], Case]]:
    """Name -> a function that makes the input and gives ours and the plain algorithm (None where its kernel would not fit)."""
    n_mc, n_pool, n_images = (100, 3_000, 32) if small else (10_000, 50_000, 256)

    def joint(k: int, n_query: int) -> Case:
        probs = passes(n_mc, 10, k)
        return lambda: batchbald(probs, n_query, np.random.default_rng(0)), lambda: plain_batchbald(probs, n_query)

    def streamed() -> Case:
        probs = passes(20 * n_mc, 10, 20)

        def by_pass() -> None:
            running = RunningMC({"mc_entropy"})
            for k in range(20):
                running.add(probs[:, :, k].contiguous())
            bald(running.mean, running.entropy)

        def at_once() -> None:
            entropy = -torch.special.xlogy(probs, probs).sum(1).mean(1)
            mean = probs.mean(2)
            -torch.special.xlogy(mean, mean).sum(1) - entropy

        return by_pass, at_once

    def predictive() -> Case:
        probs = passes(n_mc, 10, 40)
        return lambda: epig(probs, 10, np.random.default_rng(0)), lambda: plain_epig(probs)

    def embedded(which: str, n: int, plain: bool) -> Case:
        x, probs = torch.randn(n, 512, generator=generator()).relu_(), torch.randn(n, 10, generator=generator()).softmax(1)
        held = x[:1000], probs[:1000], torch.arange(1000) % 10
        rng = np.random.default_rng(0)
        run = {
            "fass": lambda: fass(probs, x, 100, rng),
            "glister": lambda: glister(x, probs, *held, *held, 100, rng),
            "rare": lambda: similar(x, held[0], held[2], 100, rng),
            "redundancy": lambda: similar(x, held[0], held[2], 100, rng, mode="redundancy"),
        }[which]
        entropy = -torch.special.xlogy(probs, probs).sum(1)
        return run, (lambda: plain_facility_location(x[entropy.topk(1000).indices] if which == "fass" else x, 100)) if plain else None

    def attacked(which: str) -> Case:
        model, images = convolutional(), torch.rand(n_images, 3, 32, 32, generator=generator())
        if which == "bim":
            return lambda: bim(model, images), lambda: plain_bim(model, images)
        return lambda: deepfool(model, images), lambda: plain_deepfool(model, images)

    def stochastic_head() -> Case:
        model = make_classifier("resnet18_cifar", 10, 3, dropout=0.5, image_size=32).eval()
        images = torch.rand(n_images // 2, 3, 32, 32, generator=generator())

        def trunk_once() -> None:
            with torch.no_grad():
                from_logits(model, images, frozenset({"mc_mean", "mc_entropy"}), 20)

        def whole_passes() -> None:
            running = RunningMC({"mc_entropy"})
            with torch.no_grad(), mc_dropout(model):
                for _ in range(20):
                    running.add(model(images).softmax(1))

        return trunk_once, whole_passes

    return {
        f"mc passes {n_images // 2} x 3 x 32 x 32, ResNet-18, K=20": stochastic_head,
        f"bald N={20 * n_mc} C=10 K=20": streamed,
        f"batchbald N={n_mc} C=10 K=40 q=10": lambda: joint(40, 10),
        f"batchbald N={n_mc} C=10 K=100 q=20": lambda: joint(100, 20),
        f"epig N={n_mc} C=10 K=40 T=100": predictive,
        f"fass N={n_pool} D=512 q=100": lambda: embedded("fass", n_pool, True),
        f"similar redundancy N={n_pool} D=512 q=100": lambda: embedded("redundancy", n_pool, small),
        f"similar rare N={n_pool} D=512 q=100": lambda: embedded("rare", n_pool, False),
        f"glister N={n_pool} D=512 V=1000 q=100": lambda: embedded("glister", n_pool, False),
        f"bim {n_images} x 3 x 32 x 32": lambda: attacked("bim"),
        f"deepfool {n_images} x 3 x 32 x 32": lambda: attacked("deepfool"),
    }


def measure(name: str, plain: bool, small: bool) -> None:
    """Run one measurement in this process and print it: seconds, processor seconds, megabytes (or null where there is no peer)."""
    run = cases(small)[name]()[plain]
    if run is None:
        print(json.dumps(None))
        return
    done = measured(run)
    print(json.dumps([done.seconds, done.processor, done.megabytes]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few hundred images: seconds in all")
    parser.add_argument("--only", default="", help="measure the cases whose name contains this")
    parser.add_argument("--ours", action="store_true", help="without the plain algorithms, which take minutes")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a measurement is given up")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(*json.loads(given.measure))
        return
    print(f"{'case':46} {'ours: s':>8} {'cpu s':>7} {'MB':>6}   {'plain: s':>8} {'cpu s':>7} {'MB':>6}   ratio", flush=True)
    for name in (name for name in cases(given.small) if given.only in name):
        row = []
        for plain in (False, True)[: 1 + (not given.ours)]:
            try:
                row.append(in_own_process(__spec__.name, [name, plain, given.small], given.limit))
            except subprocess.TimeoutExpired:
                row.append(None)
        shown = [f"{r[0]:8.2f} {r[1]:7.2f} {r[2]:6.0f}" if r else f"{'-':>8} {'-':>7} {'-':>6}" for r in row]
        shown += [f"{'-':>8} {'-':>7} {'-':>6}"] * given.ours
        row += [None] * given.ours
        ratio = f"{row[1][1] / row[0][1]:.1f}" if all(row) else "-"
        print(f"{name:46} {shown[0]}   {shown[1]}   {ratio:>5}", flush=True)


if __name__ == "__main__":
    main()
