import numpy as np
import pytest
from PIL import Image

from data.names import Refused
from tests.data.formats.writing import dicom, nifti
from tests.data.own_folders import VALUES, both, counts, fill, load, require_right, said_in
from tests.data.pictures import save


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "test"), {"train": 5, "test": 2}),
        (("train", "Test"), {"train": 5, "test": 2}),
        (("Training", "TESTING"), {"train": 5, "test": 2}),
        (("train_set", "test-set"), {"train": 5, "test": 2}),
        (("train", "test", "valid"), {"train": 5, "test": 2, "val": 2}),
        (("Train", "test", "Validation"), {"train": 5, "test": 2, "val": 2}),
    ],
)
@pytest.mark.parametrize("below", [False, True])
def test_parts_above_or_below_the_classes(mine, names, parts, below):
    for k, name in enumerate(names):
        n = 5 if k == 0 else 2
        fill(mine, n=n, start=10 * k, inner=name) if below else fill(mine / name, n=n, start=10 * k)
    images, _ = load(mine)
    assert counts(images) == {part: both(n) for part, n in parts.items()}
    require_right(images)


def test_half_of_a_class_in_subfolders(mine):
    fill(mine)
    fill(mine, ("benign",), start=10, inner="patient2/left")
    images, said = load(mine)
    assert np.bincount(images.groups).tolist() == [10, 5]
    require_right(images)
    said_in(said, "5 of 10 images of class 'benign' lie in folders below benign/; say dataset_options.patient_pattern")


def test_subfolders_as_patients(mine):
    for patient in range(6):
        fill(mine, n=2, start=2 * patient, inner=f"{patient}")
    with pytest.raises(ValueError, match="each of benign, malignant in .* holds folders 0, 1, 2, 3: either could be"):
        load(mine)
    images, _ = load(mine, patient_pattern=r"([^/]+)/[^/]+$", class_names=["benign", "malignant"])
    assert len(images) == 24 and len(set(images.patients)) == 6
    require_right(images)
    assert not set(images.part("train").patients) & set(images.part("test").patients)


def test_what_lies_beside_the_classes_is_counted(mine):
    fill(mine)
    save(mine / "overview.png")
    for name in ("readme.txt", "benign/notes.txt", "benign/._benign0.png", "Thumbs.db"):
        (mine / name).write_text("x")
    save(mine / "__MACOSX" / "benign" / "benign0.png")
    (mine / "_new").mkdir()
    with pytest.raises(ValueError, match="_new holds no picture that can be read, expected the images of class '_new'"):
        load(mine)
    (mine / "_new").rmdir()
    images, said = load(mine)
    assert len(images) == 10
    said_in(said, "1 files are not used: no pictures (1 .txt; the first is benign/notes.txt)")
    said_in(said, "2 files are not used: in no class folder (1 .png, 1 .txt; the first is overview.png)")
    said_in(said, "3 files are not used: hidden or left by an operating system")


def test_links_and_pointers_without_content(mine):
    fill(mine)
    (mine / "benign" / "benign9.png").symlink_to("../.git/annex/objects/x.png")
    with pytest.raises(FileNotFoundError, match="benign9.png is a link to ../.git/annex/objects/x.png, which is not"):
        load(mine)


def test_dicom_that_is_none_is_named(mine):
    fill(mine)
    fill(mine, ("benign",), n=2, start=10, ending=".png")
    (mine / "benign" / "benign10.png").rename(mine / "benign" / "benign10.dcm")
    with pytest.raises(ValueError, match="benign10.dcm cannot be read as DICOM"):
        load(mine)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: [fill(r / "train"), fill(r / "Train")], "could both be the train part"),
        (lambda r: [fill(r / "test"), fill(r / "valid")], "holds .*/ with folders of classes but no train/"),
        (lambda r: [fill(r / "train"), fill(r / "more")], "more holds pictures and lies beside train .* is no part"),
        (lambda r: [fill(r / "train"), fill(r / "test", ("benign", "other"))], "test/other is none of the classes"),
        (lambda r: [fill(r / "train", inner="test"), fill(r / "test")], "train/benign/test is called like a part but lies in the class 'benign'"),
        (lambda r: [fill(r, inner="train"), fill(r, ("other",))], "other is not divided like .*benign"),
        (lambda r: [fill(r, inner="train"), fill(r, start=9)], "benign is not divided like"),
        (lambda r: [fill(r), fill(r, ("benign",), start=9, inner="deep/test")], "deep/test is called like a part but lies"),
        (lambda r: [fill(r), fill(r / "p2", ("benign",), start=9)], "p2/benign is called like another class but lies"),
        (lambda r: [fill(r), save(r / "unlabelled" / "a.png")], "unlabelled lies where folders of classes are expected"),
        (lambda r: [fill(r, inner="test")], "benign is not divided like .*: expected train and test"),
        (lambda r: [fill(r, ("benign",))], r"holds 1 class folders, expected at least two"),
        (lambda r: [fill(r / "all")], r"holds 1 class folders \(or is .*all the folder to read\? Then say data_root="),
        (lambda r: [save(r / "a.png"), (r / "data.csv").write_text("x")], "must be called labels.csv, not data.csv"),
        (lambda r: [save(r / "train" / f"{i}.png") for i in range(5)], "train holds 0 class folders"),
        (lambda r: [fill(r / s) for s in ("siteA", "siteB")], "siteA, siteB in .* holds folders benign, malignant"),
        (lambda r: [fill(r), (r / "empty").mkdir()], "empty holds no picture that can be read"),
        (lambda r: [fill(r, ("benign", "Benign", "bad"))], r"'Benign' \(5 images\) and 'benign' \(5 .* may be one"),
    ],
)
def test_trees_that_could_be_read_in_two_ways_are_refused(mine, make, message):
    make(mine)
    with pytest.raises(Refused, match=message):
        load(mine)


