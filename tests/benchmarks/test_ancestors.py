"""The plain scripts compute what ours compute, and the benchmark that sets them beside each other still runs."""

import numpy as np
import pytest
import torch

from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from experiments.learning.querying import QueryOptions, query
from experiments.learning.randomness import generator, torch_seeded
from experiments.measures.classification import classification_metrics
from experiments.measures.froc import FPS, Detections, Lesions, froc_curve, match, sensitivity_at
from experiments.measures.segmentation import SegmentationScores
from experiments.segment import SCRIPT
from experiments.tracking.declare import settle
from experiments.tracking.options import SEGMENT
from heuristics import get
from heuristics.core.clustering import Points, frame
from heuristics.detection import localization_tightness
from heuristics.diversity import coreset
from heuristics.gradient import residual
from tests.benchmarks import bench_ancestors
from tests.benchmarks.ancestors import classify, detect, segment
from tests.benchmarks.ancestors.shared import Files, write
from tests.benchmarks.bench_froc import test_set as of_detections
from tests.experiments.runs import DRAWN, undrawn

of_detections.__test__ = False  # pyright: ignore[reportFunctionMemberAccess] - a maker of test sets


@pytest.mark.parametrize("case", ["segment bald", "classify badge", "detect tightness"])
def test_both_sides_run(case, tmp_path, monkeypatch):
    for module, name in DRAWN:
        monkeypatch.setattr(module, name, undrawn)
    bench_ancestors.prepared(case, "tiny", tmp_path / "images")
    script, _, metric = bench_ancestors.CASES[case]
    asked = bench_ancestors.options_of(case, "tiny")
    for side in ("plain", "float32") if script == "classify" else ("plain",):  # tiny runs of all scripts are many
        record = bench_ancestors.run(side, case, "tiny", tmp_path / "images")
        assert set(record["parts"]) == {"train", "query", "test"}
        assert min(record["parts"].values()) > 0
        assert all(0 <= row[metric] <= 1 for row in record["curve"])
        counts = [row["n_labelled"] for row in record["curve"]]
        assert counts == [asked["n_initial"], asked["n_initial"] + asked["n_query"]]
        assert len(set(record["picks"])) == len(record["picks"]) == asked["n_query"]
        row = {
            "case": case,
            "side": side,
            **record["parts"],
            "processor": 9.0,
            "wall": 1.0,
            "megabytes": 1.0,
            "reached": 0.5,
        }
        assert bench_ancestors.line(row, row).startswith(f"| {case} | {side} | 9.0 |")


def test_bald_of_kept_maps_is_that_of_streamed_ones(tmp_path):
    typed = {**bench_ancestors.options_of("segment bald", "tiny"), "precision": "float32", "query_batch_size": 1}
    options = settle(SEGMENT, [], typed)
    write(options, SCRIPT.definition(), tmp_path / "images")
    files, images = Files(tmp_path / "images"), SCRIPT.definition().load(options).part("train")
    task = SCRIPT.definition().make_task(options, images)
    with torch_seeded(0, 0, "weights"):
        model = segment.make_model(options, files)
    with torch.no_grad():  # with batch norm's statistics of these images, so that maps are not all alike
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model.train()(torch.cat([files.tensor("train", i) for i in range(4)]))
    pool, asked = np.arange(4), QueryOptions.of(options)
    evidence = ModelEvidence(task.evidence, model, asked.mc_samples, 1, 1.0, seed=0, cycle=0)
    ours = query(get("bald"), evidence, WithoutTargets(images), pool, asked).scores
    plain = []
    for i in pool.tolist():
        with torch_seeded(0, 0, "query", i):  # the masks that ours draws for batch i
            plain.append(segment.bald(segment.passes(model, files.tensor("train", i), asked.mc_samples)))
    assert min(plain) > 1e-5
    np.testing.assert_allclose(ours, plain, rtol=1e-3)


def test_scores_of_segmentation_agree():
    rng, ours, rows = np.random.default_rng(0), SegmentationScores(min_size=6), []
    for i in range(4):
        coarse = rng.random((8, 9)) < 0.4
        truth = np.kron(coarse, np.ones((5, 5), np.int64))
        objects = truth * (1 + np.arange(45) // 15)
        predicted = np.where(rng.random(truth.shape) < 0.05, 1 - truth, truth) if i else np.zeros_like(truth)
        ours.add(predicted, truth, objects)
        rows.append(segment.measured(predicted, objects, 6))
    found, expected = segment.summary(rows), ours.summary()
    assert found == pytest.approx({name: expected[name] for name in found})
    assert 0 < found["object_f1"] < 1 and 0 < found["object_dice"] < 1


def test_scores_of_classification_agree():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 60)
    probs = torch.from_numpy(rng.normal(size=(60, 3)).round(1) + np.eye(3)[targets]).softmax(1).numpy()
    found, expected = classify.measured(probs, targets), classification_metrics(probs, targets)
    assert found == pytest.approx({name: expected[name] for name in found})


def test_picks_of_the_k_centre_search_are_the_same():
    rows = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    given = {"embeddings": torch.from_numpy(rows[10:]), "labelled_embeddings": torch.from_numpy(rows[:10])}
    ours = coreset(**given, n_query=20, rng=np.random.default_rng(0))
    assert ours.tolist() == classify.coreset(rows[10:], rows[:10], 20)


def test_gradients_of_badge_have_the_same_distances():
    rng = np.random.default_rng(0)
    h, p = (
        torch.from_numpy(rng.normal(size=(30, 6))).float(),
        torch.from_numpy(rng.normal(size=(30, 4))).float().softmax(1),
    )
    points = Points(h, frame(h, metric="dot"), residual(p))
    written = classify.gradients(h.numpy(), p.numpy())
    found = points.squared_distance(slice(None), [3]).numpy()
    expected = ((written - written[3]) ** 2).sum(1)
    np.testing.assert_allclose(found / found.max(), expected / expected.max(), atol=1e-5)
    picks = classify.badge(h.numpy(), p.numpy(), 8, generator(0, 0, "select"))
    assert len(set(picks)) == 8 and picks[0] == int(points.squares.argmax())


def test_tightness_agrees():
    rng = np.random.default_rng(0)
    corners = rng.random((6, 2)) * 20
    boxes = np.c_[corners, corners + 4 + rng.random((6, 2)) * 9]
    proposals, sure = boxes + rng.normal(size=(6, 4)), rng.random(6)
    image = {"boxes": torch.from_numpy(boxes), "confidence": torch.from_numpy(sure)}
    (ours,) = localization_tightness([image], [torch.from_numpy(proposals)])
    plain = detect.tightness(boxes.tolist(), proposals.tolist(), sure.tolist())
    assert plain == pytest.approx(float(ours.max()), abs=1e-6)


def test_sensitivities_agree():
    found, true = of_detections(12, 20, 5)
    ours = sensitivity_at(froc_curve(match(found, true)))
    as_lists = [list(zip(d.boxes.tolist(), d.scores.tolist(), d.labels.tolist(), strict=True)) for d in found]
    lesions = [np.c_[t.boxes, t.labels].tolist() for t in true]
    plain = detect.sensitivities(as_lists, lesions)
    assert isinstance(found[0], Detections) and isinstance(true[0], Lesions)
    assert [plain[f"froc_at_{x:g}"] for x in FPS] == pytest.approx(ours.tolist())
    assert plain["froc"] == pytest.approx(ours.mean())
