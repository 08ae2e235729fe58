"""Published datasets with one folder per class.

NCT-CRC-HE: Kather et al., "Predicting survival from colorectal cancer histology slides using deep learning", PLOS
Medicine 16, 2019 (Zenodo 1214456). EuroSAT: Helber et al., IEEE JSTARS 12, 2019. ImageNet: Russakovsky et al., IJCV
115, 2015. OCT: Kermany et al., "Identifying medical diagnoses and treatable diseases by image-based deep learning",
Cell 172, 2018.

All are read as they are; duplicates stay. The train and test folders of OCT share patients (Tampu et al., "Inflation of
test accuracy due to data leakage in deep learning-based classification of OCT images", Scientific Data 9, 2022), so its
test numbers are optimistic.
"""

from __future__ import annotations

from pathlib import Path

from data.files import at_home
from data.formats.labelled import (
    TEST_FRACTION,
    Labelled,
    find_root,
    images_of,
    in_class_folders,
)
from data.formats.tables import read_text
from data.names import Missing, Refused, suggestion
from data.store import Images

NCT = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
EUROSAT = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OCT = ("CNV", "DME", "DRUSEN", "NORMAL")
NCT_TREE = """
nct/
    NCT-CRC-HE-100K/ADI/ADI-AAAFLCLY.tif ...   (or NCT-CRC-HE-100K-NONORM; ADI BACK DEB LYM MUC MUS NORM STR TUM)
    CRC-VAL-HE-7K/ADI/ADI-TCGA-AAICEQFN.tif ...
"""
EUROSAT_TREE = """
eurosat/
    2750/AnnualCrop/AnnualCrop_1.jpg ...   (or EuroSAT_RGB/ or the ten class folders themselves)
"""
CIFAR10_TREE = """
cifar10/
    train/airplane/0001.jpg ...   (ten class folders)
    test/airplane/0001.jpg ...
"""
IMAGENET_TREE = """
imagenet/
    train/n01440764/n01440764_10026.JPEG ...   (one folder per class)
    val/n01440764/ILSVRC2012_val_00000293.JPEG ...   (sorted into the same folders)
"""
OCT_TREE = """
oct/   (or OCT2017/)
    train/CNV/CNV-1016042-1.jpeg ...   (folders CNV DME DRUSEN NORMAL)
    test/CNV/CNV-1016042-1.jpeg ...
    val/CNV/CNV-6294785-1.jpeg ...   (optional)
"""
MRI_TREE = """
brain_tumor_mri/
    Training/glioma/Tr-gl_0010.jpg ...   (one folder per class)
    Testing/glioma/Te-gl_0010.jpg ...
"""


def nct(data_root: Path, image_size: int | None, cache_root: Path | None = None, normalised: bool = True) -> Images:
    """NCT-CRC-HE-100K as 'train', CRC-VAL-HE-7K as 'test': 224 x 224 RGB tiles of nine tissues, 86 slides, 50 patients.

    `normalised=False` takes the training tiles without colour normalisation (NCT-CRC-HE-100K-NONORM).
    """
    training = "NCT-CRC-HE-100K" if normalised else "NCT-CRC-HE-100K-NONORM"
    root = find_root(data_root, ["nct", "NCT"], [training], NCT_TREE)
    parts = {"train": training, "test": "CRC-VAL-HE-7K"}
    found = [
        entry for part, folder in parts.items() for entry in in_class_folders(root / folder, part, NCT, NCT_TREE)[0]
    ]
    return images_of("nct", root, found, NCT, image_size, 3, [__file__], cache_root)


def eurosat(data_root: Path, image_size: int | None, cache_root: Path | None = None) -> Images:
    """EuroSAT RGB: 27,000 satellite tiles of 64 x 64, ten kinds of land use; no part is official, a fifth is 'test'."""
    names = ["eurosat/2750", "eurosat/EuroSAT_RGB", "eurosat", "EuroSAT/2750", "EuroSAT_RGB", "2750"]
    root = find_root(data_root, names, EUROSAT[:1], EUROSAT_TREE)
    found, _ = in_class_folders(root, "train", EUROSAT, EUROSAT_TREE)
    return images_of(
        "eurosat", root, found, EUROSAT, image_size, 3, [__file__], cache_root, test_fraction=TEST_FRACTION
    )


