"""Crystals in any setting of a space group, as CIF text that states the symmetry in different ways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcoms.structure.lattice import lattice_from_parameters, parameters_from_lattice, shortest_distance
from lcoms.structure.reading import Reading, Topic
from lcoms.structure.space_group_names import Setting

VOLUME = 40.0  # cubic angstrom an atom


def case(setting: Setting, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cell parameters (6,) with the symmetry, and a general position (3,) whose images are well separated."""
    random = np.random.default_rng(seed)
    operations = setting.operations()
    start = lattice_from_parameters(random.uniform(0.8, 1.25, 3), random.uniform(75, 105, 3))
    metric = np.einsum("nji,jk,nkl->nil", operations.rotations, start @ start.T, operations.rotations).mean(axis=0)
    lattice = np.linalg.cholesky(metric)
    lattice *= (VOLUME * len(operations) / abs(np.linalg.det(lattice))) ** (1 / 3)
    best, distance = np.zeros(3), 0.0
    for place in np.round(random.uniform(0, 1, (40, 3)), 4):
        near = shortest_distance(lattice, images(setting, place), up_to=3.0)
        if near > distance:
            best, distance = place, near
    lengths, angles = parameters_from_lattice(lattice)
    return np.concatenate([lengths, angles]), best


def images(setting: Setting, place: NDArray[np.float64]) -> NDArray[np.float64]:
    operations = setting.operations()
    return operations.rotations @ place + operations.translations


def cif(parameters: NDArray[np.float64], place: NDArray[np.float64], symmetry: str) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cell = "".join(f"_cell_{name} {value:.6f}\n" for name, value in zip(names, parameters, strict=True))
    columns = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    return f"data_x\n{cell}{symmetry}\n{columns}Si1 {' '.join(f'{x:.4f}' for x in place)}\n"


def stated(setting: Setting, how: str) -> str:
    """Return CIF lines with the symmetry as name, short name, number, Hall symbol or list of operations."""
    if how == "name":
        return f"_space_group_name_H-M_alt '{setting.name}'"
    if how == "hall":
        return (
            f"_space_group_name_Hall '{setting.hall.replace(chr(39), chr(34))}'"
            if "'" in setting.hall
            else (f"_space_group_name_Hall '{setting.hall}'")
        )
    if how == "number":
        return f"_space_group_IT_number {setting.number}"
    import gemmi

    listed = "".join(f"'{op.triplet()}'\n" for op in gemmi.symops_from_hall(setting.hall))
    return f"loop_\n_space_group_symop_operation_xyz\n{listed}"


def same_places(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Return whether two lists of fractional coordinates (n, 3) agree up to order and lattice translations."""
    if len(first) != len(second):
        return False
    offsets = first[:, None] - second[None]
    near = (np.abs(offsets - np.round(offsets)) < 1e-4).all(axis=2)
    return bool(near.any(axis=0).all() and near.any(axis=1).all())


def require_remark(reading: Reading, topic: Topic, said: str) -> None:
    """Fail unless a crystal was read and a remark on the topic says this."""
    assert reading.crystal is not None, reading.error
    assert any(said in remark.sentence and remark.topic == topic for remark in reading.remarks), reading.remarks
