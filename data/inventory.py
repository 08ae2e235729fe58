"""What was read, counted: images, sizes, values, classes and patients of each part, and what to be wary of.

`take` counts; its plain values are what a run records, `lines` says them in words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from data import slices
from data.alike import alike, looks_of
from data.notes import WARNING
from data.splits import Splits
from data.store import Images

CHANGES_NO_RESULT = True

Inventory = dict[str, Any]  # plain values, see `take`
SIDES = ("pool", "validation", "test")
MOST_PIXELS = 2e8  # of the masks of a part that are counted; of a larger part masks at equal distances are
SAMPLE = 64  # images whose values are looked at
FEW_TEST, FEW_VALUES = 20, 8  # images of a test part, different values of the sample, below which is warned
MOST_CLASSES, MOST_NOTES, FIRST = 50, 40, 3  # that are kept
SHOWN = 12  # classes in a run's few lines
FOLDERS = re.compile(r"(?<![\w.])(?:~|[A-Za-z]:)?[/\\](?:[^/\\:;,'\"]+[/\\])*")
UNITS = {"class": "images", "boxes": "boxes"}  # what is counted of a class; of masks, the images that hold it


def take(
    splits: Splits, start: Int[ndarray, " l"] | None = None, trivial: tuple[str, float, str] | None = None
) -> Inventory:
    """Count what a division holds. `start` are the images of the pool that are labelled first, `trivial` the main
    metric, its value for a prediction that looks at no image, and which that is.
    """
    sides: dict[str, Images] = {"pool": splits.train, "test": splits.test}
    if splits.val is not None:
        sides["validation"] = splits.val
    sides = {name: sides[name] for name in SIDES if name in sides}
    images, everything = splits.train, replace(splits.train, rows=np.arange(len(splits.train.pixels)))
    used = np.concatenate([side.rows for side in sides.values()])
    unused = everything.subset(np.setdiff1d(everything.rows, used))
    all_used = everything.subset(used)
    found: Inventory = {
        "dataset": plain(images.dataset),
        "kind": images.kind,
        "images": len(used),
        "parts": [
            {"name": name, "images": len(side), "official": _parts(side) if name == "test" else []}
            for name, side in sides.items()
        ],
        "unused": _parts(unused),
        "size": {
            "heights": _range(all_used.shapes[:, 0]),
            "widths": _range(all_used.shapes[:, 1]),
            "different": len(np.unique(all_used.shapes, axis=0)),
        },
        "channels": np.unique(images.pixels.shapes[used, 2]).tolist(),
        "values": _values(all_used),
        "unit": UNITS.get(images.kind, "images that hold it"),
        "notes": [[kind, plain(sentence)] for kind, sentence in images.notes[:MOST_NOTES]],
        "more_notes": max(0, len(images.notes) - MOST_NOTES),
        "volumes": slices.volumes_of(sides),
        "patients": _patients(sides),
        "alike": _alike(sides),
    }
    counted = {"start": images.subset(start)} if start is not None else {}
    found |= _classes(images.classes, counted | sides)
    if trivial:
        found["trivial"] = dict(zip(("metric", "value", "words"), trivial, strict=True))
    return found | {"warnings": warnings_of(found)}


def warnings_of(found: Inventory) -> list[str]:
    """What is likely to be a mistake, or makes numbers worth little, in sentences."""
    said = [sentence for kind, sentence in found["notes"] if kind == WARNING]
    sizes = {part["name"]: part["images"] for part in found["parts"]}
    if sizes["test"] < FEW_TEST:
        said.append(f"the test part has {_many(sizes['test'], 'image')}: its numbers mean little.")
    if found["boxes_in_test"] == 0:
        said.append("no image of the test part has a box: nothing can be measured on it.")
    whole = {name for name in sizes if not found["sampled"].get(name)}
    classes = found["classes"][1:] if found["kind"].endswith("map") else found["classes"]
    for side, rare in (("pool", {0: "no image of the pool shows"}), ("test", {0: "no", 1: "only one"})):
        for count, words in rare.items() if side in whole else ():
            names = [each["name"] for each in classes if each["images_with"][side] == count]
            if names:
                sentence = words if side == "pool" else f"{words} image of the test part shows"
                said.append(f"{sentence} {_listed(names, 10)}.")
    if found["values"]["different"] < FEW_VALUES:
        few = f"only {found['values']['different']} different values"
        said.append(f"{_many(found['values']['images'], 'image')} that were looked at hold {few}.")
    for both in found["patients"]["on_both_sides"]:
        who = f": {_listed(both['first'], FIRST, both['patients'])}" if both["first"] else ""
        said.append(f"{_many(both['patients'], 'patient')} {_are(both['patients'])} in {both['sides']}{who}.")
    for pair in found["alike"]:
        looks = "looks" if pair["images"] == 1 else "look"
        first = f": {', '.join(f'{b} like {a}' for a, b in pair['first'])}" if pair["first"] else ""
        said.append(f"{_many(pair['images'], 'image')} of {pair['b']} {looks} like one of {pair['a']}{first}.")
    return list(dict.fromkeys(said))


def without_names(found: Inventory) -> Inventory:
    """An inventory to be shown to others: no patient and no image is named, and files without their folders."""
    notes = [[kind, FOLDERS.sub("", sentence)] for kind, sentence in found["notes"]]
    both = [{**each, "first": []} for each in found["patients"]["on_both_sides"]]
    alike = [{**each, "first": []} for each in found["alike"]]
    shown = {**found, "notes": notes, "patients": {**found["patients"], "on_both_sides": both}, "alike": alike}
    return shown | {"warnings": warnings_of(shown)}


def lines(found: Inventory, full: bool = False) -> list[str]:
    """An inventory in words: a few lines, or all that is known."""
    size, values = found["size"], found["values"]
    sides = f"{_between(size['heights'])} x {_between(size['widths'])} pixels (height x width)"
    sides += f", {size['different']} sizes" if size["different"] > 1 else ""
    channels = " or ".join(map(str, found["channels"]))
    head = f"What was read: {_many(found['images'], 'image')} of {found['dataset']}, {sides}, {channels} "
    head += f"channel{'s' * (channels != '1')}, values {values['min']} to {values['max']}"
    if full:
        head += f" in {_many(values['images'], 'image')} of them, 98 % of these {values['low']} to {values['high']}"
    said = [head]
    counted = {part["name"]: part for part in found["parts"]}
    for name in ("start", *counted):
        if name in counted or name in found["counted"]:
            said.append(_row(name, _side(found, name, counted.get(name), full)))
    if found["unused"]:
        many = ", ".join(f"{name} {n}" for name, n in found["unused"])
        said.append(_row("unused", f"{many}: in no part of this division"))
    said += [_row(title, text) for title, text in slices.words(found.get("volumes")).items()]
    said.append(_row("patients", _of_patients(found["patients"])))
    if full and not found["alike"]:
        said.append(_row("alike", "no image of one part looks like one of another"))
    if "trivial" in found:
        trivial = found["trivial"]
        said.append(_row("trivial", f"{trivial['metric']} {trivial['value']:.4f} ({trivial['words']})"))
    told = [(kind, sentence) for kind, sentence in found["notes"] if kind != WARNING]
    for kind in dict.fromkeys(kind for kind, _ in told):
        of_kind = [sentence for other, sentence in told if other == kind]
        said += [_row(kind, sentence) for sentence in of_kind[: None if full else FIRST]]
        if len(of_kind) > FIRST and not full:
            said.append(_row("", f"... and {len(of_kind) - FIRST} more: the command check tells all"))
    if found["more_notes"]:
        said.append(_row("", f"... and {found['more_notes']} more notes"))
    return said + [_row("warning", sentence) for sentence in found["warnings"]]


def plain(text: object) -> str:
    """A name of the user's as text that every terminal, file and database takes."""
    whole = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)


