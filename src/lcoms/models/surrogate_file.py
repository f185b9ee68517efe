"""A surrogate in one safetensors file: weights and normalisation as tensors, the rest as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lcoms.core.config import from_dict, parse_json
from lcoms.core.disk import write_whole
from lcoms.core.errors import ConfigError, WeightsError
from lcoms.models.energy_head import EnergyHead
from lcoms.models.surrogate import ConservativeSurrogate, SurrogateConfig

KIND = "lcoms-surrogate"
VERSION = 2
EARLIER = 1  # one network, whose tensors had no prefix
INT8_LEVELS = 127
ROW_SCALE = ".row_scale"
TIMES_HELD, ALWAYS_ALLOWED = 30, 3_000_000  # elements of tensors, including those that initialisation rewrites
UNFIT = (
    ConfigError, KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError,
    RecursionError, MemoryError,
)  # fmt: skip


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a safetensors file with a JSON header, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    written = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_whole(path, save(written, {"lcoms": json.dumps(header)}))


def read_tensors(path: Path, kind: str, *versions: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and JSON header of a file written by `write_tensors`.

    Args:
        versions: format versions that the caller can read, the present one first.

    Raises:
        WeightsError: the file is missing, damaged, of another kind or of another version.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file {path}; check the name, or train first.")
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {}).get("lcoms", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, ArithmeticError, MemoryError) as error:
        raise WeightsError(f"{path} is damaged and cannot be read; copy or train it again.") from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        header = header if isinstance(header, dict) else {}
        raise WeightsError(f"{path} is not a {kind} file but {header.get('kind', 'something else')}.")
    if header.get("version") not in versions:
        raise WeightsError(
            f"{path} has format version {header.get('version')}; this program reads version {versions[0]}."
        )
    return tensors, header


class _Allowance(TorchFunctionMode):
    """Limits the total number of tensor elements that a block may create, since a header can request any number."""

    def __init__(self, n_elements: int) -> None:
        super().__init__()
        self._left = n_elements

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):  # its memory is not yet used
            self._left -= made.numel()
            if self._left < 0:
                raise ValueError("a network far larger than the tensors of its file")
        return made


@contextmanager
def must_fit(path: Path | str, tensors: Mapping[str, Tensor] | None = None) -> Iterator[None]:
    """Turn errors in the block into WeightsError: a readable file may lack entries or have other shapes.

    Args:
        tensors: tensors of the file; the size of the tensors that the block creates is limited in proportion to them.

    Raises:
        WeightsError: the block raises one of the errors that unsuitable content causes.
    """
    held = sum(t.numel() for t in tensors.values()) if tensors is not None else 0
    allowance = nullcontext() if tensors is None else _Allowance(TIMES_HELD * held + ALWAYS_ALLOWED)
    try:
        with allowance:
            yield
    except UNFIT as error:
        raise WeightsError(f"{path} does not fit this version of the program; train or copy it again.") from error


def save_surrogate(
    surrogate: ConservativeSurrogate,
    path: Path | str,
    *,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Save a surrogate for inference; weights of its networks may be stored in half precision, all else is unchanged.

    With torch.int8 their matrices are stored as integers with one scale per row, and their biases in half precision.

    Args:
        metadata: facts to store, such as metrics and the data's fingerprint; must be serialisable to JSON.
    """
    weights = {name for name, _ in surrogate.networks.named_parameters(prefix="networks")}
    state = surrogate.state_dict()
    tensors: dict[str, Tensor] = {}
    for name, t in state.items():
        if name not in weights:
            tensors[name] = t
        elif dtype != torch.int8:
            tensors[name] = t.to(dtype)
        elif t.ndim == 2:
            scale = t.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / INT8_LEVELS
            tensors[name], tensors[name + ROW_SCALE] = torch.round(t / scale).to(torch.int8), scale
        else:
            tensors[name] = t.half()
    header = {
        "kind": KIND,
        "version": VERSION,
        "latent_dim": surrogate.latent_dim,
        "config": asdict(surrogate.config),
        "head": None if surrogate.head is None else surrogate.head.sizes,
        "metadata": dict(metadata or {}),
    }
    write_tensors(Path(path), tensors, header)


def load_surrogate(path: Path | str) -> tuple[ConservativeSurrogate, dict[str, Any]]:
    """Return a saved surrogate in float32, ready for inference, and its metadata.

    Raises:
        WeightsError: the file is missing, damaged, of another version or does not fit its own configuration.
    """
    tensors, header = read_tensors(Path(path), KIND, VERSION, EARLIER)
    if header["version"] == EARLIER:
        tensors = {_present_name(name): tensor for name, tensor in tensors.items()}
    with must_fit(path, tensors):
        config, sizes = from_dict(SurrogateConfig, header["config"]), header.get("head")
        head = None if sizes is None else EnergyHead(*map(int, sizes))
        surrogate = ConservativeSurrogate(int(header["latent_dim"]), config, head)
        surrogate.load_state_dict({name: _restored(name, tensors) for name in tensors if not name.endswith(ROW_SCALE)})
        metadata = dict(header["metadata"])
    surrogate.requires_grad_(False).eval()
    return surrogate, metadata


def _present_name(name: str) -> str:
    return f"networks.0.{name}" if name.startswith(("hidden.", "head.")) else name


def _restored(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    scale = tensors.get(name + ROW_SCALE)
    return tensors[name].float() if scale is None else tensors[name].float() * scale
