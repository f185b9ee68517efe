"""Powder CIF whose loop has counts without angles: equal steps over a stated range of two theta, read with gemmi."""

from __future__ import annotations

import gemmi
import numpy as np

from lcoms.core.errors import FileFormatError
from lcoms.core.numerals import real

_ANGLES = ("_pd_meas_2theta_scan", "_pd_meas_2theta_corrected", "_pd_proc_2theta_corrected", "_pd_proc_d_spacing")
_COUNTS = ("counts_total", "intensity_total", "counts_net", "intensity_net")
_RANGES = {"meas": "_pd_meas_2theta_range_", "proc": "_pd_proc_2theta_range_"}
_WAVELENGTH = "_diffrn_radiation_wavelength"
OFF = 0.6  # steps; the last angle of a range may be rounded


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
    for kind in _RANGES:
        for name in _COUNTS:
            if column := list(block.find_values(f"_pd_{kind}_{name}")):
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
