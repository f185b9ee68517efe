"""Compressed arrays are read back bit for bit, and altered files are rejected."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lcoms.core.errors import WeightsError
from lcoms.models.packed_file import DTYPES, read_packed, write_packed
from lcoms.models.surrogate_file import read_tensors, write_tensors

HEADER = {"kind": "things", "version": 3, "metadata": {"made": "here"}}


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    whole = {name: rng.integers(0, 100, (7, 3)).astype(name) for name in DTYPES}
    return {**whole, "none": np.zeros((0, 4), np.float32), "line": np.arange(1000, dtype=np.int32)}


def test_arrays_and_header_come_back(tmp_path: Path) -> None:
    write_packed(tmp_path / "a.safetensors", arrays(), HEADER)
    again, header = read_packed(tmp_path / "a.safetensors", "things", 3)
    assert header["metadata"] == HEADER["metadata"]
    assert again.keys() == arrays().keys()
    for name, array in arrays().items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)
        assert again[name].flags.writeable
        assert again[name].flags.c_contiguous


def test_regular_arrays_take_little_room(tmp_path: Path) -> None:
    write_packed(tmp_path / "a.safetensors", {"same": np.ones((1000, 1000), np.int32)}, HEADER)
    assert (tmp_path / "a.safetensors").stat().st_size < 10_000


def test_types_that_would_not_be_read_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float64"):
        write_packed(tmp_path / "a.safetensors", {"a": np.zeros(3)}, HEADER)
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    "described",
    [
        ["int32", [999]],
        ["int32", [1001]],
        ["int16", [1000]],
        ["int32", [-1000]],
        ["float64", [500]],
        ["O", [1000]],
        [3],
    ],
)
def test_a_header_that_does_not_fit_is_refused(described: list[object], tmp_path: Path) -> None:
    write_packed(tmp_path / "a.safetensors", {"line": arrays()["line"]}, HEADER)
    tensors, header = read_tensors(tmp_path / "a.safetensors", "things", 3)
    write_tensors(tmp_path / "b.safetensors", tensors, header | {"arrays": {"line": described}})
    with pytest.raises(WeightsError, match="does not fit this version"):
        read_packed(tmp_path / "b.safetensors", "things", 3)


def test_every_changed_byte_of_the_content_shows(tmp_path: Path) -> None:
    write_packed(tmp_path / "a.safetensors", {"line": np.arange(20, dtype=np.int32)}, HEADER)
    tensors, header = read_tensors(tmp_path / "a.safetensors", "things", 3)
    for at in range(len(tensors["line"])):
        changed = tensors["line"].clone()
        changed[at] ^= 4
        write_tensors(tmp_path / "b.safetensors", {"line": changed}, header)
        with pytest.raises(WeightsError, match="does not fit this version"):
            read_packed(tmp_path / "b.safetensors", "things", 3)
    write_tensors(tmp_path / "b.safetensors", {"line": torch.zeros(0, dtype=torch.uint8)}, header)
    with pytest.raises(WeightsError, match="does not fit this version"):
        read_packed(tmp_path / "b.safetensors", "things", 3)
