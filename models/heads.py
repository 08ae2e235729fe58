"""A head on frozen features: linear, or with one hidden layer. Its images are features, one pixel with D channels.

So it keeps the contract of classification networks: `model(x) == model.head(model.features(x))`, with dropout before
the last linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from data.names import Refused

AT_ONCE = 32  # passes in one product of matrices


class Head(nn.Module):
    """Standardisation by statistics of the pool, a hidden layer with ReLU where `hidden` > 0, dropout, a linear layer.

    In stochastic passes one pass has the same masks for all images (`shares_masks`), which is one sample of the
    weights: the linear layer then takes the masks into its weights, so that all passes are one product of matrices.
    `of` names the features that the head belongs to; weights of another are refused.
    """

    mean: Tensor
    std: Tensor
    stochastic_trunk, shares_masks = False, True

    def __init__(self, dim: int, num_classes: int, dropout: float, hidden: int = 0, of: str = ""):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.hidden = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU()) if hidden else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden or dim, num_classes)
        self.of = of

    def features(self, images: Float[Tensor, "b d 1 1"]) -> Float[Tensor, "b f"]:
        """What the last layer sees, before dropout: standardised features, or those of the hidden layer."""
        return self.hidden((images.flatten(1) - self.mean) / self.std)

    def head(self, features: Float[Tensor, "b f"]) -> Float[Tensor, "b c"]:
        """Logits: dropout, then the linear layer."""
        return self.classifier(self.dropout(features))

    def passes(
        self, features: Float[Tensor, "b f"], k_passes: int, set_pass: Callable[[int], None]
    ) -> Iterator[Float[Tensor, "b c"]]:
        """The logits of K passes inside `shared_masks`, many from one product of matrices: (x * m) W' = x (m * W)'."""
        every = torch.ones_like(features[:1])
        for first in range(0, k_passes, AT_ONCE):
            masked = []
            for k in range(first, min(k_passes, first + AT_ONCE)):
                set_pass(k)
                masked.append(self.classifier.weight * self.dropout(every))
            logits = nn.functional.linear(features, torch.cat(masked)).unflatten(1, (len(masked), -1))
            yield from (logits + self.classifier.bias).unbind(1)

    def forward(self, images: Float[Tensor, "b d 1 1"]) -> Float[Tensor, "b c"]:
        """Logits (B, C) of frozen features."""
        return self.head(self.features(images))

    def get_extra_state(self) -> str:
        return self.of

    def set_extra_state(self, state: str) -> None:
        if state != self.of:
            raise Refused(f"this head belongs to the features {state or 'of an older version'}, not to {self.of}")
