"""What an oracle's results depend on in addition to its name: packages, weights and files, each as a short text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np

from lcoms.core.disk import sha256_of

DIGITS = 16


def of_package(name: str) -> str:
    """Return name and version of an installed distribution, such as "chgnet 0.4.2"."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} of no known version"


def of_file(path: Path) -> str:
    """Return the name of a file and the SHA-256 of its content."""
    return f"{path.name} {sha256_of(path)[:DIGITS]}"


def of_imported(module: str, options: Iterable[Any], made: object) -> tuple[str, ...]:
    """Return the provenance of an object that a module made.

    Args:
        module: contributes its package's version or, if it belongs to no installed package, the text of its file.
        options: with which it was made; names of files contribute the contents of the files.
        made: contributes the `parameters` of an ASE calculator.
    """
    names = _distributions().get(module.partition(".")[0], [])
    found = sorted({of_package(name) for name in names})
    source = getattr(sys.modules.get(module), "__file__", None)
    if not names and source is not None and Path(source).is_file():
        found.append(of_file(Path(source)))
    found += [of_file(path) for path in (Path(text) for text in options if isinstance(text, str)) if _is_file(path)]
    parameters = getattr(made, "parameters", None)
    if isinstance(parameters, dict):
        found += sorted(f"{name}={value!r}" for name, value in parameters.items() if _is_plain(value))
    return tuple(found)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return packages with their installed distributions, cached since reading the lists of files takes a second."""
    return packages_distributions()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that cannot be a path
        return False


def _is_plain(value: object) -> bool:
    """Return whether its repr is complete: no address of an object, no abbreviated array."""
    if isinstance(value, dict | list | tuple):
        return all(map(_is_plain, [*value, *value.values()] if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool | int | float | str | np.generic)
