"""The size of a folder's pictures, from a few of them."""

import numpy as np
from PIL import Image

from data.formats.sizes import SAMPLE, typical_size


def picture(file, height, width):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width), np.uint8)).save(file)


def test_the_median_of_pictures_that_are_spread_over_the_folder(tmp_path):
    for number in range(3 * SAMPLE):
        picture(tmp_path / "abc"[number // SAMPLE] / f"{number}.png", 20 + 10 * (number // SAMPLE), 50)
    assert typical_size(tmp_path) == (30, 50)


def test_what_is_no_picture_or_cannot_be_read_is_passed_over(tmp_path):
    picture(tmp_path / "deep" / "er" / "a.png", 40, 60)
    picture(tmp_path / ".thumbnails" / "a.png", 4, 6)
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    assert typical_size(tmp_path) == (40, 60)


def test_folders_that_are_links_are_looked_into_once(tmp_path):
    picture(tmp_path / "elsewhere" / "a.png", 40, 60)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    assert typical_size(tmp_path / "mine") == (40, 60)


def test_turned_pictures_count_as_they_are_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert typical_size(tmp_path) == (60, 40)


def test_no_picture_has_no_size(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    assert typical_size(tmp_path) is None and typical_size(tmp_path / "absent") is None
