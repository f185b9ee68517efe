"""Fields of the form that say what is known of the crystal, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from lcoms.core.errors import ConfigError
from lcoms.prediction.constraints import groups_asked
from lcoms.prediction.known_cell import read_cell
from lcoms.prediction.structure_types import read_structure_type

LONGEST = 200  # characters
FIELDS = (
    ("space_group", "Space groups, numbers or symbols", "62, Pnma"),
    ("crystal_system", "Crystal system", "tetragonal"),
    ("cell", "Lengths and angles of the cell", "5.4 7.6 5.3 90 90 90"),
    ("cell_tolerance", "By which the cell may differ, relative", "0.05"),
    ("volume", "Volume of a formula unit, cubic angstrom", ""),
    ("density", "Density, g/cm^3", ""),
    ("tolerance", "By which volume or density may differ, relative", "0.1"),
    ("prototypes", "Structure types that it may have", "B1, rutile"),
    ("exclude_prototypes", "Structure types that it does not have", ""),
    ("max_e_above", "Most eV/atom above the lowest candidate", ""),
)
"""Name, label and placeholder of each."""
NUMBERS = ("cell_tolerance", "volume", "density", "tolerance", "max_e_above")


def read_constraints(form: Mapping[str, str]) -> dict[str, Any]:
    """Options of the constraints that the filled fields come to; structure types are names, not files.

    Raises:
        ConfigError: a field cannot be read, or has no effect.
    """
    given = {name: text for name, *_ in FIELDS if (text := form.get(name, ""))}
    for name, text in given.items():
        if len(text) > LONGEST:
            raise ConfigError(f"{name} is too long; at most {LONGEST} characters can be read.")
    if "cell_tolerance" in given and "cell" not in given:
        raise ConfigError("cell_tolerance has no effect without a cell; leave it out, or give a cell.")
    if "tolerance" in given and not {"volume", "density"} & given.keys():
        raise ConfigError("tolerance has no effect without volume or density; leave it out, or give one of them.")
    options: dict[str, Any] = {name: _number(given[name], name) for name in NUMBERS if name in given}
    if "space_group" in given or "crystal_system" in given:
        names = given["space_group"].split(",") if "space_group" in given else []
        options["space_groups"] = groups_asked(names, given.get("crystal_system"))
    if "cell" in given:
        options["cell"] = read_cell(given["cell"])
    for name in ("prototypes", "exclude_prototypes"):
        if name in given:
            names = [text.strip() for text in given[name].split(",") if text.strip()]
            options[name] = tuple(read_structure_type(text, files=False) for text in names)
    return options


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ConfigError(f"option {name}: expected a number, not {text[:20]!r}.")
    return value
