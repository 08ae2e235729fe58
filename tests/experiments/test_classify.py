"""classify.py from options to deliverables, on the built-in data."""

import csv
import json
import re

import numpy as np
import pytest
import torch

from data import catalogue
from data.inventory import take
from data.names import Refused
from data.phantoms.tissue import phantom
from data.splits import make_splits
from data.store import Images
from experiments import simulation
from experiments.classify import PRESETS, SCRIPT
from experiments.learning.randomness import generator
from experiments.learning.recipe import Recipe
from experiments.measures.classification import classification_metrics
from experiments.measures.table import CLASSIFICATION as METRICS
from experiments.tasks import classification
from experiments.tracking import declare
from heuristics.core.fitting import fitting
from tests.experiments.runs import ROOT, command_line, curve_of, picks_of, run_in_process

SHORT = {"n_cycles": 1, "steps": 3, "mc_samples": 2}  # the pool of `tiny` is 90 images of 9 classes
FOR_CLASSES = fitting(classification.GIVES)
CLASSIFY = ROOT / "experiments" / "classify.py"


def run(command="main", presets=("tiny",), **options):
    return run_in_process(SCRIPT, command, presets, **options)


@pytest.fixture(scope="module")
def images(phantom_cache):
    return phantom(image_size=16, cache_root=phantom_cache, **PRESETS["tiny"][1]["dataset_options"])


