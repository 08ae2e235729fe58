"""A figure appears whole or not at all, as PNG or PDF."""

from __future__ import annotations

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from experiments.pictures.canvas import write_figure


@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch, ending):
    figure, settings = Figure(figsize=(1, 1)), dict(mpl.rcParams)
    figure.text(0.1, 0.5, "dice")
    path = write_figure(figure, tmp_path / "new" / f"curves{ending}")
    before = path.read_bytes()
    assert before.startswith({".png": b"\x89PNG", ".pdf": b"%PDF"}[ending])
    assert b"Type3" not in before and b"CreationDate" not in before
    assert dict(mpl.rcParams) == settings

    def fails(self, file, **kwargs):
        file.write_bytes(b"half")
        raise OSError("the cable was pulled")

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(OSError, match="the cable was pulled"):
        write_figure(figure, path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"curves.svg: a figure is written as .png or .pdf"):
        write_figure(Figure(), tmp_path / "curves.svg")
    assert not list(tmp_path.iterdir())
