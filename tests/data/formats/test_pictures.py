"""Pictures of every format and depth become the right 8-bit images, or are refused by name."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage
import tifffile
from PIL import Image

from data import notes
from data.formats import pictures
from data.formats.decoded import turn
from data.formats.pictures import Options, read_image, survey
from tests.data.formats.writing import RAMP, palette, png16, save

COLOURED = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)
DEEP = np.arange(48, dtype=np.uint16).reshape(6, 8) * 21 + 3  # 3 .. 990: 10 bits


def values_of(file: Path, **options) -> np.ndarray:
    return pictures.decode(file, **options).values


class TestOrientation:
    @pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_all_eight_in_all_formats(self, tmp_path, ending, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        exact = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}.get(ending, {})
        file = save(tmp_path / f"a{ending}", COLOURED, exif=exif, **exact)
        off = 24 if ending == ".jpg" else 0
        shown = np.abs(read_image(file).astype(int) - turn(COLOURED, orientation)).max()
        stored = np.abs(read_image(file, exif="ignore").astype(int) - COLOURED).max()
        assert shown <= off and stored <= off
        assert pictures.look(file).orientation == orientation

    def test_turn_is_what_the_standard_says(self):
        corner = np.array([[1, 2], [3, 4]])
        seen = {1: [1, 2, 3, 4], 2: [2, 1, 4, 3], 3: [4, 3, 2, 1], 4: [3, 4, 1, 2], 5: [1, 3, 2, 4], 6: [3, 1, 4, 2]}
        seen |= {7: [4, 2, 3, 1], 8: [2, 4, 1, 3]}
        assert {o: turn(corner, o).ravel().tolist() for o in range(1, 9)} == seen

    def test_sixteen_bits_turn_too(self, tmp_path):
        values = np.stack([DEEP, DEEP + 1, DEEP + 2], axis=2)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
        assert np.array_equal(values_of(tmp_path / "a.tif"), turn(values, 6))
        assert np.array_equal(values_of(tmp_path / "a.tif", exif="ignore"), values)

    def test_is_noted_once_with_its_number(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 3
        files = [save(tmp_path / f"{k}.png", RAMP, **({"exif": exif} if k else {})) for k in range(3)]
        with notes.collecting() as found:
            survey(files)
        assert [note.kind for note in found] == [notes.CHANGED]
        assert "2 of 3 pictures have an EXIF orientation, the first 1.png: they are turned" in found[0].sentence


class TestBits:
    def test_png_of_sixteen_bits_and_colours(self, tmp_path):
        values = np.random.default_rng(0).integers(0, 2**16, (6, 8, 3), np.uint16)
        png16(tmp_path / "rgb.png", values)
        png16(tmp_path / "rgba.png", np.concatenate([values, values[..., :1]], axis=2))
        for name in ("rgb.png", "rgba.png"):
            assert np.array_equal(values_of(tmp_path / name), values)
        assert np.array_equal(read_image(tmp_path / "rgb.png"), np.rint(values / 65535 * 255))

    def test_twelve_bits_of_colour_keep_their_levels(self, tmp_path):
        values = np.linspace(0, 4095, 48).astype(np.uint16).reshape(6, 8)[..., None].repeat(3, axis=2)
        png16(tmp_path / "a.png", values)
        with pytest.warns(UserWarning, match="1 of 1 pictures have more than 8 bits: their values 0 to 4095"):
            reader = survey([tmp_path / "a.png"])
        assert len(np.unique(reader.read(reader.sources[0]))) == 48

    @pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int16", "int32", "int8", "float32", "float64"])
    @pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
    def test_tiff_of_any_depth_either_way_round(self, tmp_path, kind, photometric):
        values = (DEEP // 8).astype(kind)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = survey([tmp_path / "a.tif"])
        seen = reader.read(reader.sources[0])[..., 0]
        if kind == "uint8":
            expected = values
        else:
            expected = np.rint((values.astype(float) - values.min()) / np.ptp(values.astype(float)) * 255)
        expected = 255 - expected if photometric == "miniswhite" else expected
        assert np.abs(seen - expected).max() <= 1

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_tiff_of_sixteen_bits_and_colours(self, tmp_path, compression):
        values = np.random.default_rng(0).integers(0, 2**16, (6, 8, 3), np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", compression=compression)
        assert np.array_equal(values_of(tmp_path / "a.tif"), values)

    def test_one_hot_pixel_does_not_ruin_a_set(self, tmp_path):
        rng = np.random.default_rng(0)
        for k in range(4):
            values = rng.integers(0, 1024, (40, 40)).astype(np.uint16)
            values[3, 3] = 65535 if k == 2 else values[3, 3]
            png16(tmp_path / f"{k}.png", values)
        with notes.collecting() as found:
            reader = survey(sorted(tmp_path.iterdir()))
        assert reader.window == (0, 1023)
        assert len(np.unique(reader.read(reader.sources[0]))) > 200
        assert "their values 0 to 1023 become 0 to 255 (they hold 0 to 65535, outliers beyond" in found[0].sentence

    def test_options_for_window_and_scaling(self, tmp_path):
        png16(tmp_path / "a.png", DEEP)
        png16(tmp_path / "b.png", DEEP * 10)
        files = [tmp_path / "a.png", tmp_path / "b.png"]
        with notes.collecting() as found:
            fixed, own = survey(files, Options(window=[0, 510])), survey(files, Options(scaling="image"))
        assert fixed.read(fixed.sources[0]).ravel().tolist() == np.rint(DEEP / 2).clip(0, 255).ravel().tolist()
        first, second = (own.read(source) for source in own.sources)
        assert np.array_equal(first, second) and first.min() == 0 and first.max() == 255
        assert [note.kind for note in found] == [notes.CHANGED] * 2 and "0 to 510" in found[0].sentence
        for wrong in ([5, 5], [9, 1], [1, 2, 3]):
            with pytest.raises(ValueError, match=r"window=\[.* must be two numbers"):
                survey(files, Options(window=wrong))

    def test_some_of_eight_bits_are_told(self, tmp_path):
        png16(tmp_path / "a.png", DEEP)
        save(tmp_path / "b.png", RAMP)
        with notes.collecting() as found:
            reader = survey([tmp_path / "a.png", tmp_path / "b.png"])
        assert found[0].kind == notes.WARNING and "1 of 2 pictures have more than 8 bits" in found[0].sentence
        assert np.array_equal(reader.read(reader.sources[1])[..., 0], RAMP)

    def test_channels_are_chosen_or_refused(self, tmp_path):
        values = np.random.default_rng(0).integers(0, 256, (6, 8, 5), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
        with pytest.raises(ValueError, match=r"a\.tif has 5 channels, expected 1 or 3; say bands="):
            read_image(tmp_path / "a.tif")
        reader = survey([tmp_path / "a.tif"], Options(bands=[4, 0, 2]))
        assert np.array_equal(reader.read(reader.sources[0]), values[..., [4, 0, 2]])
        reader = survey([tmp_path / "a.tif"], Options(bands=[1]))
        assert np.array_equal(reader.read(reader.sources[0]), values[..., [1]])
        with pytest.raises(ValueError, match=r"bands=\[9\] must be below"):
            reader = survey([tmp_path / "a.tif"], Options(bands=[9]))
            reader.read(reader.sources[0])

    @pytest.mark.parametrize(("kind", "samples"), [("uint8", 2), ("uint16", 2), ("uint8", 4), ("float32", 7)])
    def test_no_channel_is_dropped_in_silence(self, tmp_path, kind, samples):
        values = np.random.default_rng(0).integers(0, 256, (6, 8, samples)).astype(kind)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
        with pytest.raises(ValueError, match=f"has {samples} channels"):
            survey([tmp_path / "a.tif"], Options(window=[0, 255])).read(pictures.Source(tmp_path / "a.tif"))

    @pytest.mark.parametrize("kind", ["uint8", "uint16"])
    def test_a_fourth_band_beside_colours_is_not_dropped(self, tmp_path, kind):
        values = np.random.default_rng(0).integers(0, 256, (6, 8, 4)).astype(kind)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
        tifffile.imwrite(tmp_path / "alpha.tif", values, photometric="rgb", extrasamples=["unassalpha"])
        with pytest.raises(ValueError, match="has 4 channels"):
            survey([tmp_path / "a.tif"], Options(window=[0, 255])).read(pictures.Source(tmp_path / "a.tif"))
        for name, bands in (("a.tif", [3, 1, 0]), ("alpha.tif", None)):
            reader = survey([tmp_path / name], Options(window=[0, 255], bands=bands))
            assert np.array_equal(reader.read(reader.sources[0]), values[..., bands or [0, 1, 2]])

    def test_three_channels_that_are_not_called_colours(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", COLOURED, photometric="minisblack", planarconfig="contig")
        reader = survey([tmp_path / "a.tif"])
        assert np.array_equal(reader.read(reader.sources[0]), COLOURED)

    def test_one_band_of_colours(self, tmp_path):
        save(tmp_path / "a.png", COLOURED)
        reader = survey([tmp_path / "a.png"], Options(bands=[2]))
        assert np.array_equal(reader.read(reader.sources[0]), COLOURED[..., [2]])

    def test_formats_that_would_lose_bits_are_refused(self, tmp_path):
        (tmp_path / "a.ppm").write_bytes(b"P6 2 1 4095\n" + bytes(12))
        with pytest.raises(ValueError, match=r"a\.ppm holds colours of more than 8 bits in PPM; save it"):
            read_image(tmp_path / "a.ppm")


class TestFrames:
    @pytest.mark.parametrize("ending", [".gif", ".webp", ".png", ".tif"])
    def test_refused_with_their_number_or_all(self, tmp_path, ending):
        frames = [np.full((6, 8), 60 * k, np.uint8) for k in range(1, 4)]
        frames = [Image.fromarray(f).convert("RGB") for f in frames] if ending == ".webp" else frames
        exact = {"lossless": True} if ending == ".webp" else {}
        file = save(tmp_path / f"a{ending}", frames, **exact)
        for read in (read_image, lambda file: survey([file])):
            with pytest.raises(ValueError, match=rf"a\{ending} holds 3 pictures, expected one; .*frames='all'"):
                read(file)
        reader = survey([file], Options(frames="all"))
        assert [source.named("a") for source in reader.sources] == ["a#1", "a#2", "a#3"]
        assert [int(reader.read(source).mean()) for source in reader.sources] == [60, 120, 180]

    def test_pages_of_sixteen_bits_and_small_copies(self, tmp_path):
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            tiff.write(np.stack([DEEP] * 3, 2), photometric="rgb")
            tiff.write(np.stack([DEEP[::2, ::2]] * 3, 2), photometric="rgb", subfiletype=1)
            tiff.write(np.stack([DEEP * 2] * 3, 2), photometric="rgb")
        reader = survey([tmp_path / "a.tif"], Options(frames="all", window=[0, 255]))
        assert [source.frame for source in reader.sources] == [0, 2], "the reduced copy is no picture"
        assert reader.read(reader.sources[1])[0, 1, 0] == 48


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "coloured", "deep"),
        [("chessboard_RGB.png", True, True), ("camera.png", False, False), ("retina.jpg", True, False)],
    )
    def test_real_pictures(self, name, coloured, deep):
        file = Path(skimage.__file__).parent / "data" / name
        known = pictures.look(file)
        assert (known.coloured, known.deep) == (coloured, deep)
        if not deep:
            expected = np.asarray(Image.open(file))
            assert np.array_equal(read_image(file).squeeze(), expected)

    def test_alpha_is_dropped_and_palettes_are_colours(self, tmp_path):
        save(tmp_path / "rgba.png", Image.new("RGBA", (8, 6), (200, 100, 50, 7)))
        save(tmp_path / "la.png", Image.new("LA", (8, 6), (200, 7)))
        save(tmp_path / "p.png", palette(RAMP % 2, [9, 8, 7, 1, 2, 3]))
        assert read_image(tmp_path / "rgba.png")[0, 0].tolist() == [200, 100, 50]
        assert read_image(tmp_path / "la.png")[0, 0].tolist() == [200]
        assert read_image(tmp_path / "p.png")[0, 1].tolist() == [1, 2, 3]

    def test_pointers_to_content_elsewhere_are_named(self, tmp_path):
        (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
        with pytest.raises(ValueError, match=r"a\.png .*only a pointer to its content.*git lfs pull"):
            read_image(tmp_path / "a.png")

    def test_bombs_are_refused(self, tmp_path, monkeypatch):
        png16(tmp_path / "a.png", np.zeros((60, 80, 3), np.uint16))
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((60, 80, 3), np.uint16), photometric="rgb")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        for name in ("a.png", "a.tif"):
            with pytest.raises(ValueError, match=rf"{name}"):
                read_image(tmp_path / name)

    def test_damage_is_named_for_every_decoder(self, tmp_path):
        rng = np.random.default_rng(0)
        png16(tmp_path / "a.png", rng.integers(0, 2**16, (64, 64, 3), np.uint16))
        tifffile.imwrite(tmp_path / "b.tif", rng.integers(0, 2**16, (64, 64, 3), np.uint16), photometric="rgb")
        tifffile.imwrite(tmp_path / "c.tif", rng.random((64, 64)))
        for name in ("a.png", "b.tif", "c.tif"):
            whole = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(whole[: len(whole) // 2])
            with pytest.raises(ValueError, match=name):
                read_image(tmp_path / name)
