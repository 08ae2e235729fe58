"""train=head, proxy=head, starts and embeddings on frozen features, from options to deliverables."""

import numpy as np
import pytest
import torch

from data.inventory import take
from data.names import Missing, Refused
from data.store import Images
from experiments import loop
from experiments.classify import SCRIPT
from experiments.detect import SCRIPT as DETECT
from experiments.head_presets import PRESETS
from experiments.learning.batches import WithoutTargets
from experiments.learning.features import Features, features_of
from experiments.learning.querying import QueryOptions, query
from experiments.learning.randomness import START, generator
from experiments.segment import SCRIPT as SEGMENT
from experiments.tasks import classification
from experiments.tasks.head import fit_of, make_head
from experiments.tasks.representation import with_features
from experiments.tracking.checkpoints import run_key
from experiments.tracking.options import TABLES
from heuristics import get
from heuristics.core.fitting import fitting
from heuristics.core.initial import STARTS, start
from models.classifiers import make_classifier
from tests.experiments.runs import curve_of, picks_of, run_in_process

pytestmark = pytest.mark.processes  # whole runs of scripts

HEAD = {"train": "head", "features": "pixels", "features_size": 8, "n_cycles": 2, "mc_samples": 3, "head_l2": 10.0}
SHORT = {"n_cycles": 1, "steps": 3, "mc_samples": 2, "features": "pixels", "features_size": 8}


def run(**options):
    return run_in_process(SCRIPT, **{**HEAD, **options})


@pytest.fixture
def featured():
    options = SCRIPT.values(["tiny", *(f"{name}={value}" for name, value in HEAD.items())])
    return options, with_features(classification.load(options), options, classification.TASK).part("train")


def test_every_strategy_chooses_by_a_head(featured):
    options, train = featured
    task, labelled = classification.make_task(options, train), np.arange(0, 90, 5)
    head, images = task.make_model(), WithoutTargets(train)
    task.fit(head, labelled, 0)
    pool, known = np.setdiff1d(np.arange(90), labelled), {"labelled": train.subset(labelled)}
    asked = QueryOptions.of(options)
    chosen = {}
    for name in fitting(classification.OF_HEAD):
        evidence = loop.evidence_of(task, head, asked, 0, 0)
        chosen[name] = query(get(name), evidence, images, pool, asked, known).chosen
        assert len(set(chosen[name].tolist())) == 6 and chosen[name].max() < len(pool), name
    assert len(chosen) > 20 and chosen["margin"].tolist() != chosen["coreset"].tolist()


def test_features_are_no_way_to_targets(featured):
    images = features_of(WithoutTargets(featured[1])).images
    assert len(images) > len(featured[1]) and not {"target", "targets", "groups"} & {*dir(images)}


def test_round_0_is_the_same_for_all_strategies():
    folders = [run(heuristic=name, n_cycles=1) for name in ("badge", "random")]
    curves = [curve_of(folder) for folder in folders]
    assert all(curves[0][name][0] == curves[1][name][0] for name in curves[1])
    picks = [picks_of(folder) for folder in folders]
    assert picks[0][:18] == picks[1][:18] and picks[0] != picks[1] and len(set(picks[0])) == 24


@pytest.mark.parametrize("hidden", [0, 5])
def test_labels_that_were_not_bought_change_no_pick(monkeypatch, hidden):
    """Cross-validation included."""
    options = {"heuristic": "margin", "head_l2": 0.0, "head_hidden": hidden}
    honest = picks_of(run(**options))
    bought, true_target = {*honest[:24]}, Images.target
    scrambled = []

    def target(self, i):
        row = int(self.rows[i])
        if row in bought or self.parts[i] != "train":
            return true_target(self, i)
        scrambled.append(row)
        return torch.tensor((row * 7) % 9)

    monkeypatch.setattr(Images, "target", target)
    assert picks_of(run(**options, resume="fresh")) == honest and scrambled


@pytest.mark.parametrize("hidden", [0, 5])
def test_killed_at_a_query_it_goes_on_to_the_same_bits(monkeypatch, hidden):
    options = {"heuristic": "bald", "head_l2": 0.0, "head_hidden": hidden, "start": "warm"}
    whole = run(**options)
    real, asked = loop.query, []

    def query(*given):
        asked.append(given)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(loop, "query", query)
    with pytest.raises(KeyboardInterrupt):
        run(**options, resume="fresh")
    again = run(**options)
    assert curve_of(again) == curve_of(whole) and picks_of(again) == picks_of(whole) and len(asked) == 3


