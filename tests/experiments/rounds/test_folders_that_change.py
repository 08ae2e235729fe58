"""What a person does between two calls: nothing, half of it, something else; images come and go, labels change."""

import os

import numpy as np
import pytest
from PIL import Image

from data.loading import load
from data.names import Missing, Refused
from data.unlabelled import Unlabelled
from experiments.rounds import division
from experiments.rounds.state import Asked
from tests.data.pictures import save
from tests.experiments.rounds.annotator import Annotator

TASKS = ("classify", "segment", "detect")


@pytest.fixture
def person(tmp_path):
    """A person with classes to tell, the cheapest of the tasks."""
    return Annotator("classify", tmp_path / "own", n=12)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files_of(root):
    return {file: file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def test_a_list_waits_until_it_is_labelled_and_shows_itself_again(person, out, capsys):
    before = files_of(person.root)
    assert person.suggest(out=str(out)) is None
    first = capsys.readouterr().out
    assert "To label now, 5 images (3 to start with, 2 at random, to measure with)" in first
    names = person.answer(out, 0, most=2)
    state = (out / "state.json").read_text()
    assert person.suggest(out=str(out)) is None
    second = capsys.readouterr().out
    assert f"3 of 5 images are not labelled yet: {', '.join(names[2:])}; accept=some goes on" in second
    assert "12 images: 0 of 10 to learn from are labelled, 0 of 2 to measure with." in first
    assert first.splitlines()[-7:] == second.splitlines()[-7:] and (out / "state.json").read_text() == state
    assert {file: content for file, content in files_of(person.root).items() if file in before} == before
    assert set(files_of(person.root)) - set(before) == {person.root / "labels.csv"}


def test_some_labels_are_enough_where_a_person_says_so(person, out, capsys):
    person.suggest(out=str(out))
    names = person.answer(out, 0, most=2)
    run = person.suggest(out=str(out), accept="some")
    assert run.info["round"] == 1
    said = capsys.readouterr().out
    assert "No test image is labelled" in said
    state = person.state(out)
    assert set(state["labels"]) == set(names[:2]) and "accuracy" not in state["curve"][0]
    assert [each["part"] for each in state["asked"]] == ["query", "query", "test", "test"]
    person.answer(out, 1)
    person.suggest(out=str(out))
    assert all("accuracy" in row for row in person.state(out)["curve"]), "the first model is measured when it can be"


def test_images_that_come_and_go_and_labels_that_change_are_named(person, out, capsys):
    person.suggest(out=str(out))
    person.answer(out, 0)
    person.suggest(out=str(out))
    state, asked = person.state(out), [row["file"] for row in person.rows(out, 1)]
    capsys.readouterr()
    learnt, gone = (
        next(iter(state["labels"])),
        next(n for n in state["order"] if n not in state["labels"] and n not in asked),
    )
    table = person.root / "labels.csv"
    wrong = {"a": "b", "b": "c", "c": "a"}
    rows = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("".join(f"{name},{wrong[c] if name == learnt else c}\n" for name, c in rows))
    (person.images / gone).unlink()
    save(person.images / "aa-new.png", values=person.picture(3))
    person.answer(out, 1)
    assert person.suggest(out=str(out)).info["round"] == 2
    said = capsys.readouterr().out
    assert f"1 image of before is no longer there: {gone}." in said
    assert "1 image is new: aa-new.png." in said
    assert f"1 label is another than before: {learnt}." in said
    assert person.state(out)["order"][-1] == "aa-new.png"


def test_an_image_that_is_asked_for_and_taken_away_is_not_waited_for(person, out):
    person.suggest(out=str(out))
    names = [row["file"] for row in person.rows(out, 0)]
    for name in names[1:]:
        person.label(name)
    (person.images / names[0]).unlink()
    assert person.suggest(out=str(out)).info["round"] == 1


def test_all_labelled_trains_once_and_then_says_that_nothing_is_new(person, out, capsys):
    for name in person.names:
        person.label(name)
    assert person.suggest(out=str(out)).info["round"] == 1
    assert "All images are labelled: there is nothing to ask for." in capsys.readouterr().out
    assert person.suggest(out=str(out)) is None
    assert "No label has come in or changed since the last round" in capsys.readouterr().out


def test_test_images_are_set_aside_by_whole_patients_labelled_or_not(person):
    (person.root / "patients.csv").write_text(
        "file,patient\n" + "".join(f"{n},p{i // 3}\n" for i, n in enumerate(person.names))
    )
    person.label(person.names[0])
    images = load(
        "classify", "folder", person.root, image_size=16, unlabelled=Unlabelled(), class_names=["a", "b", "c"]
    )
    drawn = {}
    for seed in range(40):
        state = division.begin(images, 3, np.random.default_rng(seed))
        whose = {name: int(name[2:4]) // 3 for name in person.names}
        assert {whose[n] for n in state.test}.isdisjoint(whose[n] for n in state.order)
        assert sorted([*state.test, *state.order]) == person.names and len(state.test) == 3
        drawn[whose[state.test[0]]] = True
    assert set(drawn) == {0, 1, 2, 3}


def test_more_than_there_is_takes_the_rest(person, out):
    person.suggest(out=str(out))
    person.answer(out, 0)
    person.suggest(out=str(out), n_query=1000)
    assert len(person.rows(out, 1)) == 12 - 5


def test_labels_of_ours_count_and_those_of_the_user_before_them(person, out, capsys):
    person.suggest(out=str(out))
    names = [row["file"] for row in person.rows(out, 0)]
    (out / "labels").mkdir()
    (out / "labels" / "labels.csv").write_text("file,label\n" + "".join(f"{name},a\n" for name in names))
    person.label(names[0])
    run = person.suggest(out=str(out))
    assert run.info["round"] == 1 and len(person.state(out)["labels"]) == 3


@pytest.mark.parametrize("task", TASKS)
def test_predictions_are_in_the_pixels_of_the_users_files(task, tmp_path):
    person, out = Annotator(task, tmp_path / "own", n=8), tmp_path / "out"
    size = {} if task == "classify" else {"scale": 0.5}
    with pytest.raises(Missing, match="has no model yet"):
        person.suggest("predict", out=str(out), **size)
    for name in person.names[:6]:
        person.label(name)
    person.suggest(out=str(out), n_test=2, **size)
    person.suggest("predict", out=str(out), **size)
    assert (out / "predictions" / "predictions.csv").read_text().count("\n") == 9
    if task == "segment":
        assert {Image.open(file).size for file in (out / "predictions" / "masks").glob("*.png")} == {(32, 32)}
    other = tmp_path / "other"
    save(other / "x.png", values=np.tile(person.picture(1), (2, 3, 1)))
    person.suggest("predict", out=str(out), images=str(other), **size)
    (of_others,) = out.glob("predictions_other-*")
    assert (of_others / "predictions.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"data_root": "/nowhere"}, "does not exist"),
        ({"dataset": "phantom", "dataset_options": {}}, "is for images of your own"),
        ({"dataset_options": {}}, "does not tell the classes yet: say classes="),
        ({"initial": "stratified"}, "wants to know the classes"),
        ({"n_test": 12}, "leaves none to learn from"),
        ({"heuristic": "entropi"}, "Did you mean 'entropy'"),
        ({"n_val": 3}, "has no labelled part val"),
        ({"export": "csv,previw"}, "Did you mean 'preview'"),
        ({"classes": "a,b"}, "both name the classes"),
    ],
)
def test_mistakes_are_one_sentence(options, sentence, person, out):
    for name in person.names[:4] if "n_val" in options else ():
        person.label(name)
    with pytest.raises(Refused, match=sentence):
        person.suggest(out=str(out), **options)


def test_nothing_is_written_among_the_users_images(person, tmp_path):
    for place in (person.root, person.root / "rounds"):
        with pytest.raises(Refused, match="where nothing is ever written"):
            person.suggest(out=str(place))
    (tmp_path / "link").symlink_to(person.root)
    with pytest.raises(Refused, match="where nothing is ever written"):
        person.suggest(out=str(tmp_path / "link" / "inner"))


def test_an_empty_folder_is_said_to_be_one(tmp_path, out):
    (tmp_path / "empty").mkdir()
    for task in TASKS:
        with pytest.raises(Refused, match="holds no picture that can be read"):
            Annotator(task, tmp_path / "empty", n=0).suggest(out=str(out))


def test_names_of_files_may_be_anything(tmp_path, out):
    person = Annotator("classify", tmp_path / "own", n=6)
    for i, name in enumerate(("<b>&amp;.png", "ä ö.png", "=1+1.png", "a b'c.png")):
        save(person.images / name, values=person.picture(i))
    person.suggest(out=str(out), n_initial=6)
    assert {each["name"] for each in person.state(out)["asked"]} <= set(os.listdir(person.images))


def test_new_images_of_a_patient_of_the_test_part_are_never_learnt_from(person):
    table = "file,patient\n" + "".join(f"{name},p{i // 3}\n" for i, name in enumerate(person.names))
    (person.root / "patients.csv").write_text(table)
    options = {"image_size": 16, "unlabelled": Unlabelled(), "class_names": ["a", "b", "c"]}
    state = division.begin(load("classify", "folder", person.root, **options), 3, np.random.default_rng(0))
    patient = int(state.test[0][2:4]) // 3
    for name in ("new0.png", "new1.png"):
        save(person.images / name, values=person.picture(20))
    (person.root / "patients.csv").write_text(f"{table}new0.png,p{patient}\nnew1.png,p9\n")
    said = division.take_in(state, load("classify", "folder", person.root, **options))
    assert "new0.png" in state.test and "new1.png" in state.order and "new0.png" not in state.order
    assert any("of patients of the test part and join it: new0.png." in sentence for sentence in said)


@pytest.mark.parametrize("command", ["suggest", "predict"])
def test_a_folder_that_holds_other_things_is_left_alone(command, person, out):
    (out / "predictions").mkdir(parents=True)
    (out / "predictions" / "mine.txt").write_text("mine")
    with pytest.raises(Refused, match="holds 'predictions' and no study"):
        person.suggest(command, out=str(out), resume="fresh")
    assert [file.name for file in out.rglob("*")] == ["predictions", "mine.txt"]


def test_label_studio_never_writes_into_a_folder_of_labels_that_was_named(person, out):
    with pytest.raises(Refused, match="may hold labels of yours"):
        person.suggest(out=str(out), labels=str(person.root), label_studio="http://127.0.0.1:1")


def test_test_images_without_any_object_measure_nothing_and_the_rounds_go_on(tmp_path, out, capsys):
    person = Annotator("detect", tmp_path / "own", n=8)
    person.suggest(out=str(out), n_test=2)
    person.answer(out, 0)
    for name in person.state(out)["test"]:
        (person.root / "Annotations" / name).with_suffix(".xml").write_text("<annotation></annotation>")
    assert person.suggest(out=str(out)).info["round"] == 1
    assert "No labelled test image has an object: nothing says" in capsys.readouterr().out


@pytest.mark.parametrize("unlabelled", ["fixmatch", "none"])
def test_rounds_and_studies_of_the_same_folder_read_their_data(unlabelled, person, out):
    for name in person.names:
        person.label(name)
    person.suggest(out=str(out), unlabelled=unlabelled, train="network")
    person.suggest("supervised")


def loaded(person):
    options = {"image_size": 16, "unlabelled": Unlabelled(), "class_names": ["a", "b", "c"]}
    return load("classify", "folder", person.root, **options)


def test_a_test_image_that_was_away_is_measured_with_again(person):
    state = division.begin(loaded(person), 3, np.random.default_rng(0))
    name = state.test[0]
    picture = (person.images / name).read_bytes()
    (person.images / name).unlink()
    division.take_in(state, loaded(person))
    assert name not in state.test and state.away == [name]
    (person.images / name).write_bytes(picture)
    said = division.take_in(state, loaded(person))
    assert name in state.test and name not in state.order and not state.away
    assert f"1 image of the test part is back, to measure with: {name}." in said


@pytest.mark.parametrize("learnt", ["nothing", "two", "all"])
def test_patients_that_are_told_later_are_on_one_side(learnt, person):
    state = division.begin(loaded(person), 3, np.random.default_rng(0))
    before, whose = set(state.test), {name: f"p{i // 2}" for i, name in enumerate(person.names)}
    kin = [n for n in state.order if whose[n] in {whose[t] for t in before}]
    labelled = {"nothing": [], "two": kin[:2], "all": state.order}[learnt]
    state.labels = dict.fromkeys(labelled, 1)
    state.stop, state.asked = list(state.order), [Asked(name, "query") for name in kin]
    table = "file,patient\n" + "".join(f"{n},{patient}\n" for n, patient in whose.items())
    (person.root / "patients.csv").write_text(table)
    said = " ".join(division.take_in(state, loaded(person)))
    test, order = set(state.test), set(state.order)
    assert {whose[n] for n in test}.isdisjoint(whose[n] for n in order), "no patient is on both sides"
    assert sorted([*test, *order]) == person.names and len(state.test) == len(test)
    assert test.isdisjoint(labelled), "nothing that was learnt from is measured with"
    assert (len(test) == 4) == (learnt != "all") and bool(test) == (learnt != "all")
    assert set(state.stop) <= order and all((each.part == "test") == (each.name in test) for each in state.asked)
    assert "patients had images to learn from and in the test part (" in said or "patient had images" in said
    assert not any("had images" in sentence for sentence in division.take_in(state, loaded(person)))


def test_patients_that_are_told_later_are_learnt_from_by_the_next_round(person, out, capsys):
    for name in person.names:
        person.label(name)
    person.suggest(out=str(out), n_test=3)
    rows = "".join(f"{name},p{i // 2}\n" for i, name in enumerate(person.names))
    (person.root / "patients.csv").write_text(f"file,patient\n{rows}")
    person.suggest(out=str(out), n_test=3)
    said, state = capsys.readouterr().out, person.state(out)
    assert "had images to learn from and in the test part" in said and state["round"] == 2
    whose = {name: i // 2 for i, name in enumerate(person.names)}
    assert {whose[n] for n in state["test"]}.isdisjoint(whose[n] for n in state["order"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"classes": "a,a", "dataset_options": {}}, "classes='a,a': expected each class once"),
        ({"classes": "a", "dataset_options": {}}, "classes='a': expected at least two classes"),
        ({"classes": ["a", "b\x07"], "dataset_options": {}}, "expected each class once, by a name that can be printed"),
        ({"out": "/proc/x"}, "out='/proc/x' is no folder that can be written"),
    ],
)
def test_what_a_study_cannot_begin_with(options, sentence, tmp_path):
    person = Annotator("classify", tmp_path / "own")
    with pytest.raises(Refused, match=sentence):
        person.suggest(**{"out": str(tmp_path / "out"), **options})


def test_a_study_does_not_lie_in_a_file(tmp_path):
    person = Annotator("classify", tmp_path / "own")
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="is no folder that can be written .it is a file"):
        person.suggest(out=str(tmp_path / "file"))
