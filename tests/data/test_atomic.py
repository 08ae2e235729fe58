"""Files are whole or absent, and a full disk is one sentence."""

import errno
import os
import time
from pathlib import Path

import pytest

from data import files
from data.files import ROOT, DiskFull, Refused, atomic, folder_from, read_sealed, require_writable, sweep, write_sealed
from tests.small_disk import FILLS, small_disk


def by_python(temporary):
    temporary.write_bytes(bytes(10**6))


def by_torch(temporary):
    import torch

    torch.save(torch.zeros(10**6), temporary)


@pytest.mark.parametrize("write", [by_python, by_torch])
@pytest.mark.parametrize("kind", FILLS)
def test_a_full_disk_is_named_and_keeps_what_was_there(tmp_path, kind, write):
    options, fill = FILLS[kind]
    with small_disk(tmp_path / "disk", options) as disk:
        (disk / "a").write_text("before")
        fill(disk)
        said = f"the disk is full while saving {disk}/a; free some space and start the same"
        with pytest.raises(DiskFull, match=said), atomic(disk / "a") as temporary:
            write(temporary)
        assert (disk / "a").read_text() == "before" and not list(disk.glob(".*"))
        with pytest.raises(DiskFull, match="the disk is full: results_dir="):
            require_writable("results_dir", disk / "new")


def test_other_errors_are_not_called_full(tmp_path, monkeypatch):
    def none_free(*_):
        raise AssertionError("nobody needs to ask")

    monkeypatch.setattr(files, "_is_full", none_free)
    with pytest.raises(OSError, match="gone") as error, atomic(tmp_path / "a"):
        raise OSError(errno.EIO, "gone")
    assert not isinstance(error.value, DiskFull)
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="of torch"), atomic(tmp_path / "a"):
        raise RuntimeError("of torch")
    with pytest.raises(OSError) as error, atomic(Path("/proc/aliquot")) as temporary:
        temporary.touch()
    assert not isinstance(error.value, DiskFull)


@pytest.mark.parametrize("kind", ["/proc", "/proc/new/deep", "file", "below a file"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, kind):
    (tmp_path / "file").touch()
    folder = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "x"}.get(kind, Path(kind))
    with pytest.raises(Refused, match="results_dir='.*' is no folder that can be written .*name another") as error:
        require_writable("results_dir", folder)
    assert not isinstance(error.value, DiskFull)


def test_a_question_leaves_nothing(tmp_path):
    require_writable("results_dir", tmp_path / "new" / "deep")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unset", ["", None])
def test_an_empty_variable_is_an_unset_one(monkeypatch, unset):
    monkeypatch.delenv("ALIQUOT_CACHE")
    if unset is not None:
        monkeypatch.setenv("ALIQUOT_CACHE", unset)
    assert folder_from("ALIQUOT_CACHE", "data/cache") == ROOT / "data" / "cache"
    monkeypatch.setenv("ALIQUOT_CACHE", "~/x")
    assert folder_from("ALIQUOT_CACHE", "data/cache") == Path.home() / "x"


def test_sweep_removes_old_temporaries_alone(tmp_path):
    names = [".curve.png.123", ".run.json.7", ".hidden", ".nfs000012", "curve.png", "curve.png.123"]
    for name in names:
        (tmp_path / name).touch()
    sweep(tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == len(names), "they may be of a process that runs"
    for name in names:
        os.utime(tmp_path / name, (time.time() - 2 * files.STALE,) * 2)
    sweep(tmp_path.iterdir())
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(names[2:])


def test_sealed_content_is_whole_or_refused(tmp_path):
    write_sealed(tmp_path / "a", {"x": [1, 2.5]})
    assert read_sealed(tmp_path / "a") == {"x": [1, 2.5]}
    (tmp_path / "a").write_text((tmp_path / "a").read_text().replace("2.5", "3.5"))
    with pytest.raises(ValueError, match="a is damaged"):
        read_sealed(tmp_path / "a")
