"""Grids: what the words expand to, what is refused, and what is printed and returned in the end."""

import json
import os
import pickle
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import experiments.segment as segment
from data.names import Refused
from experiments import grid
from experiments.grids.examining import examine
from experiments.grids.jobs import Job, Outcome
from experiments.grids.words import expand, split_values, values_of
from experiments.tracking.checkpoints import Checkpoint
from tests.experiments.runs import ROOT, run_in_process, status_of

TINY = {"dataset_options.n_pool": 14, "dataset_options.n_test": 4, "steps": 3, "n_cycles": 1}
TINY_WORDS = ("tiny", *(f"{name}={value}" for name, value in TINY.items()))


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("glas_quick", ["glas_quick"]),
        ("run=3", ["run=3"]),
        ("run=0..2", ["run=0", "run=1", "run=2"]),
        ("run=-1..1", ["run=-1", "run=0", "run=1"]),
        ("run=0..1,7,3..4", ["run=0", "run=1", "run=7", "run=3", "run=4"]),
        ("run=2,0..3", ["run=2", "run=0", "run=1", "run=3"]),
        ("heuristic=random,bald,random", ["heuristic=random", "heuristic=bald"]),
        ("data_root=../elsewhere", ["data_root=../elsewhere"]),
        ("x=..,../0..4,/a..4,b../4,v1..x", ["x=..", "x=../0..4", "x=/a..4", "x=b../4", "x=v1..x"]),
        ("data_root='0..'", ["data_root='0..'"]),
        ("heuristic_options.metric=l2,cosine", ["heuristic_options.metric=l2", "heuristic_options.metric=cosine"]),
        ("x=[1,2]", ["x=[1,2]"]),
        ("x=(1,2),(3,)", ["x=(1,2)", "x=(3,)"]),
        ("x={'a':[1,2],'b':'},'},{}", ["x={'a':[1,2],'b':'},'}", "x={}"]),
        ("x='a,b',c", ["x='a,b'", "x=c"]),
        ("x=a=b", ["x=a=b"]),
        ("x=", ["x="]),
    ],
)
def test_what_a_word_stands_for(word, values):
    assert values_of(word) == values


LEAVES = st.integers() | st.text("ab,'\"\\[]{}().= ", max_size=6) | st.booleans() | st.none()
LISTS_AND_DICTIONARIES = lambda inner: (  # noqa: E731
    st.lists(inner, max_size=3) | st.dictionaries(st.text("a,'", max_size=3), inner, max_size=2)
)
LITERALS = st.recursive(LEAVES, LISTS_AND_DICTIONARIES)


@given(st.lists(LITERALS, min_size=1, max_size=4))
def test_literals_of_python_stay_whole(values):
    written = [repr(value) for value in values]
    assert split_values(",".join(written)) == written


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), min_size=1, max_size=3))
def test_a_grid_is_the_product_of_its_values(columns):
    words = [f"option{i}=" + ",".join(map(str, values)) for i, values in enumerate(columns)]
    expected = [tuple(f"option{i}={v}" for i, v in enumerate(row)) for row in product(*columns)]
    assert expand(["tiny", *words]) == [("tiny", *row) for row in expected]


REFUSED = [
    (["segmnt", "with", "tiny"], "unknown script 'segmnt'. Did you mean 'segment'\\? Known: classify"),
    (
        ["segment", "supervise", "with", "tiny"],
        "unknown command 'supervise'. Did you mean 'supervised'\\? Known: main, supervised",
    ),
    (["segment", "heuristic=bald"], "unknown command 'heuristic=bald'. Presets and options come after the word `with`"),
    (["segment", "with", "run=4..0"], "run=4..0 counts down; write run=0..4"),
    (
        ["segment", "with", "run=0..99999999999"],
        "run=0..99999999999 are 100000000000 values, more than the 10000 of a grid",
    ),
    (["segment", "with", "run=0..999", "n_val=0..99"], "these are 100000 command lines"),
    (["segment", "with", "run=1,,2"], "'1,,2' has an empty value beside a comma"),
    (
        ["segment", "with", "run=0.."],
        "run=0.. is no range: write whole numbers on both sides, like run=0..4, and text in quotes",
    ),
    (["segment", "with", "run=1,..4"], "run=..4 is no range"),
    (["segment", "with", "run=0..x"], "run=0..x is no range"),
    (["segment", "with", "run=x..4"], "run=x..4 is no range"),
    (["segment", "with", "run=0...4"], "run=0...4 is no range"),
    (["segment", "with", "lr=0.1..0.3"], "lr=0.1..0.3 is no range"),
    (["segment", "with", "lr=1e-3..2"], "lr=1e-3..2 is no range"),
    (["segment", "with", "tiny", "run=0:4"], "run=0:4|run='0:4'\\(tiny run=0:4\\)"),
    (
        ["segment", "with", "tiny", "run=0", "lr=1", "run=1,2"],
        "run is given 2 times; write all its values at once: run=0,1,2",
    ),
    (
        ["segment", "with", "tiny", "heuristic=random", "heuristic =bald"],
        "heuristic is given 2 times.*: heuristic=random,bald",
    ),
    (["segment", "with", "x=[1,2"], "'\\[1,2' lacks a closing \\]"),
    (["segment", "with", "x='1,2"], "'1,2\" lacks a closing '"),
    (["segment", "with", "tinny"], "unknown preset 'tinny'. Did you mean 'tiny'\\?"),
    (["segment", "with", "tiny", "heuristc=bald"], "unknown option 'heuristc'. Did you mean 'heuristic'\\?"),
    (
        ["segment", "with", "tiny", "heuristic=random,entropi", "run=0..2"],
        "unknown heuristic 'entropi'. Did you mean 'entropy'\\?",
    ),
    (["segment", "with", "tiny", "workers=0,1"], "`tiny workers=0` and `tiny workers=1` are one and the same run"),
    (["segment", "supervised", "with", "tiny", "heuristic=random,bald"], "are one and the same run"),
    (
        ["segment", "with", "tiny", "seed=1", "run=0..5"],
        "`tiny seed=1 run=0` and `tiny seed=1 run=1` differ in `run` alone",
    ),
    (["classify", "with", "tiny", "run=0,1", "seed=0,1", "heuristic=random,entropy"], "leave `seed` to follow `run`"),
    (["segment", "with", "tiny", "--slurm"], "--slurm needs the commands of Slurm"),
]


