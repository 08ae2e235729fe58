"""What runs say together: curves, comparisons, figures and reports. `analysis.load` is the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from analysis.records import Source


def load(source: Source, **choices: Any) -> pd.DataFrame:
    """All measurements of the chosen runs as one frame: `analysis.runs.load`, which is imported when it is called."""
    from analysis.runs import load as load_runs

    return load_runs(source, **choices)
