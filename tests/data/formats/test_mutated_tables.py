"""Tables with random damage are read or end in a sentence, never in a traceback."""

import numpy as np
import pytest

from data import notes
from data.formats.class_table import read
from data.formats.patients import patients_of
from data.names import Refused
from tests.data.pictures import save
from tests.data.trials.damage import of_text
from tests.data.trials.drawing import CASES, blocks

N = 12
ROWS = [f"pics/{i}.png,{'ab'[i % 2]},P{i // 3},{('train', 'test')[i > 8]}" for i in range(N)]
TEXTS = (
    "\n".join(["file,label,patient,part", *ROWS]),
    "\r\n".join(["Image;Class", *(f'"pics/{i}.png";bös{i % 2}' for i in range(N))]),
    "\n".join(["file\tlabel\tfold", *(f"pics\\{i}.png\t{i % 2}\t{i % 3}" for i in range(N))]),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")


@pytest.mark.parametrize(("reader", "seed"), blocks(["table"], 10 * CASES))
def test_a_damaged_table_ends_in_a_sentence(tmp_path, reader, seed):
    rng = np.random.default_rng(seed)
    for i in range(N):
        save(tmp_path / "pics" / f"{i}.png", i)
    ended = {"read": 0, "refused": 0}
    for _ in range(40):
        text = TEXTS[rng.integers(len(TEXTS))].encode(ENCODINGS[rng.integers(len(ENCODINGS))])
        (tmp_path / "labels.csv").write_bytes(of_text(text, rng, int(rng.integers(1, 4))))
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