@pytest.fixture(scope="module")
def first_round(tmp_path_factory, phantom_cache):
    """Round 0 that all heuristics of run 0 share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIQUOT_RUNS", str(tmp_path_factory.mktemp("first")))
        patch.setenv("ALIQUOT_CACHE", str(phantom_cache))
        folder = run(**SHORT, n_val=9, heuristic="random", drawn=True)
        return {name: values[0] for name, values in curve_of(folder).items()}, picks_of(folder)[:18]


@pytest.mark.parametrize("heuristic", FOR_CLASSES)
def test_every_heuristic_runs_and_shares_round_0(heuristic, first_round):
    """Same run: the same initial set and the same first model, to the last digit."""
    folder = run(**SHORT, n_val=9, heuristic=heuristic)
    picks = picks_of(folder)
    assert {
        name: values[0] for name, values in curve_of(folder).items() if not name.startswith("score_")
    } == first_round[0]
    assert picks[:18] == first_round[1] and len(set(picks)) == 24 and max(picks) < 90


@pytest.mark.parametrize("initial", ["kmeans", "typiclust"])
def test_the_first_labels_can_be_chosen_by_clustering_untrained_features(initial, first_round):
    folders = [run(**SHORT, initial=initial, heuristic=h) for h in ("random", "margin")]
    starts = [sorted(picks_of(folder)[:18]) for folder in folders]
    assert starts[0] == starts[1] != sorted(first_round[1]) and len(set(starts[0])) == 18
    assert curve_of(folders[0])["accuracy"][0] == curve_of(folders[1])["accuracy"][0]


@pytest.mark.parametrize("then", ["kmeans", "coreset", "representative"])
def test_a_second_stage_spreads_the_highest_scores(then):
    alone = picks_of(run(**SHORT, heuristic="entropy"))
    spread = picks_of(run(**SHORT, heuristic="entropy", then=then, candidates=3))
    among = picks_of(run(**SHORT | {"n_query": 18}, heuristic="entropy"))  # the shortlist: 3 x 6 highest scores
    assert spread[:18] == alone[:18] and set(spread[18:]) <= set(among[18:]) and set(spread[18:]) != set(alone[18:])


def test_boxes_are_for_detection_and_a_second_stage_is_for_scores():
    with pytest.raises(Refused, match="'box_entropy' needs boxes, which a classifier does not give"):
        run(**SHORT, heuristic="box_entropy")
    with pytest.raises(
        Refused, match="then=kmeans needs one score per image; heuristic 'coreset' chooses whole batches"
    ):
        run(**SHORT, heuristic="coreset", then="kmeans")
    with pytest.raises(Refused, match="select=power and then=kmeans both choose the batch"):
        run(**SHORT, heuristic="entropy", then="kmeans", select="power")


def test_glister_without_a_validation_set_looks_at_the_labelled_one():
    assert len(set(picks_of(run(**SHORT, heuristic="glister")))) == 24


def test_same_command_same_bits_and_other_run_other_numbers():
    options = {**SHORT, "heuristic": "bald", "resume": "fresh"}
    first, again, other = (run(**options, run=r) for r in (1, 1, 2))
    assert curve_of(first) == curve_of(again) and picks_of(first) == picks_of(again)
    assert curve_of(first)["train_loss"][0] != curve_of(other)["train_loss"][0]
    assert set(picks_of(first)[:18]) != set(picks_of(other)[:18])


@pytest.mark.parametrize("heuristic", ["badge", "glister", "margin"])
def test_labels_of_the_pool_change_no_pick(monkeypatch, images, heuristic):
    """What the labels that were not bought are cannot reach a choice."""
    options = {**SHORT, "heuristic": heuristic, "n_val": 9, "class_weighting": "balanced"}
    honest = picks_of(run(**options))
    splits = make_splits(images, 9, generator(0, 0, "split"))
    known = {*honest[:18], *splits.val.rows.tolist()}
    true_target, noise, scrambled_rows = Images.target, np.random.default_rng(0), set()

    def scrambled(self, i):
        target, row = true_target(self, i), int(self.rows[i])
        if self.parts[i] != "train" or row in known:
            return target
        scrambled_rows.add(row)
        return target.new_tensor(noise.integers(9))

    def told(*arguments, **named):
        """What a run says that it read counts the classes of the pool too, for people alone."""
        with monkeypatch.context() as honestly:
            honestly.setattr(Images, "target", true_target)
            return take(*arguments, **named)

    monkeypatch.setattr(simulation, "take", told)
    monkeypatch.setattr(Images, "target", scrambled)
    assert picks_of(run(**options, resume="fresh")) == honest
    assert scrambled_rows == set(honest[18:]), "only the picks are read, when they are trained on"


MISTAKES = [
    ({"heuristic": "bagde"}, "unknown heuristic 'bagde'. Did you mean 'badge'\\?"),
    ({"dataset": "pathmist"}, "unknown dataset 'pathmist'. Did you mean 'pathmnist'\\?"),
    ({"dataset": "chestmnist"}, "chestmnist gives each image 14 yes-or-no labels"),
    ({"dataset_options": {"n_pol": 5}}, "dataset 'phantom' has no option 'n_pol'. Did you mean 'n_pool'\\?"),
    ({"dataset_options": {"n_pool": "many"}}, "dataset 'phantom': n_pool='many' must be a whole number"),
    (
        {"dataset_options": {"image_size": 32}},
        "dataset_options.image_size is no option of a dataset; set dataset, data_root or the size",
    ),
    ({"heuristic_options": {"metric": "l2"}}, "heuristic 'random' has no option 'metric'"),
    ({"image_size": -1}, "image_size=-1 must be between 0 and 4096"),
    ({"image_size": 4}, "image_size=4 is too small for small_cnn, which needs at least 8 pixels a side"),
    ({"weights": "imagnet"}, "Did you mean 'imagenet'"),
    ({"weights": "simsiam:12"}, "there is no encoder of run 12 .*; no run there has one"),
    ({"weights": "simsiam:x"}, "expected the number of a run of pretrain.py, such as simsiam:12"),
    ({"model": "timm:test_resnt"}, "timm has no network 'test_resnt'. Did you mean 'test_resnet'"),
    ({"model": "resnet"}, "unknown model 'resnet'. Did you mean 'resnet"),
    ({"model": "densenet121"}, "image_size=16 is too small for densenet121, which needs at least 29"),
    ({"weights": "imagenet"}, "there are no ImageNet weights for 'small_cnn': use weights=random, or one of resnet18"),
    ({"weights": "absent.pt"}, "weights='absent.pt' is neither random nor imagenet nor simsiam:<run>, and there is no file .*absent.pt"),
    ({"augment": "hflipp"}, "unknown augment 'hflipp'. Did you mean 'hflip'\\?"),
    ({"class_weighting": "balance"}, "unknown class_weighting 'balance'. Did you mean 'balanced'\\?"),
    ({"label_smoothing": 1.5}, "label_smoothing=1.5 must be between 0 and 1"),
    ({"metric": "nll"}, "unknown metric 'nll'"),
    ({"metric": "mc_accuracy"}, "metric 'mc_accuracy' .*eval_samples"),
    ({"aggregate": "max"}, "aggregate=max is for maps of scores, and a classifier gives none: use aggregate=mean"),
    ({"heuristic": "badge", "select": "power"}, "select=power needs one score per image"),
    ({"heuristic": "badge", "balance": "predicted"}, "balance=predicted needs one score per image"),
]


@pytest.mark.parametrize(("options", "sentence"), MISTAKES, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_mistakes_in_options_are_refused_before_data_are_loaded(monkeypatch, options, sentence):
    monkeypatch.setattr(classification, "load_images", None)
    with pytest.raises(Refused, match=sentence):
        run(**options)


LATER = [
    ({"n_cycles": 99}, "are 612 labels, but the pool has 90 images; n_cycles=12 is the most"),
    (
        {"heuristic": "badge", "memory_limit": 1e-9},
        "of 72 images is .* GB, above memory_limit=1e-09: use a streamed heuristic",
    ),
]


@pytest.mark.parametrize(("options", "sentence"), LATER, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_mistakes_that_only_the_data_or_the_training_show(options, sentence):
    with pytest.raises(Refused, match=sentence):
        run(**{"steps": 1, **options})


def test_deliverables(tmp_path, images):
    options = {
        "heuristic": "bald",
        "save_maps": True,
        "eval_samples": 2,
        "results_dir": str(tmp_path / "out"),
        "metric": "macro_auroc",
    }
    folder = run(**options, drawn=True)
    curve = np.load(folder / "curve.npy")
    assert curve["n_labelled"].tolist() == [18, 24, 30]
    measured = {*METRICS, "nll", "ece"}
    assert measured | {f"mc_{m}" for m in measured} | {"n_validation", "train_seconds", "loader_share"} <= set(
        curve.dtype.names
    )
    by_class = [np.stack([curve[f"{m}accuracy[{c}]"] for c in images.classes]) for m in ("", "mc_")]
    n_test = np.bincount(images.part("test").groups, minlength=9)
    for values, prefix in zip(by_class, ("", "mc_"), strict=True):
        assert np.allclose(n_test @ values / n_test.sum(), curve[f"{prefix}accuracy"])
        assert np.allclose(values.min(0), curve[f"{prefix}worst_class_accuracy"])
    table = list(csv.reader((folder / "confusion.csv").read_text().splitlines()))
    assert table[0] == ["truth", *images.classes] and [row[0] for row in table[1:]] == list(images.classes)
    confusion = np.array([row[1:] for row in table[1:]], dtype=int)
    assert confusion.sum(1).tolist() == n_test.tolist()
    assert np.allclose(confusion.diagonal() / n_test, by_class[0][:, -1])
    picks = picks_of(folder)
    rows = list(csv.DictReader((folder / "picks.csv").read_text().splitlines()))
    assert [int(r["index"]) for r in rows] == picks and len(set(picks)) == 30
    assert [r["cycle"] for r in rows] == ["initial"] * 18 + ["0"] * 6 + ["1"] * 6
    assert all(r["file"].startswith("train_") for r in rows) and rows[18]["score"] >= rows[19]["score"]
    for picture in ("curve.png", "cycle_00.png", "cycle_01.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert np.load(tmp_path / "out" / "bald_0.npy").tolist() == curve["macro_auroc"].tolist()
    recorded = json.loads((folder / "metrics.json").read_text())
    assert set(recorded) >= measured | {f"accuracy[{c}]" for c in images.classes}
    trivial = json.loads((folder / "info.json").read_text())["trivial"]
    assert trivial["macro_auroc"] == trivial["mc_macro_auroc"] == 0.5
    assert trivial["accuracy"] == pytest.approx(n_test.max() / n_test.sum())


def test_a_run_says_what_its_result_is_beside_the_trivial_prediction(capsys):
    folder = run(**SHORT, metric="worst_class_accuracy")
    out = capsys.readouterr().out
    assert curve_of(folder)["worst_class_accuracy"][-1] == 0
    assert re.search(r"trivial prediction: worst_class_accuracy 0.0000 \(always .+\)\n.* of 0.0000 is no better", out)
    folder = run(**SHORT, metric="macro_auroc")
    out = capsys.readouterr().out
    assert curve_of(folder)["macro_auroc"][-1] > 0.5
    assert "trivial prediction: macro_auroc 0.5000 (always" in out and "no better" not in out
    run("evaluate", **SHORT, metric="macro_auroc")
    out = capsys.readouterr().out
    assert re.search(r"macro_auroc +0\.\d+ +0\.5000\n", out) and re.search(r"accuracy\[.+\] +\d\.\d{4}\n", out)


def test_pictures_of_a_selector_have_no_scores_and_change_nothing():
    plain, drawn = (run(**SHORT, heuristic="coreset", save_maps=s, resume="fresh") for s in (False, True))
    assert picks_of(plain) == picks_of(drawn) and curve_of(plain) == curve_of(drawn)
    assert (drawn / "cycle_00.png").exists() and not (plain / "cycle_00.png").exists()


def test_an_oracles_start_takes_every_class(images):
    folder = run(**SHORT, initial="stratified")
    assert set(images.groups[picks_of(folder)[:18]].tolist()) == set(range(9))


def test_supervised_trains_on_everything_and_evaluate_measures_the_saved_model():
    upper = run("supervised", **SHORT)
    assert curve_of(upper)["n_labelled"] == [90.0]
    folder = run(**SHORT)
    evaluated = SCRIPT.run("evaluate", ["tiny"], **SHORT)
    assert evaluated.result == pytest.approx(curve_of(folder)["accuracy"][-1], abs=1e-12)
    with pytest.raises(Refused, match="split=val, but this division has no validation images"):
        run("evaluate", **SHORT, split="val")


def test_evaluation_is_that_of_one_image_at_a_time(images):
    """Batches, their last short one and the order of the images leave all metrics as they are."""
    options = options_of("tiny")
    task = classification.make_task({**options, "eval_batch_size": 7, "precision": "float32"}, images)
    torch.manual_seed(0)
    model, test = task.make_model().eval(), images.part("test")
    row = task.evaluate(model, test, 0)
    with torch.no_grad():
        probs = torch.cat([model(test.image(i)[None]).double().softmax(1) for i in range(len(test))]).numpy()
    expected = classification_metrics(probs, np.array([int(test.target(i)) for i in range(len(test))]))
    of_classes = zip(test.classes, expected.pop("per_class_accuracy"), strict=True)
    expected |= {f"accuracy[{c}]": value for c, value in of_classes}
    assert row.keys() == expected.keys() and row.pop("confusion") == expected.pop("confusion")
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_metrics_see_float64_and_heuristics_float32(images, precision, monkeypatch):
    seen = []
    measured = classification.classification_metrics
    monkeypatch.setattr(
        classification, "classification_metrics", lambda *given: seen.append(given[0]) or measured(*given)
    )
    task = classification.make_task({**options_of("tiny"), "eval_samples": 2, "precision": precision}, images)
    model = task.make_model().eval()
    with torch.no_grad():
        task.evaluate(model, images.part("test"), 0)
        found = task.evidence(model, images.image(0)[None], frozenset({"probs", "mc_mean", "mc_entropy"}), 2, 0)
    assert [probs.dtype for probs in seen] == [np.float64, np.float64] and all(
        e.dtype == torch.float32 for e in found.values()
    )
    assert all(np.abs(probs.sum(1) - 1).max() < 1e-14 for probs in seen)


def test_batches_are_augmented_only_in_training_and_weighted_by_the_labelled_set(images):
    labelled = np.array([i for c, n in enumerate((4, 2, 1)) for i in np.flatnonzero(images.groups == c)[:n]])
    options = {**options_of("tiny"), "augment": "hflip", "class_weighting": "balanced", "batch_size": 7}
    batches = classification.make_batches(options, images.part("train"))(labelled, 0, None)
    pictures, (classes, weights) = batches.prepare(batches[0], generator(0, 0, "augment", 0, 1))
    assert weights.tolist() == pytest.approx([7 / 12, 7 / 6, 7 / 3, 0, 0, 0, 0, 0, 0])
    flipped = []
    for picture, label, member in zip(pictures, classes, batches.members(0), strict=True):
        stored = images.image(member)
        flipped.append(torch.allclose(picture, stored.flip(-1), atol=1e-6))
        assert flipped[-1] or torch.allclose(picture, stored, atol=1e-6)
        assert label == images.target(member)
    assert 0 < sum(flipped) < 7


class Given(torch.nn.Module):
    """A model whose logits are known."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, pictures):
        return self.logits


