"""Every mistake is one sentence: the value, what was expected, the nearest valid choice; no run is recorded."""

import os
from pathlib import Path

import pytest
import torch

from data.names import Refused
from experiments.segment import PRESETS, SCRIPT
from tests.experiments.runs import ROOT, command_line, run_in_process

MISTAKES = [
    ({"heuristc": "bald"}, "unknown option 'heuristc'. Did you mean 'heuristic'\\?"),
    ({"heuristic": "bold"}, "unknown heuristic 'bold'. Did you mean 'bald'\\? Known: "),
    ({"dataset": "glass"}, "unknown dataset 'glass'. Did you mean 'glas'\\?"),
    ({"aggregate": "men"}, "unknown aggregate 'men'. Did you mean 'mean'\\?"),
    ({"select": "tops"}, "unknown select 'tops'. Did you mean 'top'\\?"),
    ({"optimizer": "adam"}, "unknown optimizer 'adam'. Did you mean 'adamw'\\?"),
    ({"loss": "dise"}, "unknown loss 'dise'. Did you mean 'dice'\\?"),
    ({"augment": "hflipp"}, "unknown augment 'hflipp'. Did you mean 'hflip'\\?"),
    ({"metric": "mc_dice"}, "metric 'mc_dice' .*eval_samples"),
    ({"metric": "dise"}, "unknown metric 'dise'. Did you mean 'dice'\\?"),
    ({"n_query": "three"}, "n_query='three' must be a whole number, like 6"),
    ({"n_query": 2.5}, "n_query=2.5 must be a whole number"),
    ({"save_maps": "true"}, "save_maps='true' must be True or False"),
    ({"mc_samples": 0}, "mc_samples=0 must be between 1 and"),
    ({"dropout": 1.0}, "dropout=1.0 must be between 0 and 0.999"),
    ({"lr": -1.0}, "lr=-1.0 must be between 0 and"),
    ({"steps": 0}, "steps=0 and epochs=0"),
    ({"dropout": 0.0, "heuristic": "bald"}, "dropout=0, so stochastic passes would all be equal: set dropout above 0"),
    (
        {"mc_samples": 1, "heuristic": "bald"},
        "mc_samples=1: heuristic 'bald' compares stochastic passes, use at least 2",
    ),
    ({"pool_subset": 2}, "pool_subset=2 is less than n_query=3"),
    ({"device": "gpu"}, "unknown device 'gpu'"),
    ({"device": "cpu:7"}, "device=cpu:7 was asked for, but this machine has none such"),
    ({"heuristic_options": {"metric": "l2"}}, "heuristic 'random' has no option 'metric'"),
    ({"heuristic": "random", "balance": "predicted"}, "balance=predicted needs one score per image"),
    ({"heuristic": "coreset", "select": "power"}, "select=power needs one score per image"),
    ({"heuristic": "coreset", "heuristic_options": {"metrik": "l2"}}, "has no option 'metrik'. Did you mean 'metric'"),
]


@pytest.mark.parametrize(("options", "sentence"), MISTAKES, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_mistakes_in_options(options, sentence):
    with pytest.raises(Refused, match=sentence):
        run_in_process(SCRIPT, **options)
    assert not list(Path(os.environ["ALIQUOT_RUNS"]).glob("[0-9]*")), "nothing is recorded"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(Refused, match="device=cuda was asked for, but this machine has none such .*use device=cpu"):
        run_in_process(SCRIPT, device="cuda")


LATER = [
    ({"n_initial": 99}, "n_initial=99, but the pool has 24 images"),
    ({"n_cycles": 9}, "are 31 labels, but the pool has 24 images; n_cycles=6 is the most"),
    ({"n_val": 24}, "n_val=24"),
    ({"dataset": "glas", "data_root": "nowhere"}, "nowhere/glas.* does not exist; expected this tree"),
    ({"dataset": "folder", "data_root": "nowhere"}, "nowhere.* does not exist; expected this tree"),
    ({"splits_dir": "nowhere"}, "nowhere"),
    (
        {"heuristic": "coreset", "memory_limit": 1e-9},
        "embeddings at 16 of 4 images is 0.0 GB, above memory_limit=1e-09: use a streamed",
    ),
    ({"lr": 1e3, "optimizer": "sgd", "weight_decay": 1e3}, "the loss is .* at step .*images train_.*lower lr=1000.0"),
]


@pytest.mark.parametrize(("options", "sentence"), LATER, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_mistakes_that_only_the_data_or_the_training_show(options, sentence):
    with pytest.raises(Refused, match=sentence):
        run_in_process(SCRIPT, **options)


@pytest.mark.parametrize("word", ["run=abc", "seed=007", "run=1.5"])
def test_a_run_is_a_whole_number(word):
    process = command_line("with", "tiny", word)
    name = word.split("=")[0]
    assert (
        process.returncode == 1 and process.err.strip() == f"Refused: {word}: expected a whole number such as {name}=3"
    )


def test_on_the_command_line_a_mistake_is_one_line_and_exit_code_1():
    process = command_line("with", "tiny", "heuristic=bold")
    assert process.returncode == 1
    assert "Refused: unknown heuristic 'bold'. Did you mean 'bald'?" in process.err
    assert "Traceback" not in process.err + process.out


@pytest.mark.parametrize(("words", "sentence"), [(["=1"], "'=1' names no option: expected name=value"), (["RUN=1"], "Did you mean 'run'")])
def test_words_that_name_no_option(words, sentence):
    with pytest.raises(Refused, match=sentence):
        SCRIPT.command_line(["with", "tiny", *words])


def test_scripts_agree_from_the_root_and_from_their_own_folder():
    folders = (ROOT, ROOT / "experiments")
    one, two = (command_line("print_config", "with", "glas_quick", cwd=folder) for folder in folders)
    assert one.returncode == two.returncode == 0 and one.out == two.out and "heuristic = " in one.out


def test_the_manual_reads_like_one():
    process = command_line("print_named_configs")
    for preset in PRESETS:
        line = next(line for line in process.out.splitlines() if line.strip().startswith(preset))
        assert "#" in line and len(line) > 30, line
    config = command_line("print_config").out
    undocumented = [line for line in config.splitlines()[1:] if " = " in line and "#" not in line]
    assert not undocumented
