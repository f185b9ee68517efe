"""Which Wyckoff positions crystals of a space group and a stoichiometry occupy, counted over the training crystals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
Pattern = tuple[tuple[str, int], ...]
"""Wyckoff letter of each orbit and the place of its element, by count and then along the chemical scale."""


@dataclass(frozen=True, eq=False)
class OrbitStatistics:
    """Patterns by space group and by the counts in the primitive cell, ascending, with how often each was seen."""

    patterns: Mapping[tuple[int, tuple[int, ...]], Mapping[Pattern, int]]

    @classmethod
    def count(cls, found: Iterable[tuple[Composition, int, Orbits]], *, at_least: int = 1) -> OrbitStatistics:
        """Count primitive cells, each with its space group and orbits.

        Args:
            at_least: leave out patterns that were seen less often.
        """
        patterns: dict[tuple[int, tuple[int, ...]], Counter[Pattern]] = {}
        for composition, number, orbits in found:
            patterns.setdefault((number, _counts(composition)), Counter())[_pattern(composition, orbits)] += 1
        kept = {
            key: {pattern: n for pattern, n in seen.most_common() if n >= at_least} for key, seen in patterns.items()
        }
        return cls({key: seen for key, seen in kept.items() if seen})

    def joined(self, other: OrbitStatistics) -> OrbitStatistics:
        """Both counted together; patterns that are known here keep their places."""
        patterns = {key: dict(seen) for key, seen in self.patterns.items()}
        for key, seen in other.patterns.items():
            mine = patterns.setdefault(key, {})
            for pattern, n in seen.items():
                mine[pattern] = mine.get(pattern, 0) + n
        return OrbitStatistics(patterns)

    def orbits(self, number: int, composition: Composition) -> list[tuple[Orbits, float]]:
        """Orbits that a cell's contents may take in a space group, with their shares, the most usual first."""
        seen = self.patterns.get((number, _counts(composition)), {})
        elements, total = elements_in_order(composition), sum(seen.values())
        return [
            (tuple(sorted((letter, elements[place]) for letter, place in pattern)), n / total)
            for pattern, n in seen.items()
        ]

    def place(self, composition: Composition, number: int, orbits: Orbits) -> int:
        """Place of the pattern of a primitive cell among those of its group and counts; -1 where it was not seen."""
        pattern = _pattern(composition, orbits)
        return next(
            (k for k, one in enumerate(self.patterns.get((number, _counts(composition)), {})) if one == pattern), -1
        )

    def coded_orbits(
        self, number: int, composition: Composition, place: int, codes: Sequence[int]
    ) -> tuple[Orbits, tuple[int, ...]] | None:
        """Orbits that a cell's contents take in a pattern, and the codes that belong to them; None without the pattern.

        Args:
            place: of the pattern among those of its group and counts.
            codes: of the orbits in the order of the pattern, as `in_pattern_order` gives them.
        """
        seen = list(self.patterns.get((number, _counts(composition)), {}))
        if not 0 <= place < len(seen) or len(seen[place]) != len(codes):
            return None
        elements = elements_in_order(composition)
        pairs = sorted((letter, elements[of], code) for (letter, of), code in zip(seen[place], codes, strict=True))
        return tuple((letter, z) for letter, z, _ in pairs), tuple(code for _, _, code in pairs)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        groups: dict[str, dict[str, dict[str, int]]] = {}
        for (number, counts), seen in sorted(self.patterns.items()):
            rows = {" ".join(f"{letter}{place}" for letter, place in pattern): n for pattern, n in seen.items()}
            groups.setdefault(str(number), {})[" ".join(map(str, counts))] = rows
        write_whole(path, json.dumps({"format": FORMAT, "groups": groups}, separators=(",", ":")))

    @classmethod
    def load(cls, path: Path) -> OrbitStatistics:
        """Read them back.

        Raises:
            WeightsError: the file is missing, damaged or of another version.
        """
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            patterns = {
                (int(number), tuple(map(int, counts.split()))): {
                    tuple((word[0], int(word[1:])) for word in text.split()): int(n) for text, n in seen.items()
                }
                for number, group in content["groups"].items()
                for counts, seen in group.items()
            }
        except OSError as error:
            raise WeightsError(f"cannot read {path}; the folder of weights is not complete.") from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise WeightsError(f"{path} is damaged; take it from the package or make it again.") from error
        if content.get("format") != FORMAT:
            raise WeightsError(f"{path} was made by another version of lcoms; make it again.")
        return cls(patterns)


@lru_cache(maxsize=2)
def load_orbits(folder: Path) -> OrbitStatistics:
    """The statistics that belong to the weights of a folder."""
    return OrbitStatistics.load(folder / ORBITS_FILE)


def described(crystal: Crystal, *, symprec: float) -> SitesDescribed | None:
    """Space group, orbits and site codes, with elements in the order of patterns: equal structures have one pattern."""
    return describe_sites(crystal, symprec=symprec, elements=elements_in_order(crystal.composition))


def in_pattern_order(composition: Composition, orbits: Orbits, codes: Sequence[int]) -> tuple[int, ...]:
    """Codes of orbits in the order of the pattern that the orbits make, whatever the elements are."""
    elements = elements_in_order(composition)
    order = sorted((letter, elements.index(z), code) for (letter, z), code in zip(orbits, codes, strict=True))
    return tuple(code for _, _, code in order)


def _pattern(composition: Composition, orbits: Orbits) -> Pattern:
    elements = elements_in_order(composition)
    return tuple(sorted((letter, elements.index(z)) for letter, z in orbits))


def _counts(composition: Composition) -> tuple[int, ...]:
    return tuple(sorted(composition.counts))