def test_classes_that_are_called_like_parts(mine):
    fill(mine, ("test", "control"))
    images, said = load(mine)
    assert images.classes == ("control", "test") and len(images) == 10
    said_in(said, "'test' in mine is read as a class")


def test_a_class_without_test_images_is_told(mine):
    fill(mine / "train", ("benign", "malignant"))
    fill(mine / "test", ("benign",), start=10)
    images, said = load(mine)
    assert counts(images) == {"train": both(5), "test": {"benign": 5}}
    said_in(said, "class 'malignant' has no image in the test part.")


def test_case_of_a_class_may_differ_between_parts(mine):
    fill(mine / "train")
    fill(mine / "test", ("Benign", "MALIGNANT"), start=10)
    images, said = load(mine)
    assert counts(images) == {"train": both(5), "test": both(5)}
    require_right(images)
    said_in(said, "test/Benign is read as the class 'benign'.")


def test_numbers_sort_as_numbers_and_get_names(mine):
    fill(mine, ("0", "2", "10"))
    assert load(mine)[0].classes == ("0", "2", "10")
    (mine / "classes.txt").write_text("0: none\n2 some\n10 = many\n")
    assert load(mine)[0].classes == ("none", "some", "many")
    assert load(mine, class_names=["10", "2", "0"])[0].classes == ("10", "2", "0")


def test_fraction_of_the_test_part(mine):
    fill(mine, n=10)
    images, said = load(mine, test_fraction=0.4)
    assert counts(images) == {"train": both(6), "test": both(4)}
    said_in(said, "mine has no test part: a fixed 40% of the images of train becomes it.")


def test_dicom_files_tell_their_patients(mine):
    for name, value in VALUES.items():
        for i in range(8):
            dicom(mine / name / f"{name}{i}.dcm", np.full((8, 8), value, np.uint8), PatientID=f"P{i // 2}")
    images, said = load(mine)
    require_right(images)
    assert images.patients.tolist() == [f"P{i // 2}" for i in range(8)] * 2
    assert not set(images.part("train").patients) & set(images.part("test").patients)
    said_in(said, "4 patients are told by the files themselves")
    images, _ = load(mine, patient_pattern=r"(\d)\.dcm$")
    assert images.patients.tolist() == [f"{i}" for i in range(8)] * 2


def test_slices_of_a_volume_have_its_class_and_stay_together(mine):
    for name, value in VALUES.items():
        for i in range(5):
            nifti(mine / name / f"{name}{i}.nii.gz", np.full((8, 8, 3), value, np.uint8))
    images, _ = load(mine)
    assert len(images) == 30 and len(set(images.patients)) == 10
    require_right(images)
    assert not set(images.part("train").patients) & set(images.part("test").patients)


def test_frames_of_one_file_stay_together(mine):
    for name, value in VALUES.items():
        (mine / name).mkdir()
        for i in range(5):
            pages = [Image.fromarray(np.full((8, 8), value, np.uint8)) for _ in range(3)]
            pages[0].save(mine / name / f"{name}{i}.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="holds 3 pictures, expected one"):
        load(mine)
    images, _ = load(mine, frames="all")
    assert len(images) == 30 and images.names[:2] == ["benign0.tif#1", "benign0.tif#2"]
    require_right(images)
    assert not set(images.part("train").patients) & set(images.part("test").patients)
