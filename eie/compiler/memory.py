"""The memory plan of a whole network: which layers' weights stay on the chip, and which come from DRAM in their turn.

Comes in: the demands of all layers of a network and the spec. Goes out: a frozen `MemoryPlan`. Read by the simulator,
which streams what does not stay, by results and by ``eie inspect``.

The rule (docs/assumptions.md has its reasons). Entries and pointers of layers that stay lie side by side in every PE:
they add up, PE by PE. A pointer counts from its layer's own base register, so its reach bounds each layer and the SRAM
bounds their sum. Where all layers stay nothing comes. Otherwise the stream buffer takes the end of the sparse-matrix
SRAM and as large a share of the pointers', and of the layers those stay that save most stall cycles per KiB, each that
still fits; equals go by their order. What a layer saves is counted with every column active, since the plan may not
depend on activations: the bus cycles of its columns over the batch, less the cycles its busiest PE issues in, times the
products of a sample where the graph tells them; of a layer with several uses the sum over them, each of which would
load it anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eie.compiler.demand import Demand
from eie.compiler.lifetimes import lifetimes
from eie.compiler.map_rows import BITS_PER_KIB
from eie.compiler.maps import map_plan, map_row
from eie.compiler.places import LayerPlace, MemoryPlan, MemoryRow, Place
from eie.compiler.stream import burst_bits, bus_cycles, check_column
from eie.errors import ModelError
from eie.model.graph import Graph
from eie.model.network import Network
from eie.spec import AcceleratorSpec


def stated_by(network: Network, spec: AcceleratorSpec) -> AcceleratorSpec:
    """Return the spec with the residency that a network states, unless the caller has said one."""
    if network.residency is None or "residency" in spec.model_fields_set:
        return spec
    return spec.replace(residency=network.residency)


def plan_of(
    demands: Sequence[Demand],
    spec: AcceleratorSpec,
    batch: int = 1,
    graph: Graph | None = None,
    *,
    alternatives: bool = False,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    products: Mapping[str, int] | None = None,
    sizes: Mapping[str, tuple[int, ...]] | None = None,
) -> MemoryPlan:
    """Place a whole network in a machine's memories.

    Parameters
    ----------
    batch
        Samples for which a layer that comes is loaded once.
    graph
        How tensors flow between the layers, for the maps.
    alternatives
        The layers are no network: each is placed as if it were alone.
    shapes
        Shape of a sample of each of the graph's inputs, where the graph leaves a size open.
    products
        Rows of inputs a sample by use of a layer, where they were recorded: for the maps alone.
    sizes
        Height and width of the maps that those rows are of, where that is known.

    Returns
    -------
    MemoryPlan
        A function of these arguments only, never of activations.

    Raises
    ------
    ProgramError
        If a column of a layer that has to be streamed exceeds a half of the stream buffer.
    """
    places = placed(demands=demands, spec=spec, batch=batch, graph=graph, alternatives=alternatives)
    between = None if alternatives else graph
    stays, biases = _biases(places, alternatives=alternatives)
    maps = map_plan(
        layers=demands,
        spec=spec,
        batch=batch,
        graph=between,
        shapes=shapes,
        products=products,
        sizes=sizes,
        biases=biases,
    )
    return MemoryPlan(
        residency=spec.residency,
        batch=batch,
        alternatives=alternatives,
        layers=tuple(places),
        memories=(
            *_weight_rows(demands=demands, places=places, spec=spec, alternatives=alternatives),
            map_row(maps, stays),
            _accumulators(demands, spec),
        ),
        maps=maps,
    )


def placed(
    *, demands: Sequence[Demand], spec: AcceleratorSpec, batch: int, graph: Graph | None, alternatives: bool
) -> list[LayerPlace]:
    """Place the weights of a network: what `plan_of` does first.

    Raises
    ------
    ProgramError
        If a column of a layer that has to be streamed exceeds a half of the stream buffer.
    """
    groups = [[demand] for demand in demands] if alternatives else [demands]
    places = [place for group in groups for place in _placed(demands=group, spec=spec, batch=batch, graph=graph)]
    for demand, place in zip(demands, places, strict=True):
        if place.place == "streamed":
            check_column(demand.name, max(part.longest for part in demand.passes), spec)
    return places


def _biases(places: Sequence[LayerPlace], *, alternatives: bool) -> tuple[int, dict[str, int]]:
    """Words of the activation SRAM that biases take from first to last, and in each layer's turn."""
    comes = {place.name: place.bias_words for place in places if place.place in ("streamed", "reloaded")}
    stay = {place.name: place.bias_words for place in places if place.name not in comes}
    if alternatives:
        # Each has the chip to itself.
        return max(stay.values(), default=0), {place.name: place.bias_words for place in places}
    stays = sum(stay.values())
    return stays, {place.name: stays + comes.get(place.name, 0) for place in places}


