"""Who answers when the loop asks for labels."""

from __future__ import annotations

from jaxtyping import Int
from numpy import ndarray


class FromDataset:
    """The simulation: every label is in the dataset already, so that all that was asked for is answered at once."""

    def of(self, chosen: Int[ndarray, " q"]) -> Int[ndarray, " q"] | None:
        """Those of the chosen dataset indices that are labelled now; None until there are answers, as a person may take a day."""
        return chosen
