"""Networks that learn in pairs: a student and its mean teacher (Tarvainen & Valpola, 2017), and two that are alike."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

DELAY = 10  # an average over all steps of a short training would lag behind it


class MeanTeacher(nn.Module):
    """A network that learns (`student`) and the exponential moving average of its weights (`teacher`)."""

    steps: Tensor

    def __init__(self, network: nn.Module):
        super().__init__()
        self.student, self.teacher = network, copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def follow(self, decay: float) -> None:
        """Move the teacher towards the student: w <- d w + (1 - d) w'; d grows from 0 to `decay`.

        In step t = 1, 2, ... d is at most 1 - D / (t + D - 1), D = DELAY: with 1 the teacher would begin as the mean
        over all steps, with 10 it begins as that over about the last tenth of them.
        """
        self.steps += 1
        kept = min(decay, 1 - DELAY / (float(self.steps) + DELAY - 1))
        new = self.student.state_dict()
        for name, old in self.teacher.state_dict().items():
            if old.is_floating_point():
                old.lerp_(new[name].to(old.dtype), 1 - kept)
            else:
                old.copy_(new[name])

    def train(self, mode: bool = True) -> MeanTeacher:
        """The student's mode; a teacher is always in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self


class Twins(nn.Module):
    """Two networks that learn from each other; the first is tested and scores, and both are saved."""

    steps: Tensor

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


def network_of(model: nn.Module) -> nn.Module:
    """The network that tests and scores: the teacher where there is one, the first of two."""
    if isinstance(model, MeanTeacher):
        return model.teacher
    return model.first if isinstance(model, Twins) else model


def learners_of(model: nn.Module) -> list[nn.Module]:
    """The networks that an optimiser changes."""
    if isinstance(model, MeanTeacher):
        return [model.student]
    return [model.first, model.second] if isinstance(model, Twins) else [model]