def _products(demands: Sequence[Demand], graph: Graph | None) -> Mapping[str, Sequence[int]]:
    """Products a sample of each use, by layer, where the graph says so."""
    if graph is None:
        return {}
    try:
        rows = lifetimes(graph, {demand.name: demand.geometry for demand in demands}, {}).rows
    except ModelError:
        # How often a layer is loaded is known all the same.
        rows = dict.fromkeys(graph.uses, 1)
    return {layer: [rows[use] for use in uses] for layer, uses in graph.uses_by_layer.items()}


class _Room:
    """Entries and pointers of a PE that layers which stay have not taken yet."""

    def __init__(self, entries: int, pointers: int, n_pe: int) -> None:
        self._entries, self._pointers = entries, pointers
        self._taken, self._pointed = np.zeros(n_pe, np.int64), 0

    @property
    def left(self) -> tuple[int, int]:
        """(entries of the fullest PE, pointers) that nothing has taken."""
        return self._entries - int(self._taken.max()), self._pointers - self._pointed

    def take(self, demand: Demand) -> str:
        """Take a layer's room; where it is not there, take nothing and say what is left."""
        taken, pointed = self._taken + demand.entries, self._pointed + demand.pointers
        if pointed > self._pointers:
            return f"{self._pointers - self._pointed:,} pointers left"
        if taken.max() > self._entries:
            return f"{max(self._entries - int(self._taken.max()), 0):,} entries left"
        self._taken, self._pointed = taken, pointed
        return ""


def _placed(demands: Sequence[Demand], spec: AcceleratorSpec, batch: int, graph: Graph | None) -> list[LayerPlace]:
    """Place layers that share the chip."""
    whole = _Room(spec.entry_capacity, spec.pointer_capacity, spec.n_pe)
    reached = [demand.fullest <= spec.pointer_reach for demand in demands]
    lacking = [whole.take(demand) for demand in demands]
    together = not any(lacking) and all(reached)
    if spec.residency == "ideal" or together:
        return [_in_place(demand, spec, together=together) for demand in demands]
    products = _products(demands, graph)
    aside = max(buffered_pointers(spec), *(_never_cut(demand, spec) for demand in demands))
    # The buffer lies at the end: behind a single layer that stays, that is where its pointers do not reach.
    room = _Room(
        spec.entry_capacity - 2 * spec.stream_half_entries,
        spec.pointer_capacity - aside,
        spec.n_pe,
    )
    saved = {
        i: _saved(demand=demand, spec=spec, batch=batch, products=products.get(demand.name, (1,)))
        for i, demand in enumerate(demands)
        if reached[i]
    }
    reasons: dict[int, tuple[Place, str]] = {}
    # Sorting is stable, so equals stay in layer order.
    for i in sorted(saved, key=lambda i: -saved[i]):
        worth = f"save {float(saved[i]):,.0f} stall cycles a KiB"
        if missing := room.take(demands[i]):
            reasons[i] = ("streamed", f"would {worth}; {missing}")
        else:
            reasons[i] = ("resident", worth.replace("save", "saves", 1))
    beyond = f"more entries than a pointer reaches, {spec.pointer_reach:,}"
    # All that is not taken, the buffer included.
    entries, pointers = room.left
    turn = (entries + 2 * spec.stream_half_entries, pointers + aside)
    placed = []
    for i, demand in enumerate(demands):
        place, why = reasons.get(i, ("streamed", beyond))
        placed.append(_place(demand, spec, place=place, why=why, turn=turn if place == "streamed" else (0, 0)))
    return placed


def _never_cut(demand: Demand, spec: AcceleratorSpec) -> int:
    """Pointers that a layer needs at once in its turn: by scatter every pixel takes all columns."""
    # One that has no room even alone is refused where it is run.
    return 0 if demand.scatter is None else min(demand.scatter.columns + 1, spec.pointer_capacity)


def buffered_pointers(spec: AcceleratorSpec) -> int:
    """Pointers of streamed columns that a PE holds: of their SRAM the share that the buffer has of the other."""
    share = Fraction(2 * spec.stream_half_entries, spec.entry_capacity)
    return math.floor(spec.pointer_capacity * share)


def _in_place(demand: Demand, spec: AcceleratorSpec, *, together: bool) -> LayerPlace:
    if spec.residency == "ideal":
        why = "taken to be in place; it fits" if together else "taken to be in place, though all do not fit"
        return _place(demand, spec, place="ideal", why=why, fits=together)
    return _place(demand, spec, place="resident", why="all layers fit")


