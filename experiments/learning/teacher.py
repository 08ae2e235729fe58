"""A mean teacher (Tarvainen & Valpola, 2017): the moving average of a network's weights teaches it, and is tested."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MeanTeacher(nn.Module):
    """A network that learns (`student`) and the exponential moving average of its weights (`teacher`)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.student, self.teacher = network, copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def follow(self, decay: float) -> None:
        """Move the teacher towards the student: w <- d w + (1 - d) w'; d grows from 0 to `decay`."""
        self.steps += 1
        kept = min(decay, 1 - 1 / float(self.steps))
        new = self.student.state_dict()
        for name, old in self.teacher.state_dict().items():
            if old.is_floating_point():
                old.lerp_(new[name].to(old.dtype), 1 - kept)
            else:
                old.copy_(new[name])


def network_of(model: nn.Module) -> nn.Module:
    """The network that tests and scores: the teacher where there is one."""
    return model.teacher if isinstance(model, MeanTeacher) else model