def _side(found: Inventory, name: str, part: Mapping[str, Any] | None, full: bool) -> str:
    """How many images one side has, and of which classes."""
    most = MOST_CLASSES if full else SHOWN
    classes = [f"{each['name']} {each['counts'][name]}" for each in found["classes"][:most]]
    others = found["more_classes"] + max(0, len(found["classes"]) - most)
    classes += [f"and {others} more"] if others else []
    unit = "" if found["kind"] == "class" else f"{found['unit']}: "
    images = part["images"] if part else found["counted"][name]
    said = _many(images, "image")
    if part and len(part["official"]) > 1:
        said += f" ({', '.join(f'{official} {n}' for official, n in part['official'])})"
    if name == "start":
        said += " of the pool, labelled first"
    if name in found["sampled"]:
        said += f", {found['sampled'][name]} of them counted"
    said += f"; {unit}{', '.join(classes)}"
    return f"{said} (known here because this is a simulation)" if name == "pool" else said


def _of_patients(patients: Mapping[str, Any]) -> str:
    if not any(patients["named"].values()):
        volumes = "; each volume counts as one" if patients.get("volumes") else ""
        return f"not known: images of one patient may be on both sides{volumes}"
    said = ", ".join(f"{n} in {side}" for side, n in patients["named"].items())
    said += f"; {_many(patients['without'], 'image')} without" if patients["without"] else ""
    return said + ("" if patients["on_both_sides"] else "; none on both sides")


