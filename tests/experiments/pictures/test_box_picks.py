"""The gallery of boxes is read back: what is drawn and written, where, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from experiments.pictures.box_picks import BOX_COLOURS, MOST_BOXES, PickedPicture, save_box_gallery

CELLS = ("RBC", "WBC", "Platelets")


def picture(
    number: int = 0, size: tuple[int, int] = (48, 64), channels: int = 3, score: float = 0.25, **other
) -> PickedPicture:
    """Two true boxes, and three detections of which the last is too unsure to be drawn."""
    return {
        "name": f"a_long_folder/of_many_slides/of_patient/$smear_{number:04d}.png",  # a lone $ is no mathematics
        "image": np.full((*size, channels), 40 * (number % 6), dtype=np.uint8),
        "truth": np.array([[4, 20, 14, 34, 0], [30, 20, 40, 26, 1]], dtype=np.float32),
        "boxes": np.array([[5, 20, 15, 34], [30, 22, 41, 26], [0, 0, 9, 9]], dtype=np.float32),
        "labels": np.array([0, 2, 1]),
        "scores": np.array([0.875, 0.5, 0.29], dtype=np.float32),
        "proposals": np.array([[3, 18, 17, 36], [28, 20, 44, 28], [1, 1, 7, 7]], dtype=np.float32),
        "score": score,
    } | other  # pyright: ignore[reportReturnType]


def detections(scores: list[float], size: tuple[int, int] = (48, 64)) -> dict:
    """One class; box m begins in column m, and each lies in its proposal."""
    boxes = np.array([[m, 20, m + 6, 30] for m in range(len(scores))], dtype=np.float32).reshape(-1, 4)
    found = {
        "boxes": boxes,
        "labels": np.zeros(len(scores), dtype=np.int64),
        "scores": np.array(scores, dtype=np.float32),
    }
    return {**found, "proposals": boxes + np.array([-0.5, -1, 0.5, 1], dtype=np.float32)}


def texts(drawn: Figure | Axes) -> list[str]:
    return [text.get_text() for text in drawn.texts]


def rectangles(axes: Axes, dotted: bool) -> list[Rectangle]:
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [patch for patch in found if (patch.get_linestyle() not in ("-", "solid")) == dotted]


def corners(patches: list[Rectangle]) -> np.ndarray:
    """xyxy of the outlines."""
    return np.array([[x, y, x + p.get_width(), y + p.get_height()] for p in patches for x, y in [p.get_xy()]]).reshape(
        -1, 4
    )


def line_width(axes: Axes) -> float:
    """Of the boxes, in pixels of the image."""
    in_points = rectangles(axes, dotted=False)[0].get_linewidth()
    inverse = axes.transData.inverted()
    dpi = axes.figure.dpi  # pyright: ignore[reportAttributeAccessIssue]
    step = inverse.transform((dpi / 72, 0)) - inverse.transform((0, 0))
    return in_points * step[0]


def test_every_pick_with_truth_detections_proposals_and_score(tmp_path, saved):
    picks = [picture(0), picture(1, channels=1, score=0.125)]
    path = save_box_gallery(
        tmp_path / "maps" / "cycle.png", picks, 2, np.linspace(0, 1, 40), [0.25, 0.125], "run 3", CELLS
    )
    assert Image.open(path).size[0] > 1000
    histogram, truth, found, grey, _ = saved[0].axes
    assert histogram.lines[0].get_xdata().tolist() == [0.25, 0.125]
    assert np.array_equal(truth.images[0].get_array(), picks[0]["image"]) and np.array_equal(
        found.images[0].get_array(), picks[0]["image"]
    )
    assert grey.images[0].get_array().shape == (48, 64, 3)
    assert not rectangles(truth, dotted=True) and texts(truth) == []

    surest = [1, 0]  # drawn last, on top
    for axes, boxes in ((truth, picks[0]["truth"][:, :4]), (found, picks[0]["boxes"][surest])):
        outward = (corners(rectangles(axes, dotted=False)) - boxes) * [-1, -1, 1, 1] / line_width(axes)
        assert (outward > 0.5).all() and (outward < 1).all()  # the line covers nothing of what it holds, and is near
    assert np.allclose(corners(rectangles(found, dotted=True)), picks[0]["proposals"][surest])
    assert texts(found) == [".50", ".88"]
    colours = [[to_hex(p.get_edgecolor()).upper() for p in rectangles(axes, dotted=False)] for axes in (truth, found)]
    assert colours == [[BOX_COLOURS[0], BOX_COLOURS[1]], [BOX_COLOURS[2], BOX_COLOURS[0]]]

    written = texts(saved[0])
    assert written[0] == "run 3"
    assert "0.3 or more, at most 20" in written[1]
    assert written[2:4] == ["truth · 2 boxes", "found · 2 of 3 detections"]
    assert written[4].startswith("a_long_folder") and written[4].endswith("$smear_0000.png") and "…" in written[4]
    assert written[5] == "score 0.250" and written[9] == "score 0.125" and len(written) == 10
    assert [text.get_text() for text in saved[0].legends[0].get_texts()] == [
        *CELLS,
        "proposal that a detection came from",
    ]


def test_pixels_and_boxes_share_their_coordinates(tmp_path, saved):
    """A white square is where its box says: edges are counted from 0, x to the right and y down."""
    image = np.zeros((30, 40, 1), dtype=np.uint8)
    image[20:25, 30:36] = 255
    pick = picture(image=image, truth=np.array([[30, 20, 36, 25, 0]], dtype=np.float32), **detections([]))
    path = save_box_gallery(tmp_path / "cycle.png", [pick], 1, [], [], "", ("lesion",))
    axes = saved[0].axes[0]
    pixels = np.array(Image.open(path).convert("RGB")).astype(int)

    def colour_at(x: float, y: float) -> list[int]:
        across, up = axes.transData.transform((x, y))
        return pixels[len(pixels) - 1 - int(up), int(across)].tolist()

    assert min(colour_at(30.5, 20.5) + colour_at(35.5, 24.5)) > 240
    assert max(colour_at(28.5, 22.5) + colour_at(37.5, 22.5)) < 15
    turquoise = [0, 229, 200]
    assert np.allclose(colour_at(33, 20 - line_width(axes)), turquoise, atol=40)
    assert np.allclose(colour_at(36 + line_width(axes), 22.5), turquoise, atol=40)


def test_only_the_surest_detections_are_drawn(tmp_path, saved):
    scores = (np.random.default_rng(0).permutation(np.arange(40, 40 + MOST_BOXES + 5)) / 100).tolist()
    picks = [picture(**detections(scores)), picture(**detections([0.1, 0.3])), picture(**detections([0.2]))]
    save_box_gallery(tmp_path / "cycle.png", picks, 3, [], [], "", CELLS)
    many, edge, none = saved[0].axes[1::2]
    assert texts(many) == [f"{score:.2f}"[1:] for score in sorted(scores)[5:]]
    assert len(rectangles(many, dotted=True)) == MOST_BOXES
    assert texts(edge) == [".30"]
    assert texts(none) == [] and not none.patches
    assert [text for text in texts(saved[0]) if text.startswith("found ·")] == [
        "found · 20 of 25 detections",
        "found · 1 of 2 detections",
        "found · 0 of 1 detections",
    ]


def test_scores_stay_inside_the_image_and_off_the_box(tmp_path, saved):
    """Boxes in each corner, in the middle, and one that is the whole image: only there does the score cover
    anything."""
    boxes = np.array(
        [[0, 0, 9, 9], [55, 0, 64, 9], [0, 39, 9, 48], [55, 39, 64, 48], [30, 20, 36, 26], [0, 0, 64, 48]],
        dtype=np.float32,
    )
    found = {**detections([0.9] * len(boxes)), "boxes": boxes}
    save_box_gallery(tmp_path / "cycle.png", [picture(**found)], 1, [], [], "", CELLS)
    axes = saved[0].axes[1]
    renderer = FigureCanvasAgg(saved[0]).get_renderer()
    inside = axes.get_window_extent(renderer)
    for text, patch in zip(axes.texts, rectangles(axes, dotted=False), strict=True):
        tag, box = text.get_window_extent(renderer), patch.get_window_extent(renderer)
        assert inside.x0 <= tag.x0 and tag.x1 <= inside.x1 and inside.y0 <= tag.y0 and tag.y1 <= inside.y1
        assert tag.overlaps(box) == (patch.get_width() > 60)


def test_more_classes_than_colours_are_named(tmp_path, saved):
    names = [f"organ {c}" for c in range(20)]
    pick = picture(truth=np.array([[4, 20, 14, 34, 17]], dtype=np.float32), labels=np.array([9, 1, 0]))
    save_box_gallery(tmp_path / "cycle.png", [pick], 1, [], [], "", names)
    truth, found = saved[0].axes
    assert texts(truth) == ["organ 17"] and texts(found) == [".50 organ 1", ".88 organ 9"]
    assert len(saved[0].legends[0].get_texts()) == 1


def test_without_scores_or_boxes(tmp_path, saved):
    empty = picture(truth=np.zeros((0, 5), dtype=np.float32), score=float("nan"), **detections([]))
    save_box_gallery(tmp_path / "cycle.png", [empty], 1, [], [], "coreset", ("lesion",))
    assert len(saved[0].axes) == 2 and not any(axes.patches for axes in saved[0].axes)
    assert texts(saved[0])[2:4] == ["truth · 0 boxes", "found · 0 of 0 detections"] and len(texts(saved[0])) == 5


def test_captions_do_not_reach_over_their_cell(tmp_path, saved):
    save_box_gallery(tmp_path / "cycle.png", [picture(size=(100, 20)), picture(size=(20, 100))], 2, [], [], "", CELLS)
    figure = saved[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    left, right, second, _ = (axes.get_window_extent(renderer) for axes in figure.axes)
    assert all(figure.texts[i].get_window_extent(renderer).x1 < right.x0 for i in (2, 4))
    assert all(figure.texts[i].get_window_extent(renderer).x1 < second.x0 for i in (3, 5))
    assert figure.texts[2].get_window_extent(renderer).y1 < left.y0


def test_only_the_first_are_drawn_and_the_title_counts(tmp_path, saved, monkeypatch):
    monkeypatch.setattr("experiments.pictures.box_picks.MAX_PICTURES", 3)
    picks = [picture(i, size=(40, 50), **detections([])) for i in range(4)]
    save_box_gallery(tmp_path / "cycle.png", picks, 70, [], [], "cycle 0", CELLS)
    assert texts(saved[0])[0] == "cycle 0 · 3 of 70 picks drawn"
    assert len(saved[0].axes) == 2 * 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 2}, r"\$smear_0000.png: image has shape \(48, 64, 2\), expected"),
        ({"proposals": np.zeros((2, 4), dtype=np.float32)}, r"proposals has shape \(2, 4\), expected \(3, 4\)"),
        ({"truth": np.zeros((2, 4), dtype=np.float32)}, r"truth has shape \(2, 4\), expected \(2, 5\)"),
        ({"truth": np.array([[1, 1, 3, 3, 3]], dtype=np.float32)}, "truth names class 3, expected 0 to 2"),
        ({"labels": np.array([0, -1, 1])}, "labels names class -1, expected 0 to 2"),
    ],
)
def test_misuse_is_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        save_box_gallery(tmp_path / "c.png", [picture(**wrong)], 1, [0.1], [0.1], "", CELLS)
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no picked image"):
        save_box_gallery(tmp_path / "c.png", [], 0, [0.1], [], "", CELLS)
