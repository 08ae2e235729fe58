"""`predict`: with which model, on which images, and where it writes."""

import json

import numpy as np
import pytest

from data.files import DiskFull
from data.names import Refused
from experiments import predicting
from tests.data.pictures import save
from tests.experiments.rounds.annotator import OPTIONS, Annotator
from tests.experiments.small_sets import SCRIPTS
from tests.small_disk import no_blocks, small_disk

OTHER = {  # not the value of a small study, and not the usual one
    "classify": ("image_size", 24, 16),
    "segment": ("depth", 3, 2),
    "detect": ("anchor_ratios", [1.0], [0.5, 1.0, 2.0]),
}
UNUSUAL = {"classify": {"model": "resnet10_narrow"}, "segment": {}, "detect": {"scale": 0.75}}  # a study has these
USUAL = {"classify": {"model": "small_cnn"}, "segment": {"width": 8}, "detect": {"scale": 1.0}}


def rows(folder):
    return (folder / "predictions.csv").read_text().splitlines()[1:]


@pytest.mark.parametrize("task", OTHER)
def test_a_model_is_asked_as_it_was_made(task, tmp_path, capsys):
    person, out = Annotator(task, tmp_path / "own", n=6), tmp_path / "out"
    for name in person.names:
        person.label(name)
    person.suggest(out=str(out), n_test=2, **UNUSUAL[task])
    name, now, before = OTHER[task]
    said = f"{name}={now}, but the model of the last round was made with {name}={before}: leave {name}= out"
    with pytest.raises(Refused) as error:
        person.suggest("predict", out=str(out), **UNUSUAL[task], **{name: now})
    assert str(error.value).startswith(said) and not (out / "predictions").exists()
    person.suggest("predict", out=str(out), **UNUSUAL[task])
    exactly = rows(out / "predictions")
    capsys.readouterr()
    person.suggest("predict", out=str(out), **USUAL[task])  # what is usual is not typed
    made = person.state(out)["options"]
    listed = ", ".join(f"{option}={made[option]}" for option in USUAL[task])
    assert f"As the model of the last round was made: {listed}." in capsys.readouterr().out
    assert rows(out / "predictions") == exactly and len(exactly) == 6


def test_a_model_of_other_options_is_not_compared_with(tmp_path, capsys):
    task = "segment"
    person, out = Annotator(task, tmp_path / "own", n=8), tmp_path / "out"
    for name in person.names[:6]:
        person.label(name)
    person.suggest(out=str(out), n_test=1, accept="some")
    for name in person.names[6:]:
        person.label(name)
    name, now, before = OTHER[task]
    person.suggest(out=str(out), n_test=1, accept="some", **{name: now})
    said = f"The last model was made with {name}={before} (now {now}) and is not compared with."
    assert said in capsys.readouterr().out and person.state(out)["round"] == 2


def test_folders_of_one_name_do_not_share_their_predictions_and_grey_images_are_no_food(tmp_path):
    person, out = Annotator("classify", tmp_path / "own", n=6), tmp_path / "out"
    for name in person.names:
        person.label(name)
    person.suggest(out=str(out), n_test=2)
    for number, folder in enumerate(("A", "B")):
        save(tmp_path / folder / "x" / f"{folder}.png", values=person.picture(number))
        person.suggest("predict", out=str(out), images=str(tmp_path / folder / "x"))
    written = sorted(out.glob("predictions_x-*"))
    assert len(written) == 2 and {rows(each)[0].split(",")[2] for each in written} == {"A.png", "B.png"}
    save(tmp_path / "grey" / "g.png", values=person.picture(1)[..., 0])
    with pytest.raises(Refused, match="are grey, but the model learnt from coloured ones: save copies that are"):
        person.suggest("predict", out=str(out), images=str(tmp_path / "grey"))


def test_images_of_another_folder_need_no_json(tmp_path):
    root, out = tmp_path / "own", tmp_path / "out"
    pictures = [np.random.default_rng(i).integers(0, 99, (64, 64, 3), np.uint8) for i in range(6)]
    for i, values in enumerate(pictures):
        save(root / f"im{i}.png", values=values)
    images = [{"id": i, "file_name": f"im{i}.png", "width": 64, "height": 64} for i in range(6)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 20, 20], "iscrowd": 0} for i in range(6)]
    table = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "x"}]}
    (root / "boxes.json").write_text(json.dumps(table))
    given = {**OPTIONS["detect"], "dataset": "coco", "data_root": str(root), "out": str(out), "n_test": 2}
    SCRIPTS["detect"].run("suggest", **given)
    save(tmp_path / "others" / "new.png", values=pictures[0])
    SCRIPTS["detect"].run("predict", **given, images=str(tmp_path / "others"))
    (written,) = out.glob("predictions_others-*")
    assert len(rows(written)) == 1


def test_a_disk_that_is_full_is_one_sentence_and_the_predictions_come_later(tmp_path, monkeypatch):
    person = Annotator("classify", tmp_path / "own", n=6)
    for name in person.names:
        person.label(name)
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        out, real = disk / "out", predicting.seen
        person.suggest(out=str(out), n_test=2)

        def filled(*given):
            no_blocks(disk)
            return real(*given)

        with monkeypatch.context() as patch:
            patch.setattr(predicting, "seen", filled)
            with pytest.raises(
                DiskFull, match="the disk is full while saving .*predictions.* start the same command again"
            ):
                person.suggest("predict", out=str(out))
        assert not (out / "predictions").exists()
        (disk / "filler").unlink()
        person.suggest("predict", out=str(out))
        assert len(rows(out / "predictions")) == 6
