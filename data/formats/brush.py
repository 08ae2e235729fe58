"""Brush masks of Label Studio: the bytes of an RGBA picture in run lengths, of which the opacity is the mask.

Format: rle-pack of thi.ng/umbrella (K. Schmidt), as label_studio_sdk.converter.brush reads it: 32 bits how many values,
5 bits their size less 1, four times 4 bits the sizes of lengths less 1; then blocks of 1 bit (one value repeated), 2
bits (which size), the length less 1, and one value or so many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from data.names import Refused

WORD = 8  # bits of a value, the only size that Label Studio writes
PAINTED = 128  # opacity above which a pixel is part of the mask, as in its exports: edges of a brush are smooth


def is_packed(numbers: Any) -> bool:
    """Whether this is a list of bytes."""
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 256 for n in numbers)


def painted(packed: bytes, height: int, width: int, where: str) -> Bool[ndarray, "h w"]:
    """The mask of a brush on a picture of height x width pixels. Refused with `where` for what is none."""
    values = unpacked(packed, 4 * height * width, where)
    return values.reshape(height, width, 4)[..., 3] > PAINTED


def unpacked(packed: bytes, expected: int, where: str) -> UInt8[ndarray, " n"]:
    """The values of a stream that must hold `expected` of them."""
    at = 0

    def read(bits: int) -> int:
        nonlocal at
        first, at = at // 8, at + bits
        if at > 8 * len(packed):
            raise Refused(f"{where}: its run lengths end too early")
        return (int.from_bytes(packed[first : -(-at // 8)], "big") >> (-at % 8)) & ((1 << bits) - 1)

    count, word = read(32), read(5) + 1
    if count != expected or word != WORD:
        raise Refused(
            f"{where}: its run lengths are of {count} values of {word} bits, expected {expected} of {WORD} (4 for each "
            "pixel of original_width x original_height)"
        )
    sizes: Sequence[int] = [read(4) + 1 for _ in range(4)]
    found, filled = np.empty(count, np.uint8), 0
    while filled < count:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        if filled + length > count:
            raise Refused(f"{where}: its run lengths are longer than its {count} values")
        block = 1 if repeated else length
        first, start, at = at // 8, at % 8, at + WORD * block
        if at > 8 * len(packed):
            raise Refused(f"{where}: its run lengths end too early")
        bits = np.unpackbits(np.frombuffer(packed, np.uint8, -(-at // 8) - first, first))
        found[filled : filled + length] = np.packbits(bits[start : start + WORD * block])
        filled += length
    return found
