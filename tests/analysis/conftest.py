"""What several tests of figures look into."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def saved(monkeypatch):
    """The figures that were written, to be looked into."""
    figures, original = [], Figure.savefig

    def savefig(self, *args, **kwargs):
        figures.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures
