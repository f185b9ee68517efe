"""Decoding within space groups: atoms stay on Wyckoff positions, so that few free coordinates remain.

Several settings are tried for each latent: a space group, the Wyckoff positions that training crystals of the
stoichiometry occupy in it, and a lattice that the group allows near the one predicted by the lattice head. Of all
samples, those whose encodings are nearest to the latent are kept. If the site codes of a library entry give the
positions of the atoms, annealing starts from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.core.watch import going_on
from lcoms.models.base import GroupStart, SymmetricDecoder
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.known_cell import KnownCell
from lcoms.prediction.spec import DecoderSpec
from lcoms.structure.bravais import fitting_lattices
from lcoms.structure.cell_codes import most_alike
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.matching import STRICT, matches
from lcoms.structure.site_codes import coded_coords
from lcoms.structure.wyckoff import Orbits, SymmetricCell, symmetric_cell
from lcoms.templates.wyckoff_statistics import OrbitStatistics

ROWS_AT_ONCE = 256
SAMPLES_PER_COORDINATE = 2  # more would be wasted where few coordinates are free


class Setting(NamedTuple):
    """Starting point of a sample, and its weight in the distribution of samples."""

    start: GroupStart
    weight: float


class Constraint(NamedTuple):
    """A space group to decode within.

    Attributes:
        wyckoff_sequence: index of the Wyckoff sequence among those of the group; -1 for the most frequent ones.
        sites: codes of the positions of the orbits, in the order of the sequence; empty if unknown.
        cell_code: code of the conventional cell that the sites refer to.
        orbits: orbits with their elements, instead of a sequence; the sites are then in this order.
    """

    space_group: int
    weight: float = 1.0
    wyckoff_sequence: int = -1
    sites: tuple[int, ...] = ()
    cell_code: int = 0
    orbits: Orbits = ()


class Decode(NamedTuple):
    """A crystal decoded from a latent.

    Attributes:
        distance: between its own latent and the one that was decoded.
        space_group: group within which it was decoded; 0 for decoding without symmetry.
    """

    crystal: Crystal
    distance: float
    space_group: int


def decode_latents(
    bundle: WeightBundle,
    z: Float[Tensor, "n latent"],
    compositions: Sequence[Composition],
    constraints: Sequence[Sequence[Constraint]],
    generator: torch.Generator,
    *,
    config: DecoderSpec | None = None,
    also_freely: bool = False,
    known: KnownCell | None = None,
) -> list[list[Decode]]:
    """Decode each latent within its space groups, and without symmetry if it has none or they give no crystal.

    Args:
        compositions: contents of the cells.
        also_freely: decode without symmetry even if the space groups give crystals.
        constraints: what to try for each latent; nothing, or P1 without sites, to decode without symmetry.
        known: cell given by the user, which all lattices must match; nothing is then decoded without symmetry.

    Returns:
        Distinct crystals of each latent, those that encode nearest to it first; none if no decode was valid.
    """
    config = config or DecoderSpec()
    decoded: list[list[Decode]] = [[] for _ in range(len(z))]
    free = set(range(len(z)))
    if (within := bundle.cdvae.within_groups) is not None:
        proposed = [[one for one in some if one.space_group > 1 or one.sites] for some in constraints]
        decoded = decode_within_groups(
            within, z.to(bundle.device), compositions, proposed, bundle.wyckoff, generator, config=config, known=known
        )
        free = {row for row, some in enumerate(decoded) if known is None and (also_freely or not some)}
    rows = sorted(free)
    if rows:
        for row, one in zip(rows, _free(bundle, z[rows], [compositions[r] for r in rows], generator), strict=True):
            decoded[row] += [] if one is None else [one]
    return [_nearest_distinct(some, config.kept) for some in decoded]


def decode_within_groups(
    model: SymmetricDecoder,
    z: Float[Tensor, "n latent"],
    compositions: Sequence[Composition],
    constraints: Sequence[Sequence[Constraint]],
    statistics: OrbitStatistics,
    generator: torch.Generator,
    *,
    config: DecoderSpec | None = None,
    known: KnownCell | None = None,
) -> list[list[Decode]]:
    """Decode each latent within the space groups it is constrained to.

    Args:
        compositions: contents of the primitive cells.
        constraints: what to try for each latent.
        known: cell given by the user, which all lattices must match.

    Returns:
        The crystals of all samples; none for latents without a setting, that is, for groups in which no training
        crystal had these counts or no lattice fits.
    """
    config = config or DecoderSpec()
    lattices = model.predict_lattices(z, compositions).double().numpy()
    settings = [
        _settings(composition, proposed, lattice, statistics, config, known)
        for composition, proposed, lattice in zip(compositions, constraints, lattices, strict=True)
    ]
    search = _Search(model, z, settings, generator, config, keep_lattices=known is not None)
    search.round([_first_round(some, config) for some in settings])
    search.round([_second_round(some, near, config) for some, near in zip(settings, search.nearest, strict=True)])
    return search.found


def _free(
    bundle: WeightBundle, z: Float[Tensor, "n latent"], compositions: Sequence[Composition], generator: torch.Generator
) -> list[Decode | None]:
    """Decode each latent once without symmetry."""
    crystals = bundle.cdvae.decode(z.to(bundle.device), compositions, generator)
    rows = [row for row, crystal in enumerate(crystals) if crystal is not None]
    decoded: list[Decode | None] = [None] * len(z)
    if rows:
        mu = bundle.encode([c for c in crystals if c is not None])
        for row, distance in zip(rows, torch.linalg.norm(mu - z[rows], dim=1).tolist(), strict=True):
            crystal = crystals[row]
            assert crystal is not None
            decoded[row] = Decode(crystal, distance, 0)
    return decoded


def _nearest_distinct(found: Sequence[Decode], n: int) -> list[Decode]:
    """Return the n nearest distinct crystals."""
    kept: list[Decode] = []
    for one in sorted(found, key=lambda one: one.distance):
        if len(kept) == n:
            break
        if not any(matches(one.crystal, other.crystal, STRICT) for other in kept):
            kept.append(one)
    return kept


class _Search:
    """Samples made so far.

    Attributes:
        keep_lattices: whether crystals keep the lattices of their settings instead of the decoded ones.
        found: valid crystals of each latent.
        nearest: smallest distance reached by each setting of each latent.
        done: number of samples.
    """

    def __init__(
        self,
        model: SymmetricDecoder,
        z: Float[Tensor, "n latent"],
        settings: Sequence[Sequence[Setting]],
        generator: torch.Generator,
        config: DecoderSpec,
        *,
        keep_lattices: bool,
    ) -> None:
        self.keep_lattices = keep_lattices
        self.model, self.z, self.settings, self.generator, self.config = model, z, settings, generator, config
        self.found: list[list[Decode]] = [[] for _ in settings]
        self.nearest = [np.full(len(some), np.inf) for some in settings]
        self.done = 0

    def round(self, samples: Sequence[Sequence[int]]) -> None:
        """Sample each setting of each latent the given number of times."""
        jobs = [(row, at) for row, some in enumerate(samples) for at, n in enumerate(some) for _ in range(n)]
        total = self.done + len(jobs)
        for start in range(0, len(jobs), ROWS_AT_ONCE):
            going_on(self.done, total)
            part = jobs[start : start + ROWS_AT_ONCE]
            starts = [self.settings[row][at].start for row, at in part]
            rows = [row for row, _ in part]
            found = self.model.decode_within(
                self.z[rows], starts, self.generator, self.config.known_to, keep_lattices=self.keep_lattices
            )
            for (row, at), crystal, distance in zip(part, found[0], found[1].tolist(), strict=True):
                self.nearest[row][at] = min(self.nearest[row][at], distance)
                if crystal is not None:
                    self.found[row].append(Decode(crystal, distance, self.settings[row][at].start.cell.space_group))
            self.done += len(part)
        going_on(self.done, total)


def _settings(
    composition: Composition,
    constraints: Sequence[Constraint],
    lattice: Float[NDArray[np.float64], "3 3"],
    statistics: OrbitStatistics,
    config: DecoderSpec,
    known: KnownCell | None,
) -> list[Setting]:
    """Return the settings of a latent, largest weight first."""
    if not np.isfinite(lattice).all():
        return []
    settings: list[Setting] = []
    for number, weight, sequence, sites, cell_code, orbits in constraints:
        coded = (orbits, sites) if orbits else statistics.coded_orbits(number, composition, sequence, sites)
        if coded is not None:
            cell, coords = symmetric_cell(number, coded[0]), coded_coords(number, *coded)
            fits = (
                known.lattices_of(number, composition) if known else _fits(cell, lattice, config.coded_lattices, config)
            )
            settings += [Setting(GroupStart(cell, most_alike(cell, fits, cell_code), coords), weight)] if fits else []
            if fits and not config.beside_codes:
                continue
        usual = statistics.orbits(number, composition)
        usual = usual[: config.max_sequences] if sequence < 0 else usual[sequence : sequence + 1]
        if not usual:
            continue
        cell = symmetric_cell(number, usual[0][0])
        fits = known.lattices_of(number, composition) if known else _fits(cell, lattice, config.max_lattices, config)
        for orbits, share in usual:
            cell = symmetric_cell(number, orbits)
            settings += [Setting(GroupStart(cell, fit), weight * share / len(fits)) for fit in fits]
    return sorted(settings, key=lambda setting: -setting.weight)


def _fits(
    cell: SymmetricCell, lattice: Float[NDArray[np.float64], "3 3"], n: int, config: DecoderSpec
) -> list[Float[NDArray[np.float64], "3 3"]]:
    """Return the lattices of the group within the largest allowed misfit."""
    fits = fitting_lattices(cell, lattice, n=n)
    return [fit.lattice for fit in fits if fit.misfit < config.max_misfit]


def _first_round(settings: Sequence[Setting], config: DecoderSpec) -> list[int]:
    """Return samples per setting: a fixed number with known sites; else one each, then by the roots of the weights."""
    n = np.array([_coded_samples(setting, config) for setting in settings], dtype=np.int64)
    roots = np.sqrt([setting.weight for setting in settings])
    most = np.array([_most_samples(setting) if setting.start.coords is None else 0 for setting in settings])
    for _ in range(min(config.samples, int(most.sum()))):
        deserved = np.where(n == 0, 1 + roots, roots / (n + 1))
        n[np.where(n < most, deserved, -1.0).argmax()] += 1
    return [int(k) for k in n]


def _coded_samples(setting: Setting, config: DecoderSpec) -> int:
    start = setting.start
    return 0 if start.coords is None else min(config.coded_samples, 1 + start.cell.n_free)


def _second_round(settings: Sequence[Setting], nearest: NDArray[np.float64], config: DecoderSpec) -> list[int]:
    """Return the additional samples for the settings that came nearest; none if one is already near enough."""
    n = [0] * len(settings)
    if not settings or nearest.min() < config.near_enough:
        return n
    drawn = [start.coords is None and start.cell.n_free > 0 for start, _ in settings]
    near = [at for at in np.argsort(nearest) if drawn[at] and np.isfinite(nearest[at])]
    chosen = near[: config.best_settings]
    for k in range(config.more_samples if chosen else 0):
        n[chosen[k % len(chosen)]] += 1
    return n


def _most_samples(setting: Setting) -> int:
    return 1 + SAMPLES_PER_COORDINATE * setting.start.cell.n_free
