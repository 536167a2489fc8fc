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
slices   scan positions                                 after ``encoded`` and ``inputs``
tallies  reads, entries, issue and empty cycles         spmat_row_bits, after ``slices``
queues   cycles, stalls, when each PE is free           act_queue_depth, after ``slices``
activity all of it, added up                            io_bits, ptr_bits, after the two above
======== ============================================== ============================================

Clock, node and the other memory sizes enter none of these: time and energy are computed from the activity, later.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.encoded import EncodedLayer, encode_layer
from eie.compiler.lower import lower
from eie.compiler.program import image_fields
from eie.compression.share import ShareReport, share
from eie.model.network import Layer, dataflow
from eie.model.trace import LayerTrace
from eie.simulator.fast import queue_pass, tally_pass
from eie.simulator.layer import SLICE_ELEMENTS, Slice, activity_of, slices
from eie.simulator.network import Settings, run_network
from eie.simulator.records import PassTiming, QueueTiming, Tally
from eie.spec import AcceleratorSpec
from eie.sweeps.plan import Workload

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
        """The layer's weights as codes, convolutions by im2col."""
        one = self.workload.network.layers[layer]
        return self._once(
            stage="shared",
            layer=layer,
            key=_shared_key(spec),
            make=lambda: share(lower(one, "im2col")[0], spec.weight_bits),
        )

    def encoded(self, layer: int, spec: AcceleratorSpec) -> EncodedLayer:
        """The images of all PEs."""

        def make() -> EncodedLayer:
            made = encode_layer(*self.shared(layer, spec), spec)
            for encoding in made.passes:
                # all are kept with the encoding: have them counted, and not made twice
                _ = encoding.largest_slot, encoding.row_table(spec.entries_per_row)
            return made

        return self._once(stage="encoded", layer=layer, key=encoding_key(spec), make=make)

    def inputs(self, layer: int, spec: AcceleratorSpec) -> LayerTrace:
        """The layer's recorded inputs, or what the layers before it compute; no stored format changes those."""
        network, given = self.workload.network, self.workload.given
        name = network.layers[layer].name
        if given.layers:
            return given.layers[name]

        def make() -> dict[str, LayerTrace]:
            found: dict[str, LayerTrace] = {}

            def ran(one: EncodedLayer, inputs: LayerTrace, _: object) -> None:
                found[one.name] = inputs.without_values()

            # Copies, whose lists of writes go when the run is over: the encodings were weighed without them.
            layers = {one.name: _copied(self.encoded(i, spec)) for i, one in enumerate(network.layers)}
            graph = dataflow(network)
            assert graph is not None
            run_network(
                graph=graph,
                layers=layers,
                inputs=given.arrays,
                settings=Settings(data_bits=spec.data_bits, threads=1),
                ran=ran,
            )
            return found

        return self._once(stage="inputs", layer=-1, key=(*_shared_key(spec), spec.data_bits), make=make)[name]

    def slices(self, layer: int, spec: AcceleratorSpec) -> Iterable[Slice]:
        """Scan positions of the non-zero inputs, pass by pass; those of a large batch are made anew, piece by piece."""
        encoded, inputs = self.encoded(layer, spec), self.inputs(layer, spec)
        if inputs.rows * inputs.width > SLICE_ELEMENTS:
            return slices(encoded, inputs)
        return self._once(
            stage="slices", layer=layer, key=self._slices_key(spec), make=lambda: list(slices(encoded, inputs))
        )

    def tallies(self, layer: int, spec: AcceleratorSpec) -> tuple[NDArray[np.int64], Tally]:
        """What is broadcast, and what is read and issued, of each sample."""

        def make() -> tuple[NDArray[np.int64], Tally]:
            samples = self.inputs(layer, spec).samples
            sent, total = np.zeros(samples, np.int64), Tally.blank(samples, spec.n_pe)
            for part in self.slices(layer, spec):
                part.add(sent, part.pattern.broadcasts)
                part.add_record(total, tally_pass(part.encoding, part.pattern, spec.entries_per_row, threads=1))
            return sent, total

        return self._once(stage="tallies", layer=layer, key=self._tallies_key(spec), make=make)

    def queues(self, layer: int, spec: AcceleratorSpec) -> QueueTiming:
        """When things happen, of each sample."""

        def make() -> QueueTiming:
            total = QueueTiming.blank(self.inputs(layer, spec).samples, spec.n_pe)
            for part in self.slices(layer, spec):
                part.add_record(total, queue_pass(part.encoding, part.pattern, spec.act_queue_depth, threads=1))
            return total

        return self._once(stage="queues", layer=layer, key=self._queues_key(spec), make=make)

    def activity(self, layer: int, spec: AcceleratorSpec) -> Activity:
        """Everything counted, for every clock, node and energy table."""

        def make() -> Activity:
            sent, tally = self.tallies(layer, spec)
            timing = PassTiming.of(self.queues(layer, spec), tally)
            return activity_of(
                layer=self.encoded(layer, spec), inputs=self.inputs(layer, spec), spec=spec, sent=sent, total=timing
            )

        key = (*self._queues_key(spec), *self._tallies_key(spec), spec.io_bits, spec.ptr_bits)
        return self._once(stage="activity", layer=layer, key=key, make=make)

    def _slices_key(self, spec: AcceleratorSpec) -> tuple[Hashable, ...]:
        return (*encoding_key(spec), *(() if self.workload.given.layers else (spec.data_bits,)))

    def _tallies_key(self, spec: AcceleratorSpec) -> tuple[Hashable, ...]:
        return (*self._slices_key(spec), spec.spmat_row_bits)

    def _queues_key(self, spec: AcceleratorSpec) -> tuple[Hashable, ...]:
        return (*self._slices_key(spec), spec.act_queue_depth)

    def _once(self, stage: str, layer: int, key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        return self._cache.get((self.workload.content_hash, stage, layer, key), make)


def _shared_key(spec: AcceleratorSpec) -> tuple[Hashable, ...]:
    return (spec.weight_bits,)


def encoding_key(spec: AcceleratorSpec) -> tuple[Hashable, ...]:
    """Return what two specs must agree on to share every encoding."""
    return (*_shared_key(spec), *(getattr(spec, name) for name in image_fields(spec)))


def _copied(layer: EncodedLayer) -> EncodedLayer:
    """Return the same images in records of their own, without what was derived from them."""
    return dataclasses.replace(layer, passes=tuple(map(dataclasses.replace, layer.passes)))


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
