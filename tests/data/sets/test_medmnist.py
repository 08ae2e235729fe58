import sys
import types

import numpy as np
import pytest

from data.loading import load
from data.sets.medmnist import SETS, SIZES, medmnist, stream_rows
from tests.data.pictures import cut_short


def write(file, name="bloodmnist", size=28, counts=(16, 8, 8), compressed=True, **replaced):
    """An imitation of <name>.npz: {train,val,test}_{images,labels}, labels (N, 1) uint8."""
    channels, classes = SETS[name]
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in zip(("train", "val", "test"), counts, strict=True):
        shape = (n, size, size) if channels == 1 else (n, size, size, channels)
        arrays[f"{part}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n, dtype=np.uint8) % len(classes))[:, None]
    arrays |= replaced
    file.parent.mkdir(parents=True, exist_ok=True)
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return arrays


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_read_exactly(tmp_path, name):
    channels, classes = SETS[name]
    arrays = write(tmp_path / "medmnist" / f"{name}.npz", name, counts=(12, 3, 4))
    images = medmnist(name, tmp_path, None)
    assert images.dataset == name and images.classes == classes and images.channels == channels
    assert images.parts.tolist() == ["train"] * 12 + ["val"] * 3 + ["test"] * 4
    assert images.names[0] == f"{name}_train_000000" and images.names[-1] == f"{name}_test_000003"
    for part in ("train", "val", "test"):
        chosen = images.part(part)
        for i in range(len(chosen)):
            np.testing.assert_array_equal(chosen.raw(i).squeeze(), arrays[f"{part}_images"][i])
            assert int(chosen.target(i)) == arrays[f"{part}_labels"][i, 0] == chosen.groups[i]


def test_the_official_list():
    assert len(SETS) == 11 and "chestmnist" not in SETS
    assert {name: len(classes) for name, (_, classes) in SETS.items()} == {
        "pathmnist": 9, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "retinamnist": 5, "breastmnist": 2, "bloodmnist": 8,
        "tissuemnist": 8, "organamnist": 11, "organcmnist": 11, "organsmnist": 11,
    }  # fmt: skip
    assert {name for name, (channels, _) in SETS.items() if channels == 3} == {"pathmnist", "dermamnist", "retinamnist", "bloodmnist"}


@pytest.mark.parametrize("size", SIZES[1:2])
def test_larger_sizes_are_files_of_their_own(tmp_path, size):
    write(tmp_path / f"breastmnist_{size}.npz", "breastmnist", size, compressed=False)
    assert medmnist("breastmnist", tmp_path, None, size=size).raw(0).shape == (size, size, 1)
    assert medmnist("breastmnist", tmp_path, 32, size=size).raw(0).shape == (32, 32, 1)


def test_wrong_names_and_sizes(tmp_path):
    with pytest.raises(ValueError, match="unknown medmnist set 'blodmnist'. Did you mean 'bloodmnist'"):
        medmnist("blodmnist", tmp_path, None)
    with pytest.raises(ValueError, match="unknown size 32.* Known: 28, 64, 128, 224"):
        medmnist("bloodmnist", tmp_path, None, size=32)
    with pytest.raises(ValueError, match="chestmnist gives each image 14 yes-or-no labels"):
        load("classify", "chestmnist", tmp_path)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"val_labels": np.full((8, 1), 8, np.uint8)}, "bloodmnist_val_000000 has label 8, expected 0 to 7"),
        ({"train_labels": np.zeros((16, 14), np.uint8)}, r"train_labels holds uint8 of shape \(16, 14\)"),
        ({"train_images": np.zeros((16, 64, 64, 3), np.uint8)}, r"train_images holds uint8 of shape \(16, 64, 64, 3\), expected"),
        ({"train_images": np.zeros((16, 28, 28, 3))}, "train_images holds float64"),
        ({"test_images": np.zeros((0, 28, 28, 3), np.uint8), "test_labels": np.zeros((0, 1), np.uint8)}, "no image in part 'test'"),
    ],
)
def test_wrong_contents_are_named(tmp_path, replaced, message):
    write(tmp_path / "medmnist" / "bloodmnist.npz", **replaced)
    with pytest.raises(ValueError, match=message):
        medmnist("bloodmnist", tmp_path, None)


