import csv

import pytest

from data import notes
from data.formats.tables import read_table, read_text
from data.formats.words import alike, is_missing

LABELS = (["file", "label"], ["patient", "part"])


def write(root, text, encoding="utf-8"):
    file = root / "labels.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return file


def read(root, text, encoding="utf-8"):
    """Cells of every row by meaning, and what is noted."""
    with notes.collecting() as found:
        table = read_table(write(root, text, encoding), *LABELS)
    return [row.cells for row in table.rows], [sentence for _, sentence in found]


TWO = [{"file": "a.png", "label": "bösartig"}, {"file": "b.png", "label": "gutartig"}]
TEXT = "file,label\na.png,bösartig\nb.png,gutartig\n"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", []),
        ("utf-8-sig", []),
        ("utf-16", ["labels.csv is read as utf-16."]),
        ("utf-16-le", ["labels.csv is read as utf-16-le."]),
        ("utf-16-be", ["labels.csv is read as utf-16-be."]),
        ("utf-32", ["labels.csv is read as utf-32."]),
        ("cp1252", ["not in UTF-8: read as cp1252, for instance 'bösartig'"]),
        ("latin-1", ["not in UTF-8: read as cp1252, for instance 'bösartig'"]),
    ],
)
def test_encodings(tmp_path, encoding, said):
    rows, sentences = read(tmp_path, TEXT, encoding)
    assert rows == TWO and len(sentences) == len(said)
    assert all(words in sentence for words, sentence in zip(said, sentences, strict=True))


def test_bytes_that_cp1252_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"neither in UTF-8 nor in cp1252 .*it holds '.x81'\); save it as UTF-8"):
        read(tmp_path, b"file,label\na.png,\x81\xf6\n")


