"""Where the maps between layers lie while a network runs.

Comes in: encoded layers, the graph between them, the spec. Goes out: a frozen `MapPlan`; its row of the memory plan.
Read by `eie.compiler.memory`, the simulator, which counts the traffic, and results.

The rules (docs/cycle-model.md, "Activations"). A map is spread over the PEs, element i in PE i mod P, and lies whole in
the activation SRAMs or whole in DRAM, from the layer that writes it to the last that needs it. Those stay that save
most DRAM traffic for their size, as long as the fullest PE has room from their first step to their last; equals go by
their order. What a layer moves of them is `eie.compiler.map_traffic`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from eie.compiler.lifetimes import HOST, Lifetime, Lifetimes, lifetimes
from eie.compiler.map_rows import BITS_PER_KIB, MapPlan, PlacedMap
from eie.compiler.map_traffic import Traffic, layer_maps, pixel_traffic, traffic_of
from eie.compiler.outline import Outline
from eie.compiler.places import MemoryRow
from eie.errors import ModelError
from eie.model.graph import Graph
from eie.model.uses import layer_of
from eie.spec import AcceleratorSpec

ALONE = "the layers are no network"


def map_plan(
    layers: Sequence[Outline],
    spec: AcceleratorSpec,
    batch: int = 1,
    graph: Graph | None = None,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    products: Mapping[str, int] | None = None,
    sizes: Mapping[str, tuple[int, ...]] | None = None,
    biases: Mapping[str, int] | None = None,
) -> MapPlan:
    """Place the maps of a network.

    Parameters
    ----------
    batch
        Samples that go through a layer before the next one begins: the maps of all lie in memory.
    graph
        How tensors flow; None for layers that are no network, of which each is placed as if it were alone.
    shapes
        Shape of a sample of each of the graph's inputs, where the graph leaves a size open.
    products
        Rows of inputs a sample by use of a layer, where they are recorded: all that is known of a layer alone.
    sizes
        Height and width of the maps that they are of, where that is known.
    biases
        Words of a PE that are taken in each layer's step by what accumulators start from, its own and others'.
    """
    biases = biases or {}
    if graph is None:
        return _alone(layers=layers, spec=spec, batch=batch, products=products, sizes=sizes or {}, biases=biases)
    geometries = {layer.name: layer.geometry for layer in layers}
    try:
        life = lifetimes(graph, geometries, shapes or {})
    except ModelError as error:
        if products is not None:
            return _alone(layers=layers, spec=spec, batch=batch, products=products, sizes=sizes or {}, biases=biases)
        return MapPlan(residency=spec.residency, batch=batch, spec=spec, unknown=str(error))
    for name, rows in (products or {}).items():
        # One window of a convolution stands for all where nobody knows better: its maps would dwarf it.
        if rows != life.rows.get(name):
            reason = f"{name} runs {rows} products a sample where its maps make {life.rows.get(name, 0)}"
            return MapPlan(residency=spec.residency, batch=batch, spec=spec, unknown=reason)
    return _placed(life=life, layers={layer.name: layer for layer in layers}, spec=spec, batch=batch, biases=biases)


def _alone(
    *,
    layers: Sequence[Outline],
    spec: AcceleratorSpec,
    batch: int,
    products: Mapping[str, int] | None,
    sizes: Mapping[str, tuple[int, ...]],
    biases: Mapping[str, int],
) -> MapPlan:
    """Place each layer's input and output as if there were no other layer."""
    plans = []
    names = {layer.name for layer in layers}
    for layer in layers:
        # How many products a layer of maps or steps has is not known before its inputs are.
        if products is None and not layer.geometry.takes_vectors:
            return MapPlan(residency=spec.residency, batch=batch, spec=spec, unknown=f"{ALONE}, and no sizes are given")
        recorded = {layer.name: 1} if products is None else products
        uses = [use for use in recorded if layer_of(use, names) == layer.name]
        if layer.scatter is not None and not set(uses) <= set(sizes):
            # Of recorded rows only their number is known, and strips are cut of a map with height and width.
            return MapPlan(residency=spec.residency, batch=batch, spec=spec, unknown=f"{ALONE}, and no sizes are given")
        for use in uses:
            life = replace(_one_use(layer, use, recorded[use]), sizes=sizes)
            plans.append(_placed(life=life, layers={layer.name: layer}, spec=spec, batch=batch, biases=biases))
    return MapPlan(
        residency=spec.residency,
        batch=batch,
        spec=spec,
        maps=tuple(placed for plan in plans for placed in plan.maps),
        layers=tuple(row for plan in plans for row in plan.layers),
        pixels={use: pixel for plan in plans for use, pixel in plan.pixels.items()},
        used=tuple(max(plan.used) for plan in plans),
        wanted=tuple(max(plan.wanted) for plan in plans),
        # Of several layers that are no network nothing goes from one to the next, nor from and to a host in between.
        host_in=plans[0].host_in if len(plans) == 1 else 0,
        host_out=plans[0].host_out if len(plans) == 1 else 0,
    )


def _one_use(layer: Outline, use: str, rows: int) -> Lifetimes:
    outputs, inputs = layer.geometry.channels
    fresh = layer.geometry.fresh_inputs
    # Of a convolution's recorded windows only what each brings in: the rest was in those before it.
    source = rows * (inputs if fresh is None else fresh * layer.geometry.diagonal_blocks)
    read = Lifetime(name=f"{use}:in", elements=source, born=HOST, last=0, sources=(0,))
    made = Lifetime(name=f"{use}:out", elements=rows * outputs, born=0, last=1)
    return Lifetimes(
        maps=(read, made), layers={use: layer.name}, rows={use: rows}, host_in=source, host_out=made.elements
    )


