"""Which files are pictures: the endings that are read, and those that are known but not read and therefore refused."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePath

from data import notes
from data.names import Missing, Refused

PILLOW = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .jp2 .j2k .j2c .jpf .jpx .jpc .bmp .dib .gif .tif .tiff .webp .avif .avifs "
    ".ppm .pgm .pbm .pnm .tga .pcx .sgi .rgb .qoi .ico".split()
)
DICOM = frozenset({".dcm", ".dicom", ".ima"})
NIFTI = (".nii", ".nii.gz")
READ = (*sorted(PILLOW), *sorted(DICOM), *NIFTI)
NOT_READ = {  # ending -> what it is, and what to do
    **dict.fromkeys(
        (".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".mnc", ".hdr", ".img", ".par", ".rec"),
        "a volume in a format that is not read: save it as NIfTI (.nii.gz)",
    ),
    **dict.fromkeys(
        ".svs .ndpi .mrxs .scn .vms .bif .czi .lif .nd2 .vsi .oib .oif .lsm .zvi .qptiff .zarr".split(),
        "a microscope's own format, which is not read: save regions of it as TIFF or PNG",
    ),
    **dict.fromkeys(
        ".heic .heif .jxl .psd .dng .cr2 .nef .arw .raw .exr .pfm .eps .svg .wmf .emf .fits .fit .jls .xcf".split(),
        "a picture in a format that is not read: save it as PNG or TIFF",
    ),
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5", ".hdf5"), "an array file: save each picture of it as PNG or TIFF"),
    **dict.fromkeys((".avi", ".mp4", ".mov", ".mpg", ".mpeg", ".mkv", ".wmv"), "a film: save its frames as PNG"),
    ".dvc": "a pointer of DVC to content that is not here: get it with `dvc pull`",
}
COMPRESSED = (".gz", ".bz2", ".zip", ".xz")
MOST_NAMED = 3


def ending_of(file: PurePath) -> str:
    """'.png' of 'a.PNG', '.nii.gz' of 'a.nii.gz', '' of 'IM0001'."""
    name = file.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def stem_of(file: PurePath) -> str:
    """The name without its ending: 'a' of 'a.nii.gz'."""
    return file.name[: len(file.name) - len(ending_of(file))]


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key that counts: 'train_2' before 'train_10'."""
    return [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in re.split(r"(\d+)", name) if piece]


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM: by its ending, or by its first bytes where it has no ending of a picture (IM0001)."""
    ending = ending_of(file)
    if ending in DICOM:
        return True
    if ending in PILLOW or ending in NIFTI or not file.is_file():
        return False
    with open(file, "rb") as opened:
        return opened.read(132)[128:] == b"DICM"


def is_picture(file: Path) -> bool:
    """Whether a file is one that is read. Refused for a picture in a format that is known and not read."""
    ending = ending_of(file)
    if ending in NOT_READ:
        raise Refused(f"{file} is {NOT_READ[ending]}; or move it out of the folder")
    if ending in PILLOW or ending in NIFTI or ending in DICOM:
        return True
    inner = Path(file.stem).suffix.lower()
    if ending in COMPRESSED and inner in {*PILLOW, *DICOM}:
        raise Refused(f"{file} is compressed, expected the picture itself: unpack it")
    return file.name.upper() != "DICOMDIR" and is_dicom(file)


def require_file(file: Path) -> Path:
    """The file. Refused for what would be waited for without end, or is none."""
    if not file.is_file():
        raise Refused(f"{file} is no file but a pipe, a socket or a device; move it out of the folder")
    return file


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, in natural order. Hidden files are passed over; others that are no pictures are noted.

    Missing for a link without content (git-annex, a moved disk), Refused for a picture in a format that is not read.
    """
    found, others = [], []
    for file in folder.iterdir():
        if file.name[0] == "." or file.is_dir():
            continue
        if not file.exists():
            raise Missing(f"{file} is a link to {file.readlink()}, which is not there: get its content, or remove it")
        (found if is_picture(require_file(file)) else others).append(file)
    others = [file for file in others if file.name not in ("Thumbs.db", "desktop.ini")]
    if others:
        notes.note(notes.LEFT_OUT, f"{folder}: {counted(others)} that are no pictures are not used")
    return sorted(found, key=lambda file: natural(file.name))


def counted(files: list[Path]) -> str:
    """'3 files (2 .txt, 1 .csv)', and their names where they are few."""
    names = sorted(file.name for file in files)
    if len(names) <= MOST_NAMED:
        return f"{len(names)} file{'s'[: len(names) > 1]} ({', '.join(names)})"
    by_ending = Counter(ending_of(file) or "without ending" for file in files)
    return f"{len(files)} files ({', '.join(f'{n} {ending}' for ending, n in by_ending.most_common())})"