@pytest.mark.parametrize("separator, called", [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_separators(tmp_path, separator, called):
    rows, sentences = read(tmp_path, TEXT.replace(",", separator))
    assert rows == TWO and sentences == [f"labels.csv is read with {called} between its cells."]


def test_a_label_with_a_comma_between_semicolons(tmp_path):
    rows, _ = read(tmp_path, "file;label\na.png;grade 1, low\n")
    assert rows == [{"file": "a.png", "label": "grade 1, low"}]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path, line_end):
    assert read(tmp_path, TEXT.replace("\n", line_end)) == (TWO, [])
    assert read(tmp_path, TEXT.rstrip("\n").replace("\n", line_end)) == (TWO, [])


def test_what_spreadsheets_write_around_a_table(tmp_path):
    rows, sentences = read(tmp_path, "sep=;\r\nfile;label;;\r\na.png;bösartig;;\r\n;;;\r\n\r\nb.png;gutartig;;\r\n;;;\r\n")
    assert rows == TWO and "labels.csv: 2 rows without any text are not used." in sentences


@pytest.mark.parametrize("head", ["File , LABEL", " file,label ", "FILE,Label", '"file","label"', "file, label"])
def test_headers_with_blanks_and_capitals(tmp_path, head):
    assert read(tmp_path, TEXT.replace("file,label", head)) == (TWO, [])


@pytest.mark.parametrize(
    ("column", "meaning"),
    [
        *((name, "patient") for name in ("Patient", "patient_id", "PatientID", "Patient ID", "subject", "SUBJECT-ID")),
        *((name, "patient") for name in ("participant_id", "case", "Case ID", "mrn", "patientId")),
        *((name, "part") for name in ("Part", "split", "Set", "partition", "subset", "fold")),
    ],
)
def test_usual_names_of_columns(tmp_path, column, meaning):
    rows, sentences = read(tmp_path, f"Image_Path,Diagnosis,{column}\na.png,x,7\nb.png,y,8\n")
    assert rows[1] == {"file": "b.png", "label": "y", meaning: "8"}
    assert "labels.csv: column 'Image_Path' is read as the file." in sentences
    assert "labels.csv: column 'Diagnosis' is read as the label." in sentences
    called = f"labels.csv: column {column!r} is read as the {meaning}."
    assert (called in sentences) == (column.casefold() not in ("patient", "part"))


def test_ignored_columns_are_named(tmp_path):
    rows, sentences = read(tmp_path, ",file,label,age,site\n0,a.png,x,40,Basel\n1,b.png,y,41,Bern\n")
    assert rows == [{"file": "a.png", "label": "x"}, {"file": "b.png", "label": "y"}]
    assert sentences == ["labels.csv: columns that are not used: one without a name, 'age', 'site'."]


def test_a_certain_name_goes_before_an_uncertain_one(tmp_path):
    rows, sentences = read(tmp_path, "image_id,file,label,patient,case\n7,a.png,x,P1,1\n8,b.png,y,P1,2\n")
    assert rows[0] == {"file": "a.png", "label": "x", "patient": "P1"}
    assert sentences == ["labels.csv: columns that are not used: 'image_id', 'case'."]


@pytest.mark.parametrize(
    ("head", "one", "two", "message"),
    [
        ("file,label,patient,subject", "P1,S1", "P1,S2", "'patient' and 'subject' could both be the patient"),
        ("file,label,patient_id,subject_id", "1,7", "2,7", "'patient_id' and 'subject_id' could both be the patient"),
        ("file,label,split,set", "train,a", "test,a", "'split' and 'set' could both be the part"),
        ("file,label,diagnosis,age", "x,1", "x,1", "'label' and 'diagnosis' could both be the label"),
        ("file,label,label,age", "x,1", "y,1", "'label' and 'label' could both be the label"),
        ("file,label,Patient,patient", "1,1", "2,2", "'Patient' and 'patient' could both be the patient"),
        ("file,filename,label,age", "x,1", "y,1", "'file' and 'filename' could both be the file"),
    ],
)
def test_two_columns_of_one_meaning_are_refused(tmp_path, head, one, two, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, f"{head}\na.png,x,{one}\nb.png,y,{two}\n")


def test_two_columns_that_say_the_same_are_one(tmp_path):
    rows, sentences = read(tmp_path, "file,label,class,subject,patient\na,0,benign,7,P1\nb,1,bad,7,P1\nc,0,benign,8,P2\n")
    assert [row["label"] for row in rows] == ["0", "1", "0"] and [row["patient"] for row in rows] == ["7", "7", "8"]
    assert "labels.csv: columns that are not used: 'class', 'patient'." in sentences


def test_of_two_columns_of_files_that_which_exists_is_read(tmp_path):
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").touch()
    rows, _ = read(tmp_path, "filename,path,label\na.png,pics/a.png,x\n")
    assert rows == [{"file": "pics/a.png", "label": "x"}]


def test_a_cell_of_200_000_characters(tmp_path):
    limit = csv.field_size_limit()
    rows, _ = read(tmp_path, f"file,label,polygon\na.png,x,{'7' * 200_000}\nb.png,{'y' * 200_000},1\n")
    assert rows[0]["label"] == "x" and len(rows[1]["label"]) == 200_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels.csv is empty, expected a header"),
        ("\n \n", "labels.csv is empty"),
        ("\ufeff", "labels.csv is empty"),
        ("file,label\n", r"has a header \(file,label\) but no row"),
        ("file,label\n,\n", "but no row"),
        ("a.png,benign\nb.png,malignant\n", "has no column 'file', only a.png, benign"),
        ("file,lable\na,b\n", "has no column 'label', only file, lable. Did you mean 'lable'"),
        ("file,label\na.png,grade 1, low\n", r"line 2 has 3 cells, but the header has 2 \(file,label\); put a cell"),
        ("file,label,note\na.png,x,y\n\nb.png,grade 1, low, z\n", "line 4 has 4 cells, but the header has 3"),
        ("file,label,\na.png,grade 1, low\n", "line 2 has 3 cells, but the header has 2"),
        ("file,label,patient\na.png,x\n", "line 2 has 2 cells, but the header has 3"),
        ('file,label\na.png,"benign\nb.png,malignant\n', "labels.csv, line 3: .*is a quotation mark missing"),
        ('file,label\na.png,"benign\nb.png,"malignant"\n', "is a quotation mark missing"),
        ('file,label\na.png,"benign\nb.png,malignant"\n', r"the label that ends in line 3 goes over several lines"),
        (b"file,label\na.png,be\0nign\n", "is no text in UTF-8, UTF-16 or cp1252: line 2 holds the byte 0"),
        (b"PK\x03\x04\x14\0\x06\0workbook", "is no text in UTF-8.*not a workbook"),
        (b"\xff\xfef\0i\0l", "seems to be text in utf-16, but is not in line 1"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_broken_letters_are_not_another_encoding(tmp_path):
    text = "file,label\na.png,bösartig\nb.png,bösartig\n".encode()
    with pytest.raises(ValueError, match="labels.csv seems to be text in utf-8, but is not in line 3"):
        read(tmp_path, text.replace(b"b.png,b\xc3\xb6", b"b.png,b\xf6"))


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="labels.csv does not exist"):
        read_text(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(FileNotFoundError, match="labels.csv does not exist"):
        read_text(tmp_path / "labels.csv")


def test_cells_with_commas_quotes_and_line_breaks(tmp_path):
    rows, sentences = read(tmp_path, 'file,label\n"a ""b"", c.png","grade 1, low"\n"two\nlines.png",it\'s\n')
    assert rows == [{"file": 'a "b", c.png', "label": "grade 1, low"}, {"file": "two\nlines.png", "label": "it's"}]
    assert sentences == []


def test_words_for_a_missing_value():
    assert all(map(is_missing, ["", " ", "nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>", "-"]))
    assert not any(map(is_missing, ["0", "no", "normal", "unknown", "nana", "negative"]))


def test_spellings_of_one_thing():
    assert {alike(text) for text in ("1", "1.0", "01", " 1 ", "1,0", "1.")} == {"1"}
    assert {alike(text) for text in ("Benign", "benign ", "BENIGN")} == {"benign"}
    assert alike("grade  1") == alike("Grade 1") != alike("grade 2")
    assert len({alike(text) for text in ("1", "1.5", "10", "-1", "0.1")}) == 5
