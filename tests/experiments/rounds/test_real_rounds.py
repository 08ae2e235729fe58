"""Five rounds on real images from no label at all: answered in files from hidden labels, and equal to the simulation."""

import csv

import numpy as np
import pytest

import data
from tests.data.pictures import save
from tests.experiments.rounds.annotator import Annotator
from tests.experiments.rounds.test_suggest import told
from tests.experiments.runs import curve_of, run_in_process

pytestmark = pytest.mark.realdata

ROUNDS = 5
SETS = {  # task -> folder, what is read of it, images, options of the rounds
    "segment": ("glas", {"scale": 0.15}, 80, {"metric": "dice", "steps": 150, "batch_size": 8, "width": 8, "crop": 64}),
    "classify": ("brain_tumor_mri", {"image_size": 64}, 200, {"image_size": 64, "steps": 150, "batch_size": 16}),
    "detect": ("bccd", {"scale": 0.25}, 60, {"steps": 60, "batch_size": 4, "score_threshold": 0.05}),
}
BUDGET = {"segment": (4, 4), "classify": (12, 12), "detect": (4, 4)}  # first labels, and those of each later list
METRIC = {"segment": "dice", "classify": "accuracy", "detect": "ap50"}


class OfRealImages(Annotator):
    """`n` images of a real set, spread over it, and whoever knows their labels."""

    def __init__(self, task, root, real, n):
        self.real = real.subset(np.linspace(0, len(real) - 1, n).astype(int))
        super().__init__(task, root, n)

    def picture(self, i):
        return np.array(self.real.raw(i)).squeeze()

    def label(self, name, root=None):
        root, i = root or self.root, self.names.index(name)
        target = self.real.target(i).numpy()
        if self.task == "classify":
            table = root / "labels.csv"
            before = table.read_text() if table.exists() else "file,label\n"
            table.write_text(f"{before}{name},{self.real.classes[int(target)]}\n")
        elif self.task == "segment":
            save(root / "masks" / name, values=target.astype(np.uint8))
        else:
            file = root / "Annotations" / name.replace(".png", ".xml")
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"<annotation>{''.join(map(self.described, target.tolist()))}</annotation>")

    def described(self, box):
        corners = zip(("xmin", "ymin", "xmax", "ymax"), box[:4], strict=True)
        inside = "".join(f"<{corner}>{value!r}</{corner}>" for corner, value in corners)
        return f"<object><name>{self.real.classes[int(box[4])]}</name><bndbox>{inside}</bndbox></object>"


@pytest.mark.parametrize("task", SETS)
def test_five_rounds_from_no_label_are_those_of_the_simulation(task, raw_root, tmp_path, capsys):
    name, decoded, n, options = SETS[task]
    real = data.load(task, name, raw_root(name), **decoded)
    person, out = OfRealImages(task, tmp_path / "own", real, n), tmp_path / "out"
    own = (
        {"classes": list(real.classes), "corners": "edges"} if task == "detect" else {"class_names": list(real.classes)}
    )
    n_initial, n_query = BUDGET[task]
    given = {**options, "n_initial": n_initial, "n_query": n_query, "n_cycles": ROUNDS - 1, "n_stop": 20}
    given |= {"dataset_options": own, "mc_samples": 4}
    for round_ in range(ROUNDS + 1):
        capsys.readouterr()
        person.suggest(out=str(out), export="csv", **given)
        if round_ < ROUNDS:
            person.answer(out, round_)
    advice = capsys.readouterr().out
    state = person.state(out)
    for each in person.names:
        if each not in state["labels"] and each not in state["tested"]:
            person.label(each)
    splits = tmp_path / "splits"
    splits.mkdir()
    for part, names in (("train", state["order"]), ("test", state["test"])):
        (splits / f"{part}.csv").write_text("\n".join(["name", *names]))
    folder = run_in_process(person.script, presets=(), **person.options(splits_dir=str(splits), **given))
    with (folder / "picks.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == sum(state["picks"][:ROUNDS], [])
    simulated, compared = curve_of(folder), set()
    for cycle, row in enumerate(state["curve"]):
        for column in told(row).keys() & simulated.keys():
            if cycle < ROUNDS - 1 or not column.startswith("score_"):  # the last round asks, the last cycle does not
                compared.add(column)
                value = None if np.isnan(row[column]) else row[column]
                assert simulated[column][cycle] == value, (cycle, column)
    assert {METRIC[task], "n_labelled", "train_loss"} <= compared
    values = {row["n_labelled"]: round(row[METRIC[task]], 3) for row in state["curve"]}
    assert list(values) == [n_initial + cycle * n_query for cycle in range(ROUNDS)]
    with capsys.disabled():
        print(f"\n{task} of {name}: {METRIC[task]} by labels {values}, {len(state['test'])} to test\n{advice}")
