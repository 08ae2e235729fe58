"""Learning without labels in steps: it helps where it can, reads no hidden label, and draws the same again."""

import numpy as np
import pytest
import torch

from data.names import Refused
from data.store import Images
from experiments import loop
from experiments.classify import SCRIPT as CLASSIFY
from experiments.learning.batches import Mixed, WithoutTargets
from experiments.learning.querying import QueryOptions, query
from experiments.learning.randomness import torch_seeded
from experiments.learning.teacher import MeanTeacher, Twins, network_of
from experiments.learning.training import fit
from experiments.segment import SCRIPT as SEGMENT
from experiments.tasks import classification, segmentation
from experiments.tracking.checkpoints import run_key
from experiments.tracking.unlabelled_options import ARMS, USED
from heuristics import get
from heuristics.core.fitting import fitting
from tests.experiments.easy_sets import discs, stripes

TASKS = {"classify": (CLASSIFY, classification, stripes), "segment": (SEGMENT, segmentation, discs)}
SHARED = {"precision": "float32", "augment": "none", "dropout": 0.0}
EASY = {
    "classify": SHARED | {"steps": 40, "batch_size": 2, "mu": 6, "class_weighting": "none"},
    "segment": SHARED | {"steps": 80, "batch_size": 2, "mu": 3, "width": 4, "depth": 3, "crop": 32},
}
STEPS = [("classify", "fixmatch"), ("classify", "mean_teacher"), ("segment", "mean_teacher"), ("segment", "cps")]


def made(task, cache, **options):
    """Options, task and batches on its easy problem, and the images to learn from and to test."""
    script, module, images_of = TASKS[task]
    chosen = script.values(["tiny", *(f"{name}={value}" for name, value in (EASY[task] | options).items())])
    images = images_of(cache)
    train = images.part("train")
    return chosen, module.make_task(chosen, train), module.make_batches(chosen, train), train, images.part("test")


def trained(task, cache, labelled, metric, **options):
    """What a network reaches that learns from these labels, and how right its pseudo-labels are."""
    chosen, record, batches_of, _, test = made(task, cache, **options)
    with torch_seeded(0, 0, "weights"):
        model = record.make_model()
    fit(model, record.loss, batches_of(np.array(labelled), 0, None), before_step=record.before_step)
    return record.evaluate(model, test, 0)[metric], record.report(model, np.array(labelled), 0) if record.report else {}


@pytest.fixture(scope="module")
def alone(phantom_cache):
    """What the labels alone reach."""
    found = {"classify": trained("classify", phantom_cache, [0, 1], "accuracy")[0]}
    return found | {"segment": trained("segment", phantom_cache, [7, 8], "dice")[0]}


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("classify", {"unlabelled": "fixmatch", "pseudo_threshold": 0.8}),
        ("classify", {"unlabelled": "mean_teacher", "pseudo_weight": 10.0, "ramp_up": 20}),
        ("segment", {"unlabelled": "mean_teacher", "pseudo_weight": 3.0, "ramp_up": 30}),
        ("segment", {"unlabelled": "cps", "ramp_up": 30}),
    ],
)
def test_images_without_labels_help(task, options, alone, phantom_cache):
    """As many steps as without them, of two labelled images."""
    labelled, metric = {"classify": ([0, 1], "accuracy"), "segment": ([7, 8], "dice")}[task]
    reached, report = trained(task, phantom_cache, labelled, metric, **options)
    assert reached > alone[task] + (0.2 if task == "classify" else 0.08)
    assert report["pseudo_precision"] > 0.9 and report["pseudo_recall"] > 0.9


