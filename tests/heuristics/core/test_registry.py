"""What a heuristic may be called and may ask for."""

from typing import Annotated

import pytest

from data.files import ROOT
from data.limits import Between, Numbers, OneOf
from data.names import Refused
from heuristics import get, names
from heuristics.__main__ import catalogue
from heuristics.core import registry
from heuristics.core.registry import EVIDENCE, Heuristic, check_for, scorer


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
        with pytest.raises(ValueError, match="heuristic 'sharp': share='a' must be a number, like 0.5"):
            get("sharp", share="a")
        with pytest.raises(ValueError, match="has no option 'metrics'. Did you mean 'metric'"):
            get("sharp", metrics="l2")
    finally:
        del registry._KNOWN["sharp"]


NONSENSE = [-1, 1e400, float("nan"), "abc", None, True, b"1", 1j, [1], {}]
OPTIONS = [(name, option) for name in names() for option in get(name).options]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_number_and_text_has_a_limit_and_nonsense_is_refused_at_once(name, option):
    default, limit = get(name).options[option]
    if isinstance(default, bool):
        nonsense = [0, 1, "True", None, 1.0]
    else:
        assert isinstance(limit, Between | OneOf | Numbers), f"{option} of {name} has no limit beside it"
        nonsense = [value for value in NONSENSE if not (value is default is None)]
        nonsense = [value for value in nonsense if not (isinstance(limit, Numbers) and value == [1])]
        nonsense += [0.5] if isinstance(default, int) else [[1, "a"]] if isinstance(limit, Numbers) else []
    for value in nonsense:
        with pytest.raises(Refused) as caught:
            get(name, **{option: value})
        sentence = str(caught.value)
        assert sentence.startswith(f"heuristic '{name}': ") and f"{option}" in sentence and repr(value) in sentence
        assert "\n" not in sentence
    bounds = [limit.low, limit.high] if isinstance(limit, Between) else [default]
    for value in bounds:
        assert get(name, **{option: type(default)(value) if default is not None else None}).arguments


def test_options_that_do_not_go_together_are_refused_before_any_training():
    with pytest.raises(Refused, match="mode='ood' needs query_classes, the classes in distribution, like"):
        get("similar", mode="ood")
    with pytest.raises(Refused, match=r"query_classes=\[\] of similar must name at least one class"):
        get("similar", query_classes=[])
    with pytest.raises(Refused, match=r"query_classes=\[1\] of similar means nothing with mode='redundancy'"):
        get("similar", mode="redundancy", query_classes=[1])
    assert get("similar", mode="ood", query_classes=[1]).arguments == {"mode": "ood", "query_classes": [1]}
    assert get("similar", mode="redundancy").arguments == {"mode": "redundancy"}


def test_a_heuristic_may_register_a_check_of_its_options():
    def sharp(probs, low: Annotated[int, Between(0, 9)] = 1, high: Annotated[int, Between(0, 9)] = 2):
        return probs

    @check_for(sharp)
    def rising(low, high):
        if low > high:
            raise Refused(f"low={low} is above high={high}")

    registry._KNOWN["sharp"] = Heuristic("sharp", sharp, True)
    try:
        assert get("sharp", low=2).arguments == {"low": 2}
        with pytest.raises(Refused, match="low=3 is above high=2"):
            get("sharp", low=3)
    finally:
        del registry._KNOWN["sharp"], registry._CHECKS["sharp"]


def test_the_page_of_strategies_shows_the_catalogue_of_the_registry():
    page = (ROOT / "docs" / "strategies.md").read_text()
    shown = page.split("<!-- catalogue -->\n")[1].split("\n<!-- /catalogue -->")[0]
    assert shown == catalogue(), "write the page again: python -m heuristics"


def test_the_catalogue_says_what_each_strategy_is_for():
    lines = dict(line.split(" | ", 2)[:2] for line in catalogue().splitlines()[2:])
    assert len(lines) == len(names())
    assert lines["| `bald`"] == "classes, pixels" and lines["| `badge`"] == lines["| `bim`"] == "classes"
    assert lines["| `box_bald`"] == lines["| `localization_tightness`"] == "boxes"
    assert lines["| `coreset`"] == lines["| `random`"] == "anything"
