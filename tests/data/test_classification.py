import inspect
import sys

import numpy as np
import pytest
from data.classification import LOADERS, check, load, names, options

from data.sets.medmnist import SETS


def test_every_name_of_the_catalogue_is_there():
    required = ["phantom", "digits", "nct", "isic2020", "cifar10", "eurosat", "oct", "braintumor", "gaps", "ksdd2", "imagenet", "folder"]
    assert {*required, *SETS} <= set(names()) and names() == sorted(names())


@pytest.mark.parametrize("name", names())
def test_loaders_have_one_signature_and_documented_options(name):
    parameters = list(inspect.signature(LOADERS[name]).parameters.values())
    assert [p.name for p in parameters[:3]] == ["data_root", "image_size", "cache_root"]
    assert all(p.default is not inspect.Parameter.empty for p in parameters[3:])
    assert set(options(name)) == {p.name for p in parameters[3:]}


@pytest.mark.parametrize("name", sorted(set(names()) - {"digits", "phantom"}))
def test_missing_data_show_what_is_expected(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "medmnist", None)
    (tmp_path / "empty").mkdir()
    root = tmp_path / ("nowhere" if name in ("folder", "ksdd") else "empty")
    with pytest.raises(FileNotFoundError, match="expected this tree|put .*npz there"):
        load(name, root, 32)


def test_typing_errors_find_the_nearest_name(tmp_path):
    for wrong, right in (("ntc", "nct"), ("cifar", "cifar10"), ("pathmist", "pathmnist"), ("ksd2", "ksdd2")):
        with pytest.raises(ValueError, match=f"dataset='{wrong}' is unknown. Did you mean '{right}'"):
            load(wrong, tmp_path, 32)
    with pytest.raises(ValueError, match="chestmnist gives each image 14 yes-or-no labels"):
        check("chestmnist", 28)
    with pytest.raises(ValueError, match="dataset 'digits' has no option 'repeats'. Did you mean 'repeat'"):
        load("digits", tmp_path, None, repeats=2)
    with pytest.raises(ValueError, match="dataset 'nct' has no option 'repeat'. Its options: normalised"):
        check("nct", 32, repeat=2)


def test_values_of_the_wrong_type(tmp_path):
    for given in ({"repeat": "4"}, {"repeat": 2.5}, {"repeat": True}, {"noise": "much"}):
        with pytest.raises(ValueError, match="of dataset 'digits' must be a"):
            check("digits", None, **given)
    check("digits", 16, repeat=4, noise=0)
    for size in (0, -1, 10_000):
        with pytest.raises(ValueError, match="image_size="):
            load("digits", tmp_path, size)


def test_the_phantom_is_painted_at_the_size_asked_for(tmp_path):
    images = load("phantom", tmp_path, 24, n_pool=12, n_test=9)
    assert images.raw(0).shape == (24, 24, 3) and len(images.part("train")) == 12 and len(images.part("test")) == 9
    assert load("phantom", tmp_path, None, n_pool=1, n_test=9).raw(0).shape == (32, 32, 3)


def test_load_passes_options_on_and_uses_the_cache(tmp_path):
    images = load("digits", tmp_path, 16, tmp_path / "kept", repeat=2)
    assert len(images) == 2 * 1297 + 500 and images.kind == "class" and images.raw(0).shape == (16, 16, 1)
    (folder,) = (tmp_path / "kept").iterdir()
    written = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = load("digits", tmp_path, 16, tmp_path / "kept", repeat=2)
    np.testing.assert_array_equal(again.raw(9), images.raw(9))
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    load("digits", tmp_path, None, tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 2
