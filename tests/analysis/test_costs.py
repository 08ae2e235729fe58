"""What labels cost."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis.costs import annotation_cost, costs_of, over_cost, read_costs
from analysis.curves import areas, aubc, curves_of
from analysis.runs import load, load_picks
from analysis.summary import main
from data import notes
from tests.analysis.stored_runs import store
from tests.analysis.test_savings import table

TWO = (2, 3)
PICKS = [("initial", 0, "a.png"), ("initial", 1, "b, c.png"), (0, 2, "d.png")]


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "resume").mkdir()
    store(tmp_path, 1, "random", 0, [0.5, 0.7], TWO, picks=PICKS)
    store(tmp_path, 2, "bald", 0, [0.5, 0.9], TWO, picks=[*PICKS[:2], (0, 5, "e.png")])
    return tmp_path


@pytest.fixture
def prices(tmp_path):
    file = tmp_path / "prices.csv"
    file.write_text('file,cost\na.png,1\n"b, c.png",2.5\nd.png,10\ne.png,2.5\n')
    return file


def test_costs_by_hand(runs, prices):
    frame, picks = load(runs), load_picks(runs)
    costs = costs_of(frame, picks, read_costs(prices))
    assert costs["random"].loc[0].tolist() == [3.5, 13.5] and costs["bald"].loc[0].tolist() == [3.5, 6.0]
    over = over_cost(curves_of(frame, "dice"), costs)  # 3.5 to 6: all of bald's way, a quarter of random's
    assert over["bald"].iloc[0, -1] == pytest.approx(0.9) and over["random"].iloc[0, -1] == pytest.approx(0.55)


def test_the_command_compares_over_costs(runs, prices, monkeypatch, capsys, tmp_path):
    words = ["summary", str(runs), "--costs", str(prices), "--out", str(tmp_path / "costs.png")]
    monkeypatch.setattr("sys.argv", words)
    main()
    head, _, *rows = capsys.readouterr().out.splitlines()
    cells = head.strip("| ").split(" | ")
    assert cells[2] == "3.5" and cells[-2:] == ["6", "area"] and len(cells) < 12
    assert rows[0].startswith("| `bald` | 1 | 0.500 |") and rows[0].endswith("| 0.900 | 0.700 |")
    assert rows[1].startswith("| `random` | 1 | 0.500 |") and rows[1].endswith("| 0.550 | 0.525 |")
    assert (tmp_path / "costs.png").exists()


@pytest.mark.parametrize("text", ["\ufefffile,cost\na.png,1\n", " File ; Cost\n\n a.png ; 1 \n;\n", "file\tcost\na.png\t1"])
def test_tables_of_other_programs(prices, text):
    prices.write_text(text, encoding="utf-8")
    with notes.collecting():
        assert read_costs(prices) == {"a.png": 1.0}
    prices.write_text(text, encoding="utf-16")
    with notes.collecting():
        assert read_costs(prices) == {"a.png": 1.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,cost\n", "has a header (image,cost) but no row"),
        ("scan,cost\na.png,1\n", "has no column 'file', only scan, cost"),
        ("file,cost\na.png,1\na.png,2\n", "line 3: 'a.png' has a cost already, expected every file once"),
        ("file,cost\na.png,1\n\nb, c.png,1\n", "line 4 has 3 cells, but the header has 2"),
        ("file,cost\na.png,much\n", "line 2: the cost of a.png is 'much', expected a number >= 0"),
        ("file,cost\na.png,-1\n", "the cost of a.png is '-1'"),
        ("file,cost\na.png,nan\n", "the cost of a.png is 'nan'"),
        (
            "file,cost\na.png,1\nb c.png,1\n",
            "no cost is given for 'b, c.png', which run 1 labelled. Did you mean 'b c.png'?",
        ),
    ],
)
def test_what_is_refused(runs, prices, text, said):
    prices.write_text(text)
    with pytest.raises(ValueError) as refused:
        costs_of(load(runs), load_picks(runs), read_costs(prices))
    assert said in str(refused.value)


def test_a_run_without_picks_is_named(runs, prices):
    with pytest.raises(ValueError, match="run 2 has no record of its picks"):
        costs_of(load(runs), pd.DataFrame(load_picks(runs).query("run_id == 1")), read_costs(prices))


def test_cost_instead_of_counts():
    cost = annotation_cost(np.array([3, 0, 1, 2]), np.array([1.0, 10.0, 100.0, 0.5]), [0, 1, 3])
    assert cost.tolist() == [0, 0.5, 11.5]
    with pytest.raises(ValueError, match="a budget of 5 labels needs as many picks, but the run has 4"):
        annotation_cost(np.array([3, 0, 1, 2]), np.ones(4), [2, 5])
    study = {"a": table([[0, 0.2, 0.4], [0, 0.4, 0.8]])}
    costs = {"a": table([[0, 1, 5], [1, 3, 4]])}
    paid = over_cost(study, costs, n_points=4)["a"]
    assert paid.columns.tolist() == [1, 2, 3, 4]
    assert paid.to_numpy() == pytest.approx(np.array([[0.2, 0.25, 0.3, 0.35], [0, 0.2, 0.4, 0.8]]))
    again = over_cost(study, {"a": costs["a"].iloc[::-1]}, n_points=4)["a"]
    assert again.equals(paid)  # by run, not by place
    with pytest.raises(
        ValueError, match="costs must rise from budget to budget, but those of a run 1 do not: 40 follows 50"
    ):
        over_cost(study, {"a": table([[0, 1, 5], [0, 50, 40]])})
    with pytest.raises(ValueError, match="those of a run 0 do not: nan follows 0"):
        over_cost(study, {"a": table([[0, np.nan, 5], [0, 1, 5]])})
    steep, paid = {"a": table([[0, 0.9, 1.0]])}, {"a": table([[0, 1, 100]])}
    assert areas(over_cost(steep, paid))["a"].tolist() == pytest.approx([aubc([0, 1, 100], [0, 0.9, 1.0])], abs=2e-3)
    with pytest.raises(ValueError, match="no range of costs is common"):
        over_cost(study, {"a": table([[0, 1, 2], [3, 4, 5]])})


def test_a_run_of_whole_volumes_pays_for_what_it_bought(tmp_path, prices):
    """n_initial=4, n_query=4, 3 and 7 labels spent: each value stays beside what it cost, on the way from 3 to 7."""
    picks = [("initial", i, name) for i, name in enumerate(["a.png", "a.png", "a.png"])] + [(0, 3, "d.png")] * 4
    folder = store(tmp_path / "runs", 1, "random", 0, [0.5, 0.7], (3, 7), picks=picks, unit="volume")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_initial": 4}))
    frame = load(tmp_path / "runs")
    costs = costs_of(frame, load_picks(tmp_path / "runs"), read_costs(prices))["random"].loc[0]
    assert costs.index.tolist() == [4, 8] and costs.tolist() == [3 + 40 / 4, 43]
    assert curves_of(frame, "dice")["random"].loc[0].tolist() == pytest.approx([0.5 + 0.2 / 4, 0.7])
