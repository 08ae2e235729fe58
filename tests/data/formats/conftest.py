import pytest


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """An empty folder for own images, with a cache of its own."""
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"
