"""Options that are taken from the data: the rules, what stands above them, and that a run stays the same run."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from analysis.provenance import same_recipe
from data.catalogue import OWN
from data.names import Missing, Refused
from experiments import classify, detect, loop, segment
from experiments.grids.examining import examine
from experiments.tracking import declare, suited
from experiments.tracking.declare import QUICK, SUITED
from experiments.tracking.options import SUITABLE, TABLES
from experiments.tracking.suited import GPU, PROCESSOR, RECIPES, Seen
from tests.experiments.runs import run_in_process

SCRIPTS = {"segment": segment.SCRIPT, "classify": classify.SCRIPT, "detect": detect.SCRIPT}
EFFORTS = (QUICK, PROCESSOR, GPU)
SOME = Seen(n_pool=240, n_test=60, height=512, width=512, n_classes=2)


def asked(task, word=QUICK, **given):
    """All options, those that may be taken from the data with a word."""
    return declare.settle(TABLES[task], dict.fromkeys(SUITABLE[task], word).items(), given)


def suit(task, effort=QUICK, seen=SOME, **given):
    """What becomes of them."""
    return suited.suit(task, effort, asked(task, **given), seen)


seen_of_any_set = st.builds(
    Seen,
    n_pool=st.integers(2, 200_000),
    n_test=st.integers(1, 20_000),
    height=st.integers(8, 8000),
    width=st.integers(8, 8000),
    n_classes=st.integers(2, 200),
    largest=st.floats(0, 1),
)


@pytest.mark.parametrize("task", TABLES)
@pytest.mark.parametrize("effort", EFFORTS)
@settings(deadline=None)  # the first call imports
@given(seen=seen_of_any_set)
def test_any_set_gets_values_within_the_limits_and_its_budget(task, effort, seen):
    options = suit(task, effort, seen)
    assert not suited.wanted(options)
    declare.check(TABLES[task], options)
    spent = options["n_initial"] + options["n_query"] * options["n_cycles"]
    assert spent <= max(seen.n_pool // 2, options["n_initial"] + options["n_cycles"], 1) and spent <= seen.n_pool
    assert options["pool_subset"] == 0 or options["n_query"] <= options["pool_subset"] < seen.n_pool
    assert options == suit(task, effort, seen)


@pytest.mark.parametrize("effort", EFFORTS)
def test_crops_lie_within_the_pictures_that_are_made(effort):
    for height, width in ((522, 775), (128, 128), (3000, 4000), (200, 1200)):
        options = suit("segment", effort, Seen(100, 20, height, width, 2))
        assert options["crop"] % 16 == 0 and 32 <= options["crop"] <= RECIPES["segment"][effort]["crop"]
        assert options["crop"] <= min(height, width) * options["scale"] or options["crop"] == 32


def test_sizes_are_those_that_a_processor_can_train_on():
    glands = suit("segment", seen=Seen(85, 20, 522, 775, 2))
    assert (glands["scale"], glands["crop"]) == (0.2, 96)
    assert suit("segment", seen=Seen(85, 20, 100, 90, 2))["scale"] == 1.0
    assert suit("classify", seen=Seen(85, 20, 224, 300, 2))["image_size"] == 64
    assert suit("classify", seen=Seen(85, 20, 28, 30, 2))["image_size"] == 28


def test_pictures_of_small_boxes_are_shrunk_less():
    options = asked("detect")
    boxes = (0.0, 400.0, 60.0, 50.0, 5.0)
    scales = [suited.sizes("detect", QUICK, options, 1000, 1000, box)["scale"] for box in boxes]
    assert scales[0] == scales[1] == 0.14 and scales[2] == 0.2 and scales[3] == 0.24
    assert scales[4] == suited.LARGEST * 0.14


def test_what_is_given_stands_and_the_others_follow_it():
    default = suit("segment")
    assert suit("segment", steps=7) == default | {"steps": 7}
    more = suit("segment", n_initial=20)
    assert more["n_initial"] == 20 and more["n_query"] == 20 > default["n_query"]
    assert suit("segment", n_cycles=100)["n_query"] == 1
    assert suit("segment", scale=0.1)["crop"] == 48 and default["crop"] == 96
    assert suit("classify", image_size=32, model="resnet18") == suit("classify") | {
        "image_size": 32,
        "model": "resnet18",
    }


@pytest.mark.parametrize("task", TABLES)
def test_whole_volumes_are_chosen_from_all_of_the_pool(task):
    many = Seen(5000, 20, 64, 64, 2)
    assert suit(task, seen=many)["pool_subset"] == suited.SCORED
    assert suit(task, seen=many, unit="volume")["pool_subset"] == 0


def test_uneven_classes_are_measured_by_a_metric_that_they_do_not_decide():
    def metric(largest, n_classes):
        return suit("classify", seen=Seen(100, 20, 64, 64, n_classes, largest))["metric"]

    assert metric(0.55, 2) == "accuracy" and metric(0.9, 2) == "macro_auroc"
    assert metric(0.2, 5) == "accuracy" and metric(0.45, 5) == "macro_auroc"


def test_a_gpu_gets_more_to_do_and_small_pictures_the_network_for_them():
    assert suit("classify", GPU)["model"] == "resnet18" and suit("classify", GPU)["image_size"] == 224
    small = Seen(100, 20, 32, 32, 2)
    assert suit("classify", GPU, small)["model"] == "resnet18_cifar"
    for task in TABLES:
        quick, processor, gpu = (suit(task, effort)["steps"] for effort in EFFORTS)
        assert quick < processor < gpu
    words = asked("segment", SUITED)
    assert suited.effort_of(words, "cpu") == PROCESSOR and suited.effort_of(words, "cuda") == GPU
    assert suited.effort_of(words | {"steps": QUICK}, "cuda") == QUICK


@pytest.mark.parametrize("task", TABLES)
def test_every_recipe_holds_what_does_not_depend_on_the_data(task):
    counted = {"scale", "crop", "image_size", "metric", "n_initial", "n_query", "n_cycles", "pool_subset"}
    for recipe in RECIPES[task].values():
        assert set(SUITABLE[task]) - counted == recipe.keys() - {"side", "box"} - counted


@pytest.mark.parametrize("task", TABLES)
def test_the_presets_for_own_data_take_all_from_them(task):
    presets = SCRIPTS[task].presets
    own = [name for name in presets if presets[name][1].get("dataset") in OWN and not name.endswith("_head")]
    assert own and {f"{name}_quick" for name in own if not name.endswith("_quick")} <= set(own)
    for name in own:
        word = QUICK if name.endswith("_quick") else SUITED
        assert {option for option, value in presets[name][1].items() if value == word} == set(SUITABLE[task])


def test_quick_is_at_most_ten_minutes_by_its_own_guess():
    for task in TABLES:
        options = suit(task, seen=Seen(2000, 500, 600, 800, 4))
        assert 0.2 < suited.minutes(task, options, Seen(2000, 500, 600, 800, 4)) <= 10


def test_the_words_are_no_value_of_other_options():
    with pytest.raises(Refused, match="optimizer"):
        segment.SCRIPT.check(segment.SCRIPT.values(["tiny", "optimizer=suited"]))
    with pytest.raises(Refused, match="momentum='quick' must be a number"):
        segment.SCRIPT.values(["tiny", "momentum=quick"])


def test_sets_that_are_not_the_users_are_not_suited():
    with pytest.raises(Refused, match="steps is taken from your own data alone .*dataset=phantom"):
        segment.SCRIPT.run("main", ["tiny"], steps="suited")


@pytest.fixture
def discs(tmp_path):
    """Fourteen pictures of a bright disc, with its mask."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "discs" / kind).mkdir(parents=True)
    for number in range(14):
        add_disc(tmp_path / "discs", number, rng)
    return tmp_path / "discs"


