from collections import Counter

import numpy as np
import pytest
from PIL import Image

import data
from data import notes
from data.names import Refused
from tests.data.pictures import save

VALUES = {"benign": 40, "malignant": 200}  # the grey of every picture of a class, so that a target can be checked


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def fill(root, names=tuple(VALUES), n=5, start=0, inner="", ending=".png"):
    """`n` pictures of each class under root/<class>/<inner>."""
    for name in names:
        for i in range(start, start + n):
            save(root / name / inner / f"{name}{i}{ending}", VALUES.get(name.casefold(), 90))
    return root


def load(root, **options):
    """The images, and what is noted."""
    with notes.collecting() as said:
        images = data.load("classify", "folder", root, image_size=None, **options)
    return images, [sentence for _, sentence in said]


def counts(images):
    """Part -> class -> number of images."""
    found: dict[str, Counter] = {}
    for i, part in enumerate(images.parts.tolist()):
        found.setdefault(part, Counter())[images.classes[int(images.target(i))]] += 1
    return {part: dict(counted) for part, counted in found.items()}


def require_right(images):
    """Every picture has the class whose grey it has."""
    for i in range(len(images)):
        assert int(images.raw(i).max()) == VALUES[images.classes[int(images.target(i))]], images.names[i]


def said_in(sentences, *words):
    for word in words:
        assert any(word in sentence for sentence in sentences), (word, sentences)


def both(n):
    return {"benign": n, "malignant": n}


class TestTrees:
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
    def test_parts_above_or_below_the_classes(self, mine, names, parts, below):
        for k, name in enumerate(names):
            n = 5 if k == 0 else 2
            fill(mine, n=n, start=10 * k, inner=name) if below else fill(mine / name, n=n, start=10 * k)
        images, _ = load(mine)
        assert counts(images) == {part: both(n) for part, n in parts.items()}
        require_right(images)

    def test_half_of_a_class_in_subfolders(self, mine):
        fill(mine)
        fill(mine, ("benign",), start=10, inner="patient2/left")
        images, said = load(mine)
        assert len(images) == 15 and Counter(images.groups.tolist()) == {0: 10, 1: 5}
        require_right(images)
        said_in(said, "5 of 10 images of class 'benign' lie in folders below benign/; say dataset_options.patient_pattern")

    def test_subfolders_as_patients(self, mine):
        for patient in range(6):
            fill(mine, n=2, start=2 * patient, inner=f"{patient}")
        with pytest.raises(ValueError, match="each of benign, malignant in .* holds folders 0, 1, 2, 3: either could be"):
            load(mine)
        images, _ = load(mine, patient_pattern=r"([^/]+)/[^/]+$", class_names=["benign", "malignant"])
        assert len(images) == 24 and len(set(images.patients)) == 6
        require_right(images)
        assert not set(images.part("train").patients) & set(images.part("test").patients)

    def test_what_lies_beside_the_classes_is_counted(self, mine):
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

    def test_links_and_pointers_without_content(self, mine):
        fill(mine)
        (mine / "benign" / "benign9.png").symlink_to("../.git/annex/objects/x.png")
        with pytest.raises(FileNotFoundError, match="benign9.png is a link to ../.git/annex/objects/x.png, which is not"):
            load(mine)

    def test_dicom_that_is_none_is_named(self, mine):
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
            (lambda r: [fill(r / "train", inner="test"), fill(r / "test")], "is called like a part but lies in a class"),
            (lambda r: [fill(r, inner="train"), fill(r, ("other",))], "other is not divided like .*benign"),
            (lambda r: [fill(r, inner="train"), fill(r, start=9)], "benign is not divided like"),
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
    def test_trees_that_could_be_read_in_two_ways_are_refused(self, mine, make, message):
        make(mine)
        with pytest.raises(Refused, match=message):
            load(mine)

    def test_classes_that_are_called_like_parts(self, mine):
        fill(mine, ("test", "control"))
        images, said = load(mine)
        assert images.classes == ("control", "test") and len(images) == 10
        said_in(said, "'test' in mine is read as a class")

    def test_a_class_without_test_images_is_told(self, mine):
        fill(mine / "train", ("benign", "malignant"))
        fill(mine / "test", ("benign",), start=10)
        images, said = load(mine)
        assert counts(images) == {"train": both(5), "test": {"benign": 5}}
        said_in(said, "class 'malignant' has no image in the test part.")

    def test_case_of_a_class_may_differ_between_parts(self, mine):
        fill(mine / "train")
        fill(mine / "test", ("Benign", "MALIGNANT"), start=10)
        images, said = load(mine)
        assert counts(images) == {"train": both(5), "test": both(5)}
        require_right(images)
        said_in(said, "test/Benign is read as the class 'benign'.")

    def test_numbers_sort_as_numbers_and_get_names(self, mine):
        fill(mine, ("0", "2", "10"))
        assert load(mine)[0].classes == ("0", "2", "10")
        (mine / "classes.txt").write_text("0: none\n2 some\n10 = many\n")
        assert load(mine)[0].classes == ("none", "some", "many")
        assert load(mine, class_names=["10", "2", "0"])[0].classes == ("10", "2", "0")

    def test_fraction_of_the_test_part(self, mine):
        fill(mine, n=10)
        images, said = load(mine, test_fraction=0.4)
        assert counts(images) == {"train": both(6), "test": both(4)}
        said_in(said, "mine has no test part: a fixed 40% of the images of train becomes it.")

    def test_frames_of_one_file_stay_together(self, mine):
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