def test_loss_is_weighted_and_smoothed(images):
    torch.manual_seed(0)
    logits, classes = torch.randn(5, 9), torch.tensor([0, 1, 1, 2, 8])
    weights = torch.arange(1.0, 10)
    loss = classification.make_task({**options_of("tiny"), "label_smoothing": 0.1}, images).loss
    smooth = torch.full((5, 9), 0.1 / 9).scatter_add(1, classes[:, None], torch.full((5, 1), 0.9))
    expected = -(smooth * weights * logits.log_softmax(1)).sum() / weights[classes].sum()
    model = Given(logits)
    assert loss(model, (torch.zeros(5, 3, 16, 16), (classes, weights))) == pytest.approx(
        float(expected), rel=1e-5
    )
    plain = -(smooth * logits.log_softmax(1)).sum() / 5
    assert loss(model, (torch.zeros(5, 3, 16, 16), (classes, None))) == pytest.approx(
        float(plain), rel=1e-5
    )


def options_of(preset):
    """All options as a preset leaves them."""
    return declare.settle(SCRIPT.options, PRESETS[preset][1].items(), {})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_says_what_it_is_for(preset):
    sentence, changed = PRESETS[preset]
    SCRIPT.check(options_of(preset))
    assert changed.keys() <= SCRIPT.options.keys()
    assert SCRIPT.ex.named_configs[preset].__doc__ == sentence and 30 < len(sentence) < 300 and sentence.endswith(".")
    assert not re.search(r"\s\s|\n", sentence)


