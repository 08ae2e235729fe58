"""Three rounds of each task, in which the labels are drawn in Label Studio and in no other place."""

import csv

import numpy as np
import pytest

from data.names import Refused
from experiments.rounds.exports.labelstudio import results
from experiments.rounds.suggestion import Prediction
from tests.experiments.rounds.annotator import OPTIONS, SIZE, Annotator

CLASSES = {"classify": ("a", "b", "c"), "segment": ("background", "x"), "detect": ("x",)}


class Drawing(Annotator):
    """A person who labels in Label Studio; what they know is what an annotator of files knows."""

    def __init__(self, studio, task):
        super().__init__(task, studio.of_test / task)
        self.studio = studio

    def truth(self, i):
        """The label of an image as a prediction that is certain."""
        (top, side), edge = self.object(i), SIZE[self.task]
        if self.task == "classify":
            return Prediction(probs=np.eye(3)[i % 3])
        if self.task == "segment":
            class_map = np.zeros((edge, edge), np.int64)
            class_map[top : top + side, 4 : 4 + side] = 1
            return Prediction(class_map=class_map)
        return Prediction(
            boxes=np.array([[4, top, 4 + side, min(top + side, edge), 0, 1.0]][: i % 5 != 4]).reshape(-1, 6)
        )

    def draw(self, project, most=10**6):
        """Label what is handed out, in that order; the names."""
        names = []
        while len(names) < most and (task := self.studio.next(project)):
            name = task["data"]["name"]
            size = (SIZE[self.task],) * 2
            self.studio.annotate(
                task["id"],
                results(self.task, CLASSES[self.task], self.truth(self.names.index(name)), size, tolerance=0.0),
            )
            names.append(name)
        return names


@pytest.mark.labelstudio
@pytest.mark.parametrize("studio", ["real"], indirect=True)
@pytest.mark.parametrize("task", OPTIONS)
def test_three_rounds_in_label_studio_are_those_with_files(studio, task, tmp_path, capsys):
    drawing, writing = Drawing(studio, task), Annotator(task, tmp_path / "own")
    out, other = tmp_path / "out", tmp_path / "other"
    for round_ in range(4):
        drawing.suggest(out=str(out), label_studio=studio.url)
        writing.suggest(out=str(other))
        said = capsys.readouterr().out
        project = int(said.rpartition("/projects/")[2].split()[0])
        assert [row["file"] for row in drawing.rows(out, round_)] == writing.answer(other, round_)
        asked = {name: task for name, task in studio.tasks(project).items() if not task["total_annotations"]}
        assert sorted(asked) == sorted(row["file"] for row in drawing.rows(out, round_))
        assert all(bool(t["predictions"][-1]["result"]) <= (round_ > 0) for t in asked.values())
        assert drawing.draw(project) == [row["file"] for row in drawing.rows(out, round_)]
    curves = [person.state(folder)["curve"] for person, folder in ((drawing, out), (writing, other))]
    kept = [
        [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_share"))} for row in curve] for curve in curves
    ]
    assert len(kept[0]) == 3 and repr(kept[0]) == repr(kept[1])
    assert not list(drawing.root.rglob("masks")) and not (drawing.root / "labels.csv").exists()


def test_a_list_is_sent_once_and_by_the_same_command_when_the_server_was_away(studio, tmp_path, capsys):
    drawing, out = Drawing(studio, "classify"), tmp_path / "out"
    with pytest.raises(Refused, match="does not answer"):
        drawing.suggest(out=str(out), label_studio="http://127.0.0.1:9")
    listed = [row["file"] for row in csv.DictReader((out / "round_000" / "suggestions.csv").open(newline=""))]
    drawing.suggest(out=str(out), label_studio=studio.url)
    first = capsys.readouterr().out
    assert f"Label Studio: tasks sent {len(listed)}, there before 0." in first
    drawing.suggest(out=str(out), label_studio=studio.url)
    again = capsys.readouterr().out
    assert f"Label Studio: tasks sent 0, there before {len(listed)}." in again and "Nothing is trained" in again
    project = int(again.rpartition("/projects/")[2].split()[0])
    drawing.draw(project, 1)
    drawing.suggest(out=str(out), label_studio=studio.url)
    assert (
        "new or corrected 1, as before 0" in (said := capsys.readouterr().out)
        and f"{len(listed) - 1} of {len(listed)} images" in said
    )
