"""digest.json in a folder of weights: SHA-256 of each file, so that loading tells of damage and of mixtures."""

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
    """Note what stands in these files now; what is noted of others stays.

    Raises:
        WeightsError: a manifest that is there cannot be read.
        OSError: a file cannot be read, or the manifest not be written.
    """
    digests = read_manifest(folder) | {name: sha256_of(folder / name) for name in names}
    content = {"lcoms_weights": VERSION, "sha256": dict(sorted(digests.items()))}
    write_whole(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def checked_digest(folder: Path, names: Iterable[str]) -> str:
    """One digest over files and their names; those that are noted must be as they were.

    Args:
        names: of files that are there; files that are noted count beside them.

    Raises:
        WeightsError: a file is not as it is noted, or not there, or the manifest cannot be read.
    """
    noted, state = read_manifest(folder), hashlib.sha256()
    for name in sorted({*names, *noted}):
        if not (folder / name).is_file():
            raise WeightsError(f"there is no file {folder / name}; check the folder, copy it again, or train first.")
        found = sha256_of(folder / name)
        if noted.get(name, found) != found:
            raise WeightsError(
                f"{folder / name} is damaged or not the file it was ({MANIFEST} beside it tells); copy or install the "
                f"weights again, or delete {MANIFEST} if you changed the file yourself."
            )
        state.update(f"{name} {found}\n".encode())
    return state.hexdigest()[:16]


def read_manifest(folder: Path) -> dict[str, str]:
    """SHA-256 by name of file; none where there is no manifest.

    Raises:
        WeightsError: it cannot be read.
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
