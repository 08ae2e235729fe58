import h5py
import numpy as np
import pytest

from data.sets.brain_tumor import braintumor
from tests.data.pictures import cut_short


def write_slice(file, label, patient, image):
    """As MATLAB 7.3 stores a struct: arrays transposed, text as a column of character codes, a user block of 512 bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w", userblock_size=512) as opened:
        group = opened.create_group("cjdata")
        group["label"] = np.array([[float(label)]])
        group["PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
        group["image"] = image.T.astype(np.int16)
        group["tumorMask"] = np.zeros(image.T.shape, np.uint8)


def write_all(root, n=30, folder="brainTumorDataPublic_1-766"):
    ramp = np.arange(12 * 16).reshape(12, 16)
    for i in range(1, n + 1):
        write_slice(root / folder / f"{i}.mat", 1 + i % 3, f"MR{i // 3}", 10 * ramp + 100 * i)
    return ramp


def write_folds(root, folds):
    with h5py.File(root / "cvind.mat", "w", userblock_size=512) as opened:
        opened["cvind"] = np.array([folds], dtype=float)


def test_folds_of_the_authors(tmp_path):
    ramp = write_all(tmp_path / "braintumor")
    write_folds(tmp_path / "braintumor", [1 + (i // 3) % 5 for i in range(1, 31)])
    images = braintumor(tmp_path, None)
    assert images.names[:3] == ["1.mat", "2.mat", "3.mat"] and images.names[-1] == "30.mat", "by number, not by letter"
    assert images.classes == ("meningioma", "glioma", "pituitary")
    np.testing.assert_array_equal(images.groups, [i % 3 for i in range(1, 31)])
    assert images.patients[4] == "MR1"
    np.testing.assert_array_equal(images.parts == "test", [(i // 3) % 5 == 4 for i in range(1, 31)])
    np.testing.assert_array_equal(images.raw(7)[..., 0], np.rint(ramp * 255 / ramp.max()))
    other = braintumor(tmp_path, None, test_fold=2)
    np.testing.assert_array_equal(other.parts == "test", [(i // 3) % 5 == 1 for i in range(1, 31)])


def test_without_folds_whole_patients_are_held_out(tmp_path):
    write_all(tmp_path / "braintumor", folder=".")
    images = braintumor(tmp_path, 8)
    train, test = images.part("train"), images.part("test")
    assert images.raw(0).shape == (8, 8, 1) and 5 <= len(test) <= 7
    assert not set(train.patients) & set(test.patients)


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="(?s)expected this tree:.*cvind.mat"):
        braintumor(tmp_path, None)
    root = tmp_path / "braintumor"
    write_all(root, 6, ".")
    with pytest.raises(ValueError, match="test_fold=6"):
        braintumor(tmp_path, None, test_fold=6)
    write_folds(root, [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="cvind.mat gives folds for 5 files, but there is a file 6.mat"):
        braintumor(tmp_path, None)
    write_folds(root, [1, 2, 3, 4, 5, 1])
    write_slice(root / "3.mat", 4, "MR9", np.ones((4, 4)))
    with pytest.raises(ValueError, match="3.mat has label 4, expected 1 to 3"):
        braintumor(tmp_path, None)
    write_slice(root / "3.mat", 1, "MR9", np.ones((4, 4)))
    assert braintumor(tmp_path, None).raw(2).max() == 0, "a constant image is black, not an error"
    cut_short(root / "3.mat")
    with pytest.raises(ValueError, match="3.mat cannot be read as MATLAB v7.3"):
        braintumor(tmp_path, None)
    with h5py.File(root / "3.mat", "w") as opened:
        opened["other"] = 1
    with pytest.raises(ValueError, match="3.mat cannot be read as MATLAB v7.3 with cjdata.label"):
        braintumor(tmp_path, None)
    (root / "3.mat").rename(root / "three.mat")
    with pytest.raises(ValueError, match="three.mat is not called by its number"):
        braintumor(tmp_path, None)
