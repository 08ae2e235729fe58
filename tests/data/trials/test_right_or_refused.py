"""Random and damaged folders are read right or refused by name, never wrong, never with another exception.

A few hundred in the default run; as many of each reader as ALIQUOT_TRIALS says (1000 without it) by

    python -m pytest -m trials tests/data/trials
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from data.names import Refused
from tests.data.trials import damage, own_boxes, own_classes, own_masks, own_painted
from tests.data.trials.drawing import CASES, blocks, require_sentence

READERS = {  # (draw, check, damage)
    "masks": (own_masks.draw, own_masks.check, damage.of_picture),
    "class folders": (own_classes.draw_tree, own_classes.check, damage.of_picture),
    "voc": (own_boxes.draw_voc, own_boxes.check, damage.of_picture),
    "coco": (own_boxes.draw_coco, own_boxes.check, damage.of_picture),
    "yolo": (own_boxes.draw_yolo, own_boxes.check, damage.of_picture),
    "volumes": (own_painted.draw_volumes, own_painted.check_volumes, own_painted.of_volume),
    "yolo polygons": (own_painted.draw_polygons, own_painted.check_painted, damage.of_picture),
    "brushes": (own_painted.draw_brushes, own_painted.check_painted, damage.of_picture),
    "class table": (own_classes.draw_table, own_classes.check, damage.of_table),
}
FEW = 20  # cases of each reader in the default run


def ends_well(trial, check) -> str:
    """'right' or 'refused'. An AssertionError, or any other, tells how the folder was drawn."""
    try:
        found, said = trial.read()
        if isinstance(found, Refused):
            require_sentence(found, trial)
            return "refused"
        check(trial, found, said)
        assert "MUST BE REFUSED" not in trial.told
        return "right"
    except Exception as error:
        error.add_note(f"drawn: {trial.told}, options {trial.options}")
        raise


@pytest.mark.parametrize(("reader", "seed"), blocks(list(READERS), FEW))
def test_a_random_folder_is_read_right_or_refused(tmp_path, reader, seed):
    draw, check, _ = READERS[reader]
    ended = Counter()
    for case in range(CASES):
        root = tmp_path / f"{case}" / "mine"
        root.mkdir(parents=True)
        ended[ends_well(draw(root, np.random.default_rng([seed, case])), check)] += 1
    assert ended["right"], "too much is refused"


@pytest.mark.parametrize(("reader", "seed"), blocks(list(READERS), FEW))
def test_a_damaged_folder_is_read_right_or_refused(tmp_path, reader, seed):
    draw, check, damaged = READERS[reader]
    (tmp_path / "mine").mkdir()
    rng = np.random.default_rng([seed, 10**6])
    trial = draw(tmp_path / "mine", rng, damage=True)
    assert ends_well(trial, check)
    for _ in range(CASES):
        mend = damaged(trial, rng)
        ends_well(trial, check)
        mend()
