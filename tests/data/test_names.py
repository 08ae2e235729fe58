"""Names that people type."""

import pytest

from data.names import Missing, NotFinite, Refused, Unreachable, require_one_of, suggestion


def test_the_nearest_name_is_suggested_and_nothing_where_none_is_near():
    assert suggestion("bold", ["bald", "badge"]) == " Did you mean 'bald'?"
    assert suggestion("xyz", ["bald", "badge"]) == suggestion("bald", []) == ""
    assert suggestion(12, [128, 7]) == " Did you mean '128'?"
    assert suggestion("HEURISTIC", ["heuristic"]) == " Did you mean 'heuristic'?"
    assert suggestion("long" * 10**4, ["heuristic"]) == ""


def test_an_unknown_name_is_refused_with_all_that_are_known():
    require_one_of("size", 28, (28, 64))
    with pytest.raises(Refused, match=r"^unknown heuristic 'bold'\. Did you mean 'bald'\? Known: bald, badge$"):
        require_one_of("heuristic", "bold", iter(["bald", "badge"]))
    with pytest.raises(Refused, match=r"^line 2 of t\.csv: unknown label 'c'\. Known: a, b$"):
        require_one_of("label", "c", "ab", "line 2 of t.csv")
    for odd in (None, 1j, b"bald", ["bald"], {}):
        with pytest.raises(Refused, match="unknown heuristic"):
            require_one_of("heuristic", odd, ["bald"])


@pytest.mark.parametrize(
    ("kind", "builtin"), [(Missing, FileNotFoundError), (NotFinite, FloatingPointError), (Unreachable, ConnectionError)]
)
def test_every_kind_of_refusal_is_one_and_what_python_calls_it(kind, builtin):
    assert issubclass(kind, Refused) and issubclass(kind, builtin) and issubclass(kind, ValueError)
    assert str(kind("no such file")) == "no such file"


def test_a_sentence_can_be_read_whatever_it_quotes():
    quoted = str(Refused(f"x={'9' * 5000} must be between 0 and 1"))
    assert len(quoted) < 200 and quoted.startswith("x=999") and quoted.endswith("999 must be between 0 and 1")
    many = str(Refused(f"sides={[-1.0] * 3000} must be a list of numbers between 1 and 10"))
    assert len(many) <= 2000 and many.startswith("sides=[-1.0") and many.endswith("numbers between 1 and 10")
    assert str(Refused("a\x1b[31mb\u202ec\nd\udce9")) == "a\\x1b[31mb\\u202ec\nd\\udce9"
    path = "/" + "a folder with a long name/" * 20
    assert str(Refused(f"{path} does not exist")) == f"{path} does not exist"
