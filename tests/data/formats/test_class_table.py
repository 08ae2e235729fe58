import numpy as np
import pytest

from tests.data.own_folders import VALUES, both, counts, load, require_right, said_in
from tests.data.pictures import save


def table(root, head, row, n=20, encoding="utf-8", name="labels.csv"):
    """n pictures pics/<i>.png, alternately benign and malignant, and a table with a row for each."""
    for i in range(n):
        save(root / "pics" / f"{i}.png", list(VALUES.values())[i % 2])
    lines = [head, *(row(i) for i in range(n))]
    (root / name).write_text("".join(f"{line}\n" for line in lines), encoding=encoding)
    return root


def simple(root, label=None, file="pics/{}.png", head="file,label", **kept):
    label = label or (lambda i: list(VALUES)[i % 2])
    return table(root, head, lambda i: f"{file.format(i)},{label(i)}", **kept)


@pytest.mark.parametrize("name", ["labels.csv", "Labels.CSV", "labels.tsv"])
def test_right_values(mine, name):
    images, said = load(simple(mine, name=name))
    assert counts(images) == {"train": both(8), "test": both(2)} and len(said) == 1
    require_right(images)


@pytest.mark.parametrize("file", ["pics/{}.png", "{}.png", "{}", "./pics/{}.png", "pics\\{}.png", "pics/{}"])
def test_files_as_people_write_them(mine, file):
    images, _ = load(simple(mine, file=file))
    assert images.names == [f"{i}.png" for i in range(20)]
    require_right(images)


@pytest.mark.parametrize("column", ["patient", "Patient", "patient_id", "Subject ID", "case"])
def test_patients_stay_together(mine, column):
    row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},P{i // 4}"  # noqa: E731
    images, _ = load(table(mine, f"file,label,{column}", row))
    assert images.patients.tolist() == [f"P{i // 4}" for i in range(20)]
    assert not set(images.part("train").patients) & set(images.part("test").patients)


def test_patients_from_a_table_of_their_own(mine):
    simple(mine)
    (mine / "patients.csv").write_text("file,patient\n" + "".join(f"{i}.png,P{i // 4}\n" for i in range(20)))
    images, _ = load(mine)
    assert images.patients.tolist() == [f"P{i // 4}" for i in range(20)]
    with pytest.raises(ValueError, match="both tell the patients; use one of them"):
        load(mine, patient_pattern=r"(\d)")
    (mine / "labels.csv").write_text("file,label,patient\npics/0.png,a,1\npics/1.png,b,2\npics/2.png,b,2\n")
    with pytest.raises(ValueError, match="have a column of patients, and patients.csv tells them too"):
        load(mine)


def test_what_a_table_does_not_name_is_counted(mine):
    simple(mine)
    save(mine / "more" / "x.png")
    for name in ("notes.txt", "pics/slide.svs", ".DS_Store", "classes.txt"):
        (mine / name).touch()
    (mine / "gone.png").symlink_to("nowhere.png")
    _, said = load(mine)
    said_in(said, "2 files are not used: pictures that no used row of the table names (2 .png; the first is gone.png)")
    said_in(said, "2 files are not used: no pictures (1 .txt, 1 .svs; the first is notes.txt)")
    said_in(said, "1 files are not used: hidden or left by an operating system")


def test_patients_on_both_sides_are_counted(mine):
    row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},P{i // 4},{'test' if i % 4 == 3 else 'train'}"  # noqa: E731
    images, said = load(table(mine, "file,label,patient,part", row))
    assert (images.parts == "test").sum() == 5
    said_in(said, "5 of 5 patients have images both in train and in test (for instance 'P0')")
    said_in(said, "class 'benign' has no image in the test part")


@pytest.mark.parametrize("column", ["part", "Part", "split", "set", "Partition"])
@pytest.mark.parametrize("words", [("train", "test"), ("Training", "Testing"), ("TRAIN", "TEST")])
def test_the_users_own_test_part(mine, column, words):
    row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},{words[i >= 14]}"  # noqa: E731
    images, _ = load(table(mine, f"file,label,{column}", row))
    assert images.parts.tolist() == ["train"] * 14 + ["test"] * 6


def test_rows_without_a_part(mine):
    row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},{'test' if i >= 14 else ''}"  # noqa: E731
    images, said = load(table(mine, "file,label,part", row))
    assert images.parts.tolist() == ["train"] * 14 + ["test"] * 6
    said_in(said, "14 rows have nothing in column 'part' and are read as train")


@pytest.mark.parametrize("column", ["fold", "split"])
def test_folds_are_no_parts(mine, column):
    row = lambda i: f"pics/{i}.png,{list(VALUES)[i % 2]},{i % 5}"  # noqa: E731
    table(mine, f"file,label,{column}", row)
    with pytest.raises(ValueError, match=rf"column '{column}' .* holds numbers \(0, 1, 2, 3, 4\).*test_fold=4"):
        load(mine)
    images, said = load(mine, test_fold=2)
    assert np.flatnonzero(images.parts == "test").tolist() == [2, 7, 12, 17]
    said_in(said, f"fold 2 of column '{column}' is test (4 images)")
    with pytest.raises(ValueError, match="test_fold=7 must be one of several in column"):
        load(mine, test_fold=7)


