"""What images without labels add to a loss: functions of logits (B, C, *S) of two views, or of two networks."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

Logits = Float[Tensor, "b c *s"]


def ramp(step: int, length: int) -> float:
    """The weight of step 0, 1, ...: exp(-5 (1 - t)^2) with t = step / length, 1 from `length` on.

    Laine and Aila (2017), section 3.1, which Tarvainen and Valpola (2017) take over.
    """
    return math.exp(-5 * (1 - step / length) ** 2) if step < length else 1.0


def confident_agreement(plain: Logits, changed: Logits, threshold: float) -> Float[Tensor, ""]:
    """Mean over B of 1[max p >= threshold] CE(argmax p, changed), with p = softmax(plain), which gets no gradient.

    FixMatch (Sohn et al., 2020), eq. 4: images whose class is not certain count as 0, and in the mean.
    """
    confidence, classes = plain.detach().softmax(1).max(1)
    losses = cross_entropy(changed, classes, reduction="none")
    return (losses * (confidence >= threshold)).mean()


def consistency(teacher: Logits, student: Logits) -> Float[Tensor, ""]:
    """Mean over B and S of |softmax(student) - softmax(teacher)|^2 over C, 0..2; the teacher gets no gradient.

    Tarvainen and Valpola (2017), section 2, with the squared distance that they found best; they take the mean over C.
    """
    return (student.softmax(1) - teacher.detach().softmax(1)).square().sum(1).mean()


def cross_supervision(first: Logits, second: Logits) -> Float[Tensor, ""]:
    """CE(argmax second, first) + CE(argmax first, second), means over B and S; no gradient through an argmax.

    Cross pseudo supervision (Chen et al., 2021), eq. 3.
    """
    return cross_entropy(first, second.detach().argmax(1)) + cross_entropy(second, first.detach().argmax(1))