def add_disc(root, number, rng):
    y, x = np.mgrid[:80, :100]
    disc = np.hypot(y - rng.integers(25, 55), x - rng.integers(25, 75)) < 20
    picture = rng.integers(0, 60, (80, 100)) + 150 * disc
    Image.fromarray(picture.astype(np.uint8)).save(root / "images" / f"{number}.png")
    Image.fromarray((disc * 255).astype(np.uint8)).save(root / "masks" / f"{number}.png")


SHORT = {"steps": 2, "width": 2}


def start(root, command="main", **given):
    return run_in_process(segment.SCRIPT, command, ["folder_quick"], data_root=str(root), **{**SHORT, **given})


def config(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.filterwarnings("ignore:the masks hold only")
def test_an_own_folder_end_to_end(discs, capsys):
    first = start(discs)
    said = capsys.readouterr().out
    assert "11 images to learn from of about 80x100, 3 to test, 2 classes, for two cores: scale=1.0, crop=80" in said
    assert "on two cores" in said and "steps=" not in said.partition("classes")[2].splitlines()[0]
    stored = config(first)
    assert (stored["crop"], stored["n_initial"], stored["steps"], stored["width"]) == (80, 2, 2, 2)
    assert not suited.wanted(stored)
    assert start(discs) is None and "finished before" in capsys.readouterr().out
    assert same_recipe(config(start(discs, "supervised")), [stored])
    again = segment.SCRIPT.run("main", [f"{first}/config.json"])
    assert again is None, "the values that a run has stored are the run"


@pytest.mark.filterwarnings("ignore:the masks hold only")
def test_a_grid_knows_the_run_by_the_same_key(discs):
    words = ("folder_quick", f"data_root={discs}", *(f"{name}={value}" for name, value in SHORT.items()))
    (job,) = examine("segment", "main", [words])
    assert not job.finished and not any("quick" in word for word in job.key.split("-"))
    start(discs)
    (now,) = examine("segment", "main", [words])
    assert now.finished and now.key == job.key


@pytest.mark.filterwarnings("ignore:the masks hold only")
def test_a_stopped_run_goes_on_with_its_values(discs, capsys):
    measure = loop.measure

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "measure", lambda study, cycle, *given: stop() if cycle else measure(study, cycle, *given))
        with pytest.raises(KeyboardInterrupt):
            start(discs, n_cycles=2)
    assert start(discs, n_cycles=2) is not None
    assert "Continuing after 1 finished cycles" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:the masks hold only")
