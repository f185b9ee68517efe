"""Results on disk, one line of JSON each, written through before the next: whatever kills the run, they are there.

The first line says which oracle and options they belong to. Results are found again by the start's own numbers, so
that crystals may be added or put in another order between runs. A line that was cut short is dropped.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any

from lcoms.core.config import parse_json, to_dict
from lcoms.core.disk import append
from lcoms.core.errors import ConfigError, CrystalError
from lcoms.relax.result import RelaxConfig, RelaxResult, result_from_dict, result_to_dict
from lcoms.structure.crystal import Crystal

try:
    import fcntl
except ImportError:  # not on Windows: two runs there are not kept apart
    fcntl = None  # type: ignore[assignment]

VERSION = 1


def crystal_key(crystal: Crystal) -> str:
    """Equal for crystals of equal numbers in equal order."""
    digest = hashlib.sha256()
    for array in (crystal.lattice, crystal.frac_coords, crystal.atomic_numbers):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:32]


class Checkpoint:
    """An open file of results; use it with `with`.

    Args:
        path: the file; made where there is none.
        oracle: name of the oracle.
        config: options of the relaxation.

    Raises:
        ConfigError: the file is of another oracle or other options, no checkpoint, or in use by another run.
    """

    def __init__(self, path: Path, oracle: str, config: RelaxConfig) -> None:
        self._path = path
        self._header = {"lcoms_relax": VERSION, "oracle": oracle, "options": json.loads(json.dumps(to_dict(config)))}
        self._results: dict[str, RelaxResult] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._results)

    def get(self, crystal: Crystal) -> RelaxResult | None:
        """The result of this start, where it is there."""
        return self._results.get(crystal_key(crystal))

    def put(self, start: Crystal, result: RelaxResult) -> None:
        """Store a result; on disk when this returns."""
        key = crystal_key(start)
        self._results[key] = result
        self._write({"key": key, "result": result_to_dict(result)})

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"{self._path} is in use by another run; wait for it or choose another folder."
                ) from error

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and _to_line(self._header).startswith(content):
            self._file.truncate(0)
            self._write(self._header)
            return
        try:
            header, *lines = [parse_json(line) for line in whole.splitlines()]
            results = {line["key"]: result_from_dict(line["result"]) for line in lines}
            found = {name: header[name] for name in self._header}
        except (ValueError, KeyError, TypeError, CrystalError) as error:
            raise ConfigError(f"{self._path} is no checkpoint, or is damaged; move it away.") from error
        if found != self._header:
            raise ConfigError(
                f"{self._path} holds results of another oracle or other options ({found['oracle']}, "
                f"fmax {found['options'].get('fmax')}); choose another folder, or delete it."
            )
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        self._results = results

    def _write(self, line: dict[str, Any]) -> None:
        append(self._file, self._path, _to_line(line))


def _to_line(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False).encode() + b"\n"
