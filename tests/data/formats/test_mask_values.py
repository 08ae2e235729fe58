"""What the values of masks mean: read right, or refused with the option that settles it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from data import load, notes
from data.formats.mask_folder import mask_folder
from data.formats.masks import IGNORED, read_mask
from tests.data.formats.writing import folder, palette, png16, png_of_bits, save, thirds

THIRDS = thirds()
HALVES = (THIRDS > 0).astype(np.uint8)
COLOURS = [0, 0, 0, 255, 0, 0, 0, 255, 0]
NAMES = ["#000000", "#ff0000", "#00ff00"]


def read(root, **options):
    with notes.collecting() as found:
        images = mask_folder(root, cache_root=root / "cache", **options)
    return images, " ".join(note.sentence for note in found)


def targets(images) -> list[list]:
    return [images.target(i).tolist() for i in range(len(images))]


def painted(mask: np.ndarray, deep: bool = False) -> np.ndarray:
    colours = np.array(COLOURS, np.uint8).reshape(-1, 3)[mask]
    return colours.astype(np.uint16) * 257 if deep else colours


class TestPalettes:
    def test_the_same_colours_in_another_order(self, tmp_path):
        masks = [palette(HALVES, [0] * 3 + [255] * 3), palette(1 - HALVES, [255] * 3 + [0] * 3)] * 3
        images, said = read(folder(tmp_path, masks))
        assert targets(images) == [HALVES.tolist()] * 6
        assert "2 different palettes: they are read by colour" in said and "#000000 is 0, #ffffff is 1" in said

    def test_unused_entries_are_lacking(self, tmp_path):
        only_two = THIRDS // 2 * 2  # classes 0 and 2
        masks = [palette(THIRDS, COLOURS), palette(only_two // 2, COLOURS[:3] + COLOURS[6:])]
        images, _ = read(folder(tmp_path, masks))
        assert targets(images) == [THIRDS.tolist(), only_two.tolist()]

    def test_complete_palettes_that_order_the_classes_differently(self, tmp_path):
        masks = [palette(THIRDS, COLOURS), palette((3 - THIRDS) % 3, COLOURS[:3] + COLOURS[6:] + COLOURS[3:6])]
        root = folder(tmp_path, masks)
        with pytest.raises(ValueError, match=r"different palettes.*order them differently.*\.colours=\['#000000'"):
            read(root)
        assert targets(read(root, colours=NAMES)[0]) == [THIRDS.tolist()] * 2

    def test_equal_palettes_are_read_by_number(self, tmp_path):
        masks = [palette(THIRDS, COLOURS), palette(HALVES, COLOURS[:6])]
        images, said = read(folder(tmp_path, masks))
        assert targets(images) == [THIRDS.tolist(), HALVES.tolist()] and not said

    def test_no_palette_with_all_colours(self, tmp_path):
        masks = [palette(HALVES, COLOURS[:6]), palette(HALVES, COLOURS[:3] + COLOURS[6:])]
        root = folder(tmp_path, masks)
        with pytest.raises(ValueError, match=r"different palettes.*hold not all.*these 3 colours.*\.colours=\["):
            read(root)
        images, _ = read(root, colours=NAMES)
        assert targets(images) == [HALVES.tolist(), (2 * HALVES).tolist()]

    def test_black_that_is_not_the_background_is_refused(self, tmp_path):
        root = folder(tmp_path, [palette(HALVES, [255] * 3 + [0] * 3)] * 2)
        with pytest.raises(ValueError, match=r"c0\.png makes #ffffff number 0, .* black number 1: say .*colours=\['#000"):
            read(root)
        images, _ = read(root, values=[0, 1])
        assert targets(images) == [HALVES.tolist()] * 2
        images, _ = read(root, colours=["#000000", "#ffffff"])
        assert targets(images) == [(1 - HALVES).tolist()] * 2

    def test_colours_that_a_gif_reorders_are_refused(self, tmp_path):
        red = np.dstack([HALVES * 255, HALVES * 0, HALVES * 0])
        root = folder(tmp_path, [red, red], mask_ending=".gif")
        with pytest.raises(ValueError, match=r"makes #ff0000 number 0"):
            read(root)

    def test_one_palette_for_pixels_that_do_not_count(self, tmp_path):
        border = np.where(THIRDS == 2, 255, THIRDS)
        masks = [palette(border, [k for v in range(256) for k in (v, v, 255 - v)])] * 2
        images, _ = read(folder(tmp_path, masks), ignore=255)
        assert targets(images) == [border.tolist()] * 2 and len(images.classes) == 2


class TestColours:
    @pytest.mark.parametrize("deep", [False, True])
    def test_few_colours_are_offered(self, tmp_path, deep):
        root = folder(tmp_path, [THIRDS, THIRDS])
        for k in range(2):
            file = root / f"masks/c{k}.png"
            png16(file, painted(THIRDS, True)) if deep else save(file, painted(THIRDS))
        with pytest.raises(ValueError, match=r"c0\.png is a colour picture.*3 colours: say .*colours=\['#000000'"):
            read(root)

    def test_are_classes_in_the_order_given(self, tmp_path):
        images, _ = read(folder(tmp_path, [painted(THIRDS), palette(THIRDS, COLOURS)]), colours=NAMES)
        assert targets(images) == [THIRDS.tolist()] * 2 and images.classes == ("background", "class 1", "class 2")

    def test_sixteen_bits_are_compared_whole(self, tmp_path):
        root = folder(tmp_path, [THIRDS, THIRDS])
        for k in range(2):
            png16(root / f"masks/c{k}.png", painted(THIRDS, True))
        images, _ = read(root, colours=NAMES)
        assert targets(images) == [THIRDS.tolist()] * 2

    @pytest.mark.parametrize(
        ("colours", "sentence"),
        [
            (["#000000", "#ff0000"], r"c0\.png holds 1 colours of no class: #00ff00"),
            (["#000000", "red"], "'red' is no colour"),
            (["#000000", "#000000"], "at least two different colours"),
        ],
    )
    def test_wrong_ones_are_named(self, tmp_path, colours, sentence):
        with pytest.raises(ValueError, match=sentence):
            read(folder(tmp_path, [painted(THIRDS)] * 2), colours=colours)

    def test_many_are_no_classes(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
        with pytest.raises(ValueError, match="colours, more than classes"):
            read(folder(tmp_path, [noise, noise]))


class TestNumbers:
    @pytest.mark.parametrize("bits", [2, 4])
    def test_few_bits_are_not_widened(self, tmp_path, bits):
        for k in range(2):
            save(tmp_path / f"images/c{k}.png", THIRDS)
            png_of_bits(tmp_path / f"masks/c{k}.png", THIRDS, bits)
        images, _ = read(tmp_path)
        assert targets(images) == [THIRDS.tolist()] * 2

    @pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.float32, np.float64])
    def test_deep_masks_are_never_scaled(self, tmp_path, kind):
        for k in range(2):
            save(tmp_path / f"images/c{k}.png", THIRDS)
            (tmp_path / "masks").mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / f"masks/c{k}.tif", THIRDS.astype(kind), photometric="minisblack")
        images, _ = read(tmp_path)
        assert targets(images) == [THIRDS.tolist()] * 2

    def test_deep_grey_saved_as_colours(self, tmp_path):
        png16(tmp_path / "a.png", (THIRDS.astype(np.uint16) * 300)[..., None].repeat(3, 2))
        assert read_mask(tmp_path / "a.png").tolist() == (THIRDS * 300.0).tolist()

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_zero_as_white_is_not_sure(self, tmp_path, kind):
        tifffile.imwrite(tmp_path / "a.tif", THIRDS.astype(kind), photometric="miniswhite")
        with pytest.raises(ValueError, match=r"a\.tif says that 0 is white"):
            read_mask(tmp_path / "a.tif")

    def test_grey_levels_are_offered_and_chosen(self, tmp_path):
        root = folder(tmp_path, [np.array([0, 128, 255], np.uint8)[THIRDS]] * 2)
        with pytest.raises(ValueError, match=r"holds the value .*\.values=\[0,128,255\].*ignore=255") as refused:
            read(root)
        assert "num_classes=256" not in str(refused.value)
        images, _ = read(root, values=[0, 128, 255])
        assert targets(images) == [THIRDS.tolist()] * 2
        images, _ = read(root, values=[255, 0, 128])
        assert images.target(0).unique().tolist() == [0, 1, 2] and images.target(0)[0, 0] == 1
        with pytest.raises(ValueError, match=r"c0\.png holds the value 255, expected one of values=\[0, 128\]"):
            read(root, values=[0, 128])
        images, _ = read(root, values=[0, 128], ignore=255)
        assert images.target(0).unique().tolist() == [0, 1, IGNORED] and len(images.classes) == 2

    def test_white_of_sixteen_bits(self, tmp_path):
        images, said = read(folder(tmp_path, [HALVES.astype(np.uint16) * 65535] * 2))
        assert targets(images) == [HALVES.tolist()] * 2 and "only 0 and 65535" in said

    def test_alpha_that_holds_the_mask_is_not_background(self, tmp_path):
        alpha = Image.fromarray(HALVES * 255)
        masks = [Image.merge("RGBA", [Image.new("L", (8, 6))] * 3 + [alpha])] * 2
        with pytest.raises(ValueError, match=r"c0\.png .*alpha"):
            read(folder(tmp_path, masks))

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"values": [0, 1], "num_classes": 2}, "values and num_classes both say"),
            ({"instances": True, "colours": NAMES}, "instances and colours both say"),
            ({"instances": True, "ignore": 255}, "ignore=255 .*instances"),
            ({"values": [1, 1]}, "two different values"),
            ({"values": [0, 255], "ignore": 255}, "without ignore"),
        ],
    )
    def test_contradictions(self, tmp_path, options, sentence):
        with pytest.raises(ValueError, match=sentence):
            read(folder(tmp_path, [THIRDS] * 2), **options)

    def test_options_are_checked_by_name(self, tmp_path):
        root = folder(tmp_path, [THIRDS] * 2)
        for options, sentence in (
            ({"exif": "aply"}, "Did you mean 'apply'"),
            ({"num_classes": 257}, "between 0 and 256"),
            ({"window": [3, 1]}, "rising"),
            ({"test_fraction": 0.0}, "between 0.01"),
        ):
            with pytest.raises(ValueError, match=sentence):
                load("segment", "folder", root, cache_root=root / "cache", **options)


def cells(n: int, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), np.uint16)
    for i in range(n):
        y, x = divmod(i, 6)
        mask[6 * y + 1 : 6 * y + 5, 6 * x + 1 : 6 * x + 5] = i + 1
    return mask


class TestObjects:
    @pytest.mark.parametrize("counts", [(31, 4, 12, 7), (5, 3, 4, 2), (9, 1, 30, 2)])
    def test_are_recognised(self, tmp_path, counts):
        root = folder(tmp_path, [cells(n) for n in counts], [cells(3).astype(np.uint8)] * 4)
        with pytest.raises(ValueError, match=r"look like the numbers of objects.*instances=True.*num_classes=\d+ w"):
            read(root)
        images, _ = read(root, instances=True)
        assert images.kind == "instance_map" and images.classes == ("background", "object")
        assert [int(images.instances(i).max()) for i in range(4)] == list(counts)
        assert images.target(0).tolist() == (cells(counts[0]) > 0).astype(int).tolist()
        images, _ = read(root, num_classes=max(counts) + 1)
        assert images.kind == "class_map", "the user knows better"

    def test_the_advice_for_classes_leaves_out_255(self, tmp_path):
        masks = [np.where(cells(36) == 36, 255, cells(n)) for n in (31, 4, 12, 7)]
        with pytest.raises(ValueError, match=r"num_classes=32 with ignore=255 where they are classes"):
            read(folder(tmp_path, masks, [cells(3).astype(np.uint8)] * 4))

    def test_numbers_with_gaps_and_beyond_sixteen_bits(self, tmp_path):
        masks = [cells(4).astype(np.int32) * 3, cells(4).astype(np.int32) * 100_000]
        images, _ = read(folder(tmp_path, masks, [cells(1).astype(np.uint8)] * 2, mask_ending=".tif"), instances=True)
        assert np.unique(images.instances(0)).tolist() == [0, 3, 6, 9, 12]
        assert np.unique(images.instances(1)).tolist() == [0, 1, 2, 3, 4]

    def test_of_colours(self, tmp_path):
        rng = np.random.default_rng(0)
        colours = np.concatenate([np.zeros((1, 3), np.uint8), rng.integers(1, 256, (9, 3)).astype(np.uint8)])
        images, _ = read(folder(tmp_path, [colours[cells(9)]] * 2, [cells(1).astype(np.uint8)] * 2), instances=True)
        assert len(np.unique(images.instances(0))) == 10
        assert images.target(0).tolist() == (cells(9) > 0).astype(int).tolist()

    def test_classes_are_not_taken_for_objects(self, tmp_path):
        rng = np.random.default_rng(0)
        scattered = [rng.integers(0, n, (40, 40)).astype(np.uint8) for n in (14, 9, 14)]
        images, _ = read(folder(tmp_path / "a", scattered, [cells(1).astype(np.uint8)] * 3))
        assert images.kind == "class_map" and len(images.classes) == 14
        organs = [cells(13).astype(np.uint8)] * 3  # one piece each, but the same in all
        images, _ = read(folder(tmp_path / "b", organs, [cells(1).astype(np.uint8)] * 3))
        assert len(images.classes) == 14
