"""The dense equivalent: the same PEs and memories, every weight and every activation, one MAC a PE and cycle.

Comes in: layers' shapes, or a `Workload`, and the spec. Goes out: costs, or a `Baseline`. Read by the report, for the
speedup over no compression, and by comparisons.

It pays for memory as EIE does. Its weights take ``data_bits`` each; what of them the SRAMs of sparse matrix and
pointers do not hold (it needs no pointers) comes over the same DRAM for every sample, through a buffer of the same size
and perfectly ahead: a layer takes the longer of computing and the bus. A layer with several uses is in the SRAMs once,
and what is not there comes for each use. Its maps are EIE's. With ideal residency neither
pays.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from weakref import ReferenceType, ref

from eie.compiler.places import MemoryPlan
from eie.machines import published
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.workload import LayerWork, Shaped, Workload, layer_work
from eie.spec import AcceleratorSpec

ON_CHIP, STREAMED, UNPAID = "on chip", "streamed", "not paid"


def dense_cycles(outputs: int, inputs: int, spec: AcceleratorSpec, *, has_bias: bool = False, products: int = 1) -> int:
    """Cycles of a layer without compression: the PE with the most rows spends one cycle on each of its weights.

    The bias is one more column, as it is on EIE. Queues never wait, since every column costs every PE the same.
    """
    rows_of_busiest_pe = -(-outputs // spec.n_pe)
    return rows_of_busiest_pe * (inputs + has_bias) * products


def run(workload: Workload, spec: AcceleratorSpec) -> Baseline:
    """Run every layer on the spec's PEs, its weights and maps where the machine's memories have room for them.

    Energy is Table II's power of a PE for the whole time, which holds at 45 nm and 800 MHz only; else there is none. To
    it comes what DRAM takes.
    """
    costs = layer_costs(workload.layers, spec, workload.batch)
    ideal = spec.residency == "ideal"
    machine = Machine(
        name=f"dense:{spec.n_pe}",
        how="modelled",
        source="one MAC a PE and cycle; power: Table II of " + published.SOURCE,
        clock_mhz=spec.clock_mhz,
        node_nm=spec.node_nm,
        batch=workload.batch,
        dram=any(cost.dram_bytes for cost in costs),
        memory="not paid" if ideal else "same DRAM",
        weight_bits=spec.data_bits,
    )
    return Baseline(machine, costs, () if ideal else (placement(costs, spec),))


def placement(costs: Sequence[LayerCost], spec: AcceleratorSpec) -> str:
    """Say in a sentence what a speedup over the dense equivalent assumes of memory."""
    if spec.residency == "ideal":
        return "weights and maps of neither machine are paid for (residency ideal)"
    streamed = sum(cost.weights == STREAMED for cost in costs)
    where = f"streamed in {streamed} of {len(costs)} layers" if streamed else "on the chip"
    return f"its {spec.data_bits}-bit weights {where}, same SRAMs and DRAM"


# Costs of the machines that were asked for last, oldest first. A chunk of a sweep asks for 64 of them, layer by layer;
# those of all its points grew by 2 KiB a point, with the machine's record.
MOST_KEPT = 128
_BESIDE: OrderedDict[tuple[ReferenceType[MemoryPlan], AcceleratorSpec, tuple[int, ...]], tuple[LayerCost, ...]] = (
    OrderedDict()
)


def beside(
    layers: Sequence[Shaped],
    products: Sequence[int],
    memory: MemoryPlan,
    spec: AcceleratorSpec,
    *,
    uses: Mapping[str, Sequence[str]],
) -> tuple[LayerCost, ...]:
    """Cost each layer of a network that EIE runs by a memory plan.

    Parameters
    ----------
    products
        Rows of inputs a sample, of each layer, over all its uses.
    uses
        Names of the uses of each layer.
    """
    # Kept by the plan, which is of these layers: on a small layer this took as long as its timing. By the machine too:
    # a plan reads fewer of its fields than an energy does.
    key = ref(memory), spec, tuple(products)
    costs = _BESIDE.get(key)
    if costs is None:
        works = [
            layer_work(
                layer=layer,
                products=rows,
                kept_weights=0,
                uses=len(uses[layer.name]),
                moved=memory.maps.of_uses(layer.name, uses[layer.name]),
                alone=memory.alternatives,
            )
            for layer, rows in zip(layers, products, strict=True)
        ]
        costs = _BESIDE[key] = layer_costs(works, spec, memory.batch)
        while len(_BESIDE) > MOST_KEPT:
            _BESIDE.popitem(last=False)
    return costs


def layer_costs(layers: Sequence[LayerWork], spec: AcceleratorSpec, batch: int = 1) -> tuple[LayerCost, ...]:
    """Cost each layer of a network that shares the chip.

    Parameters
    ----------
    batch
        Samples for which weights that do not stay are loaded once; costs are per sample.
    """
    # Layers that are alone have all the room each; the others share it.
    stay = _staying([layer for layer in layers if not layer.alone], spec, batch)
    return tuple(
        _layer(layer, spec, batch, stays=bool(_staying([layer], spec, batch)) if layer.alone else layer.name in stay)
        for layer in layers
    )


def _staying(layers: Sequence[LayerWork], spec: AcceleratorSpec, batch: int) -> set[str]:
    """Choose the layers whose weights stay: all that fit, else by stall cycles avoided a bit, ties in layer order."""
    room = spec.n_pe * (spec.spmat_kib + spec.ptr_kib) * 8192
    bits = [_weight_bits(layer, spec) for layer in layers]
    if spec.residency == "ideal" or sum(bits) <= room:
        return {layer.name for layer in layers}
    # As large a buffer as EIE's for what comes meanwhile.
    room -= round(spec.n_pe * min(spec.stream_kib, spec.spmat_kib) * 8192)
    saved = [
        # Of a layer with several uses, each of which would load it anew.
        Fraction(max(0, layer.uses * spec.bus_cycles(size) - batch * _computing(layer, spec)), size)
        for layer, size in zip(layers, bits, strict=True)
    ]
    stay: set[str] = set()
    for i in sorted(range(len(layers)), key=lambda i: -saved[i]):
        if bits[i] <= room:
            stay.add(layers[i].name)
            room -= bits[i]
    return stay


def _weight_bits(layer: LayerWork, spec: AcceleratorSpec) -> int:
    values = layer.weights + (layer.outputs * layer.groups if layer.has_bias else 0)
    return spec.in_bursts(values * spec.data_bits)


def _computing(layer: LayerWork, spec: AcceleratorSpec) -> int:
    # PEs hold the rows of all groups, whose columns are their own; blocks take turns, each over all PEs.
    return dense_cycles(
        layer.outputs * layer.groups // layer.blocks,
        layer.inputs * layer.blocks,
        spec,
        has_bias=layer.has_bias,
        products=layer.products * layer.steps,
    )


def _layer(layer: LayerWork, spec: AcceleratorSpec, batch: int, *, stays: bool) -> LayerCost:
    products = layer.products * layer.steps
    ideal = spec.residency == "ideal"
    weight_bits = 0 if stays else _weight_bits(layer, spec)
    dram_bits = 0 if ideal else layer.uses * weight_bits / batch + layer.map_dram_bits
    bus = 0 if ideal else layer.uses * spec.bus_cycles(weight_bits) / batch + layer.map_bus_cycles
    # Fetched ahead of the PEs without a gap: whichever takes longer hides the other.
    cycles = max(_computing(layer, spec), bus)
    latency_us = spec.us(cycles)
    # A price by activity would need the actions of a machine that nobody has built; the printed power is of one node
    # and clock.
    reference = (spec.node_nm, spec.clock_mhz) == (45, 800)
    # us x mW = nJ; bits x pJ a bit = pJ.
    energy_nj = latency_us * spec.n_pe * published.pe_power_mw() + dram_bits * spec.dram_pj_per_bit * 1e-3
    # Between SRAM and PEs: every product reads all weights anew, whereas maps are read and written once.
    words = layer.weights * products + layer.input_values + layer.output_values
    return LayerCost(
        layer=layer.name,
        latency_us=latency_us,
        cycles=cycles,
        energy_nj=energy_nj if reference else None,
        utilisation=layer.macs / (cycles * spec.n_pe),
        bytes_moved=words * spec.data_bits / 8,
        dram_bytes=dram_bits / 8,
        weights=UNPAID if ideal else ON_CHIP if stays else STREAMED,
        shape=layer.shape,
    )
