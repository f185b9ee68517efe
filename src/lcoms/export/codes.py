"""Input folders for other codes: structure, relaxation settings, k-points, and a note on what must be added."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from io import StringIO
from types import MappingProxyType

import numpy as np

from lcoms.core.errors import ConfigError
from lcoms.structure.crystal import Crystal
from lcoms.structure.elements import SYMBOLS
from lcoms.structure.io import right_handed, to_ase, to_extxyz, to_pymatgen

KPOINT_SPACING = 0.25  # 1/angstrom, including 2 pi
CUTOFF_RYDBERG = 80.0
CUTOFF_HARTREE = 40.0
CUTOFF_EV = 600.0
TOLVRS = 1e-10  # of ABINIT's potential; a tolerance on forces is met at once where symmetry makes them zero
README = "README.txt"

Files = dict[str, str]
"""Contents by file name."""


def export_files(crystal: Crystal, code: str) -> Files:
    """Return the files of an input folder for a code.

    Args:
        code: one of `CODES`.

    Raises:
        ConfigError: there is no such code, or it has no potential for an element.
    """
    writer = CODES.get(code.strip().lower())
    if writer is None:
        raise ConfigError(f"{code!r} is not a code that lcoms can export to; choose {', '.join(CODES)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return writer(right_handed(crystal))


def kpoint_mesh(crystal: Crystal, *, spacing: float = KPOINT_SPACING) -> tuple[int, int, int]:
    """Return divisions of the reciprocal vectors for which k-points are at most the spacing (1/angstrom) apart."""
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(crystal.lattice).T, axis=1)
    a, b, c = (max(1, int(np.ceil(length / spacing - 1e-9))) for length in lengths)
    return a, b, c


def _vasp(crystal: Crystal) -> Files:
    """Return VASP files with the Materials Project's r2SCAN settings, k-points as KSPACING; POTCAR is licensed."""
    from pymatgen.io.vasp.sets import MPScanRelaxSet

    inputs = MPScanRelaxSet(to_pymatgen(crystal).get_sorted_structure())
    known = inputs.CONFIG["POTCAR"]
    if missing := [symbol for symbol in _elements(crystal) if symbol not in known]:
        raise ConfigError(
            f"pymatgen's r2SCAN settings name no VASP potential of {', '.join(missing)}; choose another code."
        )
    symbols = [str(symbol) for symbol in inputs.potcar_symbols]
    return {
        "POSCAR": inputs.poscar.get_str(significant_figures=12),
        "INCAR": inputs.incar.get_str(),
        "POTCAR.spec": "\n".join(symbols) + "\n",
        README: (
            "VASP relaxation by pymatgen's MPScanRelaxSet (r2SCAN). Make POTCAR of your licensed potentials "
            f"{inputs.user_potcar_functional},\nin the order {' '.join(symbols)}. The k-points follow from KSPACING in "
            "INCAR.\n"
        ),
    }


def espresso_input(crystal: Crystal) -> str:
    """Return an input for pw.x that relaxes cell and atoms; pseudopotentials are named after the elements."""
    from ase.io import write

    atoms, elements = to_ase(crystal), _elements(crystal)
    settings = {
        "control": {
            "calculation": "vc-relax",
            "prefix": crystal.composition.reduced_formula,
            "pseudo_dir": "./pseudo",
            "outdir": "./out",
        },
        "system": {"ecutwfc": CUTOFF_RYDBERG, "ecutrho": 8 * CUTOFF_RYDBERG, "occupations": "smearing",
                   "smearing": "cold", "degauss": 0.01},
        "electrons": {"conv_thr": 1e-9},
    }  # fmt: skip
    names = {symbol: f"{symbol}.upf" for symbol in elements}
    buffer = StringIO()
    write(buffer, atoms, format="espresso-in", input_data=settings, pseudopotentials=names, kpts=kpoint_mesh(crystal))
    return buffer.getvalue()


def _espresso(crystal: Crystal) -> Files:
    names = [f"{symbol}.upf" for symbol in _elements(crystal)]
    return {
        "espresso.pwi": espresso_input(crystal),
        README: (
            "Quantum ESPRESSO: pw.x -in espresso.pwi. Put free pseudopotentials (such as SSSP efficiency) into\n"
            f"pseudo/, named {', '.join(names)}, and set ecutwfc and ecutrho as their library recommends.\n"
        ),
    }


