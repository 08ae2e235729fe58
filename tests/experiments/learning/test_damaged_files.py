"""Saved training is only an accelerator: whatever became of it, the cycle ends the same. Damaged weights are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from data.names import Refused
from experiments.learning.recipe import Recipe
from experiments.learning.training import Training
from experiments.learning.weights import load_weights, save_weights
from models.weights import read_state

RECIPE = Recipe(
    steps=10, batch_size=1, optimizer="adamw", lr=0.1, momentum=0.0, weight_decay=0.0, schedule="none", lr_step_at=0.5,
    warmup=0, clip=0.0, val_every=1, patience=0, save_every=0.0, workers=0, precision="float32",
)  # fmt: skip


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 2))


def flip(file: Path) -> None:
    """One bit in the middle, where the weights are."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "one bit": flip,
    "text": lambda file: file.write_bytes(Path("/etc/passwd").read_bytes()),
    "word": lambda file: file.write_bytes(b"hello"),
    "picture": lambda file: file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "pickle": lambda file: file.write_bytes(b"\x80\x04cos\nsystem\n."),
    "a module": lambda file: torch.save(nn.Linear(2, 2), file),
}
FOREIGN = {
    "list": [1, 2],
    "number": 3,
    "nothing": None,
    "other keys": {"a": torch.zeros(2)},
    "weights alone": model().state_dict(),
    "other weights": {"cycle": 2, "model": nn.Linear(1, 1).state_dict()},
}


def saved_training(file: Path) -> Training:
    """A training of cycle 2 that stopped after 3 steps."""
    training = Training(model(), RECIPE)
    for step in range(3):
        training.model(torch.ones(1, 40)).sum().backward()
        training.optimizer.step()
        training.step, training.losses = step + 1, [*training.losses, 0.5]
    training.save(file, 2)
    return training


def test_whole_training_goes_on(tmp_path):
    training = saved_training(tmp_path / "training.pt")
    again = Training.resumed(model(), RECIPE, tmp_path / "training.pt", 2)
    assert again.step == 3 and again.losses == [0.5] * 3
    for a, b in zip(training.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def require_dropped(file: Path, recwarn) -> None:
    fresh, expected = model(), model()
    training = Training.resumed(fresh, RECIPE, file, 2)
    (told,) = [str(w.message) for w in recwarn.list]
    assert "training.pt cannot be used and is dropped; cycle 2 is trained from its first step" in told
    assert "weights_only" not in told and not file.exists()
    assert training.step == 0 and training.losses == []
    for a, b in zip(expected.parameters(), training.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_training_is_dropped_with_a_sentence(tmp_path, recwarn, damage):
    saved_training(tmp_path / "training.pt")
    DAMAGES[damage](tmp_path / "training.pt")
    require_dropped(tmp_path / "training.pt", recwarn)


@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_training_is_dropped_with_a_sentence(tmp_path, recwarn, foreign):
    torch.save(FOREIGN[foreign], tmp_path / "training.pt")
    require_dropped(tmp_path / "training.pt", recwarn)


@pytest.mark.parametrize("left_out", ["step", "losses", "best_model", "optimizer"])
def test_training_that_lacks_a_part_is_dropped(tmp_path, recwarn, left_out):
    file = tmp_path / "training.pt"
    saved_training(file)
    saved = torch.load(file, weights_only=True)
    torch.save({name: value for name, value in saved.items() if name != left_out}, file)
    require_dropped(file, recwarn)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_named_in_one_sentence(tmp_path, damage):
    file = tmp_path / "model-1.pt"
    save_weights(model(), file)
    DAMAGES[damage](file)
    for read in (lambda: load_weights(model(), file), lambda: read_state(file, ["imagenet"])):
        with pytest.raises(Refused, match="model-1.pt.*damaged") as error:
            read()
        assert "weights_only" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("foreign", ["list", "number", "nothing", "other keys"])
def test_foreign_weights_are_named_in_one_sentence(tmp_path, foreign):
    file = tmp_path / "model-1.pt"
    torch.save(FOREIGN[foreign], file)
    with pytest.raises(Refused, match="model-1.pt holds no weights that fit this model") as error:
        load_weights(model(), file)
    assert "\n" not in str(error.value)