def cifar10_folders(data_root: Path, image_size: int | None, cache_root: Path | None = None) -> Images:
    """CIFAR-10 as one folder per class: 32 x 32 RGB, parts 'train' and 'test'."""
    root = find_root(data_root, ["cifar10", "cifar10_jpg"], ["train"], CIFAR10_TREE)
    found = [
        entry for part in ("train", "test") for entry in in_class_folders(root / part, part, CIFAR10, CIFAR10_TREE)[0]
    ]
    return images_of("cifar10", root, found, CIFAR10, image_size, 3, [__file__], cache_root)


def imagenet(data_root: Path, image_size: int | None, cache_root: Path | None = None) -> Images:
    """ImageNet (ILSVRC 2012), or any subset of its classes: train/ as 'train'; val/, which has labels, as 'test'."""
    root = find_root(data_root, ["imagenet", "ImageNet", "ILSVRC2012"], ["train"], IMAGENET_TREE)
    training, classes = in_class_folders(root / "train", "train", None, IMAGENET_TREE)
    testing, _ = in_class_folders(root / "val", "test", classes, IMAGENET_TREE)
    return images_of("imagenet", root, training + testing, classes, image_size, 3, [__file__], cache_root)


def oct_scans(data_root: Path, image_size: int | None, cache_root: Path | None = None, id_list: str = "") -> Images:
    """Retinal OCT of Kermany et al.: four classes, grey, of several sizes; the file name's second piece is the patient.

    `id_list` is a text file with one image per line (CNV-1016042-1, with or without ending), relative to the dataset's
    folder or absolute: of a part that it names at all, only the images named remain; the other parts stay whole.
    """
    root = find_root(data_root, ["oct", "OCT2017", "oct/OCT2017"], ["train"], OCT_TREE)
    found = []
    for part in ("train", "val", "test"):
        if part != "val" or (root / part).is_dir():
            found += in_class_folders(root / part, part, OCT, OCT_TREE)[0]
    found = [entry._replace(patient=_oct_patient(entry.file)) for entry in found]
    if id_list:
        found = _listed(found, root / at_home(id_list))
    return images_of("oct", root, found, OCT, image_size, 1, [__file__], cache_root)


def brain_tumor_mri(data_root: Path, image_size: int | None, cache_root: Path | None = None) -> Images:
    """Brain MRI slices from Kaggle in Training/ and Testing/: glioma, meningioma, notumor, pituitary, as named there.

    Files are a mixture of grey and grey-looking RGB; all are read as grey. Patients are not known.
    """
    root = find_root(data_root, ["brain_tumor_mri", "braintumor"], ["Training"], MRI_TREE)
    training, classes = in_class_folders(root / "Training", "train", None, MRI_TREE)
    testing, _ = in_class_folders(root / "Testing", "test", classes, MRI_TREE)
    return images_of("brain_tumor_mri", root, training + testing, classes, image_size, 1, [__file__], cache_root)


def _oct_patient(file: Path) -> str:
    pieces = file.stem.split("-")
    if len(pieces) != 3 or not pieces[1].isdigit():
        raise Refused(
            f"{file} is not called like CNV-1016042-1.jpeg (class, patient, number), so its patient is unknown"
        )
    return pieces[1]


def _listed(found: list[Labelled], id_file: Path) -> list[Labelled]:
    if not id_file.is_file():
        raise Missing(f"the list of image ids {id_file} does not exist; give a text file with one image per line")
    known = {entry.file.stem for entry in found}
    lines = [Path(line.strip()) for line in read_text(id_file).splitlines() if line.strip()]
    wanted = {line.name if line.name in known else line.stem for line in lines}
    if missing := sorted(wanted - known):
        near = suggestion(missing[0], known)
        raise Refused(f"{id_file} names {len(missing)} images that are not there, the first {missing[0]!r}.{near}")
    reduced = {entry.part for entry in found if entry.file.stem in wanted}
    return [entry for entry in found if entry.part not in reduced or entry.file.stem in wanted]
