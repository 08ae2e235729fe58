"""The trainer: its rates worked out by hand, what it says of a loss that is none, and what a damaged save costs."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from data.names import NotFinite, Refused
from experiments.learning.batches import TrainingBatches
from experiments.learning.recipe import Recipe
from experiments.learning.training import READ_EVERY, fit
from experiments.learning.weights import load_weights, save_weights
from experiments.tracking.options import LOOP


def recipe(steps, **chosen):
    """The recipe of the options by default, but for these."""
    defaults = {name: option.default for name, option in LOOP.items()}
    return Recipe.of({**defaults, "precision": "float32", "steps": steps, **chosen}, n_labelled=8)


@pytest.mark.parametrize(
    ("steps", "share", "first"), [(60, 0.667, 40), (60, 2 / 3, 40), (3, 0.667, 2), (150, 0.5, 75), (10, 1.0, 10)]
)
def test_schedule_step_drops_at_the_step_nearest_to_its_share(steps, share, first):
    rate = recipe(steps, lr=1.0, schedule="step", lr_step_at=share).learning_rate
    assert [rate(step) for step in range(steps)] == [1.0] * first + [0.1] * (steps - first)


def test_cosine_falls_from_the_whole_rate_and_warm_up_rises_to_it():
    rate = recipe(4, lr=2.0, schedule="cosine").learning_rate
    assert [rate(step) for step in range(4)] == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])
    warm = recipe(4, lr=2.0, schedule="none", warmup=2).learning_rate
    assert [warm(step) for step in range(4)] == pytest.approx([2 / 3, 4 / 3, 2, 2])


NAMES = [f"scan_{i}.png" for i in range(8)]


def batches(steps, **chosen):
    """Batches of numbers: image i is the number i."""

    def collate(examples):
        return torch.tensor(examples, dtype=torch.float32)[:, None], None

    made = recipe(steps, batch_size=2, schedule="none", **chosen)
    return TrainingBatches(lambda i, rng: i, collate, lambda batch, rng: batch, np.arange(8), made, 0, 3, NAMES)


def loss(model, batch):
    return model(batch[0]).square().mean()


def network():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


@pytest.mark.parametrize("bad", [0, 7, READ_EVERY - 1, READ_EVERY, 33, 44])
def test_the_first_loss_that_is_not_finite_is_named_with_its_images(bad):
    """Although losses are fetched from the device only every so many steps."""
    steps = []

    def broken(model, batch):
        steps.append(batch)
        value = loss(model, batch)
        return value * math.nan if len(steps) == bad + 1 else value

    given = batches(45)
    images = ", ".join(NAMES[i] for i in given.members(bad))
    with pytest.raises(NotFinite, match=f"the loss is nan at step {bad} of cycle 3, images {images}: lower lr=0.002"):
        fit(network(), broken, given)
    assert len(steps) <= bad + READ_EVERY, "and training stops soon after it"


def test_weights_that_are_none_after_the_last_step_end_the_training():
    """The gradient of the last step is seen by no later loss."""

    def broken(model, batch):
        model.weight.register_hook(lambda gradient: gradient * math.nan if len(steps) == 5 else gradient)
        steps.append(batch)
        return loss(model, batch)

    steps: list = []
    with pytest.raises(NotFinite, match="the weights are not finite after step 4 of cycle 3: lower lr=0.002"):
        fit(network(), broken, batches(5))


def test_before_step_sees_the_model_once_before_each_step():
    """So a mean teacher follows what the step before has changed, and the last step is seen by no one."""
    model, seen = network(), []
    before = model.weight.clone()
    fit(model, loss, batches(5), before_step=lambda m: seen.append(m.weight.detach().clone()))
    assert len(seen) == 5 and torch.equal(seen[0], before)
    assert all(not torch.equal(a, b) for a, b in zip(seen, [*seen[1:], model.weight], strict=True))


def killed(*args):
    raise KeyboardInterrupt


DAMAGES = {
    "whole": lambda file: None,
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("root:x:0:0:root:/root:/bin/bash"),
    "other": lambda file: torch.save([1, 2], file),
    "lacking": lambda file: torch.save({"cycle": 3}, file),
    "foreign": lambda file: torch.save({"cycle": 3, "model": nn.Linear(2, 2).state_dict()}, file),
    "objects": lambda file: torch.save(nn.Linear(1, 1), file),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_save_that_cannot_be_read_is_dropped_and_changes_nothing(tmp_path, damage):
    expected = network()
    measured = fit(expected, loss, batches(9))
    file, steps = tmp_path / "training.pt", []

    def until_six(model, batch):
        steps.append(1)
        return loss(model, batch) if len(steps) < 7 else killed()

    with pytest.raises(KeyboardInterrupt):
        fit(network(), until_six, batches(9, save_every=0.0), save_to=file)
    DAMAGES[damage](file)
    model, steps[:] = network(), []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        again = fit(model, lambda *given: steps.append(1) or loss(*given), batches(9), save_to=file)
    sentence = f"{file} cannot be used and is dropped; cycle 3 is trained from its first step"
    assert [str(w.message) for w in told] == ([] if damage == "whole" else [sentence])
    assert len(steps) == (3 if damage == "whole" else 9)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))
    assert again["train_loss"] == measured["train_loss"]


def test_a_save_of_another_cycle_is_not_taken_up(tmp_path):
    file = tmp_path / "training.pt"
    fit(network(), loss, batches(4), save_to=file)
    expected, model, steps = network(), network(), []
    fit(expected, loss, batches(9))
    other = batches(9)
    other = TrainingBatches(**{**vars(other), "cycle": 4})
    fit(model, lambda *given: steps.append(1) or loss(*given), other, save_to=file)
    assert len(steps) == 9 and not torch.equal(model.weight, expected.weight)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "whole"])
def test_a_file_of_weights_that_is_none_is_named_in_one_sentence(tmp_path, damage):
    file = tmp_path / "model-0.pt"
    save_weights(network(), file)
    DAMAGES[damage](file)
    with pytest.raises(Refused) as refused:
        load_weights(network(), file)
    sentence = str(refused.value)
    assert sentence.startswith(str(file)) and "\n" not in sentence
    assert "weights_only" not in sentence and "damaged" in sentence or "no weights that fit this model" in sentence


def test_weights_of_another_model_say_so(tmp_path):
    file = tmp_path / "model-0.pt"
    save_weights(nn.Linear(2, 2), file)
    with pytest.raises(
        Refused, match="model-0.pt holds no weights that fit this model .*use the options it was trained with$"
    ):
        load_weights(network(), file)
