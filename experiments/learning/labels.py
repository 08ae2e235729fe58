"""Who answers when the loop asks for labels."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Int
from numpy import ndarray


@runtime_checkable
class Labels(Protocol):
    """Whoever labels images."""

    def of(self, chosen: Int[ndarray, " q"]) -> Int[ndarray, " p"] | None:
        """Those of the chosen dataset indices that are labelled now; None until there are any, a day later maybe."""
        ...


class FromDataset:
    """The simulation: every label is in the dataset already, so that all that was asked for is answered at once."""

    def of(self, chosen: Int[ndarray, " q"]) -> Int[ndarray, " q"]:
        return chosen
