"""Every dataset of the three tasks is found by name, with its options and their limits."""

import sys

import numpy as np
import pytest

from data import catalogue, load
from data.limits import Between
from data.names import Missing, Refused
from data.sets.medmnist import SETS

EVERY = [(task, name) for task in catalogue.CATALOGUE for name in catalogue.names(task)]
BUILT_IN = {("classify", "digits"), ("segment", "heart_phantom"), *((task, "phantom") for task in catalogue.CATALOGUE)}


def test_every_name_is_there():
    classify = "phantom digits nct isic2020 cifar10 eurosat oct braintumor brain_tumor_mri gaps ksdd2 ksdd imagenet folder labelstudio"
    assert set(catalogue.names("classify")) == {*classify.split(), *SETS}
    segment = "acdc coco dsb2018 folder glas heart_phantom labelstudio phantom yolo"
    assert catalogue.names("segment") == segment.split()
    assert catalogue.names("detect") == ["bccd", "busi", "coco", "deeplesion", "labelstudio", "phantom", "voc", "yolo"]
    assert {name for task, name in EVERY if catalogue.module_of(task, name) == "data.sets.medmnist"} == set(SETS)
    assert {name for _, name in EVERY} >= catalogue.OWN


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_a_name_leads_to_a_loader_whose_options_have_limits(task, name):
    assert callable(catalogue.loader(task, name))
    assert catalogue.module_of(task, name) in sys.modules
    for option, (default, limit) in catalogue.options(task, name).items():
        assert option not in catalogue.GIVEN
        catalogue.check(task, name, {option: default})
        if type(default) in (int, float):
            assert limit is not None, option
            for value in (-1, 1e400, "abc", None, True, b"1", float("nan"), 1j):
                if value == -1 and isinstance(limit, Between) and limit.low <= -1:
                    continue
                with pytest.raises(Refused, match=rf"dataset '{name}': (unknown )?{option}[= ]"):
                    catalogue.check(task, name, {option: value})


@pytest.mark.parametrize(("task", "name"), sorted(set(EVERY) - BUILT_IN))
def test_missing_data_show_what_is_expected(task, name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "medmnist", None)
    (tmp_path / "empty").mkdir()
    root = tmp_path / ("nowhere" if name in (*catalogue.OWN, "ksdd") else "empty")
    with pytest.raises(Missing, match="expected this tree|put .*npz there"):
        load(task, name, root, cache_root=tmp_path / "cache", **({"image_size": 32} if task == "classify" else {}))


@pytest.mark.parametrize(
    ("task", "wrong", "right"),
    [("classify", "ntc", "nct"), ("classify", "cifar", "cifar10"), ("classify", "pathmist", "pathmnist")]
    + [("classify", "ksd2", "ksdd2"), ("segment", "gals", "glas"), ("detect", "deeplesions", "deeplesion")],
)
def test_typing_errors_find_the_nearest_name(tmp_path, task, wrong, right):
    with pytest.raises(Refused, match=f"unknown dataset '{wrong}'. Did you mean '{right}'\\? Known: "):
        load(task, wrong, tmp_path)


def test_what_cannot_be_used_says_why(tmp_path):
    with pytest.raises(Refused, match="chestmnist gives each image 14 yes-or-no labels"):
        catalogue.check("classify", "chestmnist", {})
    with pytest.raises(Refused, match="unknown task 'clasify'. Did you mean 'classify'"):
        catalogue.names("clasify")
    with pytest.raises(Refused, match="dataset 'digits' has no option 'repeats'. Did you mean 'repeat'"):
        load("classify", "digits", tmp_path, repeats=2)
    with pytest.raises(Refused, match="dataset 'nct' has no option 'repeat'.* Its options: normalised"):
        catalogue.check("classify", "nct", {"repeat": 2})
    for option in catalogue.GIVEN:
        with pytest.raises(Refused, match=f"dataset_options.{option} is no option of a dataset"):
            catalogue.check("classify", "nct", {option: 1})


def test_values_of_the_wrong_type_or_out_of_range(tmp_path):
    for chosen in ({"repeat": "4"}, {"repeat": 2.5}, {"repeat": True}, {"noise": "much"}):
        with pytest.raises(Refused, match="dataset 'digits': .* must be a"):
            catalogue.check("classify", "digits", chosen)
    catalogue.check("classify", "digits", {"repeat": 4, "noise": 0})
    for size in (0, -1, 10_000):
        with pytest.raises(Refused, match="image_size="):
            load("classify", "digits", tmp_path, image_size=size)


def test_the_phantom_is_painted_at_the_size_asked_for(tmp_path):
    images = load("classify", "phantom", tmp_path, image_size=24, n_pool=12, n_test=9)
    assert images.raw(0).shape == (24, 24, 3) and len(images.part("train")) == 12 and len(images.part("test")) == 9
    assert load("classify", "phantom", tmp_path, image_size=None, n_pool=1, n_test=9).raw(0).shape == (32, 32, 3)
    assert load("segment", "phantom", tmp_path, n_pool=2, n_test=1).kind == "instance_map"
    assert load("detect", "phantom", tmp_path, n_pool=2, n_test=1).kind == "boxes"


def test_load_passes_options_on_and_uses_the_cache(tmp_path):
    kept = tmp_path / "kept"
    images = load("classify", "digits", tmp_path, image_size=16, cache_root=kept, repeat=2)
    assert len(images) == 2 * 1297 + 500 and images.kind == "class" and images.raw(0).shape == (16, 16, 1)
    (folder,) = (path for path in kept.iterdir() if path.is_dir())
    written = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = load("classify", "digits", tmp_path, image_size=16, cache_root=kept, repeat=2)
    np.testing.assert_array_equal(again.raw(9), images.raw(9))
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    load("classify", "digits", tmp_path, image_size=None, cache_root=kept)
    assert len([path for path in kept.iterdir() if path.is_dir()]) == 2
