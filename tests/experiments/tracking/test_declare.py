"""Options are declared once: what a command line, a file and Sacred make of the declarations."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from data.limits import check_value
from data.names import Missing, Refused
from experiments.tracking import declare
from experiments.tracking.declare import Option, literal, read_configuration, resolve
from experiments.tracking.options import RENAMED, TABLES
from experiments.tracking.pretrain_options import ALL
from tests.experiments.runs import run_in_process

SCRIPTS = {name: import_module(f"experiments.{name}").SCRIPT for name in ALL}
FREE = {
    "label_studio",
    "dataset_title",
    "data_root",
    "heuristic",
    "splits_dir",
    "device",
    "results_dir",
    "checkpoint",
    "metric",
    "weights",
    "weights_digest",
    "features",
    "features_digest",
    *("classes", "out", "labels", "export", "images"),
}
EVERY = [(task, name) for task, table in ALL.items() for name in table]


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_every_option_has_a_sentence_and_a_limit_and_keeps_to_it(task, name):
    option = ALL[task][name]
    assert len(option.meaning) > 5 and not re.search(r"\n|  |[^.]\.$", option.meaning)
    unlimited = isinstance(option.default, bool | dict) or name in FREE
    assert (option.limit is None) == unlimited, "numbers have ranges, names have choices"
    check_value(name, option.default, option.default, option.limit)
    with pytest.raises(Refused, match=f"^{name}="):
        check_value(name, object(), option.default, option.limit)


def test_options_that_two_scripts_share_decide_the_same():
    for task, name in EVERY:
        assert {table[name].decides for table in ALL.values() if name in table} == {ALL[task][name].decides}


@pytest.mark.parametrize("task", ALL)
def test_every_preset_is_within_the_limits(task):
    for name, (sentence, chosen) in SCRIPTS[task].presets.items():
        values = SCRIPTS[task].values([name])
        declare.check(SCRIPTS[task].options, values)
        assert len(sentence) > 20 and chosen.items() <= values.items()


def classify(*words):
    return SCRIPTS["classify"].values(words)


def segment(*words):
    return SCRIPTS["segment"].values(words)


def test_presets_apply_in_their_order_and_what_is_typed_stands_above_them():
    assert classify("tiny")["steps"] == 12 and classify("tiny", "retina_quick")["steps"] == 300
    assert classify("retina_quick", "tiny")["steps"] == 12 and classify("steps=7", "tiny")["steps"] == 7
    assert classify()["steps"] == TABLES["classify"]["steps"].default


def test_the_seed_follows_the_run_unless_it_is_typed():
    assert [segment(f"run={run}")["seed"] for run in range(4)] == [0, 1, 2, 3]
    assert segment("run=3", "seed=0")["seed"] == 0 and segment("seed=5")["seed"] == 5


@pytest.mark.parametrize("typed", [{"run": 3, "seed": 0}, {"run": 3}, {"seed": 4}, {}])
def test_the_stored_configuration_is_what_was_resolved(typed):
    """To the last option, a seed of 0 beside another run too."""
    folder = run_in_process(SCRIPTS["segment"], "supervised", steps=1, **typed)
    stored = json.loads((folder / "config.json").read_text())
    resolved = SCRIPTS["segment"].values(["tiny", "steps=1", *(f"{name}={value}" for name, value in typed.items())])
    assert stored == json.loads(json.dumps(resolved))


def test_the_seed_follows_the_run_with_a_stored_configuration_too():
    """So that its runs are no copies of each other."""
    folder = run_in_process(SCRIPTS["segment"], "supervised", steps=1, run=2)
    stored = str(folder / "config.json")
    assert [segment(stored, f"run={run}")["seed"] for run in range(6)] == [0, 1, 2, 3, 4, 5]
    assert segment(stored) == json.loads((folder / "config.json").read_text()) and segment(stored)["seed"] == 2
    assert segment(stored, "seed=0")["seed"] == 0


def test_an_empty_dictionary_clears_what_a_preset_set():
    assert classify("tiny")["dataset_options"] == {"n_pool": 90, "n_test": 36}
    assert classify("tiny", "dataset_options.n_test=9")["dataset_options"] == {"n_pool": 90, "n_test": 9}
    assert classify("tiny", "dataset_options={}")["dataset_options"] == {}
    assert classify("tiny", "dataset_options.n_test=9", "dataset_options={}")["dataset_options"] == {"n_test": 9}
    presets = {"cosine": ("", {"heuristic": "coreset", "heuristic_options": {"metric": "cosine"}})}
    options = TABLES["classify"]
    assert resolve(options, presets, ["cosine"])["heuristic_options"] == {"metric": "cosine"}
    assert resolve(options, presets, ["cosine", "heuristic_options={}"])["heuristic_options"] == {}
    assert options["dataset_options"].default == {} and SCRIPTS["classify"].presets["tiny"][1]["dataset_options"]


@pytest.mark.parametrize("words", [["tiny", "folder"], ["tiny", "dataset=folder"], ["dataset=folder", "tiny"]])
def test_naming_another_dataset_forgets_the_options_of_the_one_before(words):
    values = classify(*words, "dataset_options.test_share=0.5")
    assert values["dataset"] == "folder" and values["dataset_options"] == {"test_share": 0.5}
    assert classify("tiny", "dataset=phantom")["dataset_options"] == {"n_pool": 90, "n_test": 36}


def test_a_typed_dictionary_stays_beside_a_typed_dataset():
    values = classify("tiny", "dataset_options={'repeat': 2}", "dataset=digits")
    assert values["dataset"] == "digits" and values["dataset_options"] == {"repeat": 2}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["steps=1", "steps=2"], "steps is given twice: steps=1 and steps=2"),
        (["heuristc=bald"], "unknown option 'heuristc'. Did you mean 'heuristic'\\? All options: print_config"),
        (["heuristc.metric=l2"], "unknown option 'heuristc'. Did you mean 'heuristic'"),
        (["lr.metric=1"], "lr.metric: option 'lr' has no entries; write lr=0.002"),
        (["tinny"], "unknown preset 'tinny'. Did you mean 'tiny'\\? Known: "),
        (["nowhere.json"], "there is no configuration file .*nowhere.json"),
        (["run=007"], "run=007: expected a whole number such as run=3"),
        (["seed=1.0"], "seed=1.0: expected a whole number such as seed=3"),
    ],
)
def test_a_word_that_says_nothing_is_refused(words, sentence):
    with pytest.raises(Refused, match=sentence):
        segment(*words)


READ = {"3": 3, "0.5": 0.5, "1e-3": 1e-3, "-1": -1, "True": True, "[1, 2]": [1, 2], "{'a': 1}": {"a": 1}, "'3'": "3"}
READ |= {"None": None, "1j": 1j, "b'x'": b"x"}
TEXT = [
    "",
    "bald",
    "a b",
    "true",
    "../x.pt",
    "open('made', 'w')",
    "__import__('os').mkdir('made')",
    "[open('made', 'w')]",
]
TEXT += ["9**9**9", "lambda: 1", "{", "\0", "(" * 999, "f'{open(1)}'", "{[]: 1}"]


@pytest.mark.parametrize(("text", "value"), [*READ.items(), *((text, text) for text in TEXT)])
def test_a_literal_is_read_and_never_executed(text, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert literal("x", text) == value and type(literal("x", text)) is type(value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "typed", [{"lr": 1j}, {"precision": b"x"}, {"lr": None}, {"n_query": True}, {"save_maps": 1}, {"lr": float("nan")}]
)
def test_a_value_of_another_kind_is_refused(typed):
    with pytest.raises(Refused, match=re.escape(f"{next(iter(typed))}={next(iter(typed.values()))!r} must be ")):
        run_in_process(SCRIPTS["segment"], **typed)


def written(folder, text, name="mine.json"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_configuration_file_may_begin_with_a_mark_of_its_encoding(tmp_path):
    text = b'\xef\xbb\xbf{"heuristic": "bald", "dataset_title": "\xc3\xa4", "seed": 7}'
    values = segment(str(written(tmp_path, text)))
    assert (values["heuristic"], values["dataset_title"], values["seed"]) == ("bald", "ä", 0)


TAGS = [
    '{"py/object": "pathlib.Path"}',
    '{"heuristic_options": {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["touch made"]}]}}',
    '{"anchor_sizes": [1, [2, {"py/type": "os.system"}]]}',
    '{"heuristic_options": {"json://x": 1}}',
]
UNREADABLE = [
    ("", "is no JSON .*comments are not allowed in it$"),
    ("# a comment\n{}", "is no JSON .*comments are not allowed in it$"),
    ('{"lr": 1} // a comment', "is no JSON"),
    ("{'lr': 1}", "is no JSON"),
    (b"\xff\xfe{\x00}\x00", "is no JSON"),
    ("[" * 100_000, "is no JSON"),
    ("[1, 2]", 'holds a list, expected an object of options, like {"heuristic": "bald"}$'),
    ("null", "holds a NoneType, expected an object"),
    *((text, "which would make Python objects of a file: only plain values are read$") for text in TAGS),
]


@pytest.mark.parametrize(("text", "sentence"), UNREADABLE)
def test_a_configuration_file_that_is_none_is_refused_in_one_sentence(tmp_path, monkeypatch, text, sentence):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, text)
    with pytest.raises(Refused, match=sentence) as refused:
        segment("tiny", str(file))
    assert str(refused.value).startswith(str(file)) and "\n" not in str(refused.value)
    assert os.listdir(tmp_path) == ["mine.json"]


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.parametrize("name", ["mine.pickle", "mine.pkl", "mine.yaml", "mine.json"])
def test_a_pickle_is_never_opened(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="is no configuration file: expected JSON|is no JSON"):
        segment(str(written(tmp_path, pickle.dumps({"lr": Bomb()}), name)))
    assert os.listdir(tmp_path) == [name]


def test_a_missing_file_and_a_folder_are_missing(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name in ("absent.json", "folder.json"):
        with pytest.raises(Missing, match=f"there is no configuration file .*{name}"):
            read_configuration(tmp_path / name)


def test_an_old_name_that_is_typed_is_refused_with_the_new_one():
    assert RENAMED.keys() == {"phantom_pool", "phantom_test", "num_classes"}
    for old, new in RENAMED.items():
        with pytest.raises(Refused, match=f"option '{old}' has another name now: {new}=14$"):
            segment("tiny", f"{old}=14")
        with pytest.raises(Refused, match=f"option '{old}' has another name now: {new}=14$"):
            run_in_process(SCRIPTS["segment"], **{old: 14})


def test_old_names_in_a_file_are_taken_over(tmp_path):
    """The configuration of an old run states them all, also those of datasets that it did not use."""
    old = {"phantom_pool": 14, "phantom_test": 4, "num_classes": 3, "seed": 2, "lr": 0.5}
    for dataset, expected in (("phantom", {"n_pool": 14, "n_test": 4}), ("folder", {"num_classes": 3}), ("glas", {})):
        values = segment("tiny", str(written(tmp_path, json.dumps({**old, "dataset": dataset}))))
        assert values["dataset"] == dataset and values["lr"] == 0.5 and values["seed"] == 0
        assert values["dataset_options"] == expected
    assert segment(str(written(tmp_path, json.dumps(old))))["dataset_options"] == {"n_pool": 14, "n_test": 4}


def test_a_file_may_name_the_options_of_a_dataset_before_the_dataset(tmp_path):
    file = written(tmp_path, '{"dataset_options": {"test_share": 0.5}, "dataset": "folder"}')
    assert classify("tiny", str(file))["dataset_options"] == {"test_share": 0.5}


@pytest.mark.parametrize("task", TABLES)
def test_every_option_and_preset_is_printed_with_its_sentence(task, capsys):
    script = SCRIPTS[task]
    script.run("print_config")
    printed = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    for name, option in script.options.items():
        assert re.search(rf"^  {name}\b.*# {re.escape(option.meaning[:40])}", printed, re.MULTILINE), name
    script.run("print_named_configs")
    printed = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    for name, (sentence, _) in script.presets.items():
        assert re.search(rf"^  {name}\b.*# {re.escape(sentence[:40])}", printed, re.MULTILINE), name


def test_a_run_records_its_presets_and_the_words_that_were_typed():
    script = SCRIPTS["segment"]
    words = [
        "supervised",
        "--comment",
        "a try",
        "with",
        "tiny",
        "glas_quick",
        "dataset=phantom",
        "steps=1",
        "dataset_options.n_pool=9",
    ]
    run = script.command_line(words)
    meta = json.loads((Path(run.observers[0].dir) / "run.json").read_text())["meta"]
    assert meta["named_configs"] == ["tiny", "glas_quick"] and meta["command"] == "supervised"
    assert meta["options"]["UPDATE"] == words[4:] and meta["options"]["--comment"] == "a try"
    run = script.run("supervised", ["tiny"], steps=1, run=4)
    meta = json.loads((Path(run.observers[0].dir) / "run.json").read_text())["meta"]
    assert meta["named_configs"] == ["tiny"] and "UPDATE" not in meta["options"]
    assert {"steps": 1, "run": 4, "seed": 4}.items() <= meta["config_updates"].items()


def test_a_declared_option_is_all_that_an_option_is():
    options = {
        "dataset": Option("a", "which"),
        "dataset_options": Option({}, "its"),
        "run": Option(0, "n"),
        "seed": Option(0, "s"),
    }
    assert resolve(options, {}, ["run=2"]) == {"dataset": "a", "dataset_options": {}, "run": 2, "seed": 2}
    assert "sacred" in sys.modules, "only its summary is used"
