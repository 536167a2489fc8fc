"""The rows of a plan of maps: where each lies, what each layer moves.

Comes in: counts. Goes out: frozen `PlacedMap`, `LayerMaps` and `MapPlan`. Made by `eie.compiler.maps`, part of the
memory plan, read by the simulator and by whoever shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from eie.show.brief import Brief
from eie.show.sections import Column, Grid, Value
from eie.spec import AcceleratorSpec

BITS_PER_KIB = 8192
# Of `LayerMaps`, what adds up over the uses of a layer.
_ADDED = ("source", "made", "kept", "act_sram_reads", "act_sram_writes", "dram_bits", "bus_cycles")


@dataclass(frozen=True, kw_only=True, repr=False)
class PlacedMap(Brief):
    """One map.

    Attributes
    ----------
    made_by
        The layer that writes it; empty for what the host brings.
    read_by
        Layers that need it, in order.
    elements
        Of one sample.
    kib
        What all samples of the batch take, over all PEs.
    in_sram
        Whether it lies in the activation SRAMs; else in DRAM.
    """

    name: str
    made_by: str
    read_by: tuple[str, ...]
    elements: int
    kib: float
    in_sram: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerMaps(Brief):
    """What a use of a layer, or all of them, read and write beside its weights, for one sample.

    Attributes
    ----------
    layer
        Name of the use: the layer's where it has one.
    source, made, kept
        Elements of its input, of what it writes, and of maps that are only kept for later layers meanwhile.
    fits
        Whether the activation SRAMs hold all that is alive in its step.
    spilled
        Names of maps that it reads from or writes to DRAM.
    act_sram_reads, act_sram_writes
        Rows of ``act_row_bits``, over all PEs.
    dram_bits, bus_cycles
        In whole bursts, and the whole cycles that each transfer keeps the bus busy.
    """

    layer: str
    source: int = 0
    made: int = 0
    kept: int = 0
    fits: bool = True
    spilled: tuple[str, ...] = ()
    act_sram_reads: int = 0
    act_sram_writes: int = 0
    dram_bits: int = 0
    bus_cycles: int = 0

    def reading(self, pixel: Mapping[str, int], more: int) -> LayerMaps:
        """Return the same with so many more pixels read, of which each takes what ``pixel`` says by field."""
        added: dict[str, Any] = {name: getattr(self, name) + more * value for name, value in pixel.items()}
        return replace(self, **added)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MapPlan(Brief):
    """Where all maps of a network lie.

    Attributes
    ----------
    residency
        With ``"ideal"`` maps are where they are needed, and nothing is counted.
    unknown
        Why nothing is known; empty where it is.
    maps
        In the order in which they are made.
    layers
        A row a use, in the order in which they run.
    used
        Words of the activation SRAM of the fullest PE in each step, biases included, and ``wanted`` if all maps
        were there.
    host_in, host_out
        Elements that the host sends and gets, a sample.
    pixels
        Of uses that run by scatter, what reading the channels of a pixel adds to which fields of their `LayerMaps`:
        where a layer is cut into groups of channels as it runs, each reads the map again.
    """

    residency: str
    batch: int
    spec: AcceleratorSpec
    unknown: str = ""
    maps: tuple[PlacedMap, ...] = ()
    layers: tuple[LayerMaps, ...] = ()
    used: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()
    host_in: int = 0
    host_out: int = 0
    pixels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether every map lies in the activation SRAMs; maps of which nothing is known are not said to."""
        return not self.unknown and max(self.wanted, default=0) <= self.spec.activation_capacity

    @cached_property
    def by_layer(self) -> Mapping[str, LayerMaps]:
        """Rows by the name of the layer's use."""
        return {layer.layer: layer for layer in self.layers}

    def content(self) -> dict[str, Any]:
        """Return all of it as plain data, ready for JSON."""
        return {
            "unknown": self.unknown,
            "host_in": self.host_in,
            "host_out": self.host_out,
            "maps": [vars(placed) for placed in self.maps],
            "layers": [vars(row) for row in self.layers],
        }

    def of(self, use: str) -> LayerMaps:
        """Return the row of a layer's use; zeros where nothing is known or counted."""
        return self.by_layer.get(use) or LayerMaps(layer=use)

    def of_uses(self, layer: str, uses: Sequence[str]) -> LayerMaps:
        """Return what all uses of a layer move, added up."""
        rows = [self.of(use) for use in uses]
        if len(rows) == 1:
            return rows[0]
        return LayerMaps(
            layer=layer,
            fits=all(row.fits for row in rows),
            spilled=tuple(dict.fromkeys(name for row in rows for name in row.spilled)),
            **{name: sum(getattr(row, name) for row in rows) for name in _ADDED},
        )


def maps_grid(plan: MapPlan) -> Grid:
    """Return a row a layer: the maps it reads, writes and keeps, and what goes to DRAM."""
    columns = (
        Column("layer", "layer", "text"),
        Column("source", "reads KiB", "fixed1"),
        Column("made", "writes KiB", "fixed1"),
        Column("kept", "kept KiB", "fixed1"),
        Column("dram", "DRAM KiB a sample"),
        Column("bus", "bus cycles", "count"),
        Column("spilled", "maps in DRAM", "prose"),
    )
    kib = plan.batch * plan.spec.data_bits / BITS_PER_KIB
    rows: list[dict[str, Value]] = [
        {
            "layer": row.layer,
            "source": row.source * kib,
            "made": row.made * kib,
            "kept": row.kept * kib,
            "dram": row.dram_bits / BITS_PER_KIB,
            "bus": row.bus_cycles,
            "spilled": ", ".join(row.spilled),
        }
        for row in plan.layers
    ]
    caption = f"Maps between layers ({plan.spec.n_pe * plan.spec.act_kib:,} KiB of activation SRAM)"
    notes = (f"maps are not known: {plan.unknown}",) if plan.unknown else ()
    return Grid(caption=caption, columns=columns, rows=tuple(rows), notes=notes)
