"""Tables with random damage are read or end in a sentence, never in a traceback."""

import numpy as np
import pytest

from data import notes
from data.formats.class_table import read
from data.formats.patients import patients_of
from data.names import Refused
from tests.data.pictures import save

N = 12
ROWS = [f"pics/{i}.png,{'ab'[i % 2]},P{i // 3},{('train', 'test')[i > 8]}" for i in range(N)]
TEXTS = (
    "\n".join(["file,label,patient,part", *ROWS]),
    "\r\n".join(["Image;Class", *(f'"pics/{i}.png";bös{i % 2}' for i in range(N))]),
    "\n".join(["file\tlabel\tfold", *(f"pics\\{i}.png\t{i % 2}\t{i % 3}" for i in range(N))]),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")
PIECES = [b"\0", b'"', b",", b";", b"\t", b"\n", b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b"/", b"\\", b"..", b"~", b" "]
PIECES += [b"nan", b"\xc3", b"1e999", b"|", b"C:", b"%s", b"{}", b"\xed\xa0\x80", b"." * 300, b"a" * 300, b"[", b"*"]


def damaged(text: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(text) + 1)), int(rng.integers(1, 10))
        text = [
            text[:at] + PIECES[rng.integers(len(PIECES))] + text[at:],
            text[:at] + text[at + length :],
            text[:at] + rng.bytes(1) + text[at + 1 :],
            text[:at] + text[max(0, at - 30) :],
            text[:at],
        ][rng.integers(5)]
    return text


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_table_ends_in_a_sentence(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for i in range(N):
        save(tmp_path / "pics" / f"{i}.png", i)
    ended = {"read": 0, "refused": 0}
    for _ in range(40):
        text = TEXTS[rng.integers(len(TEXTS))].encode(ENCODINGS[rng.integers(len(ENCODINGS))])
        (tmp_path / "labels.csv").write_bytes(damaged(text, rng))
        missing, fold = ("refuse", "leave_out", "keep")[rng.integers(3)], int(rng.integers(-1, 3))
        try:
            with notes.collecting():
                found = read(tmp_path, tmp_path / "labels.csv", missing, fold)
                (tmp_path / "patients.csv").write_bytes((tmp_path / "labels.csv").read_bytes())
                patients_of([entry.file.relative_to(tmp_path).as_posix() for entry in found], tmp_path)
            ended["read"] += 1
        except Refused as sentence:
            assert len(str(sentence)) < 1000
            ended["refused"] += 1
        (tmp_path / "patients.csv").unlink(missing_ok=True)
    assert sum(ended.values()) == 40 and ended["refused"]
