import os
import pickle
import struct

import numpy as np
import pytest

from data.sets.cifar import FILES, cifar10
from data.sets.class_folders import CIFAR10
from tests.data.pictures import cut_short, save


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, as the distributed batches have them."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        short = len(value) < 256
        self.write((pickle.SHORT_BINSTRING + bytes([len(value)]) if short else pickle.BINSTRING + struct.pack("<i", len(value))) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def write_batch(file, pixels, labels, names=None):
    names = names or [f"{file.name}_{i}.png".encode() for i in range(len(labels))]
    content = {b"batch_label": b"a batch", b"labels": labels, b"data": pixels, b"filenames": names}
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as opened:
        _Python2Pickler(opened, protocol=2).dump(content)
    file.write_bytes(file.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def write_cifar(root, n=10):
    rng = np.random.default_rng(0)
    written = {}
    for name, _ in FILES:
        written[name] = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
        write_batch(root / "cifar-10-batches-py" / name, written[name], [i % 10 for i in range(n)])
    return written


def test_batches_are_read_plane_by_plane(tmp_path):
    written = write_cifar(tmp_path / "cifar10")
    images = cifar10(tmp_path, None)
    assert len(images.part("train")) == 50 and len(images.part("test")) == 10 and images.classes == CIFAR10
    assert images.names[:2] == ["data_batch_1_0.png", "data_batch_1_1.png"]
    for channel in range(3):
        plane = written["data_batch_1"][3, 1024 * channel : 1024 * (channel + 1)].reshape(32, 32)
        np.testing.assert_array_equal(images.raw(3)[..., channel], plane)
    np.testing.assert_array_equal(images.groups, np.tile(np.arange(10), 6))
    assert cifar10(tmp_path, 16).raw(0).shape == (16, 16, 3)


def test_python_3_pickles_of_protocol_2_are_read_too(tmp_path):
    written = write_cifar(tmp_path / "cifar10")
    content = {b"labels": [0] * 10, b"data": written["test_batch"], b"filenames": [b"x%d.png" % i for i in range(10)]}
    (tmp_path / "cifar10" / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    np.testing.assert_array_equal(cifar10(tmp_path, None).part("test").raw(9)[0, 0], written["test_batch"][9, ::1024])


def test_folders_serve_where_there_are_no_batches(tmp_path):
    for part in ("train", "test"):
        for name in CIFAR10:
            save(tmp_path / "cifar10_jpg" / part / name / "0001.jpg", (1, 2, 3), (32, 32))
    assert len(cifar10(tmp_path, None)) == 20


def test_missing_things_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="(?s)expected this tree:.*cifar-10-batches-py.*train/airplane"):
        cifar10(tmp_path, None)
    write_cifar(tmp_path / "cifar10")
    (tmp_path / "cifar10" / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_4 does not exist"):
        cifar10(tmp_path, None)


def test_damaged_and_foreign_batches(tmp_path):
    write_cifar(tmp_path / "cifar10")
    file = tmp_path / "cifar10" / "cifar-10-batches-py" / "data_batch_2"
    cut_short(file)
    with pytest.raises(ValueError, match="data_batch_2 is damaged or is no CIFAR-10 batch"):
        cifar10(tmp_path, None)
    write_batch(file, np.zeros((10, 3072), np.uint8), [0] * 9 + [10])
    with pytest.raises(ValueError, match="data_batch_2_9.png has label 10, expected 0 to 9"):
        cifar10(tmp_path, None)
    write_batch(file, np.zeros((10, 784), np.uint8), [0] * 10)
    with pytest.raises(ValueError, match=r"data_batch_2 holds uint8 of shape \(10, 784\)"):
        cifar10(tmp_path, None)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    write_cifar(tmp_path / "cifar10")
    file = tmp_path / "cifar10" / "cifar-10-batches-py" / "data_batch_1"
    file.write_bytes(pickle.dumps({b"data": Malicious(), b"labels": [], b"filenames": []}, protocol=2))
    with pytest.raises(ValueError, match="data_batch_1 is damaged or is no CIFAR-10 batch: it asks for .*mkdir"):
        cifar10(tmp_path, None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.realdata
def test_real_folders(raw_root):
    assert len(cifar10(raw_root("cifar10_jpg"), None)) == 6000
