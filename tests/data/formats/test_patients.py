import pytest

from data import notes
from data.formats.patients import as_patients, is_persons_name, note_shared, patients_of

NAMES = ["left/P1_a.png", "left/P1_b.png", "right/P2_a.png", "right/P2_c.png"]


def noted(function, *arguments):
    """What a function returns, and the sentences that it notes."""
    with notes.collecting() as found:
        result = function(*arguments)
    return result, [sentence for _, sentence in found]


def write(root, text, name="patients.csv"):
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def test_nothing_is_known_without_a_table_or_a_pattern(tmp_path):
    assert noted(patients_of, NAMES, tmp_path) == ([""] * 4, [])


@pytest.mark.parametrize("first", ["left/P1_a.png", "./left/P1_a.png", "left\\P1_a.png"])
def test_a_table_names_files_by_path_by_name_or_by_stem(tmp_path, first):
    write(tmp_path, f"file,patient\n{first},one\nP1_b.png,one\nP2_a,two\nright/P2_c.png,two\n")
    assert noted(patients_of, NAMES, tmp_path) == (["one", "one", "two", "two"], [])


def test_a_file_name_that_two_images_have_means_neither(tmp_path):
    write(tmp_path, "file,patient\na.png,one\ny/b.png,two\n")
    found, said = noted(patients_of, ["x/a.png", "y/a.png", "y/b.png"], tmp_path)
    assert found == ["", "", "two"]
    assert "patients.csv: 1 rows name no image that is read, the first 'a.png'." in said
    assert any("2 of 3 images have no patient" in sentence for sentence in said)


def test_the_table_of_another_program(tmp_path):
    write(
        tmp_path,
        "\ufeffImage;Subject-ID;Age\nP1_a.png;1;4\nP1_b.png;1.0;4\nP2_a.png;02;5\nP2_c.png;nan;5\n",
        "Patients.csv",
    )
    found, said = noted(patients_of, NAMES, tmp_path)
    assert found == ["1", "1", "02", ""]
    for words in (
        "semicolons",
        "'Subject-ID' is read as the patient",
        "not used: 'Age'",
        "1 of 4 images have no patient",
        "1 patients are written in several ways and taken as one each ('1' and '1.0')",
    ):
        assert any(words in sentence for sentence in said), words


def test_a_file_of_two_patients_is_refused_with_its_line(tmp_path):
    write(tmp_path, "file,patient\nP1_a.png,one\nleft/P1_a.png,two\n")
    with pytest.raises(ValueError, match="line 3: 'left/P1_a.png' is of patient 'two', before it was of 'one'"):
        patients_of(NAMES, tmp_path)


def test_a_table_of_other_images_is_refused(tmp_path):
    write(tmp_path, "file,patient\nP1_a.jpg.png,one\n")
    with pytest.raises(ValueError, match="names none of the 4 images; its first file is 'P1_a.jpg.png'.*Did you mean"):
        patients_of(NAMES, tmp_path)


def test_two_columns_that_could_be_the_patient(tmp_path):
    write(tmp_path, "file,patient_id,subject\nP1_a.png,1,x\nP1_b.png,1,y\n")
    with pytest.raises(ValueError, match="columns 'patient_id' and 'subject' could both be the patient"):
        patients_of(NAMES, tmp_path)


def test_names_of_people_are_not_kept(tmp_path):
    write(tmp_path, "file,patient_name\nP1_a.png,Ada L.\nP1_b.png,ada l.\nP2_a.png,Alan T.\nP2_c.png,Alan T.\n")
    found, said = noted(patients_of, NAMES, tmp_path)
    assert found[0] == found[1] != found[2] == found[3] and "ada" not in "".join([*found, *said]).casefold()
    assert is_persons_name("PatientName") and not is_persons_name("patient_id")


def test_a_pattern_on_the_name_or_on_the_path(tmp_path):
    assert patients_of(NAMES, tmp_path, r"^(P\d+)_") == ["P1", "P1", "P2", "P2"]
    assert patients_of(NAMES, tmp_path, r"^(\w+)/") == ["left", "left", "right", "right"]
    assert patients_of(NAMES, tmp_path, r"(?P<patient>P\d+)_([abc])") == ["P1", "P1", "P2", "P2"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"^(P\d+", "is no regular expression"),
        (r"^P\d+_", "has 0 groups, expected one in parentheses"),
        (r"^(P)(\d+)_", "has 2 groups, expected one"),
        (r"^(P1)_", "finds no patient in 'right/P2_a.png'; expected one in each of the 4 names"),
        (r"^(Q?)P", "finds no patient in 'left/P1_a.png'"),
    ],
)
def test_patterns_that_cannot_be_used(tmp_path, pattern, message):
    with pytest.raises(ValueError, match=message):
        patients_of(NAMES, tmp_path, pattern)


def test_a_table_and_a_pattern_are_one_too_many(tmp_path):
    write(tmp_path, "file,patient\nP1_a.png,one\n")
    with pytest.raises(ValueError, match="both tell the patients; use one of them"):
        patients_of(NAMES, tmp_path, r"^(P\d+)_")


def test_spellings_of_one_patient_become_one():
    found, said = noted(as_patients, ["P1", "p1 ", "P1", "None", "07", "7"], "a table")
    assert found == ["P1", "P1", "P1", "", "07", "07"]
    assert len(said) == 2 and "2 patients are written in several ways" in said[0]


def test_patients_on_both_sides_are_counted():
    patients = ["a", "b", "a", "c", "", ""]
    parts = ["train", "train", "testA", "val", "train", "test"]
    _, said = noted(note_shared, patients, parts)
    assert said == [
        "1 of 3 patients have images both in train and in test (for instance 'a'): "
        "what is measured on test is too good."
    ]
    assert noted(note_shared, ["a", "b"], ["train", "test"]) == (None, [])
