"""The gallery is read back: what is drawn and written, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from experiments.pictures.class_picks import MAX_THUMBNAILS, Thumbnail, save_gallery


def thumbnail(
    number: int = 0, wrong: bool = False, score: float = 0.25, channels: int = 3, size: tuple[int, int] = (12, 16)
) -> Thumbnail:
    return {
        "name": f"a_long_folder/of_slides/$tile_{number:04d}.png",  # a lone $ must not be read as mathematics
        "image": np.full((*size, channels), 40 * (number % 6), dtype=np.uint8),
        "truth": "stroma",
        "predicted": "tumour" if wrong else "stroma",
        "probability": 0.625,
        "score": score,
    }


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_every_pick_with_its_name_prediction_and_score(tmp_path, saved):
    picks = [thumbnail(0), thumbnail(1, wrong=True, score=0.125), thumbnail(2, channels=1, size=(30, 9))]
    path = save_gallery(tmp_path / "maps" / "cycle.png", picks, 3, np.linspace(0, 1, 40), [0.25, 0.125, 0.25], "run 3")
    assert Image.open(path).size[0] > 1000
    histogram, *pictures = saved[0].axes
    assert histogram.lines[0].get_xdata().tolist() == [0.25, 0.125, 0.25]
    assert [axes.images[0].get_array().shape for axes in pictures] == [(12, 16, 3), (12, 16, 3), (30, 9, 3)]
    assert np.array_equal(pictures[1].images[0].get_array(), picks[1]["image"])
    written = texts(saved[0])
    assert written[0] == "run 3"
    assert written[1:4] == ["a_long_fol…e_0000.png", "stroma 0.62", "score 0.250"]
    assert written[4:8] == ["a_long_fol…e_0001.png", "tumour 0.62", "is stroma", "score 0.125"]
    assert len(written) == 11


def test_without_scores_there_is_no_histogram(tmp_path, saved):
    save_gallery(tmp_path / "cycle.png", [thumbnail(score=float("nan"))], 1, [], [], "coreset")
    assert len(saved[0].axes) == 1
    assert texts(saved[0])[2:] == ["stroma 0.62"]


def test_captions_do_not_reach_over_their_cell(tmp_path, saved):
    plain = thumbnail(1, wrong=True)
    plain["truth"] = "colorectal adenocarcinoma epithelium"
    save_gallery(tmp_path / "cycle.png", [plain, plain], 2, [], [], "")
    figure = saved[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    second = figure.axes[1].get_window_extent(renderer).x0
    assert all(text.get_window_extent(renderer).x1 < second for text in figure.texts[1:5])


def test_only_the_first_are_drawn_and_the_title_counts(tmp_path, saved):
    picks = [thumbnail(i, size=(4, 4)) for i in range(MAX_THUMBNAILS + 1)]
    save_gallery(tmp_path / "cycle.png", picks, 70, [], [], "cycle 0")
    assert texts(saved[0])[0] == f"cycle 0 · {MAX_THUMBNAILS} of 70 picks drawn"
    assert len(saved[0].axes) == MAX_THUMBNAILS


def test_misuse_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no picked image"):
        save_gallery(tmp_path / "c.png", [], 0, [0.1], [], "")
    with pytest.raises(ValueError, match=r"\$tile_0000.png: image has shape \(12, 16, 2\), expected"):
        save_gallery(tmp_path / "c.png", [thumbnail(channels=2)], 1, [0.1], [0.1], "")
    assert not list(tmp_path.iterdir())
