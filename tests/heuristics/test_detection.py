"""Scores of boxes against hand-computed values and the definitions written out box by box in plain Python."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from heuristics import get
from heuristics.core.aggregating import over_boxes
from heuristics.detection import iou
from models.detecting import distribution

PLAIN = ["prediction_uncertainty", "box_entropy", "box_margin", "localization_tightness"]
OF_BOXES = [*PLAIN, "localization_stability", "mc_localization", "box_bald"]
NAMES = [*OF_BOXES, "consistency"]
EVIDENCE = ["detections", "noisy_detections", "augmented_detections", "mc_detections"]


def image(boxes, probs, proposals=None, mc_boxes=None, mc_probs=None):
    """Detections of one image from lists."""
    boxes, probs = torch.tensor(boxes).float(), torch.tensor(probs).float()
    found = {"boxes": boxes, "probs": probs, "labels": probs[:, 1:].argmax(1)}
    found |= dict.fromkeys(("scores", "confidence"), probs[:, 1:].amax(1))
    found["proposals"] = boxes if proposals is None else torch.tensor(proposals).float()
    found |= {} if mc_boxes is None else {"mc_boxes": torch.tensor(mc_boxes).float(), "mc_probs": torch.tensor(mc_probs).float()}
    return found


def without_boxes(found):
    return {key: value[:0] for key, value in found.items()}


def random_boxes(rng, *shape):
    corner, sides = rng.uniform(0, 60, (*shape, 2)), rng.uniform(1, 40, (*shape, 2))
    return torch.from_numpy(np.concatenate([corner, corner + sides], -1)).float()


def random_image(rng, m, c=2, k=0):
    """M boxes, sorted by score, with C foreground classes and K stochastic passes."""
    probs = torch.from_numpy(rng.dirichlet([0.5] * (c + 1), m)).float().reshape(m, c + 1)
    scores, labels = probs[:, 1:].max(1)
    order = scores.argsort(descending=True)
    found = {"boxes": random_boxes(rng, m), "probs": probs[order], "scores": scores[order], "labels": labels[order]}
    found |= {"proposals": random_boxes(rng, m), "confidence": scores[order]}
    if k:
        found["mc_boxes"] = random_boxes(rng, m, k)
        found["mc_probs"] = torch.from_numpy(rng.dirichlet([0.5] * (c + 1), (m, k))).float().reshape(m, k, c + 1)
    return found


def random_evidence(seed, sizes, n_copies=3, c=2, k=4):
    """All evidence of a batch of images with `sizes` boxes; copies have other numbers of boxes, some none."""
    rng = np.random.default_rng(seed)
    copies = [[[random_image(rng, int(rng.integers(0, 5)), c) for _ in range(n_copies)] for _ in sizes] for _ in range(2)]
    plain, stochastic = [random_image(rng, m, c) for m in sizes], [random_image(rng, m, c, k) for m in sizes]
    return with_proposals(dict(zip(EVIDENCE, (plain, *copies, stochastic), strict=True)))


def with_proposals(evidence):
    """The evidence with the regions that the boxes were regressed from, which is asked for by a name of its own."""
    return evidence | {"proposals": [found["proposals"] for found in evidence["detections"]]}


def slow_iou(a, b):
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0


def slow_entropy(p):
    return -sum(x * math.log(x) for x in p if x > 0)


def best(box, others):
    """Position and IoU of the counterpart: the first of the highest."""
    overlaps = [slow_iou(box, other) for other in others]
    return max(range(len(others)), key=lambda i: (overlaps[i], -i)), max(overlaps)


def slow_scores(name, i, evidence, weighted=True):
    """The scores of image i by the definition."""
    source = "mc_detections" if name in ("mc_localization", "box_bald") else "detections"
    found = {key: value.double().tolist() for key, value in evidence[source][i].items()}
    scores = []
    for m, (box, probs) in enumerate(zip(found["boxes"], found["probs"], strict=True)):
        highest = max(probs[1:])
        if name == "prediction_uncertainty":
            scores.append(1 - highest)
        elif name == "box_entropy":
            scores.append(slow_entropy(probs))
        elif name == "box_margin":
            first, second = sorted(probs)[:-3:-1]
            scores.append(1 - (first - second))
        elif name == "localization_tightness":
            scores.append(1 - abs(slow_iou(found["proposals"][m], box) + highest - 1))
        elif name == "localization_stability":
            levels = [level["boxes"].double().tolist() for level in evidence["noisy_detections"][i]]
            stable = sum(best(box, others)[1] for others in levels if others) / len(levels)
            weight = highest * len(found["boxes"]) / sum(max(p[1:]) for p in found["probs"]) if weighted else 1
            scores.append(weight * (1 - stable))
        elif name == "mc_localization":
            passes = found["mc_boxes"][m]
            middle = [sum(b[side] for b in passes) / len(passes) for side in range(4)]
            scores.append(1 - sum(slow_iou(b, middle) for b in passes) / len(passes))
        elif name == "box_bald":
            passes = found["mc_probs"][m]
            middle = [sum(p[c] for p in passes) / len(passes) for c in range(len(probs))]
            scores.append(slow_entropy(middle) - sum(map(slow_entropy, passes)) / len(passes))
    return scores


def slow_cald(found, copies, beta=1.3, empty=0.0):
    """CALD's consistency of one image, lower = label first, as its authors have it: boxes within a copy, then copies."""
    if len(found["boxes"]) == 0:
        return empty
    of_copies = []
    for copy in copies:
        least = 1.0 if len(copy["boxes"]) else empty
        for m in range(len(found["boxes"]) if len(copy["boxes"]) else 0):
            position, overlap = best(found["boxes"][m].double().tolist(), copy["boxes"].double().tolist())
            p, q = found["probs"][m].double().numpy(), copy["probs"][position].double().numpy()
            divergence = jensenshannon(p, q) ** 2
            sure = (found["confidence"][m].item() + copy["confidence"][position].item()) / 2
            least = min(least, abs(overlap + sure * (1 - divergence) - beta))
        of_copies.append(least)
    return np.mean(of_copies)


