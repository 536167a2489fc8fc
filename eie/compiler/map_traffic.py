"""What a layer moves of the maps between layers: numbers, rows of the activation SRAMs, bits of DRAM.

Comes in: a layer's outline, the maps it reads, which of them lie in the SRAMs. Goes out: `Traffic`, and the layer's
`LayerMaps`. Read by `eie.compiler.maps`, which places them by it, and by the simulator for batches.

A layer fetches its input anew for every product: a convolution reads what its windows share again and again. It writes
its output once (docs/cycle-model.md, "Activations").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from eie.compiler.lifetimes import Lifetime, Lifetimes
from eie.compiler.map_rows import LayerMaps
from eie.compiler.outline import Outline
from eie.compiler.strips import pixels_read
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False)
class Traffic:
    """What moves in one layer and sample: (elements of a transfer, how often), by map."""

    read: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    # Of a recurrent layer: its state, which goes from step to step through the SRAM.
    state: list[tuple[int, int]] = field(default_factory=list)


def _vectors(layer: Outline, *, rows: int, size: tuple[int, ...], spec: AcceleratorSpec) -> list[tuple[int, int]]:
    """List what a layer reads of its input, a sample: (elements of a vector, how often), for each pass."""
    inputs = layer.geometry.channels[1]
    if layer.scatter is not None:
        # A pixel's channels, once for each strip that it reaches.
        height, width = size
        return [
            (inputs, pixels_read(layer.scatter, channels_a_pe=each, size=(height, width), spec=spec))
            for each in layer.channels_a_pe
        ]
    # A row of a recurrent layer is its input and its state.
    recurrent = layer.geometry.recurrence is not None
    return [(inputs if recurrent else part.inputs, rows) for part in layer.passes]


def _shares(inputs: int, maps: Sequence[Lifetime], sources: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield each map that a vector is made of, and how many of its numbers come from there."""
    # At least 1: a damaged graph may make a map of nothing, which running it refuses by name.
    whole = max(1, sum(maps[place].elements for place in sources))
    before = 0
    # Joined maps give a row its numbers in proportion; cut from the running sum, so that nothing is lost.
    for place in sources:
        upto = before + maps[place].elements
        yield place, inputs * upto // whole - inputs * before // whole
        before = upto


def pixel_traffic(
    layer: Outline, *, maps: Sequence[Lifetime], sources: Sequence[int], kept: set[int], spec: AcceleratorSpec
) -> dict[str, int]:
    """Count what reading the channels of one pixel takes."""
    shares = list(_shares(layer.geometry.channels[1], maps, sources))
    bits = [dram_bits(share, spec) for place, share in shares if place not in kept]
    return {
        "act_sram_reads": sum(sram_rows(share, spec) for place, share in shares if place in kept),
        "dram_bits": sum(bits),
        "bus_cycles": sum(map(spec.bus_cycles, bits)),
    }


def traffic_of(
    *,
    layer: Outline,
    rows: int,
    size: tuple[int, ...],
    maps: Sequence[Lifetime],
    sources: list[int],
    operands: list[int],
    spec: AcceleratorSpec,
) -> Traffic:
    """Gather what a layer reads: of ``sources``, joined into its rows, and for operators behind it of ``operands``."""
    traffic = Traffic()
    recurrent = layer.geometry.recurrence is not None
    for inputs, times in _vectors(layer, rows=rows, size=size, spec=spec):
        for place, share in _shares(inputs, maps, sources):
            traffic.read.setdefault(place, []).append((share, times))
    if recurrent:
        traffic.state.extend((part.inputs - layer.geometry.channels[1], rows) for part in layer.passes)
    for place in operands:
        traffic.read.setdefault(place, []).append((maps[place].elements, 1))
    return traffic


def layer_maps(
    *,
    step: int,
    life: Lifetimes,
    moved: Traffic,
    alive: Sequence[int],
    kept: set[int],
    spec: AcceleratorSpec,
) -> LayerMaps:
    """Count what a layer's step takes of the maps, of which those ``kept`` lie in the SRAMs."""
    maps = life.maps
    made = [i for i in alive if maps[i].born == step]
    touched = [*moved.read, *made]
    row = LayerMaps(
        layer="",
        source=sum(maps[i].elements for i in moved.read),
        made=sum(maps[i].elements for i in made),
        kept=sum(maps[i].elements for i in alive if i not in touched),
    )
    if spec.residency == "ideal":
        return row
    reads = [pair for i, pairs in moved.read.items() if i in kept for pair in pairs] + moved.state
    writes = [(maps[i].elements, 1) for i in made if i in kept]
    over_bus = [pair for i, pairs in moved.read.items() if i not in kept for pair in pairs]
    over_bus += [(maps[i].elements, 1) for i in made if i not in kept]
    return replace(
        row,
        spilled=tuple(maps[i].name for i in touched if i not in kept),
        act_sram_reads=sum(sram_rows(n, spec) * times for n, times in reads),
        act_sram_writes=sum(sram_rows(n, spec) * times for n, times in writes),
        dram_bits=sum(dram_bits(n, spec) * times for n, times in over_bus),
        bus_cycles=sum(spec.bus_cycles(dram_bits(n, spec)) * times for n, times in over_bus),
    )


def sram_rows(elements: int, spec: AcceleratorSpec) -> int:
    """Rows of the activation SRAMs, over all PEs, that so many neighbouring elements take."""
    each, more = divmod(elements, spec.n_pe)
    return more * pe_rows(each + 1, spec) + (spec.n_pe - more) * pe_rows(each, spec)


def pe_rows(elements: int, spec: AcceleratorSpec) -> int:
    """Rows of one PE's activation SRAM that so many of its elements take."""
    return -(-elements * spec.data_bits // spec.act_row_bits)


def dram_bits(elements: int, spec: AcceleratorSpec) -> int:
    """Bits of one transfer of so many elements."""
    return spec.in_bursts(elements * spec.data_bits)
