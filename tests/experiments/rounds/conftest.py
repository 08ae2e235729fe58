"""Few resamples of metrics of boxes, each of which takes long; and Label Studio: one that is played, and a real one."""

import uuid

import pytest

from experiments.rounds import sampling
from experiments.rounds.label_studio import client
from tests.experiments.rounds.fake_label_studio import FakeLabelStudio, serving
from tests.label_studio_server import label_studio_server  # noqa: F401


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(sampling, "OF_BOXES", 4)


@pytest.fixture(params=["played", pytest.param("real", marks=pytest.mark.labelstudio)])
def studio(request, tmp_path, monkeypatch):
    """A Label Studio without projects of this test, whose token is in the environment."""
    if request.param == "real":
        server = request.getfixturevalue("label_studio_server")
        monkeypatch.setenv(client.TOKEN, server.token)
        server.of_test = server.root / uuid.uuid4().hex
        yield server
    else:
        fake = FakeLabelStudio(tmp_path / "root")
        fake.of_test = fake.root / "test"
        monkeypatch.setenv(client.TOKEN, fake.token)
        with serving(fake):
            yield fake
