import os
import unicodedata
from pathlib import Path

import pytest

from data import notes
from data.formats.folders import (
    Finder,
    Unused,
    composed,
    part_folders,
    part_of,
    pictures_below,
    require_content,
    subfolders,
    walk,
)
from tests.data.pictures import save


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("train", ["train", "Train", "TRAINING", "training_set", "train-data", " train "]),
        ("val", ["val", "valid", "Validation", "validation_set", "dev"]),
        ("test", ["test", "Test", "testing", "TESTING", "test_images", "test set"]),
        (None, ["benign", "trains", "untested", "evaluation", "contest", "validated", "1"]),
    ],
)
def test_words_for_parts(part, words):
    assert {part_of(word) for word in words} == {part}


def test_folders_of_parts(tmp_path):
    for name in ("Training", "testing", "valid", "docs", ".test", "__MACOSX"):
        (tmp_path / name).mkdir()
    assert {part: folder.name for part, folder in part_folders(tmp_path).items()} == {
        "train": "Training",
        "val": "valid",
        "test": "testing",
    }
    assert [folder.name for folder in subfolders(tmp_path)] == ["Training", "docs", "testing", "valid"]
    (tmp_path / "validation").mkdir()
    with pytest.raises(ValueError, match="valid and validation could both be the val part"):
        part_folders(tmp_path)


def test_pictures_are_found_at_any_depth_and_all_else_is_counted(tmp_path):
    for name in ("a10.png", "a9.png", "deep/deeper/b.JPG", "deep/c.tif"):
        save(tmp_path / name)
    for name in ("notes.txt", "deep/x.csv", "deep/y.csv", "._a9.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_text("nothing of interest")
    save(tmp_path / "__MACOSX" / "a9.png")
    unused = Unused(tmp_path)
    found = [file.relative_to(tmp_path).as_posix() for file in pictures_below(tmp_path, unused)]
    assert found == ["a9.png", "a10.png", "deep/c.tif", "deep/deeper/b.JPG"]
    with notes.collecting() as said:
        unused.tell()
    sentences = sorted(sentence for _, sentence in said)
    assert sentences[0].startswith("3 files are not used: no pictures (2 .csv, 1 .txt; the first is deep/x.csv)")
    assert sentences[1].startswith("4 files are not used: hidden or left by an operating system (") and len(said) == 2


def test_links_to_folders_are_followed_once(tmp_path):
    save(tmp_path / "real" / "a.png")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "round").symlink_to(tmp_path / "real")
    assert [file.name for file in walk(tmp_path / "here")] == ["a.png"]


@pytest.mark.parametrize(
    "content",
    [
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "/annex/objects/SHA256E-s12--e3b0.png\n",
    ],
)
def test_pointers_to_content_elsewhere(tmp_path, content):
    (tmp_path / "a.png").write_text(content)
    with pytest.raises(FileNotFoundError, match="a.png is no picture but a pointer to its content"):
        pictures_below(tmp_path, Unused(tmp_path))


