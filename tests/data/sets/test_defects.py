import numpy as np
import pytest
from PIL import Image

from data.sets.defects import gaps, ksdd, ksdd2
from tests.data.pictures import cut_short, save


def write_gaps(root, issue="NORMvsDISTRESS_50k", size=32, classes=2, digits=2, n=6):
    written = {}
    for subset, chunks in (("train", 11), ("valid", 1), ("valid-test", 1), ("test", 1)):
        folder = root / "v2" / f"{issue}_{size}" / subset
        folder.mkdir(parents=True)
        for k in range(chunks):
            stem = f"chunks_{size}x{size}_{issue}_{subset}_chunk_{k:0{digits}d}"
            x = np.random.default_rng(k).uniform(-1, 1, (n, 1, size, size)).astype(np.float32)
            np.save(folder / f"{stem}_x.npy", x)
            np.save(folder / f"{stem}_y.npy", np.arange(n, dtype=np.int32) % classes)
            written[subset, k] = x
    return written


class TestGaps:
    def test_chunks_in_order(self, tmp_path):
        written = write_gaps(tmp_path / "gaps", digits=1)
        images = gaps(tmp_path, None, patch_size=32)
        assert images.parts.tolist() == ["train"] * 66 + ["val"] * 6 + ["test"] * 6, "valid-test is left aside"
        assert images.classes == ("intact road", "distress") and images.channels == 1
        assert images.names[13] == "chunks_32x32_NORMvsDISTRESS_50k_train_chunk_2_00001", "chunk 2 comes before chunk 10"
        np.testing.assert_allclose(images.raw(13)[..., 0], (written["train", 2][1, 0] + 1) * 127.5, atol=0.51)
        np.testing.assert_array_equal(images.groups, np.tile([0, 1], 39))

    def test_six_classes_and_resizing(self, tmp_path):
        write_gaps(tmp_path / "gaps", "ZEB_50k", classes=6)
        images = gaps(tmp_path, 16, issue="ZEB_50k", patch_size=32)
        assert len(images.classes) == 6 and images.raw(0).shape == (16, 16, 1) and set(images.groups) == set(range(6))

    def test_errors(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="(?s)found no v2/NORMvsDISTRESS_50k_160.*expected this tree"):
            gaps(tmp_path, None)
        with pytest.raises(ValueError, match="unknown issue 'ZEB_50'. Did you mean 'ZEB_50k'"):
            gaps(tmp_path, None, issue="ZEB_50")
        write_gaps(tmp_path / "gaps", classes=3)
        with pytest.raises(ValueError, match="chunk_00_00002 has label 2, expected 0 to 1"):
            gaps(tmp_path, None, patch_size=32)
        folder = tmp_path / "gaps" / "v2" / "NORMvsDISTRESS_50k_32" / "train"
        x, y = (folder / f"chunks_32x32_NORMvsDISTRESS_50k_train_chunk_00_{letter}.npy" for letter in "xy")
        np.save(y, np.zeros(5, np.int32))
        with pytest.raises(ValueError, match=r"chunk_00_x.npy has shape \(6, 1, 32, 32\), expected \(5, 1, 32, 32\)"):
            gaps(tmp_path, None, patch_size=32)
        np.save(y, np.zeros(6, np.int32))
        np.save(x, np.full((6, 1, 32, 32), 200, np.float32))
        with pytest.raises(ValueError, match="values from 200 to 200, expected patches in -1..1"):
            gaps(tmp_path, None, patch_size=32)
        cut_short(x)
        with pytest.raises(ValueError, match="chunk_00_x.npy is damaged"):
            gaps(tmp_path, None, patch_size=32)
        y.unlink()
        with pytest.raises(FileNotFoundError, match="chunk_00_y.npy does not exist, expected the labels of"):
            gaps(tmp_path, None, patch_size=32)


def write_ksdd2(root, masks=True):
    """Two of three surfaces are in order; defect = a few white pixels at the very top of the mask."""
    for part, first in (("train", 10300), ("test", 20000)):
        for number in range(first, first + 6):
            file = save(root / part / f"{number}.png", (number % 7, 90, 90), (23, 63))
            mask = np.zeros((63, 23), np.uint8)
            mask[0, 5:7] = 255 * (number % 3 == 0)
            if masks:
                save(file.with_name(f"{number}_GT.png"), values=mask)
    if masks:
        save(root / "train" / "10301 (copy).png", (1, 1, 1))
        save(root / "train" / "10301_GT (copy).png", 255)


