"""Who is asked for what: the test part of a folder, what has changed in it since, and what labels are waited for."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from data.names import Refused
from data.splits import divide
from data.store import Images
from experiments.rounds.state import Asked, Rounds, checksums

MOST_TEST, SHARE_TEST = 25, 5  # images that are set aside unless an option says how many, or one of so many
NAMED = 5  # images, in a sentence


def begin(images: Images, n_test: int, rng: np.random.Generator) -> Rounds:
    """A study before its first list: the folder's own test part, or `n_test` images at random, by whole patients.

    -1 is MOST_TEST images, or of a smaller folder a fifth. It makes no difference whether an image is labelled already:
    the test part is to be like the folder. Refused where nothing would be left to learn from.
    """
    names, parts = np.array(images.names), images.parts
    own = np.flatnonzero([str(part).startswith("test") for part in parts])
    rest = np.flatnonzero(parts == "train")
    if len(own):
        return Rounds(classes=list(images.classes), order=names[rest].tolist(), test=names[own].tolist())
    n = len(rest)
    count = min(MOST_TEST, n // SHARE_TEST) if n_test < 0 else n_test
    if count >= n:
        raise Refused(f"n_test={count} of {n} images leaves none to learn from: set n_test={n // SHARE_TEST}, or 0")
    whose = images.patients[rest]
    kept, held = divide(n, count, rng, whose if (whose != "").any() else None)
    if not len(kept) or (count and not len(held)):
        raise Refused(
            f"n_test={count} of the {n} images cannot be set aside without dividing a patient: set n_test=0, which "
            "measures nothing, or bring images of more patients"
        )
    return Rounds(classes=list(images.classes), order=names[rest[kept]].tolist(), test=names[rest[held]].tolist())


def require_classes(state: Rounds, images: Images) -> None:
    """Refused where the classes are others than before."""
    if list(images.classes) != state.classes:
        before, now = ", ".join(state.classes), ", ".join(images.classes)
        raise Refused(f"the classes are {now}, before they were {before}: another out= or resume=fresh begins anew")


def take_in(state: Rounds, images: Images) -> list[str]:
    """Bring the state to the folder as it is now; says in sentences what came, went, or was labelled otherwise.

    Images that came are to learn from, but for those of the test part that were away, and those of its patients, which
    join it. Patients that are told otherwise now are brought to one side, see `_apart`. Refused where nothing to learn
    from is left.
    """
    now, known = set(images.names), {*state.order, *state.test}
    gone = [name for name in (*state.order, *state.test) if name not in now]
    parts = dict(zip(images.names, images.parts.tolist(), strict=True))
    whose = dict(zip(images.names, images.patients.tolist(), strict=True))
    held = {whose[name] for name in state.test if name in now} - {""}
    back = [name for name in state.away if name in now]
    held |= {whose[name] for name in back} - {""}
    came = [name for name in images.names if name not in known and not parts[name].startswith("val")]
    to_test = [name for name in came if parts[name].startswith("test") or whose[name] in held or name in back]
    said = [f"{_many(gone, 'image')} of before {_are(gone)} no longer there: {listed(gone)}."] if gone else []
    said += [f"{_many(came, 'image')} {_are(came)} new: {listed(came)}."] if came else []
    if back:
        said.append(f"{_many(back, 'image')} of the test part {_are(back)} back, to measure with: {listed(back)}.")
    if kin := [name for name in to_test if whose[name] in held and name not in back]:
        said.append(f"{_many(kin, 'image')} {_are(kin)} of patients of the test part and join it: {listed(kin)}.")
    state.away = sorted({name for name in (*state.away, *state.test) if name not in now})
    state.order = [name for name in state.order if name in now] + [n for n in came if n not in set(to_test)]
    state.test = [name for name in state.test if name in now] + to_test
    said += _apart(state, whose) if not any(part.startswith("test") for part in parts.values()) else []
    test, order = set(state.test), set(state.order)
    state.stop = [name for name in state.stop if name in order] if state.stop is not None else None
    state.asked = [_on_its_side(each, test) for each in state.asked if each.name in now]
    labels = checksums(images)
    before = {**state.labels, **state.tested}
    lost = [name for name in before if name in now and name not in labels]
    corrected = [name for name, label in before.items() if name in labels and labels[name] != label]
    said += [f"{_many(lost, 'image')} {_have(lost)} lost the label of before: {listed(lost)}."] if lost else []
    if corrected:
        said.append(f"{_many(corrected, 'label')} {_are(corrected)} another than before: {listed(corrected)}.")
    asked = {each.name for each in state.asked}
    unasked = [name for name in labels if name not in before and name not in asked] if state.round else []
    if unasked:
        said.append(f"{_many(unasked, 'image')} {_are(unasked)} labelled that nobody asked for: {listed(unasked)}.")
    if not state.order:
        raise Refused("no image is left to learn from: all others are of the test part")
    return said


def _apart(state: Rounds, whose: Mapping[str, str]) -> list[str]:
    """Bring patients with images on both sides, which were told after the division, to one; says so in a sentence.

    The test part is made anew of whole patients of whom no image was learnt from, as many images as before or a few
    more: first of those that it had, in an order that nothing hangs on. Others are to learn from.
    """
    both = {whose[name] for name in state.test} & {whose[name] for name in state.order} - {""}
    if not both:
        return []
    learnt = {whose[name] for name in state.labels if name in whose}
    of_patient: dict[str, list[str]] = {}
    for name in (*state.order, *state.test):
        of_patient.setdefault(whose[name], []).append(name)
    before, test = set(state.test), [name for name in state.test if whose[name] not in both]
    fresh = set(of_patient) - learnt - {whose[name] for name in test} - {""}
    for patient in sorted(fresh, key=lambda patient: (patient not in both, zlib.crc32(patient.encode()))):
        if len(test) >= len(before):
            break
        test += of_patient[patient]
    now = set(test)
    joined, left = [name for name in test if name not in before], [name for name in state.test if name not in now]
    state.order = [name for name in (*state.order, *left) if name not in now]
    state.test = test
    moved = f"{_many(joined, 'image')} joined it, {len(left)} are to learn from now"
    return [
        f"{_many(sorted(both), 'patient')} had images to learn from and in the test part ({listed(sorted(both))}): the "
        f"test part has {_many(test, 'image')} of other patients now; {moved}. Earlier numbers are of the old one."
    ]


def _on_its_side(asked: Asked, test: Collection[str]) -> Asked:
    """An image of the list, as what it is asked for now."""
    if (asked.name in test) == (asked.part == "test"):
        return asked
    return replace(asked, part="test" if asked.name in test else "start", score=None)


def counted(state: Rounds, images: Images) -> str:
    """How many images there are to learn from and to measure with, and how many of these are labelled."""
    test = np.isin(images.names, state.test)
    labelled, others = images.labelled, ~test & (images.parts != "val")
    told = [f"{int((labelled & which).sum())} of {int(which.sum())}" for which in (others, test)]
    return f"{len(images)} images: {told[0]} to learn from are labelled, {told[1]} to measure with."


def waiting(state: Rounds, images: Images) -> list[Asked]:
    """Of the last list, what has no label yet, in its order."""
    labelled = dict(zip(images.names, images.labelled.tolist(), strict=True))
    return [each for each in state.asked if not labelled.get(each.name, True)]


def is_news(state: Rounds, images: Images) -> bool:
    """Whether any label came, went or changed since the last model learnt or was measured."""
    labels, test = checksums(images), set(state.test)
    learnt = {name: label for name, label in labels.items() if name not in test}
    return learnt != state.labels or {n: x for n, x in labels.items() if n in test} != state.tested


def listed(names: Sequence[str]) -> str:
    """The first of many names."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _many(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}{'s' * (len(names) != 1)}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