def test_links_without_content(tmp_path):
    (tmp_path / "a.png").symlink_to("../.git/annex/objects/a.png")
    with pytest.raises(FileNotFoundError, match="a.png is a link to ../.git/annex/objects/a.png, which is not there"):
        pictures_below(tmp_path, Unused(tmp_path))
    save(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("b.png")
    assert require_content(tmp_path / "c.png").name == "c.png"
    with pytest.raises(FileNotFoundError, match="d.png does not exist"):
        require_content(tmp_path / "d.png")


def test_pictures_that_are_not_read_are_refused(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.svs").touch()
    with pytest.raises(ValueError, match="b.svs is a microscope's own format"):
        pictures_below(tmp_path, Unused(tmp_path))


def test_names_that_are_not_utf_8(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/b\xf6se.png", os.O_CREAT))
    with pytest.raises(ValueError, match=r"b\?se.png is not in UTF-8; rename it"):
        pictures_below(tmp_path, Unused(tmp_path))


class TestFinder:
    @pytest.fixture
    def root(self, tmp_path):
        root = tmp_path / "mine"
        for name in ("pics/a.png", "pics/b c.png", "pics/x/n.png", "pics/y/n.png", "d.jpg", 'q"\n.png', "pics/é.png"):
            save(root / unicodedata.normalize("NFD", name))
        save(tmp_path / "elsewhere" / "e.png")
        return root

    def found(self, root: Path, written: str):
        with notes.collecting() as said:
            finder = Finder(root)
            file = finder.find(written)
            finder.tell()
        return file and composed(file.relative_to(root).as_posix()), [sentence for _, sentence in said]

    @pytest.mark.parametrize(
        ("written", "file", "how"),
        [
            ("pics/a.png", "pics/a.png", ""),
            ("./pics//a.png", "pics/a.png", ""),
            ("pics/x/../a.png", "pics/a.png", ""),
            ("../mine/pics/a.png", "pics/a.png", ""),
            ("pics/b c.png", "pics/b c.png", ""),
            ('q"\n.png', 'q"\n.png', ""),
            ("pics\\x\\n.png", "pics/x/n.png", "backslashes for folders"),
            (".\\pics\\a.png", "pics/a.png", "backslashes for folders"),
            ("pics/\u00e9.png", "pics/\u00e9.png", "letters composed in another way"),
            ("pics\\\u00e9.png", "pics/\u00e9.png", "letters composed in another way"),
            ("a.png", "pics/a.png", "no folder"),
            ("d", "d.jpg", "no ending"),
            ("pics/a", "pics/a.png", "no ending"),
            ("b c", "pics/b c.png", "no folder and no ending"),
            ("pics/z.png", None, ""),
            ("other/a.png", None, ""),
            ("pics", None, ""),
            ("~nouser/a.png", None, ""),
        ],
    )
    def test_spellings_of_a_path(self, root, written, file, how):
        said = [f"1 files are named in the table with {how}."] if how else []
        assert self.found(root, written) == (file, said)

    def test_absolute_paths(self, root, tmp_path):
        assert self.found(root, str(root / "d.jpg")) == ("d.jpg", [])
        (tmp_path / "link").symlink_to(root)
        assert self.found(tmp_path / "link", str(root / "d.jpg")) == ("d.jpg", [])
        assert self.found(root, str(tmp_path / "link" / "d.jpg")) == ("d.jpg", [])

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ("../elsewhere/e.png", "'../elsewhere/e.png' lies outside; only files under .*mine are read"),
            ("pics/../../elsewhere/e.png", "lies outside"),
            ("/etc/passwd", "'/etc/passwd' lies outside"),
            ("C:\\Users\\me\\a.png", "is a path of another computer"),
            ("C:/Users/me/a.png", "is a path of another computer"),
            ("\\\\server\\share\\a.png", "is a path of another computer"),
            ("n.png", "'n.png' could be any of 2 files under .*pics/x/n.png and pics/y/n.png"),
            ("a\0b.png", "holds a zero byte"),
            (f"{'long' * 70}.png", "'longlong.* is too long for the path of a file"),
            ("deep/" * 1000 + "a.png", "is too long for the path of a file"),
        ],
    )
    def test_paths_that_are_refused(self, root, written, message):
        with pytest.raises(ValueError, match=message):
            self.found(root, written)

    def test_a_link_without_content(self, root):
        (root / "gone.png").symlink_to("nowhere.png")
        with pytest.raises(FileNotFoundError, match="gone.png is a link to nowhere.png, which is not there"):
            self.found(root, "gone.png")


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    save(tmp_path / "secret" / "a.png")
    scandir = os.scandir

    def refused(folder):
        if str(folder).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(ValueError, match="secret cannot be read: Permission denied"):
        pictures_below(tmp_path, Unused(tmp_path))