@pytest.fixture
def here(monkeypatch):
    """Options are checked in this process, which has the script imported already."""
    monkeypatch.setattr(grid, "examined", examine)


@pytest.mark.parametrize(("words", "sentence"), REFUSED, ids=lambda x: " ".join(x[-2:]) if isinstance(x, list) else "")
def test_mistakes_are_refused_before_anything_starts(here, monkeypatch, capsys, words, sentence):
    monkeypatch.setattr("experiments.grids.slurm.shutil.which", lambda name: None)
    monkeypatch.setattr(grid, "run_here", None)
    assert grid.main(words) == 1
    err = capsys.readouterr().err
    assert err.startswith("Refused: ") and err.count("\n") == 1, (
        "one sentence, however many command lines have the mistake"
    )
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(err)


def test_gpus_of_other_machines_are_not_looked_for_here():
    lines = [(*TINY_WORDS, "device=cuda", "devices=2"), (*TINY_WORDS, "run=1", "device=cuda:1")]
    assert [job.devices for job in examine("segment", "main", lines, elsewhere=True)] == [2, 1]
    with pytest.raises(Refused, match="device=cuda was asked for, but this machine has none such"):
        examine("segment", "main", lines)
    with pytest.raises(Refused, match="unknown device 'cudda'"):
        examine("segment", "main", [(*TINY_WORDS, "device=cudda")], elsewhere=True)
    with pytest.raises(Refused, match="devices=3 with batch_size=4"):
        examine("segment", "main", [(*TINY_WORDS, "devices=3")], elsewhere=True)


def test_all_mistakes_are_named_at_once(here, capsys):
    assert grid.main(["segment", "with", "tiny", "heuristic=bold", "loss=dise,dice"]) == 1
    assert grid.main(["segment", "with", "tiny", "n_query=0,-1,3", "run=0..2"]) == 1
    assert "n_query=0 must be" in (err := capsys.readouterr().err) and "n_query=-1 must be" in err


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--jobs", "two"], ["--gpus", "1"], ["--job", "2"]])
def test_mistakes_in_the_options_of_the_grid(words, capsys):
    with pytest.raises(SystemExit) as stop:
        grid.main(["segment", "with", "tiny", *words])
    assert stop.value.code == 2 and "usage: grid.py" in capsys.readouterr().err


