"""Order of elements in displayed formulas, as chemists write them: by electronegativity, subject to rules.

1. Without an anion of `ANIONS` (intermetallics, elements, borides ...): by Pauling electronegativity, lowest first.
2. Cations come before anions. Metals of the s block and the rare earths come first by electronegativity; then, with
   oxygen or a halogen, Ag, Tl, Pb and Bi, which sit on large sites (PbTiO3, BiFeO3); then the others in the order of
   their usual charge (`METALS`: ZnFe2O4, NiTiO3, CuFeS2), which electronegativities would reverse.
3. Nonmetals follow in the traditional sequence of binary compounds (IUPAC Red Book, 2005, IR-4.4.2; NH3, CH4, H2O),
   except that H stands before them in salts of acids (KH2PO4, NaHCO3) and last in hydroxides (LiOH), and O before a
   halogen of at least its count (BiOCl). Carbon compounds without metals follow Hill.
"""

from __future__ import annotations

from collections.abc import Mapping

from lcoms.structure.elements import SYMBOLS, electronegativity, number_of


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NONMETALS = _words("Rn Xe Kr Ar Ne He B Si Ge C Sb As P N H Te Se S At I Br Cl O F")
ANIONS = frozenset(_words("N H Te Se S At I Br Cl O F"))
METALS = _words(  # by usual charge
    "Cu Au Be Ni Zn Cd Hg Co Mn Fe Pd Cr Ga In Al V Rh Ru Ir Pt Os Sn Ti Zr Hf Nb Ta Mo W Tc Re"
)
LARGE = _words("Ag Tl Pb Bi")
_PLACE = {symbol: place for place, symbol in enumerate(METALS)}
_ACIDS = frozenset(_words("P As S Se B Si"))


def formula_text(counts: Mapping[int, int]) -> str:
    """Return the formula of counts by atomic number, such as BaTiO3."""
    by_symbol = {SYMBOLS[z]: n for z, n in counts.items()}
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in ((s, by_symbol[s]) for s in _order(by_symbol)))


def by_electronegativity(counts: Mapping[int, int]) -> str:
    """Return the formula ordered by electronegativity alone; seeds and splits hash it, so it must never change."""
    order = sorted(counts.items(), key=lambda item: electronegativity(item[0]))
    return "".join(SYMBOLS[z] + (str(n) if n > 1 else "") for z, n in order)


def number_text(value: float) -> str:
    """Return a count with up to three decimals."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _order(counts: Mapping[str, int]) -> list[str]:
    if not ANIONS.intersection(counts):
        return sorted(counts, key=_electronegativity)
    metals = [symbol for symbol in counts if symbol not in NONMETALS]
    nonmetals = sorted((symbol for symbol in counts if symbol in NONMETALS), key=NONMETALS.index)
    if not metals and {"C", "H"} <= counts.keys():
        return ["C", "H", *sorted(symbol for symbol in counts if symbol not in ("C", "H"))]
    large_first = bool({"O", "F", "Cl", "Br", "I"}.intersection(counts))
    metals.sort(key=lambda symbol: _metal_key(symbol, large_first))
    return metals + _anions(counts, nonmetals, bool(metals))


def _metal_key(symbol: str, large_first: bool) -> tuple[int, float]:
    if symbol in LARGE:
        return (1 if large_first or symbol in ("Ag", "Tl") else 3, float(LARGE.index(symbol)))
    if symbol in _PLACE:
        return 2, float(_PLACE[symbol])
    return 0, _electronegativity(symbol)


def _anions(counts: Mapping[str, int], nonmetals: list[str], with_metals: bool) -> list[str]:
    """Return the nonmetals with hydrogen and oxygen in their conventional places."""
    order = list(nonmetals)
    oxygen, hydrogen = counts.get("O", 0), counts.get("H", 0)
    if with_metals and oxygen:
        for halogen in ("I", "Br", "Cl"):
            if counts.get(halogen, 0) >= oxygen and len(nonmetals) == 2:
                order = ["O", halogen]
    if oxygen and hydrogen:
        acid = bool(_ACIDS.intersection(counts)) or (counts.get("C", 0) and oxygen >= 3 * counts["C"])
        acid = acid or (counts.get("N", 0) >= hydrogen and "C" not in counts)
        if with_metals and set(nonmetals) == {"O", "H"}:
            order = ["O", "H"]
        elif acid and not (counts.get("N", 0) and hydrogen > counts["N"]):
            order = ["H", *(symbol for symbol in order if symbol != "H")]
    return order


def _electronegativity(symbol: str) -> float:
    number = number_of(symbol)
    return electronegativity(number) if number else 0.0
