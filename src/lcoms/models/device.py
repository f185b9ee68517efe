"""The device on which networks are trained, or search."""

from __future__ import annotations

import torch

from lcoms.core.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")


def require_device(name: str) -> torch.device:
    """Return the device of a name; auto is a GPU where there is one.

    Raises:
        ConfigError: the name is unknown, or there is no GPU.
    """
    if name not in DEVICES:
        raise ConfigError(f"there is no device {name!r}; choose {', '.join(DEVICES[:-1])} or {DEVICES[-1]}.")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("PyTorch finds no NVIDIA GPU; choose the device cpu, or install the build for CUDA.")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes in bfloat16 natively, as the layers of the autoencoder then do."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported())


def has_bfloat16_units(device: torch.device) -> bool:
    """Return whether the device has units that multiply large matrices in bfloat16 (tensor cores, AMX).

    Without them, such products take longer than in float32 on processors, those with AVX-512 BF16 included.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_amx_tile_supported())
