"""The ends of a layer's timing: its inputs cut into slices, and what was counted of them put into an `Activity`.

Comes in: an `EncodedLayer` and its inputs; sums over all slices. Goes out: slices; an `Activity`. Read by `stages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account, Activity
from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer
from eie.compiler.map_rows import LayerMaps
from eie.compiler.strips import visits_of
from eie.model.layer_trace import LayerTrace
from eie.simulator.records import EventTiming, PassTiming, Pattern, QueueTiming, Tally
from eie.simulator.strips import ranges_of
from eie.spec import AcceleratorSpec

Engine = Literal["fast", "events"]
ENGINES = get_args(Engine)
Counted = TypeVar("Counted", bound=PassTiming | QueueTiming | Tally | Account)
SLICE_ELEMENTS = 1 << 23
# Products of a sample below which a sum of its own costs more than it saves.
_FEW = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice:
    """Some products of a batch from the ``start``-th on, in the ``turn``-th pass; ``sample_of`` (products,) ascends."""

    encoding: Encoding
    pattern: Pattern
    sample_of: NDArray[np.int64]
    turn: int
    start: int = 0

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        """Where each sample's products begin."""
        return np.flatnonzero(np.diff(self.sample_of, prepend=-1))

    def add(self, total: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Add values of the products to the totals of their samples."""
        first, last = self.sample_of[0], self.sample_of[-1]
        if last - first + 1 == len(self.sample_of):  # a product a sample, as of every fully connected layer
            total[first : last + 1] += values
        elif values.ndim == 1 or len(self._firsts) * _FEW > len(values):
            total[self.sample_of[self._firsts]] += np.add.reduceat(values, self._firsts, axis=0)
        else:
            # Rows of long stretches: reduceat goes down the columns, which took thirteen times as long.
            stops = np.append(self._firsts[1:], len(values))
            for start, stop in zip(self._firsts, stops, strict=True):
                total[self.sample_of[start]] += values[start:stop].sum(axis=0)

    def add_record(self, total: Counted, counted: Counted) -> None:
        """Add every count of a record."""
        for name, values in vars(counted).items():
            # Padding of an account is counted apart.
            if values is not None:
                self.add(getattr(total, name), values)


def _rows_a_slice(layer: EncodedLayer, inputs: LayerTrace) -> int:
    return max(1, SLICE_ELEMENTS // max(inputs.width, layer.passes[0].n_pe))


def in_one_piece(layer: EncodedLayer, inputs: LayerTrace) -> bool:
    """Whether `slices` makes one slice with a product a sample of these inputs."""
    return (
        layer.scatter is None
        and len(layer.passes) == 1
        and inputs.products == 1
        and inputs.rows <= _rows_a_slice(layer, inputs)
    )


def slices(layer: EncodedLayer, inputs: LayerTrace, spec: AcceleratorSpec) -> Iterator[Slice]:
    """Go through a batch in pieces that keep memory small, each in every pass."""
    if layer.scatter is not None:
        yield from _strips(layer, inputs, spec)
        return
    step = _rows_a_slice(layer, inputs)
    for start in range(0, inputs.rows, step):
        stop = min(start + step, inputs.rows)
        sample_of = np.arange(start, stop)
        if inputs.products > 1:
            sample_of //= inputs.products
        for turn, encoding in enumerate(layer.passes):
            pattern = Pattern.of(inputs, encoding, start=start, stop=stop)
            yield Slice(encoding=encoding, pattern=pattern, sample_of=sample_of, turn=turn, start=start)


def _strips(layer: EncodedLayer, inputs: LayerTrace, spec: AcceleratorSpec) -> Iterator[Slice]:
    """The same where activations are broadcast once: a product is a strip."""
    scatter, (height, width) = layer.scatter, inputs.size
    assert scatter is not None
    samples = max(1, _rows_a_slice(layer, inputs) // inputs.products)
    for start in range(0, inputs.samples, samples):
        bits = inputs.bits[start * inputs.products : (start + samples) * inputs.products]
        part = replace(inputs, bits=bits, values=None)
        passes = zip(layer.passes, layer.channels_a_pe, layer.weights_before, strict=True)
        for turn, (encoding, channels, before) in enumerate(passes):
            visits = visits_of(scatter, channels_a_pe=channels, size=(height, width), spec=spec)
            yield Slice(
                encoding=encoding,
                pattern=ranges_of(scatter, visits, inputs=part, n_pe=encoding.n_pe, weights_before=before),
                sample_of=np.repeat(np.arange(start, start + part.samples), len(visits)),
                turn=turn,
            )


def products_timed(layer: EncodedLayer, inputs: LayerTrace, spec: AcceleratorSpec) -> int:
    """Count what an engine times of one sample, over all passes: products, or strips."""
    if layer.scatter is None:
        return inputs.products * len(layer.passes)
    height, width = inputs.size
    strips = (
        visits_of(layer.scatter, channels_a_pe=channels, size=(height, width), spec=spec)
        for channels in layer.channels_a_pe
    )
    return sum(map(len, strips))


def activity_of(
    layer: EncodedLayer,
    inputs: LayerTrace,
    spec: AcceleratorSpec,
    *,
    sent: NDArray[np.int64],
    walks: NDArray[np.int64],
    total: PassTiming,
    streamed: bool = False,
    batches: NDArray[np.int64] | None = None,
    maps: LayerMaps | None = None,
) -> Activity:
    """Put what was counted into an `Activity`.

    Parameters
    ----------
    sent
        Broadcasts of each sample.
    walks
        Products of each sample, pass by pass, in which there was any.
    total
        What the engine counted.
    streamed
        Whether weights came meanwhile; those in place keep no PE and no bus waiting.
    batches
        Cycles of each sample that the batches of activations take beside; None for no such batches.
    maps
        What the layer reads and writes of maps; None where they are in place.
    """
    reload_bits = _reload_bits(layer, spec)
    maps = maps or LayerMaps(layer=layer.name)
    none = np.zeros(len(total.cycles), np.int64)
    beside = none if batches is None else batches

    def alike(count: int) -> NDArray[np.int64]:
        # Most of these are 0, and on a small layer making arrays of them took as long as counting.
        return none + count if count else none

    issue, empty, starved = total.issue, total.empty, total.starved
    drain = total.cycles[:, None] - issue - empty - starved
    if streamed:
        drain -= total.load
    # Maps and weights share the bus, which works beside the PEs: a layer lasts at least as long as it is busy.
    bus = total.bus + maps.bus_cycles if streamed else alike(maps.bus_cycles)
    bus_wait = none if bus is none else np.maximum(0, bus - total.cycles - beside)

    return Activity(
        layer=layer.name,
        n_pe=spec.n_pe,
        cycles=total.cycles,
        counts={
            "broadcasts": sent,
            "ptr_reads": sent * spec.n_pe,
            "spmat_reads": total.reads,
            "entries": total.entries,
            "padding_entries": total.padding,
            "stall_cycles": total.stall,
            "dead_scan_cycles": total.dead,
            "macs": total.entries - total.padding,
            "bias_writes": alike(layer.bias_writes * inputs.products),
            "load_wait_cycles": total.load.sum(axis=1) if streamed else none,
            "dram_bits": total.dram_bits + maps.dram_bits if streamed else alike(maps.dram_bits),
            "bus_cycles": bus,
            # Alike for all samples: maps are stored dense, zeros and all.
            "map_dram_bits": alike(maps.dram_bits),
            "map_bus_cycles": alike(maps.bus_cycles),
            "act_sram_reads": alike(maps.act_sram_reads),
            "act_sram_writes": alike(maps.act_sram_writes),
            "act_batch_cycles": beside,
            "bus_wait_cycles": bus_wait,
        },
        per_pe={
            "issue": issue,
            "empty_column": empty,
            "load": total.load,
            "starved": starved,
            "drain": drain,
        },
        passes=layer.rounds,
        products=inputs.products * layer.products_per_row,
        reload_bits=reload_bits,
        reload_cycles=-(-reload_bits // spec.io_bits),
        active_inputs=inputs.active,
        possible_inputs=inputs.width * inputs.products,
        walks=walks,
        account=total.account if isinstance(total, EventTiming) else None,
    )


def with_biases(total: PassTiming, bits: int, *, spec: AcceleratorSpec, batch: int) -> PassTiming:
    """Add to a streamed layer's counts what its accumulators start from: it comes with the first sample of a batch.

    No product waits for it: it is added wherever a sum begins, and one burst or some come before the columns do.
    """
    first = np.arange(len(total.bus)) % batch == 0
    return replace(total, bus=total.bus + first * spec.bus_cycles(bits), dram_bits=total.dram_bits + first * bits)


def _reload_bits(layer: EncodedLayer, spec: AcceleratorSpec) -> int:
    """A layer that fits stays in its SRAMs; otherwise every pass is brought in again for each sample."""
    if not layer.reloads:
        return 0
    return layer.image_bits(spec)
