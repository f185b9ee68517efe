"""Crystals from files for commands that take many: unique names, and files that cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from lcoms.cli.console import complain
from lcoms.core.disk import require_writable
from lcoms.core.errors import ConfigError, LcomsError

if TYPE_CHECKING:
    from lcoms.oracles.base import EnergyOracle
    from lcoms.structure.crystal import Crystal

Failure = tuple[str, str]
"""Name of a file or crystal, and the error."""


def require_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Check, before any work, that files can be written, and that none of them replaces an input or another output.

    Args:
        outputs: files; None for those that were not asked for.
        inputs: files and folders.

    Raises:
        ConfigError: a file would be replaced.
        OSError: a file cannot be written.
    """
    taken = dict.fromkeys(map(Path.resolve, _files_at(inputs)), "is an input, which would be replaced")
    for path in (path for path in outputs if path is not None):
        if (why := taken.get(path.resolve())) and (path.is_file() or not path.exists()):  # no pipe or device
            raise ConfigError(f"{path} {why}; write to another file.")
        require_writable(path)
        taken[path.resolve()] = "is given for two outputs"


def require_no_input(folder: Path, inputs: Iterable[Path], *patterns: str) -> None:
    """Check, before any work, that files written into a folder replace no input.

    Args:
        patterns: of the names that are written, such as rank-*.cif.

    Raises:
        ConfigError: an input would be replaced.
    """
    for path in _files_at(inputs):
        if path.resolve().parent == folder.resolve() and any(fnmatch(path.name, pattern) for pattern in patterns):
            raise ConfigError(f"{folder} holds the input {path.name}; write to another folder with --out.")


def _files_at(paths: Iterable[Path | None]) -> list[Path]:
    """Return files, and the structure files of folders."""
    from lcoms.structure.io import structure_files

    given = [path for path in paths if path is not None]
    return [file for path in given for file in (structure_files(path) if path.is_dir() else [path])]


def read_named(files: list[Path]) -> tuple[list[tuple[str, Crystal]], list[Failure]]:
    """Return the crystals in files and folders with their names, and the entries that cannot be read."""
    from lcoms.oracles.hull import structure_files_at
    from lcoms.structure.io import read_file

    found: list[tuple[str, Crystal]] = []
    failed: list[Failure] = []
    for given in files:
        try:
            paths = structure_files_at(given)
        except LcomsError as error:
            failed.append((str(given), _without_name(error, given)))
            continue
        for path in paths:
            readings = read_file(path)
            for i, reading in enumerate(readings, 1):
                name = str(path) if len(readings) == 1 else f"{path}#{i}"
                for sentence in reading.warnings:
                    complain(f"{name}: {sentence}")
                if reading.crystal is not None:
                    found.append((name, reading.crystal))
                elif reading.error is not None:
                    failed.append((name, reading.error.sentence))
    return found, failed


def _without_name(error: LcomsError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each name without its folders, unless another name would then be the same."""
    count = Counter(Path(name).name for name in names)
    return {name: Path(name).name if count[Path(name).name] == 1 else name for name in names}


def tell_reach(found: list[tuple[str, Crystal]], oracle: EnergyOracle) -> None:
    """Warn, before any work, of each crystal whose atoms are too far apart for the model."""
    from lcoms.oracles.reach import beyond_reach

    for name, crystal in found:
        if sentence := beyond_reach(oracle, crystal):
            complain(f"{name}: {sentence}")