def _classes(names: Sequence[str], sides: Mapping[str, Images]) -> Inventory:
    """For every class what is counted of it, and the images that hold it, on each side."""
    counts, images_with, sampled = {}, {}, {}
    for side, images in sides.items():
        counts[side], images_with[side], looked_at = counts_of(images)
        if looked_at < len(images):
            sampled[side] = looked_at
    table = [
        {
            "name": plain(name),
            "counts": {side: int(counts[side][k]) for side in sides},
            "images_with": {side: int(images_with[side][k]) for side in sides},
        }
        for k, name in enumerate(names)
    ]
    boxes = sides["test"].kind == "boxes"
    return {
        "classes": table[:MOST_CLASSES],
        "more_classes": max(0, len(table) - MOST_CLASSES),
        "counted": {side: len(images) for side, images in sides.items()},
        "sampled": sampled,
        "boxes_in_test": int(counts["test"].sum()) if boxes else None,
    }


def counts_of(images: Images) -> tuple[Int[ndarray, " c"], Int[ndarray, " c"], int]:
    """Of each class what is counted (images or boxes) and the images that hold it; and of how many images this is."""
    n, n_classes = len(images), len(images.classes)
    pixels = images.shapes.prod(1).mean() if images.kind.endswith("map") else 1
    looked_at = np.unique(np.linspace(0, n - 1, min(n, max(1, int(MOST_PIXELS / pixels)))).round().astype(np.int64))
    counts, images_with = np.zeros(n_classes, np.int64), np.zeros(n_classes, np.int64)
    for i in looked_at:
        target = images.target(i).numpy()
        of_class = target[:, 4].astype(np.int64) if images.kind == "boxes" else target.reshape(-1)
        number = np.bincount(of_class, minlength=n_classes)[:n_classes]  # pixels to be ignored are beyond the classes
        counts += number if images.kind == "boxes" else number > 0
        images_with += number > 0
    return counts, images_with, len(looked_at)


def _values(images: Images) -> dict[str, int]:
    """Where the stored values of a sample lie."""
    sample = np.unique(np.linspace(0, len(images) - 1, min(len(images), SAMPLE)).round().astype(np.int64))
    histogram = sum(np.bincount(images.raw(i).reshape(-1), minlength=256) for i in sample)
    present, shares = np.flatnonzero(histogram), np.cumsum(histogram) / np.sum(histogram)
    low, high = (int(np.searchsorted(shares, share)) for share in (0.01, 0.99))
    ends = {"min": int(present[0]), "low": low, "high": high, "max": int(present[-1])}
    return {"images": len(sample), **ends, "different": len(present)}


def _patients(sides: Mapping[str, Images]) -> Inventory:
    known = {name: set(side.patients.tolist()) - {""} for name, side in sides.items()}
    volumes = {name: set(side.patients[side.patients == side.volumes].tolist()) - {""} for name, side in sides.items()}
    named = {name: known[name] - volumes[name] for name in sides}  # of a volume without a patient it takes the place
    without = sum(int(np.isin(side.patients, ["", *volumes[name]]).sum()) for name, side in sides.items())
    both = []
    for one, other in combinations(named, 2):
        if shared := sorted(known[one] & known[other]):
            first = [plain(patient) for patient in shared[:FIRST]]
            both.append({"sides": f"{one} and {other}", "patients": len(shared), "first": first})
    counted = {"named": {name: len(who) for name, who in named.items()}, "volumes": sum(map(len, volumes.values()))}
    return counted | {"without": without, "on_both_sides": both}


def _alike(sides: Mapping[str, Images]) -> list[Inventory]:
    """For every two sides how many images of the second look like one of the first, and the first of them."""
    looks, found = {name: looks_of(side) for name, side in sides.items()}, []
    for one, other in combinations(sides, 2):
        if pairs := list(alike(looks[one], looks[other])):
            a, b = sides[one], sides[other]
            first = [[plain(a.subset([i]).names[0]), plain(b.subset([j]).names[0])] for i, j in pairs[:FIRST]]
            found.append({"a": one, "b": other, "images": len(pairs), "first": first})
    return found


def _parts(images: Images) -> list[list[Any]]:
    return [[plain(part), n] for part, n in sorted(Counter(images.parts.tolist()).items())]


def _range(values: Int[ndarray, " n"]) -> list[int]:
    return [int(values.min()), int(values.max())]


def _between(ends: Sequence[int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _listed(names: Sequence[str], most: int, total: int | None = None) -> str:
    others = (len(names) if total is None else total) - len(names[:most])
    return ", ".join(names[:most]) + (f" and {others} more" if others else "")


def _row(name: str, text: str) -> str:
    return f"  {name:<11}{text}"