def _gpaw(crystal: Crystal) -> Files:
    script = f'''"""Relax cell and atoms with GPAW: python relax.py"""

from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import BFGS
from gpaw import GPAW, PW

atoms = read("structure.xyz")
kpts = {{"size": {kpoint_mesh(crystal)}, "gamma": True}}
atoms.calc = GPAW(mode=PW({CUTOFF_EV:g}), xc="PBE", kpts=kpts, txt="gpaw.txt")
BFGS(FrechetCellFilter(atoms), logfile="relax.log", trajectory="relax.traj").run(fmax=0.02)
atoms.write("relaxed.xyz")
'''
    return {
        "structure.xyz": to_extxyz([crystal]),
        "relax.py": script,
        README: "GPAW: python relax.py. Its PAW data sets are free: gpaw install-data FOLDER.\n",
    }


def _abinit(crystal: Crystal) -> Files:
    from ase.io.abinit import write_abinit_in
    from ase.units import Hartree

    elements = _elements(crystal)
    names = [f"{symbol}.psp8" for symbol in elements]
    settings = {
        "xc": "PBE", "ecut": CUTOFF_HARTREE * Hartree, "ngkpt": list(kpoint_mesh(crystal)), "nshiftk": 1,
        "shiftk": [0, 0, 0], "occopt": 4, "tsmear": 0.005 * Hartree, "tolvrs": TOLVRS, "ionmov": 22, "optcell": 2,
        "ntime": 60, "tolmxf": 5e-5, "ecutsm": 0.5, "dilatmx": 1.1, "pp_dirpath": '"./pseudo"',
    }  # fmt: skip
    buffer = StringIO()
    write_abinit_in(
        buffer, to_ase(crystal), param=settings, species=[SYMBOLS.index(e) for e in elements], pseudos=names
    )
    return {
        "run.abi": buffer.getvalue().replace(",\n", ", "),  # the list of pseudopotentials must be on one line
        README: (
            "ABINIT: abinit run.abi. Put free pseudopotentials (such as PseudoDojo's) into pseudo/, named\n"
            f"{', '.join(names)}, and set ecut as their library recommends.\n"
        ),
    }


def _lammps(crystal: Crystal) -> Files:
    from ase.io.lammpsdata import write_lammps_data

    elements = _elements(crystal)
    buffer = StringIO()
    write_lammps_data(
        buffer, to_ase(crystal), specorder=elements, masses=True, atom_style="atomic", units="metal", force_skew=True
    )
    script = f"""# Relax cell and atoms: lmp -in in.lammps
units metal
atom_style atomic
boundary p p p
read_data structure.data
# Give the potential of your choice for the types {", ".join(f"{i} {e}" for i, e in enumerate(elements, 1))}, such as
# pair_style eam/alloy
# pair_coeff * * FILE {" ".join(elements)}
thermo 10
fix cell all box/relax tri 0.0
minimize 1e-10 1e-6 1000 10000
write_data relaxed.data
"""
    return {
        "structure.data": buffer.getvalue(),
        "in.lammps": script,
        README: "LAMMPS: add pair_style and pair_coeff to in.lammps, then lmp -in in.lammps.\n",
    }


def _optimade(crystal: Crystal) -> Files:
    from pymatgen.io.optimade import OptimadeStructureAdapter

    entry = OptimadeStructureAdapter.get_optimade_structure(to_pymatgen(crystal))
    content = {"type": "structures", "id": crystal.composition.reduced_formula, "attributes": entry["attributes"]}
    return {"structure.json": json.dumps(content, indent=1, default=str) + "\n"}


def _elements(crystal: Crystal) -> list[str]:
    return [SYMBOLS[z] for z in crystal.composition.atomic_numbers]


CODES: MappingProxyType[str, Callable[[Crystal], Files]] = MappingProxyType(
    {
        "vasp": _vasp,
        "espresso": _espresso,
        "gpaw": _gpaw,
        "abinit": _abinit,
        "lammps": _lammps,
        "optimade": _optimade,
    }
)
