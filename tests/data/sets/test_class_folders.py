import shutil

import numpy as np
import pytest

from data.formats.class_folder import own
from data.sets import class_folders
from data.sets.class_folders import CIFAR10, EUROSAT, NCT, OCT
from tests.data.pictures import cut_short, save


def write_nct(root):
    for folder, tag in (("NCT-CRC-HE-100K", "AAAFLCLY"), ("CRC-VAL-HE-7K", "TCGA-AAICEQFN")):
        for label, name in enumerate(NCT):
            save(root / folder / name / f"{name}-{tag}.tif", (20 * label, 50, 200), (224, 224))
    return root


def write_oct(root, parts=("train", "test")):
    for part in parts:
        for label, name in enumerate(OCT):
            for patient in (101, 102, 103):
                save(root / part / name / f"{name}-{patient}{label}-{len(part)}.jpeg", 60 * label, (40, 30))
    return root


def counts(images):
    return {part: np.bincount(images.part(part).groups).tolist() for part in sorted(set(images.parts.tolist()))}


def test_nct_reads_both_folders(tmp_path):
    write_nct(tmp_path / "nct")
    images = class_folders.nct(tmp_path, 32)
    assert counts(images) == {"train": [1] * 9, "test": [1] * 9}
    assert images.classes == NCT and images.kind == "class" and images.channels == 3
    assert images.names[0] == "ADI-AAAFLCLY.tif"
    for i in range(len(images)):
        label = images.groups[i]
        assert images.target(i).shape == () and int(images.target(i)) == label
        np.testing.assert_array_equal(images.raw(i), np.broadcast_to([20 * label, 50, 200], (32, 32, 3)))
    assert class_folders.nct(tmp_path / "nct", 32).names == images.names, "the folder itself may be given as data_root"
    assert class_folders.nct(tmp_path, None).raw(0).shape == (224, 224, 3)


def test_nct_without_normalisation_is_another_folder(tmp_path):
    root = write_nct(tmp_path / "nct")
    with pytest.raises(FileNotFoundError, match="NCT-CRC-HE-100K-NONORM"):
        class_folders.nct(tmp_path, 32, normalised=False)
    (root / "NCT-CRC-HE-100K").rename(root / "NCT-CRC-HE-100K-NONORM")
    assert len(class_folders.nct(tmp_path, 32, normalised=False)) == 18


def test_nct_names_what_is_missing_or_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="(?s)expected this tree:.*CRC-VAL-HE-7K/ADI"):
        class_folders.nct(tmp_path, 32)
    root = write_nct(tmp_path / "nct")
    (root / "CRC-VAL-HE-7K" / "TUM").rename(root / "CRC-VAL-HE-7K" / "TUMO")
    with pytest.raises(ValueError, match="TUMO is none of the classes .* Did you mean 'TUM'"):
        class_folders.nct(tmp_path, 32)
    shutil.rmtree(root / "CRC-VAL-HE-7K" / "TUMO")
    with pytest.raises(FileNotFoundError, match="TUM does not exist"):
        class_folders.nct(tmp_path, 32)
    (root / "CRC-VAL-HE-7K" / "TUM").mkdir()
    with pytest.raises(ValueError, match="TUM holds no picture"):
        class_folders.nct(tmp_path, 32)
    shutil.rmtree(root / "CRC-VAL-HE-7K")
    with pytest.raises(FileNotFoundError, match="CRC-VAL-HE-7K does not exist"):
        class_folders.nct(tmp_path, 32)


