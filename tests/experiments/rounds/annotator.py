"""A person who labels: folders of images whose labels are hidden, and answers in files, as an annotator leaves them."""

import csv
import json
from pathlib import Path

import numpy as np

from tests.data.pictures import save
from tests.experiments.small_sets import SCRIPTS

SIZE = {"segment": 32, "classify": 16, "detect": 64}
SHARED = {"n_initial": 3, "n_query": 2, "n_cycles": 2, "mc_samples": 2, "precision": "float32", "n_stop": 4, "run": 1}
OPTIONS = {
    "classify": SHARED
    | {"image_size": 16, "steps": 4, "batch_size": 4, "model": "small_cnn", "heuristic": "entropy"}
    | {"initial": "typiclust", "features": "pixels"},
    "segment": SHARED
    | {"steps": 8, "lr": 0.02, "batch_size": 2, "width": 4, "depth": 2, "crop": 16, "heuristic": "bald"},
    "detect": SHARED
    | {"steps": 2, "batch_size": 2, "score_threshold": 0.0, "heuristic": "box_entropy", "metric": "ap50"},
}
OWN = {
    "classify": {"dataset": "folder", "dataset_options": {"class_names": ["a", "b", "c"]}},
    "segment": {"dataset": "folder", "dataset_options": {"class_names": ["background", "x"]}},
    "detect": {"dataset": "voc", "dataset_options": {"classes": ["x"], "corners": "edges"}},
}
PLACE = {"classify": "", "segment": "images", "detect": "JPEGImages"}  # of images


class Annotator:
    """Images of one task in a folder, and whoever knows their labels."""

    def __init__(self, task: str, root: Path, n: int = 14):
        self.task, self.root, self.script = task, root, SCRIPTS[task]
        self.images = root / PLACE[task]
        self.names = [f"im{i:02d}.png" for i in range(n)]
        for i, name in enumerate(self.names):
            save(self.images / name, values=self.picture(i))

    def picture(self, i: int) -> np.ndarray:
        values = np.random.default_rng(i).integers(0, 60 + 60 * (i % 3), (SIZE[self.task],) * 2 + (3,), np.uint8)
        top, side = self.object(i)
        values[top : top + side, 4 : 4 + side] += 60
        return values

    def object(self, i: int) -> tuple[int, int]:
        return 2 + i, SIZE[self.task] // 3

    def label(self, name: str, root: Path | None = None) -> None:
        """Write the label of an image where users write it."""
        root, i = root or self.root, self.names.index(name)
        top, side = self.object(i)
        if self.task == "classify":
            table = root / "labels.csv"
            before = table.read_text() if table.exists() else "file,label\n"
            table.write_text(f"{before}{name},{'abc'[i % 3]}\n")
        elif self.task == "segment":
            mask = np.zeros((SIZE["segment"],) * 2, np.uint8)
            mask[top : top + side, 4 : 4 + side] = 1
            save(root / "masks" / name, values=mask)
        else:
            box = dict(zip(("xmin", "ymin", "xmax", "ymax"), (4, top, 4 + side, top + side), strict=True))
            inside = "".join(f"<{corner}>{value}</{corner}>" for corner, value in box.items())
            found = "" if i % 5 == 4 else f"<object><name>x</name><bndbox>{inside}</bndbox></object>"
            file = root / "Annotations" / f"{Path(name).stem}.xml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"<annotation>{found}</annotation>")

    def suggest(self, command: str = "suggest", **options):
        """One call of the command."""
        return self.script.run(command, **self.options(**options))

    def options(self, **options) -> dict:
        """Those of a small study of this folder, with others."""
        return {**OPTIONS[self.task], **OWN[self.task], "data_root": str(self.root), **options}

    def answer(self, folder: Path, round_: int, most: int = 10**6) -> list[str]:
        """Label what the list of a round asks for; the names, in the order of rank."""
        names = [row["file"] for row in self.rows(folder, round_)]
        for name in names[:most]:
            self.label(name)
        return names

    def rows(self, folder: Path, round_: int) -> list[dict]:
        with (folder / f"round_{round_:03d}" / "suggestions.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def state(self, folder: Path) -> dict:
        return json.loads((folder / "state.json").read_text())
