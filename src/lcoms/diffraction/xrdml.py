"""PANalytical's XRDML format (`.xrdml`): one scan over two theta, as a table of two columns."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from lcoms.core.errors import FileFormatError
from lcoms.core.numerals import real

Values = NDArray[np.float64]


def table_of_xrdml(text: str) -> str:
    """Return the scan of an XRDML file as lines of two theta and counts, preceded by its wavelengths.

    Counts are multiplied by the attenuation factors, where the file has them beside raw counts, and refer to the mean
    counting time, where each point has its own.

    Raises:
        FileFormatError: the file is damaged, has several scans or none over two theta.
    """
    root = _root(text)
    scans = [node for node in root.iter() if node.tag == "scan" and node.find("dataPoints") is not None]
    if len(scans) != 1:
        raise FileFormatError(f"an XRDML file with {len(scans)} scans; export the scan of the pattern alone.")
    points = scans[0].find("dataPoints")
    assert points is not None
    counts = _per_time(_counts(points), points)
    two_theta = _positions(points, len(counts))
    beta = any("beta" in node.get("intended", "").lower() for node in root.iter("usedWavelength"))
    lengths = _texts(root, *(("kBeta",) if beta else ("kAlpha1", "kAlpha2")))
    header = "".join(f"# anode {anode}\n" for anode in _texts(root, "anodeMaterial"))
    header += f"# wavelength {' '.join(lengths)}\n2theta,counts\n"
    return header + "\n".join(f"{x!r},{y!r}" for x, y in zip(two_theta.tolist(), counts.tolist(), strict=True))


def _root(text: str) -> ET.Element:
    """Return the root of the document, its tags without namespaces."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FileFormatError("an XML file with a document type; export the pattern as text of two columns.")
    try:
        root = ET.fromstring(text.partition("?>")[2] if text.lstrip().startswith("<?xml") else text)
    except ET.ParseError as error:
        raise FileFormatError(f"a damaged XML file ({error}).") from error
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    return root


def _texts(root: ET.Element, *names: str) -> list[str]:
    return list(dict.fromkeys(node.text.strip() for node in root.iter() if node.tag in names and node.text))


def _counts(points: ET.Element) -> Values:
    intensities, raw = points.find("intensities"), points.find("counts")
    if intensities is not None:
        return _numbers(intensities)
    if raw is None:
        raise FileFormatError("an XRDML file without counts.")
    counts, factors = _numbers(raw), points.find("beamAttenuationFactors")
    if factors is None:
        return counts
    attenuation = _numbers(factors)
    if len(attenuation) != len(counts):
        raise FileFormatError(f"{len(counts)} counts but {len(attenuation)} attenuation factors.")
    return counts * attenuation


def _per_time(counts: Values, points: ET.Element) -> Values:
    """Return counts in the mean counting time, where the points have different ones; otherwise the counts."""
    listed = points.find("countingTimes")
    if listed is None:
        return counts
    times = _numbers(listed)
    if len(times) != len(counts) or not (times > 0).all():
        raise FileFormatError(f"{len(counts)} counts need as many positive counting times.")
    return counts * times.mean() / times


def _positions(points: ET.Element, n: int) -> Values:
    """Return two theta of n points, listed or from the first to the last."""
    axis = next((node for node in points.findall("positions") if node.get("axis") == "2Theta"), None)
    if axis is None:
        raise FileFormatError("an XRDML file whose scan is not over two theta.")
    if (unit := axis.get("unit", "deg")) != "deg":
        raise FileFormatError(f"two theta is in {unit}; degrees can be read.")
    listed, start, end = (axis.find(name) for name in ("listPositions", "startPosition", "endPosition"))
    if listed is None and (start is None or end is None):
        raise FileFormatError("an XRDML file whose scan is not over two theta.")
    if listed is None:
        assert start is not None
        assert end is not None
        first, last = _numbers(start)[0], _numbers(end)[0]
        if first == last:
            raise FileFormatError(f"an XRDML file whose scan stays at {first:g} degrees two theta.")
        return np.linspace(first, last, n)
    found = _numbers(listed)
    if len(found) != n:
        raise FileFormatError(f"{len(found)} angles but {n} counts.")
    return found


def _numbers(node: ET.Element) -> Values:
    try:
        found = np.array([real(word) for word in (node.text or "").split()])
    except ValueError as error:
        raise FileFormatError(f"{node.tag} are not numbers.") from error
    if not len(found):
        raise FileFormatError(f"{node.tag} has no numbers.")
    return found
