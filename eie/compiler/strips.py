"""How wide the strips are in which a convolution runs that broadcasts each activation once.

Comes in: a `Scatter` and the spec. Goes out: widths, and what is read of a map. Read by `scatter`, which cuts a layer
by them, by `maps`, which counts what is read, and by the simulator.
"""

from __future__ import annotations

from functools import lru_cache

from eie.compiler.outline import Outline
from eie.model.geometry import Scatter, Visit
from eie.spec import AcceleratorSpec

# Wider than any map.
ENDLESS = 1 << 30


def strip_width(scatter: Scatter, channels_a_pe: int, spec: AcceleratorSpec) -> int:
    """Output columns of which a PE's accumulators hold all open rows; 0 if not even one.

    With ideal residency there are accumulators for any layer, as `eie.compiler.passes` has it.
    """
    if spec.residency == "ideal":
        return ENDLESS
    return spec.act_registers // (scatter.open_rows * channels_a_pe)


def visits_of(scatter: Scatter, channels_a_pe: int, size: tuple[int, int], spec: AcceleratorSpec) -> tuple[Visit, ...]:
    """Return what each strip of a map of (height, width) reads, for so many output channels a PE.

    Strips that see nothing but pads are left out: their outputs are what accumulators start from.
    """
    return _visits(scatter, size, strip_width(scatter, channels_a_pe, spec))


def pixels_read(scatter: Scatter, channels_a_pe: int, size: tuple[int, int], spec: AcceleratorSpec) -> int:
    """Pixels that all strips read together."""
    return sum(len(visit.window) for visit in visits_of(scatter, channels_a_pe=channels_a_pe, size=size, spec=spec))


def pixels_of(layer: Outline, size: tuple[int, ...], spec: AcceleratorSpec) -> int:
    """Pixels that all passes of a layer over a map of (height, width) read together."""
    assert layer.scatter is not None
    height, width = size
    return sum(
        pixels_read(layer.scatter, channels_a_pe=each, size=(height, width), spec=spec) for each in layer.channels_a_pe
    )


# The plan and both counting stages ask for the same ones.
@lru_cache(maxsize=64)
def _visits(scatter: Scatter, size: tuple[int, int], most: int) -> tuple[Visit, ...]:
    visits = tuple(scatter.visits(size, most))
    # One stays, where none sees anything: a layer of no strips would take no time at all.
    return tuple(visit for visit in visits if len(visit.window)) or visits[:1]
