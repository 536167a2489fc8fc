"""The dense equivalent: the same PEs, every weight and every activation, one MAC a PE and cycle.

Comes in: a layer's shape, or a `Workload`, and the spec. Goes out: cycles, or a `Baseline`. Read by the report, for the
speedup over no compression, and by comparisons.
"""

from __future__ import annotations

from eie.machines import published
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.workload import LayerWork, Workload
from eie.spec import AcceleratorSpec


def dense_cycles(outputs: int, inputs: int, spec: AcceleratorSpec, *, has_bias: bool = False, products: int = 1) -> int:
    """Cycles of a layer without compression: the PE with the most rows spends one cycle on each of its weights.

    The bias is one more column, as it is on EIE. Queues never wait, since every column costs every PE the same.
    """
    rows_of_busiest_pe = -(-outputs // spec.n_pe)
    return rows_of_busiest_pe * (inputs + has_bias) * products


def run(workload: Workload, spec: AcceleratorSpec) -> Baseline:
    """Run every layer on the spec's PEs. The weights are taken to be in SRAM, whatever their size.

    Energy is Table II's power of a PE for the whole time, which holds at 45 nm and 800 MHz only; else there is none.
    """
    machine = Machine(
        name=f"dense:{spec.n_pe}",
        how="modelled",
        source="one MAC a PE and cycle; power: Table II of " + published.SOURCE,
        clock_mhz=spec.clock_mhz,
        node_nm=spec.node_nm,
        batch=1,
        dram=False,
    )
    return Baseline(machine, tuple(_layer(layer, spec) for layer in workload.layers))


def _layer(layer: LayerWork, spec: AcceleratorSpec) -> LayerCost:
    products = layer.products * layer.steps
    # PEs hold the rows of all groups; a row has its own group's columns only.
    cycles = dense_cycles(layer.outputs * layer.groups, layer.inputs, spec, has_bias=layer.has_bias, products=products)
    latency_us = spec.us(cycles)
    # A price by activity would need the actions of a machine that nobody has built; the printed power is of one node
    # and clock.
    reference = (spec.node_nm, spec.clock_mhz) == (45, 800)
    # Between SRAM and PEs: every product reads all weights anew, whereas maps are read and written once.
    words = layer.weights * products + layer.input_values + layer.output_values
    return LayerCost(
        layer=layer.name,
        latency_us=latency_us,
        cycles=cycles,
        # us x mW = nJ.
        energy_nj=latency_us * spec.n_pe * published.pe_power_mw() if reference else None,
        utilisation=layer.macs / (cycles * spec.n_pe),
        bytes_moved=words * spec.data_bits / 8,
        shape=layer.shape,
    )