class _Steps:
    """Which maps each step touches, gathered in one pass: map by map, ten thousand layers would be 10**8 questions.

    All in the order of the maps; ``operands`` names a map as often as operators of the step read it.
    """

    def __init__(self, life: Lifetimes) -> None:
        steps = range(len(life.layers))
        self.sources: list[list[int]] = [[] for _ in steps]
        self.operands: list[list[int]] = [[] for _ in steps]
        self.alive: list[list[int]] = [[] for _ in steps]
        for place, made in enumerate(life.maps):
            for step in dict.fromkeys(made.sources):
                self.sources[step].append(place)
            for step in made.operands:
                # What operators in front of the first layer read is read in no step.
                if step in steps:
                    self.operands[step].append(place)
            for step in steps[max(made.born, 0) : made.last + 1]:
                self.alive[step].append(place)


def _placed(
    *, life: Lifetimes, layers: Mapping[str, Outline], spec: AcceleratorSpec, batch: int, biases: Mapping[str, int]
) -> MapPlan:
    steps, touched = range(len(life.layers)), _Steps(life)
    moved = [
        traffic_of(
            layer=layers[name],
            rows=life.rows[use],
            size=life.sizes.get(use, ()),
            maps=life.maps,
            sources=touched.sources[step],
            operands=touched.operands[step],
            spec=spec,
        )
        for step, (use, name) in enumerate(life.layers.items())
    ]
    # A PE holds every P-th element of each sample.
    room = [batch * -(-made.elements // spec.n_pe) for made in life.maps]
    alive = touched.alive
    taken = [biases.get(name, 0) for name in life.layers.values()]
    wanted = tuple(taken[step] + sum(room[i] for i in places) for step, places in enumerate(alive))
    ideal = spec.residency == "ideal"
    kept = (
        set(range(len(life.maps)))
        if ideal
        else _kept(life=life, moved=moved, room=room, free=[spec.activation_capacity - words for words in taken])
    )
    used = tuple(taken[step] + sum(room[i] for i in places if i in kept) for step, places in enumerate(alive))
    names = tuple(life.layers)
    return MapPlan(
        residency=spec.residency,
        batch=batch,
        spec=spec,
        maps=tuple(
            PlacedMap(
                name=made.name,
                made_by="" if made.born == HOST else names[made.born],
                read_by=tuple(names[step] for step in sorted({*made.sources, *made.operands})),
                elements=made.elements,
                kib=batch * made.elements * spec.data_bits / BITS_PER_KIB,
                in_sram=i in kept,
            )
            for i, made in enumerate(life.maps)
        ),
        layers=tuple(
            replace(
                layer_maps(step=step, life=life, moved=moved[step], alive=alive[step], kept=kept, spec=spec),
                layer=names[step],
                fits=wanted[step] <= spec.activation_capacity,
            )
            for step in steps
        ),
        used=used,
        wanted=wanted,
        host_in=life.host_in,
        host_out=life.host_out,
        pixels={
            use: pixel_traffic(layers[name], maps=life.maps, sources=touched.sources[step], kept=kept, spec=spec)
            for step, (use, name) in enumerate(life.layers.items())
            if layers[name].scatter is not None and not ideal
        },
    )


def _kept(life: Lifetimes, moved: Sequence[Traffic], room: Sequence[int], free: Sequence[int]) -> set[int]:
    """Choose the maps that lie in the SRAMs, of which so many words are free in each step."""
    # Written once, unless the host did.
    traded = [made.elements if made.born != HOST else 0 for made in life.maps]
    for traffic in moved:
        for i, pairs in traffic.read.items():
            traded[i] += sum(n * times for n, times in pairs)
    # Exact, so that equals are equal.
    saved = [Fraction(moves, max(1, made.elements)) for moves, made in zip(traded, life.maps, strict=True)]
    used = [0] * len(life.layers)
    kept = set()
    # Sorting is stable: equals stay in the order in which they are made.
    for i in sorted(range(len(saved)), key=lambda i: -saved[i]):
        made = life.maps[i]
        life_span = range(max(made.born, 0), min(made.last, len(used) - 1) + 1)
        if all(used[step] + room[i] <= free[step] for step in life_span):
            kept.add(i)
            for step in life_span:
                used[step] += room[i]
    return kept


def map_row(plan: MapPlan, stays: int = 0) -> MemoryRow:
    """Return the activation SRAM's row of the memory plan; ``stays`` words of a PE hold biases from first to last."""
    kib = plan.spec.data_bits / BITS_PER_KIB
    used, wanted = (max(steps, default=stays) * kib for steps in (plan.used, plan.wanted))
    spilled = [placed for placed in plan.maps if not placed.in_sram]
    comes = "each layer's maps, in its turn"
    if plan.unknown:
        comes = f"not known: {plan.unknown}"
    elif spilled:
        comes += f"; {len(spilled)} of {len(plan.maps)} maps to and from DRAM"
    return MemoryRow(
        memory="activations",
        capacity_kib=plan.spec.act_kib,
        stays_kib=stays * kib,
        comes_kib=used - stays * kib,
        wanted_kib=wanted,
        fits=plan.fits,
        comes=comes,
    )
