"""segment.py from options to deliverables, on the built-in data."""

import csv
import json

import numpy as np
import pytest
import torch

from data.names import Refused
from data.phantoms.glands import glands
from data.store import Images
from experiments.segment import SCRIPT
from experiments.tasks import logits, segmentation
from heuristics import get, names
from heuristics.core.fitting import fitting
from tests.experiments.runs import curve_of, picks_of, run_in_process, status_of

SHORT = {"dataset_options": {"n_pool": 14, "n_test": 4}, "n_cycles": 1, "steps": 3, "mc_samples": 2}
FOR_MAPS = fitting(segmentation.GIVES)


def run(command="main", presets=("tiny",), **options):
    return run_in_process(SCRIPT, command, presets, **options)


@pytest.fixture(scope="module")
def first_round(tmp_path_factory, phantom_cache):
    """Round 0 that all heuristics of run 0 share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIQUOT_RUNS", str(tmp_path_factory.mktemp("first")))
        patch.setenv("ALIQUOT_CACHE", str(phantom_cache))
        folder = run(**SHORT, drawn=True)
        return {name: values[0] for name, values in curve_of(folder).items()}, picks_of(folder)[:4]


@pytest.mark.parametrize("heuristic", FOR_MAPS)
def test_every_heuristic_runs_and_shares_round_0(heuristic, first_round):
    """Same run: the same initial set and the same first model, to the last digit."""
    folder = run(**SHORT, heuristic=heuristic)
    curve, picks = curve_of(folder), picks_of(folder)
    assert {name: values[0] for name, values in curve.items() if not name.startswith("score_")} == first_round[0]
    assert picks[:4] == first_round[1] and len(set(picks)) == 7 and status_of(folder) == "COMPLETED"
    assert json.loads((folder / "run.json").read_text())["host"]["threads"] == torch.get_num_threads()


@pytest.mark.parametrize("heuristic", sorted(set(names()) - set(FOR_MAPS)))
def test_heuristics_of_whole_predictions_are_refused_for_maps(heuristic):
    with pytest.raises(Refused, match=f"heuristic '{heuristic}' needs .*, which a segmenter does not give"):
        run(**SHORT, heuristic=heuristic)


def test_a_strategy_with_a_chooser_takes_no_other_way_to_make_a_batch():
    with pytest.raises(Refused, match="select=power needs one score per image; heuristic 'clasp' chooses whole batches"):
        run(**SHORT, heuristic="clasp", select="power")
    with pytest.raises(Refused, match="aggregate=max would change nothing: heuristic 'clasp' has means of its own"):
        run(**SHORT, heuristic="clasp", aggregate="max")


def test_same_command_same_bits_and_other_run_other_numbers():
    first, again, other = (run(**SHORT, heuristic="bald", run=r, resume="fresh") for r in (1, 1, 2))
    assert curve_of(first) == curve_of(again) and picks_of(first) == picks_of(again)
    assert curve_of(first)["train_loss"][0] != curve_of(other)["train_loss"][0]
    assert set(picks_of(first)[:4]) != set(picks_of(other)[:4])


def test_workers_do_not_change_the_result():
    alone, helped = (run(**SHORT, workers=w, resume="fresh") for w in (0, 1))
    assert curve_of(alone) == curve_of(helped)


def test_deliverables(tmp_path):
    folder = run(
        heuristic="bald",
        dataset_options=SHORT["dataset_options"],
        save_maps=True,
        drawn=True,
        eval_samples=2,
        results_dir=str(tmp_path / "out"),
    )
    curve = np.load(folder / "curve.npy")
    assert curve["n_labelled"].tolist() == [4, 7, 10]
    measured = {"dice", "dice_pooled", "iou", "hd95", "object_f1", "object_dice", "object_hausdorff"}
    assert measured | {f"mc_{m}" for m in measured} | {"n_validation", "train_seconds", "loader_share"} <= set(
        curve.dtype.names
    )
    trivial = json.loads((folder / "info.json").read_text())["trivial"]
    assert set(trivial) == measured | {f"mc_{m}" for m in measured} and trivial["mc_dice"] == trivial["dice"] > 0.3
    picks = picks_of(folder)
    rows = list(csv.DictReader((folder / "picks.csv").read_text().splitlines()))
    assert [int(r["index"]) for r in rows] == picks and len(set(picks)) == 10
    assert [r["cycle"] for r in rows] == ["initial"] * 4 + ["0"] * 3 + ["1"] * 3
    assert all(float(r["score"]) >= 0 for r in rows[4:]) and rows[4]["score"] >= rows[5]["score"]
    assert all(r["file"].startswith("train_") for r in rows)
    for picture in ("curve.png", "cycle_00.png", "cycle_01.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert np.load(tmp_path / "out" / "bald_0.npy").tolist() == curve["dice"].tolist()


def test_older_results_are_never_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out" / "random_0.npy", [1.0, 2.0])
    for _ in range(2):
        run(**SHORT, results_dir=str(tmp_path / "out"), resume="fresh")
    assert np.load(tmp_path / "out" / "random_0.npy").tolist() == [1.0, 2.0]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["random_0-2.npy", "random_0.npy"]


def test_initial_set_takes_both_grades():
    folder = run(**SHORT, initial="stratified")
    pool = glands(14, 4).part("train")
    assert sorted(pool.groups[picks_of(folder)[:4]]) == [0, 0, 1, 1]


def test_labels_of_the_pool_change_no_pick(monkeypatch):
    """What lies in masks that were not labelled cannot reach a choice."""
    honest = picks_of(run(**SHORT, heuristic="entropy", aggregate="boundary"))
    true_target, noise, known = Images.target, np.random.default_rng(0), set(honest[:4])

    def scrambled(self, i):
        target = true_target(self, i)
        hidden = self.parts[i] == "train" and int(self.rows[i]) not in known
        return target if not hidden else target.new_tensor(noise.integers(0, 2, tuple(target.shape)))

    monkeypatch.setattr(Images, "target", scrambled)
    assert picks_of(run(**SHORT, heuristic="entropy", aggregate="boundary", resume="fresh")) == honest


def test_validation_images_are_spent_labels_outside_the_pool():
    folder = run(**{**SHORT, "dataset_options": {"n_pool": 20, "n_test": 4}}, n_val=4, val_every=1)
    assert curve_of(folder)["n_validation"] == [4.0, 4.0]
    rows = csv.DictReader((folder / "picks.csv").read_text().splitlines())
    assert all(r["file"].startswith(f"train_{int(r['index']):04d}") for r in rows), (
        "picks are indices of the whole dataset"
    )
    assert max(picks_of(folder)) >= 16 or len(set(picks_of(folder))) == 7


def test_supervised_trains_on_everything_and_evaluate_measures_the_saved_model(capsys):
    upper = run("supervised", **SHORT)
    assert curve_of(upper)["n_labelled"] == [14.0]
    folder = run(**SHORT)
    capsys.readouterr()
    ran = SCRIPT.run("evaluate", ["tiny"], **SHORT)
    assert ran.result == pytest.approx(curve_of(folder)["dice"][-1], abs=1e-12)
    with pytest.raises(Refused, match="no model at .*absent.pt: give checkpoint=<file>"):
        run("evaluate", **SHORT, checkpoint="absent.pt")
    with pytest.raises(Refused, match="curve.npy is damaged, or no file that torch can read safely$"):
        run("evaluate", **SHORT, checkpoint=str(folder / "curve.npy"))
    model = next((folder.parent / "resume").rglob("model-1.pt"))
    with pytest.raises(
        Refused, match="model-1.pt holds no weights that fit this model .*use the options it was trained"
    ):
        run("evaluate", **SHORT, checkpoint=str(model), width=8)


def test_metrics_see_float64_and_heuristics_float32(monkeypatch):
    asked, real = [], logits.from_logits

    def spy(*given):
        asked.append((given[2], {e.dtype for e in real(*given).values()}))
        return real(*given)

    monkeypatch.setattr(logits, "from_logits", spy)
    run(**SHORT, heuristic="bald", eval_samples=2)
    for_metrics, for_bald = frozenset({"probs", "mc_mean"}), get("bald").wants
    assert {wanted for wanted, _ in asked} == {for_metrics, for_bald} and for_metrics != for_bald
    assert all(dtypes == {torch.float64 if wanted == for_metrics else torch.float32} for wanted, dtypes in asked)


def test_warm_start_continues_from_the_last_weights():
    cold, warm = (run(**SHORT, start=s) for s in ("cold", "warm"))
    cold, warm = curve_of(cold)["train_loss"], curve_of(warm)["train_loss"]
    assert cold[0] == warm[0] and cold[1] != warm[1]


def test_own_folder_of_images_and_masks(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, n in (("train", 8), ("test", 3)):
        for kind in ("images", "masks"):
            (tmp_path / "mine" / kind / part).mkdir(parents=True)
        for i in range(n):
            mask = (np.add.outer(np.arange(40), np.arange(48)) > rng.integers(20, 60)).astype(np.uint8)
            Image.fromarray(
                np.repeat((mask * 120 + rng.integers(0, 99, mask.shape))[..., None], 3, 2).astype(np.uint8)
            ).save(tmp_path / "mine" / "images" / part / f"{part}{i}.jpg")
            mask[30:, 30:] = 2
            Image.fromarray(mask).save(tmp_path / "mine" / "masks" / part / f"{part}{i}.png")
    options = {"data_root": str(tmp_path / "mine"), "crop": 32, "n_initial": 2, "n_query": 2, "n_cycles": 2, "steps": 12}
    folder = run(presets=("tiny", "folder"), heuristic="bald", **options)
    curve = curve_of(folder)
    assert curve["n_labelled"] == [2, 4, 6] and "object_f1" not in curve
    of_classes = np.array([curve["dice[class 1]"], curve["dice[class 2]"]])  # every truth contains both
    assert np.allclose(of_classes.mean(0), curve["dice"])
    assert set(json.loads((folder / "metrics.json").read_text())) >= {"dice[class 1]", "dice[class 2]"}
    Image.new("L", (48, 39)).save(tmp_path / "mine" / "masks" / "train" / "train0.png")
    with pytest.raises(Refused, match="train0.png.*48.*39"):
        run(presets=("tiny", "folder"), **options)