@pytest.mark.parametrize("name", OF_BOXES)
@pytest.mark.parametrize(("seed", "sizes", "c"), [(0, [3, 0, 1], 2), (1, [12, 7], 1), (2, [0], 3), (3, [1, 30], 5)])
def test_scores_are_those_of_the_definition(name, seed, sizes, c):
    """Images with no box, one box and many, one foreground class and several."""
    evidence = random_evidence(seed, sizes, c=c)
    scores = get(name)(**evidence)
    assert [s.shape for s in scores] == [(m,) for m in sizes]
    for i, score in enumerate(scores):
        np.testing.assert_allclose(score, np.array(slow_scores(name, i, evidence)), atol=2e-6)


def test_options_are_those_of_the_definition():
    evidence = random_evidence(4, [6, 2])
    for i in range(2):
        plain = get("localization_stability", weighted=False)(**evidence)[i]
        np.testing.assert_allclose(plain, slow_scores("localization_stability", i, evidence, weighted=False), atol=2e-6)


@pytest.mark.parametrize(("empty", "distance"), [("inconsistent", 0.0), ("consistent", 1.0)])
@pytest.mark.parametrize("beta", [0, 0.4, 1.3, 2.0])
def test_consistency_is_that_of_the_authors_code(beta, empty, distance):
    """A fifth of the copies and some images without boxes; one foreground class and several."""
    for c in (1, 4):
        evidence = random_evidence(11, [0, 1, 9, 3, 0, 2] * 6, c=c)
        assert 10 < sum(not len(copy["boxes"]) for copies in evidence["augmented_detections"] for copy in copies) < 40
        scores = get("consistency", beta=beta, empty=empty)(**evidence)
        pairs = zip(evidence["detections"], evidence["augmented_detections"], strict=True)
        expected = [1 - slow_cald(found, copies, beta, distance) for found, copies in pairs]
        np.testing.assert_allclose(scores, expected, atol=2e-6)


