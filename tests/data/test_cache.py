"""A damaged cache is noticed, said in one sentence, and made again."""

import errno
import os
import shutil
import time

import numpy as np
import pytest

from data import cache
from data.cache import BLOCK, WHOLE, damage_of, whole_folder
from data.files import DiskFull
from data.store import LAYOUT, Record, cached

FILES = ("pixels.bin", "targets.bin", "pixels_shapes.npy", "targets_shapes.npy", "pixels_dtype.txt")
FILES += ("table.json", WHOLE)


def images(root):
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 3, (40, 50), np.uint8)) for _ in range(5)]
    records = [Record(f"im{i}", *pair) for i, pair in enumerate(pairs)]
    found = cached("toy", "f0", "instance_map", ("background", "thing"), lambda: records, cache_root=root)
    for i, record in enumerate(records):
        assert (found.raw(i) == record.image).all() and (found.instances(i) == record.target).all()
    assert found.names == [record.name for record in records]
    return root / f"toy-f0-v{LAYOUT}"


def flip(file, at=None):
    """Change one bit under the same size and times of writing."""
    before = file.stat()
    with open(file, "rb+") as opened:
        opened.seek(before.st_size // 2 if at is None else at)
        bit = opened.read(1)[0] ^ 1
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([bit]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGES = {
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "one bit": flip,
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: file.write_bytes(b""),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"0"),
    "foreign": lambda file: file.write_bytes(b"\xff\xfe{not json"),
    "missing": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_of_every_file_is_mended_with_one_sentence(tmp_path, name, damage, recwarn):
    folder = images(tmp_path)
    DAMAGES[damage](folder / name)
    images(tmp_path)
    (told,) = recwarn.list
    assert "toy-f0" in str(told.message) and "are damaged" in str(told.message) and "made again" in str(told.message)
    assert [entry.name for entry in tmp_path.iterdir()] == [folder.name]
    images(tmp_path)
    assert len(recwarn.list) == 1, "once mended it is whole"


def test_an_unclean_end_is_a_missing_record(tmp_path, recwarn):
    folder = images(tmp_path)
    (folder / WHOLE).unlink()
    images(tmp_path)
    assert f"{WHOLE} is missing" in str(recwarn.list[0].message)


def large(tmp_path):
    """A file of 40 blocks, beyond READ_WHOLE as the test below sets it."""

    def build(folder):
        (folder / "big.bin").write_bytes(np.random.default_rng(0).bytes(40 * BLOCK))

    return whole_folder(tmp_path / "set", build)


def untouched(folder):
    """Let the record believe that its files were not written since, as after rot on the disk itself."""
    record = cache.read_sealed(folder / WHOLE)
    for name, known in record.items():
        known["times"] = cache._times(folder / name)
    cache.write_sealed(folder / WHOLE, record)


def test_a_large_file_is_read_by_sample_and_whole_where_it_was_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "READ_WHOLE", BLOCK)
    folder, read = large(tmp_path), []
    real = cache._checksums
    monkeypatch.setattr(cache, "_checksums", lambda file, blocks: (read.append(list(blocks)), real(file, blocks))[1])
    assert damage_of(folder) == "" and cache.SAMPLE <= len(read[-1]) <= cache.SAMPLE + 2
    assert {0, 39} <= set(read[-1])
    assert damage_of(folder, fully=True) == "" and len(read[-1]) == 40
    (folder / "big.bin").touch()
    assert damage_of(folder) == "" and len(read[-1]) == 40, "touched"
    assert damage_of(folder) == "" and len(read[-1]) < 40, "its new times are remembered"
    flip(folder / "big.bin")
    assert damage_of(folder) == "the content of big.bin has changed"
    untouched(folder)
    assert damage_of(folder, fully=True) == "the content of big.bin has changed"
    assert any(damage_of(folder) for _ in range(60)), "a sample meets it: (1 - 16/40)^60 is 5e-14"


def test_a_zeroed_large_file_is_always_met(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "READ_WHOLE", BLOCK)
    folder = large(tmp_path)
    (folder / "big.bin").write_bytes(bytes(40 * BLOCK))
    untouched(folder)
    assert damage_of(folder) == "the content of big.bin has changed"


def test_the_environment_asks_for_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "READ_WHOLE", BLOCK)
    monkeypatch.setattr(cache, "SAMPLE", 0)
    folder = large(tmp_path)
    flip(folder / "big.bin")
    untouched(folder)
    large(tmp_path)
    assert damage_of(folder, fully=True), "not met by this sample"
    monkeypatch.setenv("ALIQUOT_CHECK_CACHE", "full")
    with pytest.warns(UserWarning, match="the content of big.bin has changed"):
        large(tmp_path)
    assert damage_of(folder, fully=True) == ""


def test_a_copied_cache_is_read_once_and_trusted(tmp_path):
    folder = images(tmp_path)
    shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    before = (tmp_path / "elsewhere" / folder.name / WHOLE).read_text()
    images(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / folder.name / WHOLE).read_text() != before
    assert not damage_of(tmp_path / "elsewhere" / folder.name)


def test_all_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    order = []
    real, rename = os.fsync, type(tmp_path).rename
    name_of = lambda fd: os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(name_of(fd)), real(fd)))
    monkeypatch.setattr(type(tmp_path), "rename", lambda self, to: (order.append("RENAME"), rename(self, to))[1])
    folder = large(tmp_path)
    at = order.index("RENAME")
    assert "big.bin" in order[:at] and any(WHOLE in name for name in order[:at])
    assert order[at - 1].startswith(f".{folder.name}-") and order[at + 1] == tmp_path.name


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path):
    def build(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match="the disk is full while saving .*/set; free some space and start the same"):
        whole_folder(tmp_path / "set", build)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_build_left_is_removed_after_a_day(tmp_path):
    old, young, other = (tmp_path / name for name in (".set-old", ".set-young", ".other-old"))
    for left in (old, young, other):
        left.mkdir()
        (left / "pixels.bin").touch()
        if left != young:
            for path in (left / "pixels.bin", left):
                os.utime(path, (time.time() - 2 * cache.ABANDONED,) * 2)
    whole_folder(tmp_path / "set", lambda folder: (folder / "a").touch())
    assert not old.exists() and young.exists() and other.exists()


def test_what_a_killed_build_left_goes_although_another_made_the_folder(tmp_path):
    folder = images(tmp_path)
    left, going_on = (tmp_path / f".{folder.name}-{end}" for end in ("killed", "going_on"))
    for each in (left, going_on):
        each.mkdir()
        (each / "pixels.bin").write_bytes(b"half")
    for each in (left / "pixels.bin", left):
        os.utime(each, (time.time() - 2 * cache.ABANDONED,) * 2)
    images(tmp_path)
    assert not left.exists() and going_on.exists()
