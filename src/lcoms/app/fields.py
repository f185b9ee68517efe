"""The fields of the form: one for each option of a prediction (`prediction.presets.Options`) that a page may set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, Literal, get_type_hints

from lcoms.core.config import read_range
from lcoms.core.errors import ConfigError
from lcoms.prediction.constraints import SYSTEMS, groups_of_system, read_space_groups
from lcoms.prediction.known_cell import read_cell
from lcoms.prediction.model_options import ModelOptions
from lcoms.prediction.presets import EFFORTS, Options
from lcoms.prediction.structure_types import StructureType, read_structure_type

LONGEST = 100  # characters of a field
FIXED = tuple(field.name for field in fields(ModelOptions))  # set by whoever starts the server
RELAXATION = ("n_relax", "random_symmetric", "fmax", "pressure", "soft_modes", "phonons", "temperature")
FIRST = ("effort",)
CHOICES = {"effort": tuple(EFFORTS), "start": ("", "library", "prior", "random")}
MOST = {
    "n_candidates": 50, "max_atoms": 400, "starts": 1000, "steps": 5000, "n_relax": 500, "random_symmetric": 1000,
    "phonons": 5, "soft_modes": 5,
}  # fmt: skip
LABELS = {
    "n_candidates": ("Candidates to keep", ""),
    "formula_units": ("Formula units in the primitive cell", "2 or 1-4"),
    "max_atoms": ("Largest primitive cell, atoms", "80"),
    "starts": ("Number of starting latents", "by effort"),
    "steps": ("Steps of descent", "by effort"),
    "start": ("Starting points of the descents", ""),
    "symmetry": ("Keep the space groups of the templates", ""),
    "exclude_same": ("Exclude training crystals of the same formula from the templates", ""),
    "n_relax": ("Candidates to relax", "by effort"),
    "random_symmetric": ("Random symmetric crystals to relax", "by effort"),
    "fmax": ("Largest force after relaxation, eV/Å", "0.1"),
    "pressure": ("Pressure, GPa", "0"),
    "space_groups": ("Space groups or crystal system", "225, Pnma or cubic"),
    "volume": ("Volume of a formula unit, Å³", "any"),
    "density": ("Density, g/cm³", "any"),
    "tolerance": ("Tolerance of volume or density, relative", "0.1"),
    "cell": ("Cell lengths and angles, Å and °", "5.4 7.6 5.3 90 90 90"),
    "cell_tolerance": ("Tolerance of the cell, relative", "0.05"),
    "prototypes": ("Allowed structure types", "B1, rutile"),
    "exclude_prototypes": ("Excluded structure types", ""),
    "max_e_above": ("Highest energy above the hull, eV/atom", "any"),
    "soft_modes": ("Distort this many candidates along soft modes", "0"),
    "phonons": ("Compute phonons of this many candidates", "0"),
    "temperature": ("Temperature of harmonic free energies, K", ""),
    "seed": ("Random seed", ""),
}
Kind = Literal["choice", "check", "whole", "number", "range", "groups", "cell", "types"]
KINDS: Mapping[Any, Kind] = {
    bool: "check", bool | None: "check", int: "whole", int | None: "whole", float: "number", float | None: "number",
    tuple[int, int] | None: "range", tuple[int, ...]: "groups", str: "choice", str | None: "choice",
    tuple[float, ...] | None: "cell", tuple[StructureType, ...]: "types",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One field of the form.

    Attributes:
        name: of the option.
        hint: meaning of an empty field, or an example of its format.
        default: initial text.
        choices: of a list.
    """

    name: str
    kind: Kind
    label: str
    hint: str
    default: str
    choices: tuple[str, ...] = ()


def form_fields(options: Options) -> tuple[Field, ...]:
    """Return the fields in the order of the options, with the defaults of the server."""
    hints = get_type_hints(Options)
    relaxed = () if options.relax is not False else RELAXATION
    names = [field.name for field in fields(Options) if field.name not in (*FIXED, *relaxed)]
    return tuple(_field(name, hints[name], getattr(options, name)) for name in names)


def label_of(name: str) -> str:
    """Return the label of the field of an option, in quotation marks; the name if it has none."""
    return f'"{LABELS[name][0]}"' if name in LABELS else name


def _field(name: str, hint: Any, default: Any) -> Field:
    label, meaning = LABELS.get(name, (name.replace("_", " ").capitalize(), ""))
    if default is True:
        return Field(name, "choice", label, meaning, "yes", ("yes", "no"))
    kind = KINDS[hint]
    text = "" if default in (None, (), False) else str(default)
    return Field(name, kind, label, meaning, text, CHOICES.get(name, ()))


def read_fields(form: Mapping[str, str], options: Options) -> Options:
    """Return the options of the server, replaced by those of the form; an empty field leaves an option unchanged.

    Raises:
        ConfigError: a field cannot be read, or exceeds the limit for a page.
    """
    given = {}
    for field in form_fields(options):
        text = form.get(field.name, "").strip()
        if len(text) > LONGEST:
            raise ConfigError(f"{field.label}: the limit is {LONGEST} characters.")
        if text:
            given[field.name] = _read(field, text)
    return replace(options, **given)


def _read(field: Field, text: str) -> Any:
    if field.kind == "whole":
        return _whole(field, text)
    if field.kind == "number":
        return _number(field.label, text)
    if field.kind == "range":
        return read_range(text, field.label)
    if field.kind == "groups":
        return _groups(text)
    if field.kind == "cell":
        return read_cell(text)
    if field.kind == "types":
        return tuple(read_structure_type(name, files=False) for name in text.split(",") if name.strip())
    if field.kind == "check":
        return True
    if text not in field.choices:
        raise ConfigError(f"{field.label}: choose one of {', '.join(filter(None, field.choices))}.")
    return text if field.choices != ("yes", "no") else text == "yes"


def _whole(field: Field, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"{field.label}: expected a whole number, not {text[:20]!r}.") from None
    if value > MOST.get(field.name, value):
        raise ConfigError(f"{field.label}: at most {MOST[field.name]} here, not {value}.")
    return value


def _number(label: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ConfigError(f"{label}: expected a number, not {text[:20]!r}.")
    return value


def _groups(text: str) -> tuple[int, ...]:
    """Return the space groups given by numbers, symbols and crystal systems separated by commas."""
    found: dict[int, None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        groups = groups_of_system(part) if part.lower() in SYSTEMS else read_space_groups([part])
        found |= dict.fromkeys(groups)
    return tuple(found)