@pytest.mark.parametrize(("task", "arm"), STEPS)
def test_a_companion_is_a_function_of_the_step_and_leaves_the_labelled_part_alone(task, arm, phantom_cache):
    plain = made(task, phantom_cache, augment="hflip")[2](np.arange(6), 1, None)
    batches = made(task, phantom_cache, augment="hflip", unlabelled=arm)[2](np.arange(6), 1, None)
    drawn = []
    real = batches.companion.draw
    object.__setattr__(batches.companion, "draw", lambda i, rng: drawn.append(i) or real(i, rng))
    for step in (5, 0, 5):
        mixed, labelled = batches.ready(step, batches[step]), plain.ready(step, plain[step])
        assert isinstance(mixed, Mixed) and torch.equal(mixed.labelled[0], labelled[0])
        assert all(len(view) == batches.recipe.batch_size * batches.companion.ratio for view in mixed.unlabelled)
    third = len(drawn) // 3
    assert drawn[:third] == drawn[2 * third :] and drawn[:third] != drawn[third : 2 * third] and min(drawn) >= 6


@pytest.mark.parametrize(("task", "arm"), STEPS)
def test_the_loss_is_that_of_the_labels_and_the_weighted_term(task, arm, phantom_cache):
    """Written out for each arm, after some steps, with a weight and half of a ramp."""
    options = {"unlabelled": arm, "pseudo_weight": 0.7, "ramp_up": 4, "pseudo_threshold": 0.52, "mu": 1}
    options = {name: value for name, value in options.items() if task == "classify" or name != "pseudo_threshold"}
    _, record, batches_of, _, _ = made(task, phantom_cache, **options)
    _, plain, _, _, _ = made(task, phantom_cache)
    batches = batches_of(np.arange(4), 0, None)
    with torch_seeded(0, 0, "weights"):
        model = record.make_model().train()
    for _ in range(3):
        record.before_step(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():  # pairs of networks that are no longer alike, and certain of something
            weights += 0.05 * torch.randn_like(weights)
    mixed = batches.ready(0, batches[0])
    rising = np.exp(-5 * (1 - 2 / 4) ** 2)
    with torch.no_grad():
        found = record.loss(model, mixed).item()
        first, changed = mixed.unlabelled
        if arm == "cps":
            one, two = model.first(first), model.second(first)
            supervised = plain.loss(model.first, mixed.labelled) + plain.loss(model.second, mixed.labelled)
            ce = torch.nn.functional.cross_entropy
            term = rising * (ce(one, two.argmax(1)) + ce(two, one.argmax(1)))
            assert torch.equal(first, changed) and not torch.equal(one, two)
        elif arm == "mean_teacher":
            supervised = plain.loss(model.student, mixed.labelled)
            apart = model.student(changed).softmax(1) - model.teacher.eval()(first).softmax(1)
            term = rising * apart.square().sum(1).mean()
        else:
            supervised = plain.loss(model.student, mixed.labelled)
            sure, classes = model.student(first).softmax(1).max(1)
            losses = torch.nn.functional.cross_entropy(model.student(changed), classes, reduction="none")
            term = losses[sure >= 0.52].sum() / len(first)
    assert found == pytest.approx((supervised + 0.7 * term).item(), rel=1e-5) and term > 1e-3


def test_the_network_that_is_tested_begins_as_without_unlabelled_images(phantom_cache):
    """Equal runs begin with equal weights, with any arm; two networks begin apart."""
    states = []
    for arm in ("none", "mean_teacher", "cps"):
        record = made("segment", phantom_cache, unlabelled=arm)[1]
        with torch_seeded(0, 0, "weights"):
            model = record.make_model()
        states.append({name: tensor.clone() for name, tensor in network_of(model).state_dict().items()})
    assert all(torch.equal(states[0][name], state[name]) for state in states for name in states[0])
    assert isinstance(model, Twins) and any(
        not torch.equal(a, b) for a, b in zip(model.first.parameters(), model.second.parameters(), strict=True)
    )
    assert all(f"second.{name}" in model.state_dict() for name in states[0]), "both are saved"


def test_a_teacher_stays_in_evaluation_mode_and_follows_the_statistics_of_batch_normalisation():
    student = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.5))
    model = MeanTeacher(student).train()
    assert not model.teacher.training and not model.teacher[1].training and model.student.training
    model.student(torch.full((4, 2), 3.0))
    model.follow(0.0)
    assert (
        torch.equal(model.teacher[0].running_mean, model.student[0].running_mean)
        and model.teacher[0].running_mean[0] > 0
    )


