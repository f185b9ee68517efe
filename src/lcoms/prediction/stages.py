"""The stages of a prediction, one type each: `Proposal` -> `Decoded` -> `Relaxed` -> `Candidate`.

Each type holds the one it was made from, so that nothing has to be looked up elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, nan

from jaxtyping import Float
from torch import Tensor

from lcoms.diffraction.fit import PatternFit
from lcoms.oracles.hull import HullPlace
from lcoms.phonons.harmonic import Phonons
from lcoms.structure.crystal import Crystal
from lcoms.structure.lattice import shortest_distance
from lcoms.structure.symmetry import EXACT_SYMPREC, Symmetrised
from lcoms.structure.wyckoff import Orbits


@dataclass(frozen=True, eq=False)
class Proposal:
    """A latent from which descent starts, and what is known about the structure behind it.

    Attributes:
        source: id of a template in the library, `prior`, `random`, `symmetric` or `given`.
        formula: formula of the template; empty if there is none.
        distance: chemical distance of the template (`templates.similarity`); NaN if there is none.
        n_formula_units: number of formula units in the cell to be decoded.
        space_group: of the template; 0 if there is none, or if it does not apply to the composition.
        wyckoff_sequence: index of its Wyckoff sequence in the Wyckoff statistics; -1 if unknown.
        prototype_probability: share of the chemically similar templates that have its structure; NaN if there is no
            template.
        sites: codes of the positions of its orbits, in the order of the Wyckoff sequence; empty if unknown.
        cell_code: code of the conventional cell that these refer to.
        orbits: orbits with their elements, for a template of another stoichiometry; the sites are then in this order.
    """

    source: str
    formula: str
    distance: float
    n_formula_units: int
    latent: Float[Tensor, " latent"]
    space_group: int = 0
    wyckoff_sequence: int = -1
    prototype_probability: float = nan
    sites: tuple[int, ...] = ()
    cell_code: int = 0
    orbits: Orbits = ()

    def with_share(self, share: float) -> Proposal:
        """Return the proposal with this share of its prototype probability; the rest is that of larger cells."""
        return replace(self, prototype_probability=max(share, 0.0) * self.prototype_probability)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded crystal, before any relaxation.

    Attributes:
        crystal: primitive cell on exact symmetry.
        space_group: number in the International Tables.
        symprec: angstrom; tolerance at which the symmetry was found.
        shortest_distance: angstrom.
        energy_per_atom: formation energy that the surrogate predicts for this crystal, eV/atom.
        latent_energy: formation energy that it predicts for the final latent of the descent, eV/atom.
        descent_energies: formation energies that it predicts at the start and after each step of descent, eV/atom.
        latent_distance: distance between the decoded latent and that of this crystal.
        score: by which decoded crystals are ordered, eV/atom (`prediction.scoring`).
        proposal: starting point of its descent.
        others: further proposals that led to this crystal or an equal one.
        n_found: number of proposals that led to it; 0 for random symmetric crystals, which have none.
    """

    crystal: Crystal
    space_group: int
    symprec: float
    shortest_distance: float
    energy_per_atom: float
    latent_energy: float
    descent_energies: tuple[float, ...]
    latent_distance: float
    score: float
    proposal: Proposal
    others: tuple[Proposal, ...] = ()
    n_found: int = 1

    @classmethod
    def as_is(cls, found: Symmetrised, energy: float, proposal: Proposal, n_found: int = 1) -> Decoded:
        """Return a crystal that was obtained without decoding.

        Args:
            energy: formation energy that the surrogate predicts for it, eV/atom.
        """
        return cls(
            crystal=found.crystal,
            space_group=found.space_group,
            symprec=found.symprec,
            shortest_distance=shortest_distance(found.crystal.lattice, found.crystal.frac_coords),
            energy_per_atom=energy,
            latent_energy=energy,
            descent_energies=(energy,),
            latent_distance=0.0,
            score=energy,
            proposal=proposal,
            n_found=n_found,
        )

    @property
    def is_exact(self) -> bool:
        """Whether its atoms are on the exact sites of a template."""
        return 0 < self.symprec <= EXACT_SYMPREC

    @property
    def start_energy(self) -> float:
        """Formation energy that the surrogate predicts at the start of descent, eV/atom."""
        return self.descent_energies[0]

    @property
    def prototype_probability(self) -> float:
        """Sum over the distinct structures of the templates that led to it; 0 if there is no template."""
        known = [p for p in (self.proposal, *self.others) if isfinite(p.prototype_probability)]
        structures = {
            (p.space_group, p.wyckoff_sequence, p.orbits, p.n_formula_units): p.prototype_probability for p in known
        }
        return min(1.0, float(sum(structures.values())))

    def with_others(self, other: Decoded) -> Decoded:
        """Return this crystal with all proposals of both; if only the other has a descent, that one is reported."""
        told = self if self.n_found or not other.n_found else _told_of(self, other)
        return replace(told, n_found=self.n_found + other.n_found, others=(*self.others, other.proposal, *other.others))

    def nearest_proposal_first(self) -> Decoded:
        """Return the crystal with the chemically nearest of its proposals as the one that is shown."""
        first, *rest = sorted((self.proposal, *self.others), key=_remoteness)
        return replace(self, proposal=first, others=tuple(rest))


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A decoded crystal after relaxation with an energy model.

    Attributes:
        decoded: crystal before relaxation.
        crystal: primitive cell on exact symmetry.
        space_group: number in the International Tables.
        symprec: angstrom; tolerance at which the symmetry was found.
        shortest_distance: angstrom.
        status: how the relaxation ended.
        energy_per_atom: total energy by the relaxing model, eV/atom; NaN if it failed.
        formation_energy: relative to elements relaxed with the same model, eV/atom; None if a reference is missing.
        further_energies: total energies of the relaxed crystal by the further models, eV/atom; NaN if one failed.
        energies: total energies along the relaxation, eV/atom, the decoded crystal first.
        n_steps: number of steps of the relaxation.
        pressure: eV/angstrom^3; if nonzero, all energies here are enthalpies E + pV, without a formation energy.
    """

    decoded: Decoded
    crystal: Crystal
    space_group: int
    symprec: float
    shortest_distance: float
    status: str
    energy_per_atom: float
    formation_energy: float | None
    further_energies: tuple[float, ...]
    energies: tuple[float, ...]
    n_steps: int
    pressure: float = 0.0

    @property
    def model_energies(self) -> tuple[float, ...]:
        """Its energies by all models, the relaxing one first, eV/atom."""
        return (self.energy_per_atom, *self.further_energies)

    @property
    def pressure_volume(self) -> float:
        """The pV term of the enthalpy, eV/atom."""
        return self.pressure * self.crystal.volume / self.crystal.n_atoms

    @property
    def usable(self) -> bool:
        """Whether there is an energy to rank by."""
        return isfinite(self.energy_per_atom)


@dataclass(frozen=True)
class Known:
    """The crystal of the training data that a candidate is.

    Attributes:
        id: in its source.
        e_above_hull: eV/atom, as given by its source; None if unknown.
        height: by which it is ordered, eV/atom: e_above_hull if known, otherwise from formation energies.
    """

    id: str
    e_above_hull: float | None
    height: float


@dataclass(frozen=True, eq=False)
class PatternMatch:
    """Match of a candidate with a powder pattern.

    Attributes:
        fit: the fit, with the fitted cell and the profile.
        probability: of this candidate from score and pattern, assuming that one of the candidates gave the pattern.
    """

    fit: PatternFit
    probability: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """One ranked crystal of a prediction.

    Attributes:
        crystal: primitive cell on exact symmetry; relaxed if `relaxed` has an energy.
        space_group: number in the International Tables.
        symprec: angstrom; tolerance at which the symmetry was found.
        shortest_distance: angstrom.
        score: by which candidates are ranked, eV/atom; the lowest comes first.
        decoded: the crystal before relaxation, with its origin.
        relaxed: the relaxation; None if none was requested or this crystal was not among those relaxed.
        energy_above_lowest: eV/atom above the lowest candidate of this prediction, by the mean of all models; NaN if
            not relaxed.
        hull: position relative to the hull of reference phases, and decomposition; None if it was not relaxed or an
            element has no phase.
        known: the crystal of the training data that it is; None if it is none of them.
        phonons: of the crystal relaxed within its symmetry; None if they were not requested or failed.
        probability: that it is the known ground state; None if none was fitted for predictions made like this one.
        pattern: match with the user's powder pattern; None if there is none, or it cannot be fitted.
    """

    crystal: Crystal
    space_group: int
    symprec: float
    shortest_distance: float
    score: float
    decoded: Decoded
    relaxed: Relaxed | None = None
    energy_above_lowest: float = nan
    hull: HullPlace | None = None
    known: Known | None = None
    pattern: PatternMatch | None = None
    phonons: Phonons | None = None
    probability: float | None = None

    @classmethod
    def of_decoded(cls, decoded: Decoded) -> Candidate:
        """Return a decoded crystal as an unrelaxed candidate."""
        crystal, group, symprec = decoded.crystal, decoded.space_group, decoded.symprec
        return cls(crystal, group, symprec, decoded.shortest_distance, decoded.score, decoded)

    @classmethod
    def of_relaxed(cls, relaxed: Relaxed, score: float, above: float) -> Candidate:
        """Return a relaxed crystal as a candidate, with its score and its energy above the lowest one."""
        crystal, group, symprec = relaxed.crystal, relaxed.space_group, relaxed.symprec
        distance, decoded = relaxed.shortest_distance, relaxed.decoded
        return cls(crystal, group, symprec, distance, score, decoded, relaxed, above)

    @property
    def e_above_hull(self) -> float | None:
        """Energy above the hull of reference phases, eV/atom, negative below it; None if unknown."""
        return None if self.hull is None else self.hull.e_above_hull

    @property
    def is_relaxed(self) -> bool:
        """Whether a relaxation gave it an energy."""
        return self.relaxed is not None and self.relaxed.usable

    @property
    def has_energy(self) -> bool:
        """Whether it can be ranked: relaxed successfully, or not meant to be relaxed."""
        return self.relaxed is None or self.relaxed.usable

    @property
    def proposal(self) -> Proposal:
        return self.decoded.proposal

    @property
    def n_found(self) -> int:
        return self.decoded.n_found

    @property
    def prototype_probability(self) -> float:
        return self.decoded.prototype_probability


def _told_of(crystal: Decoded, descent: Decoded) -> Decoded:
    """Return a crystal with the descent of an equal one."""
    return replace(
        crystal,
        energy_per_atom=descent.energy_per_atom,
        latent_energy=descent.latent_energy,
        descent_energies=descent.descent_energies,
        latent_distance=descent.latent_distance,
    )


def _remoteness(proposal: Proposal) -> float:
    """Return the chemical distance of a proposal; infinite if there is no template."""
    return proposal.distance if isfinite(proposal.distance) else inf
