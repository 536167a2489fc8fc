"""How the uses of a layer are called: a layer that runs n times has n uses of the same weights.

Comes in: names of layers in the order in which they run. Goes out: a name for each run. Read by graphs, traces, memory
plans and the simulator. The first use has the layer's own name, so that a layer which runs once is called as ever; the
second of ``fc`` is ``fc#2``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

MARK = "#"


def numbered(layers: Iterable[str]) -> list[str]:
    """Name each run of the layers, given in order.

    Examples
    --------
    >>> numbered(["fc", "fc", "out", "fc"])
    ['fc', 'fc#2', 'out', 'fc#3']
    """
    runs: Counter[str] = Counter()
    names = []
    for layer in layers:
        runs[layer] += 1
        names.append(use_name(layer, runs[layer]))
    return names


def use_name(layer: str, number: int) -> str:
    """Name the ``number``-th run of a layer, from 1 on."""
    return layer if number == 1 else f"{layer}{MARK}{number}"


def layer_of(use: str, layers: Collection[str]) -> str | None:
    """Return the layer that ``use`` is of; None if it is of none of them."""
    # A layer may itself be called as if it were a use: its own name goes first.
    if use in layers:
        return use
    layer, mark, number = use.rpartition(MARK)
    # From the second on, as they are written: "fc#1" and "fc#02" would be other names of what has one.
    counts = mark and number.isascii() and number.isdigit() and number[0] != "0" and number != "1"
    return layer if counts and layer in layers else None


def by_layer(uses: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the uses of each layer, in order, of ``uses`` to layers."""
    grouped: dict[str, tuple[str, ...]] = {}
    for use, layer in uses.items():
        grouped[layer] = (*grouped.get(layer, ()), use)
    return grouped
