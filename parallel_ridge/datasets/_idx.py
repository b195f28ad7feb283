"""The IDX format of MNIST."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 0x08  # the only element type of the MNIST files


def read_idx(file: Path, n_dims: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes; a plain one is mapped into memory.

    The format is a big-endian header (two zero bytes, the element type, the number of dimensions,
    then each dimension in four bytes) and the elements in row order.
    """
    header_size = 4 + 4 * n_dims
    compressed = file.suffix == ".gz"
    content = b""
    if compressed:
        try:
            with gzip.open(file, "rb") as stream:
                content = stream.read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as err:
            raise ValueError(f"{file}: damaged or truncated gzip file ({err}).") from err
        header, size = content[:header_size], len(content)
    else:
        with open(file, "rb") as plain:
            header = plain.read(header_size)
            size = os.fstat(plain.fileno()).st_size

    expected = _UNSIGNED_BYTE << 8 | n_dims
    magic = int.from_bytes(header[:4], "big")
    if len(header) >= 4 and magic != expected:
        raise ValueError(
            f"{file}: magic number 0x{magic:08x}, expected 0x{expected:08x} "
            f"(IDX, unsigned bytes, {n_dims} dimension{'s' if n_dims > 1 else ''})."
        )
    if len(header) < header_size:
        raise ValueError(
            f"{file}: truncated: {len(header)} bytes, the IDX header alone has {header_size}."
        )
    shape = tuple(
        int.from_bytes(header[start : start + 4], "big") for start in range(4, header_size, 4)
    )
    if 0 in shape:
        raise ValueError(f"{file}: empty: the header gives the shape {shape}.")
    promised = header_size + math.prod(shape)
    if size != promised:
        trouble = "truncated" if size < promised else "too long"
        raise ValueError(
            f"{file}: {trouble}: {size} bytes, but the header's shape {shape} makes {promised}."
        )
    if compressed:
        return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)
    return np.memmap(file, dtype=np.uint8, mode="r", offset=header_size, shape=shape)