def test_print_names_what_is_finished_and_prints_the_rest(here, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    run_in_process(segment.SCRIPT, **TINY, run=1)
    capsys.readouterr()
    assert grid.main(["segment", "with", *TINY_WORDS, "run=0..2", "--print"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"python experiments/segment.py with {' '.join(TINY_WORDS)} run={run}" for run in (0, 2)
    ]
    assert err == f"# finished before: {' '.join(TINY_WORDS)} run=1\n"


def test_a_grid_of_defaults_is_a_line_without_with(here, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert grid.main(["segment", "--print"]) == 0 and capsys.readouterr().out == "python experiments/segment.py\n"
    assert grid.main(["segment", "supervised", "with", "--print"]) == 0
    assert capsys.readouterr().out == "python experiments/segment.py supervised\n"


def test_a_folder_that_takes_no_runs_is_one_sentence(here, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALIQUOT_RUNS", str(tmp_path / "file" / "runs"))
    assert grid.main(["segment", "with", *TINY_WORDS]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(
        f"Refused: runs cannot be stored in {tmp_path / 'file' / 'runs'} (Not a directory); ALIQUOT_RUNS"
    )
    assert err.count("\n") == 1


def test_no_address_of_mongodb_is_said_before_anything_is_imported(capsys, monkeypatch):
    monkeypatch.setenv("ALIQUOT_MONGO", "mongo://127.0.0.1")
    monkeypatch.setattr(grid, "examined", None)
    assert grid.main(["segment", "with", "tiny"]) == 1
    assert capsys.readouterr().err.startswith("Refused: ALIQUOT_MONGO is not the address of a MongoDB server")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"status": "COMPL'])
def test_a_damaged_record_is_not_finished(here, capsys, text):
    """As a power cut leaves it; the run continues from its state."""
    folder = run_in_process(segment.SCRIPT, **TINY, run=1)
    (folder / "run.json").write_text(text)
    capsys.readouterr()
    assert grid.main(["segment", "with", *TINY_WORDS, "run=1", "--print"]) == 0
    assert capsys.readouterr().out.count("run=1\n") == 1


def test_another_option_or_resume_fresh_is_not_finished(here, capsys):
    run_in_process(segment.SCRIPT, **TINY, run=1)
    for more, lines in (([], 0), (["lr=0.5"], 1), (["resume=fresh"], 1), (["workers=1"], 0)):
        capsys.readouterr()
        assert grid.main(["segment", "with", *TINY_WORDS, "run=1", *more, "--print"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == lines, more


@pytest.mark.processes
def test_a_real_grid(capsys, monkeypatch):
    """Two runs of a script, one of them finished before; and once more, when nothing is left to do."""
    run_in_process(segment.SCRIPT, **TINY, run=1)
    words = ["segment", "with", *TINY_WORDS, "run=1,2", "--jobs", "2"]
    assert grid.main(words) == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0].split() == ["status", "seconds", "result", "run", "what"]
    assert lines[1].startswith("finished before ") and lines[1].split()[4:] == ["1", "run=1"]
    status, seconds, result, number, what = lines[2].split()
    assert (status, number, what) == ("completed", "2", "run=2") and 0 < float(result) < 1 and int(seconds) < 300
    assert lines[3] == "1 completed, 1 finished before"
    folder = Path(os.environ["ALIQUOT_RUNS"])
    assert (
        status_of(folder / "2") == "COMPLETED"
        and "area under the curve of dice" in next(folder.glob("grid/*.1.log")).read_text()
    )
    monkeypatch.setattr(grid, "examined", examine)
    assert grid.main(words) == 0 and "\n2 finished before\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (["completed", "finished before"], 0),
        (["completed", "failed"], 1),
        (["failed", "interrupted"], 130),
        (["completed", "in another process"], 130),
    ],
)
def test_exit_codes(monkeypatch, tmp_path, ends, code):
    outcomes = {Job(str(i), (), (), tmp_path, False): Outcome(end) for i, end in enumerate(ends)}
    monkeypatch.setattr(grid, "examined", lambda *_: list(outcomes))
    monkeypatch.setattr(grid, "run_grid", lambda *_: outcomes)
    assert grid.main(["segment", "with", "tiny"]) == code


def keys_of(*words):
    return [job.key for job in examine("segment", "main", expand(words))]


def test_the_seed_follows_run_unless_it_is_typed(tmp_path):
    """A folder of splits fixes the division, and first labels and weights still differ from run to run."""
    config = tmp_path / "config.json"
    config.write_text('{"dataset": "phantom", "heuristic": "bald", "seed": 0, "run": 0}')
    for words in (["tiny"], [f"splits_dir={tmp_path}"], ["split_seed=3"], [str(config)]):
        assert len(set(keys_of(*words, "run=0..5"))) == 6
        with pytest.raises(Refused, match="differ in `run` alone"):
            keys_of(*words, "run=0..5", "seed=0")


@pytest.mark.parametrize(
    "option", ["lr={}", "anchor_ratios=[{}]", "dataset_options={}", "data_root={}", "heuristic={}"]
)
def test_no_word_is_ever_executed(here, capsys, tmp_path, option):
    mark = tmp_path / "executed"
    grid.main(["detect", "with", "tiny", option.format(f"open({str(mark)!r}, 'w')"), "--print"])
    assert not mark.exists()


def test_no_file_is_ever_executed(here, capsys, tmp_path):
    mark = tmp_path / "executed"
    code = {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(mark)]}]}
    (tmp_path / "tags.json").write_text(json.dumps({"data_root": code}))
    (tmp_path / "file.pickle").write_bytes(pickle.dumps(0))
    for name, sentence in (("tags.json", "would make Python objects"), ("file.pickle", "is no configuration file")):
        assert grid.main(["segment", "with", str(tmp_path / name), "--print"]) == 1
        assert sentence in capsys.readouterr().err and not mark.exists()


def test_two_grids_at_once_share_the_work(here, capsys):
    """What the other process holds is named; there is one sentence, exit code 130 and no record of it."""
    runs = Path(os.environ["ALIQUOT_RUNS"])
    (job,) = examine("segment", "main", [TINY_WORDS])
    with Checkpoint(runs, job.key).lock():
        assert grid.main(["segment", "with", *TINY_WORDS]) == 130
    out = capsys.readouterr().out
    assert f"this run is already in progress (process {os.getpid()} on " in out
    assert "1 in another process\nThe same command continues" in out
    assert not list(runs.glob("[0-9]*"))
