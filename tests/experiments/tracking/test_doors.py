"""What a script refuses: every option, flag, file and folder that cannot be, in one sentence before anything is recorded."""

import importlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from data.files import ROOT, folder_from
from data.limits import check_value
from data.names import Refused
from experiments import segment
from experiments.tracking import checkpoints, code, launch
from experiments.tracking.pretrain_options import ALL

NONSENSE = ["1j", "b'x'", "['a']", "-1e400", "1e400", "nan", "-5", "None", "{'a': 1}", "{1: 2}", "[[1], [2]]", "9" * 30,
            "'\\x00'", "é", "-1..1",
            "lambda", "[1e400]", "{1, 2}", "__import__('os')", "True", ""]  # fmt: skip


def started(*words, **variables):
    """A finished Python process in the project's folder, with these variables beside those of this one."""
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **variables}
    )


def script_of(name):
    return importlib.import_module(f"experiments.{name}").SCRIPT


@pytest.mark.parametrize("script", ALL)
def test_no_option_takes_nonsense(script):
    made = script_of(script)
    for name, option in ALL[script].items():
        for text in NONSENSE:
            try:
                values = made.values(["tiny", f"{name}={text}"])
                value = values[name]
                plain = type(value) in (
                    type(option.default),
                    int if isinstance(option.default, float) else type(option.default),
                    list,
                )
                assert plain and "\0" not in repr(value) and "inf" not in repr(value), f"{name}={text}"
                made.check(values)
            except Refused as refused:
                entries = text.startswith("{") and isinstance(option.default, dict)
                assert (name in str(refused) or entries) and "\n" not in str(refused), f"{name}={text}: {refused}"


@pytest.mark.parametrize("script", ALL)
def test_every_default_is_within_its_limit(script):
    for name, option in ALL[script].items():  # a default is not checked when a script starts
        check_value(name, option.default, option.default, option.limit)


@pytest.mark.parametrize("text", ["{1: 2}", "{None: 1}", "{'a.b': 1}", "{'$a': 1}", "{'py/object': 1}", "{'a=b': 1}"])
@pytest.mark.parametrize("name", ["heuristic_options", "dataset_options", "pseudo_thresholds"])
def test_names_of_entries_can_be_stored(name, text):
    with pytest.raises(Refused, match=name):
        script_of("detect").values([f"{name}={text}"])


SACRED = "-l -C -P -b -e -m -u -F -q -d -i -n -f -s -S -t -p".split()
LONG = (
    "loglevel=X capture=no priority=3 beat-interval=2 enforce_clean mongo_db=x unobserved file_storage=x queue pdb id=3 "
    "name=x force sql=x s3=x tiny_db=x print-config"
)


@pytest.mark.parametrize("flag", [*SACRED, *(f"--{word}" for word in LONG.split())])
@pytest.mark.parametrize("place", ["before", "after"])
def test_the_flags_of_sacred_are_refused_and_say_what_to_use(flag, place):
    words = [flag, "with", "tiny"] if place == "before" else ["with", "tiny", flag]
    with pytest.raises(Refused, match=f"^{flag} is no flag of this script: (?!known)"):
        launch.read_words(words, ["main"])


def test_every_flag_that_sacred_has_is_known_here():
    from sacred.experiment import gather_command_line_options

    flags = {flag for option in gather_command_line_options() for flag in option.get_flags()}
    assert flags <= set(launch.INSTEAD) | set(launch.FLAGS) | set(launch.FLAGS.values()) | {"--debug"}


WORDS = [
    ("with tiny -c hello", launch.Words("main", ("tiny",), "hello")),
    ("--comment=hello with tiny", launch.Words("main", ("tiny",), "hello")),
    ("print_config -D with a=1", launch.Words("print_config", ("a=1",), debug=True)),
    ("with", launch.Words("main", ())),
    ("-h", launch.Words("main", (), help=True)),
    ("with tiny --help", launch.Words("main", ("tiny",), help=True)),
    ("help print_config", launch.Words("main", (), help=True)),
]


@pytest.mark.parametrize(("line", "words"), WORDS, ids=lambda x: x if isinstance(x, str) else "")
def test_a_command_line_is_taken_apart(line, words):
    assert launch.read_words(line.split(), ["main", "print_config"]) == words


ODD = [
    ("tiny", "unknown command 'tiny'. Presets and options come after the word `with`"),
    ("main tiny", "unknown command 'tiny'"),
    ("heuristic=bald with tiny", "unknown command 'heuristic=bald'. Presets and options come after the word `with`"),
    ("man with tiny", "unknown command 'man'. Did you mean 'main'?"),
    ("-c", "--comment needs a text"),
    ("--comment= with tiny", "--comment needs a text"),
    ("-x", "-x is no flag of this script: known are -h --help"),
    ("-- with", "-- is no flag"),
]


@pytest.mark.parametrize(("line", "sentence"), ODD, ids=[line for line, _ in ODD])
def test_odd_orders_of_words_are_refused(line, sentence):
    with pytest.raises(Refused) as refused:
        launch.read_words(line.split(" "), ["main", "print_config"])
    assert sentence in str(refused.value)


FILES = [
    (b'\xef\xbb\xbf{"heuristc": "bald"}', "unknown option 'heuristc'"),
    (b'{"lr": 1} // a comment', "is no JSON"),
    (b"", "is no JSON"),
    (b"[" * 100_000, "is no JSON"),
    (b"\xff\xfe{", "is no JSON"),
    (b"[1]", "holds a list, expected an object of options"),
    (b'{"lr": NaN}', "lr=nan must be a number"),
]


