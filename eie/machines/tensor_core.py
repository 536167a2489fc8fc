"""A tensor core that skips N of every M weights, a bound: twice the dense rate at 2:4, whatever the activations are.

Comes in: a `Workload`. Goes out: a `Baseline`: of the layers as if pruned to N:M (`run`), or as they are, N:M only
where they satisfy it (`run_as_is`). The time is the larger of arithmetic and memory. The hardware multiplies
whole tiles on a fixed number of cores, so that small products pay for what they do not fill; launching a kernel is not
counted. docs/baselines.md has the formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eie.errors import EieError
from eie.machines.presets import Preset, preset
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.workload import LayerWork, Workload
from eie.show.numbers import percent

VALUE_BITS = 16
# The instruction mma.m16n8k16 of NVIDIA's PTX ISA: 16 outputs, 8 vectors, 16 inputs (of kept weights, when sparse).
TILE_OUTPUTS, TILE_VECTORS, TILE_INPUTS = 16, 8, 16


@dataclass(frozen=True)
class TensorCore:
    """N of every M consecutive weights of an output are kept; N = M is the dense machine.

    Raises
    ------
    EieError
        Unless 1 <= kept <= of.
    """

    kept: int = 2
    of: int = 4
    machine: str = "a100"

    def __post_init__(self) -> None:
        if not 1 <= self.kept <= self.of:
            raise EieError(f"nm {self.kept}:{self.of}: must keep 1 to {self.of} of {self.of} weights")

    @property
    def preset(self) -> Preset:
        """The documented machine."""
        return preset(self.machine, "tensor-core")

    @property
    def index_bits(self) -> float:
        """Metadata of one kept weight: the preset's 2 bits at M = 4, ceil(log2 M) otherwise; none when dense."""
        if self.kept == self.of:
            return 0
        return self.preset["metadata"] if self.of == 4 else (self.of - 1).bit_length()

    def kept_inputs(self, inputs: int) -> int:
        """Weights of one output that are stored and multiplied; a last, incomplete group keeps at most N."""
        full, rest = divmod(inputs, self.of)
        return full * self.kept + min(rest, self.kept)


def run(workload: Workload, core: TensorCore, batch: int = 1) -> Baseline:
    """Run every layer as if it were pruned to N:M; ``batch`` samples share the weights, costs are per sample.

    Energy is the preset's power for the whole time.
    """
    notes = []
    for layer in workload.layers:
        share = 0.0 if layer.matrix is None else violations(layer, core.kept, core.of)
        if share:
            notes.append(
                f"{layer.name}: {percent(share)} % of its groups of {core.of} keep more than {core.kept} weights; the "
                f"cost is that of the layer pruned to {core.kept}:{core.of}"
            )
    machine = _machine(core.preset, f"{core.kept}:{core.of}", batch)
    return Baseline(machine, tuple(_layer(layer, core, batch) for layer in workload.layers), tuple(notes))


def run_as_is(workload: Workload, core: TensorCore, batch: int = 1) -> Baseline:
    """Run each layer at N:M if its weights satisfy that, and as a dense one otherwise.

    Raises
    ------
    EieError
        Where a layer's weights are not at hand.
    """
    # of:of keeps all: the same machine, tiles and memory without the sparse rate.
    dense = TensorCore(core.of, core.of, core.machine)
    layers, sparse = [], []
    for layer in workload.layers:
        meets = violations(layer, core.kept, core.of) == 0
        sparse += [layer.name] * meets
        layers.append(_layer(layer, core if meets else dense, batch))
    which = "all layers" if len(sparse) == len(layers) else ", ".join(sparse) or "no layer"
    note = f"{which} {'has' if len(sparse) < 2 else 'have'} {core.kept}:{core.of} weights and the higher rate"
    return Baseline(_machine(core.preset, "tensor cores", batch), tuple(layers), (note,))


def _machine(parts: Preset, mode: str, batch: int) -> Machine:
    return Machine(
        # A bound like a roofline: peak or bandwidth is reached, and nothing is launched.
        name=f"{parts.name} {mode} (bound)",
        how="bound",
        source=parts.source,
        clock_mhz=parts["clock"],
        node_nm=int(parts["node"]),
        batch=batch,
        dram=True,
        memory="own DRAM",
        weight_bits=VALUE_BITS,
        area_mm2=parts["area"],
        power_w=parts["power"],
    )


def violations(layer: LayerWork, kept: int, of: int) -> float:
    """Share of groups of ``of`` consecutive weights of an output that hold more than ``kept`` non-zeros.

    Raises
    ------
    EieError
        If the layer's weights are not at hand.
    """
    matrix = layer.columns
    if matrix is None:
        raise EieError(f"tensor-core: the weights of {layer.name} are not at hand: compare a model, not a result")
    # int64: row x groups a row passes 2**31 on large layers.
    rows = matrix.rows.astype(np.int64)
    columns = matrix.column_of
    # Within the diagonal block; a layer of one group is one.
    if layer.groups > 1:
        columns = columns - rows // layer.outputs * layer.inputs
    across = -(-layer.inputs // of)
    down = layer.outputs * layer.groups
    counts = np.bincount(rows * across + columns // of, minlength=down * across)
    return float((counts > kept).mean())


def _layer(layer: LayerWork, core: TensorCore, batch: int) -> LayerCost:
    parts = core.preset
    vectors = layer.products * batch
    inputs = core.kept_inputs(layer.inputs)
    # An output tile stays on one tensor core while it runs through the inputs; the fullest core sets the time.
    output_tiles = -(-layer.outputs // TILE_OUTPUTS) * -(-vectors // TILE_VECTORS)
    rounds = -(-output_tiles // int(parts["cores"])) * -(-inputs // TILE_INPUTS)
    # Of one instruction; two operations a multiply-add.
    operations = 2 * TILE_OUTPUTS * TILE_VECTORS * TILE_INPUTS
    # Peak is of all cores together, so one core does 1 / cores of it; Gop/s x us = 1e3 operations.
    arithmetic_us = rounds * operations * parts["cores"] / (parts["peak"] * 1e3)
    weight_bits = layer.outputs * inputs * (VALUE_BITS + core.index_bits)
    value_bits = (layer.fetched_inputs + layer.outputs) * vectors * VALUE_BITS
    # bits / 8 = bytes; GB/s x us = 1e3 bytes.
    memory_us = (weight_bits + value_bits) / 8 / (parts["bandwidth"] * 1e3)
    times = layer.steps * layer.groups / batch
    latency_us = max(arithmetic_us, memory_us) * times
    done = 2 * layer.outputs * inputs * vectors * times
    return LayerCost(
        layer=layer.name,
        latency_us=latency_us,
        cycles=latency_us * parts["clock"],
        # us x W = uJ, and 1e3 makes nJ of them: the board's power for the whole time, busy or not.
        energy_nj=latency_us * parts["power"] * 1e3,
        utilisation=done / (latency_us * parts["peak"] * 1e3),
        bytes_moved=(weight_bits + value_bits) / 8 * times,
        shape=layer.shape,
        details={"arithmetic_us": arithmetic_us * times, "memory_us": memory_us * times, "n_of_m": core.kept < core.of},
    )
