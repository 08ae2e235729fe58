"""What a second reader tried on the readers of own images: parts, frames and pixels that would be read wrongly."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import data
from data import notes
from data.formats import patients, pictures, yolo_yaml
from data.formats.columns import column_of
from data.formats.words import alike
from data.names import Refused
from tests.data.formats import test_coco as coco
from tests.data.formats import test_voc as voc
from tests.data.formats import test_yolo as yolo
from tests.data.formats.writing import RAMP, dicom, folder, save, thirds
from tests.data.own_folders import load

SIX = [thirds()] * 6


def read(task, name, root, **options):
    """The images and what is noted."""
    with notes.collecting() as said:
        images = data.load(task, name, root, **options)
    return images, " ".join(sentence for _, sentence in said)


class TestMasks:
    def test_a_folder_below_a_part(self, tmp_path):
        for part in ("train", "test"):
            for place in ("images", "masks"):
                save(tmp_path / place / part / "a.png", thirds())
                save(tmp_path / place / part / "more" / "b.png", thirds())
        with pytest.raises(Refused, match=r"more/b\.png lies in a folder below .*/(images|masks)/(train|test)"):
            read("segment", "folder", tmp_path)

    def test_a_test_part_beside_the_folders(self, tmp_path):
        folder(tmp_path, SIX)
        folder(tmp_path / "Testing", SIX)
        with pytest.raises(Refused, match=r"called like the part test, beside images/ and masks/.* images/test/"):
            read("segment", "folder", tmp_path)

    def test_what_lies_beside_is_told(self, tmp_path):
        folder(tmp_path, SIX)
        save(tmp_path / "loose.png", RAMP)
        (tmp_path / "patients.tsv").write_text("file\tpatient\n")
        assert (
            "2 files are not used: outside of images/ and masks/ (1 .png, 1 .tsv"
            in read("segment", "folder", tmp_path)[1]
        )

    def test_patients_that_change_are_read_again(self, tmp_path):
        folder(tmp_path, SIX)
        for first in "AB":
            (tmp_path / "Patients.csv").write_text(
                "file,patient\n" + "".join(f"c{k},{first}{k // 2}\n" for k in range(6))
            )
            images, _ = read("segment", "folder", tmp_path)
            assert images.patients.tolist() == [f"{first}{k // 2}" for k in range(6)]

    @pytest.mark.parametrize("background", [255, (255, 255, 255)])
    def test_objects_on_white(self, tmp_path, background):
        mask = np.full((6, 8, 3) if isinstance(background, tuple) else (6, 8), 255, np.uint8)
        mask[:2], mask[4:] = 7, 9
        with pytest.raises(Refused, match="no mask holds 0"):
            read("segment", "folder", folder(tmp_path, [mask] * 6), instances=True)


class TestParts:
    """Pictures in folders called train and test, where the table says nothing of parts."""

    def test_table_of_labels(self, mine):
        names = [f"{'train' if k < 6 else 'test'}/{k}.png" for k in range(10)]
        for k, name in enumerate(names):
            save(mine / name, RAMP + k)
        (mine / "labels.csv").write_text("file,label\n" + "".join(f"{n},{'ab'[k % 2]}\n" for k, n in enumerate(names)))
        images, said = load(mine)
        assert images.parts.tolist() == ["train"] * 6 + ["test"] * 4
        assert any("the parts are the folders" in sentence for sentence in said)
        (mine / "train").rename(mine / "pics")
        table = (mine / "labels.csv").read_text().replace("train/", "pics/")
        (mine / "labels.csv").write_text(table)
        with pytest.raises(Refused, match=r"test/6\.png lies in a folder that is called like a part, but 6 of 10"):
            load(mine)

    @pytest.mark.parametrize("task", ["detect", "segment"])
    def test_one_coco_file(self, tmp_path, task):
        images = [
            coco.image(k, file_name=f"{'train' if k < 4 else 'val' if k < 6 else 'test'}/{k}.jpg") for k in range(8)
        ]
        marked = [coco.box(k, 1, 2, 3, 4, segmentation=[[1, 2, 4, 2, 4, 6, 1, 6]]) for k in range(8)]
        coco.write(tmp_path / "annotations.json", images, marked)
        assert read(task, "coco", tmp_path)[0].parts.tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2

    @pytest.mark.parametrize("place", ["ImageSets", "ImageSets/main", "."])
    def test_lists_of_voc_elsewhere(self, tmp_path, place):
        voc.write_voc(tmp_path, {})
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "train.txt").write_text("c1\nc2\nc10\n")
        (tmp_path / place / "test.txt").write_text("c11\n")
        images, _ = read("detect", "voc", tmp_path)
        assert images.names == ["c1.jpg", "c2.jpg", "c10.jpg", "c11.jpg"]
        assert images.parts.tolist() == ["train"] * 3 + ["test"]

    def test_a_test_part_beside_voc(self, tmp_path):
        voc.write_voc(tmp_path)
        voc.write_voc(tmp_path / "test")
        with pytest.raises(Refused, match=r"called like the part test, beside JPEGImages"):
            read("detect", "voc", tmp_path)

    def test_lists_of_yolo_without_yaml(self, tmp_path):
        yolo.write(tmp_path)
        (tmp_path / "train.txt").write_text("data/images/a.png\ndata/images/b.png\ndata/images/c.png\n")
        (tmp_path / "valid.txt").write_text("data/images/d.png\n")
        (tmp_path / "test.txt").write_text("data/images/e.png\n")
        images, said = read("detect", "yolo", tmp_path)
        assert images.parts.tolist() == ["train"] * 3 + ["val", "test"] and "the lists test.txt, train.txt" in said


class TestBoxes:
    def test_a_box_outside_of_every_object(self, tmp_path):
        file = voc.write_voc(tmp_path) / "Annotations" / "c11.xml"
        file.write_text(file.read_text().replace("object>", "Object>"))
        with pytest.raises(Refused, match=r"c11\.xml: 2 bndbox lie in no <object>"):
            read("detect", "voc", tmp_path)

    def test_one_text_of_two_pictures(self, tmp_path):
        yolo.write(tmp_path)
        yolo.write(tmp_path, stems="b", ending=".tif")
        with pytest.raises(Refused, match=r"b\.(png and b\.tif|tif and b\.png) have one text"):
            read("detect", "yolo", tmp_path)

    def test_two_corners_by_their_area(self, tmp_path):
        images = [coco.image(k) for k in range(6)]
        marked = [coco.box(k, 1, 2, 4, 7, area=15) for k in range(6)]
        coco.write(tmp_path / "annotations.json", images, marked)
        with pytest.raises(Refused, match=r"the area of 6 of 6 boxes is that of \[x1, y1, x2, y2\]"):
            read("detect", "coco", tmp_path)

    def test_spellings_of_a_category(self, tmp_path):
        names = [{"id": 3, "name": "cyst"}, {"id": 7, "name": "Cyst"}]
        coco.write(tmp_path / "annotations.json", categories=names)
        assert "'cyst' and 'Cyst' are read as different classes" in read("detect", "coco", tmp_path)[1]

    def test_spellings_of_a_class_of_yolo(self, tmp_path):
        (yolo.write(tmp_path) / "classes.txt").write_text("Cyst\ncyst\n")
        assert "'Cyst' and 'cyst' are read as different classes" in read("detect", "yolo", tmp_path)[1]

    def test_a_sign_in_a_name(self, tmp_path):
        (tmp_path / "data.yaml").write_text("names:\n- 'a # b'  # a comment\n- it's\n- c#\n# d\n")
        assert yolo_yaml.find(tmp_path).names == ["a # b", "it's", "c#"]


def test_a_label_in_quotation_marks():
    assert alike("'A'") == alike("a") and alike("'")


@pytest.mark.parametrize(
    "name",
    [
        "PatientIdentifier",
        "ID_Patient",
        "patients_id",
        "patient uuid",
        "Anon Patient ID",
        "PtID",
        "Subjects",
        "Pseudonym",
    ],
)
def test_names_of_patients(tmp_path, name):
    assert column_of(tmp_path / "labels.csv", ["file", name], [["a.png", "P1"]], "patient") == 1


@pytest.mark.parametrize("file", ["images/c{}.png", "mine/images/c{}", r"C:\mine\images\c{}.png"])
def test_paths_in_a_table_of_patients(tmp_path, file):
    folder(tmp_path, SIX)
    lines = [f"{file.format(k)},P{k // 2}\n" for k in range(6)]
    (tmp_path / "patients.csv").write_text("file,patient\n" + "".join(lines))
    assert read("segment", "folder", tmp_path)[0].patients.tolist() == [f"P{k // 2}" for k in range(6)]


def test_names_of_volumes_without_ending():
    found = patients._index(["a/v1.nii.gz", "a/v2.nii"])
    assert found["v1"] == 0 and found["v2"] == 1


def test_a_table_without_any_patient_is_told(tmp_path):
    folder(tmp_path, SIX)
    (tmp_path / "patients.csv").write_text("file,patient\n" + "".join(f"c{k},\n" for k in range(6)))
    assert "6 of 6 images have no patient" in read("segment", "folder", tmp_path)[1]


class TestPixels:
    @pytest.mark.parametrize("options", [{}, {"scaling": "image"}, {"window": [0, 100]}])
    def test_no_numbers_are_told(self, tmp_path, options):
        values = RAMP.astype(np.float32)
        values[0] = np.nan
        tifffile.imwrite(tmp_path / "a.tif", values)
        with notes.collecting() as said:
            reader = pictures.survey([tmp_path / "a.tif"], pictures.Options(**options))
            assert not reader.read(reader.sources[0])[0].any()
        assert any("no finite numbers: NaN" in sentence for kind, sentence in said if kind == notes.WARNING)

    def test_a_picture_without_any_number(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.full((6, 8), np.nan, np.float32))
        with notes.collecting(), pytest.raises(Refused, match=r"a\.tif holds no pixel that is a finite number"):
            reader = pictures.survey([tmp_path / "a.tif"])
            reader.read(reader.sources[0])

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    @pytest.mark.parametrize("imagej", [True, False])
    def test_a_stack_behind_one_page(self, tmp_path, kind, imagej):
        stack = np.stack([RAMP.astype(kind)] * 5)
        tifffile.imwrite(tmp_path / "a.tif", stack, imagej=imagej, metadata={"axes": "ZYX"}, truncate=True)
        for frames in ("one", "all"):
            with (
                notes.collecting(),
                pytest.raises(Refused, match=r"a\.tif is a stack 5 x 6 x 8 .* behind a single page"),
            ):
                pictures.survey([tmp_path / "a.tif"], pictures.Options(frames=frames))
        tifffile.imwrite(tmp_path / "a.tif", stack, imagej=imagej, metadata={"axes": "ZYX"})
        with notes.collecting():
            assert len(pictures.survey([tmp_path / "a.tif"], pictures.Options(frames="all")).sources) == 5

    @pytest.mark.parametrize("second", [RAMP.astype(np.uint16) * 20, np.stack([RAMP] * 3, axis=2)])
    def test_pages_of_different_kinds(self, tmp_path, second):
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            for page, kind in ((RAMP, "minisblack"), (second, "rgb" if second.ndim == 3 else "minisblack")):
                writer.write(page, photometric=kind, contiguous=False)
        with notes.collecting(), pytest.raises(Refused, match=r"2 pictures of different kinds"):
            pictures.survey([tmp_path / "a.tif"], pictures.Options(frames="all"))


def frame(slope: float, spacing: float) -> Dataset:
    """The functional groups of a frame of DICOM."""
    rescale, measures, group = Dataset(), Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = slope, -10
    measures.PixelSpacing = [spacing, spacing]
    group.PixelValueTransformationSequence = Sequence([rescale])
    group.PixelMeasuresSequence = Sequence([measures])
    return group


class TestFramesOfDicom:
    STORED = np.stack([RAMP.astype(np.uint16)] * 3)

    def test_each_has_its_slope(self, tmp_path):
        groups = Sequence([frame(slope, 0.5) for slope in (1, 10, 2)])
        file = dicom(tmp_path / "a.dcm", self.STORED, PerFrameFunctionalGroupsSequence=groups)
        for number, slope in enumerate((1, 10, 2)):
            assert np.array_equal(pictures.decode(file, number).values[..., 0], RAMP * float(slope) - 10)
        assert pictures.look(file).spacing[:2] == (0.5, 0.5)

    def test_all_share_one(self, tmp_path):
        file = dicom(tmp_path / "a.dcm", self.STORED, SharedFunctionalGroupsSequence=Sequence([frame(3, 0.5)]))
        assert np.array_equal(pictures.decode(file, 2).values[..., 0], RAMP * 3.0 - 10)

    def test_spacings_that_differ_are_not_known(self, tmp_path):
        groups = Sequence([frame(1, spacing) for spacing in (0.5, 0.5, 0.7)])
        file = dicom(tmp_path / "a.dcm", self.STORED, PerFrameFunctionalGroupsSequence=groups)
        assert np.isnan(pictures.look(file).spacing).all()

    def test_a_frame_without_slope(self, tmp_path):
        groups = Sequence([frame(2, 0.5), Dataset(), frame(2, 0.5)])
        file = dicom(tmp_path / "a.dcm", self.STORED, PerFrameFunctionalGroupsSequence=groups)
        with pytest.raises(Refused, match="has 2 slopes and intercepts for 3 frames"):
            pictures.decode(file, 0)
