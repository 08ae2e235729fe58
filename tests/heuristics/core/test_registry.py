"""What a heuristic may be called and may ask for."""

from pathlib import Path

import pytest

from heuristics import get, names
from heuristics.__main__ import catalogue
from heuristics.core import registry
from heuristics.core.registry import EVIDENCE, Heuristic, scorer


def test_parameter_names_are_the_request():
    assert get("bald").wants == {"mc_mean", "mc_entropy"}
    assert get("entropy").wants == {"probs"}
    assert get("random").wants == frozenset()
    assert get("bald").per_batch and not get("random").per_batch


def test_only_what_is_asked_for_is_passed():
    seen = {}

    def greedy_reader(probs, n_query, sharpness=2.0):
        seen.update(probs=probs, n_query=n_query, sharpness=sharpness)

    Heuristic("greedy_reader", greedy_reader, True, {"sharpness": 3.0})(probs=1, n_query=2, embeddings=3, targets="secret")
    assert seen == {"probs": 1, "n_query": 2, "sharpness": 3.0}


def test_unknown_names_get_the_nearest_suggestion():
    with pytest.raises(ValueError, match="unknown heuristic 'bold'. Did you mean 'bald'\\? Known: .*entropy"):
        get("bold")
    with pytest.raises(ValueError, match="'bald' has no option 'metric'"):
        get("bald", metric="l2")


def test_a_heuristic_cannot_ask_for_what_does_not_exist():
    with pytest.raises(ValueError, match="unknown evidence 'pool_targets'"):

        @scorer
        def cheat(pool_targets):
            return pool_targets

    with pytest.raises(ValueError, match="unknown evidence 'mc_meen'. Did you mean 'mc_mean'"):

        @scorer
        def misspelt(mc_meen):
            return mc_meen


def test_two_heuristics_cannot_share_a_name():
    def bald(probs):
        return probs

    with pytest.raises(ValueError, match="two heuristics are called 'bald'"):
        scorer(bald)


def test_no_evidence_is_about_labels_of_the_pool():
    assert not [name for name in EVIDENCE if "target" in name and not name.startswith(("labelled_", "validation_"))]


@pytest.mark.parametrize("name", names())
def test_every_heuristic_is_documented(name):
    """One sentence, and the paper or the word 'baseline'."""
    doc = registry.get(name).function.__doc__
    assert doc and doc.strip().splitlines()[0].rstrip()
    assert any(mark in doc for mark in ("et al.", "&", ", 19", ", 20", "(19", "(20", "baseline")), doc


def test_options_are_checked_by_type():
    def sharp(probs, metric="l2", share=0.5):
        return probs

    registry._KNOWN["sharp"] = Heuristic("sharp", sharp, True)
    try:
        assert get("sharp", share=1).arguments == {"share": 1}
        with pytest.raises(ValueError, match="option share='a' of heuristic 'sharp' must be a float, like 0.5"):
            get("sharp", share="a")
        with pytest.raises(ValueError, match="has no option 'metrics'. Did you mean 'metric'"):
            get("sharp", metrics="l2")
    finally:
        del registry._KNOWN["sharp"]


def test_the_readme_shows_the_catalogue_of_the_registry():
    assert catalogue() in (Path(__file__).parent.parent.parent / "README.md").read_text()
