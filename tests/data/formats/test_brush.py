"""Brush masks of Label Studio: streams written bit by bit here, and exports with them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.brush import painted, unpacked
from data.names import Refused
from tests.data.formats.test_labelstudio import load, region, task, write


def bits(number: int, size: int) -> str:
    return f"{number:0{size}b}"


def stream(blocks, count=None, word=8, sizes=(3, 4, 8, 16)) -> list[int]:
    """The bytes of blocks: (value, times) of one value, or a list of values; each with the shortest length that fits."""
    lengths = [block[1] if isinstance(block, tuple) else len(block) for block in blocks]
    text = bits(sum(lengths) if count is None else count, 32) + bits(word - 1, 5)
    text += "".join(bits(size - 1, 4) for size in sizes)
    for block, length in zip(blocks, lengths, strict=True):
        which = next(k for k, size in enumerate(sizes) if length <= 2**size)
        text += ("1" if isinstance(block, tuple) else "0") + bits(which, 2) + bits(length - 1, sizes[which])
        text += "".join(bits(value, word) for value in (block[:1] if isinstance(block, tuple) else block))
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def brush(mask: np.ndarray) -> list[int]:
    """The stream of a mask as Label Studio writes it: the same value four times for each pixel."""
    values = np.repeat(np.asarray(mask, int).ravel(), 4).tolist()
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    runs = [(values[a], b - a) for a, b in pairwise(edges)]
    return stream([(value, min(2**16, left)) for value, n in runs for left in range(n, 0, -(2**16))])


def test_a_stream_by_hand():
    # 8 values of 8 bits, sizes 3 4 8 16: twice 7; then 1 2 3 as they are; then three times 255
    by_hand = "00000000000000000000000000001000001110010001101111111"
    by_hand += "10000100000111" + "0010010000000010000001000000011" + "1100000001011111111"
    by_hand += "0" * (-len(by_hand) % 8)
    packed = bytes(int(by_hand[at : at + 8], 2) for at in range(0, len(by_hand), 8))
    assert unpacked(packed, 8, "x").tolist() == [7, 7, 1, 2, 3, 255, 255, 255]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 255), st.integers(1, 600)),
            st.lists(st.integers(0, 255), min_size=1, max_size=40),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([(3, 4, 8, 16), (1, 2, 5, 10), (16, 16, 16, 16), (2, 12, 3, 13)]),
)
def test_any_blocks(blocks, sizes):
    wanted = [v for b in blocks for v in ([b[0]] * b[1] if isinstance(b, tuple) else b)]
    packed = bytes(stream(blocks, sizes=sizes))
    assert unpacked(packed, len(wanted), "x").tolist() == wanted
    for cut in range(len(packed)):
        with pytest.raises(Refused, match="x: its run lengths end too early"):
            unpacked(packed[:cut], len(wanted), "x")


def test_opacity_is_the_mask():
    values = np.zeros((2, 3, 4), int)
    values[0, :, :3] = 255  # colours do not count
    values[..., 3] = [[0, 128, 129], [255, 1, 200]]
    mask = painted(bytes(stream([values.ravel().tolist()])), 2, 3, "x")
    assert mask.tolist() == [[False, False, True], [True, False, True]]


@pytest.mark.parametrize(
    ("packed", "sentence"),
    [
        (stream([(0, 480)], count=476), "of 476 values of 8 bits, expected 480 of 8"),
        (stream([(0, 480)], word=4), "of 480 values of 4 bits"),
        (stream([(0, 470), (255, 20)], count=480), "longer than its 480 values"),
        ([], "end too early"),
        ([0, 0, 1], "end too early"),
    ],
)
def test_what_is_no_mask_of_this_picture(packed, sentence):
    with pytest.raises(Refused, match=f"task 1: its run lengths.*{sentence}" if "of" in sentence else sentence):
        painted(bytes(packed), 10, 12, "task 1")


def test_masks_and_boxes_of_brushes(mine):
    first, second = np.zeros((10, 12), int), np.zeros((10, 12), int)
    first[2:9, 1:11], second[4:6, 3:5] = 255, 255

    def painted_by(mask, label):
        return region("brushlabels", label, format="rle", rle=brush(mask))

    tasks = [task(i, painted_by(first, "gland"), painted_by(second, "cell")) for i in range(4)]
    images, _ = load(write(mine, [*tasks, task(4)]), "segment")
    assert images.classes == ("background", "cell", "gland")
    wanted = np.where(second > 0, 1, np.where(first > 0, 2, 0))
    assert images.target(0).tolist() == wanted.tolist() and not images.target(4).any()
    numbered = load(mine, "segment", instances=True)[0].instances(0)
    assert numbered.tolist() == np.where(second > 0, 2, np.where(first > 0, 1, 0)).tolist()
    boxed, _ = load(mine, "detect")
    assert boxed.target(0).tolist() == [[1, 2, 11, 9, 1], [3, 4, 5, 6, 0]]


def test_a_brush_that_painted_nothing(mine):
    nothing = region("brushlabels", "gland", format="rle", rle=brush(np.zeros((10, 12))))
    write(mine, [task(0, nothing, region()), *(task(i, region()) for i in range(1, 5))])
    _, said = load(mine, "segment")
    assert any("1 objects hold the centre of no pixel" in sentence for sentence in said)
    with pytest.raises(Refused, match="task 1, result 1 is a brush that painted nothing"):
        load(mine, "detect")
