"""The path from weights to an `Activity`, cut where spec fields enter, each piece done once.

Comes in: a `Workload` and, call by call, a spec. Goes out: what each stage makes. Read by `outcome`.

A stage is redone only when a field that it, or a stage before it, reads has changed:

======== ============================================== ============================================
stage    makes                                          reads
======== ============================================== ============================================
shared   weights as codes                               weight_bits
encoded  the images of all PEs                          n_pe, index_bits, enforce_capacity (and, with
                                                        it, the memory sizes), after ``shared``
inputs   which activations are non-zero                 data_bits, after ``shared``; nothing where
                                                        every layer has recorded inputs
patterns scan positions                                 after ``encoded`` and ``inputs``
tallies  reads, entries, issue and empty cycles         spmat_row_bits, after ``patterns``
queues   cycles, stalls, when each PE is free           act_queue_depth, after ``patterns``
activity all of it, added up                            io_bits, ptr_bits, after the two above
======== ============================================== ============================================

Clock, node and the other memory sizes enter none of these: time and energy are computed from the activity, later.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar, cast

import numpy as np

from eie.activity import Activity
from eie.compiler.program import EncodedLayer, Program, encode_layer, image_fields
from eie.compression.share import ShareReport, share
from eie.network import Layer
from eie.simulator.drive import drive
from eie.simulator.fast import queue_pass, tally_pass
from eie.simulator.layer import add_up
from eie.simulator.records import PassTiming, Pattern, QueueTiming, Tally
from eie.spec import AcceleratorSpec
from eie.sweeps.plan import Workload
from eie.trace import LayerTrace

T = TypeVar("T")
BUDGET_BYTES = 1 << 30


class Cache:
    """Values made once a key, least recently used ones dropped beyond a budget; safe for threads.

    Threads that ask for the same key wait for the first of them; different keys are made side by side. A failure is
    handed to all who wait, and forgotten.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._kept: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._total = 0
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of ``key``, made now if need be."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                promise: Future[Any] = Future()
                self._kept[key] = promise
            else:
                self._kept.move_to_end(key)
        if found is not None:
            return cast(T, found.result())
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._kept[key]
            promise.set_exception(error)
            raise
        self._keep(key, held_bytes(value))
        promise.set_result(value)
        return value

    def _keep(self, key: Hashable, size: int) -> None:
        with self._lock:
            self._sizes[key] = size
            self._total += size
            while self._total > self._budget and self._sizes:
                oldest = next(old for old in self._kept if old in self._sizes)
                self._total -= self._sizes.pop(oldest)
                del self._kept[oldest]


class Stages:
    """The stages of one workload; ``layer`` is a layer's place in the network."""

    def __init__(self, workload: Workload, cache: Cache) -> None:
        self.workload = workload
        self._cache = cache

    def shared(self, layer: int, spec: AcceleratorSpec) -> tuple[Layer, ShareReport]:
        """The layer's weights as codes."""
        one = self.workload.network.layers[layer]
        return self._once("shared", layer, _shared_key(spec), lambda: share(one, spec.weight_bits))

    def encoded(self, layer: int, spec: AcceleratorSpec) -> EncodedLayer:
        """The images of all PEs."""

        def make() -> EncodedLayer:
            made = encode_layer(*self.shared(layer, spec), spec)
            for one in made.passes:
                _ = one.largest_slot  # both are kept with the encoding: have them counted, and not made twice
            return made

        return self._once("encoded", layer, encoding_key(spec), make)

    def inputs(self, layer: int, spec: AcceleratorSpec) -> LayerTrace:
        """The layer's recorded inputs, or what the layers before it compute; no stored format changes those."""
        network = self.workload.network
        if self.workload.by_trace:
            return self.workload.inputs.layers[network.layers[layer].name]

        def make() -> list[LayerTrace]:
            layers = tuple(self.encoded(i, spec) for i in range(len(network.layers)))
            program = Program(network.name, spec, layers, network.sequential)
            return [inputs.without_values() for _, inputs, _ in drive(program, self.workload.inputs)]

        return self._once("inputs", -1, (*_shared_key(spec), spec.data_bits), make)[layer]

    def patterns(self, layer: int, spec: AcceleratorSpec) -> list[Pattern]:
        """Scan positions of the non-zero inputs, pass by pass."""

        def make() -> list[Pattern]:
            inputs = self.inputs(layer, spec)
            return [Pattern.of(inputs, one) for one in self.encoded(layer, spec).passes]

        return self._once("patterns", layer, self._patterns_key(spec), make)

    def tallies(self, layer: int, spec: AcceleratorSpec) -> list[Tally]:
        """What is read and issued, pass by pass."""

        def make() -> list[Tally]:
            pairs = zip(self.encoded(layer, spec).passes, self.patterns(layer, spec), strict=True)
            return [tally_pass(one, pattern, spec.entries_per_row, threads=1) for one, pattern in pairs]

        return self._once("tallies", layer, self._tallies_key(spec), make)

    def queues(self, layer: int, spec: AcceleratorSpec) -> list[QueueTiming]:
        """When things happen, pass by pass."""

        def make() -> list[QueueTiming]:
            pairs = zip(self.encoded(layer, spec).passes, self.patterns(layer, spec), strict=True)
            return [queue_pass(one, pattern, spec.act_queue_depth, threads=1) for one, pattern in pairs]

        return self._once("queues", layer, self._queues_key(spec), make)

    def activity(self, layer: int, spec: AcceleratorSpec) -> Activity:
        """Everything counted, for every clock, node and energy table."""

        def make() -> Activity:
            halves = zip(self.queues(layer, spec), self.tallies(layer, spec), strict=True)
            timings = [PassTiming.of(queue, tally) for queue, tally in halves]
            patterns = self.patterns(layer, spec)
            return add_up(self.encoded(layer, spec), self.inputs(layer, spec), spec, patterns, timings)

        key = (*self._queues_key(spec), *self._tallies_key(spec), spec.io_bits, spec.ptr_bits)
        return self._once("activity", layer, key, make)

    def _patterns_key(self, spec: AcceleratorSpec) -> tuple[Hashable, ...]:
        return (*encoding_key(spec), *(() if self.workload.by_trace else (spec.data_bits,)))

    def _tallies_key(self, spec: AcceleratorSpec) -> tuple[Hashable, ...]:
        return (*self._patterns_key(spec), spec.spmat_row_bits)

    def _queues_key(self, spec: AcceleratorSpec) -> tuple[Hashable, ...]:
        return (*self._patterns_key(spec), spec.act_queue_depth)

    def _once(self, stage: str, layer: int, key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        return self._cache.get((self.workload.content_hash, stage, layer, key), make)


def _shared_key(spec: AcceleratorSpec) -> tuple[Hashable, ...]:
    return (spec.weight_bits,)


def encoding_key(spec: AcceleratorSpec) -> tuple[Hashable, ...]:
    """Return what two specs must agree on to share every encoding."""
    return (*_shared_key(spec), *(getattr(spec, name) for name in image_fields(spec)))


def held_bytes(value: object) -> int:
    """Bytes of the arrays in a record, a list or a tuple of them; each array once."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, list | tuple):
        return sum(map(held_bytes, value))
    if isinstance(value, Mapping):
        return sum(map(held_bytes, value.values()))
    if dataclasses.is_dataclass(value):
        return sum(map(held_bytes, vars(value).values()))
    return 0
