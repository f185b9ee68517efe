"""The arrays of a library and its file: latents as bytes, flat arrays of elements and counts, and offsets into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lcoms.core.errors import DataError
from lcoms.models.packed_file import read_packed, write_packed
from lcoms.models.surrogate_file import must_fit
from lcoms.structure.crystal import Composition
from lcoms.templates.heights import instability_of
from lcoms.templates.similarity import ElementSimilarity

KIND = "lcoms-latent-library"
VERSION = 5
OFFSETS = ("offsets", "site_offsets")
FILE_NAMES = {"wyckoff_sequences": "patterns", "cell_codes": "shapes"}
"""Arrays that the file holds under other names."""
L = TypeVar("L", bound="LibraryArrays")


@dataclass(frozen=True, eq=False)
class LibraryArrays:
    """Packed latents, compositions and energies of the crystals in a library.

    Attributes:
        codes: (n, d) int8; a latent is offset + scale * code.
        scale, offset: (d,) float32.
        offsets: (n + 1,) start of each crystal's elements in the two flat arrays below.
        atomic_numbers, counts: elements of each cell by ascending atomic number, and numbers of their atoms.
        instability: (n,) uint8, lower bound of the energy above the hull in steps of 0.01 eV/atom, at most 2.55.
        space_groups: (n,) uint8 numbers, 0 where unknown.
        wyckoff_sequences: (n,) int16 index of the Wyckoff sequence in the statistics of orbits, -1 where unknown.
        site_codes: (m,) uint8 codes of the sites (`lcoms.structure.site_codes`), in the order of the Wyckoff sequence.
        site_offsets: (n + 1,) start of each entry's site codes; an entry may have none.
        cell_codes: (n,) int16 codes of conventional cells (`lcoms.structure.cell_codes`), 0 where sites have no codes.
        element_vectors, scales, weighting: similarity of elements; `weighting` holds hull weight, sharpness and reach.
        id_bytes: all ids as UTF-8, each terminated by a line feed.
        metadata: source of the crystals.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    offsets: NDArray[np.int32]
    atomic_numbers: NDArray[np.uint8]
    counts: NDArray[np.int16]
    instability: NDArray[np.uint8]
    space_groups: NDArray[np.uint8]
    wyckoff_sequences: NDArray[np.int16]
    site_codes: NDArray[np.uint8]
    site_offsets: NDArray[np.int32]
    cell_codes: NDArray[np.int16]
    element_vectors: NDArray[np.float32]
    scales: NDArray[np.float32]
    weighting: NDArray[np.float32]
    id_bytes: NDArray[np.uint8]
    metadata: Mapping[str, Any]

    @classmethod
    def build(
        cls: type[L],
        latents: Float[Tensor, "n latent"],
        compositions: Iterable[Composition],
        formation_energies: NDArray[np.floating],
        ids: Iterable[str],
        *,
        e_above_hull: NDArray[np.floating] | None = None,
        space_groups: NDArray[np.integer] | None = None,
        wyckoff_sequences: NDArray[np.integer] | None = None,
        site_codes: Sequence[Sequence[int]] | None = None,
        cell_codes: NDArray[np.integer] | None = None,
        similarity: ElementSimilarity | None = None,
        metadata: Mapping[str, Any] | None = None,
        rounded_as: LibraryArrays | None = None,
    ) -> L:
        """Pack crystals; latents are rounded to 255 levels per dimension.

        Args:
            compositions: of the whole cells, so that formula units are known.
            similarity: of elements; by Mendeleev numbers where None.
            rounded_as: library to whose levels latents are rounded, as `joined` requires.

        Raises:
            DataError: there is nothing to pack, lengths differ, latents are not finite, or an id has a line feed.
        """
        compositions, ids = list(compositions), list(ids)
        z = latents.detach().cpu().numpy().astype(np.float64)
        n, similarity = len(z), similarity or ElementSimilarity.mendeleev()
        hull = np.full(n, np.nan) if e_above_hull is None else np.asarray(e_above_hull)
        groups = np.zeros(n, dtype=np.uint8) if space_groups is None else np.asarray(space_groups)
        kinds = np.full(n, -1) if wyckoff_sequences is None else np.asarray(wyckoff_sequences)
        sites = [()] * n if site_codes is None else site_codes
        cells = np.zeros(n) if cell_codes is None else np.asarray(cell_codes)
        lengths = {len(one) for one in (compositions, ids, formation_energies, hull, groups, kinds, sites, cells)}
        if not n:
            raise DataError("a library needs at least one crystal with a known energy and symmetry.")
        if lengths != {n}:
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
            wyckoff_sequences=kinds.astype(np.int16),
            site_codes=np.array([code for codes in sites for code in codes], dtype=np.uint8),
            site_offsets=np.cumsum([0] + [len(codes) for codes in sites]).astype(np.int32),
            cell_codes=cells.astype(np.int16),
            element_vectors=similarity.vectors,
            scales=similarity.scales,
            weighting=np.array([similarity.hull, similarity.sharpness, similarity.reach], dtype=np.float32),
            id_bytes=np.frombuffer("".join(name + "\n" for name in ids).encode(), dtype=np.uint8).copy(),
            metadata=dict(metadata or {}),
        )

    def save(self, path: Path | str) -> None:
        """Write one safetensors file of deflated arrays, with metadata in its header; offsets are stored as lengths."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "metadata"}
        for name in OFFSETS:
            arrays[name] = np.diff(arrays[name])
        arrays = {FILE_NAMES.get(name, name): array for name, array in arrays.items()}
        write_packed(Path(path), arrays, {"kind": KIND, "version": VERSION, "metadata": dict(self.metadata)})

    @classmethod
    def load(cls: type[L], path: Path | str) -> L:
        """Load a library.

        Raises:
            WeightsError: the file is missing, damaged or of another version.
        """
        arrays, header = read_packed(Path(path), KIND, VERSION)
        with must_fit(path):
            for name, in_file in FILE_NAMES.items():
                arrays[name] = arrays.pop(in_file)
            for name in OFFSETS:
                arrays[name] = np.append(0, np.cumsum(arrays[name])).astype(np.int32)
            library = cls(**arrays, metadata=dict(header["metadata"]))
            library.require_whole()
        return library

    def require_whole(self) -> None:
        """Check that the lengths of the arrays are consistent.

        Raises:
            ValueError: they are not.
        """
        n, dim = self.codes.shape
        lengths = {
            len(one) for one in (self.instability, self.space_groups, self.wyckoff_sequences, self.cell_codes, self.ids)
        }
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
        """Return the latents of all or of the given entries, in float32."""
        codes = self.codes if indices is None else self.codes[indices]
        return torch.from_numpy(self.offset + self.scale * codes.astype(np.float32))

    def composition(self, index: int) -> Composition:
        """Return the composition of an entry's cell."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        return Composition(tuple(self.atomic_numbers[part].tolist()), tuple(self.counts[part].tolist()))

    def sites(self, index: int) -> tuple[int, ...]:
        """Return the codes of an entry's sites in the order of its Wyckoff sequence; empty where they are unknown."""
        return tuple(self.site_codes[self.site_offsets[index] : self.site_offsets[index + 1]].tolist())

    @cached_property
    def n_atoms(self) -> NDArray[np.int64]:
        """Numbers of atoms (n,) in the entries' cells."""
        return np.add.reduceat(self.counts.astype(np.int64), self.offsets[:-1])

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.id_bytes.tobytes().decode().split("\n")[:-1])

    @cached_property
    def similarity(self) -> ElementSimilarity:
        return ElementSimilarity(self.element_vectors, self.scales, *self.weighting.tolist())

    def joined(self: L, other: L) -> L:
        """Return these entries followed by those of another library; similarity and metadata are those of this one.

        Raises:
            ValueError: the latents of the other library are rounded to other levels.
        """
        if not (np.array_equal(self.scale, other.scale) and np.array_equal(self.offset, other.offset)):
            raise ValueError("latents of the two libraries have other levels")
        shared = ("scale", "offset", "element_vectors", "scales", "weighting", "metadata")
        joined: dict[str, Any] = {}
        for name in (f.name for f in fields(self) if f.name not in shared):
            mine, its = getattr(self, name), getattr(other, name)
            joined[name] = np.concatenate([mine, mine[-1] + its[1:] if name in OFFSETS else its])
        return replace(self, **joined)

    def with_similarity(self: L, similarity: ElementSimilarity) -> L:
        """Return the same crystals with another similarity of elements."""
        return replace(
            self,
            element_vectors=similarity.vectors,
            scales=similarity.scales,
            weighting=np.array([similarity.hull, similarity.sharpness, similarity.reach], dtype=np.float32),
        )