def test_a_file_cut_short_is_named_and_leaves_no_cache(tmp_path):
    root = write_nct(tmp_path / "nct")
    broken = cut_short(root / "NCT-CRC-HE-100K" / "LYM" / "LYM-AAAFLCLY.tif")
    with pytest.raises(ValueError, match=broken.name):
        class_folders.nct(tmp_path, 32, tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_a_file_moved_to_another_class_is_noticed(tmp_path):
    root = write_nct(tmp_path / "nct")
    save(root / "NCT-CRC-HE-100K" / "ADI" / "twin.tif", (1, 2, 3))
    before = class_folders.nct(tmp_path, 32)
    (root / "NCT-CRC-HE-100K" / "ADI" / "twin.tif").rename(root / "NCT-CRC-HE-100K" / "TUM" / "twin.tif")
    after = class_folders.nct(tmp_path, 32)
    assert before.groups[before.names.index("twin.tif")] == 0 and after.groups[after.names.index("twin.tif")] == 8


@pytest.mark.parametrize("inner", ["eurosat/2750", "eurosat/EuroSAT_RGB", "eurosat"])
def test_eurosat_holds_out_a_fixed_fifth(tmp_path, inner):
    for name in EUROSAT:
        for i in range(1, 11):
            save(tmp_path / inner / name / f"{name}_{i}.jpg", (0, 10 * i, 0), (64, 64))
    images = class_folders.eurosat(tmp_path, None)
    assert counts(images) == {"train": [8] * 10, "test": [2] * 10}
    assert images.names[:3] == ["AnnualCrop_1.jpg", "AnnualCrop_2.jpg", "AnnualCrop_3.jpg"]
    again = class_folders.eurosat(tmp_path, 16)
    assert images.parts.tolist() == again.parts.tolist()


def test_cifar10_folders_use_paths_as_names(tmp_path):
    for part in ("train", "test"):
        for label, name in enumerate(CIFAR10):
            save(tmp_path / "cifar10" / part / name / "0001.jpg", (0, 0, 20 * label), (32, 32))
    images = class_folders.cifar10_folders(tmp_path, None)
    assert images.names[:2] == ["train/airplane/0001.jpg", "train/automobile/0001.jpg"]
    assert counts(images) == {"train": [1] * 10, "test": [1] * 10}


def test_imagenet_takes_any_classes_and_val_as_test(tmp_path):
    for wnid in ("n01440764", "n01443537"):
        save(tmp_path / "imagenet" / "train" / wnid / f"{wnid}_10026.JPEG", (9, 9, 9), (50, 40))
        save(tmp_path / "imagenet" / "val" / wnid / f"ILSVRC2012_val_0000029{wnid[-1]}.JPEG", 9, (50, 40))
    images = class_folders.imagenet(tmp_path, 24)
    assert images.classes == ("n01440764", "n01443537") and counts(images) == {"train": [1, 1], "test": [1, 1]}
    assert {images.raw(i).shape for i in range(4)} == {(24, 24, 3)}, "grey files become RGB"
    save(tmp_path / "imagenet" / "val" / "n01443538" / "a.JPEG")
    with pytest.raises(ValueError, match="n01443538 is none of the classes"):
        class_folders.imagenet(tmp_path, 24)


def test_oct_knows_patients_and_takes_a_subset(tmp_path):
    root = write_oct(tmp_path / "oct", ("train", "val", "test"))
    images = class_folders.oct_scans(tmp_path, 24)
    assert counts(images) == {"train": [3] * 4, "val": [3] * 4, "test": [3] * 4}
    assert images.patients[images.names.index("DME-1021-5.jpeg")] == "1021" and images.channels == 1
    (root / "subset.txt").write_text("CNV-1010-5\nDME-1021-5.jpeg\n\ntrain/DRUSEN/DRUSEN-1032-5.jpeg\nNORMAL-1013-5\n")
    few = class_folders.oct_scans(tmp_path, 24, id_list="subset.txt")
    assert counts(few) == {"train": [1] * 4, "val": [3] * 4, "test": [3] * 4}
    assert set(few.part("train").names) == {"CNV-1010-5.jpeg", "DME-1021-5.jpeg", "DRUSEN-1032-5.jpeg", "NORMAL-1013-5.jpeg"}


def test_oct_refuses_unknown_ids_and_names(tmp_path):
    root = write_oct(tmp_path / "OCT2017")
    (root / "subset.txt").write_text("CNV-1010-5\nCNV-1010-7\n")
    with pytest.raises(ValueError, match="names 1 images that are not there, the first 'CNV-1010-7'. Did you mean 'CNV-10"):
        class_folders.oct_scans(tmp_path, 24, id_list="subset.txt")
    with pytest.raises(FileNotFoundError, match="the list of image ids .*none.txt does not exist"):
        class_folders.oct_scans(tmp_path, 24, id_list="none.txt")
    save(root / "train" / "CNV" / "holiday.jpeg")
    with pytest.raises(ValueError, match="holiday.jpeg is not called like CNV-1016042-1.jpeg"):
        class_folders.oct_scans(tmp_path, 24)


def test_brain_tumor_mri_makes_all_grey(tmp_path):
    for part, tag in (("Training", "Tr"), ("Testing", "Te")):
        for label, name in enumerate(("glioma", "meningioma", "notumor", "pituitary")):
            file = tmp_path / "brain_tumor_mri" / part / name / f"{tag}-{name[:2]}_0001.png"
            save(file, 60 * label, (224, 224), "RGB" if label % 2 else "L")
    images = class_folders.brain_tumor_mri(tmp_path, 64)
    assert images.classes == ("glioma", "meningioma", "notumor", "pituitary") and counts(images) == {"train": [1] * 4, "test": [1] * 4}
    assert [int(images.raw(i).mean()) for i in range(4)] == [0, 60, 120, 180] and images.channels == 1


class TestOwn:
    def write_classes(self, root, n=10):
        for label, name in enumerate(("malignant", "benign")):
            for i in range(n):
                save(root / name / f"{name}{i}.png", 100 * label)

    def test_one_folder_per_class(self, tmp_path):
        self.write_classes(tmp_path / "mine")
        images = own(tmp_path / "mine", 8)
        assert images.classes == ("benign", "malignant") and counts(images) == {"train": [8, 8], "test": [2, 2]}
        assert images.channels == 1
        assert counts(own(tmp_path / "mine", 8, test_fraction=0.5)) == {"train": [5, 5], "test": [5, 5]}

    def test_any_coloured_picture_makes_all_rgb(self, tmp_path):
        self.write_classes(tmp_path / "mine")
        save(tmp_path / "mine" / "benign" / "x.png", (1, 2, 3))
        assert own(tmp_path / "mine", 8).channels == 3

    def test_sixteen_bits_are_scaled_together(self, tmp_path):
        for name, value in (("benign", 1000), ("malignant", 4095)):
            for i in range(5):
                save(tmp_path / "mine" / name / f"{name}{i}.png", values=np.full((12, 10), value, np.uint16))
        images = own(tmp_path / "mine", None)
        assert sorted({int(images.raw(i).max()) for i in range(10)}) == [0, 255]

    def test_official_parts(self, tmp_path):
        for part, n in (("train", 4), ("val", 2), ("test", 3)):
            self.write_classes(tmp_path / "mine" / part, n)
        assert counts(own(tmp_path / "mine", 8)) == {"train": [4, 4], "val": [2, 2], "test": [3, 3]}

    def table(self, root, rows, header="file,label,patient"):
        root.mkdir(exist_ok=True)
        for i in range(40):
            save(root / "pics" / f"{i}.png", i)
        (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
        return root

    def test_csv_divides_by_patient(self, tmp_path):
        rows = [f"pics/{i}.png, {('no', 'yes')[i % 4 == 0]}, P{i // 4}" for i in range(40)]
        images = own(self.table(tmp_path / "mine", rows), None)
        assert images.classes == ("no", "yes") and counts(images) == {"train": [24, 8], "test": [6, 2]}
        assert not set(images.part("train").patients) & set(images.part("test").patients)
        for i, name in enumerate(images.names):
            assert name == f"{i}.png" and (images.raw(i) == i).all() and int(images.target(i)) == (i % 4 == 0)

    def test_csv_with_parts(self, tmp_path):
        rows = [f"pics/{i}.png,{i % 2},{'test' if i < 6 else 'val' if i < 10 else ''}" for i in range(20)]
        images = own(self.table(tmp_path / "mine", rows, "file,label,part"), 8)
        assert counts(images) == {"train": [5, 5], "val": [2, 2], "test": [3, 3]}

    @pytest.mark.parametrize(
        ("rows", "header", "kind", "message"),
        [
            (["pics/1.png,a", "pics/2.png,b"], "file,lable", ValueError, "has no column 'label', only file, lable. Did you mean 'lable'"),
            (["pics/1.png,a", "pics/99.png,b"], "file,label", FileNotFoundError, "line 3 of .*99.png, which does not exist"),
            (["pics/1.png,a", "pics/2.png,"], "file,label", ValueError, "line 3 of .* has no label"),
            (["pics/1.png,a", "pics/2.png,b", "pics/1.png,b"], "file,label", ValueError, "line 4 .* for the second time"),
            (["pics/1.png,a", "pics/2.png,a"], "file,label", ValueError, "expected at least two labels"),
            (["pics/1.png,a,train", "pics/2.png,b,tset"], "file,label,part", ValueError, "unknown part 'tset'. Did you mean 'test'"),
        ],
    )
    def test_csv_errors_name_the_line(self, tmp_path, rows, header, kind, message):
        with pytest.raises(kind, match=message):
            own(self.table(tmp_path / "mine", rows, header), 8)

    def test_missing_folder_and_single_class(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="(?s)nowhere does not exist; expected this tree:.*labels.csv"):
            own(tmp_path / "nowhere", 8)
        save(tmp_path / "mine" / "benign" / "a.png")
        with pytest.raises(ValueError, match="holds 1 class folders, expected at least two"):
            own(tmp_path / "mine", 8)


@pytest.mark.realdata
def test_real_brain_tumor_mri(raw_root):
    images = class_folders.brain_tumor_mri(raw_root("brain_tumor_mri"), 64)
    assert counts(images) == {"train": [400] * 4, "test": [100] * 4}


@pytest.mark.realdata
def test_real_cifar10_folders(raw_root):
    images = class_folders.cifar10_folders(raw_root("cifar10_jpg"), None)
    assert counts(images) == {"train": [500] * 10, "test": [100] * 10}


@pytest.mark.realdata
def test_real_oct_files(raw_root, tmp_path):
    for part in ("train", "test"):
        for file in (raw_root("oct_kermany_sample") / "oct_kermany_sample").iterdir():
            target = tmp_path / "oct" / part / file.name.split("-")[0] / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    images = class_folders.oct_scans(tmp_path, 224)
    assert counts(images) == {"train": [2, 1, 2, 1], "test": [2, 1, 2, 1]} and images.patients[0] == "81630"


@pytest.mark.realdata
def test_real_nct_tile(raw_root, tmp_path):
    (tile,) = (raw_root("nct_crc_sample") / "nct_crc_sample").glob("*.tif")
    for folder in ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K"):
        for name in NCT:
            (tmp_path / "nct" / folder / name).mkdir(parents=True)
            shutil.copy(tile, tmp_path / "nct" / folder / name / f"{name}-{folder[:3]}.tif")
    images = class_folders.nct(tmp_path, None)
    assert images.raw(0).shape == (224, 224, 3) and images.raw(0).std() > 20