@pytest.mark.parametrize(("task", "arm"), STEPS)
def test_no_hidden_label_is_read_but_by_the_report(task, arm, phantom_cache, monkeypatch):
    _, record, batches_of, train, _ = made(task, phantom_cache, unlabelled=arm, steps=2)
    true_target = Images.target

    def target(self, i):
        if int(i) >= 4:
            raise AssertionError(f"the label of image {i} was not bought")
        return true_target(self, i)

    monkeypatch.setattr(Images, "target", target)
    model = record.make_model()
    fit(model, record.loss, batches_of(np.arange(4), 0, None), before_step=record.before_step)
    with pytest.raises(AssertionError, match="was not bought"):
        record.report(model, np.arange(4), 0)


@pytest.mark.parametrize("arm", ["fixmatch", "mean_teacher"])
def test_every_strategy_asks_the_network_that_is_tested(arm, phantom_cache):
    options, record, _, train, _ = made("classify", phantom_cache, unlabelled=arm, dropout=0.1)
    model, images = record.make_model(), WithoutTargets(train)
    with torch.no_grad():
        for weights in model.student.parameters():
            weights.fill_(float("nan"))  # who asks the student gets no number
    asked, labelled = QueryOptions.of({**options, "n_query": 3}), np.arange(10)
    known, pool = {"labelled": train.subset(labelled)}, np.arange(10, 40)
    for name in fitting(classification.GIVES):
        evidence = loop.evidence_of(record, model, asked, 0, 0)
        assert len(set(query(get(name), evidence, images, pool, asked, known).chosen.tolist())) == 3, name


def test_all_labelled_is_said_and_trained(phantom_cache, capsys):
    _, record, batches_of, train, _ = made("classify", phantom_cache, unlabelled="fixmatch", steps=1)
    batches = batches_of(np.arange(len(train)), 0, None)
    assert batches.companion is None
    assert "All 120 images are labelled: nothing joins training by unlabelled=fixmatch." in capsys.readouterr().out
    fit(record.make_model(), record.loss, batches, before_step=record.before_step)
    assert record.report(record.make_model(), np.arange(len(train)), 0) == {}


@pytest.mark.parametrize(
    ("task", "words", "sentence"),
    [
        (
            "classify",
            ["unlabelled=cps"],
            "unlabelled=cps is a way of segment.py: classify.py takes none, fixmatch, mean_t",
        ),
        ("segment", ["unlabelled=pseudo_labels"], "is a way of detect.py: segment.py takes none, mean_teacher, cps"),
        ("segment", ["unlabelled=fixmach"], "unknown unlabelled 'fixmach'"),
        ("classify", ["unlabelled=fixmatch", "train=head"], "joins the steps of a network, and train=head has none"),
        ("classify", ["unlabelled=label_spreading"], "spreads labels over frozen features: set train=head"),
        (
            "classify",
            ["unlabelled=label_spreading", "train=head", "head_hidden=4", "features=pixels"],
            "fits a linear head: head_hidden=4 must be 0",
        ),
        ("classify", ["unlabelled=fixmatch", "mu=0"], "mu=0 must be between 1 and 1000"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(task, words, sentence):
    script = TASKS[task][0]
    with pytest.raises(Refused, match=sentence):
        script.check(script.values(["tiny", *words]))


@pytest.mark.parametrize("task", TASKS)
def test_options_that_change_nothing_name_no_run(task):
    script = TASKS[task][0]
    keys = {
        run_key("main", script.values(["tiny", *words])) for words in ([], ["mu=9"], ["ramp_up=1", "ema_decay=0.5"])
    }
    assert len(keys) == 1
    assert run_key("main", script.values(["tiny", "unlabelled=mean_teacher", "mu=9"])) not in keys
    words = ["tiny", "unlabelled=mean_teacher"]
    if task != "segment":  # which has no threshold
        named = {run_key("main", script.values([*words, f"pseudo_threshold={least}"])) for least in (0.5, 0.6)}
        assert len(named) == (2 if task == "detect" else 1), "classes have no threshold but in fixmatch"
    assert ARMS.keys() == USED.keys()
