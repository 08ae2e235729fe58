"""DeepLesion: the original layout, imitated small, and the real files where they are."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.sets.deeplesion import LESION_TYPES, deeplesion

OFFICIAL = (
    "File_name Patient_index Study_index Series_ID Key_slice_index Measurement_coordinates Bounding_boxes Lesion_diameters_Pixel_ "
    "Normalized_lesion_location Coarse_lesion_type Possibly_noisy Slice_range Spacing_mm_px_ Image_size DICOM_windows Patient_gender "
    "Patient_age Train_Val_Test"
).split()


def row(name="000001_01_01_011.png", box="3.5, 4.5, 9.5, 12.5", kind=-1, noisy=0, window="-175, 275", part="1"):
    patient, study, series, key = name.removesuffix(".png").split("_")
    x1, y1, x2, y2 = (float(value) for value in box.split(","))
    diameters = f"{x1 + 5}, {y1 + 5}, {x2 - 5}, {y2 - 5}, {x1 + 5}, {y2 - 5}, {x2 - 5}, {y1 + 5}"
    values = [name, int(patient), int(study), int(series), int(key), diameters, box, "9, 7", "0.4, 0.3, 0.4", kind, noisy]
    return dict(zip(OFFICIAL, [*values, "9, 13", "0.8, 0.8, 5", "24, 16", window, "F", "62.0", part], strict=True))


ROWS = (
    row("000001_01_01_011.png", part="1"),
    row("000001_02_01_005.png", "2, 2, 6, 6", kind=4, part="2"),
    row("000002_01_01_011.png", "1.5, 1.5, 5.5, 5.5", kind=5, window="-1500, 500", part="3"),
    row("000002_01_01_011.png", "11.5, 2.5, 20.5, 9.5", kind=5, window="-1500, 500", noisy=1, part="3"),
    row("000003_01_01_002.png", kind=2, part="2"),
)


def write_slice(folder: Path, name: str, hounsfield) -> Path:
    """One 16-bit slice of 16 x 24 pixels, of one value in HU or of an array."""
    series, key = name.rsplit("_", 1)
    file = folder / "Images_png" / series / key
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.broadcast_to(np.asarray(hounsfield), (16, 24)) + 32768
    Image.fromarray(values.astype(np.uint16)).save(file)
    return file


def write_table(folder: Path, rows=ROWS, columns=OFFICIAL) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "DL_info.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def root(tmp_path):
    """Three key slices with pictures, one (of patient 3) without; neighbours of some."""
    folder = tmp_path / "deeplesion"
    write_table(folder)
    for name, hounsfield in {
        "000001_01_01_010.png": -175,
        "000001_01_01_011.png": 50,
        "000001_01_01_012.png": 275,
        "000001_02_01_004.png": 0,
        "000001_02_01_005.png": 1000,
        "000002_01_01_011.png": -500,
    }.items():
        write_slice(folder, name, hounsfield)
    return tmp_path


def load(root, *arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = deeplesion(root, *arguments, cache_root=root / "cache", **options)
    return images, [str(warning.message) for warning in caught]


def test_reads_the_original_layout(root):
    images, sentences = load(root)
    assert images.names == ["000001_01_01_011.png", "000001_02_01_005.png", "000002_01_01_011.png"]
    assert images.parts.tolist() == ["train", "val", "test"] and images.patients.tolist() == ["1", "1", "2"]
    assert images.kind == "boxes" and images.classes == ("lesion",) and images.channels == 1
    assert [images.raw(i).shape for i in range(3)] == [(16, 24, 1)] * 3
    assert images.target(0).tolist() == [[3, 4, 9, 12, 0]]  # from centres that count from 1 to edges that count from 0
    assert images.target(2).tolist() == [[1, 1, 5, 5, 0], [11, 2, 20, 9, 0]]
    assert len(sentences) == 2
    assert "DL_info.csv lists 4 key slices, 1 of them without a picture; the other 3 are used" in sentences[0]
    assert "marked as possibly noisy, and kept: 1 of 4" in sentences[1]


@pytest.mark.parametrize(
    ("window", "grey"),
    [
        ("dicom", [128, 255, 128]),  # 225 of 450, 1175 of 450, 1000 of 2000 HU
        ("soft_tissue", [128, 255, 0]),
        ("lung", [198, 255, 128]),  # 1550, 2500 and 1000 of 2000 HU
        ("bone", [78, 212, 0]),  # 550, 1500 and 0 of 1800 HU
        ("-1024,3071", [67, 126, 33]),  # 1074, 2024 and 524 of 4095 HU
        (" -1000, 0", [255, 255, 128]),
    ],
)
def test_windows(root, window, grey):
    images, _ = load(root, window=window)
    for i in range(3):
        assert (images.raw(i) == grey[i]).all()


def test_neighbours_become_channels_and_an_absent_one_is_the_key_slice(root):
    images, sentences = load(root, context=1)
    assert images.channels == 3
    assert images.raw(0)[5, 5].tolist() == [0, 128, 255]  # in their order
    assert images.raw(1)[5, 5].tolist() == [99, 255, 255]  # 175 of 450 HU; no slice 6
    assert images.raw(2)[5, 5].tolist() == [128, 128, 128]
    assert "neighbours that are absent, for which the key slice itself stands: 3" in sentences[-1]


def test_a_neighbour_of_another_size_is_named(root):
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(root / "deeplesion/Images_png/000001_01_01/012.png")
    with pytest.raises(ValueError, match=r"012\.png is 8 x 8 pixels, expected 24 x 16 like .*011\.png"):
        load(root, context=1)


def test_scale_shrinks_boxes_with_the_image(root):
    images, _ = load(root, 0.5)
    assert images.raw(0).shape == (8, 12, 1)
    assert images.target(2).tolist() == [[0.5, 0.5, 2.5, 2.5, 0], [5.5, 1, 10, 4.5, 0]]


def test_a_type_keeps_its_lesions_and_the_validation_part_is_trained_with(root):
    images, sentences = load(root, lesion_type="lung")
    assert images.names == ["000002_01_01_011.png"] and len(images.target(0)) == 2 and images.parts.tolist() == ["test"]
    assert len(sentences) == 1  # every lung lesion has a picture, none is of the validation part
    images, sentences = load(root, lesion_type="liver")
    assert images.names == ["000001_02_01_005.png"] and images.parts.tolist() == ["train"]
    assert "no training slice is left for lesion_type='liver'; the official validation part is 'train'" in sentences[-1]
    with pytest.raises(ValueError, match="no lesion of lesion_type='pelvis'"):
        load(root, lesion_type="pelvis")


def test_types_are_numbered_as_in_the_table():
    assert LESION_TYPES.index("bone") == 0 and LESION_TYPES[4] == "lung" and LESION_TYPES.index("pelvis") == 7


def test_a_table_without_parts_is_divided_by_patient(tmp_path):
    folder = tmp_path / "deeplesion"
    names = [f"{patient:06d}_01_01_{key:03d}.png" for patient in range(1, 11) for key in (3, 8)]
    write_table(folder, [row(name) for name in names], [column for column in OFFICIAL if column != "Train_Val_Test"])
    for name in names:
        write_slice(folder, name, 0)
    images, sentences = load(tmp_path)
    assert sentences == [] and (images.parts == "test").sum() == 4 and (images.parts == "train").sum() == 16
    assert not set(images.part("train").patients) & set(images.part("test").patients)


def test_bad_boxes_are_clipped_or_refused(root):
    write_table(root / "deeplesion", [row(box="-3.5, 4.5, 9.5, 40.5"), row(box="30.5, 2.5, 40.5, 9.5")])
    images, sentences = load(root)
    assert images.target(0).tolist() == [[0, 4, 9, 16, 0]]
    assert "1 boxes reached outside their image and were clipped, 1 without an area in it were dropped" in sentences[-1]
    with pytest.raises(ValueError, match=r"DL_info\.csv, 000001_01_01_011\.png: box 1 of 2 .* outside the image of 24 x 16"):
        load(root, bad_boxes="refuse")


def test_samples_of_8_bits(root):
    """Grey levels of -1024..3071 HU in JPEG, with the names and boxes of the table."""
    for part, name, value in (("train", "000001_01_01_011", 64), ("test", "000003_01_01_002", 255), ("test", "000009_01_01_002", 9)):
        (root / "deeplesion/truth_samples_8bit" / part).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), (value,) * 3).save(root / f"deeplesion/truth_samples_8bit/{part}/{name}.jpg")
    images, sentences = load(root, source="samples_8bit")
    assert images.names == ["000001_01_01_011.png", "000003_01_01_002.png"] and images.parts.tolist() == ["train", "val"]
    assert (images.raw(0) == round((64 / 255 * 4095 - 1024 + 175) / 450 * 255)).all() and (images.raw(1) == 255).all()
    assert images.target(0).tolist() == [[3, 4, 9, 12, 0]]
    assert "lists 4 key slices, 2 of them without a picture" in sentences[0]
    with pytest.raises(ValueError, match="context=1 needs the neighbours"):
        load(root, source="samples_8bit", context=1)


def test_second_use_reads_the_cache_and_a_changed_option_does_not(root):
    first, _ = load(root)
    assert load(root)[0].fingerprint == first.fingerprint
    changed = ({"window": "lung"}, {"context": 1}, {"scale": 0.5}, {"bad_boxes": "refuse"})
    others = [load(root, **options)[0].fingerprint for options in changed]
    assert len({first.fingerprint, *others}) == 5


def _replace(old, new):
    return lambda folder: (folder / "DL_info.csv").write_text((folder / "DL_info.csv").read_text().replace(old, new))


def _eight_bit(folder):
    Image.new("L", (24, 16), 90).save(folder / "Images_png/000001_01_01/011.png")


def _remove_pictures(folder):
    for file in (folder / "Images_png").glob("*/*.png"):
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (_eight_bit, ValueError, r"011\.png holds values up to 90, expected 16-bit"),
        (lambda folder: (folder / "Images_png/000001_01_01/011.png").write_text("no"), ValueError, r"011\.png cannot be read"),
        (lambda folder: (folder / "DL_info.csv").unlink(), FileNotFoundError, r"DL_info\.csv does not exist; expected this tree"),
        (_remove_pictures, FileNotFoundError, "none of the 4 key slices of .* has a picture"),
        (_replace("Bounding_boxes", "Boxes"), ValueError, "no column 'Bounding_boxes'"),
        (_replace("3.5, 4.5, 9.5, 12.5", "3.5, 4.5, 9.5"), ValueError, r"line 2 of .*000001_01_01_011\.png.*expected x1, y1, x2, y2"),
        (_replace("-175, 275", "-175, x"), ValueError, "line 2 of .* cannot be understood: could not convert"),
        (_replace("62.0,3", "62.0,4"), ValueError, "line 4 of .* Train_Val_Test is '4'"),
        (_replace("000001_01_01_011.png", "../secret.png"), ValueError, "File_name is '../secret.png'"),
    ],
)
def test_damage_is_named_and_leaves_no_cache(root, damage, error, sentence):
    damage(root / "deeplesion")
    with pytest.raises(error, match=sentence):
        load(root)
    assert not list((root / "cache").glob("*"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lesion_type": "lungs"}, "unknown lesion_type 'lungs'. Did you mean 'lung'"),
        ({"window": "soft"}, "window='soft' is unknown.*two numbers like '-1024,3071'"),
        ({"window": "300,-200"}, "window='300,-200' must be a lower and a higher number"),
        ({"window": "nan,1"}, "window='nan,1' must be"),
        ({"context": 2}, "unknown context 2"),
        ({"scale": 0.0}, "scale=0.0"),
        ({"bad_boxes": "drop"}, "unknown bad_boxes 'drop'"),
        ({"source": "jpeg"}, "unknown source 'jpeg'"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        deeplesion(tmp_path, **options)


def test_missing_folder_shows_the_tree(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)deeplesion does not exist; expected this tree:.*Images_png"):
        deeplesion(tmp_path)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:DeepLesion")
@pytest.mark.parametrize("context", [0, 1])
def test_real_slices(raw_root, tmp_path, context):
    """Lesions are brighter in the middle of their box than in its rim: all four lie in fat."""
    images = deeplesion(raw_root("deeplesion"), context=context, cache_root=tmp_path)
    assert len(images) == 4 and set(images.parts) == {"test"} and set(images.patients) == {"1"}
    for i in range(4):
        pixels, ((x1, y1, x2, y2, _),) = images.raw(i)[..., context].astype(float), images.target(i).tolist()
        assert pixels.shape == (512, 512) and 0 <= x1 < x2 <= 512 and 0 <= y1 < y2 <= 512
        assert pixels.min() == 0 and pixels.max() == 255 and ((pixels > 0) & (pixels < 255)).mean() > 0.02
        box = pixels[round(y1) : round(y2), round(x1) : round(x2)]
        middle = box[5:-5, 5:-5].mean()
        assert middle > 1.3 * (box.sum() - box[5:-5, 5:-5].sum()) / (box.size - box[5:-5, 5:-5].size)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:DeepLesion")
def test_real_samples_agree_with_their_own_boxes(raw_root, tmp_path):
    """The .tru files beside the JPEGs hold type y1 x1 y2 x2 in fractions: the same boxes to four decimals."""
    root = raw_root("deeplesion")
    images = deeplesion(root, source="samples_8bit", cache_root=tmp_path)
    assert len(images) == 49 and (images.parts == "train").sum() == 34 and (images.parts == "test").sum() == 15
    assert not set(images.part("train").patients) & set(images.part("test").patients)
    for i, name in enumerate(images.names):
        (tru,) = (root / "deeplesion/truth_samples_8bit").glob(f"*/{name.removesuffix('.png')}.tru")
        boxes = np.loadtxt(tru, ndmin=2)[:, [2, 1, 4, 3]] * 512 - 0.5
        np.testing.assert_allclose(np.sort(np.asarray(images.target(i))[:, :4], 0), np.sort(boxes, 0), atol=0.03)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:DeepLesion")
def test_both_sources_show_the_same_slice(raw_root, tmp_path):
    root = raw_root("deeplesion")
    options = {"window": "-1024,3071", "cache_root": tmp_path}
    official, samples = (deeplesion(root, source=source, **options) for source in ("official", "samples_8bit"))
    for i, name in enumerate(official.names):
        other = samples.raw(samples.names.index(name)).astype(int)
        assert np.abs(official.raw(i) - other).mean() < 1