class TestTables:
    def table(self, root, head, row, n=20, encoding="utf-8", name="labels.csv"):
        """n pictures pics/<i>.png, alternately benign and malignant, and a table with a row for each."""
        for i in range(n):
            save(root / "pics" / f"{i}.png", list(VALUES.values())[i % 2])
        lines = [head, *(row(i) for i in range(n))]
        (root / name).write_text("".join(f"{line}\n" for line in lines), encoding=encoding)
        return root

    def simple(self, root, label=None, file="pics/{}.png", head="file,label", **kept):
        label = label or (lambda i: list(VALUES)[i % 2])
        return self.table(root, head, lambda i: f"{file.format(i)},{label(i)}", **kept)

    @pytest.mark.parametrize("name", ["labels.csv", "Labels.CSV", "labels.tsv"])
    def test_right_values(self, mine, name):
        images, said = load(self.simple(mine, name=name))
        assert counts(images) == {"train": both(8), "test": both(2)} and len(said) == 1
        require_right(images)

    @pytest.mark.parametrize("file", ["pics/{}.png", "{}.png", "{}", "./pics/{}.png", "pics\\{}.png", "pics/{}"])
    def test_files_as_people_write_them(self, mine, file):
        images, _ = load(self.simple(mine, file=file))
        assert images.names == [f"{i}.png" for i in range(20)]
        require_right(images)

    @pytest.mark.parametrize("column", ["patient", "Patient", "patient_id", "Subject ID", "case"])
    def test_patients_stay_together(self, mine, column):
        row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},P{i // 4}"  # noqa: E731
        images, _ = load(self.table(mine, f"file,label,{column}", row))
        assert images.patients.tolist() == [f"P{i // 4}" for i in range(20)]
        assert not set(images.part("train").patients) & set(images.part("test").patients)

    def test_patients_from_a_table_of_their_own(self, mine):
        self.simple(mine)
        (mine / "patients.csv").write_text("file,patient\n" + "".join(f"{i}.png,P{i // 4}\n" for i in range(20)))
        images, _ = load(mine)
        assert images.patients.tolist() == [f"P{i // 4}" for i in range(20)]
        with pytest.raises(ValueError, match="both tell the patients; use one of them"):
            load(mine, patient_pattern=r"(\d)")
        (mine / "labels.csv").write_text("file,label,patient\npics/0.png,a,1\npics/1.png,b,2\npics/2.png,b,2\n")
        with pytest.raises(ValueError, match="have a column of patients, and patients.csv tells them too"):
            load(mine)

    def test_patients_on_both_sides_are_counted(self, mine):
        row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},P{i // 4},{'test' if i % 4 == 3 else 'train'}"  # noqa: E731
        images, said = load(self.table(mine, "file,label,patient,part", row))
        assert (images.parts == "test").sum() == 5
        said_in(said, "5 of 5 patients have images both in train and in test (for instance 'P0')")
        said_in(said, "class 'benign' has no image in the test part")

    @pytest.mark.parametrize("column", ["part", "Part", "split", "set", "Partition"])
    @pytest.mark.parametrize("words", [("train", "test"), ("Training", "Testing"), ("TRAIN", "TEST")])
    def test_the_users_own_test_part(self, mine, column, words):
        row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},{words[i >= 14]}"  # noqa: E731
        images, _ = load(self.table(mine, f"file,label,{column}", row))
        assert images.parts.tolist() == ["train"] * 14 + ["test"] * 6

    def test_rows_without_a_part(self, mine):
        row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},{'test' if i >= 14 else ''}"  # noqa: E731
        images, said = load(self.table(mine, "file,label,part", row))
        assert images.parts.tolist() == ["train"] * 14 + ["test"] * 6
        said_in(said, "14 rows have nothing in column 'part' and are read as train")

    @pytest.mark.parametrize("column", ["fold", "split"])
    def test_folds_are_no_parts(self, mine, column):
        row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},{i % 5}"  # noqa: E731
        self.table(mine, f"file,label,{column}", row)
        with pytest.raises(ValueError, match=rf"column '{column}' .* holds numbers \(0, 1, 2, 3, 4\).*test_fold=4"):
            load(mine)
        images, said = load(mine, test_fold=2)
        assert np.flatnonzero(images.parts == "test").tolist() == [2, 7, 12, 17]
        said_in(said, f"fold 2 of column '{column}' is test (4 images)")
        with pytest.raises(ValueError, match="test_fold=7 must be one of several in column"):
            load(mine, test_fold=7)

    def test_a_fold_that_is_not_there(self, mine):
        with pytest.raises(ValueError, match="test_fold=1 is set, but .*labels.csv has no column of folds"):
            load(self.simple(mine), test_fold=1)

    @pytest.mark.parametrize("word", ["nan", "NaN", "NA", "None", "null", "", "N/A"])
    def test_missing_labels(self, mine, word):
        self.simple(mine, lambda i: word if i in (5, 9) else list(VALUES)[i % 2])
        with pytest.raises(ValueError, match="line 7 of .*labels.csv has no label for 'pics/5.png'.* nor have 1 other row"):
            load(mine)
        images, said = load(mine, missing="leave_out")
        assert len(images) == 18 and images.classes == ("benign", "malignant")
        require_right(images)
        said_in(said, f"2 rows without a label are not used (2 {word or 'empty'})", "2 pictures that no used row of")
        if word:
            assert set(load(mine, missing="keep")[0].classes) == {"benign", "malignant", word}
        else:
            with pytest.raises(ValueError, match="has no label"):
                load(mine, missing="keep")

    @pytest.mark.parametrize(
        ("label", "spelt", "merged"),
        [
            (lambda i: "Benign" if i == 0 else list(VALUES)[i % 2], "'benign' .9 images. and 'Benign' .1 image.", None),
            (lambda i: ["1.0", "01"][i % 2] if i < 2 else i % 2, "'1' .9 images. and '01' .1 image.", ("0", "1")),
        ],
    )
    def test_spellings_of_one_class(self, mine, label, spelt, merged):
        self.simple(mine, label)
        with pytest.raises(ValueError, match=f"{spelt}.* may be one class; correct .*spellings=merge"):
            load(mine)
        images, said = load(mine, spellings="merge")
        assert images.classes == (merged or ("benign", "malignant"))
        assert any("are one class" in sentence for sentence in said)
        images, said = load(mine, spellings="keep")
        assert len(images.classes) == (3 if merged is None else 4)
        assert any("are different classes" in sentence for sentence in said)

    def test_an_unquoted_comma(self, mine):
        with pytest.raises(ValueError, match="labels.csv, line 2 has 3 cells, but the header has 2"):
            load(self.simple(mine, lambda i: ["grade 1, low", "grade 1, high", "grade 2"][i % 3]))
        images, _ = load(self.simple(mine, lambda i: ['"grade 1, low"', '"grade 1, high"', "grade 2"][i % 3]))
        assert images.classes == ("grade 1, high", "grade 1, low", "grade 2")

    @pytest.mark.parametrize(("encoding", "said"), [("cp1252", "read as cp1252"), ("utf-16", "read as utf-16")])
    def test_encodings(self, mine, encoding, said):
        images, sentences = load(self.simple(mine, lambda i: ("gutartig", "bösartig")[i % 2], encoding=encoding))
        assert images.classes == ("bösartig", "gutartig")
        said_in(sentences, said)

    def test_numbers_sort_as_numbers(self, mine):
        assert load(self.simple(mine, lambda i: [10, 9, -1, 2][i % 4]))[0].classes == ("-1", "2", "9", "10")
        assert load(self.simple(mine, lambda i: f"grade {[10, 9, 2][i % 3]}"))[0].classes == ("grade 2", "grade 9", "grade 10")

    def test_classes_txt(self, mine):
        self.simple(mine, lambda i: i % 2)
        (mine / "classes.txt").write_text("benign\nmalignant\n")
        images, said = load(mine)
        assert images.classes == ("benign", "malignant")
        require_right(images)
        said_in(said, "label 0 is 'benign', 1 is 'malignant', by the order of")
        self.simple(mine, lambda i: i % 2 + 1)
        require_right(load(mine)[0])
        (mine / "classes.txt").write_text("benign\nmalignant\nother\n")
        with pytest.raises(ValueError, match="could count from 0 or from 1"):
            load(mine)
        self.simple(mine, lambda i: i % 2)
        images, said = load(mine)
        assert images.classes == ("benign", "malignant", "other")
        said_in(said, "no image is of class 'other'")

    @pytest.mark.parametrize(
        ("label", "options", "message"),
        [
            (lambda i: "benign", {}, r"20 images of 1 classes \('benign'\), expected at least two labels"),
            (lambda i: f"{i}.5", {}, "20 different labels .* for 20 images; expected a few classes"),
            (None, {"class_names": ["benign", "malign"]}, "has the label 'malignant', which is none of .*Did you mean 'malign'"),
            (None, {"class_names": ["benign", "benign"]}, "names 'benign' twice"),
            (lambda i: i % 3, {"class_names": ["benign", "malignant"]}, "names 2 classes, but .* has the labels 0, 1, 2"),
            (None, {"missing": "drop"}, "missing"),
            (None, {"test_fraction": 0.95}, "test_fraction"),
            (None, {"patient_pattern": "x(.)"}, "finds no patient in 'pics/0.png'"),
        ],
    )
    def test_classes_that_cannot_be_right(self, mine, label, options, message):
        with pytest.raises(ValueError, match=message):
            load(self.simple(mine, label), **options)

    @pytest.mark.parametrize(
        ("row", "kind", "message"),
        [
            ("pics/99.png,benign", FileNotFoundError, "line 4 of .*labels.csv names .*99.png, which does not exist"),
            ("pics/0.png,benign", ValueError, "line 4 of .* names 'pics/0.png' for the second time, the first was line 2"),
            ("./pics//0.png,benign", ValueError, "for the second time, the first was line 2"),
            ("pics\\0.png,benign", ValueError, "for the second time, the first was line 2"),
            ("/etc/passwd,benign", ValueError, "line 4 of .*: '/etc/passwd' lies outside"),
            ("../mine2/0.png,benign", ValueError, "lies outside"),
            (",benign", ValueError, "line 4 of .* names no file"),
            ("~nouser/x.png,benign", FileNotFoundError, "~nouser/x.png, which does not exist"),
            ("gone.png,benign", FileNotFoundError, "line 4 of .*gone.png is a link to nowhere.png, which is not there"),
        ],
    )
    def test_files_that_cannot_be_right(self, mine, row, kind, message):
        self.simple(mine)
        (mine / "gone.png").symlink_to("nowhere.png")
        (mine / "labels.csv").write_text(f"file,label\npics/0.png,benign\npics/1.png,malignant\n{row}\n")
        with pytest.raises(kind, match=message):
            load(mine)

    def test_parts_that_are_none(self, mine):
        with pytest.raises(ValueError, match="line 2 of .*: unknown part 'tset'. Did you mean 'test'.*Known: train, val, test"):
            load(self.table(mine, "file,label,part", lambda i: f"pics/{i}.png,{i % 2},tset"))
        with pytest.raises(ValueError, match="no image in .* is of the part train, only of test"):
            load(self.table(mine, "file,label,part", lambda i: f"pics/{i}.png,{i % 2},test"))

    def test_a_workbook_and_two_tables(self, mine):
        self.simple(mine)
        (mine / "labels.tsv").write_text("file\tlabel\n")
        with pytest.raises(ValueError, match="labels.csv and labels.tsv both tell the labels"):
            load(mine)
        (mine / "labels.csv").unlink()
        (mine / "labels.tsv").rename(mine / "labels.xlsx")
        with pytest.raises(ValueError, match="labels.xlsx is a workbook; save it as labels.csv"):
            load(mine)