@pytest.mark.parametrize(("content", "sentence"), FILES)
def test_configuration_files_are_refused_with_their_name(tmp_path, content, sentence):
    file = tmp_path / "options.json"
    file.write_bytes(content)
    with pytest.raises(Refused) as refused:
        segment.SCRIPT.values([str(file)])
    assert sentence in str(refused.value) and (
        str(file) in str(refused.value) or "option" in sentence or "lr" in sentence
    )


def test_a_missing_file_a_folder_and_another_ending(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name, sentence in (
        ("no.json", "there is no"),
        ("folder.json", "there is no"),
        ("x.yaml", "expected JSON"),
        ("x", "unknown preset"),
    ):
        with pytest.raises(Refused, match=sentence):
            segment.SCRIPT.values([str(tmp_path / name)])


def test_a_stored_configuration_is_taken_and_its_seed_is_not(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"heuristic": "bald", "seed": 7, "run": 0}), encoding="utf-8-sig")
    values = segment.SCRIPT.values([str(file), "run=3"])
    assert (values["heuristic"], values["run"], values["seed"]) == ("bald", 3, 3)


class Payload:
    def __init__(self, made):
        self.made = made

    def __reduce__(self):
        return Path.touch, (self.made,)


@pytest.mark.processes
def test_nothing_that_is_given_is_executed(tmp_path):
    made = tmp_path / "made"
    function = {"py/function": "os.mkdir"}
    tagged = {"dataset_title": {"py/reduce": [function, {"py/tuple": [str(made)]}]}}
    (tmp_path / "tagged.json").write_text(json.dumps(tagged))
    (tmp_path / "deep.json").write_text(json.dumps({"heuristic_options": [{"a": {"py/object": "os.system"}}]}))
    for name in ("x.pickle", "x.pkl", "x.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(made)))
    call = f"__import__('os').mkdir({str(made)!r})"
    words = [
        *(str(tmp_path / name) for name in ("tagged.json", "deep.json", "x.pickle", "x.pkl", "x.json")),
        f"heuristic={call}",
        f"lr={call}",
    ]
    for word in words:
        with pytest.raises(Refused):
            segment.SCRIPT.check(segment.SCRIPT.values([word]))
    with pytest.raises(Refused, match="py/reduce"):
        segment.SCRIPT.values([f"heuristic_options={tagged['dataset_title']!r}"])
    grid = [f"dataset_title={call}", f"heuristic_options={tagged['dataset_title']!r}", str(tmp_path / "x.pickle")]
    for word in grid:
        process = started("experiments/grid.py", "segment", "with", "tiny", word, "--print")
        assert "Traceback" not in process.stderr
    assert not made.exists()


def test_folders_that_variables_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text, place in (("~/x", tmp_path / "x"), ("", ROOT / "runs"), ("x", ROOT / "x"), (str(tmp_path), tmp_path)):
        monkeypatch.setenv("ALIQUOT_RUNS", text)
        assert folder_from("ALIQUOT_RUNS", "runs") == place


def test_a_file_system_that_cannot_lock_is_named_with_the_way_out(tmp_path, monkeypatch):
    def acquire(self, *_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(checkpoints.FileLock, "acquire", acquire)
    with (
        pytest.raises(Refused, match=rf"file system of {tmp_path}.* cannot lock files .*ALIQUOT_RUNS"),
        checkpoints.Checkpoint(tmp_path, "k").lock(),
    ):
        pass


@pytest.mark.processes
def test_a_checkout_without_a_usable_git_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert (
        code.commit() == {"commit": "", "dirty": False, "why": code.commit()["why"]}
        and "git does not tell: " in code.commit()["why"]
    )
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert code.commit()["commit"] == "" and code.commit()["why"]  # no commit yet
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert code.commit()["commit"] == "" and code.commit()["why"]  # a mounted volume
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code.commit()["why"] == "there is no git on this machine"


@pytest.mark.processes
def test_without_git_the_run_goes_on_and_says_why(tmp_path):
    (tmp_path / "git.py").write_text("raise ImportError('no git')")
    words = ("experiments/segment.py", "with", "tiny", "steps=1", "n_cycles=0")
    process = started(*words, PATH=str(tmp_path), PYTHONPATH=str(tmp_path))
    assert process.returncode == 0, process.stderr
    record = json.loads(next(Path(os.environ["ALIQUOT_RUNS"]).glob("*/run.json")).read_text())
    assert record["status"] == "COMPLETED" and record["host"]["code"]["why"] == "there is no git on this machine"


def test_threads_prepare_batches_without_processes_or_shared_memory(monkeypatch):
    def never(*_, **__):
        raise OSError("No space left on device: /dev/shm")

    import multiprocessing.process

    monkeypatch.setattr(os, "fork", never)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", never)
    monkeypatch.setattr("_multiprocessing.SemLock", never)
    monkeypatch.setattr("_posixshmem.shm_open", never)
    assert segment.SCRIPT.run(presets=["tiny"], workers=2, steps=3, n_cycles=1).status == "COMPLETED"


def test_a_default_is_not_looked_up_in_a_table_that_is_slow_to_import():
    listed = "import sys; from experiments.segment import SCRIPT; SCRIPT.values([]); print('torch' in sys.modules)"
    process = started("-c", listed)
    assert process.stdout.strip() == "False", process.stderr


def test_a_wrong_heuristic_waits_neither_for_torchmetrics_nor_for_the_task():
    listed = (
        "import sys; from experiments.segment import SCRIPT\n"
        "try: SCRIPT.check(SCRIPT.values(['heuristic=bold']))\n"
        "except ValueError: print(set(sys.modules)"
        " & {'torchvision', 'torchmetrics', 'sklearn', 'skimage', 'monai', 'baal', 'matplotlib'})"
    )
    process = started("-c", listed)
    assert process.stdout.strip() == "set()", process.stderr
