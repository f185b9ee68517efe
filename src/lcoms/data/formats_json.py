"""Rows of JSON files of any size, read piece by piece, and the layouts of their structures.

A file is a list of rows, or an object with a list of rows (`data` as in MatBench and the OQMD API), or an object of
rows by id, or one row per line (`.jsonl`). A row is an object, or a list with its names in `columns`. Its structure is

- `structure`: a pymatgen structure (MatBench);
- `atoms`: lattice_mat, coords, elements and cartesian (JARVIS, and its copy of OQMD);
- `unit_cell` and `sites`: three rows in angstrom, or a, b, c, alpha, beta, gamma, and sites `Na @ 0 0 0` in fractional
  coordinates (OQMD API and exports, also as text in a CSV file);
- `attributes`: an OPTIMADE structure; `sites` with `lattice`: a pymatgen structure; `positions` with `cell`: ASE;
- `cif`: CIF text;
- `numbers`, `frac_coords` and `lattice`: arrays.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import numpy as np

from lcoms.core.config import parse_json, parse_whole
from lcoms.core.errors import DataError
from lcoms.data.layouts import crystal_of_row, is_ase, is_row
from lcoms.data.records import Reader, Reason, Record, RowError, make_record
from lcoms.structure.io import encoding_of
from lcoms.structure.reading import Remark, Topic

MP_FUNCTIONAL = "gga_gga+u"
MP_VALUES = ("formation_energy_per_atom", "energy_above_hull")
_OTHER_FUNCTIONAL = Remark(Topic.LEFT_OUT, "energies of functionals other than PBE and PBE+U are not read.")
ROW_KEYS = ("structure", "atoms", "attributes")
_log = logging.getLogger("lcoms")
_CHUNK = 1 << 20
_LARGEST_ITEM = 1 << 28


class InList(str):
    """Key of a list, of which an item is an element."""


def json_reader(path: Path) -> Reader:
    """Return the reader of a JSON file."""
    if ".jsonl" in path.name.lower():
        return Reader(path, partial(_lines, path), parse_line)
    with open_text(path) as handle:
        start = _Stream(path, handle).peek()
    if start not in ("[", "{"):
        raise DataError(f"{path} is not a JSON file of rows.")
    return Reader(path, partial(_rows, path, _FirstPage(path)), parse_row)


def open_text(path: Path) -> TextIOWrapper:
    """Open a text file in UTF-8, 16 or 32, its line endings unchanged, decompressed if its name ends in .gz."""
    opener = cast(Callable[..., Any], gzip.open if path.name.lower().endswith(".gz") else open)
    start = b""
    with suppress(EOFError, OSError, zlib.error), opener(path, "rb") as raw:  # damaged files are reported when read
        start = raw.read(4)
    return cast(TextIOWrapper, opener(path, "rt", encoding=encoding_of(start), errors="replace", newline=""))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    stem = path.name.partition(".")[0]
    with open_text(path) as handle:
        try:
            whole = iter(lambda: handle.readline(_LARGEST_ITEM), "")
            for number, line in enumerate(line for line in whole if line.strip()):
                if len(line) == _LARGEST_ITEM:
                    raise DataError(f"{path} has a line of more than {_LARGEST_ITEM >> 20} MB; write one row a line.")
                yield {"line": line, "row_name": f"{stem}-{number}", "source_name": stem}
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"{path} is damaged or cut short; fetch it again.") from error


class _FirstPage:
    """The warning that a file holds one page of an answer, given once by each reader, however often it reads."""

    def __init__(self, path: Path) -> None:
        self.path, self.said = path, False

    def say(self) -> None:
        if not self.said:
            self.said = True
            _log.warning("%s is one page of an answer; fetch the further pages as well.", self.path)


def _rows(path: Path, first_page: _FirstPage) -> Iterator[dict[str, Any]]:
    """Yield rows as objects, whatever the layout; each has a name that replaces a missing id."""
    stem = path.name.partition(".")[0]
    index: list[Any] = []
    columns: list[Any] = []
    number, key, rows_begun = 0, None, False
    for key, item in stream_items(path):
        if key == "index":
            index.append(item)
        elif key == "columns":
            columns.append(item)
        elif (
            key in ("links", "meta")
            and isinstance(item, dict)
            and (item.get("next") or item.get("more_data_available"))
        ):
            first_page.say()
        elif key in (None, "data") or (isinstance(item, dict) and (is_row(item) or rows_begun)):
            _require_list(key, path)
            row = dict(item) if isinstance(item, dict) else _named_row(item, columns)
            by_id = isinstance(item, dict) and key not in (None, "data") and not isinstance(key, InList)
            rows_begun = rows_begun or key not in (None, "data")  # objects without a structure are rows that lack one
            name = key if by_id else index[number] if number < len(index) else f"{stem}-{number}"
            row["row_name"], row["source_name"] = str(name), stem
            number += 1
            yield row
    if key is not None and not number:
        raise DataError(f"{path} holds no rows in a known layout; write structures as a list of objects.")


def _require_list(key: str | None, path: Path) -> None:
    """Raise DataError if a key is the name of a value of a row, not of a row."""
    if key in ROW_KEYS and not isinstance(key, InList):
        raise DataError(f"{path} is a single row, and its other values would be lost; put it into a list: [...].")


def _named_row(item: Any, columns: list[Any]) -> dict[str, Any]:
    """Return a list of values with the names of their columns; empty, and so dropped with a reason, without these."""
    return dict(zip(columns, item, strict=True)) if isinstance(item, list) and len(item) == len(columns) else {}


def stream_items(path: Path) -> Iterator[tuple[str | None, Any]]:
    """Yield the items of a JSON file one at a time: elements of lists with their list's key, other values with theirs.

    Raises:
        DataError: the file is truncated or not JSON.
    """
    with open_text(path) as handle:
        stream = _Stream(path, handle)
        if stream.peek() == "[":
            yield from ((None, item) for item in stream.elements())
            stream.require_end()
            return
        stream.expect("{")
        while stream.peek() != "}":
            key = stream.value()
            stream.expect(":")
            if stream.peek() == "[":
                for item in stream.elements():
                    yield InList(key), item
            else:
                yield key, stream.value()
            if stream.peek() == ",":
                stream.expect(",")
        stream.expect("}")
        stream.require_end()


class _Stream:
    """A window on a JSON text that advances as values are read."""

    def __init__(self, path: Path, handle: TextIOWrapper) -> None:
        self.path, self.handle = path, handle
        self.text, self.position = "", 0
        self.decoder = json.JSONDecoder(parse_int=parse_whole)

    def more(self) -> bool:
        """Read the next piece; return False at the end of the file."""
        try:
            piece = self.handle.read(max(_CHUNK, len(self.text) - self.position))
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"{self.path} is damaged or cut short; fetch it again.") from error
        if piece:
            self.text, self.position = self.text[self.position :] + piece, 0
        return bool(piece)

    def peek(self) -> str:
        """Return the next non-space character; empty at the end."""
        while True:
            while self.position < len(self.text):
                if not self.text[self.position].isspace():
                    return self.text[self.position]
                self.position += 1
            if not self.more():
                return ""

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            what = "is cut short" if found == "" else f"is not valid JSON: {character} expected, {found} found"
            raise DataError(f"{self.path} {what}; fetch it again.")
        self.position += 1

    def require_end(self) -> None:
        if self.peek():
            raise DataError(
                f"{self.path} goes on after the end of its JSON, and that part would be lost; write one list of rows, "
                "or one row per line into a file named .jsonl."
            )

    def value(self) -> Any:
        """Return the next value as a whole."""
        self.peek()
        while True:
            try:
                item, end = self.decoder.raw_decode(self.text, self.position)
            except json.JSONDecodeError as error:
                # Truncated text fails at its end, or at the start of an unclosed string.
                early = error.pos < len(self.text) - 64 and not error.msg.startswith("Unterminated")
                if early or len(self.text) - self.position > _LARGEST_ITEM:
                    raise DataError(f"{self.path} is not valid JSON: {error.msg.lower()}.") from None
                if not self.more():
                    raise DataError(f"{self.path} is cut short; fetch it again.") from None
                continue
            except ValueError as error:
                raise DataError(f"{self.path} cannot be read: it holds {error}.") from None
            except RecursionError:
                raise DataError(f"{self.path} is not a list of crystals: its JSON is nested too deeply.") from None
            if len(self.text) - end < 4 and isinstance(item, int | float) and self.more():
                continue  # the number may continue in the next piece: 3 of 3.5, 1 of 1e-5
            self.position = end
            return item

    def elements(self) -> Iterator[Any]:
        """Yield the elements of the list that begins here."""
        self.expect("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() == ",":
                self.expect(",")
        self.expect("]")


def parse_line(row: Mapping[str, Any]) -> Record:
    """Return the record of a row that is still JSON text."""
    try:
        content = parse_json(row["line"])
    except ValueError:
        raise RowError(Reason.UNREADABLE) from None
    if not isinstance(content, dict):
        raise RowError(Reason.UNREADABLE)
    return parse_row({**content, "row_name": row["row_name"], "source_name": row["source_name"]})


def parse_row(row: Mapping[str, Any]) -> Record:
    """Return the record of a row whose structure has one of the layouts above.

    Raises:
        RowError: with the reason to drop it.
    """
    try:
        crystal, remarks = crystal_of_row(row)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, np.linalg.LinAlgError):
        raise RowError(Reason.UNREADABLE) from None
    attributes = row.get("attributes")
    if isinstance(row.get("data"), dict):  # as in Alexandria
        row = {**row["data"], **row}
    values = {**_stability(attributes), **attributes, **row} if isinstance(attributes, dict) else row
    if isinstance(attributes, dict) and attributes.get("_mp_stability") and not _stability(attributes):
        remarks = (*remarks, _OTHER_FUNCTIONAL)
    if is_ase(row) and row.get("energy_per_atom") is None:  # ASE's energies are those of the cell
        values = {**values, "energy_per_atom": _per_atom(row.get("energy"), crystal.n_atoms)}
    return make_record(values, crystal, row["row_name"], row["source_name"], remarks)


def _stability(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the PBE(+U) energies of the Materials Project in OPTIMADE; those of other functionals are not read."""
    by_functional = attributes.get("_mp_stability")
    found = by_functional.get(MP_FUNCTIONAL) if isinstance(by_functional, dict) else None
    return {name: found.get(name) for name in MP_VALUES} if isinstance(found, dict) else {}


def _per_atom(energy: Any, n_atoms: int) -> Any:
    """Return an energy per atom; what is not a number is returned as it is, to be counted."""
    return energy / n_atoms if isinstance(energy, int | float) else energy