def _place(
    demand: Demand,
    spec: AcceleratorSpec,
    *,
    place: Place,
    why: str,
    fits: bool | None = None,
    turn: tuple[int, int] = (0, 0),
) -> LayerPlace:
    # Program files of eie 0.1 only: see `EncodedLayer.reloads`.
    if demand.reloads:
        # It fits, as it did there: each pass alone.
        place, why, fits = "reloaded", "cut into passes by eie 0.1, each loaded whole", True
    return LayerPlace(
        name=demand.name,
        place=place,
        entries=demand.fullest,
        pointers=demand.pointers,
        kib=demand.bits(spec) / BITS_PER_KIB,
        fits=place == "resident" if fits is None else fits,
        why=why,
        room_entries=turn[0],
        room_pointers=turn[1],
        bias_words=demand.bias_words(spec),
        bias_bits=demand.bias_bits(spec) if place == "streamed" else 0,
    )


def _saved(demand: Demand, spec: AcceleratorSpec, batch: int, products: Sequence[int]) -> Fraction:
    """Stall cycles a sample that staying avoids for each KiB of the fullest PE, every column active.

    ``products`` of each use: they are loaded one after the other, so each waits for itself.
    """
    # Exact, so that two layers alike are equal and keep their order.
    bus = sum(int(bus_cycles(burst_bits(part.columns, spec), spec).sum()) for part in demand.passes)
    issue = sum(part.issue for part in demand.passes)
    waiting = sum((max(Fraction(0), Fraction(bus, batch) - rows * issue) for rows in products), Fraction(0))
    return waiting * BITS_PER_KIB / demand.bits(spec)


def _weight_rows(
    *, demands: Sequence[Demand], places: Sequence[LayerPlace], spec: AcceleratorSpec, alternatives: bool
) -> tuple[MemoryRow, MemoryRow]:
    """Return the rows of the sparse-matrix SRAM and of the pointers."""
    kept = [place.place not in ("streamed", "reloaded") for place in places]
    comes = [place.name for place in places if place.place in ("streamed", "reloaded")]
    # Of alternatives one is on the chip at a time: the largest counts.
    together = max if alternatives else sum
    stay = [demand.entries for demand, stays in zip(demands, kept, strict=True) if stays]
    entries = _fullest(stay, alternatives=alternatives)
    wanted = _fullest([demand.entries for demand in demands], alternatives=alternatives)
    pointers = together([demand.pointers for demand, stays in zip(demands, kept, strict=True) if stays] or [0])
    wanted_pointers = together([demand.pointers for demand in demands])
    entry_kib, pointer_kib = spec.entry_bits / BITS_PER_KIB, spec.ptr_bits / BITS_PER_KIB
    reached = all(demand.fullest <= spec.pointer_reach for demand in demands)
    buffer = 2 * spec.stream_half_entries if comes else 0
    many = f"{len(comes)} of {len(places)} layers, column by column" if comes else ""
    beyond = sum(demand.fullest > spec.pointer_reach for demand in demands)
    if beyond:
        many += f"{'; ' if many else ''}{beyond} beyond a pointer's reach"
    return (
        MemoryRow(
            memory="sparse matrix",
            capacity_kib=spec.spmat_kib,
            stays_kib=entries * entry_kib,
            comes_kib=buffer * entry_kib,
            wanted_kib=wanted * entry_kib,
            fits=wanted <= spec.entry_capacity and reached,
            comes=many,
        ),
        MemoryRow(
            memory="pointers",
            capacity_kib=spec.ptr_kib,
            stays_kib=pointers * pointer_kib,
            comes_kib=(buffered_pointers(spec) if comes else 0) * pointer_kib,
            wanted_kib=wanted_pointers * pointer_kib,
            fits=wanted_pointers <= spec.pointer_capacity,
            comes="with their columns" if comes else "",
        ),
    )


def _fullest(entries: Sequence[NDArray[np.int64]], *, alternatives: bool) -> int:
    if not entries:
        return 0
    return int(np.max(entries)) if alternatives else int(np.sum(entries, axis=0).max())


def _accumulators(demands: Sequence[Demand], spec: AcceleratorSpec) -> MemoryRow:
    """Return the row of the accumulators, which hold one group of rows at a time."""
    largest = max(part.rows for demand in demands for part in demand.passes)
    cut = sum(demand.rounds > 1 for demand in demands)
    kib = largest * spec.data_bits / BITS_PER_KIB
    return MemoryRow(
        memory="accumulators",
        capacity_kib=spec.act_registers * spec.data_bits / BITS_PER_KIB,
        stays_kib=0.0,
        comes_kib=kib,
        wanted_kib=kib,
        # A layer that is cut by rows runs in passes, and each fits.
        fits=largest <= spec.act_registers,
        comes=f"each layer's sums, in its turn{f'; {cut} in passes' if cut else ''}",
    )
