"""Many NumPy arrays in one small safetensors file: arrays are deflated, and the header holds types and shapes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lcoms.models.surrogate_file import must_fit, read_tensors, write_tensors

MOST_DEFLATED = 1032  # largest compression ratio of the format, RFC 1951
DTYPES = ("int8", "uint8", "int16", "int32", "float32")


def write_packed(path: Path, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> None:
    """Write arrays, deflated column by column, and a JSON header, atomically.

    Raises:
        OSError: the file cannot be written.
        ValueError: the type of an array is not supported.
    """
    if other := sorted({str(array.dtype) for array in arrays.values()} - set(DTYPES)):
        raise ValueError(f"arrays of {', '.join(other)} cannot be packed")
    packed = {name: zlib.compress(array.tobytes(order="F"), 9) for name, array in arrays.items()}
    tensors = {name: torch.from_numpy(np.frombuffer(data, np.uint8).copy()) for name, data in packed.items()}
    kinds = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
    write_tensors(path, tensors, {**header, "arrays": kinds})


def read_packed(path: Path, kind: str, version: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return arrays and header of a file written by `write_packed`.

    Raises:
        WeightsError: the file is missing, damaged, of another kind or of another version.
    """
    tensors, header = read_tensors(path, kind, version)
    with must_fit(path):
        arrays = {
            name: _inflated(tensors[name].numpy().tobytes(), *described) for name, described in header["arrays"].items()
        }
    return arrays, header


class PackedFile(Mapping[str, NDArray[Any]]):
    """Arrays of a file written by `write_packed`, each inflated on first access.

    Attributes:
        header: JSON header of the file.

    Raises:
        WeightsError: the file is missing, damaged, of another kind or of another version; also on access to an array.
    """

    def __init__(self, path: Path, kind: str, version: int) -> None:
        self._tensors, self.header = read_tensors(path, kind, version)
        self._path = path
        self._arrays: dict[str, NDArray[Any]] = {}
        with must_fit(path):
            self._described = dict(self.header["arrays"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            with must_fit(self._path):
                self._arrays[name] = _inflated(self._tensors[name].numpy().tobytes(), *self._described[name])
            del self._tensors[name]
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._described)

    def __len__(self) -> int:
        return len(self._described)


def _inflated(data: bytes, dtype: str, shape: list[int]) -> NDArray[Any]:
    """Return one array without ever using more memory than its shape requires."""
    if dtype not in DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"no array of {dtype} has the shape {shape}")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > MOST_DEFLATED * len(data) + 1:  # more than the bytes can inflate to
        raise ValueError(f"an array of {size} bytes out of {len(data)}")
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError("damaged") from error
    if len(content) != size or not stream.eof:
        raise ValueError(f"{len(content)} bytes for an array of {size}")
    return np.array(np.frombuffer(content, dtype).reshape(shape, order="F"), order="C")
