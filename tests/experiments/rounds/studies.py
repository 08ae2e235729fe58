"""Small studies whose images, suggestions and predictions are known."""

import numpy as np
from PIL import Image

from experiments.rounds.label_studio.project import Study
from experiments.rounds.suggestion import Prediction, Seen, Suggestion

HEIGHT, WIDTH = 48, 64
CLASSES = {
    "segment": ("background", "gland", "other <&>"),
    "detect": ("cell", "plate let"),
    "classify": ("benign", "malignant"),
}
NAMES = ("a b/ü <i>.png", "c&d=?#%.png", "plain.png", 'z\'s "q".png')


def study_of(task, root, folder, names=NAMES):
    """A study with an image of each name below a folder in `root`."""
    images = root / f"images {task}"
    for i, name in enumerate(names):
        file = images / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return Study(task, "Glands & <cells>", CLASSES[task], images, folder)


def prediction(task, number):
    """Another one for each number."""
    if task == "classify":
        return Prediction(probs=np.eye(2)[number % 2] * 0.5 + 0.25)
    if task == "detect":
        rows = [[3.25 + number, 5, 20.5, 30, 0, 0.9], [40, 10, 64, 48, 1, 0.4]]
        return Prediction(boxes=np.array(rows[: 1 + number % 2]))
    class_map = np.zeros((HEIGHT, WIDTH), np.int64)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    class_map[(y - 14) ** 2 + (x - 16 - number) ** 2 < 120] = 1
    class_map[8:12, 10:14] = 0  # a hole
    class_map[30:48, 40:64] = 2
    class_map[29, 39] = 1
    return Prediction(class_map=class_map)


def seen(study, order, part="query", shift=0, names=NAMES):
    """The images of these numbers in this order of rank, with a prediction each."""
    for rank, number in enumerate(order, 1):
        file = study.images / names[number]
        said = Suggestion(rank, part, file, names[number], (HEIGHT, WIDTH), float("nan"), 0.5, why="uncertain")
        yield Seen(said, np.zeros((HEIGHT, WIDTH, 3), np.uint8), prediction(study.task, number + shift))
