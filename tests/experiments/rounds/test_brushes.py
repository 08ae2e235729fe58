"""The run lengths of a brush: what is packed is read again by the reader of exports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data.formats.brush import painted
from experiments.rounds.brushes import LONGEST, SIZES, packed


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_mask(mask):
    assert np.array_equal(painted(packed(mask), *mask.shape, "x"), mask)


@pytest.mark.parametrize(
    "length", [*(2 ** (size - 2) + more for size in SIZES for more in (-1, 0, 1)), 3 * LONGEST + 5]
)
def test_runs_around_the_limits_of_their_sizes(length):
    mask = np.concatenate([np.ones(length, bool), [False], np.ones(2, bool)])[None]
    assert np.array_equal(painted(packed(mask), *mask.shape, "x"), mask)


def test_a_pixel_by_hand():
    # 4 values of 8 bits; sizes 3, 6, 10, 16; one block: repeated, of the first size, 4 less 1, 255
    wanted = f"{4:032b}" + "00111" + "0010" + "0101" + "1001" + "1111" + "1" + "00" + "011" + "11111111"
    wanted += "0" * (-len(wanted) % 8)
    assert packed(np.ones((1, 1), bool)) == bytes(int(wanted[at : at + 8], 2) for at in range(0, len(wanted), 8))


def test_a_large_mask_is_small():
    mask = np.zeros((2000, 2000), bool)
    mask[500:1500, 500:1500] = True
    assert len(packed(mask)) < 8_000
