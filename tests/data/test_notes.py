"""Notes: collected by whoever asks, warnings where nobody does; those of decoding come back with the decoded images."""

import json
import warnings

import numpy as np
import pytest

import data
from data.names import Refused
from data.notes import GUESSED, LEFT_OUT, WARNING, Note, collecting, note
from data.store import LAYOUT, Record, cached
from data.threads import ordered_map
from tests.data.pictures import save

SURVEYED, DECODED = Note(GUESSED, "the separator is a semicolon."), Note(LEFT_OUT, "1 box has no area, ä\udcff.")


def reader(data_root, cache_root=None, workers=0):
    """Two images; one sentence is noted before they are decoded, one meanwhile, by threads if there are any."""

    def decoded(i):
        note(*DECODED)
        return Record(f"{i}", np.zeros((2, 2, 1), np.uint8), np.array(i))

    note(*SURVEYED)
    return cached("toy", "f", "class", ("a", "b"), lambda: ordered_map(decoded, range(2), workers), None, cache_root)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    monkeypatch.setattr("data.loading.loader", lambda task, name: reader)
    monkeypatch.setattr("data.loading.check", lambda *given: None)
    return lambda **options: data.load("classify", "toy", tmp_path, cache_root=tmp_path / "cache", **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_know_what_was_noted_when_they_are_decoded_and_when_they_are_mapped(toy, workers):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for images in (toy(workers=workers), toy(workers=workers)):
            assert set(images.notes) == {SURVEYED, DECODED} and len(images.notes) == 2
            assert images.part("train").notes == images.subset([1]).notes == images.notes


def test_outside_of_a_collection_every_use_warns(tmp_path):
    for _ in range(2):
        with pytest.warns(UserWarning) as caught:
            reader(tmp_path, tmp_path / "cache")
        assert {str(warning.message) for warning in caught} == {SURVEYED.sentence, DECODED.sentence}


def test_notes_are_sealed_with_the_images(toy, tmp_path):
    toy()
    file = tmp_path / "cache" / f"toy-f-v{LAYOUT}" / "notes.json"
    file.write_text(json.dumps([["warning", "never said"]]))
    with pytest.warns(UserWarning, match="are damaged .*notes.json"):
        assert set(toy().notes) == {SURVEYED, DECODED}


def test_a_collection_passes_on_to_the_one_around_it_what_it_does_not_know():
    with collecting() as outer:
        note(WARNING, "first")
        with collecting() as inner:
            note(WARNING, "first")
            note(WARNING, "second")
        assert [each.sentence for each in inner] == [each.sentence for each in outer] == ["first", "second"]


def test_notes_of_a_refused_reading_reach_whoever_collects():
    with collecting() as outer, pytest.raises(Refused), collecting():
        note(WARNING, "said before")
        raise Refused("no")
    assert outer == [Note(WARNING, "said before")]


def test_a_dataset_without_notes_has_none():
    assert data.load("classify", "digits", "", repeat=1).notes == ()


def test_images_are_left_as_they_are_where_no_size_is_given(tmp_path):
    save(tmp_path / "a" / "1.png"), save(tmp_path / "b" / "2.png", size=(9, 9))
    images = data.load("classify", "folder", tmp_path, test_fraction=0.0)
    assert images.shapes.tolist() == [[10, 12], [9, 9]]