@given(st.integers(0, 2**16), st.lists(st.integers(0, 6), min_size=1, max_size=3), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_range_and_order_of_boxes(seed, sizes, c):
    """Scores lie in their documented range, and boxes do not depend on their order or on the other images."""
    evidence = random_evidence(seed, sizes, c=c)
    highest = dict.fromkeys(NAMES, 1.0) | {"box_entropy": math.log(c + 1), "box_bald": math.log(c + 1)}
    flipped = {
        name: [{key: value.flip(0) for key, value in found.items()} for found in evidence[name]]
        for name in ("detections", "mc_detections")
    }
    shuffled = with_proposals(evidence | flipped)
    for name in NAMES:
        scores, turned = get(name)(**evidence), get(name)(**shuffled)
        alone = get(name)(**{key: value[-1:] for key, value in evidence.items()})
        assert torch.equal(alone[0], scores[-1])
        for score, flipped in zip(scores, turned, strict=True):
            limit = len(score) if name == "localization_stability" else highest[name]
            assert (score >= 0).all() and (score <= limit + 1e-5).all(), name
            torch.testing.assert_close(score, flipped.flip(0) if flipped.ndim else flipped, msg=name)


def test_hand_computed_scores_of_classes():
    found = [image([[0, 0, 1, 1]] * 3, [[0.1, 0.7, 0.2], [0.6, 0.4, 0.0], [0.95, 0.05, 0.0]])]
    assert get("prediction_uncertainty")(detections=found)[0].tolist() == pytest.approx([0.3, 0.6, 0.95])
    assert get("box_margin")(detections=found)[0].tolist() == pytest.approx([0.5, 0.8, 0.1])
    expected = [-(0.1 * np.log(0.1) + 0.7 * np.log(0.7) + 0.2 * np.log(0.2)), -(0.6 * np.log(0.6) + 0.4 * np.log(0.4))]
    assert get("box_entropy")(detections=found)[0][:2].tolist() == pytest.approx(expected)
    certain = [image([[0, 0, 1, 1]] * 2, [[0, 1, 0], [1, 0, 0]])]
    assert get("box_entropy")(detections=certain)[0].tolist() == [0, 0]
    assert get("box_margin")(detections=certain)[0].tolist() == [0, 0]
    assert get("prediction_uncertainty")(detections=certain)[0].tolist() == [0, 1]


def test_tightness_is_highest_where_place_and_class_disagree():
    """Box = proposal or beside it, sure or not: J is 1 where both are high or both low, 0 where one is."""
    box, far, half = [0, 0, 4, 4], [8, 8, 12, 12], [0, 0, 4, 8]
    found = [image([box] * 5, [[0, 1], [1, 0], [0, 1], [1, 0], [0.25, 0.75]], [box, box, far, far, half])]
    assert get("localization_tightness")(detections=found, proposals=[found[0]["proposals"]])[0].tolist() == pytest.approx([0, 1, 1, 0, 0.75])


def test_stability_averages_the_best_overlap_over_noise_levels():
    found = [image([[0, 0, 4, 4], [20, 20, 24, 24]], [[0.2, 0.8], [0.6, 0.4]])]
    still = image([[20, 20, 24, 24], [0, 0, 4, 4]], [[0, 1]] * 2)
    moved = image([[0, 0, 4, 8], [20, 20, 24, 24]], [[0, 1]] * 2)
    levels = [[still, moved, without_boxes(still), still]]
    plain = get("localization_stability", weighted=False)(detections=found, noisy_detections=levels)[0]
    assert plain.tolist() == pytest.approx([1 - 2.5 / 4, 1 - 3 / 4])
    weighted = get("localization_stability")(detections=found, noisy_detections=levels)
    assert weighted[0].tolist() == pytest.approx([(1 - 2.5 / 4) * 0.8 * 2 / 1.2, (1 - 3 / 4) * 0.4 * 2 / 1.2])
    published = (0.8 * 2.5 / 4 + 0.4 * 3 / 4) / 1.2  # S_I
    assert over_boxes("mean", weighted).tolist() == pytest.approx([1 - published])


def test_mean_of_the_weighted_stability_is_that_of_the_paper():
    evidence = random_evidence(5, [9, 1])
    for i, image_score in enumerate(over_boxes("mean", get("localization_stability")(**evidence))):
        instable = slow_scores("localization_stability", i, evidence, weighted=False)
        sure = evidence["detections"][i]["probs"][:, 1:].amax(1).tolist()
        published = sum(p * (1 - s) for p, s in zip(sure, instable, strict=True)) / sum(sure)
        assert image_score.item() == pytest.approx(1 - published, abs=1e-6)


def test_mc_localization_is_the_spread_about_the_mean_box():
    probs = [[[0.5, 0.5]] * 2] * 3
    passes = [[[0, 0, 4, 4], [0, 0, 4, 4]], [[0, 0, 2, 2], [2, 0, 4, 2]], [[3, 3, 3, 3], [3, 3, 3, 3]]]
    found = [image([[0, 0, 4, 4]] * 3, [[0.5, 0.5]] * 3, mc_boxes=passes, mc_probs=probs)]
    # Equal boxes; boxes side by side, whose mean box [1, 0, 3, 2] shares half of each: IoU 2 / 6; boxes without area overlap nothing.
    assert get("mc_localization")(mc_detections=found)[0].tolist() == pytest.approx([0, 2 / 3, 1])


def test_bald_of_opposed_and_of_agreeing_passes():
    passes = [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]]
    boxes = [[[0, 0, 1, 1]] * 2] * 2
    found = [image([[0, 0, 1, 1]] * 2, [[0.5, 0.5]] * 2, mc_boxes=boxes, mc_probs=passes)]
    assert get("box_bald")(mc_detections=found)[0].tolist() == pytest.approx([math.log(2), 0])


