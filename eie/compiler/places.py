"""The rows of a memory plan: where each layer's weights are, and what each memory of the machine holds.

Comes in: counts. Goes out: frozen `LayerPlace` and `MemoryRow`. Made by `eie.compiler.memory` and `eie.compiler.maps`,
shown by whoever shows a program or a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eie.show.brief import Brief

# "ideal": taken to be in place whatever the memories hold, as the paper does. "reloaded": a program file of eie 0.1 that
# was cut into passes, each loaded whole before it runs, as it was there.
Place = Literal["resident", "streamed", "ideal", "reloaded"]
BITS_PER_KIB = 8192


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerPlace(Brief):
    """Where a layer's weights are while the network runs.

    Attributes
    ----------
    place
        ``"resident"``, ``"streamed"`` or ``"ideal"``; ``"reloaded"`` in program files of eie 0.1.
    entries, pointers
        Of all its passes, in the PE that holds most of them.
    kib
        What both take in that PE.
    fits
        Whether its weights stay on the chip beside those of the layers that stay with it.
    why
        The reason, in words.
    """

    name: str
    place: Place
    entries: int
    pointers: int
    kib: float
    fits: bool
    why: str


@dataclass(frozen=True, kw_only=True, repr=False)
class MemoryRow(Brief):
    """What one memory of a PE holds while the network runs.

    Attributes
    ----------
    capacity_kib
        KiB a PE.
    stays_kib
        What is in it from the first layer to the last, in the fullest PE.
    comes_kib
        The most that is brought into it while the network runs, at a time.
    wanted_kib
        What it would have to hold for nothing to come.
    fits
        Whether that is within its capacity.
    comes
        What comes and when, in words; empty if nothing does.
    """

    memory: str
    capacity_kib: float
    stays_kib: float
    comes_kib: float
    wanted_kib: float
    fits: bool
    comes: str = ""
