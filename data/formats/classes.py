"""Classes from the labels that people write: spellings of one class, its name, the order of all."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.formats import endings
from data.formats.tables import read_text
from data.formats.words import alike
from data.names import Refused, suggestion
from data.notes import CHANGED, GUESSED, WARNING, note

SPELLINGS = ("refuse", "merge", "keep")
LIST = "classes.txt"


def order(label: str) -> tuple:
    """Sort key: numbers by value before text, text naturally ('grade 2' before 'grade 10')."""
    if re.fullmatch(r"[+-]?\d+([.,]\d+)?", label):
        return 0, float(label.replace(",", ".")), []
    return 1, 0.0, endings.natural(label)


def images_in_words(count: int) -> str:
    return f"{count} image{'s'[: count != 1]}"


def one_spelling(counts: Mapping[str, int], source: str, spellings: str) -> dict[str, str]:
    """Label -> label, where spellings of one class ('Benign' and 'benign', '1' and '1.0') become the most frequent one.

    `spellings` is 'refuse', 'merge' (noted with the counts) or 'keep' (several classes, with a warning); `source` is
    where the labels come from.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        groups[alike(label)].append(label)
    chosen = {label: label for label in counts}
    for labels in groups.values():
        if len(labels) == 1:
            continue
        labels.sort(key=lambda label: (-counts[label], label))
        listed = " and ".join(f"{label!r} ({images_in_words(counts[label])})" for label in labels)
        if len({label.isascii() for label in labels}) > 1:
            listed += f" (letters that look alike: {' and '.join(map(ascii, labels))})"
        if spellings == "refuse":
            raise Refused(
                f"{source}: {listed} may be one class; correct the labels, or say dataset_options.spellings=merge "
                "for one class, spellings=keep for several"
            )
        if spellings == "merge":
            chosen |= dict.fromkeys(labels, labels[0])
            note(CHANGED, f"{source}: {listed} are one class, {labels[0]!r}.")
        else:
            note(WARNING, f"{source}: {listed} are different classes.")
    return chosen


