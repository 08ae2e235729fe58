"""Which values of deep pictures become black and white."""

import numpy as np
import pytest
import tifffile

from data import notes
from data.formats.pictures import survey
from data.formats.windows import Tally, Window, require_window, robust, to_bytes


def test_all_values_count_where_none_is_an_outlier():
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    assert robust(values) == (0, 4095)
    assert robust(values.astype(np.float32) - 1000) == (-1000, 3095)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float64])
@pytest.mark.parametrize("size", [7, 40, 300])
def test_one_pixel_of_a_picture_does_not_decide(kind, size):
    values = np.random.default_rng(0).integers(100, 1000, (size, size)).astype(kind)
    values[0, 0] = 60000
    window = robust(values)
    assert 100 <= window.low < 200 and 800 < window.high < 1000


def test_an_outlier_below():
    values = np.random.default_rng(0).integers(1000, 2000, (50, 50)).astype(np.int16)
    values[9, 9] = -30000
    assert robust(values).low >= 1000


def test_a_small_bright_spot_on_black_is_kept():
    values = np.zeros((100, 100), np.uint16)
    values[0, 0] = 500
    assert robust(values) == (0, 500)


def test_a_set_has_one_window():
    tally = Tally()
    tally.add(np.arange(1000, dtype=np.uint16))
    tally.add(np.arange(3000, dtype=np.float32))
    assert tally.window() == (0, 2999) and tally.extremes == (0, 2999)


def test_values_outside_are_clipped_and_what_is_no_number_is_black():
    values = np.array([-5.0, 0.0, 50.0, 100.0, 500.0, np.nan, np.inf, -np.inf])
    assert to_bytes(values, Window(0, 100)).tolist() == [0, 0, 128, 255, 255, 0, 255, 0]
    assert to_bytes(values[:5], Window(0, 100), inverted=True).tolist() == [255, 255, 127, 0, 0]
    assert robust(np.full((3, 3), np.nan)) == (0, 1)


def test_constant_pictures_have_a_window():
    assert robust(np.full((4, 4), 7, np.uint16)) == (7, 8)


def test_the_option_is_checked():
    assert require_window(None) is None and require_window([1, 2]) == (1, 2)
    with pytest.raises(ValueError, match="must be two numbers"):
        require_window([2, 1])


def test_one_picture_that_makes_all_others_dark_is_told(tmp_path):
    for k in range(5):
        tifffile.imwrite(
            tmp_path / f"{k}.tif",
            np.full((6, 8), 3, np.uint16) + np.arange(8, dtype=np.uint16) * (9000 if k == 4 else 90),
        )
    for n, dark in ((5, True), (4, False)):
        with notes.collecting() as said:
            survey([tmp_path / f"{k}.tif" for k in range(n)])
        assert any("4 of 5 pictures hold values in less than a tenth" in sentence for _, sentence in said) == dark
