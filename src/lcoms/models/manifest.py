"""digest.json in a folder of weights: SHA-256 of each file, so that loading detects damaged or mixed-up files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from lcoms.core.config import parse_json
from lcoms.core.disk import sha256_of, write_whole
from lcoms.core.errors import WeightsError

MANIFEST = "digest.json"
VERSION = 1


def record_files(folder: Path, names: Iterable[str]) -> None:
    """Record the digests of these files; records of other files remain.

    Raises:
        WeightsError: an existing manifest cannot be read.
        OSError: a file cannot be read, or the manifest cannot be written.
    """
    digests = read_manifest(folder) | {name: sha256_of(folder / name) for name in names}
    content = {"lcoms_weights": VERSION, "sha256": dict(sorted(digests.items()))}
    write_whole(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def checked_digest(folder: Path, names: Iterable[str]) -> str:
    """Return one digest over files and their names, and check recorded files against the manifest.

    Args:
        names: names of existing files; recorded files are included as well.

    Raises:
        WeightsError: a file differs from its record or is missing, or the manifest cannot be read.
    """
    noted, state = read_manifest(folder), hashlib.sha256()
    for name in sorted({*names, *noted}):
        if not (folder / name).is_file():
            raise WeightsError(f"there is no file {folder / name}; check the folder, copy it again, or train first.")
        found = sha256_of(folder / name)
        if noted.get(name, found) != found:
            raise WeightsError(
                f"{folder / name} is damaged or has changed since it was written (see {MANIFEST} beside it); copy or "
                f"install the weights again, or delete {MANIFEST} if you changed the file yourself."
            )
        state.update(f"{name} {found}\n".encode())
    return state.hexdigest()[:16]


def read_manifest(folder: Path) -> dict[str, str]:
    """Return SHA-256 by file name; empty where there is no manifest.

    Raises:
        WeightsError: the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        content = parse_json(path.read_bytes())
        known = content["lcoms_weights"] == VERSION
        digests = {str(name): str(digest) for name, digest in content["sha256"].items()} if known else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged; copy or install the weights again.") from error
    if not known:
        raise WeightsError(f"{path} was made by another version of lcoms; install that one, or train again.")
    if any(Path(name).name != name for name in digests):
        raise WeightsError(f"{path} names files outside its folder; copy or install the weights again.")
    return digests
