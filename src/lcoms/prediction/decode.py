"""Decoding within space groups: atoms stay on Wyckoff positions, so that few coordinates are left to be found.

For each latent a few settings are tried - a space group, the positions that training crystals of the stoichiometry
take in it, a lattice the group allows near the one that the lattice head reads - and of all tries those that encode
nearest to the latent are kept. Where the site codes of a library entry tell where atoms sit, annealing begins there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.models.fast import FastCDVAE
from lcoms.models.weights import Weights
from lcoms.structure.batch import CrystalBatch
from lcoms.structure.bravais import fitting_lattices
from lcoms.structure.cell_codes import most_alike
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.site_codes import coded_coords
from lcoms.structure.wyckoff import Orbits, SymmetricCell, symmetric_cell
from lcoms.templates.wyckoff_statistics import OrbitStatistics, load_orbits

ROWS_AT_ONCE = 256
TRIES_PER_COORDINATE = 2  # more would be wasted where few coordinates are free


@dataclass(frozen=True)
class SymmetryConfig:
    """How many settings and tries a latent gets.

    Attributes:
        coded_tries: of each setting whose sites are known from their codes.
        known_to: noise level (angstrom) at which those begin.
        beside_codes: whether latents with codes are tried without them, too.
        tries: of each latent in the first round; each of its settings gets at least one while there are enough.
        more_tries: in a second round, shared among the best settings.
        best_settings: how many those are.
        near_enough: latents that a try of the first round comes as near as that have no second one.
        max_patterns: Wyckoff patterns taken of each space group, the most usual ones.
        max_lattices: lattices taken of each pattern.
        coded_lattices: looked for where sites are known, so that the one their codes refer to is among them.
        max_misfit: of a lattice to the one that the head reads.
        free: latents that are decoded without symmetry, too, the first ones.
        kept: distinct crystals of one latent, the nearest ones.
    """

    coded_tries: int = 2
    known_to: float = 0.5
    beside_codes: bool = False
    tries: int = 12
    more_tries: int = 8
    best_settings: int = 3
    near_enough: float = 1.0
    max_patterns: int = 8
    max_lattices: int = 6
    coded_lattices: int = 54
    max_misfit: float = 0.15
    free: int = 0
    kept: int = 1


class Setting(NamedTuple):
    """What a try starts from, and what share of the tries it deserves."""

    cell: SymmetricCell
    lattice: Float[NDArray[np.float64], "3 3"]
    weight: float
    coords: Float[NDArray[np.float64], " k"] | None = None


class Proposal(NamedTuple):
    """A space group to try.

    Attributes:
        pattern: place of the Wyckoff pattern among those of the group; -1 for the most usual ones.
        sites: codes of where the orbits of the pattern sit, in its order; none where unknown.
        shape: code of the conventional cell that they refer to.
        orbits: what sits where, instead of a pattern; the sites then are in their order.
    """

    space_group: int
    weight: float = 1.0
    pattern: int = -1
    sites: tuple[int, ...] = ()
    shape: int = 0
    orbits: Orbits = ()


class Decoded(NamedTuple):
    """A crystal that came from a latent.

    Attributes:
        distance: of its own latent from the one that was decoded.
        space_group: within which it was decoded, 0 for a free decode.
    """

    crystal: Crystal
    distance: float
    space_group: int


def decode_latents(
    weights: Weights,
    z: Float[Tensor, "n latent"],
    compositions: Sequence[Composition],
    proposals: Sequence[Sequence[Proposal]],
    generator: torch.Generator,
    *,
    config: SymmetryConfig | None = None,
) -> list[list[Decoded]]:
    """Decode each latent within the space groups proposed for it, and freely where there is nothing to go by.

    Args:
        compositions: contents of the cells.
        proposals: what to try for each latent; nothing, or P1 without sites, for a free decode.

    Returns:
        Distinct crystals of each latent, those that encode nearest to it first; none where no decode was valid.
    """
    config = config or SymmetryConfig()
    decoded: list[list[Decoded]] = [[] for _ in range(len(z))]
    free = set(range(len(z)))
    if isinstance(weights.cdvae, FastCDVAE):
        proposed = [[one for one in some if one.space_group > 1 or one.sites] for some in proposals]
        statistics = load_orbits(weights.folder)
        decoded = decode_within_groups(weights.cdvae, z, compositions, proposed, statistics, generator, config=config)
        free = {row for row, some in enumerate(decoded) if row < config.free or not some}
    rows = sorted(free)
    if rows:
        for row, one in zip(rows, _free(weights, z[rows], [compositions[r] for r in rows], generator), strict=True):
            decoded[row] += [] if one is None else [one]
    return [_distinct(some, config.kept) for some in decoded]


def decode_within_groups(
    model: FastCDVAE,
    z: Float[Tensor, "n latent"],
    compositions: Sequence[Composition],
    proposals: Sequence[Sequence[Proposal]],
    statistics: OrbitStatistics,
    generator: torch.Generator,
    *,
    config: SymmetryConfig | None = None,
) -> list[list[Decoded]]:
    """Decode each latent within the space groups that are proposed for it.

    Args:
        compositions: contents of the primitive cells.
        proposals: what to try for each latent.

    Returns:
        The crystals of all tries; none for latents without any setting: groups in which no training crystal had these
        counts, or no lattice fits.
    """
    config = config or SymmetryConfig()
    lattices = model.predict_lattices(z, compositions).double().numpy()
    settings = [
        _settings(composition, proposed, lattice, statistics, config)
        for composition, proposed, lattice in zip(compositions, proposals, lattices, strict=True)
    ]
    search = _Search(model, z, settings, generator, config)
    search.round([_first_round(some, config) for some in settings])
    search.round([_second_round(some, near, config) for some, near in zip(settings, search.nearest, strict=True)])
    return search.found


def _free(
    weights: Weights, z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
) -> list[Decoded | None]:
    """One decode of each latent without symmetry."""
    crystals = weights.cdvae.decode(z, compositions, generator)
    rows = [row for row, crystal in enumerate(crystals) if crystal is not None]
    decoded: list[Decoded | None] = [None] * len(z)
    if rows:
        with torch.no_grad():
            mu, _ = weights.cdvae.encode(CrystalBatch.from_crystals([c for c in crystals if c is not None]))
        for row, distance in zip(rows, torch.linalg.norm(mu - z[rows], dim=1).tolist(), strict=True):
            crystal = crystals[row]
            assert crystal is not None
            decoded[row] = Decoded(crystal, distance, 0)
    return decoded


def _distinct(found: Sequence[Decoded], n: int) -> list[Decoded]:
    """The nearest crystals, each unlike the ones before."""
    kept: list[Decoded] = []
    for one in sorted(found, key=lambda one: one.distance):
        if len(kept) == n:
            break
        if not any(matches(one.crystal, other.crystal, STRICT) for other in kept):
            kept.append(one)
    return kept


class _Search:
    """The tries made so far.

    Attributes:
        found: valid crystals of each latent.
        nearest: for each latent, the least distance that each of its settings has reached.
    """

    def __init__(
        self,
        model: FastCDVAE,
        z: Float[Tensor, "n latent"],
        settings: Sequence[Sequence[Setting]],
        generator: torch.Generator,
        config: SymmetryConfig,
    ) -> None:
        self.model, self.z, self.settings, self.generator, self.config = model, z, settings, generator, config
        self.found: list[list[Decoded]] = [[] for _ in settings]
        self.nearest = [np.full(len(some), np.inf) for some in settings]

    def round(self, tries: Sequence[Sequence[int]]) -> None:
        """Try each setting of each latent so many times."""
        jobs = [(row, at) for row, some in enumerate(tries) for at, n in enumerate(some) for _ in range(n)]
        for start in range(0, len(jobs), ROWS_AT_ONCE):
            part = jobs[start : start + ROWS_AT_ONCE]
            chosen = [self.settings[row][at] for row, at in part]
            lattices = torch.from_numpy(np.array([setting.lattice for setting in chosen])).float()
            cells = [setting.cell for setting in chosen]
            found = self.model.decode_within(
                self.z[[row for row, _ in part]],
                cells,
                lattices,
                self.generator,
                coords=[setting.coords for setting in chosen],
                known_to=self.config.known_to,
            )
            for (row, at), crystal, distance in zip(part, found[0], found[1].tolist(), strict=True):
                self.nearest[row][at] = min(self.nearest[row][at], distance)
                if crystal is not None:
                    self.found[row].append(Decoded(crystal, distance, self.settings[row][at].cell.space_group))


def _settings(
    composition: Composition,
    proposals: Sequence[Proposal],
    lattice: Float[NDArray[np.float64], "3 3"],
    statistics: OrbitStatistics,
    config: SymmetryConfig,
) -> list[Setting]:
    """Settings of a latent, those that deserve most tries first."""
    if not np.isfinite(lattice).all():
        return []
    settings: list[Setting] = []
    for number, weight, pattern, sites, shape, orbits in proposals:
        coded = (orbits, sites) if orbits else statistics.coded_orbits(number, composition, pattern, sites)
        if coded is not None:
            cell, coords = symmetric_cell(number, coded[0]), coded_coords(number, *coded)
            fits = _fits(cell, lattice, config.coded_lattices, config)
            settings += [Setting(cell, most_alike(cell, fits, shape), weight, coords)] if fits else []
            if fits and not config.beside_codes:
                continue
        known = statistics.orbits(number, composition)
        known = known[: config.max_patterns] if pattern < 0 else known[pattern : pattern + 1]
        if not known:
            continue
        fits = _fits(symmetric_cell(number, known[0][0]), lattice, config.max_lattices, config)
        for orbits, share in known:
            cell = symmetric_cell(number, orbits)
            settings += [Setting(cell, fit, weight * share / len(fits)) for fit in fits]
    return sorted(settings, key=lambda setting: -setting.weight)


def _fits(
    cell: SymmetricCell, lattice: Float[NDArray[np.float64], "3 3"], n: int, config: SymmetryConfig
) -> list[Float[NDArray[np.float64], "3 3"]]:
    """Lattices of the group that come near enough."""
    fits = fitting_lattices(cell, lattice, n=n)
    return [fit.lattice for fit in fits if fit.misfit < config.max_misfit]


def _first_round(settings: Sequence[Setting], config: SymmetryConfig) -> list[int]:
    """So many for each with known sites; of the others one each while there are enough, then by the weights' roots."""
    n = np.array([_coded_tries(setting, config) for setting in settings], dtype=np.int64)
    roots = np.sqrt([setting.weight for setting in settings])
    most = np.array([_most_tries(setting) if setting.coords is None else 0 for setting in settings])
    for _ in range(min(config.tries, int(most.sum()))):
        deserved = np.where(n == 0, 1 + roots, roots / (n + 1))
        n[np.where(n < most, deserved, -1.0).argmax()] += 1
    return [int(k) for k in n]


def _coded_tries(setting: Setting, config: SymmetryConfig) -> int:
    return 0 if setting.coords is None else min(config.coded_tries, 1 + setting.cell.n_free)


def _second_round(settings: Sequence[Setting], nearest: NDArray[np.float64], config: SymmetryConfig) -> list[int]:
    """More tries for the settings that came nearest, none where one is near enough."""
    n = [0] * len(settings)
    if not settings or nearest.min() < config.near_enough:
        return n
    drawn = [setting.coords is None and setting.cell.n_free > 0 for setting in settings]
    near = [at for at in np.argsort(nearest) if drawn[at] and np.isfinite(nearest[at])]
    chosen = near[: config.best_settings]
    for k in range(config.more_tries if chosen else 0):
        n[chosen[k % len(chosen)]] += 1
    return n


def _most_tries(setting: Setting) -> int:
    return 1 + TRIES_PER_COORDINATE * setting.cell.n_free
