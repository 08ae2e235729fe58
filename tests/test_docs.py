"""README and docs/: commands that can be typed, links that lead somewhere, names that exist."""

import argparse
import importlib
import inspect
import re
import shlex
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from data import catalogue
from data.limits import OneOf, check_options
from data.names import Refused
from experiments.grid import arguments
from experiments.grids.words import expand, parse
from experiments.measures.table import CLASSIFICATION as OF_CLASSES
from experiments.measures.table import DETECTION, OF_RUNS, SEGMENTATION, TABLE
from experiments.tracking import declare
from experiments.tracking.launch import read_words
from experiments.tracking.options import TABLES
from experiments.tracking.pretrain_options import ALL
from heuristics import get, names
from heuristics.core.registry import _KNOWN, EVIDENCE, GIVEN

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = re.compile(r"\.json$")  # a configuration file in the place of a preset
WORDS = {  # that stand in backticks and are named nowhere else
    *("supervised", "evaluate", "check", "splits", "print_config", "print_named_configs", "summary", "report", "sync"),
    *(
        "suggest",
        "predict",
        "preview",
        "masks",
        "geojson",
        "mine",
        "gland",
        "label",
        "uncertain",
        "different",
        "typical",
        "file",
        "patient",
        "part",
    ),
    *(
        "load",
        "load_picks",
        "mongo",
        "browser",
        "slurm",
        "mps",
        "nohup",
        "features",
        "analysis",
        "experiments",
        "heuristics",
    ),
    *("models", "data", "scores", "with", "mc_", "bench_scoring", "output_std", "knn_accuracy", "collapsed"),
}


class Parsed(Exception):
    """A command line was understood."""


@cache
def script(name):
    return importlib.import_module(f"experiments.{name}").SCRIPT


def commands_in(text):
    """The simple commands of a page's blocks for the shell, and those alone in backticks, as lists of words."""
    blocks = "\n".join(block for language, block in FENCE.findall(text) if language == "bash")
    inline = "\n".join(re.findall(r"`(python3? [^`\n]+)`", FENCE.sub("", text)))
    lines = re.sub(r"\\\n", " ", f"{blocks}\n{inline}")
    lines = re.sub(r'python -c "(?:[^"\\]|\\.)*"', "", lines)
    for line in lines.splitlines():
        for command in re.split(r"&&|;", line):
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words and words[0] in ("python", "python3"):
                yield words[1:]


def understand(words, monkeypatch):
    """Take a command line as the program behind it does, without running it. Raises what the program would."""
    if words[0] == "-m":
        module = words[1]
        assert find_spec(module) is not None, f"no module {module}"
        if module.startswith(("analysis.", "tests.benchmarks.")):
            original = argparse.ArgumentParser.parse_args

            def stop(parser, *given):
                original(parser, *given)
                raise Parsed

            monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
            monkeypatch.setattr(sys, "argv", words[1:])
            with pytest.raises(Parsed):
                importlib.import_module(module).main()
            monkeypatch.undo()
        return
    file = ROOT / words[0]
    assert file.is_file(), f"no file {words[0]}"
    if file.stem == "grid":
        name, command, described = parse(arguments(words[1:]).words)
        lines = {tuple(word for word in line if not word.startswith("run=")) for line in expand(described)}
        assert command in script(name).ex.commands
        for line in lines:
            script(name).check(script(name).values(line))
    else:
        made = script(file.stem)
        given = read_words(words[1:], list(made.ex.commands))
        made.check(made.values([word for word in given.updates if not FILES.search(word)]))


COMMANDS = {page.name: [" ".join(map(shlex.quote, words)) for words in commands_in(page.read_text())] for page in PAGES}


@pytest.mark.parametrize(
    ("page", "command"), [(page, line) for page, lines in COMMANDS.items() for line in dict.fromkeys(lines)]
)
def test_commands_can_be_typed(page, command, monkeypatch):
    understand(shlex.split(command), monkeypatch)


def test_commands_are_found():
    assert len(COMMANDS["README.md"]) > 12 and len(COMMANDS["running.md"]) > 10 and len(COMMANDS["studies.md"]) > 10


@pytest.mark.parametrize(
    "command",
    [
        "experiments/segment.py with tiny phantom_pool=24",
        "experiments/segment.py with tinny",
        "experiments/segment.py with heuristic=balt",
        "experiments/segment.py devide with glas",
        "experiments/detect.py with tiny convention=deeplesion criterion=centre",
        "experiments/grid.py segment with glas_quick run=4..0",
    ],
)
def test_what_cannot_be_typed_is_noticed(command, monkeypatch):
    with pytest.raises(Refused):
        understand(command.split(), monkeypatch)


