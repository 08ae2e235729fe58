"""Few resamples of metrics of boxes, each of which takes long."""

import pytest

from experiments.rounds import sampling


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(sampling, "OF_BOXES", 4)