def test_consistency_of_hand_made_counterparts():
    """m is 2 for a sure box found again, 1 + P for an unsure one, and the agreement in class alone where none overlaps."""
    box, away = [0, 0, 4, 4], [9, 9, 10, 10]
    nothing = without_boxes(image([box], [[0, 1, 0]]))
    cases = [
        (image([box], [[0, 1, 0]]), 2.0),
        (image([box], [[0, 0, 1]]), 1 + 1 - math.log(2)),  # JS of opposed classes is log 2
        (image([[0, 0, 4, 8]], [[0, 1, 0]]), 1.5),
        (image([away], [[0, 1, 0]]), 1.0),
        (image([away], [[0, 0, 1]]), 1 - math.log(2)),
        (image([away, box], [[0, 0, 1], [0, 1, 0]]), 2.0),
        (image([box, box], [[0, 0, 1], [0, 1, 0]]), 2 - math.log(2)),  # of equal overlaps the first, the surest
    ]
    found = [image([box], [[0, 1, 0]])]

    def score(found, *copies, **options):
        return get("consistency", **options)(detections=found, augmented_detections=[list(copies)]).tolist()

    for copy, m in cases:
        assert score(found, copy) == pytest.approx([1 - abs(m - 1.3)], abs=1e-6)
    unsure = [image([box], [[0.7, 0.3, 0.0]])]
    assert score(unsure, unsure[0]) == pytest.approx([1.0])
    assert score(found, cases[0][0], beta=0.5) == [0]  # a distance of 1.5 counts as 1
    # The least distance of both boxes, then the mean of both copies.
    two = [image([box, [20, 20, 24, 24]], [[0, 1, 0]] * 2)]
    found_again, moved = image([box], [[0, 1, 0]]), image([[20, 20, 24, 28]], [[0, 1, 0]])
    assert score(two, found_again, moved) == pytest.approx([1 - (0.3 + 0.2) / 2], abs=1e-6)
    assert score(found, cases[0][0], nothing) == pytest.approx([1 - (0.7 + 0) / 2], abs=1e-6)
    assert score(found, cases[0][0], nothing, empty="consistent") == pytest.approx([1 - (0.7 + 1) / 2], abs=1e-6)
    assert score([nothing], cases[0][0]) == [1] and score([nothing], cases[0][0], empty="consistent") == [0]


def test_uncertainty_of_independent_scores_is_the_networks():
    """Scores (.6, .59) are as sure as .6, whatever distribution is made of them."""
    probs = distribution(torch.tensor([[0.6, 0.59, 0.0]]))
    found = image([[0, 0, 4, 4]], probs.tolist()) | {"scores": torch.tensor([0.6]), "confidence": torch.tensor([0.6])}
    assert get("prediction_uncertainty")(detections=[found])[0].tolist() == pytest.approx([0.4])
    assert get("consistency")(detections=[found], augmented_detections=[[found]]).tolist() == pytest.approx([1 - 0.3])


