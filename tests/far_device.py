"""A simulated device for machines without a GPU: its data are separate, and operations do not mix devices.

Tensors on "meta" have no data; inside `far_device` each holds the data of a tensor on the CPU. As on a GPU, an
operation on tensors of both devices raises an error unless the CPU tensor is a scalar.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "meta"


class Far(torch.Tensor):
    """A tensor on the simulated device."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> Far:
        made: Far = torch.Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype, device=NAME
        )
        made.near = near
        return made

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_as_tensor(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_as_tensor(key), value)

    def new_tensor(self, data: Any, **options: Any) -> torch.Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, **options}).to(NAME)

    def tolist(self) -> Any:
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        return _compute(operation, arguments, options or {})


def _as_tensor(key: Any) -> Any:
    """Make tensors of lists of numbers on the CPU; PyTorch would move them to "meta" without calling the mode."""
    return torch.tensor(key, dtype=torch.long) if isinstance(key, list) else key


class _Mode(TorchDispatchMode):
    """Mode in which tensors made on "meta", or moved there, hold data."""

    def __init__(self) -> None:
        super().__init__()
        self.n_operations = 0

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        device = options.get("device")
        if any(issubclass(kind, Far) for kind in types) or (device is not None and torch.device(device).type == NAME):
            self.n_operations += 1
            return _compute(operation, arguments, options)
        return operation(*arguments, **options)


def _compute(operation: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Compute on the CPU; results are on the simulated device unless the operation moves them to the CPU."""
    tensors = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, torch.Tensor)]
    far = [one for one in tensors if isinstance(one, Far)]
    assert not any(one.device.type == NAME for one in tensors if not isinstance(one, Far)), f"{operation}: no numbers"
    moves = operation in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    mixed = [one for one in tensors if not isinstance(one, Far) and one.dim()]
    indexes = operation in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default)
    if far and mixed and not moves and not (indexes and all(one.dtype == torch.long for one in mixed)):
        raise RuntimeError(f"{operation}: tensors of two devices")
    if operation is torch.ops.aten.index_put_.default and not isinstance(arguments[0], Far):
        raise RuntimeError(f"{operation}: tensors of two devices")
    if isinstance(options.get("generator"), torch.Generator) and options["generator"].device.type != NAME:
        raise RuntimeError(f"{operation}: a generator of another device")
    place = options.get("device")
    stays = place is None or torch.device(place).type == NAME
    if place is not None:
        options = {**options, "device": torch.device("cpu")}
    near, options = tree_map(lambda leaf: leaf.near if isinstance(leaf, Far) else leaf, (arguments, options))
    found = operation(*near, **options)
    if operation is torch.ops.aten.copy_.default or operation.__name__.partition(".")[0].endswith("_"):
        return arguments[0]
    return tree_map(lambda leaf: Far(leaf) if isinstance(leaf, torch.Tensor) else leaf, found) if stays else found


@contextmanager
def far_device() -> Iterator[_Mode]:
    """Within this context, "meta" is a device with data."""
    with _Mode() as mode:
        yield mode