def test_more_images_are_another_run_and_the_same_images_elsewhere_have_the_same_values(discs, tmp_path):
    options = [segment.SCRIPT.suited(segment.SCRIPT.values(["folder_quick", f"data_root={discs}"]))[0]]
    shutil.copytree(discs, tmp_path / "copy")
    copy = segment.SCRIPT.values(["folder_quick", f"data_root={tmp_path / 'copy'}"])
    options.append(segment.SCRIPT.suited(copy)[0])
    for number in range(14, 60):
        add_disc(discs, number, np.random.default_rng(number))
    options.append(segment.SCRIPT.suited(segment.SCRIPT.values(["folder_quick", f"data_root={discs}"]))[0])
    budgets = [(chosen["n_initial"], chosen["n_query"]) for chosen in options]
    assert budgets[0] == budgets[1] != budgets[2]


def test_what_cannot_work_is_refused_before_data_are_read(tmp_path, capsys):
    with pytest.raises(Refused, match="entropi"):
        segment.SCRIPT.run("main", ["folder_quick"], data_root=str(tmp_path), heuristic="entropi")
    with pytest.raises(Missing, match="expected this tree"):
        segment.SCRIPT.run("main", ["folder_quick"], data_root=str(tmp_path))
    with pytest.raises(Missing, match="absent"):
        detect.SCRIPT.run("main", ["voc_quick"], data_root=str(tmp_path / "absent"))
    segment.SCRIPT.run("print_config", ["folder_quick"], data_root=str(tmp_path))
    assert "'quick'" in capsys.readouterr().out
