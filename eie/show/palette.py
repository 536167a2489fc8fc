"""The one palette of what PEs do in a cycle, for pages and figures alike, on light ground and on dark.

Comes in: nothing. Goes out: colours by the names of shares (docs/cycle-model.md, "Where the cycles go"). Read by
`eie.show.page` and `eie.plots`. Work is blue, what a PE idles for warm, and what the end takes grey; Okabe and Ito's
hues, which the colour-blind tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Colour(NamedTuple):
    """A colour on light ground, and what stands for it on dark."""

    light: str
    dark: str


SHARES: Mapping[str, Colour] = {
    "useful": Colour("#0072B2", "#4FA8DC"),
    "padding": Colour("#56B4E9", "#1F6F9F"),
    "empty_column": Colour("#E69F00", "#F0B429"),
    "idle_broadcast": Colour("#D55E00", "#E8743B"),
    "idle_scan": Colour("#CC79A7", "#D98FB8"),
    "idle_stall": Colour("#8A3B12", "#A65628"),
    "idle_load": Colour("#009E73", "#3DBB96"),
    "drain": Colour("#999999", "#8C8C8C"),
}
