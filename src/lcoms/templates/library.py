"""A compact library of the training crystals' latents, searched for chemically similar crystals of a stoichiometry.

Similarity is that of the paired elements (`search.similarity`); elements of equal counts are paired in the order of
their Mendeleev numbers. Crystals that are alike by their space group, Wyckoff positions and cell vote together for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.core.errors import DataError
from lcoms.models.packed_file import read_packed, write_packed
from lcoms.models.surrogate_file import must_fit
from lcoms.structure.crystal import Composition
from lcoms.templates.similarity import ElementSimilarity
from lcoms.templates.stoichiometry import (
    INSTABILITY_STEP,
    Family,
    empty_family,
    families_by_stoichiometry,
    instability_of,
    place_of_each,
    supports_of,
)

KIND = "lcoms-latent-library"
VERSION = 5
OFFSETS = ("offsets", "site_offsets")


@dataclass(frozen=True, eq=False)
class LibraryStarts:
    """Library entries for a composition, nearest first.

    Attributes:
        latents: (n, d) in float32.
        n_formula_units: (n,) formula units in the entry's cell.
        distances: (n,) chemical distance, without any penalty.
        indices: (n,) rows of the library.
        ids: the entries' ids.
        atomic_numbers: (k,) elements of the composition asked for, ascending; an element alone stands twice.
        replaces: (n, k) which element of the entry stands for each of them.
        same_counts: (n,) whether the entry has as many elements; false where a crystal of two stands for an element.
        supports: (n,) share of the votes of all allowed entries that entries of the same structure have together.
        unseen: share of the votes for none of these structures.
    """

    latents: Float[Tensor, "n latent"]
    n_formula_units: NDArray[np.int64]
    distances: NDArray[np.float64]
    indices: NDArray[np.int64]
    ids: tuple[str, ...]
    atomic_numbers: NDArray[np.int64]
    replaces: NDArray[np.int64]
    same_counts: NDArray[np.bool_]
    supports: NDArray[np.float64]
    unseen: float

    def __len__(self) -> int:
        return len(self.indices)

    def mapping(self, i: int) -> dict[int, int]:
        """From the elements of entry i to those of the composition asked for."""
        return dict(zip(self.replaces[i].tolist(), self.atomic_numbers.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class LatentLibrary:
    """Latents, compositions and energies of the training crystals, small enough to ship with the weights.

    Attributes:
        codes: (n, d) int8; a latent is offset + scale * code.
        scale, offset: (d,) float32.
        offsets: (n + 1,) where each crystal's elements start in the two flat arrays below.
        atomic_numbers, counts: elements of each cell, ascending by atomic number, and how many atoms of each.
        instability: (n,) uint8, least possible energy above the hull in steps of 0.01 eV/atom, at most 2.55.
        space_groups: (n,) uint8 numbers, 0 where unknown.
        patterns: (n,) int16 place of the Wyckoff pattern in the statistics of orbits, -1 where unknown.
        site_codes: (m,) uint8 codes of the sites (`lcoms.structure.site_codes`), in the order of the pattern.
        site_offsets: (n + 1,) where those of each entry start; an entry may have none.
        shapes: (n,) int16 codes of the conventional cells (`lcoms.structure.cell_codes`), 0 where sites have no codes.
        element_vectors, scales, weighting: similarity of elements; the last holds its hull weight, sharpness and reach.
        id_bytes: all ids as UTF-8, each ended by a line feed.
        metadata: where it came from.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    offsets: NDArray[np.int32]
    atomic_numbers: NDArray[np.uint8]
    counts: NDArray[np.int16]
    instability: NDArray[np.uint8]
    space_groups: NDArray[np.uint8]
    patterns: NDArray[np.int16]
    site_codes: NDArray[np.uint8]
    site_offsets: NDArray[np.int32]
    shapes: NDArray[np.int16]
    element_vectors: NDArray[np.float32]
    scales: NDArray[np.float32]
    weighting: NDArray[np.float32]
    id_bytes: NDArray[np.uint8]
    metadata: Mapping[str, Any]

    @classmethod
    def build(
        cls,
        latents: Float[Tensor, "n latent"],
        compositions: Iterable[Composition],
        formation_energies: NDArray[np.floating],
        ids: Iterable[str],
        *,
        e_above_hull: NDArray[np.floating] | None = None,
        space_groups: NDArray[np.integer] | None = None,
        patterns: NDArray[np.integer] | None = None,
        site_codes: Sequence[Sequence[int]] | None = None,
        shapes: NDArray[np.integer] | None = None,
        similarity: ElementSimilarity | None = None,
        metadata: Mapping[str, Any] | None = None,
        rounded_as: LatentLibrary | None = None,
    ) -> LatentLibrary:
        """Pack crystals; latents are rounded to 255 levels a dimension.

        Args:
            compositions: of the whole cells, so that formula units are known.
            similarity: of elements; by Mendeleev numbers where None.
            rounded_as: round to the levels of this library, which `joined` asks for.

        Raises:
            DataError: nothing to pack, lengths that differ, latents that are not finite, or an id with a line feed.
        """
        compositions, ids = list(compositions), list(ids)
        z = latents.detach().cpu().numpy().astype(np.float64)
        n, similarity = len(z), similarity or ElementSimilarity.mendeleev()
        hull = np.full(n, np.nan) if e_above_hull is None else np.asarray(e_above_hull)
        groups = np.zeros(n, dtype=np.uint8) if space_groups is None else np.asarray(space_groups)
        kinds = np.full(n, -1) if patterns is None else np.asarray(patterns)
        sites = [()] * n if site_codes is None else site_codes
        cells = np.zeros(n) if shapes is None else np.asarray(shapes)
        lengths = {len(one) for one in (compositions, ids, formation_energies, hull, groups, kinds, sites, cells)}
        if not n or lengths != {n}:
            raise DataError(f"a library needs as many compositions, ids and energies as latents, {n}, not {lengths}.")
        if not np.isfinite(z).all():
            raise DataError("latents of a library must be finite numbers.")
        if any("\n" in name for name in ids):
            raise DataError("ids of a library must not hold line feeds.")
        low, high = z.min(axis=0), z.max(axis=0)
        offset, scale = (low + high) / 2, np.maximum((high - low) / 254, 1e-12)
        if rounded_as is not None:
            offset, scale = rounded_as.offset.astype(np.float64), rounded_as.scale.astype(np.float64)
        return cls(
            codes=np.clip(np.round((z - offset) / scale), -127, 127).astype(np.int8),
            scale=scale.astype(np.float32),
            offset=offset.astype(np.float32),
            offsets=np.cumsum([0] + [len(c.counts) for c in compositions]).astype(np.int32),
            atomic_numbers=np.concatenate([c.atomic_numbers for c in compositions]).astype(np.uint8),
            counts=np.concatenate([c.counts for c in compositions]).astype(np.int16),
            instability=instability_of(compositions, np.asarray(formation_energies, dtype=np.float64), hull),
            space_groups=groups.astype(np.uint8),
            patterns=kinds.astype(np.int16),
            site_codes=np.array([code for codes in sites for code in codes], dtype=np.uint8),
            site_offsets=np.cumsum([0] + [len(codes) for codes in sites]).astype(np.int32),
            shapes=cells.astype(np.int16),
            element_vectors=similarity.vectors,
            scales=similarity.scales,
            weighting=np.array([similarity.hull, similarity.sharpness, similarity.reach], dtype=np.float32),
            id_bytes=np.frombuffer("".join(name + "\n" for name in ids).encode(), dtype=np.uint8).copy(),
            metadata=dict(metadata or {}),
        )

    def save(self, path: Path | str) -> None:
        """Write one safetensors file of deflated arrays, with the metadata in its header; offsets go as lengths."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "metadata"}
        for name in OFFSETS:
            arrays[name] = np.diff(arrays[name])
        write_packed(Path(path), arrays, {"kind": KIND, "version": VERSION, "metadata": dict(self.metadata)})

    @classmethod
    def load(cls, path: Path | str) -> LatentLibrary:
        """Read it back.

        Raises:
            WeightsError: the file is missing, damaged or of another version.
        """
        arrays, header = read_packed(Path(path), KIND, VERSION)
        with must_fit(path):
            for name in OFFSETS:
                arrays[name] = np.append(0, np.cumsum(arrays[name])).astype(np.int32)
            library = cls(**arrays, metadata=dict(header["metadata"]))
            library.require_whole()
        return library

    def require_whole(self) -> None:
        """Whether arrays have lengths that fit each other.

        Raises:
            ValueError: they do not.
        """
        n, dim = self.codes.shape
        lengths = {len(one) for one in (self.instability, self.space_groups, self.patterns, self.shapes, self.ids)}
        starts = (
            (self.offsets, self.atomic_numbers),
            (self.offsets, self.counts),
            (self.site_offsets, self.site_codes),
        )
        fit = all(len(o) == n + 1 and o[0] == 0 and o[-1] == len(of) and (np.diff(o) >= 0).all() for o, of in starts)
        if not fit or lengths != {n} or {self.scale.shape, self.offset.shape} != {(dim,)} or len(self.weighting) != 3:
            raise ValueError("arrays of different crystals")

    def __len__(self) -> int:
        return len(self.codes)

    def latents(self, indices: NDArray[np.integer] | None = None) -> Float[Tensor, "n latent"]:
        """Latents in float32, of all entries or of some."""
        codes = self.codes if indices is None else self.codes[indices]
        return torch.from_numpy(self.offset + self.scale * codes.astype(np.float32))

    def composition(self, index: int) -> Composition:
        """What the cell of an entry holds."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        return Composition(tuple(self.atomic_numbers[part].tolist()), tuple(self.counts[part].tolist()))

    def sites(self, index: int) -> tuple[int, ...]:
        """Codes of an entry's sites in the order of its pattern; none where they are unknown."""
        return tuple(self.site_codes[self.site_offsets[index] : self.site_offsets[index + 1]].tolist())

    def has(self, composition: Composition) -> bool:
        """Whether there is an entry of a composition, whatever its number of formula units."""
        family = self._families.get(composition.reduced.stoichiometry)
        return family is not None and bool(family.holds(composition).any())

    @cached_property
    def n_atoms(self) -> NDArray[np.int64]:
        """(n,) atoms in the entries' cells."""
        return np.add.reduceat(self.counts.astype(np.int64), self.offsets[:-1])

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.id_bytes.tobytes().decode().split("\n")[:-1])

    @cached_property
    def similarity(self) -> ElementSimilarity:
        return ElementSimilarity(self.element_vectors, self.scales, *self.weighting.tolist())

    def nearest(
        self,
        composition: Composition,
        n: int,
        *,
        hull_weight: float | None = None,
        exclude: Collection[Composition] = (),
        max_per_composition: int | None = None,
        max_per_structure: int | None = None,
        max_atoms: int | None = None,
    ) -> LibraryStarts:
        """Entries of the same stoichiometry, chemically nearest first; ties go to the more stable, then to the earlier.

        For an element, entries with two elements one to one serve, too: diamond is zinc blende with one element.

        Args:
            n: at most so many; fewer where the library has no more.
            hull_weight: distance that 1 eV/atom above the hull counts for; that of the similarity where None. Where the
                energy is unknown the least it can be was taken.
            exclude: compositions whose entries are left out, whatever their number of formula units.
            max_per_composition: at most so many polymorphs of one composition.
            max_per_structure: at most so many of one structure, and then those come first whose structure has most of
                the votes: the second of a structure counts half, the third a third.
            max_atoms: leave out entries with larger cells.
        """
        target = composition.reduced
        family = self._family(target)
        elements = family.in_order(target)
        distances = self.similarity.distances(family.elements, elements, len(target.counts))
        hull = INSTABILITY_STEP * self.instability[family.indices]
        cost = distances + (self.similarity.hull if hull_weight is None else hull_weight) * hull
        ranking = np.lexsort((hull, cost))
        allowed = np.ones(len(family.indices), dtype=bool)
        if max_atoms is not None:
            allowed &= family.n_formula_units * target.n_atoms <= max_atoms
        for other in exclude:
            if other.reduced.stoichiometry == target.stoichiometry:
                allowed &= ~family.holds(other)
        ranking = ranking[allowed[ranking]]
        structures = self._structures(family)
        supports, unseen = supports_of(cost, structures, ranking, self.similarity)
        if max_per_composition is not None:
            ranking = ranking[place_of_each(family.elements[ranking]) < max_per_composition]
        if max_per_structure is not None:
            place = place_of_each(structures[ranking][:, None])
            ranking, place = ranking[place < max_per_structure], place[place < max_per_structure]
            ranking = ranking[np.argsort(-supports[ranking] / (1 + place), kind="stable")]
        chosen = ranking[:n]
        indices = family.indices[chosen]
        back = np.argsort(elements, kind="stable")
        return LibraryStarts(
            latents=self.latents(indices),
            n_formula_units=family.n_formula_units[chosen],
            distances=distances[chosen],
            indices=indices,
            ids=tuple(self.ids[i] for i in indices),
            atomic_numbers=elements[back],
            replaces=family.elements[chosen][:, back],
            same_counts=np.diff(self.offsets)[indices] == len(target.counts),
            supports=supports[chosen],
            unseen=unseen,
        )

    def space_groups_near(
        self, latent: Float[Tensor, " latent"], cell: Composition, *, n: int = 24
    ) -> list[tuple[int, float]]:
        """Space groups of the nearest latents among cells of the same counts, with weights that sum to one.

        Args:
            n: neighbours asked; each counts exp(-distance).
        """
        if (rows := self._cells.get(tuple(sorted(cell.counts)))) is None:
            return []
        distances = torch.linalg.norm(self.latents(rows) - latent, dim=1).numpy()
        near = np.argsort(distances, kind="stable")[:n]
        weights: dict[int, float] = {}
        for at in near:
            number = int(self.space_groups[rows[at]])
            weights[number] = weights.get(number, 0.0) + float(np.exp(distances[near[0]] - distances[at]))
        total = sum(weights.values())
        return sorted(((number, weight / total) for number, weight in weights.items()), key=lambda pair: -pair[1])

    @cached_property
    def _cells(self) -> dict[tuple[int, ...], NDArray[np.int64]]:
        """Entries by the counts in their cells, ascending."""
        cells: dict[tuple[int, ...], list[int]] = {}
        for row in range(len(self)):
            counts = np.sort(self.counts[self.offsets[row] : self.offsets[row + 1]])
            cells.setdefault(tuple(counts.tolist()), []).append(row)
        return {counts: np.array(rows) for counts, rows in cells.items()}

    def families(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Of each stoichiometry: the elements, the structures and the energies above the hull (eV/atom) of its entries.

        Entries whose Wyckoff pattern is unknown are left out.
        """
        for family in self._families.values():
            known = self.patterns[family.indices] >= 0
            hull = INSTABILITY_STEP * self.instability[family.indices].astype(np.float64)
            yield family.elements[known], self._structures(family)[known], hull[known]

    def joined(self, other: LatentLibrary) -> LatentLibrary:
        """These entries and then those of a library that was rounded as this one; similarity and metadata stay.

        Raises:
            ValueError: it was rounded otherwise.
        """
        if not (np.array_equal(self.scale, other.scale) and np.array_equal(self.offset, other.offset)):
            raise ValueError("latents of the two libraries have other levels")
        shared = ("scale", "offset", "element_vectors", "scales", "weighting", "metadata")
        joined: dict[str, Any] = {}
        for name in (f.name for f in fields(self) if f.name not in shared):
            mine, its = getattr(self, name), getattr(other, name)
            joined[name] = np.concatenate([mine, mine[-1] + its[1:] if name in OFFSETS else its])
        return replace(self, **joined)

    def with_similarity(self, similarity: ElementSimilarity) -> LatentLibrary:
        """The same crystals, compared in another way."""
        return replace(
            self,
            element_vectors=similarity.vectors,
            scales=similarity.scales,
            weighting=np.array([similarity.hull, similarity.sharpness, similarity.reach], dtype=np.float32),
        )

    def _structures(self, family: Family) -> NDArray[np.int64]:
        """One number for each structure of a family: space group, Wyckoff pattern, formula units.

        An entry whose pattern is unknown is alone with its space group and cell.
        """
        group, pattern = self.space_groups[family.indices], self.patterns[family.indices]
        n_elements = np.diff(self.offsets)[family.indices]
        keys = np.stack([group, pattern, family.n_formula_units, n_elements], axis=1)
        return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1))

    def _family(self, target: Composition) -> Family:
        """Entries that can stand for a composition; where it is an element, all as if of two elements."""
        own = self._families.get(target.stoichiometry, empty_family(len(target.counts)))
        if len(target.counts) > 1:
            return own
        return own.doubled_with(self._families.get((1, 1), empty_family(2)))

    @cached_property
    def _families(self) -> dict[tuple[int, ...], Family]:
        """Entries by stoichiometry."""
        return families_by_stoichiometry(self.offsets, self.atomic_numbers, self.counts)
