"""Time and memory of the free-response curve beside a plain double loop over the detections and lesions of each image.

    python -m tests.benchmarks.bench_froc [--small]

One line per criterion and size of test set: 2,000 images of 50 detections with few lesions (a screening set), and fewer images with many
detections of many cells. Each measurement runs in a process of its own; memory is the rise of its peak over what held the input, and
the time the best of three. No time is asserted; sensitivities that differ between the two end the benchmark with an error.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from experiments.measures.froc import FPS, Detections, Lesions, froc_curve, match, sensitivity_at
from tests.benchmarks.measure import in_own_process, measured

CASES = [(2000, 50, 4), (200, 300, 60)]  # images, detections in each, most lesions in one
SIDE = 512


def test_set(n_images: int, n_found: int, most: int) -> tuple[list[Detections], list[Lesions]]:
    """A third of the detections lie near a lesion, where there is one, the others anywhere; 3 classes."""
    rng = np.random.default_rng(0)
    found, true = [], []
    for _ in range(n_images):
        lesions = boxes(rng, int(rng.integers(0, most + 1)))
        detections, labels = boxes(rng, n_found), rng.integers(0, 3, n_found)
        classes = rng.integers(0, 3, len(lesions))
        if len(lesions):
            near, of = n_found // 3, rng.integers(0, len(lesions), n_found // 3)
            detections[:near] = lesions[of] + rng.uniform(-2, 2, (near, 4)).astype(np.float32)
            labels[:near] = classes[of]
        found.append(Detections(detections, rng.random(n_found).astype(np.float32), labels))
        true.append(Lesions(lesions, classes))
    return found, true


def boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    corners = rng.uniform(0, SIDE - 60, (n, 2))
    return np.c_[corners, corners + rng.uniform(6, 60, (n, 2))].astype(np.float32)


def plain(found: list[Detections], true: list[Lesions], criterion: str) -> list[float]:
    """The same sensitivities, one pair of boxes at a time."""
    events, n_lesions = [], 0
    for detections, lesions in zip(found, true, strict=True):
        rows, others = detections.boxes.tolist(), lesions.boxes.tolist()
        taken: set[int] = set()
        n_lesions += len(others)
        for d in sorted(range(len(rows)), key=lambda d, scores=detections.scores: -scores[d]):
            x1, y1, x2, y2 = rows[d]
            best, largest, second = -1, -1.0, False
            for g, (u1, v1, u2, v2) in enumerate(others):
                if detections.labels[d] != lesions.labels[g]:
                    continue
                shared = max(min(x2, u2) - max(x1, u1), 0) * max(min(y2, v2) - max(y1, v1), 0)
                iou = shared / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared)
                within = u1 <= (x1 + x2) / 2 <= u2 and v1 <= (y1 + y2) / 2 <= v2
                if not (iou >= 0.5 if criterion == "iou" else within):
                    continue
                if g in taken:
                    second = True
                elif iou > largest:
                    best, largest = g, iou
            if best >= 0:
                taken.add(best)
            if best >= 0 or not second:
                events.append((float(detections.scores[d]), best >= 0))
    events.sort(reverse=True)
    best_at, n_false, n_hit = dict.fromkeys(FPS, 0.0), 0, 0
    for i, (score, hit) in enumerate(events):
        n_hit, n_false = n_hit + hit, n_false + (not hit)
        if i + 1 == len(events) or events[i + 1][0] < score:
            for x in FPS:
                if n_false / len(true) <= x:
                    best_at[x] = n_hit / n_lesions
    return list(best_at.values())


def ours(found: list[Detections], true: list[Lesions], criterion: str) -> list[float]:
    return sensitivity_at(froc_curve(match(found, true, criterion))).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the free-response curve beside a plain double loop.")
    parser.add_argument("--small", action="store_true", help="a tenth of the images, in seconds")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        case, criterion, peer = json.loads(given.measure)
        images, run = test_set(*case), plain if peer else ours
        run(*test_set(3, 5, 3), criterion)
        runs = [measured(lambda: run(*images, criterion)) for _ in range(3)]
        print(json.dumps([min(r.seconds for r in runs), min(r.processor for r in runs), runs[0].megabytes, runs[0].result]))
        return
    print(f"{'images':>8}{'boxes':>7}{'lesions':>10}  {'criterion':<10}{'s':>9}{'CPU s':>8}{'MB':>6}{'plain s':>9}{'MB':>6}{'ratio':>8}")
    for n_images, n_found, most in CASES:
        for criterion in ("iou", "centre"):
            case = [n_images // 10 if given.small else n_images, n_found, most]
            fast, slow = (in_own_process(__spec__.name, [case, criterion, peer]) for peer in (False, True))
            line = f"{case[0]:>8}{n_found:>7}{f'0 to {most}':>10}  {criterion:<10}{fast[0]:>9.3f}{fast[1]:>8.3f}{fast[2]:>6.0f}"
            print(f"{line}{slow[0]:>9.2f}{slow[2]:>6.0f}{slow[1] / fast[1]:>8.0f}", flush=True)
            if not np.allclose(fast[3], slow[3]):
                sys.exit(f"the sensitivities differ: {fast[3]} against {slow[3]}")


if __name__ == "__main__":
    main()
