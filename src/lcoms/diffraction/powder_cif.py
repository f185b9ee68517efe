"""Powder CIF, read with gemmi: the loop of the measured pattern, or its counts over a stated range of two theta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import gemmi
import numpy as np

from lcoms.core.errors import FileFormatError
from lcoms.core.numerals import real

_ANGLES = ("_pd_meas_2theta_scan", "_pd_meas_2theta_corrected", "_pd_proc_2theta_corrected", "_pd_proc_d_spacing")
_AXES = (*_ANGLES, "_pd_proc_recip_len_q", "_pd_meas_time_of_flight")
_COUNTS = ("counts_total", "intensity_total", "counts_net", "intensity_net")
_MEASURED = {kind: tuple(f"_pd_{kind}_{name}" for name in _COUNTS) for kind in ("meas", "proc")}
_RANGES = {"meas": "_pd_meas_2theta_range_", "proc": "_pd_proc_2theta_range_"}
_WAVELENGTH = "_diffrn_radiation_wavelength"
_STATED = ("_diffrn", "_pd_")  # items that name the radiation and the axis
OFF = 0.6  # steps; the last angle of a range may be rounded


class _Pattern(NamedTuple):
    """A loop with a pattern: its block, and the kind of its counts, None where they are calculated."""

    block: gemmi.cif.Block
    loop: gemmi.cif.Loop
    kind: str | None


def table_of_cif(text: str) -> str | None:
    """Return the pattern of a powder CIF as a header and one loop; None unless a loop has an axis and intensities.

    Loops of reflections, atoms and the like are left out. Measured intensities go before processed ones of their block.

    Raises:
        FileFormatError: several blocks have a pattern.
    """
    if "_pd_" not in text:
        return None
    try:
        blocks = list(gemmi.cif.read_string(text))
    except (ValueError, RuntimeError):
        return None  # loops without a block, as cut from a file, are read line by line
    found = [pattern for block in blocks for pattern in _patterns(block)]
    for kind in (*_MEASURED, None):
        chosen = [pattern for pattern in found if pattern.kind == kind]
        if len(chosen) > 1 or len({pattern.block.name for pattern in found if pattern.kind}) > 1:
            raise FileFormatError(f"a powder CIF with {max(len(chosen), 2)} patterns; keep one.")
        if chosen:
            stated = [line for block in blocks for line in _items(block)]
            return "\n".join([*stated, *_lines(chosen[0].loop)]) + "\n"
    return None


def _patterns(block: gemmi.cif.Block) -> list[_Pattern]:
    loops = [item.loop for item in block if item.loop is not None]
    found = []
    for loop in loops:
        tags = {tag.lower() for tag in loop.tags}
        kinds = [kind for kind, names in _MEASURED.items() if tags & set(names)]
        calculated = any(tag.startswith("_pd_calc_intensity") for tag in tags)
        if tags & set(_AXES) and (kinds or calculated):
            found.append(_Pattern(block, loop, kinds[0] if kinds else None))
    return found


def _items(block: gemmi.cif.Block) -> list[str]:
    """Return the statements of a block that concern the measurement, one per line, wavelengths by their name."""
    pairs = [cast(Sequence[str], item.pair) for item in block if item.pair is not None]
    stated = [(pair[0], pair[1]) for pair in pairs if pair[0].lower().startswith(_STATED)]
    lines = [f"{tag} {' '.join(value.split())}" for tag, value in stated if not gemmi.cif.is_null(value)]
    loops = [column for name in (_WAVELENGTH, "_diffrn_radiation_type") for column in [block.find_loop(name)]]
    return lines + [f"{column.tag} {value}" for column in loops if column for value in column]


def _lines(loop: gemmi.cif.Loop) -> list[str]:
    """Return a loop of numbers as lines; columns with anything else are left out, and unknown values are dots."""
    columns = [[loop[row, at] for row in range(loop.length())] for at in range(loop.width())]
    kept = [at for at, column in enumerate(columns) if all(gemmi.cif.is_null(v) or _is_number(v) for v in column)]
    rows = [" ".join(columns[at][row] for at in kept) for row in range(loop.length())]
    return ["loop_", *(loop.tags[at].lower() for at in kept), *rows]


def _is_number(value: str) -> bool:
    try:
        real(value.partition("(")[0])
    except ValueError:
        return False
    return True


def table_of_range(text: str) -> str | None:
    """Return the pattern of a powder CIF as lines of two theta (degrees) and counts; None unless it states a range.

    A file with a column of angles or spacings is read by its columns, even if it also states the range.

    Raises:
        FileFormatError: several patterns, an incomplete range, or another number of counts than that of the range.
    """
    if not any(name in text for name in _RANGES.values()) or any(name in text for name in _ANGLES):
        return None
    try:
        blocks = list(gemmi.cif.read_string(text))
    except (ValueError, RuntimeError) as error:
        raise FileFormatError(f"a damaged powder CIF ({str(error).splitlines()[0]}).") from None
    found = [(block, kind, counts) for block in blocks if (pattern := _counts(block)) for kind, counts in [pattern]]
    if len(found) != 1:
        raise FileFormatError(f"a powder CIF with {len(found)} columns of measured counts; keep one pattern.")
    block, kind, counts = found[0]
    start, end, step = (_value(block, _RANGES[kind] + name) for name in ("min", "max", "inc"))
    if step <= 0 or abs(start + step * (len(counts) - 1) - end) > OFF * step:
        raise FileFormatError(
            f"{len(counts)} counts in steps of {step:g} do not run from {start:g} to {end:g} degrees."
        )
    lengths = [word for word in block.find_values(_WAVELENGTH) if not gemmi.cif.is_null(word)]
    head = "".join(f"# wavelength {gemmi.cif.as_string(word)}\n" for word in lengths) + "2theta,counts\n"
    angles = (start + step * np.arange(len(counts))).tolist()
    return head + "\n".join(f"{a!r},{b!r}" for a, b in zip(angles, counts, strict=True))


def _counts(block: gemmi.cif.Block) -> tuple[str, list[float]] | None:
    """Return whether counts are measured or processed, and the counts; None for a block without any."""
    for names, kind in ((_MEASURED[kind], kind) for kind in _RANGES):
        for name in names:
            if column := list(block.find_values(name)):
                return kind, [_number(word) for word in column]
    return None


def _value(block: gemmi.cif.Block, name: str) -> float:
    word = block.find_value(name)
    if word is None or gemmi.cif.is_null(word):
        raise FileFormatError(f"a powder CIF without angles and without {name}.")
    return _number(word)


def _number(word: str) -> float:
    text = gemmi.cif.as_string(word)
    try:
        return real(text.partition("(")[0])
    except ValueError:
        raise FileFormatError(f"the powder CIF has {text[:40]!r} in place of a number.") from None