def test_a_wrong_argument_of_an_analysis_is_noticed(monkeypatch):
    with pytest.raises(SystemExit):
        understand("-m analysis.summary runs --base random".split() + ["--no-such"], monkeypatch)


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", FENCE.sub("", file.read_text()), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name} links to {target}"


def test_every_page_and_picture_is_linked():
    linked = {
        target.rpartition("/")[2].partition("#")[0]
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    }
    lying = {file.name for file in (ROOT / "docs").iterdir()}
    assert lying <= linked, f"linked nowhere: {lying - linked}"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@cache
def known():
    """Names of options, presets, strategies, datasets, metrics, evidence and choices."""
    found = {*names(), *EVIDENCE, *GIVEN, *TABLE, *WORDS}
    for name, options in ALL.items():
        found |= {*options, *script(name).presets}
        limits = [option.limit for option in options.values() if isinstance(option.limit, OneOf)]
        found |= {str(name) for limit in limits for name in (limit.names() if callable(limit.names) else limit.names)}
    for task in TABLES:
        found |= set(catalogue.names(task))
        for dataset in catalogue.names(task):
            found |= set(catalogue.options(task, dataset))
    for name in names():
        found |= set(get(name).options)
        found |= {str(default) for default, _ in get(name).options.values()}
    return found


def accepted(words):
    """Whether words of a command line are options and presets of some script, or options of some strategy."""
    for name, options in ALL.items():
        try:
            declare.check(options, script(name).values(words))
            return True
        except Refused:
            pass
    chosen = {key: declare.literal(key, text) for key, _, text in (word.partition("=") for word in words)}
    owners = [(name, get(name).options) for name in names()]
    owners += [(name, catalogue.options(task, name)) for task in TABLES for name in catalogue.names(task)]
    for name, options in owners:
        try:
            check_options(name, options, chosen)
            return True
        except Refused:
            pass
    return False


def unknown_in(text, of_users=False):
    """What stands in backticks like a name, an option or several, and is none; `of_users`: single words are theirs."""
    wrong = []
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        words = code.split()
        if re.fullmatch(r"[a-z][a-z0-9_]*", code):
            wrong += [code] if code not in known() and not of_users else []
        elif all(re.fullmatch(r"[a-z][a-z0-9_.]*(=[\w.\[\]{},+-]+)?", word) for word in words) and "=" in code:
            named = {word.partition("=")[0] for word in words if word.endswith(("=NAME", "=DIR", "=FILE", "=VALUE"))}
            rest = [word for word in words if word.partition("=")[0] not in named]
            wrong += [code] if rest and not accepted(rest) else []
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_backticks_exist(page):
    assert unknown_in(page.read_text(), of_users=page.name == "your-own-data.md") == []


def test_names_that_do_not_exist_are_noticed():
    text = "`entropi`, `phantom_pool`, `initial=stratifeid`, `glas_quik run=3`, "
    text += "but `entropy`, `initial=stratified`, `glas_quick run=3`"
    assert unknown_in(text) == ["entropi", "phantom_pool", "initial=stratifeid", "glas_quik run=3"]


def test_the_table_of_measures_is_that_of_the_code():
    text = (ROOT / "docs" / "measures.md").read_text()
    way = {1: "up", -1: "down", 0: "–"}
    for task, table in (("segmentation", SEGMENTATION), ("classification", OF_CLASSES), ("detection", DETECTION)):
        for name, measure in table.items():
            assert f"| `{name}` | {task} | {way[measure.sign]} | {measure.unit} | {measure.meaning} |" in text
    for name, measure in OF_RUNS.items():
        assert f"| `{name}` | {measure.unit} | {measure.meaning} |" in text


def test_the_heuristic_of_the_readme_is_one():
    source = next(block for language, block in FENCE.findall((ROOT / "README.md").read_text()) if language == "python")
    made = {}
    try:
        exec(compile(source, "README.md", "exec"), made)
        assert get("doubt").wants == {"probs"} and inspect.getdoc(made["doubt"])
    finally:
        _KNOWN.pop("doubt", None)


def test_every_variable_of_the_environment_is_in_the_docs():
    text = (ROOT / "docs" / "running.md").read_text()
    sources = [
        file
        for room in ("data", "models", "heuristics", "experiments", "analysis")
        for file in (ROOT / room).rglob("*.py")
    ]
    for variable in {
        found for file in sources for found in re.findall(r"ALIQUOT_[A-Z]+(?:_[A-Z]+)*", file.read_text())
    }:
        assert f"| `{variable}` |" in text