class TestKsdd2:
    def test_labels_from_masks(self, tmp_path):
        write_ksdd2(tmp_path / "ksdd2")
        images = ksdd2(tmp_path, None)
        assert images.names == [f"{n}.png" for n in (*range(10300, 10306), *range(20000, 20006))], "no masks, no stray copies"
        assert images.groups.tolist() == [int(int(name[:5]) % 3 == 0) for name in images.names]
        assert images.parts.tolist() == ["train"] * 6 + ["test"] * 6 and images.classes == ("OK", "NG")

    def test_labels_from_csv(self, tmp_path):
        write_ksdd2(tmp_path / "KolektorSDD2", masks=False)
        for part, first in (("train", 10300), ("test", 20000)):
            rows = [f"{n}.png,{'NG' if n % 3 == 0 else 'OK'}" for n in range(first, first + 6)]
            (tmp_path / "KolektorSDD2" / f"{part}.csv").write_text("\n".join(["file,label", *rows]))
        images = ksdd2(tmp_path, 16)
        assert images.groups.tolist() == [int(int(name[:5]) % 3 == 0) for name in images.names]
        (tmp_path / "KolektorSDD2" / "test.csv").write_text("file,label\n20000.png,GN\n")
        with pytest.raises(ValueError, match="line 2 of .*test.csv: unknown label 'GN'. .*Known: OK, NG"):
            ksdd2(tmp_path, 16)
        (tmp_path / "KolektorSDD2" / "test.csv").write_text("file,label\n20009.png,OK\n")
        with pytest.raises(FileNotFoundError, match="names 1 files that do not exist, the first .*20009.png"):
            ksdd2(tmp_path, 16)
        (tmp_path / "KolektorSDD2" / "test.csv").write_text("name,label\n20009.png,OK\n")
        with pytest.raises(ValueError, match="test.csv has no column 'file'"):
            ksdd2(tmp_path, 16)

    def test_nothing_is_cut_off(self, tmp_path):
        write_ksdd2(tmp_path / "ksdd2")
        surface = np.full((63, 23, 3), 50, np.uint8)
        surface[:6] = 250
        save(tmp_path / "ksdd2" / "train" / "10300.png", values=surface)
        image = ksdd2(tmp_path, 21).raw(0)
        assert image.shape == (21, 21, 3) and image[0].min() > 200 and image[-1].max() == 50

    def test_errors(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="(?s)expected this tree:.*20000_GT.png"):
            ksdd2(tmp_path, None)
        write_ksdd2(tmp_path / "ksdd2")
        (tmp_path / "ksdd2" / "test" / "20002_GT.png").unlink()
        with pytest.raises(FileNotFoundError, match="20002_GT.png does not exist, so nothing says whether"):
            ksdd2(tmp_path, None)
        write_ksdd2(tmp_path / "ksdd2")
        cut_short(tmp_path / "ksdd2" / "test" / "20003.png")
        with pytest.raises(ValueError, match="20003.png"):
            ksdd2(tmp_path, 16)


def write_ksdd(root, n_items=10):
    for item in range(1, n_items + 1):
        for k in range(3):
            save(root / f"kos{item:02d}" / f"Part{k}.jpg", 100 + item, (50, 126))
            mask = np.zeros((126, 50), np.uint8)
            mask[60:63, 10:40] = item % 2 and k == 0
            picture = Image.fromarray(mask)
            if mask.any():  # as distributed: palette masks where there is a defect, grey ones where there is none
                picture = Image.new("P", (50, 126))
                picture.putpalette([0, 0, 0, 255, 255, 255] + [0] * 762)
                picture.putdata(mask.ravel().tolist())
            picture.save(root / f"kos{item:02d}" / f"Part{k}_label.bmp")


class TestKsdd:
    def test_items_stay_together(self, tmp_path):
        write_ksdd(tmp_path / "KolektorSDD")
        images = ksdd(tmp_path, 32)
        assert len(images) == 30 and images.channels == 1 and images.raw(0).shape == (32, 32, 1)
        expected = [int(item % 2 == 1 and k == 0) for item in range(1, 11) for k in range(3)]
        assert images.groups.tolist() == expected and images.patients[3] == "kos02"
        train, test = images.part("train"), images.part("test")
        assert len(test) == 6 and 1 <= test.groups.sum() <= 2 and not set(train.patients) & set(test.patients)

    def test_errors(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="(?s)expected this tree:.*Part0_label.bmp"):
            ksdd(tmp_path, None)
        write_ksdd(tmp_path / "ksdd", 2)
        (tmp_path / "ksdd" / "kos02" / "Part1_label.bmp").unlink()
        with pytest.raises(FileNotFoundError, match="Part1_label.bmp does not exist"):
            ksdd(tmp_path, None)

    @pytest.mark.realdata
    def test_real_surfaces(self, raw_root):
        images = ksdd(raw_root("kolektorsdd"), 128)
        assert np.bincount(images.groups).tolist() == [10, 10] and len(set(images.patients)) == 18
        assert {"test", "train"} == set(images.parts)
