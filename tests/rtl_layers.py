"""Random layers that try what the hardware can get wrong, and layers made to meet one thing each."""

from dataclasses import dataclass

import numpy as np

import eie
from eie.errors import ProgramError
from eie.rtl import tools
from eie.rtl.streams import Streaming
from eie.rtl.work import LayerWork, works
from eie.rtl.write import write_works
from eie.simulator.scale import quantised_codebook


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layer, its machine, and the products that its bench runs."""

    name: str
    program: eie.Program
    inputs: np.ndarray

    @property
    def work(self) -> LayerWork:
        return works(self.program, self.inputs)[0]


def ran(work, folder, simulator="icarus"):
    """One layer, written and run."""
    return tools.run(*write_works([work], folder), simulator)


def compiled(weights, bias=None, *, place="column", relu=False, **fields):
    """A layer of 'weights' on a machine with accumulators for any layer."""
    layer = eie.Layer.from_weights("layer", np.asarray(weights, np.float32), bias, relu=relu)
    return eie.compile(layer, eie.EIE_64PE.replace(**{"residency": "ideal", **fields}), bias=place)


def random_case(seed: int, most_pes: int = 64) -> Case:
    """Draw a layer: its shape, density and machine, empty rows and columns, large sums, zeros and negatives."""
    rng = np.random.default_rng(seed)
    n_pe = int(rng.choice([1, 2, 3, 4, 5, 7, 8, 16, 24, 32, 48, 64, int(rng.integers(1, 65))]))
    n_pe = min(n_pe, most_pes)
    # Fewer rows and columns where there are many PEs: what costs time is PEs times cycles.
    rows, columns = int(rng.integers(1, 120)), int(rng.integers(1, 2 + 600 // (4 + n_pe)))
    weights = (rng.random((rows, columns)) < rng.choice([0, 0.02, 0.1, 0.3, 1])) * rng.standard_normal((rows, columns))
    if rng.random() < 0.5:
        weights[rng.random(rows) < 0.3] = 0
    if rng.random() < 0.5:
        weights[:, rng.random(columns) < 0.3] = 0
    data_bits = int(rng.choice([4, 6, 8, 12, 16, 20, 24]))
    index_bits, weight_bits = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    products = int(rng.integers(1, 4))
    inputs = rng.standard_normal((products, columns)) * (rng.random((products, columns)) < rng.choice([0.1, 0.5, 1]))
    if rng.random() < 0.2:
        inputs[0] = 0
    bias = rng.standard_normal(rows) if rng.random() < 0.6 else None
    program = compiled(
        weights,
        bias,
        place="auto" if bias is None else str(rng.choice(["column", "accumulator"])),
        relu=bool(rng.random() < 0.3),
        n_pe=n_pe,
        act_queue_depth=int(rng.choice([2, 3, 4, 8, 64, int(rng.integers(2, 65))])),
        index_bits=index_bits,
        weight_bits=weight_bits,
        data_bits=data_bits,
        spmat_row_bits=int(max(index_bits + weight_bits, rng.choice([8, 16, 32, 64, 100, 256]))),
    )
    return Case(name=f"seed {seed}", program=program, inputs=inputs.astype(np.float32))


def streamed(work: LayerWork, turn: int = 1, **fields) -> LayerWork:
    """The same with its weights on the bus of a machine with these fields, however small the layer."""
    spec = work.spec.replace(**fields)
    return LayerWork.of(
        use=work.use,
        layer=work.layer,
        spec=spec,
        inputs=work.inputs,
        fractions=work.fractions,
        streaming=Streaming.of(work.layer, spec, inputs=work.inputs, turn=turn),
    )


def random_bus(work: LayerWork, rng: np.random.Generator) -> LayerWork:
    """Put a layer on a drawn bus: 32 to 4,096 bits, halves that hold a column or all, turns of products.

    A bus that brings the whole layer faster than its SRAMs can be written is refused, so it gets a slower one.
    """
    spec = work.spec
    longest = int(work.layer.passes[0].column_entries[1].max())
    rows = -(-longest // spec.entries_per_row) + int(rng.choice([0, 1, 2, 5, 100]))
    held = len(work.inputs) > 1 and bool(rng.random() < 0.4)
    width = int(rng.choice([32, 64, 128, 256, 512, 1024, 2048, 4096]))
    fields = {
        "act_queue_depth": min(spec.act_queue_depth, int(rng.integers(2, 17))),
        "stream": str(rng.choice(["columns", "layer"])),
        "clock_mhz": 1000.0,
        "dram_latency_ns": float(rng.choice([0, 1, 2, 10, 100])),
        "dram_burst_bytes": int(rng.choice([1, 4, 16, 64])),
        # Halves of so many rows.
        "stream_kib": 2 * max(1, rows) * spec.spmat_row_bits / 8192,
    }
    while width:
        try:
            # At 1 GHz these are bytes a cycle.
            return streamed(work, len(work.inputs) if held else 1, dram_gb_per_s=width / 8, **fields)
        except ProgramError:
            width //= 2
    raise AssertionError(f"{work.use}: no bus is slow enough")


def random_streamed(seed: int, most_pes: int = 16) -> LayerWork:
    """Draw a layer and its bus."""
    return random_bus(random_case(seed, most_pes=most_pes).work, np.random.default_rng(seed + 1_000_000))


def random_batches(seed: int) -> LayerWork:
    """Draw a layer whose vector is longer than its source registers, its weights in place or on a bus."""
    rng = np.random.default_rng(seed + 2_000_000)
    n_pe = int(rng.choice([1, 2, 3, 4, 8, 16]))
    rows, columns = int(rng.integers(1, 1 + 6 * n_pe)), int(rng.integers(2, 3 + 20 * n_pe))
    weights = (rng.random((rows, columns)) < rng.choice([0.05, 0.3, 1])) * rng.standard_normal((rows, columns))
    inputs = rng.standard_normal((2, columns)) * (rng.random((2, columns)) < rng.choice([0.1, 0.5, 1]))
    program = compiled(
        weights,
        rng.standard_normal(rows) if rng.random() < 0.6 else None,
        place="column" if rng.random() < 0.5 else "auto",
        residency="auto",
        act_batches="paper",
        # No fewer than the accumulators that one pass needs.
        act_registers=max(-(-rows // n_pe), int(rng.integers(1, 8))),
        n_pe=n_pe,
        act_queue_depth=int(rng.integers(2, 9)),
        data_bits=int(rng.choice([8, 12, 16])),
        spmat_row_bits=int(rng.choice([8, 16, 64])),
    )
    work = Case(name=f"batches {seed}", program=program, inputs=inputs.astype(np.float32)).work
    return random_bus(work, rng) if seed % 2 else work


def saturating(work: LayerWork, bits: int) -> LayerWork:
    """The same in accumulators of so many integer bits less: sums saturate, and the order of additions shows."""
    activations, sums = work.fractions
    # No finer than products, nor than any format.
    finest = min(30, activations + quantised_codebook(work.layer, work.spec.data_bits).fraction_bits)
    return LayerWork.of(
        use=work.use,
        layer=work.layer,
        spec=work.spec,
        inputs=work.inputs,
        fractions=(activations, min(sums + bits, finest)),
        size=work.size,
        streaming=work.streaming,
    )