def test_one_class_alone_says_the_same_of_every_image(featured):
    options, train = featured
    head = make_head(options, train)
    fit_of(options, train, lambda labelled: None)(head, np.flatnonzero(train.groups == 2)[:1], 0)
    with torch.no_grad():
        probs = head(features_of(train).of(train.rows)[:, :, None, None]).softmax(1)
    assert (probs == probs[0]).all() and probs[0].argmax() == 2 and probs[0, 2] > 0.15


def test_views_are_of_the_same_image_and_change_the_head():
    plain = run(heuristic="random", augment="hflip")
    seen = run(heuristic="random", augment="hflip", feature_views=2)
    assert picks_of(plain) == picks_of(seen) and curve_of(plain)["nll"] != curve_of(seen)["nll"]
    assert run(heuristic="random", augment="flips_rot90") is None  # without views augment is not used: finished


def test_a_saved_head_needs_its_own_features():
    folder = run(heuristic="random", keep_models=True)
    models = folder.parent / "resume"
    (file,) = models.glob("*/model-2.pt")
    last = curve_of(folder)["accuracy"][-1]
    measured = SCRIPT.run("evaluate", ["tiny"], **HEAD, checkpoint=str(file))
    assert measured.result == last
    with pytest.raises(Refused, match="belongs to the features pixels at 8 pixels .* not to pixels at 16"):
        SCRIPT.run("evaluate", ["tiny"], **HEAD | {"features_size": 16}, checkpoint=str(file))


def test_a_proxy_chooses_and_the_network_is_trained():
    head = run(heuristic="margin", n_cycles=1)
    network = run_in_process(SCRIPT, **SHORT, heuristic="margin")
    proxied = run_in_process(SCRIPT, **SHORT, heuristic="margin", proxy="head", head_l2=10.0)
    assert picks_of(proxied) == picks_of(head) != picks_of(network)
    assert curve_of(proxied)["accuracy"][0] == curve_of(network)["accuracy"][0]


def test_supervised_check_and_pictures_work(capsys):
    assert run(command="supervised")
    SCRIPT.run("check", ["tiny"], **HEAD)
    assert "3 fits of a head at" in capsys.readouterr().out
    folder = run(heuristic="margin", save_maps=True, n_cycles=1)
    assert (folder / "cycle_00.png").is_file()


@pytest.mark.parametrize("initial", STARTS)
def test_the_first_labels_are_spread_over_frozen_features(featured, initial):
    _, train = featured
    expected = start(initial, features_of(train).of(train.rows), 18, generator(0, START, "initial"), len(train.classes))
    for options in ({**HEAD, "n_cycles": 0}, {**SHORT, "n_cycles": 0}):
        assert picks_of(run_in_process(SCRIPT, **options, initial=initial)) == sorted(expected.tolist())


@pytest.mark.parametrize("script", [SEGMENT, DETECT], ids=lambda script: script.name)
def test_masks_and_boxes_start_and_choose_on_frozen_features(script):
    options = {"features": "pixels", "features_size": 8, "n_cycles": 1, "steps": 2, "initial": "typiclust"}
    folder = run_in_process(script, **options, heuristic="coreset", embeddings="features")
    values = script.values(["tiny", *(f"{name}={value}" for name, value in options.items()), "embeddings=features"])
    train = script.load_splits(values).train
    n, frozen = values["n_initial"], features_of(train).of(train.rows)
    first = start("typiclust", frozen, n, generator(0, START, "initial"))
    picks = picks_of(folder)
    assert picks[:n] == sorted(first.tolist())
    pool = np.setdiff1d(np.arange(len(train)), picks[:n])
    more = {"n_query": values["n_query"], "rng": generator(0, 0, "select"), "n_pool": len(pool)}
    chosen = get("coreset")(embeddings=frozen[pool], labelled_embeddings=frozen[np.sort(picks[:n])], **more)
    assert picks[n:] == pool[np.asarray(chosen)].tolist()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_val": 9}, "n_val=9 with train=head: a head is fitted to convergence"),
        ({"proxy": "head"}, "train=head and proxy=head: the head chooses already"),
        ({"feature_views": 2, "augment": "none"}, "feature_views=2 and augment=none"),
        ({"heuristic": "deepfool"}, "'deepfool' needs images, which a head on frozen features does not give"),
        ({"features": "pixel"}, "features='pixel' is no frozen network.* Did you mean 'pixels'"),
        ({"heuristic": "bald", "dropout": 0.0}, "dropout=0, so stochastic passes would all be equal"),
    ],
)
def test_what_does_not_go_together_is_refused(options, sentence):
    with pytest.raises(Refused, match=sentence):
        run(**options)


