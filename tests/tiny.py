"""Known structure types, and weights small enough to be made in a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lcoms.data.checks import record_batch
from lcoms.data.store import SCHEMA, CrystalArrays, Manifest, Store, write_manifest, write_shard
from lcoms.models.composition import element_fractions
from lcoms.models.fast import FastCDVAE
from lcoms.models.fast_config import FastConfig
from lcoms.models.surrogate import ConservativeSurrogate, SurrogateConfig
from lcoms.models.surrogate_file import save_surrogate
from lcoms.models.weights import CDVAE_FILE, LIBRARY_FILE, ORBITS_FILE, SURROGATE_FILE, save_cdvae
from lcoms.nn.geometry import DensityBasis
from lcoms.prediction.decode import DecodedSet
from lcoms.prediction.stages import Candidate, Decoded, Proposal, Relaxed
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.symmetry import space_group_number
from lcoms.structure.wyckoff import wyckoff_orbits
from lcoms.templates.library import LatentLibrary
from lcoms.templates.wyckoff_statistics import OrbitStatistics

TINY = FastConfig(
    latent_dim=8, channels=32, filters=8, vectors=8, encoder_layers=2, decoder_layers=2, condition=16,
    basis=DensityBasis(cutoff=5.0, n_scalar=12, n_vector=8, n_tensor=4, n_coarse=4), steps=4, samples=2,
    strain_below=0.0,  # what an untrained network thinks of a cell would ruin it
)  # fmt: skip
ENERGIES = {"rock salt": -2.0, "caesium chloride": -1.9, "zinc blende": -1.0, "wurtzite": -1.1, "perovskite": -3.4}

FACE_CENTRED = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def rock_salt(a: float = 5.64, numbers: tuple[int, int] = (11, 17)) -> Crystal:
    return Crystal(a * FACE_CENTRED, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array(numbers))


def caesium_chloride(a: float = 4.12, numbers: tuple[int, int] = (55, 17)) -> Crystal:
    return Crystal(a * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array(numbers))


def zinc_blende(a: float = 5.41, numbers: tuple[int, int] = (30, 16)) -> Crystal:
    return Crystal(a * FACE_CENTRED, np.array([[0, 0, 0], [0.25, 0.25, 0.25]]), np.array(numbers))


def wurtzite(a: float = 3.25, c: float = 5.21, u: float = 0.382, numbers: tuple[int, int] = (30, 8)) -> Crystal:
    sites = np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, u], [2 / 3, 1 / 3, 0.5 + u]])
    return Crystal(_hexagonal(a, c), sites, np.repeat(numbers, 2))


def perovskite(a: float = 3.905, numbers: tuple[int, int, int] = (38, 22, 8)) -> Crystal:
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    return Crystal(a * np.eye(3), sites, np.repeat(numbers, [1, 1, 3]))


def breathing_perovskite(shift: float, a: float = 3.905, numbers: tuple[int, int, int] = (38, 22, 8)) -> Crystal:
    """Return a perovskite with anions shifted by a fraction `shift` towards every other cation: Fm-3m, 10 atoms."""
    octahedron = 0.5 * a * (1 - shift) * np.vstack([np.eye(3), -np.eye(3)])
    cations, large = a * np.array([[0, 0, 0], [1, 1, 1.0]]), 0.5 * a * np.array([[1, 1, 1.0], [-1, -1, -1]])
    lattice = 2 * a * FACE_CENTRED
    sites = np.vstack([large, cations, octahedron]) @ np.linalg.inv(lattice)
    return Crystal(lattice, sites % 1.0, np.repeat(numbers, [2, 2, 6]))


def nickel_arsenide(a: float = 3.6, c: float = 5.0, numbers: tuple[int, int] = (28, 33)) -> Crystal:
    sites = np.array([[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    return Crystal(_hexagonal(a, c), sites, np.repeat(numbers, 2))


def fluorite(a: float = 5.46, numbers: tuple[int, int] = (20, 9)) -> Crystal:
    sites = np.array([[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])
    return Crystal(a * FACE_CENTRED, sites, np.repeat(numbers, [1, 2]))


def cadmium_iodide(a: float = 4.24, c: float = 6.84, numbers: tuple[int, int] = (48, 53)) -> Crystal:
    sites = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    return Crystal(_hexagonal(a, c), sites, np.repeat(numbers, [1, 2]))


def left_handed_tellurium() -> Crystal:
    """Tellurium in P3_121, whose mirror image is P3_221, in a left-handed cell."""
    right, u = _hexagonal(4.456, 5.927), 0.2636
    frac_coords = np.array([[u, 0, 1 / 3], [0, u, 2 / 3], [-u, -u, 0]])
    return Crystal(right[[1, 0, 2]], frac_coords[:, [1, 0, 2]], np.array([52, 52, 52]))


def _hexagonal(a: float, c: float) -> np.ndarray:
    return np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])


def made_crystals() -> list[Crystal]:
    """Return 64 crystals of 24 compositions; 2 i and 2 i + 1 of the first 48 are polymorphs with equal cells."""
    pairs = [(12, 8), (20, 16), (30, 34), (11, 17), (48, 52), (3, 9), (49, 7), (38, 8)]
    triples = [(20, 9), (12, 17), (58, 8), (40, 16), (22, 8), (48, 53), (56, 9), (82, 17)]
    crystals = []
    for i, numbers in enumerate(pairs):
        bond = 2.0 + 0.1 * i
        crystals += [
            caesium_chloride(1.2 * bond, numbers),
            zinc_blende(4 / 3**0.5 * bond, numbers),
            wurtzite((8 / 3) ** 0.5 * bond, 8 / 3 * bond, 0.375, numbers),
            nickel_arsenide(1.44 * bond, 2.3 * bond, numbers),
        ]
    for i, numbers in enumerate(triples):
        bond = 2.2 + 0.08 * i
        crystals += [fluorite(4 / 3**0.5 * bond, numbers), cadmium_iodide(1.42 * bond, 2.3 * bond, numbers)]
    for i in range(16):
        crystals.append(perovskite(3.7 + 0.04 * i, ((38, 20, 56, 11)[i % 4], (22, 40, 26, 50)[i // 4], 8)))
    return crystals


def to_arrays(crystals: list[Crystal], energies: list[float] | None = None) -> CrystalArrays:
    """Return crystals as arrays, as a store does."""
    return CrystalArrays(
        np.cumsum([0] + [c.n_atoms for c in crystals]),
        np.concatenate([c.atomic_numbers for c in crystals]).astype(np.uint8),
        np.concatenate([c.frac_coords for c in crystals]).astype(np.float32),
        np.stack([c.lattice for c in crystals]),
        np.full(len(crystals), np.nan) if energies is None else np.array(energies),
    )


def prototypes() -> dict[str, Crystal]:
    """Return one crystal of each structure type in `ENERGIES`."""
    return {
        "rock salt": rock_salt(),
        "caesium chloride": caesium_chloride(),
        "zinc blende": zinc_blende(),
        "wurtzite": wurtzite(),
        "perovskite": perovskite(),
    }


def shaken(crystal: Crystal, size: float, seed: int = 0) -> Crystal:
    """Return the crystal with atoms displaced by normal noise (angstrom) and the cell strained by a tenth of it."""
    rng = np.random.default_rng(seed)
    lattice = crystal.lattice @ (np.eye(3) + rng.normal(size=(3, 3)) * 0.1 * size)
    moves = rng.normal(size=crystal.frac_coords.shape) * size
    return Crystal(lattice, crystal.frac_coords + moves @ np.linalg.inv(lattice), crystal.atomic_numbers)


def tiny_cdvae(config: FastConfig = TINY, seed: int = 2) -> FastCDVAE:
    """Return an untrained CD-VAE without the zero weights of a fresh network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = FastCDVAE(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    batch = CrystalBatch.from_crystals(list(prototypes().values()))
    model.fit_statistics(batch.replace(formation_energy=torch.tensor(list(ENERGIES.values()))))
    return model


def write_weights(folder: Path) -> Path:
    """Write a folder like `lcoms train`: a tiny CD-VAE, a tiny surrogate, and the prototypes as library."""
    crystals = list(prototypes().values())
    model = tiny_cdvae()
    with torch.no_grad():
        mu, _ = model.encode(CrystalBatch.from_crystals(crystals))
    compositions = [crystal.composition for crystal in crystals]
    energies = torch.tensor(list(ENERGIES.values()))
    surrogate = ConservativeSurrogate(TINY.latent_dim, SurrogateConfig(hidden=32, precision="float32"))
    surrogate.initialise(torch.Generator().manual_seed(0))
    surrogate.fit_normalisation(mu, element_fractions(compositions), energies)
    described = [wyckoff_orbits(crystal, symprec=0.01) for crystal in crystals]
    found = [one for one in described if one is not None]
    assert len(found) == len(crystals)
    OrbitStatistics.count((c, *one) for c, one in zip(compositions, found, strict=True)).save(folder / ORBITS_FILE)
    library = LatentLibrary.build(
        mu,
        compositions,
        energies.numpy(),
        list(ENERGIES),
        e_above_hull=np.zeros(5),
        space_groups=np.array([number for number, _ in found]),
    )
    elements = sorted({z for c in compositions for z in c.atomic_numbers})
    save_cdvae(model, folder / CDVAE_FILE, metadata={"elements": elements, "max_atoms": 12})
    save_surrogate(surrogate, folder / SURROGATE_FILE)
    library.save(folder / LIBRARY_FILE)
    return folder


def make_store(
    path: Path,
    crystals: list[Crystal],
    *,
    energies: list[float],
    hull: list[float],
    splits: list[str],
    sources: list[str] | None = None,
) -> Store:
    """Write a store of these crystals, with IDs id-0, id-1, ..."""
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for number, crystal in enumerate(crystals):
        values = {
            "material_id": f"id-{number}",
            "formula": crystal.composition.reduced_formula,
            "atomic_numbers": crystal.atomic_numbers.astype(np.uint8),
            "frac_coords": crystal.frac_coords.astype(np.float32).ravel(),
            "lattice": crystal.lattice.ravel(),
            "formation_energy_per_atom": energies[number],
            "energy_per_atom": float("nan"),
            "e_above_hull": hull[number],
            "source": "made here" if sources is None else sources[number],
            "split": splits[number],
        }
        for name, value in values.items():
            columns[name].append(value)
    path.mkdir(parents=True)
    shard = write_shard(path, 0, record_batch(columns), {})
    write_manifest(path, Manifest((shard,), len(crystals), {}, {}))
    return Store.open(path)


class KnownDecoder(FastCDVAE):
    """Model that encodes like the tiny one and decodes any latents to given crystals, one per row."""

    def __init__(self, answers: Sequence[Crystal | None]) -> None:
        super().__init__(TINY)
        self.load_state_dict(tiny_cdvae().state_dict())
        self.requires_grad_(False)
        self.answers = list(answers)

    def decode(
        self, z: Tensor, compositions: Sequence[Composition], generator: torch.Generator
    ) -> list[Crystal | None]:
        assert isinstance(generator, torch.Generator)
        assert len(z) == len(compositions) == len(self.answers)
        return self.answers


def proposal_of(source: str = "prior", formula: str = "", distance: float = float("nan"), **known: object) -> Proposal:
    """Return a proposal with arbitrary numbers."""
    figures = {"n_formula_units": 1, "latent": torch.zeros(TINY.latent_dim)} | known
    return Proposal(source, formula, distance, **figures)  # type: ignore[arg-type]


def decoded_of(crystal: Crystal, **changes: object) -> Decoded:
    """Return a decoded crystal with arbitrary numbers."""
    figures = {
        "energy_per_atom": -1.0, "latent_energy": -1.2, "descent_energies": (-0.9, -1.2), "latent_distance": 0.3,
        "score": -0.98, "space_group": space_group_number(crystal), "symprec": 0.1,
        "shortest_distance": shortest_distance(crystal.lattice, crystal.frac_coords), "proposal": proposal_of(),
    }  # fmt: skip
    return Decoded(crystal=crystal, **(figures | changes))  # type: ignore[arg-type]


def candidate_of(crystal: Crystal, **changes: object) -> Candidate:
    """Return an unrelaxed candidate with arbitrary numbers."""
    return Candidate.of_decoded(decoded_of(crystal, **changes))


def relaxed_of(decoded: Decoded, energy: float, **changes: object) -> Relaxed:
    """Return a relaxation that did not change the crystal, with its energy in eV/atom."""
    figures = {
        "status": "converged", "formation_energy": None, "further_energies": (), "energies": (), "n_steps": 5,
    }  # fmt: skip
    return Relaxed(
        decoded, decoded.crystal, decoded.space_group, decoded.symprec, decoded.shortest_distance,
        energy_per_atom=energy, **(figures | changes),  # type: ignore[arg-type]
    )  # fmt: skip


def decoded_set(*crystals: Decoded, random_symmetric: tuple[Decoded, ...] = ()) -> DecodedSet:
    """Return decoded crystals of one composition from nine proposals, several of which failed."""
    composition = crystals[0].crystal.composition if crystals else Composition.from_formula("NaCl")
    return DecodedSet(composition.reduced, crystals, random_symmetric, 9, 1, 2, 3)