def test_other_and_damaged_files(tmp_path):
    file = tmp_path / "medmnist" / "bloodmnist.npz"
    file.parent.mkdir()
    np.savez(file, x=np.zeros(3))
    with pytest.raises(ValueError, match="has no array 'train_labels'"):
        medmnist("bloodmnist", tmp_path, None)
    write(file)
    cut_short(file)
    with pytest.raises(ValueError, match="bloodmnist.npz is damaged or is another file"):
        medmnist("bloodmnist", tmp_path, None)
    file.write_text("<html>Not found</html>")
    with pytest.raises(ValueError, match="bloodmnist.npz is damaged or is another file"):
        medmnist("bloodmnist", tmp_path, None)


def test_a_flipped_byte_is_noticed(tmp_path):
    file = tmp_path / "bloodmnist.npz"
    write(file, compressed=False)
    broken = bytearray(file.read_bytes())
    broken[3000] ^= 255
    file.write_bytes(bytes(broken))
    with pytest.raises(ValueError, match="damaged"):
        list(stream_rows(file, "train_images", (28, 28, 3)))


class TestDownload:
    def test_without_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "medmnist", None)
        with pytest.raises(FileNotFoundError, match="medmnist/bloodmnist_64.npz does not exist; put bloodmnist_64.npz there from https"):
            medmnist("bloodmnist", tmp_path, None, size=64)

    def package(self, monkeypatch, download):
        class BloodMNIST:
            def __init__(self, split, root, size, download):
                assert (split, size, download) == ("test", 28, True)
                fetch(root)

        fetch = download
        module = types.ModuleType("medmnist")
        module.INFO, module.BloodMNIST = {"bloodmnist": {"python_class": "BloodMNIST"}}, BloodMNIST
        monkeypatch.setitem(sys.modules, "medmnist", module)

    def test_with_the_package(self, tmp_path, monkeypatch):
        asked = []

        def fetch(root):
            asked.append(root)
            write(tmp_path / "medmnist" / "bloodmnist.npz")

        self.package(monkeypatch, fetch)
        assert len(medmnist("bloodmnist", tmp_path, None)) == 32
        assert len(medmnist("bloodmnist", tmp_path, None)) == 32
        assert asked == [str(tmp_path / "medmnist")], "the second time the file is there"

    def test_without_network(self, tmp_path, monkeypatch):
        def fetch(root):
            raise RuntimeError("Automatic download failed!")

        self.package(monkeypatch, fetch)
        with pytest.raises(FileNotFoundError, match="its download failed; put bloodmnist.npz there"):
            medmnist("bloodmnist", tmp_path, None)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("retinamnist", {"train": [486, 128, 206, 194, 66], "val": [54, 12, 28, 20, 6], "test": [174, 46, 92, 68, 20]}),
        ("pneumoniamnist", {"train": [1214, 3494], "val": [135, 389], "test": [234, 390]}),
    ],
)
def test_real_sets(raw_root, name, counts):
    root = raw_root("medmnist")
    images = medmnist(name, root, None)
    assert {part: np.bincount(images.part(part).groups).tolist() for part in counts} == counts
    with np.load(root / "medmnist" / f"{name}.npz") as whole:
        np.testing.assert_array_equal(images.part("test").raw(7).squeeze(), whole["test_images"][7])


@pytest.mark.realdata
def test_real_duplicates_are_as_documented(raw_root):
    images = medmnist("pneumoniamnist", raw_root("medmnist"), None)
    parts_of = {}
    for i, part in enumerate(images.parts.tolist()):
        parts_of.setdefault(images.raw(i).tobytes(), []).append(part)
    repeated = [parts for parts in parts_of.values() if len(parts) > 1]
    assert len(repeated) == 27 and sum(len(set(parts)) > 1 for parts in repeated) == 8
