"""Small files of every format for the tests of readers."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def thirds() -> np.ndarray:
    """A mask of 6 x 8 pixels: rows of classes 0, 1, 2."""
    return np.repeat(np.arange(3, dtype=np.uint8), 2)[:, None].repeat(8, axis=1)


def png16(file: Path, values: np.ndarray) -> None:
    """A PNG of 16 bits: grey (h, w), RGB (h, w, 3) or RGBA (h, w, 4)."""
    values = np.asarray(values, dtype=">u2")
    height, width = values.shape[:2]
    kind = {2: 0, 3: 2}[values.ndim] if values.ndim == 2 or values.shape[2] == 3 else {2: 4, 4: 6}[values.shape[2]]

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    rows = b"".join(b"\0" + values[y].tobytes() for y in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def png_of_bits(file: Path, values: np.ndarray, bits: int) -> None:
    """A grey PNG of 1, 2 or 4 bits."""
    height, width = values.shape
    per_byte = 8 // bits
    padded = np.zeros((height, -(-width // per_byte) * per_byte), np.uint8)
    padded[:, :width] = values
    packed = np.zeros((height, padded.shape[1] // per_byte), np.uint8)
    for k in range(per_byte):
        packed |= padded[:, k::per_byte] << (8 - bits * (k + 1))

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    rows = b"".join(b"\0" + packed[y].tobytes() for y in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def palette(indices: np.ndarray, colours: list[int]) -> Image.Image:
    """A picture of palette indices."""
    picture = Image.fromarray(indices.astype(np.uint8)).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette(colours)
    return picture


def save(file: Path, content, **options) -> Path:
    """Write a picture, an array or a list of them (frames); makes the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    first, *others = content if isinstance(content, list) else [content]
    pictures = [p if isinstance(p, Image.Image) else Image.fromarray(p) for p in (first, *others)]
    if others:
        options |= {"save_all": True, "append_images": pictures[1:]}
    pictures[0].save(file, **options)
    return file


def folder(root: Path, masks: list, images: list | None = None, ending=".png", mask_ending=".png") -> Path:
    """images/ and masks/ with c0, c1, ... (pictures or arrays)."""
    for k, mask in enumerate(masks):
        save(root / "images" / f"c{k}{ending}", RAMP if images is None else images[k])
        save(root / "masks" / f"c{k}{mask_ending}", mask)
    return root


def dicom(file: Path, values: np.ndarray, **header) -> Path:
    """A DICOM picture of (h, w), (frames, h, w) or (h, w, 3) stored values; `header` sets elements."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    written = pydicom.Dataset()
    written.file_meta = meta
    colour = values.ndim == 3 and values.shape[2] == 3
    written.SamplesPerPixel = 3 if colour else 1
    written.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        written.PlanarConfiguration = 0
    written.Rows, written.Columns = values.shape[:2] if colour else values.shape[-2:]
    if values.ndim == 3 and not colour:
        written.NumberOfFrames = len(values)
    written.BitsAllocated = written.BitsStored = 8 * values.dtype.itemsize
    written.HighBit = written.BitsStored - 1
    written.PixelRepresentation = int(values.dtype.kind == "i")
    written.PatientID, written.PatientName, written.Modality = "P1", "Doe^Jane", "OT"
    written.SeriesInstanceUID, written.InstanceNumber = "1.2.3", 7
    written.PixelData = values.tobytes()
    for name, value in header.items():
        setattr(written, name, value)
    file.parent.mkdir(parents=True, exist_ok=True)
    written.save_as(file, enforce_file_format=True)
    return file


def nifti(file: Path, values: np.ndarray, spacing=(1.0, 2.0, 3.0), slope: float | None = None) -> Path:
    """A NIfTI volume with axes x, y, z."""
    import nibabel

    volume = nibabel.Nifti1Image(values, np.diag([*spacing, 1.0]))
    if slope is not None:
        volume.header.set_slope_inter(slope, 0)
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(volume, file)
    return file
