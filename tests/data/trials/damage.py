"""Damage of all kinds to bytes, tables and whole folders."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.trials.drawing import Trial, composed, one_of

PIECES = [b"\0", b'"', b",", b";", b"\t", b"\n", b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b"/", b"\\", b"..", b"~", b" "]
PIECES += [b"nan", b"\xc3", b"1e999", b"|", b"C:", b"%s", b"{}", b"\xed\xa0\x80", b"." * 300, b"a" * 300, b"[", b"*"]
PIECES += [b"<", b">", b"&", b"</object>", b"]", b"}", b":", b"null", b"-1", b"true", b"Infinity", b"<!DOCTYPE x>"]


def of_bytes(whole: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, with other bytes (anywhere, or in the header), or with bytes put in between."""
    how, where = rng.integers(4), int(rng.integers(len(whole)))
    if how == 0:
        return whole[:where]
    if how == 3:
        return whole[:where] + rng.integers(0, 256, rng.integers(1, 30)).astype(np.uint8).tobytes() + whole[where:]
    changed = bytearray(whole)
    for place in rng.integers(0, len(whole) if how == 1 else min(len(whole), 400), rng.integers(1, 6)):
        changed[place] = rng.integers(256)
    return bytes(changed)


def of_text(text: bytes, rng: np.random.Generator, times: int) -> bytes:
    """With pieces of syntax put in, bytes lost or changed, a piece twice, or cut short."""
    for _ in range(times):
        at, length = int(rng.integers(len(text) + 1)), int(rng.integers(1, 10))
        text = [
            text[:at] + one_of(rng, PIECES) + text[at:],
            text[:at] + text[at + length :],
            text[:at] + rng.bytes(1) + text[at + 1 :],
            text[:at] + text[max(0, at - 30) :],
            text[:at],
        ][rng.integers(5)]
    return text


def of_picture(trial: Trial, rng: np.random.Generator) -> Callable[[], None]:
    """Damage the files of one picture (or exchange two of them); returns what mends it again."""
    name = one_of(rng, sorted(trial.files))
    file = one_of(rng, trial.files[name])
    before = {path: path.read_bytes() for path in trial.files[name]}
    made: list[Path] = []
    known, places = dict(trial.truth), dict(trial.files)
    how = one_of(rng, ["bytes"] * 5 + ["empty", "renamed", "mode", "exchanged", "text", "zeros", "doubled"])
    trial.damaged = frozenset({name})
    if how == "bytes":
        file.write_bytes(of_bytes(before[file], rng))
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "renamed":  # the content stays what it was
        made = [file.with_suffix(one_of(rng, [".png", ".jpg", ".bmp", ".tif", ".PNG", ".gif", ".txt", ""]))]
        called = composed(name[: -len(file.suffix)] + made[0].suffix)
        if made[0].exists() or called in known:
            made = []
        else:
            file.rename(made[0])
        if made and file == trial.files[name][0]:
            trial.truth[called], trial.files[called] = trial.truth[name], trial.files[name]
            trial.damaged = frozenset({name, called})
    elif how == "mode":
        picture = Image.open(io.BytesIO(before[file])) if file.suffix != ".dcm" else Image.new("L", (20, 20))
        picture.convert("RGB").convert(one_of(rng, ["L", "RGB", "1", "RGBA"])).save(file, "PNG")
    elif how == "exchanged":
        other = one_of(rng, [path for paths in trial.files.values() for path in paths])
        of = next(key for key, paths in trial.files.items() if other in paths)
        trial.damaged = frozenset({name, of})
        before[other] = other.read_bytes()
        file.write_bytes(before[other])
        other.write_bytes(before[file])
    elif how == "text":
        file.write_bytes(
            one_of(rng, [b"<!DOCTYPE html><html></html>", b"version https://git-lfs", b"\xff\xd8\xff", b"GIF89a"])
        )
    elif how == "zeros":
        file.write_bytes(bytes(len(before[file])))
    else:
        file.write_bytes(before[file] * 2)
    trial.told.append(f"{how} {file.relative_to(trial.root)}")

    def mend() -> None:
        for path in made:
            path.unlink(missing_ok=True)
        for path, content in before.items():
            path.write_bytes(content)
        trial.truth, trial.files, trial.damaged = known, places, frozenset()
        trial.told.pop()

    return mend


def of_table(trial: Trial, rng: np.random.Generator) -> Callable[[], None]:
    """Damage labels.csv; what the rows that are touched say is lost, all others must stay right."""
    file = next(path for path in trial.root.iterdir() if path.name.casefold() == "labels.csv")
    before = file.read_bytes()
    how = one_of(rng, ["text"] * 6 + ["bytes", "encoding", "empty", "lines"])
    if how == "text":
        after = of_text(before, rng, int(rng.integers(1, 4)))
    elif how == "bytes":
        after = of_bytes(before, rng)
    elif how == "encoding":
        after = before.decode().encode(one_of(rng, ["utf-16", "utf-16-be", "utf-32", "cp1252", "utf-7"]), "replace")
    elif how == "empty":
        after = one_of(rng, [b"", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe", b" "])
    else:
        lines = before.splitlines(keepends=True)
        after = b"".join(lines[k] for k in rng.permutation(len(lines)).tolist()[: rng.integers(1, len(lines) + 1)])
    file.write_bytes(after)
    foreign = [name for name, truth in trial.truth.items() if not (name + truth.target).isascii()]
    trial.damaged = frozenset(foreign if how == "encoding" else _touched(trial, before, after))
    trial.told.append(f"{how} labels.csv: {after[:1500]!r}")

    def mend() -> None:
        file.write_bytes(before)
        trial.damaged = frozenset()
        trial.told.pop()

    return mend


def _touched(trial: Trial, before: bytes, after: bytes) -> list[str]:
    """Names of the pictures whose line is not in the damaged table as it was; all where the header is another."""
    kept = {line.strip() for line in after.splitlines()}
    header, *lines = before.splitlines()
    if header.strip() not in kept:
        return list(trial.truth)
    lost = composed(b"\n".join(line for line in lines if line.strip() not in kept).decode())
    return [name for name in trial.truth if name.rpartition("/")[2].rpartition(".")[0] in lost.replace('""', '"')]
