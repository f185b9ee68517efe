"""Statistics over the training crystals: Wyckoff positions occupied for a space group and element counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from lcoms.core.config import parse_json
from lcoms.core.disk import write_whole
from lcoms.core.errors import WeightsError
from lcoms.models.weights import ORBITS_FILE
from lcoms.structure.crystal import Composition, Crystal
from lcoms.structure.site_codes import SitesDescribed, describe_sites
from lcoms.structure.wyckoff import Orbits
from lcoms.templates.stoichiometry import elements_in_order

FORMAT = 1
WyckoffSequence = tuple[tuple[str, int], ...]
"""Wyckoff letter of each orbit and the place of its element, ordered by count and then along the chemical scale."""


@dataclass(frozen=True, eq=False)
class OrbitStatistics:
    """Frequencies of sequences by space group and ascending counts in the primitive cell."""

    sequences: Mapping[tuple[int, tuple[int, ...]], Mapping[WyckoffSequence, int]]

    @classmethod
    def count(cls, found: Iterable[tuple[Composition, int, Orbits]], *, at_least: int = 1) -> OrbitStatistics:
        """Count primitive cells, each with its space group and orbits.

        Args:
            at_least: leave out sequences that were seen less often.
        """
        sequences: dict[tuple[int, tuple[int, ...]], Counter[WyckoffSequence]] = {}
        for composition, number, orbits in found:
            sequences.setdefault((number, _counts(composition)), Counter())[_sequence(composition, orbits)] += 1
        kept = {
            key: {sequence: n for sequence, n in seen.most_common() if n >= at_least} for key, seen in sequences.items()
        }
        return cls({key: seen for key, seen in kept.items() if seen})

    def joined(self, other: OrbitStatistics) -> OrbitStatistics:
        """Return the combined statistics; sequences known here keep their indices."""
        sequences = {key: dict(seen) for key, seen in self.sequences.items()}
        for key, seen in other.sequences.items():
            mine = sequences.setdefault(key, {})
            for sequence, n in seen.items():
                mine[sequence] = mine.get(sequence, 0) + n
        return OrbitStatistics(sequences)

    def orbits(self, number: int, composition: Composition) -> list[tuple[Orbits, float]]:
        """Return the orbits of a cell's contents known in a space group, with fractions, the most frequent first."""
        seen = self.sequences.get((number, _counts(composition)), {})
        elements, total = elements_in_order(composition), sum(seen.values())
        return [
            (tuple(sorted((letter, elements[place]) for letter, place in sequence)), n / total)
            for sequence, n in seen.items()
        ]

    def place(self, composition: Composition, number: int, orbits: Orbits) -> int:
        """Return the index of a primitive cell's sequence among those of its group and counts, or -1."""
        sequence = _sequence(composition, orbits)
        return next(
            (k for k, one in enumerate(self.sequences.get((number, _counts(composition)), {})) if one == sequence), -1
        )

    def coded_orbits(
        self, number: int, composition: Composition, place: int, codes: Sequence[int]
    ) -> tuple[Orbits, tuple[int, ...]] | None:
        """Return the orbits of a cell's contents in a sequence, and their codes; None where there is no such sequence.

        Args:
            place: index of the sequence among those of its group and counts.
            codes: codes of the orbits in the order of the sequence, from `in_sequence_order`.
        """
        seen = list(self.sequences.get((number, _counts(composition)), {}))
        if not 0 <= place < len(seen) or len(seen[place]) != len(codes):
            return None
        elements = elements_in_order(composition)
        pairs = sorted((letter, elements[of], code) for (letter, of), code in zip(seen[place], codes, strict=True))
        return tuple((letter, z) for letter, z, _ in pairs), tuple(code for _, _, code in pairs)

    def save(self, path: Path) -> None:
        """Write the statistics as JSON."""
        groups: dict[str, dict[str, dict[str, int]]] = {}
        for (number, counts), seen in sorted(self.sequences.items()):
            rows = {" ".join(f"{letter}{place}" for letter, place in sequence): n for sequence, n in seen.items()}
            groups.setdefault(str(number), {})[" ".join(map(str, counts))] = rows
        write_whole(path, json.dumps({"format": FORMAT, "groups": groups}, separators=(",", ":")))

    @classmethod
    def load(cls, path: Path) -> OrbitStatistics:
        """Load the statistics.

        Raises:
            WeightsError: the file is missing, damaged or of another version.
        """
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            sequences = {
                (int(number), tuple(map(int, counts.split()))): {
                    tuple(map(_letter_and_place, text.split())): int(n) for text, n in seen.items()
                }
                for number, group in content["groups"].items()
                for counts, seen in group.items()
            }
        except OSError as error:
            raise WeightsError(f"cannot read {path}; the folder of weights is not complete.") from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise WeightsError(f"{path} is damaged; restore it from the package or make it again.") from error
        if content.get("format") != FORMAT:
            raise WeightsError(f"{path} was made by another version of lcoms; make it again.")
        return cls(sequences)


@lru_cache(maxsize=2)
def load_orbits(folder: Path) -> OrbitStatistics:
    """Return the statistics in a folder of weights."""
    return OrbitStatistics.load(folder / ORBITS_FILE)


def described(crystal: Crystal, *, symprec: float) -> SitesDescribed | None:
    """Return space group, orbits and site codes, with elements ordered so that equal structures have one sequence."""
    return describe_sites(crystal, symprec=symprec, elements=elements_in_order(crystal.composition))


def in_sequence_order(composition: Composition, orbits: Orbits, codes: Sequence[int]) -> tuple[int, ...]:
    """Return the codes of orbits in the order of their sequence, which does not depend on the elements."""
    elements = elements_in_order(composition)
    order = sorted((letter, elements.index(z), code) for (letter, z), code in zip(orbits, codes, strict=True))
    return tuple(code for _, _, code in order)


@cache
def _letter_and_place(word: str) -> tuple[str, int]:
    """Return the parts of a word such as a0; few different ones make up all sequences."""
    return word[0], int(word[1:])


def _sequence(composition: Composition, orbits: Orbits) -> WyckoffSequence:
    elements = elements_in_order(composition)
    return tuple(sorted((letter, elements.index(z)) for letter, z in orbits))


def _counts(composition: Composition) -> tuple[int, ...]:
    return tuple(sorted(composition.counts))
