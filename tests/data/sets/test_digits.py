import numpy as np
import pytest
from sklearn.datasets import load_digits

from data.sets.digits import digits


def test_parts_are_fixed_and_balanced():
    images = digits()
    assert len(images.part("train")) == 1297
    assert np.bincount(images.part("test").groups).tolist() == [50] * 10
    assert digits(image_size=16).part("test").names == images.part("test").names
    assert set(images.names) == {f"digit_{i:04d}" for i in range(1797)}


def test_pixels_and_labels_are_those_of_scikit_learn():
    images, source = digits(), load_digits()
    for i in range(0, 1797, 97):
        number = int(images.names[i][6:])
        np.testing.assert_array_equal(images.raw(i)[..., 0], np.rint(source.images[number] * 255 / 16))
        assert int(images.target(i)) == source.target[number]
    assert digits(image_size=16).raw(0).shape == (16, 16, 1)


def test_copies_are_noisy_and_belong_together():
    images = digits(repeat=3, noise=0.05)
    pool = images.part("train")
    assert len(pool) == 3 * 1297 and len(images.part("test")) == 500 and len(set(images.names)) == len(images)
    clean, first, second = (np.stack([pool.raw(k * 1297 + i) for i in range(1297)]).astype(float) for k in range(3))
    single = digits().part("train")
    np.testing.assert_array_equal(clean, np.stack([single.raw(i) for i in range(1297)]))
    within = (clean > 60) & (clean < 195)  # where clipping does not reach
    for copy in (first, second):
        assert (copy - clean)[within].std() == pytest.approx(0.05 * 255, rel=0.03)
    assert (first != second).mean() > 0.5, "each copy has noise of its own"
    np.testing.assert_array_equal(pool.groups[:1297], pool.groups[1297:2594])
    np.testing.assert_array_equal(pool.patients[:1297], pool.patients[2594:])
    assert not set(pool.patients) & set(images.part("test").patients)
    again = digits(repeat=3, noise=0.05)
    np.testing.assert_array_equal(pool.raw(2000), again.part("train").raw(2000))


def test_copies_without_noise_are_exact():
    pool = digits(repeat=2).part("train")
    np.testing.assert_array_equal(pool.raw(5), pool.raw(1302))


@pytest.mark.parametrize(("option", "value"), [("repeat", 0), ("repeat", True), ("noise", -0.1)])
def test_options_are_checked(option, value):
    with pytest.raises(ValueError, match=f"{option}={value}"):
        digits(**{option: value})