def test_a_fold_that_is_not_there(mine):
    with pytest.raises(ValueError, match="test_fold=1 is set, but .*labels.csv has no column of folds"):
        load(simple(mine), test_fold=1)


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "None", "null", "", "N/A"])
def test_missing_labels(mine, word):
    simple(mine, lambda i: word if i in (5, 9) else list(VALUES)[i % 2])
    with pytest.raises(ValueError, match="line 7 of .*labels.csv has no label for 'pics/5.png'.* nor have 1 other row"):
        load(mine)
    images, said = load(mine, missing="leave_out")
    assert len(images) == 18 and images.classes == ("benign", "malignant")
    require_right(images)
    said_in(said, f"2 rows without a label are not used (2 {word or 'empty'})", "2 files are not used: pictures that no used row of the table names (2 .png; the first is pics/5.png)")
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
def test_spellings_of_one_class(mine, label, spelt, merged):
    simple(mine, label)
    with pytest.raises(ValueError, match=f"{spelt}.* may be one class; correct .*spellings=merge"):
        load(mine)
    images, said = load(mine, spellings="merge")
    assert images.classes == (merged or ("benign", "malignant"))
    assert any("are one class" in sentence for sentence in said)
    images, said = load(mine, spellings="keep")
    assert len(images.classes) == (3 if merged is None else 4)
    assert any("are different classes" in sentence for sentence in said)


def test_an_unquoted_comma(mine):
    with pytest.raises(ValueError, match="labels.csv, line 2 has 3 cells, but the header has 2"):
        load(simple(mine, lambda i: ["grade 1, low", "grade 1, high", "grade 2"][i % 3]))
    images, _ = load(simple(mine, lambda i: ['"grade 1, low"', '"grade 1, high"', "grade 2"][i % 3]))
    assert images.classes == ("grade 1, high", "grade 1, low", "grade 2")


@pytest.mark.parametrize(("encoding", "said"), [("cp1252", "read as cp1252"), ("utf-16", "read as utf-16")])
def test_encodings(mine, encoding, said):
    images, sentences = load(simple(mine, lambda i: ("gutartig", "bösartig")[i % 2], encoding=encoding))
    assert images.classes == ("bösartig", "gutartig")
    said_in(sentences, said)


def test_numbers_sort_as_numbers(mine):
    assert load(simple(mine, lambda i: [10, 9, -1, 2][i % 4]))[0].classes == ("-1", "2", "9", "10")
    assert load(simple(mine, lambda i: f"grade {[10, 9, 2][i % 3]}"))[0].classes == ("grade 2", "grade 9", "grade 10")


def test_classes_txt(mine):
    simple(mine, lambda i: i % 2)
    (mine / "classes.txt").write_text("benign\nmalignant\n")
    images, said = load(mine)
    assert images.classes == ("benign", "malignant")
    require_right(images)
    said_in(said, "label 0 is 'benign', 1 is 'malignant', by the order of")
    simple(mine, lambda i: i % 2 + 1)
    require_right(load(mine)[0])
    (mine / "classes.txt").write_text("benign\nmalignant\nother\n")
    with pytest.raises(ValueError, match="could count from 0 or from 1"):
        load(mine)
    simple(mine, lambda i: i % 2)
    images, said = load(mine)
    assert images.classes == ("benign", "malignant", "other")
    said_in(said, "no image is of class 'other'")


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        (lambda i: "benign", {}, r"20 images of 1 classes \('benign'\), expected at least two labels"),
        (lambda i: f"{i}.5", {}, "20 different labels .* for 20 images; expected a few classes"),
        (
            None,
            {"class_names": ["benign", "malign"]},
            "has the label 'malignant', which is none of .*Did you mean 'malign'",
        ),
        (None, {"class_names": ["benign", "benign"]}, "names 'benign' twice"),
        (lambda i: i % 3, {"class_names": ["benign", "malignant"]}, "names 2 classes, but .* has the labels 0, 1, 2"),
        (None, {"missing": "drop"}, "missing"),
        (None, {"test_fraction": 0.95}, "test_fraction"),
        (None, {"patient_pattern": "x(.)"}, "finds no patient in 'pics/0.png'"),
    ],
)
def test_classes_that_cannot_be_right(mine, label, options, message):
    with pytest.raises(ValueError, match=message):
        load(simple(mine, label), **options)


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
def test_files_that_cannot_be_right(mine, row, kind, message):
    simple(mine)
    (mine / "gone.png").symlink_to("nowhere.png")
    (mine / "labels.csv").write_text(f"file,label\npics/0.png,benign\npics/1.png,malignant\n{row}\n")
    with pytest.raises(kind, match=message):
        load(mine)


def test_parts_that_are_none(mine):
    with pytest.raises(
        ValueError, match="line 2 of .*: unknown part 'tset'. Did you mean 'test'.*Known: train, val, test"
    ):
        load(table(mine, "file,label,part", lambda i: f"pics/{i}.png,{i % 2},tset"))
    with pytest.raises(ValueError, match="no image in .* is of the part train, only of test"):
        load(table(mine, "file,label,part", lambda i: f"pics/{i}.png,{i % 2},test"))


def test_a_workbook_and_two_tables(mine):
    simple(mine)
    (mine / "labels.tsv").write_text("file\tlabel\n")
    with pytest.raises(ValueError, match="labels.csv and labels.tsv both tell the labels"):
        load(mine)
    (mine / "labels.csv").unlink()
    (mine / "labels.tsv").rename(mine / "labels.xlsx")
    with pytest.raises(ValueError, match="labels.xlsx is a workbook; save it as labels.csv"):
        load(mine)
