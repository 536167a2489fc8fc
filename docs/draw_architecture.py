"""Draw which room of the package imports which: ``python docs/draw_architecture.py`` writes ``docs/architecture.svg``.

Comes in: the source files of ``eie``, parsed and never run. Goes out: an SVG that depends on the rooms (folders and
modules at the top of the package) and on who imports whom, on nothing else; a test renews it and compares. Read in
``docs/architecture.md``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
# Not rooms: the first names what callers need, lazily, from everywhere; the second starts the command line.
DOORS = ("__init__", "__main__")

Imports = Mapping[str, frozenset[str]]

BOX_WIDTH, BOX_HEIGHT, COLUMN, ROW, MARGIN = 110, 30, 140, 84, 20  # pixels


def imports_of(package: Path) -> Imports:
    """Return for every room the other rooms that any file in it imports, types and late imports included."""
    rooms: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room not in DOORS:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            rooms.setdefault(room, set()).update(_named(tree, package.name))
    return {room: frozenset(named & rooms.keys() - {room}) for room, named in rooms.items()}


def _named(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from eie import x` names a room in the alias, `from eie.x import y` in the module.
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            first, *rest = module.split(".")
            if first == package and rest:
                yield rest[0]


def reachable(imports: Imports) -> dict[str, frozenset[str]]:
    """Return for every room all that it imports, however indirectly."""
    reach = {room: set(named) for room, named in imports.items()}
    for middle in imports:
        for room in imports:
            if middle in reach[room]:
                reach[room] |= reach[middle]
    return {room: frozenset(named) for room, named in reach.items()}


def arrows(imports: Imports) -> list[tuple[str, str]]:
    """Return the imports that no longer way implies: with all of them the picture is black."""
    reach = reachable(imports)
    kept = []
    for room, named in sorted(imports.items()):
        for target in sorted(named):
            # Rooms that import each other would imply one another's arrows away.
            peers = {middle for middle in named if room in reach[middle] or middle in reach[target]}
            if not any(target in reach[middle] for middle in named - peers - {target}):
                kept.append((room, target))
    return kept


def floors(imports: Imports) -> list[list[str]]:
    """Return the rooms by floor, the ground first: each stands above all that it imports."""
    reach = reachable(imports)
    height: dict[str, int] = {}
    # What reaches less stands lower; rooms that import each other reach the same and share a floor.
    for room in sorted(imports, key=lambda name: (len(reach[name] - {name}), name)):
        below = [height[target] for target in reach[room] if room not in reach[target]]
        height[room] = 1 + max(below, default=-1)
    return [sorted(room for room in height if height[room] == level) for level in range(1 + max(height.values()))]


def draw(imports: Imports) -> str:
    """Return the picture as SVG text."""
    storeys = floors(imports)
    width = 2 * MARGIN + max(map(len, storeys)) * COLUMN - (COLUMN - BOX_WIDTH)
    height = 2 * MARGIN + len(storeys) * ROW - (ROW - BOX_HEIGHT)
    corner: dict[str, tuple[int, int]] = {}
    for level, rooms in enumerate(reversed(storeys)):
        left = (width - (len(rooms) * COLUMN - (COLUMN - BOX_WIDTH))) // 2
        # Every second floor a little aside, so that an arrow over several floors misses the boxes between.
        left += COLUMN // 4 * (level % 2) if len(rooms) < max(map(len, storeys)) else 0
        for place, room in enumerate(rooms):
            corner[room] = left + place * COLUMN, MARGIN + level * ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#567"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    lines += [_arrow(corner[room], corner[target]) for room, target in arrows(imports)]
    lines += [_box(room, *corner[room]) for room in sorted(corner)]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _arrow(source: tuple[int, int], target: tuple[int, int]) -> str:
    x1, y1 = source[0] + BOX_WIDTH // 2, source[1] + BOX_HEIGHT
    x2, y2 = target[0] + BOX_WIDTH // 2, target[1]
    if source[1] == target[1]:  # rooms of one floor: an arc below both
        y2 += BOX_HEIGHT
    bend = ROW // 2
    end = y2 + bend if source[1] == target[1] else y2 - bend
    return (
        f'<path d="M{x1} {y1}C{x1} {y1 + bend} {x2} {end} {x2} {y2}" fill="none" stroke="#567" marker-end="url(#tip)"/>'
    )


def _box(room: str, x: int, y: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" fill="#eef3f8" stroke="#567"/>'
        f'<text x="{x + BOX_WIDTH // 2}" y="{y + 20}" text-anchor="middle">{room}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(imports_of(ROOT / "eie")), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}\n")
