"""The folder of a campaign: every finished result in it is complete, even if the run is killed.

| name | content |
| --- | --- |
| campaign.json | the options, which all runs in this folder must share, and the versions that they used |
| FORMULA/ | the files of `lcoms predict`; written under a hidden name and renamed, so it is complete or absent |
| journal.jsonl | one line per formula, appended when it is finished: status, reason, seconds |
| summary.parquet, summary.csv | one row per formula |

`lcoms.structure.folder_names` defines how FORMULA is written. Success is determined by the folder, failure by the last
line of the journal.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from lcoms import __version__
from lcoms.core.closing import Closing
from lcoms.core.config import from_dict, parse_json
from lcoms.core.disk import CAMPAIGN, lock, sync, write_whole
from lcoms.core.errors import ConfigError, FormulaError
from lcoms.core.identity import differences
from lcoms.core.journal import SharedJournal
from lcoms.prediction.output import RESULTS, cannot_write, make_folder
from lcoms.structure.crystal import Composition
from lcoms.structure.folder_names import folder_name

VERSION = 1
JOURNAL = "journal.jsonl"
LOCK = ".lock"
PART = ".part-"
STALE_SECONDS = 3600.0  # writing a formula takes far less, so an older part belongs to a run that was killed


class FormulaStatus(Enum):
    """Final status of a formula; the next run tries those that died or stopped again.

    DIED: its process was killed. STOPPED: the machine ran out of memory, disk space or file handles.
    """

    DONE = "done"
    FAILED = "failed"
    DIED = "died"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Line:
    """One line of the journal."""

    formula: str
    status: FormulaStatus
    reason: str
    seconds: float | None


class CampaignFolder(Closing):
    """The folder of a campaign, open for one run; use it in a `with` statement.

    Args:
        path: created if it does not exist.
        identity: options that all runs in it have in common, ready for JSON.
        versions: of the software used, such as "lcoms 1.0" and "chgnet 0.4.2"; runs may differ in them.

    Attributes:
        alone: whether no other run had the folder open when this one started.
        changed: a sentence if earlier runs used other versions; otherwise empty.

    Raises:
        ConfigError: the folder belongs to a campaign with other options, or contains other predictions.
        LcomsError: it cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], versions: Sequence[str] = ()) -> None:
        self.path = path
        make_folder(path)
        try:
            found = self._check(json.loads(json.dumps(dict(identity))), list(versions))
            self.changed = self._compare(found, list(versions))
            self._lock = (path / LOCK).open("ab")
        except OSError as error:
            raise cannot_write(path, error) from error
        self.alone = self._enter()
        self._journal = read_journal(path)

    def close(self) -> None:
        self._lock.close()

    def is_done(self, formula: str) -> bool:
        """Return whether the files of a formula exist, from this run or another.

        Raises:
            ConfigError: the files are those of another formula.
        """
        path = formula_folder(self.path, formula) / RESULTS
        if not path.is_file():
            return False
        require_formula(path, formula)
        return True

    def failure(self, formula: str) -> Line | None:
        """Return the last failure of a formula; None if it did not fail, or only because of the machine."""
        line = self._journal.get(formula)
        return line if line is not None and line.status is FormulaStatus.FAILED else None

    def keep(self, formula: str, files: Mapping[str, str], seconds: float) -> None:
        """Store the files of a formula, on disk when this returns, unless another run has already stored them.

        Raises:
            LcomsError: the folder cannot be written.
        """
        part, final = self.path / f"{PART}{uuid.uuid4().hex}", formula_folder(self.path, formula)
        try:
            part.mkdir()
            for name, text in files.items():
                _write_through(part / name, text)
            sync(part)
            if not self._rename(part, final):
                require_formula(final / RESULTS, formula)
                return
            sync(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self._append(Line(formula, FormulaStatus.DONE, "", seconds))

    def keep_failure(self, formula: str, status: FormulaStatus, reason: str, seconds: float | None) -> None:
        """Store why a formula failed, on disk when this returns.

        Raises:
            LcomsError: the folder cannot be written.
        """
        self._append(Line(formula, status, reason, seconds))

    def _rename(self, part: Path, final: Path) -> bool:
        """Rename, and return False if another run was first: renaming onto a folder that is not empty fails."""
        try:
            part.rename(final)
        except OSError:
            if (final / RESULTS).is_file():
                return False
            raise
        return True

    def _append(self, line: Line) -> None:
        self._journal[line.formula] = line
        try:
            _journal(self.path).append(line)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _check(self, identity: dict[str, Any], versions: list[str]) -> dict[str, Any]:
        """Return the content of campaign.json: the same options, or those of a new folder, now stored."""
        path = self.path / CAMPAIGN
        if not path.exists():
            if any(self.path.glob(f"*/{RESULTS}")):
                raise ConfigError(f"{self.path} holds predictions that belong to no campaign; choose another --out.")
            self._store({"lcoms_campaign": VERSION, "lcoms_version": __version__, "versions": [versions], **identity})
        try:
            found = parse_json(path.read_text(encoding="utf-8"))
            version = found["lcoms_campaign"]
            theirs = {name: found[name] for name in identity}
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is damaged or belongs to no campaign; choose another folder with --out."
            ) from error
        if version != VERSION:
            raise ConfigError(f"{path} was written by another version of lcoms; choose another folder with --out.")
        if theirs != identity:
            raise ConfigError(
                f"{self.path} holds a campaign with other options ({'; '.join(differences(theirs, identity))}); give "
                "the same ones, or choose another folder with --out."
            )
        return dict(found)

    def _compare(self, found: dict[str, Any], versions: list[str]) -> str:
        """Return the sentence for `changed`; versions new to the folder are added to campaign.json."""
        known = found.get("versions")
        known = known if isinstance(known, list) else [[f"lcoms {found.get('lcoms_version')}"]]
        if not versions or versions in known:
            return ""
        write_whole(self.path / CAMPAIGN, _to_text(found | {"versions": [*known, versions]}))
        last = known[-1] if known and isinstance(known[-1], list) else []
        before = ", ".join(str(one) for one in last if one not in versions)
        now = ", ".join(one for one in versions if one not in last)
        return (
            f"this campaign was started with {before or 'less'} and goes on with {now or 'less'}; finished "
            "predictions are kept, so results may differ between formulas."
        )

    def _store(self, content: Mapping[str, Any]) -> None:
        """Create campaign.json unless another run was faster."""
        part = self.path / f"{PART}{CAMPAIGN}-{uuid.uuid4().hex}"
        try:
            _write_through(part, _to_text(content))
            with suppress(FileExistsError):
                os.link(part, self.path / CAMPAIGN)
        finally:
            part.unlink(missing_ok=True)

    def _enter(self) -> bool:
        """Share the lock of the folder after removing unfinished files of killed runs; return whether alone in it."""
        alone = lock(self._lock) is True
        for part in self.path.glob(f"{PART}*"):
            with suppress(OSError):
                if alone or time.time() - part.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
        with suppress(OSError):  # some network file systems have no locks
            lock(self._lock, shared=True, wait=True)
        return alone


def formula_folder(path: Path, formula: str) -> Path:
    """Return where the files of a formula are stored in the folder of a campaign."""
    return path / folder_name(formula)


def require_formula(path: Path, formula: str) -> None:
    """Check that a results.json, if readable, is that of a formula.

    Raises:
        ConfigError: it is that of another formula.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))["formula"]
        same = Composition.from_formula(found).reduced == Composition.from_formula(formula).reduced
    except (OSError, ValueError, KeyError, TypeError, AttributeError, FormulaError):
        return  # damaged, which the table of the campaign reports
    if not same:
        raise ConfigError(f"{path} is the result of {found}, not of {formula}; move {path.parent} away.")


def read_journal(path: Path) -> dict[str, Line]:
    """Return the last line of each formula; truncated lines are skipped."""
    return {line.formula: line for line in _journal(path).read()}


def _journal(path: Path) -> SharedJournal[Line]:
    return SharedJournal(path / JOURNAL, _encode, _decode)


def _encode(line: Line) -> dict[str, Any]:
    return asdict(line) | {"status": line.status.value}


def _decode(content: Any) -> Line:
    if not isinstance(content, dict):
        raise TypeError("no object")
    return from_dict(Line, content)


def _write_through(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _to_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
