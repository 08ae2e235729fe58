"""Small folders of own images with classes, as people lay them out, and what was read of them."""

from collections import Counter

import data
from data import notes
from tests.data.pictures import save

VALUES = {"benign": 40, "malignant": 200}  # the grey of every picture of a class, so that a target can be checked


def fill(root, names=tuple(VALUES), n=5, start=0, inner="", ending=".png"):
    """`n` pictures of each class under root/<class>/<inner>."""
    for name in names:
        for i in range(start, start + n):
            save(root / name / inner / f"{name}{i}{ending}", VALUES.get(name.casefold(), 90))
    return root


def load(root, **options):
    """The images, and what is noted."""
    with notes.collecting() as said:
        images = data.load("classify", "folder", root, image_size=None, **options)
    return images, [sentence for _, sentence in said]


def counts(images):
    """Part -> class -> number of images."""
    found: dict[str, Counter] = {}
    for i, part in enumerate(images.parts.tolist()):
        found.setdefault(part, Counter())[images.classes[int(images.target(i))]] += 1
    return {part: dict(counted) for part, counted in found.items()}


def require_right(images):
    """Every picture has the class whose grey it has."""
    for i in range(len(images)):
        assert int(images.raw(i).max()) == VALUES[images.classes[int(images.target(i))]], images.names[i]


def said_in(sentences, *words):
    for word in words:
        assert any(word in sentence for sentence in sentences), (word, sentences)


def both(n):
    return {"benign": n, "malignant": n}