def test_every_dataset_has_a_preset():
    names = set(catalogue.names("classify"))
    assert names <= PRESETS.keys() and {options_of(name)["dataset"] for name in names} == names


def test_presets_train_as_long_as_they_say():
    published = [Recipe.of(options_of(p), n) for p, n in (("nct_low", 50), ("isic_low", 300), ("nct_high", 1000))]
    assert [recipe.steps for recipe in published] == [100, 600, 781]
    assert all(
        isinstance(recipe, Recipe) and recipe.optimizer == "sgd" and recipe.weight_decay == 5e-4 for recipe in published
    )


def test_own_folder_of_one_folder_per_class_in_grey(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, n in (("train", 8), ("test", 3)):
        for name in ("benign", "malignant"):
            (tmp_path / "mine" / part / name).mkdir(parents=True)
            for i in range(n):
                picture = rng.integers(0, 120, (20, 24 + i)) + 120 * (name == "malignant")
                Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "mine" / part / name / f"{part}{i}.png")
    options = {
        "dataset": "folder",
        "data_root": str(tmp_path / "mine"),
        "model": "small_cnn",
        "n_initial": 4,
        "n_query": 2,
        **SHORT,
    }
    folder = run(presets=("folder",), heuristic="badge", image_size=16, **options)
    assert curve_of(folder)["n_labelled"] == [4, 6]
    with pytest.raises(
        Refused, match="the images of 'folder' have 8 sizes, from 20x24 to 20x31: bring them to one, for example"
    ):
        run(presets=("folder",), image_size=0, **options)