def test_options_that_change_nothing_do_not_name_a_run():
    def key(task, **options):
        return run_key(task, {name: option.default for name, option in TABLES[task].items()} | options)

    head = {"train": "head", "features": "pixels"}
    assert key("classify", **head) == key("classify", **head, steps=9, lr=1.0, model="resnet18", start="warm")
    assert key("classify", **head) != key("classify", **head, head_l2=2.0)
    assert key("classify", train="head", features="untrained") != key(
        "classify", train="head", features="untrained", model="resnet18"
    )
    for task in TABLES:
        assert key(task) == key(task, features="pixels") != key(task, initial="kmeans")
        assert key(task, initial="kmeans") != key(task, initial="kmeans", features="pixels")


def weights_file(file, seed):
    torch.manual_seed(seed)
    model = make_classifier("small_cnn", 2, 3, 0.0, image_size=112)
    torch.save({"network": "small_cnn", "state_dict": model.state_dict()}, file)


@pytest.mark.parametrize("options", [HEAD, SHORT | {"initial": "kmeans"}], ids=["head", "first labels"])
def test_other_features_under_one_path_are_another_run(tmp_path, options):
    file, digests = tmp_path / "own.pt", []
    options = {**options, "n_cycles": 0, "features": str(file), "features_size": 0}
    for seed in (0, 1):
        weights_file(file, seed)
        begun = SCRIPT.run("main", ["tiny"], **options)
        assert begun is not None, "the other content was not taken for this"
        digests.append(begun.config["features_digest"])
    assert len(set(digests)) == 2 and SCRIPT.run("main", ["tiny"], **options) is None


def test_weights_of_a_network_do_not_change_the_features_of_a_head(tmp_path):
    """They do not name such a run."""
    weights_file(tmp_path / "own.pt", 3)
    found = []
    for weights in ("random", str(tmp_path / "own.pt")):
        options = SCRIPT.values(["tiny", "train=head", "features=untrained", "image_size=112", f"weights={weights}"])
        found.append(features_of(with_features(classification.load(options), options, classification.TASK)).identity)
    assert found[0] == found[1]


def test_what_strategies_see_later_does_not_change_the_first_labels(monkeypatch):
    options = SHORT | {"features": "untrained", "features_size": 0, "initial": "kmeans", "n_cycles": 0}
    monkeypatch.setattr(Features, "of", None)  # float16, and in other batches
    first = [picks_of(run_in_process(SCRIPT, **options, embeddings=whose)) for whose in ("model", "features")]
    assert first[0] == first[1]


def test_a_run_of_pretraining_that_is_not_there_is_told_of_the_option():
    with pytest.raises(Missing, match="features='simsiam:987': there is no encoder of run 987"):
        run(features="simsiam:987")


def test_the_code_of_all_strategies_that_choose_is_digested():
    """Not imported by name: those of the heuristic, of the first labels and of the second stage."""
    plain, *others = (
        SCRIPT.code_of(SCRIPT.values(["tiny", "heuristic=entropy", *words]))
        for words in ([], ["initial=maxherding"], ["initial=kmeans"], ["then=representative"])
    )
    assert len({plain, *others}) == 4


def test_what_is_read_says_which_features_and_what_is_not_used():
    options = SCRIPT.values(["tiny", *(f"{name}={value}" for name, value in HEAD.items())])
    notes = dict(take(SCRIPT.load_splits(options))["notes"])
    assert notes["features"].startswith("pixels at 8 pixels") and "steps=12" in notes["not used"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_of_heads_and_fit_their_pool(name):
    options = SCRIPT.values([name])
    SCRIPT.check(options)
    assert options["train"] == "head" and options["n_initial"] + options["n_cycles"] * options["n_query"] <= 410
