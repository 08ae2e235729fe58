"""Ranges and choices beside parameters, against everything that people type."""

from typing import Annotated

import pytest

from data.limits import Between, Numbers, OneOf, check_options, check_value, options_of
from data.names import Refused

NAN, INF = float("nan"), float("inf")
ODD = [NAN, INF, -INF, 1j, b"1", "1", None, True, [1], (1,), {}, {"a": 1}, Ellipsis]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_what_is_no_number_in_range_is_refused(value):
    for default in (1, 1.0):
        with pytest.raises(Refused, match="^share="):
            check_value("share", value, default, Between(0, 2))


def test_whole_numbers_and_numbers():
    check_value("share", 1, 0.5, Between(0, 1))
    check_value("count", 3, 1, Between(1, 3))
    with pytest.raises(Refused, match=r"count=1.0 must be a whole number, like 1"):
        check_value("count", 1.0, 1, None)
    for outside in (0, 4, -1, 10**30):
        with pytest.raises(Refused, match=f"count={outside} must be between 1 and 3"):
            check_value("count", outside, 1, Between(1, 3))
    with pytest.raises(Refused, match="share=nan must be a number, like 0.5"):
        check_value("share", NAN, 0.5, None)


@pytest.mark.parametrize("value", [0, 1, "True", None, b"", 1.0, []], ids=repr)
def test_only_true_and_false_are_bools(value):
    check_value("flag", False, True, None)
    with pytest.raises(Refused, match="flag=.* must be True or False, like True"):
        check_value("flag", value, True, None)


@pytest.mark.parametrize("value", [1, b"l2", None, ["l2"], True], ids=repr)
def test_text_is_one_of_its_names(value):
    check_value("metric", "l2", "l2", OneOf(("l2", "cosine")))
    with pytest.raises(Refused, match="metric=.* must be text, like 'l2'"):
        check_value("metric", value, "l2", OneOf(("l2", "cosine")))
    with pytest.raises(Refused, match="unknown metric 'cosin'. Did you mean 'cosine'\\? Known: l2, cosine"):
        check_value("metric", "cosin", "l2", OneOf(lambda: ("l2", "cosine")))


@pytest.mark.parametrize("value", [[NAN], [INF], [1j], [True], ["a"], [None], [[1]], [-1], [11], [1, "a"]], ids=repr)
def test_lists_hold_numbers_in_range(value):
    check_value("edges", [0, 2.5, 10], [], Numbers(0, 10))
    with pytest.raises(Refused, match="edges=.* must be a list of numbers between 0 and 10"):
        check_value("edges", value, [], Numbers(0, 10))


@pytest.mark.parametrize("value", ["12", b"12", 1, 2.0, {1: 2}, True, 1j], ids=repr)
def test_what_is_no_list_is_refused(value):
    with pytest.raises(Refused, match="edges=.* must be a list, like"):
        check_value("edges", value, [1], Numbers(0, 10))
    with pytest.raises(Refused, match="edges=.* must be a list$"):
        check_value("edges", value, None, Numbers(0, 10))


def test_lists_of_a_length_rising_or_whole():
    check_value("edges", None, None, Numbers(0, 10))
    check_value("edges", (1, 2), [], Numbers(0, 10, count=2, rising=True, whole=True))
    for value, sentence in (([1], "a list of 2 numbers"), ([1, 2, 3], "a list of 2 numbers")):
        with pytest.raises(Refused, match=sentence):
            check_value("edges", value, [], Numbers(0, 10, count=2))
    for value in ([2, 1], [1, 1]):
        with pytest.raises(Refused, match="a list of rising numbers"):
            check_value("edges", value, [], Numbers(0, 10, rising=True))
    with pytest.raises(Refused, match="a list of whole numbers"):
        check_value("edges", [1.0], [], Numbers(0, 10, whole=True))
    with pytest.raises(Refused, match="edges=None must be a list, like"):
        check_value("edges", None, [], Numbers(0, 10))


def test_dictionaries():
    check_value("chosen", {}, {}, None)
    for value in (None, [], "a", 1):
        with pytest.raises(Refused, match="chosen=.* must be a dictionary"):
            check_value("chosen", value, {}, None)


def test_limits_stand_beside_parameters():
    def probcover(embeddings, delta: Annotated[float, Between(0, 9)] = 0.5, *, name: str = "a", cache=None):
        pass

    assert options_of(probcover, without=["cache"]) == {"delta": (0.5, Between(0, 9)), "name": ("a", None)}
    with pytest.raises(Refused, match="probcover: delta=-1 must be between 0 and 9"):
        check_options("probcover", options_of(probcover), {"delta": -1})
    with pytest.raises(Refused, match="probcover has no option 'dleta'. Did you mean 'delta'\\? Its options: delta"):
        check_options("probcover", options_of(probcover), {"dleta": 1})
    with pytest.raises(Refused, match="kmeans has no option 'delta'. Its options: none"):
        check_options("kmeans", {}, {"delta": 1})