def test_weights_from_a_file_are_where_training_starts(tmp_path, images):
    task = classification.make_task(options_of("tiny"), images)
    torch.manual_seed(1)
    torch.save(task.make_model().state_dict(), tmp_path / "w.pt")
    options = {**options_of("tiny"), "weights": str(tmp_path / "w.pt")}
    SCRIPT.check(options)
    one, two = (classification.make_task(options, images).make_model() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_options_of_datasets_and_heuristics_are_taken_from_the_command_line():
    words = [
        "with",
        "tiny",
        "steps=1",
        "n_cycles=1",
        "heuristic=coreset",
        "heuristic_options.metric=cosine",
        "dataset_options.n_test=20",
    ]
    process = command_line(*words, script=CLASSIFY)
    assert process.returncode == 0 and "area under the curve of accuracy" in process.out, process.err
    assert "Added new config entry" not in process.err


def test_the_manual_reads_like_one(capsys):
    SCRIPT.run("print_named_configs")
    manual = capsys.readouterr().out
    for preset in PRESETS:
        assert re.search(rf"^  {preset}\W.*# ", manual, re.MULTILINE), preset
    SCRIPT.run("print_config")
    config = capsys.readouterr().out
    assert "dataset_options" in config
    assert not [line for line in config.splitlines()[1:] if " = " in line and "#" not in line]
