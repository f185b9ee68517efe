"""The plan of the package as a picture: subpackages on their layers, and which subpackage imports which.

Layers come from the contract in pyproject.toml, lines and imports from the code, so that it is up to date.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "lcoms"
WIDTH, ROOM_HEIGHT, GAP, TOP = 860, 46, 34, 10
ROOM_WIDTH = 190


@dataclass(frozen=True)
class Subpackage:
    """A package of lcoms: its name, its modules and lines, and the subpackages it imports from."""

    name: str
    n_modules: int
    n_lines: int
    imports: frozenset[str]


def layers() -> list[list[str]]:
    """Subpackages of each layer, the highest first, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rows = [re.findall(r"\w+", layer) for layer in contracts[0]["layers"]]
    return [found for row in rows if (found := [name for name in row if (SOURCE / name).is_dir()])]


def subpackages() -> dict[str, Subpackage]:
    """All subpackages, by name."""
    return {name: _subpackage(name) for layer in layers() for name in layer}


def _subpackage(name: str) -> Subpackage:
    files = sorted((SOURCE / name).glob("*.py"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    targets = {
        target for text in texts for target in re.findall(r"^\s*from lcoms\.(\w+)[\w.]* import", text, re.MULTILINE)
    }
    imports = frozenset(target for target in targets if target != name and (SOURCE / target).is_dir())
    return Subpackage(name, len(files) - 1, sum(text.count("\n") for text in texts), imports)


def picture() -> str:
    """The plan as an SVG."""
    found, places = subpackages(), _places()
    height = TOP * 2 + max(y for _, y in places.values()) + ROOM_HEIGHT
    lines = [
        _arrow(places[subpackage.name], places[target])
        for subpackage in found.values()
        for target in sorted(subpackage.imports)
    ]
    boxes = [_box(subpackage, *places[subpackage.name]) for subpackage in found.values()]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" role="img">'
    )
    title = "<title>Subpackages of lcoms and their layers; lines are imports, all downwards</title>"
    return "\n".join([head, title, *lines, *boxes, "</svg>", ""])


def _places() -> dict[str, tuple[float, float]]:
    """Upper left corners of the subpackages."""
    places: dict[str, tuple[float, float]] = {}
    for row, names in enumerate(layers()):
        step = WIDTH / len(names)
        for column, name in enumerate(names):
            places[name] = (step * (column + 0.5) - ROOM_WIDTH / 2, TOP + row * (ROOM_HEIGHT + GAP))
    return places


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A curve from the lower edge of a subpackage to the upper edge of another, bent where subpackages lie between."""
    (x1, y1), (x2, y2) = start, end
    x1, y1, x2 = x1 + ROOM_WIDTH / 2, y1 + ROOM_HEIGHT, x2 + ROOM_WIDTH / 2
    bend = 0.0 if y2 - y1 <= GAP else 60 + 0.28 * (y2 - y1)
    side = bend if (round(y1 + y2) // 10) % 2 else -bend
    path = f"M{x1:.0f},{y1:.0f} C{x1 + side:.0f},{y1 + 20:.0f} {x2 + side:.0f},{y2 - 20:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{path}" fill="none" stroke="#8a93a6" stroke-width="1" opacity="0.55"/>'


def _box(subpackage: Subpackage, x: float, y: float) -> str:
    middle = x + ROOM_WIDTH / 2
    size = f"{subpackage.n_modules} modules, {subpackage.n_lines:,} lines"
    return (
        f'<g><rect x="{x:.0f}" y="{y:.0f}" width="{ROOM_WIDTH}" height="{ROOM_HEIGHT}" rx="6" fill="#eef2fb" '
        f'stroke="#3f51b5"/><text x="{middle:.0f}" y="{y + 19:.0f}" text-anchor="middle" font-size="15" '
        f'font-weight="bold" fill="#1a237e">{escape(subpackage.name)}</text><text x="{middle:.0f}" y="{y + 36:.0f}" '
        f'text-anchor="middle" font-size="11" fill="#37415a">{size}</text></g>'
    )
