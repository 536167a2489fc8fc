"""Activation vectors longer than the registers: the batches that section IV of the paper runs them in.

Comes in: an `Encoding` and the spec. Goes out: the batches, each an `Encoding` of its columns, and the cycles that fill
and empty the registers around them, timed by the cycle contract. Called by `eie.simulator.stages`.

The rule (docs/cycle-model.md, "Activations"). A PE has ``act_registers`` source registers, so a batch is that many scan
rows, P activations each. Before a batch its activations are read out of the activation SRAM, one row of it a cycle in
all PEs at once; behind it the sums are written back alike, as the paper has it: "The SRAM is read only at the beginning
and written at the end of the batch". A batch is drained before the next is read. The bias needs no register, it is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer
from eie.compiler.map_traffic import pe_rows
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen
from eie.simulator.arriving import Arriving
from eie.simulator.counting import How, contract_cycles
from eie.simulator.layer import Slice, slices
from eie.simulator.strips import Ranges
from eie.spec import AcceleratorSpec


def in_batches(spec: AcceleratorSpec) -> bool:
    """Whether vectors go through the registers batch by batch, and that takes time."""
    # Ideal residency has every activation where it is needed.
    return spec.act_batches == "paper" and spec.residency != "ideal"


def batches(encoding: Encoding, spec: AcceleratorSpec) -> list[Encoding]:
    """Cut a pass into batches of as many inputs as the registers hold; itself, if they hold all."""
    most = spec.act_registers * encoding.n_pe
    if encoding.inputs <= most:
        return [encoding]
    starts = range(0, encoding.inputs, most)
    return [
        # The bias column goes with the last batch, behind the last input, as it does in one piece.
        encoding.columns(start, min(start + most, encoding.inputs), with_bias=start == starts[-1])
        for start in starts
    ]


def register_cycles(encoding: Encoding, spec: AcceleratorSpec) -> int:
    """Cycles that one product of a batch spends on filling the source registers and emptying the sums."""
    # The fullest PE sets the pace: element i is in PE i mod P.
    sources = -(-encoding.inputs // encoding.n_pe)
    sums = -(-(encoding.row_stop - encoding.row_start) // encoding.n_pe)
    return pe_rows(sources, spec) + pe_rows(sums, spec)


def pixel_batches(part: Slice, spec: AcceleratorSpec) -> Slice:
    """Cut strips into batches of as many pixels as the source registers hold, one at least."""
    pattern, n_pe = part.pattern, part.encoding.n_pe
    assert isinstance(pattern, Ranges)
    # Whole scan rows: a pixel is never cut.
    rows = pattern.rows_a_pixel * max(1, spec.act_registers // pattern.rows_a_pixel)
    count = -(-pattern.scan_rows // rows)
    strip = np.repeat(np.arange(pattern.products), pattern.broadcasts)
    first = np.concatenate(([0], np.cumsum(count)))
    batch = first[strip] + pattern.positions // (rows * n_pe)
    starts = np.searchsorted(batch, np.arange(first[-1] + 1))
    # Behind the last whole batch of a strip is what is left of its rows.
    scan_rows = np.full(first[-1], rows)
    scan_rows[first[1:] - 1] = pattern.scan_rows - (count - 1) * rows
    cut = replace(
        pattern,
        starts=frozen(starts, np.int64),
        positions=frozen(pattern.positions % (rows * n_pe), np.int32),
        scan_rows=frozen(scan_rows, np.int64),
        # Batches are timed only: what is written is counted of whole strips.
        outside=frozen(np.zeros(len(scan_rows)), np.int64),
    )
    return replace(part, pattern=cut, sample_of=np.repeat(part.sample_of, count))


def fill_cycles(part: Slice, layer: EncodedLayer, spec: AcceleratorSpec) -> NDArray[np.int64]:
    """int64 (batches,): cycles in which the source registers are filled with the pixels of each batch."""
    assert layer.scatter is not None
    assert isinstance(part.pattern, Ranges)
    each = pe_rows(-(-layer.scatter.conv.in_channels // spec.n_pe), spec)
    return part.pattern.scan_rows // part.pattern.rows_a_pixel * each


def batch_cycles(
    layer: EncodedLayer,
    inputs: LayerTrace,
    *,
    spec: AcceleratorSpec,
    how: How,
    cycles: NDArray[np.int64],
    arriving: Callable[[EncodedLayer], Arriving | None],
) -> NDArray[np.int64] | None:
    """Return the cycles that batches of activations add to the ``cycles`` of each sample; None where they are free.

    ``arriving`` says how weights arrive in a walk over a layer's slices.
    """
    if not in_batches(spec):
        return None
    if layer.scatter is not None:
        return _of_pixels(layer, inputs, spec=spec, how=how, cycles=cycles, arriving=arriving(layer))
    cut = replace(layer, passes=tuple(batch for whole in layer.passes for batch in batches(whole, spec)))
    registers = sum(register_cycles(batch, spec) for batch in cut.passes) * inputs.products
    if len(cut.passes) == len(layer.passes):
        return np.full_like(cycles, registers)
    drained = np.zeros_like(cycles)
    # Each batch is a stream of its own: the look-ahead scanner reads the registers, so it sees no further batch.
    # By the contract, batch by batch: reads of the sparse matrix stay those of the whole, since a PE keeps its row.
    comes = arriving(cut)
    for part in slices(cut, inputs, spec):
        part.add(drained, contract_cycles(how, part, spec=spec, name=layer.name, arriving=comes))
    # Never less than in one piece, though a stream of all columns may fill its buffer before each batch.
    added: NDArray[np.int64] = np.maximum(0, drained - cycles) + registers
    return added


def _of_pixels(
    layer: EncodedLayer,
    inputs: LayerTrace,
    *,
    spec: AcceleratorSpec,
    how: How,
    cycles: NDArray[np.int64],
    arriving: Arriving | None,
) -> NDArray[np.int64]:
    """As `batch_cycles`, of pixels: as many as the source registers hold; an output pixel is written once."""
    drained, registers = np.zeros_like(cycles), np.zeros_like(cycles)
    for part in slices(layer, inputs, spec):
        cut = pixel_batches(part, spec)
        cut.add(drained, contract_cycles(how, cut, spec=spec, name=layer.name, arriving=arriving))
        cut.add(registers, fill_cycles(cut, layer, spec))
    registers += sum(pe_rows(each, spec) for each in layer.channels_a_pe) * inputs.products
    added: NDArray[np.int64] = np.maximum(0, drained - cycles) + registers
    return added
