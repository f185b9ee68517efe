"""Builds the file of named prototypes from pymatgen's library: python -m lcoms.train.prototypes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lcoms.core.disk import write_whole
from lcoms.structure.exact_sites import exact_sites, own_tolerance
from lcoms.structure.io import from_pymatgen
from lcoms.templates import prototypes
from lcoms.templates.prototypes import prototype_row
from lcoms.templates.stoichiometry import elements_in_order

# pymatgen takes the z of oxygen in anatase, given for origin choice 1, in choice 2, whose origin is c/8 higher.
SHIFTED = {"A2B_tI12_141_e_a": -1 / 8}


def prototype_rows() -> tuple[list[dict[str, Any]], list[str]]:
    """Return all prototypes that can be described, and the labels of those that cannot."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    rows: list[dict[str, Any]] = []
    lost: list[str] = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        tags, crystal = entry["tags"], from_pymatgen(entry["snl"].structure)
        symprec = own_tolerance(crystal)
        elements = elements_in_order(crystal.composition)
        sites = None if symprec is None else exact_sites(crystal, symprec=symprec, elements=elements)
        if sites is None:
            lost.append(tags["aflow"])
            continue
        sites = sites._replace(coords=sites.coords + SHIFTED.get(tags["aflow"], 0.0))
        mineral, designation = (str(tags[name] or "").replace("None", "") for name in ("mineral", "strukturbericht"))
        rows.append(prototype_row(sites, mineral=mineral, strukturbericht=designation, aflow=tags["aflow"]))
    return rows, lost


def main() -> None:
    """Write the file into the package, and print which prototypes are missing."""
    rows, lost = prototype_rows()
    path = Path(prototypes.__file__).with_suffix(".json")
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    write_whole(path, f"[\n{lines}\n]\n")
    sys.stdout.write(f"{path}: {len(rows)} prototypes; {len(lost)} cannot be described: {lost}\n")


if __name__ == "__main__":
    main()
