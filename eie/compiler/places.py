"""A memory plan as a record: where each layer's weights are, and what each memory of the machine holds.

Comes in: counts. Goes out: a frozen `MemoryPlan` of `LayerPlace` and `MemoryRow`. Made by `eie.compiler.memory` and
`eie.compiler.maps`, shown by whoever shows a program or a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from eie.compiler.map_rows import MapPlan, maps_grid
from eie.show.brief import Brief
from eie.show.face import View
from eie.show.listing import first_few
from eie.show.sections import Column, Grid, Section, Value

# "ideal": taken to be in place whatever the memories hold, as the paper does. "reloaded": a program file of eie 0.1
# that was cut into passes, each loaded whole before it runs, as it was there.
Place = Literal["resident", "streamed", "ideal", "reloaded"]

# Said in every output of such a machine.
IDEAL = "residency ideal, weights and maps are taken to be where they are needed"

# Layers that a sentence names.
NAMED = 3


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
    room_entries, room_pointers
        Of a streamed layer: what it may take of each PE's memories in its turn, the stream buffer included.
    bias_words
        Words of each PE's activation SRAM that hold what its accumulators start from: always, or streamed in its turn.
    bias_bits
        Of a streamed layer: bits in which they come over the bus, once a turn.
    """

    name: str
    place: Place
    entries: int
    pointers: int
    kib: float
    fits: bool
    why: str
    room_entries: int = 0
    room_pointers: int = 0
    bias_words: int = 0
    bias_bits: int = 0

    @property
    def turn(self) -> tuple[int, int]:
        """(entries, pointers) that it may take in its turn."""
        return self.room_entries, self.room_pointers


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


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MemoryPlan(View):
    """What stays on the chip and what comes when, for a whole network.

    Attributes
    ----------
    residency
        The rule it was made by: ``"auto"`` or ``"ideal"``.
    batch
        Samples for which a layer that comes is loaded once.
    alternatives
        Whether the layers are no network but alternatives, of which each has the chip to itself.
    layers
        A row a layer, in order.
    memories
        A row a memory: sparse matrix, pointers, activations, accumulators.
    maps
        What lies between the layers, and where.
    """

    residency: str
    batch: int
    alternatives: bool
    layers: tuple[LayerPlace, ...]
    memories: tuple[MemoryRow, ...]
    maps: MapPlan

    @property
    def fits(self) -> bool:
        """Whether every memory holds all that the network needs of it, so that nothing has to come while it runs."""
        return all(row.fits for row in self.memories)

    @cached_property
    def streamed(self) -> frozenset[str]:
        """Layers whose weights arrive while they work."""
        return frozenset(layer.name for layer in self.layers if layer.place == "streamed")

    @cached_property
    def by_name(self) -> Mapping[str, LayerPlace]:
        """Rows by the layer's name."""
        return {layer.name: layer for layer in self.layers}

    def content(self) -> dict[str, Any]:
        """Return all of it as plain data, ready for JSON; docs/outputs.md explains each key."""
        return {
            "residency": self.residency,
            "fits": self.fits,
            "batch": self.batch,
            "alternatives": self.alternatives,
            "layers": [vars(layer) for layer in self.layers],
            "memories": [vars(row) for row in self.memories],
            "maps": self.maps.content(),
        }

    def headline(self) -> str:
        """Say whether the network fits, and by which rule it is placed."""
        return memory_line(self)

    def sections(self) -> tuple[Section, ...]:
        """Return where each layer is and why, then what each memory holds."""
        return (Section(name="memory", grids=(layers_grid(self), maps_grid(self.maps), memories_grid(self))),)


def memory_line(plan: MemoryPlan) -> str:
    """Say in one line whether a network fits, and what comes."""
    whole = "each layer alone" if plan.alternatives else "the network"
    if plan.residency == "ideal":
        truth = f"{whole} fits" if plan.fits else f"in truth {_lacking(plan)}"
        return f"Memory: {IDEAL}; {truth}."
    coming = [layer.name for layer in plan.layers if layer.place != "resident"]
    if not coming:
        truth = f"{whole} fits" if plan.fits else f"all weights stay on the chip, but {_lacking(plan)}{_spilled(plan)}"
        return f"Memory: residency auto; {truth}."
    kept = len(plan.layers) - len(coming)
    weights = (
        f"the weights of {kept} of {len(plan.layers)} layers stay, those of {first_few(coming, NAMED)} come from DRAM"
    )
    return f"Memory: residency auto; {_lacking(plan)}: {weights}{_spilled(plan)}."


def _spilled(plan: MemoryPlan) -> str:
    count = sum(not placed.in_sram for placed in plan.maps.maps)
    return f"; {count} of {len(plan.maps.maps)} maps lie in DRAM" if count else ""


def _lacking(plan: MemoryPlan) -> str:
    """Say which memories do not hold what is wanted of them, or that this is not known."""
    unknown = bool(plan.maps.unknown)
    full = [row.memory for row in plan.memories if not row.fits and not (unknown and row.memory == "activations")]
    said = [f"not all fits ({', '.join(full)})"] if full else []
    return "; ".join([*said, *(["the sizes of maps are not known"] if unknown else [])])


def layers_grid(plan: MemoryPlan) -> Grid:
    """Return a row a layer: where its weights are, what they take, and why."""
    columns = (
        Column("layer", "layer", "text"),
        Column("place", "weights", "word"),
        Column("entries", "entries a PE", "count"),
        Column("pointers", "pointers a PE", "count"),
        Column("kib", "KiB a PE"),
        Column("why", "why", "prose"),
    )
    rows: tuple[dict[str, Value], ...] = tuple(
        {
            "layer": layer.name,
            "place": layer.place,
            "entries": layer.entries,
            "pointers": layer.pointers,
            "kib": layer.kib,
            "why": layer.why,
        }
        for layer in plan.layers
    )
    return Grid(caption="Where the weights are", columns=columns, rows=rows)


def memories_grid(plan: MemoryPlan) -> Grid:
    """Return a row a memory: what it holds, what stays, what comes."""
    columns = (
        Column("memory", "memory of a PE", "text"),
        Column("capacity", "KiB"),
        Column("wanted", "wanted"),
        Column("stays", "stays"),
        Column("room", "comes"),
        Column("fits", "fits", "yes"),
        Column("comes", "what comes when", "prose"),
    )
    rows: tuple[dict[str, Value], ...] = tuple(
        {
            "memory": row.memory,
            "capacity": row.capacity_kib,
            "wanted": row.wanted_kib,
            "stays": row.stays_kib,
            "room": row.comes_kib,
            "fits": row.fits,
            "comes": row.comes,
        }
        for row in plan.memories
    )
    return Grid(caption="Memories", columns=columns, rows=rows)
