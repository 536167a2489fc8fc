"""The one palette of what PEs do in a cycle, for pages and figures alike, on light ground and on dark.

Comes in: nothing. Goes out: colours by the names of shares (docs/cycle-model.md, "Where the cycles go"). Read by
`eie.show.page` and `eie.plots`. Work is blue, what a PE idles for warm, and what the end takes grey: near to Okabe and
Ito's hues, which the colour-blind tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Colour(NamedTuple):
    """A colour on light ground, and what stands for it on dark."""

    light: str
    dark: str


# Each at least three times as bright as its ground, or as dark: what can be told from it without good eyes.
SHARES: Mapping[str, Colour] = {
    "useful": Colour("#0072B2", "#4FA8DC"),
    "padding": Colour("#3C93CE", "#2C80B4"),
    "empty_column": Colour("#C47F00", "#F0B429"),
    "idle_broadcast": Colour("#D55E00", "#E8743B"),
    "idle_scan": Colour("#C0679A", "#D98FB8"),
    "idle_stall": Colour("#8A3B12", "#B0613A"),
    "idle_load": Colour("#00875F", "#3DBB96"),
    "drain": Colour("#858585", "#8C8C8C"),
}
