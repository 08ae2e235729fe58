"""Every benchmark of this folder answers to its smallest sizes; what it prints are no measurements."""

import json
from importlib import import_module

import numpy as np
import pytest

from data.files import ROOT
from data.store import Record
from tests.benchmarks import (
    bench_diversity,
    bench_froc,
    bench_growth,
    bench_herding,
    bench_intervals,
    bench_profile,
    bench_scale,
    bench_scoring,
    bench_stopping,
)

NAMES = sorted(file.stem for file in (ROOT / "tests" / "benchmarks").glob("bench_*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_measures(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        import_module(f"tests.benchmarks.{name}").main()
    assert len(capsys.readouterr().out) > 200


def test_scoring_and_its_peer_agree(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noise = [Record(f"{i}.png", rng.integers(256, size=(40, 40, 3)), rng.integers(2, size=(40, 40))) for i in range(4)]
    monkeypatch.setattr(bench_scoring, "default_data_root", lambda: tmp_path)  # without GlaS
    monkeypatch.setattr(bench_scoring, "noise", lambda: noise)
    ours, peer = (bench_scoring.measure_scoring(peer, {"n": 3, "side": 24, "k": 3}) for peer in (False, True))
    np.testing.assert_allclose(ours["scores"], peer["scores"], rtol=1e-4, atol=1e-6)
    asked = (4, 2, 32, str(tmp_path))
    ours, peer = bench_scoring.measure_query("", *asked), bench_scoring.measure_query("loop", *asked)
    assert len(ours["scores"]) == len(peer["scores"]) == 4
    assert min(ours["scores"]) > 0 and np.isfinite(peer["scores"]).all()


def test_sensitivities_agree():
    images = bench_froc.test_set(5, 12, 3)
    for criterion in ("iou", "centre"):
        assert bench_froc.ours(*images, criterion) == pytest.approx(bench_froc.plain(*images, criterion))


@pytest.mark.parametrize("case", bench_diversity.CASES[::-1], ids=lambda case: case[0])
def test_diversity_and_the_plain_algorithms(case):
    name, _, labelled, *_ = case
    given = bench_diversity.evidence(80, max(1, labelled and 10))
    bench_diversity.ours(name, *given, 8)
    getattr(bench_diversity, f"plain_{name}")(*given, 8)


@pytest.mark.parametrize("case", [bench_herding.CASES[i] for i in (0, 1, 2, 3, 6)], ids=lambda case: case[0])
def test_herding(case, tmp_path, capsys):
    name, options, _, beside, *_ = case
    np.savez(tmp_path / "evidence.npz", **bench_herding.given(60, 16))
    for plain in (False, True) if beside else (False,):
        bench_herding.measure(name, options, str(tmp_path / "evidence.npz"), 60, 5, plain, 1)
        assert len(set(json.loads(capsys.readouterr().out)[-1])) == 5


def test_simulations_of_intervals():
    rng = np.random.default_rng(0)
    assert 0 <= bench_intervals.means(6, 5, rng)["mean, normal"] <= 1
    assert 0 <= bench_intervals.saved(6, 30.0, 1, rng) <= 1
    assert bench_stopping.samples(5, 2, rng).startswith("| 5 |")


@pytest.mark.parametrize("name", bench_scale.STRATEGIES[:2])
def test_pools_of_every_size_are_chosen_from(name, tmp_path):
    call = bench_growth.pool_of(name)(40, tmp_path)
    assert len(set(call().tolist())) == 20


def test_queries_and_runs_of_every_size(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["before"])
    bench_growth.query_of(None, 2, 32)(3, tmp_path)()
    assert len(bench_growth.stored_runs("load")(12, tmp_path)()) > 100


def test_exponents_are_those_of_powers():
    sizes = [10, 100, 1000]
    assert bench_growth.exponent(sizes, [2 * n**1.5 for n in sizes], 1e-4) == "1.50 (1.50)"
    assert bench_growth.exponent(sizes, [0.0, 0.0, 0.0], 0.5) == "0.00 (0.00)"


def test_a_profile_accounts_for_all():
    calls = bench_profile.calls_of(bench_profile.SMALL[1], "float32")
    seconds, kinds, operations = bench_profile.shares(list(calls.values())[1])
    assert seconds > 0 and operations
    assert sum(kinds.values()) == pytest.approx(1, abs=0.2)
    assert bench_profile.kind_of("aten::mkldnn_convolution") == "convolution"
    assert bench_profile.kind_of("aten::neg") == bench_profile.REST
    assert json.dumps(kinds)