def note_alike(names: Sequence[str], source: str) -> None:
    """Warn of names that may be spellings of one class."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[alike(name)].append(name)
    for several in groups.values():
        if len(several) > 1:
            note(WARNING, f"{source}: {' and '.join(map(repr, several))} are read as different classes.")


def named(labels: Sequence[str], names: Sequence[str], root: Path, source: str) -> tuple[dict[str, str], list[str]]:
    """Label -> class, and the classes in order: as `names` or else `root`/classes.txt say, else the labels themselves.

    Each name, or line, is a label (then they only give the order), a label and its class ('0: benign', 'n01440764
    tench'), or the class of the labels 0, 1, ... (or 1, 2, ...). Refused for a label that has no class.
    """
    told = f"class_names={list(names)}" if names else str(root / LIST)
    lines = lines_of(names, root)
    if not lines:
        return {label: label for label in labels}, sorted(labels, key=order)
    if len(set(lines)) < len(lines):
        raise Refused(f"{told} names {Counter(lines).most_common(1)[0][0]!r} twice, expected every class once")
    known = {alike(line): line for line in lines}
    if all(alike(label) in known for label in labels):
        classes = {label: known[alike(label)] for label in labels}
    elif pairs := _pairs(lines, labels):
        classes, lines = {label: pairs[alike(label)] for label in labels}, list(dict.fromkeys(pairs.values()))
    else:
        classes = _numbered(lines, labels, told, source)
    without = [line for line in lines if line not in classes.values()]
    if labels and without:  # where nothing is labelled yet, no class can be missed
        note(WARNING, f"{source}: no image is of class {', '.join(map(repr, without))}, which {told} names.")
    return classes, lines


def lines_of(names: Sequence[str], root: Path) -> list[str]:
    """`names`, or else the lines of `root`/classes.txt; [] where there is none."""
    lines = [str(name).strip() for name in names]
    if not lines and (root / LIST).is_file():
        lines = [line.strip() for line in read_text(root / LIST).splitlines() if line.strip()]
    return lines


def is_named(label: str, lines: Sequence[str]) -> bool:
    """Whether one of the lines could give a label its class, in any of the ways that `named` knows."""
    halves = [half for line in lines for half in re.split(r"\s*[:;,=\s]\s*", line, maxsplit=1)]
    return alike(label) in map(alike, [*lines, *halves]) or alike(label).isdigit()


def require_classes(counts: Mapping[str, int], source: str) -> None:
    """Refused for fewer than two classes, or where most images would be alone in their class.

    Warned of where labels are numbers with decimals, or join two other labels.
    """
    total = sum(counts.values())
    if len(counts) < 2:
        only = f" ({next(iter(counts))!r})" if counts else ""
        raise Refused(f"{source} has {total} images of {len(counts)} classes{only}, expected at least two labels")
    if 2 * len(counts) > max(total, 4):
        some = ", ".join(repr(label) for label in list(counts)[:4])
        raise Refused(
            f"{source} has {len(counts)} different labels ({some} ...) for {total} images; expected a few classes with "
            "several images each: are these numbers or names of the images?"
        )
    _note_strange(counts, source)


def _note_strange(counts: Mapping[str, int], source: str) -> None:
    """Warn of labels that are rather measured than classes, or two labels of one image."""
    measured = [label for label in counts if re.fullmatch(r"[+-]?\d*[.,]\d*[1-9]\d*", label)]
    if len(measured) > 1:
        some = ", ".join(map(repr, measured[:3]))
        note(
            WARNING, f"{source}: {len(measured)} labels are numbers with decimals ({some}): each is a class of its own."
        )
    known = set(map(alike, counts))
    for label in counts:
        pieces = [alike(piece) for piece in re.split(r"[|;,/+&]", label)]
        if len(pieces) > 1 and all(piece in known for piece in pieces):
            several = f"label {label!r} ({images_in_words(counts[label])}) joins others: it is a class of its own"
            note(WARNING, f"{source}: {several}, for an image has one class here.")


def _pairs(lines: Sequence[str], labels: Sequence[str]) -> dict[str, str] | None:
    """Label (as `alike`) -> class from lines such as '0: benign'; None where they do not hold every label."""
    split = [re.fullmatch(r"([^\s:;,=]+)\s*[:;,=\s]\s*(.+)", line) for line in lines]
    pairs = {alike(found[1]): found[2].strip() for found in split if found}
    whole = len(pairs) == len(lines) == len(set(pairs.values()))
    return pairs if whole and all(alike(label) in pairs for label in labels) else None


def _numbered(lines: Sequence[str], labels: Sequence[str], told: str, source: str) -> dict[str, str]:
    numbered = all(re.fullmatch(r"\d+", alike(label)) for label in labels)
    unknown = [label for label in labels if alike(label) not in map(alike, lines)]
    if not numbered:
        near = suggestion(unknown[0], lines)
        raise Refused(f"{source} has the label {unknown[0]!r}, which is none of {', '.join(lines)} of {told}.{near}")
    numbers = {label: int(alike(label)) for label in labels}
    first = 0 if min(numbers.values()) == 0 else 1
    if first and max(numbers.values()) < len(lines):
        raise Refused(
            f"{source} has no label 0 and none for the last of the {len(lines)} classes of {told}, "
            "so that they could count from 0 or from 1; write each as a label and its class, such as '1: benign'"
        )
    if max(numbers.values()) >= len(lines) + first:
        listed = ", ".join(sorted(labels, key=order))
        raise Refused(f"{told} names {len(lines)} classes, but {source} has the labels {listed}")
    classes = {label: lines[number - first] for label, number in numbers.items()}
    shown = ", ".join(f"{label} is {classes[label]!r}" for label in sorted(labels, key=order)[:5])
    note(GUESSED, f"{source}: label {shown}, by the order of {told}.")
    return classes
