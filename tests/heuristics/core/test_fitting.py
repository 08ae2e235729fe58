"""What a task gives against what a strategy wants."""

import pytest

from data.names import Refused
from heuristics import get, names
from heuristics.core.fitting import (
    EMBEDDINGS,
    IN_WORDS,
    OF_BOXES,
    OF_IMAGES,
    OF_MAPS,
    OF_PROPOSALS,
    Gives,
    fitting,
    of_what,
)
from heuristics.core.fitting import require_given as require
from heuristics.core.registry import EVIDENCE

CLASSIFIER = Gives("a classifier", OF_IMAGES, OF_IMAGES)
SEGMENTER = Gives("a segmenter", OF_MAPS, EMBEDDINGS)
TWO_STAGES = Gives("fasterrcnn_small", OF_BOXES | EMBEDDINGS, EMBEDDINGS)
ONE_STAGE = Gives("fcos_resnet50", (OF_BOXES - OF_PROPOSALS) | EMBEDDINGS, EMBEDDINGS)


def test_evidence_is_of_images_or_of_boxes():
    assert set(EVIDENCE) == OF_BOXES | OF_IMAGES and not OF_BOXES & OF_IMAGES
    assert {name for name in EVIDENCE if name.endswith("detections")} | {"proposals"} == OF_BOXES
    assert EMBEDDINGS < OF_MAPS < OF_IMAGES and OF_PROPOSALS < OF_BOXES


@pytest.mark.parametrize("gives", [CLASSIFIER, SEGMENTER, TWO_STAGES, ONE_STAGE], ids=lambda gives: gives.what)
def test_every_strategy_fits_or_is_refused_with_those_that_fit(gives):
    fit = fitting(gives)
    assert set(fit) < set(names()) and fit == sorted(fit) and "random" in fit and "coreset" in fit
    for name in names():
        lacking = gives.lacks(get(name))
        assert bool(lacking) == (name not in fit)
        if not lacking:
            require(get(name), gives)
            continue
        with pytest.raises(Refused) as caught:
            require(get(name), gives)
        sentence = str(caught.value)
        needs = ", ".join(IN_WORDS.get(evidence, evidence) for evidence in sorted(lacking))
        assert sentence.startswith(f"heuristic {name!r} needs {needs}, which {gives.what} does not give")
        assert sentence.endswith(f"Those that fit: {', '.join(fit)}")


def test_what_a_strategy_is_for_agrees_with_what_fits():
    fit = {gives.what: set(fitting(gives)) for gives in (CLASSIFIER, SEGMENTER, TWO_STAGES)}
    for name in names():
        kind = of_what(get(name))
        assert (kind != "boxes") == (name in fit["a classifier"])
        assert (kind in ("classes, pixels", "anything")) == (name in fit["a segmenter"])
        assert (kind in ("boxes", "anything")) == (name in fit["fasterrcnn_small"])


def test_a_detector_in_one_stage_has_neither_proposals_nor_passes():
    gone = set(fitting(TWO_STAGES)) - set(fitting(ONE_STAGE))
    assert gone == {"localization_tightness", "box_bald", "mc_localization"}
    with pytest.raises(Refused, match="'localization_tightness' needs region proposals, which fcos_resnet50 does not give"):
        require(get("localization_tightness"), ONE_STAGE)
    with pytest.raises(Refused, match="to strategies that see the whole pool. "):
        require(get("badge"), SEGMENTER)
