"""Where things lie, and that a file is whole or as it was."""

import errno
import os
from pathlib import Path

import pytest

from data import files
from data.files import ROOT, DiskFull, atomic, default_data_root, folder_from, folder_of, require_folder, under_root
from data.names import Missing, Refused


def test_paths_count_from_the_project_wherever_the_command_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert under_root("runs") == ROOT / "runs" and under_root("/abs/olute") == Path("/abs/olute")
    assert under_root("~/runs") == tmp_path / "home" / "runs"
    assert (ROOT / "data" / "files.py").is_file()


@pytest.mark.parametrize("variable", ["ALIQUOT_RUNS", "ALIQUOT_CACHE", "ALIQUOT_DATA"])
def test_folders_of_environment_variables(variable, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, folder in (
        ("", ROOT / "here"),
        ("~/x", tmp_path / "x"),
        ("below/x", ROOT / "below" / "x"),
        (str(tmp_path / "x"), tmp_path / "x"),
    ):
        monkeypatch.setenv(variable, value)
        assert folder_from(variable, "here") == folder
    monkeypatch.delenv(variable)
    assert folder_from(variable, "here") == ROOT / "here"


def test_what_is_stored_uses_these_folders(tmp_path, monkeypatch):
    from data.store import cached
    from experiments.entry import runs_folder
    from tests.data.test_store import records

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALIQUOT_RUNS", "~/mine")
    monkeypatch.setenv("ALIQUOT_CACHE", "~/kept")
    monkeypatch.setenv("ALIQUOT_DATA", "~/raw")
    assert runs_folder() == tmp_path / "mine" and folder_of("") == default_data_root() == tmp_path / "raw"
    assert folder_of("other") == ROOT / "other"
    cached("toy", "digest", "class", ("a", "b"), records, None)
    assert (tmp_path / "kept").is_dir() and not (tmp_path / "~").exists()


def test_a_missing_folder_shows_its_tree(tmp_path):
    assert require_folder(tmp_path, "a/b") == tmp_path
    with pytest.raises(Missing, match=r"folder .*none does not exist; expected this tree:\na/b$"):
        require_folder(tmp_path / "none", "\na/b\n")


def test_a_block_that_succeeds_replaces_the_file(tmp_path):
    file = tmp_path / "new" / "curve.csv"
    for text in ("first", "second"):
        with atomic(file) as temporary:
            temporary.write_text(text)
            assert temporary.parent == file.parent and temporary != file
        assert file.read_text() == text and os.listdir(file.parent) == ["curve.csv"]


@pytest.mark.parametrize("error", [KeyError("a"), KeyboardInterrupt(), OSError(errno.EACCES, "no"), RuntimeError("a")])
def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, error):
    file = tmp_path / "curve.csv"
    file.write_text("whole")
    with pytest.raises(type(error)) as caught, atomic(file) as temporary:
        temporary.write_text("ha")
        raise error
    assert caught.value is error and file.read_text() == "whole" and os.listdir(tmp_path) == ["curve.csv"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_known_by_its_error_for_blocks_and_for_inodes(tmp_path, monkeypatch, number):
    file = tmp_path / "curve.csv"
    file.write_text("whole")
    sentence = "the disk is full while saving .*curve.csv; free some space and start the same command again"
    with pytest.raises(DiskFull, match=sentence), atomic(file):  # no inode: opening it fails, and blocks are left
        raise OSError(number, "No space left on device")
    monkeypatch.setattr(files.os, "fsync", _refuse(number))
    with pytest.raises(DiskFull, match=sentence) as caught, atomic(file) as temporary:
        temporary.write_text("ha")
    assert isinstance(caught.value, Refused) and file.read_text() == "whole" and os.listdir(tmp_path) == ["curve.csv"]


def _refuse(number):
    def fail(descriptor):
        raise OSError(number, "No space left on device")

    return fail