def test_all_background_and_ties_are_finite_and_equal():
    """Boxes of which the network is sure that they are nothing; all alike, so that no box can come before another."""
    nothing = image([[0, 0, 4, 4]] * 3, [[1.0, 0.0]] * 3, mc_boxes=[[[0, 0, 4, 4]] * 2] * 3, mc_probs=[[[1.0, 0.0]] * 2] * 3)
    copies = {"noisy_detections": [[nothing]], "augmented_detections": [[nothing]]}
    evidence = with_proposals({"detections": [nothing], "mc_detections": [nothing], **copies})
    expected = dict.fromkeys(OF_BOXES, 0.0) | {"prediction_uncertainty": 1, "localization_tightness": 1}
    for name in OF_BOXES:
        assert get(name)(**evidence)[0].tolist() == pytest.approx([expected[name]] * 3), name
    assert get("consistency")(**evidence).tolist() == pytest.approx([1 - 0.3])
    gone = get("localization_stability")(detections=[nothing], noisy_detections=[[random_image(np.random.default_rng(0), 0, 1)]])
    assert gone[0].tolist() == [1, 1, 1]  # no class to weigh by: every box counts alike


def test_empty_images_score_last():
    evidence = random_evidence(6, [0, 4])
    for name in OF_BOXES:
        scores = get(name)(**evidence)
        for aggregate in ("max", "mean", "min", "sum"):
            empty, full = over_boxes(aggregate, scores).tolist()
            assert empty == 0 <= full, name


def test_numbers_that_are_not_finite_are_not_hidden():
    """The loop stops at a score that is not finite and names the image; a heuristic must not turn it into a number."""
    evidence, broken = (random_evidence(7, [3]) for _ in range(2))
    for found_in in (evidence, broken):
        found_in["noisy_detections"] = found_in["augmented_detections"] = [evidence["detections"]]
    for found in (broken["detections"][0], broken["mc_detections"][0]):
        for key in ("boxes", "probs", "confidence", "mc_boxes", "mc_probs"):
            if key in found:
                found[key] = torch.full_like(found[key], torch.nan)
    for name in NAMES:
        assert get(name)(**evidence)[0].isfinite().all() and get(name)(**broken)[0].isnan().all(), name


def test_iou_is_that_of_torchvision_with_broadcasting():
    from torchvision.ops import box_iou

    rng = np.random.default_rng(8)
    a, b = random_boxes(rng, 20), random_boxes(rng, 30)
    torch.testing.assert_close(iou(a[:, None], b), box_iou(a, b))
    assert iou(a[0], a[0]).item() == 1 and iou(torch.tensor([[1.0, 1, 1, 5]]), torch.tensor([[0.0, 0, 9, 9]])).item() == 0


def test_misuse_is_refused():
    evidence = random_evidence(9, [2], n_copies=0)
    with pytest.raises(ValueError, match="heuristic 'consistency': beta=2.5 must be between 0 and 2"):
        get("consistency", beta=2.5)(**evidence)
    with pytest.raises(ValueError, match="heuristic 'consistency': unknown empty 'consistant'. Did you mean 'consistent'"):
        get("consistency", empty="consistant")(**evidence)
    with pytest.raises(ValueError, match="at least one changed copy"):
        get("consistency")(**evidence)
    with pytest.raises(ValueError, match="at least one level of noise"):
        get("localization_stability")(**evidence)


def test_only_what_a_score_needs_is_asked_for():
    wants = {name: get(name).wants for name in NAMES}
    assert all(wants[name] == {"detections"} for name in PLAIN if name != "localization_tightness")
    assert wants["localization_tightness"] == {"detections", "proposals"}
    assert wants["mc_localization"] == wants["box_bald"] == {"mc_detections"}
    assert wants["localization_stability"] == {"detections", "noisy_detections"}
    assert wants["consistency"] == {"detections", "augmented_detections"}
    assert all(get(name).per_batch for name in NAMES)
