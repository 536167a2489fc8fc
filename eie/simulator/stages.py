"""The one way from weights to an `Activity`, cut where spec fields enter.

Comes in: a `Workload` and, call by call, a spec. Goes out: what each stage makes. Taken by the verb `simulate`, by
sweeps, the paper's bench and the search's prices; with a `Cache` each piece is made once, without one nothing is kept.

======== ============================================== ====================================
stage    makes                                          from
======== ============================================== ====================================
shared   weights as codes                               the layer
encoded  the images of all PEs                          ``shared``, or a compiled program
demand   what they ask of the memories                  ``encoded``
plan     what stays on the chip, what comes when        ``demand`` of all layers
inputs   which activations are non-zero                 ``shared``, or what was recorded
slices   scan positions                                 ``encoded`` and ``inputs``
tallies  reads, entries, issue and empty cycles         ``slices``
queues   cycles, stalls, when each PE is free           ``slices``
streams  the same where weights arrive meanwhile        ``slices``
activity all of it, added up                            tallies, and queues or streams
======== ============================================== ====================================

A stage is made anew only when a spec field that it, or a stage before it, reads has changed: `eie.spec` says beside
each field who reads it (docs/spec.md), and the keys of the cache come from there. The event engine counts in one stage,
``events``, what the fast one counts in two.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account, Activity
from eie.compiler.choice import encode_conv
from eie.compiler.demand import Demand
from eie.compiler.encoded import EncodedLayer
from eie.compiler.lower import Lowering, lower
from eie.compiler.map_rows import LayerMaps
from eie.compiler.maps import pe_rows
from eie.compiler.memory import plan_of
from eie.compiler.places import LayerPlace, MemoryPlan
from eie.compiler.program import Program
from eie.compiler.strips import pixels_of
from eie.compression.share import ShareReport, share
from eie.errors import EieError, TraceError
from eie.model.dataflow import dataflow
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.simulator.accounting import account_pass, padding_pass
from eie.simulator.arriving import Arriving
from eie.simulator.batches import batches, fill_cycles, in_batches, pixel_batches, register_cycles
from eie.simulator.cache import Cache
from eie.simulator.fast import queue_pass, tally_pass
from eie.simulator.layer import (
    ENGINES,
    SLICE_ELEMENTS,
    Engine,
    Slice,
    activity_of,
    in_one_piece,
    products_timed,
    slices,
    with_biases,
)
from eie.simulator.network import Datapath, Ran, Settings, Tensor, run_network
from eie.simulator.products import Agree
from eie.simulator.records import EventTiming, PassTiming, QueueTiming, StreamTiming, Tally
from eie.simulator.turns import in_parts
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec, Stage, fields_of

T = TypeVar("T")
Counting = Literal["tallies", "queues", "streams", "events"]
_BLANK: Mapping[Counting, Callable[[int, int], Tally | QueueTiming | PassTiming]] = {
    "tallies": Tally.blank,
    "queues": QueueTiming.blank,
    "streams": StreamTiming.blank,
    "events": EventTiming.blank,
}


@dataclass(frozen=True, kw_only=True)
class How:
    """How the stages do their work; no number depends on it but for ``datapath``.

    Attributes
    ----------
    engine
        ``"fast"`` or ``"events"``.
    batch
        Samples for which a layer that is streamed is loaded once.
    datapath
        Whose zeros the layers see where they feed each other.
    threads
        Of the arithmetic and the fast engine; None for the machine's cores.
    advanced
        Called as ``advanced(layer, products)`` with the products just timed.
    log
        With the event engine: called with a line for every cycle.
    """

    engine: Engine = "fast"
    batch: int = 1
    datapath: Datapath = "fixed"
    threads: int | None = None
    advanced: Callable[[str, int], None] = lambda _layer, _products: None
    log: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise EieError(f"engine {self.engine!r}: must be 'fast' or 'events'")


@dataclass(frozen=True, eq=False)
class _Counted:
    """What a counting stage made of all slices: broadcasts and walks (samples,), and its record, a row a sample."""

    sent: NDArray[np.int64]
    walks: NDArray[np.int64]
    record: Tally | QueueTiming | PassTiming


def _blank(stage: Counting, samples: int, n_pe: int) -> _Counted:
    sent, walks = np.zeros((2, samples), np.int64)
    return _Counted(sent, walks, _BLANK[stage](samples, n_pe))


class Stages:
    """The stages of one workload; ``layer`` is a layer's place in the network, and that of its first use.

    Further uses of layers have places behind those of all layers. What a stage makes of weights is the layer's; inputs
    and what is counted of them are the use's.

    Parameters
    ----------
    cache
        Shared with the stages of other workloads, if one likes; None keeps nothing.
    plan
        Where the weights and maps of the network are, if the caller knows that of a larger whole than the workload.
    """

    def __init__(
        self,
        workload: Workload,
        cache: Cache | None = None,
        how: How | None = None,
        plan: MemoryPlan | None = None,
    ) -> None:
        self.workload = workload
        uses = workload.uses
        names = [layer.name for layer in workload.layers]
        # By place: the name of the use, and the place of its layer.
        self._uses = [(uses[name][0], place) for place, name in enumerate(names)]
        self._uses += [(use, place) for place, name in enumerate(names) for use in uses[name][1:]]
        self.places: Mapping[str, int] = {use: place for place, (use, _) in enumerate(self._uses)}
        self._given = plan
        # The last plan with its machine: each layer of a call asks for it several times.
        self._planned: tuple[AcceleratorSpec, MemoryPlan] | None = None
        self._cache = cache
        # One level of parallelism: whoever keeps pieces asks for many of them side by side, each on one thread.
        self._how = how or How(threads=None if cache is None else 1)

    def shared(self, layer: int, spec: AcceleratorSpec) -> tuple[Layer, ShareReport]:
        """The layer's weights as codes, convolutions unrolled by im2col or transformed."""
        _, layer = self._uses[layer]
        weights = self.workload.layers[layer]
        lowering: Lowering = "winograd" if self.workload.conv == "winograd" else "im2col"
        # Of a program nobody asks this: `encoded` hands out its images first.
        assert isinstance(weights, Layer)
        return self._once(
            stage="shared",
            layer=layer,
            spec=spec,
            # Lowered before shared, since codes belong to the matrix that is stored.
            make=lambda: share(lower(weights, lowering)[0], spec.weight_bits, bias=self.workload.bias),
        )

    def encoded(self, layer: int, spec: AcceleratorSpec) -> EncodedLayer:
        """The images of all PEs; those of a program as they are.

        Raises
        ------
        ProgramError
            If the program was compiled for a machine that stores other images.
        """
        _, layer = self._uses[layer]
        if isinstance(self.workload.network, Program):
            program = self.workload.network
            # `on` checks every field; asking it for each layer of each call would cost more than a small layer takes
            return (program if spec is program.spec else program.on(spec)).layers[layer]

        def make() -> EncodedLayer:
            load, name = self.workload, self.workload.layers[layer].name
            # What was recorded of no whole map has no strips, whichever way was asked for.
            whole = not load.given.layers or set(load.uses[name]) <= set(load.map_sizes)
            way = load.conv if whole else "im2col"
            size = load.stated_sizes.get(name, ()) if way == "auto" else ()
            made = encode_conv(*self.shared(layer, spec), spec, conv=way, size=size)
            for encoding in made.passes:
                # all are kept with the encoding: have them counted, and not made twice
                _ = encoding.largest_slot, encoding.row_table(spec.entries_per_row)
            return made

        return self._once(stage="encoded", layer=layer, spec=spec, make=make)

    def plan(self, spec: AcceleratorSpec) -> MemoryPlan:
        """Where the weights and maps of the whole network are on a machine.

        Raises
        ------
        ProgramError
            If a layer has to be streamed whose longest column no half of the stream buffer holds.
        """
        if self._given is not None:
            return self._given
        last = self._planned
        if last is None or last[0] is not spec:
            last = self._planned = (spec, self._once(stage="plan", layer=-1, spec=spec, make=lambda: self._made(spec)))
        return last[1]

    def _made(self, spec: AcceleratorSpec) -> MemoryPlan:
        """Make the plan: of a program's images, or of what is kept of the layers'."""
        workload, batch = self.workload, self._how.batch
        if isinstance(workload.network, Program):
            program = workload.network if spec is workload.network.spec else workload.network.on(spec)
            return program.planned(batch, **workload.sizes)
        demands = [self._demand(place, spec) for place in range(len(workload.layers))]
        return plan_of(
            demands=demands,
            spec=spec,
            batch=batch,
            graph=dataflow(workload.network),
            alternatives=workload.network.alternatives,
            **workload.sizes,
        )

    def _demand(self, layer: int, spec: AcceleratorSpec) -> Demand:
        return self._once(stage="demand", layer=layer, spec=spec, make=lambda: Demand.of(self.encoded(layer, spec)))

    def _place(self, layer: int, spec: AcceleratorSpec) -> LayerPlace:
        return self.plan(spec).by_name[self.layer_of(layer)]

    def _streamed(self, layer: int, spec: AcceleratorSpec) -> bool:
        """Whether a layer's weights arrive while it works."""
        return self._place(layer, spec).place == "streamed"

    def _maps(self, layer: int, spec: AcceleratorSpec) -> LayerMaps:
        """What a use moves of maps."""
        return self.plan(spec).maps.of(self._uses[layer][0])

    def _maps_in_groups(
        self, layer: int, spec: AcceleratorSpec, *, placed: EncodedLayer, inputs: LayerTrace
    ) -> LayerMaps:
        """What a use moves of maps as it is run: each group of channels that its room holds reads the map again."""
        maps, whole = self._maps(layer, spec), self.encoded(layer, spec)
        pixel = self.plan(spec).maps.pixels.get(self._uses[layer][0])
        if pixel is None or len(placed.passes) == len(whole.passes):
            return maps
        return maps.reading(pixel, pixels_of(placed, inputs.size, spec) - pixels_of(whole, inputs.size, spec))

    def run(
        self, spec: AcceleratorSpec, ran: Ran, part: slice | None = None, agree: Agree = float
    ) -> tuple[Tensor, ...]:
        """Run the network from its own inputs, layer feeding layer; ``ran`` and the outputs as of `run_network`.

        Parameters
        ----------
        part
            Some of the samples, in formats that ``agree`` knows.
        """
        graph = dataflow(self.workload.network)
        assert graph is not None
        layers = [self.encoded(place, spec) for place in range(len(self.workload.layers))]
        if self._cache is not None:
            # Copies, whose lists of writes go when the run is over: the cache weighed the encodings without them.
            layers = list(map(_copied, layers))
        return run_network(
            graph=graph,
            layers={layer.name: layer for layer in layers},
            inputs=(self.workload.given if part is None else self.workload.given.taken(part)).loaded(),
            settings=Settings(
                data_bits=spec.data_bits, datapath=self._how.datapath, threads=self._how.threads, agree=agree
            ),
            ran=ran,
        )

    def inputs(self, layer: int, spec: AcceleratorSpec) -> LayerTrace:
        """The layer's recorded inputs, or what the layers before it compute; no stored format changes those."""
        recorded, (name, _) = self.workload.given.layers, self._uses[layer]
        if recorded:
            return recorded[name]

        def make() -> dict[str, LayerTrace]:
            read: dict[str, LayerTrace] = {}

            def ran(use: str, inputs: LayerTrace, _: object) -> None:
                # Timing reads the pattern only: a bit where a value takes 32, and this is kept for a whole sweep.
                read[use] = inputs.without_values()

            self.run(spec, ran)
            return read

        # One run of the network makes the inputs of all its layers: place -1 stands for all.
        return self._once(stage="inputs", layer=-1, spec=spec, make=make)[name]

    def layer_of(self, place: int) -> str:
        """Return the name of the layer that the use at a place is of."""
        return self.workload.layers[self._uses[place][1]].name

    def places_of(self, layer: int) -> list[int]:
        """Return the places of the layer's uses, in order."""
        return [place for place, (_, of) in enumerate(self._uses) if of == layer]

    def whole_activity(self, layer: int, spec: AcceleratorSpec) -> Activity:
        """Everything counted of a layer, its uses added up."""
        uses = [self.activity(place, spec) for place in self.places_of(layer)]
        return Activity.together(self.workload.layers[layer].name, uses)

    def products(self, layer: int, spec: AcceleratorSpec) -> int:
        """Rows of inputs a sample, over all uses of the layer."""
        return sum(self.inputs(place, spec).products for place in self.places_of(layer))

    def activity(self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace | None = None) -> Activity:
        """Everything counted of a use, for every clock, node and energy table.

        Parameters
        ----------
        inputs
            What the layer has just read, where the caller is running the network; else stage ``inputs`` is asked.

        Raises
        ------
        TraceError
            If the inputs do not have the layer's width.
        """

        def make() -> Activity:
            encoded = self.encoded(layer, spec)
            read = self.inputs(layer, spec) if inputs is None else inputs
            # Here and not at the border only: `time_layer` takes any pair of layer and inputs.
            if read.width != encoded.inputs:
                raise TraceError(
                    f"layer {encoded.name!r} takes {encoded.inputs} inputs, the activations have {read.width}"
                )
            if encoded.scatter is not None:
                read = self._sized(layer, encoded, read)
            placed = self.placed(layer, spec, read)
            sent, walks, timing = self._timing(layer=layer, spec=spec, encoded=placed, inputs=read)
            beside = self._batches(layer=layer, spec=spec, encoded=placed, inputs=read, cycles=timing.cycles)
            maps = self._maps_in_groups(layer, spec, placed=placed, inputs=read)
            if bits := self._place(layer, spec).bias_bits:
                timing = with_biases(timing, bits, spec=spec, batch=self._how.batch)
            return activity_of(encoded, read, spec, sent=sent, walks=walks, total=timing, batches=beside, maps=maps)

        return self._once(stage="activity", layer=layer, spec=spec, make=make)

    def _sized(self, place: int, layer: EncodedLayer, read: LayerTrace) -> LayerTrace:
        """Add height and width of the map to inputs that were recorded, as the graph tells them.

        Raises
        ------
        TraceError
            If they are not known, or the rows are not those of a whole map.
        """
        size = read.size or self.workload.map_sizes.get(self._uses[place][0], ())
        if not size or layer.geometry.products(*size) != read.products:
            raise TraceError(
                f"layer {layer.name!r} runs by scatter, on whole maps: {read.products} rows of inputs a sample are of "
                "no known height and width: compile with conv='im2col' (--conv im2col)"
            )
        return replace(read, size=size)

    def products_timed(self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace) -> int:
        """Products, or strips, of one sample that the engine times, over all passes: what progress counts up to."""
        placed = self.placed(layer, spec, inputs)
        return products_timed(placed, inputs if placed.scatter is None else self._sized(layer, placed, inputs), spec)

    def placed(self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace) -> EncodedLayer:
        """The layer's images as they are run: streamed for several products, in parts that its room holds."""
        encoded = self.encoded(layer, spec)
        several = self._how.batch * inputs.products > 1 or encoded.scatter is not None
        if several and self._streamed(layer, spec):
            return in_parts(encoded, self._place(layer, spec), spec)
        return encoded

    def _arriving(
        self, layer: int, spec: AcceleratorSpec, encoded: EncodedLayer, inputs: LayerTrace
    ) -> Arriving | None:
        """How the weights arrive in a walk over the layer's slices; None where they are in place."""
        if not self._streamed(layer, spec):
            return None
        return Arriving(encoded, spec, rows=self._how.batch * inputs.products, samples=self._how.batch)

    def _timing(
        self, *, layer: int, spec: AcceleratorSpec, encoded: EncodedLayer, inputs: LayerTrace
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], PassTiming]:
        """Add up what the engine counts, over slices and passes: broadcasts, walks, and the rest, a row a sample."""

        def count_one(stage: str, part: Slice, arriving: Arriving | None) -> Tally | QueueTiming | PassTiming:
            return self._count(stage=stage, part=part, spec=spec, name=encoded.name, arriving=arriving)

        def count(due: Sequence[str]) -> dict[str, _Counted]:
            # All stages that are due share one walk, so that a slice is made once and let go before the next.
            parts = self._slices(layer=layer, spec=spec, encoded=encoded, inputs=inputs)
            arriving = self._arriving(layer=layer, spec=spec, encoded=encoded, inputs=inputs)
            if in_one_piece(encoded, inputs):
                # One product a sample, all in one slice: there is nothing to add up, and on a small layer adding up
                # took longer than counting.
                (whole,) = parts
                sent = whole.pattern.broadcasts
                walks = np.minimum(sent, 1)
                return {
                    stage: _Counted(sent, walks, count_one(stage, whole, arriving)) for stage in stages if stage in due
                }
            totals: dict[str, _Counted] = {
                stage: _blank(stage, inputs.samples, spec.n_pe) for stage in stages if stage in due
            }
            for part in parts:
                for stage, total in totals.items():
                    part.add(total.sent, part.pattern.broadcasts)
                    part.add(total.walks, np.minimum(part.pattern.broadcasts, 1))
                    part.add_record(total.record, count_one(stage, part, arriving))
            return totals

        # Two stages, so that a sweep over queue depths keeps its row reads, and one over SRAM rows its cycles.
        timed: Counting = "streams" if self._streamed(layer, spec) else "queues"
        stages: tuple[Counting, ...] = ("tallies", timed) if self._how.engine == "fast" else ("events",)
        if self._cache is None:
            counted = count(stages)
        else:
            # Asked together: one that is there already is not counted again with the other.
            keys: dict[str, Hashable] = {stage: self._key(stage, layer, spec) for stage in stages}
            counted = self._cache.get_all(keys, count)
        # Broadcasts follow from the pattern, so every stage has the same.
        sent, walks = counted[stages[0]].sent, counted[stages[0]].walks
        records = [counted[stage].record for stage in stages]
        if isinstance(records[0], PassTiming):
            return sent, walks, records[0]
        tally, queue = records
        # For mypy: the order is that of `stages`.
        assert isinstance(tally, Tally)
        assert isinstance(queue, QueueTiming)
        return sent, walks, PassTiming.of(queue, tally)

    def account(self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace | None = None) -> Account:
        """What PEs idled for, a row a sample; parameters as of `activity`. Counted anew, by the fast engine."""

        def make() -> Account:
            placed, read = self._placed_on(layer, spec, inputs)
            arriving = self._arriving(layer=layer, spec=spec, encoded=placed, inputs=read)
            total = Account.blank(read.samples, spec.n_pe)
            for part in self._slices(layer=layer, spec=spec, encoded=placed, inputs=read):
                stream, arrivals = (None, None) if arriving is None else arriving.next(part)
                counted = account_pass(
                    part.encoding,
                    part.pattern,
                    spec.act_queue_depth,
                    threads=self._how.threads,
                    stream=stream,
                    arrivals=arrivals,
                )
                part.add_record(total, counted)
            return total

        return self._once(stage="account", layer=layer, spec=spec, make=make)

    def padding(self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace | None = None) -> NDArray[np.int64]:
        """Padding entries that each PE issued, int64 (N, P); parameters as of `activity`."""
        placed, read = self._placed_on(layer, spec, inputs)
        total = np.zeros((read.samples, spec.n_pe), np.int64)
        for part in self._slices(layer=layer, spec=spec, encoded=placed, inputs=read):
            part.add(total, padding_pass(part.encoding, part.pattern))
        return total

    def accounted(
        self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace, *, activity: Activity, padding: bool
    ) -> Activity:
        """Return the activity of a use with its account, unless the engine has counted it along."""
        if activity.account is not None:
            return activity
        account = self.account(layer, spec, inputs)
        return replace(
            activity, account=replace(account, padding=self.padding(layer, spec, inputs)) if padding else account
        )

    def pattern(self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace) -> LayerTrace:
        """Return what of a use's inputs `account` and `padding` read, a bit an input."""
        encoded = self.encoded(layer, spec)
        return (inputs if encoded.scatter is None else self._sized(layer, encoded, inputs)).without_values()

    def _placed_on(
        self, layer: int, spec: AcceleratorSpec, inputs: LayerTrace | None
    ) -> tuple[EncodedLayer, LayerTrace]:
        """A use's images as they are run, and its inputs, with the size of their map where strips are cut of it."""
        read = self.inputs(layer, spec) if inputs is None else inputs
        encoded = self.encoded(layer, spec)
        read = read if encoded.scatter is None else self._sized(layer, encoded, read)
        return self.placed(layer, spec, read), read

    def _batches(
        self,
        *,
        layer: int,
        spec: AcceleratorSpec,
        encoded: EncodedLayer,
        inputs: LayerTrace,
        cycles: NDArray[np.int64],
    ) -> NDArray[np.int64] | None:
        """Cycles that batches of activations add to the ``cycles`` of each sample; None where they are free."""
        if not in_batches(spec):
            return None
        if encoded.scatter is not None:
            return self._pixel_batches(layer=layer, spec=spec, encoded=encoded, inputs=inputs, cycles=cycles)
        cut = replace(encoded, passes=tuple(batch for whole in encoded.passes for batch in batches(whole, spec)))
        registers = sum(register_cycles(batch, spec) for batch in cut.passes) * inputs.products
        if len(cut.passes) == len(encoded.passes):
            return np.full_like(cycles, registers)
        drained = np.zeros_like(cycles)
        # Each batch is a stream of its own: the look-ahead scanner reads the registers, so it sees no further batch.
        # By the contract, batch by batch: reads of the sparse matrix stay those of the whole, since a PE keeps its row.
        arriving = self._arriving(layer=layer, spec=spec, encoded=cut, inputs=inputs)
        for part in slices(cut, inputs, spec):
            part.add(drained, self._drained(part=part, layer=layer, spec=spec, arriving=arriving))
        # Never less than in one piece, though a stream of all columns may fill its buffer before each batch.
        added: NDArray[np.int64] = np.maximum(0, drained - cycles) + registers
        return added

    def _pixel_batches(
        self, *, layer: int, spec: AcceleratorSpec, encoded: EncodedLayer, inputs: LayerTrace, cycles: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """As `_batches`, of pixels: as many as the source registers hold; an output pixel is written once."""
        drained, registers = np.zeros_like(cycles), np.zeros_like(cycles)
        arriving = self._arriving(layer=layer, spec=spec, encoded=encoded, inputs=inputs)
        for part in slices(encoded, inputs, spec):
            batches = pixel_batches(part, spec)
            batches.add(drained, self._drained(part=batches, layer=layer, spec=spec, arriving=arriving))
            batches.add(registers, fill_cycles(batches, encoded, spec))
        registers += sum(pe_rows(each, spec) for each in encoded.channels_a_pe) * inputs.products
        added: NDArray[np.int64] = np.maximum(0, drained - cycles) + registers
        return added

    def _drained(
        self, *, part: Slice, layer: int, spec: AcceleratorSpec, arriving: Arriving | None
    ) -> NDArray[np.int64]:
        """Time one slice by the cycle contract, without telling anybody of progress."""
        how = replace(self._how, advanced=lambda _layer, _products: None, log=None)
        quiet = Stages(self.workload, how=how, plan=self.plan(spec))
        stage = "queues" if self._how.engine == "fast" else "events"
        name, _ = self._uses[layer]
        counted = quiet._count(stage=stage, part=part, spec=spec, name=name, arriving=arriving)
        assert isinstance(counted, QueueTiming | PassTiming)
        return counted.cycles

    def _slices(
        self, *, layer: int, spec: AcceleratorSpec, encoded: EncodedLayer, inputs: LayerTrace
    ) -> Iterable[Slice]:
        """Scan positions of the non-zero inputs, pass by pass; those of a large batch are made anew, piece by piece."""
        if self._cache is None or inputs.rows * inputs.width > SLICE_ELEMENTS:
            # Kept, the slices of a large batch would push everything else out of the cache.
            return slices(encoded, inputs, spec)
        return self._once(stage="slices", layer=layer, spec=spec, make=lambda: list(slices(encoded, inputs, spec)))

    def _count(
        self, *, stage: str, part: Slice, spec: AcceleratorSpec, name: str, arriving: Arriving | None = None
    ) -> Tally | QueueTiming | PassTiming:
        """One slice in one pass, by one stage; progress goes by the stage that takes longest."""
        if stage == "tallies":
            # Without `advanced`: progress would count every product twice.
            return tally_pass(part.encoding, part.pattern, spec.entries_per_row, threads=self._how.threads)

        def advanced(products: int) -> None:
            self._how.advanced(name, products)

        stream, arrivals = (None, None) if arriving is None else arriving.next(part)
        if stage in ("queues", "streams"):
            return queue_pass(
                encoding=part.encoding,
                pattern=part.pattern,
                act_queue_depth=spec.act_queue_depth,
                threads=self._how.threads,
                advanced=advanced,
                stream=stream,
                arrivals=arrivals,
            )
        from eie.simulator import events  # SimPy is loaded for those who ask for it

        return events.time_pass(
            encoding=part.encoding,
            pattern=part.pattern,
            spec=spec,
            advanced=advanced,
            log=self._how.log,
            stream=stream,
            arrivals=arrivals,
        )

    def _once(
        self, *, stage: Stage | Literal["account"], layer: int, spec: AcceleratorSpec, make: Callable[[], T]
    ) -> T:
        return make() if self._cache is None else self._cache.get(self._key(stage, layer, spec), make)

    def _key(self, stage: Stage | Counting | Literal["account"], layer: int, spec: AcceleratorSpec) -> Hashable:
        """What two values of a stage must agree in to be the same value."""
        # The event engine counts all at once and reads what any counting stage reads: the specs' fields name no stage
        # "events", and none "account", which walks what the queues do.
        read_by: Stage = "activity" if stage == "events" or stage == "account" else stage  # noqa: PLR1714
        # Recorded inputs were not computed here: data_bits then changes no zero, and a sweep over it counts once.
        without: tuple[Stage, ...] = ("inputs",) if self.workload.given.layers else ()
        placed: tuple[Hashable, ...] = ()
        if read_by in ("slices", "tallies", "queues", "streams", "activity"):
            # Weights that are in place are in no stream, however fast it were.
            streamed = self._streamed(layer, spec)
            without += ("queues",) if streamed else ("streams",)
            place = self._place(layer, spec)
            placed = (place.turn if streamed else None,)
            # Maps that are in place alike on two machines, or come alike, are the same; not so the machines' plans.
            placed += (self._maps(layer, spec), place.bias_bits) if read_by == "activity" else ()
        values = (*(getattr(spec, name) for name in fields_of(read_by, spec, without)), *placed)
        # The engine too, although both agree: a check of one against the other must not be handed the same record.
        how = self._how.engine, self._how.batch, self._how.datapath
        return self.workload.content_hash, stage, layer, how, values


def encoding_key(spec: AcceleratorSpec) -> tuple[Hashable, ...]:
    """Return what two specs must agree on to share every encoding."""
    return tuple(getattr(spec, name) for name in fields_of("encoded", spec))


def _copied(layer: EncodedLayer) -> EncodedLayer:
    """Return the same images in records of their own, without what was derived from them."""
    # `replace` makes new records of the same arrays; cached properties stay behind with the old ones.
    return replace(layer, passes=tuple(map(replace, layer.passes)))


def time_layer(
    layer: EncodedLayer,
    inputs: LayerTrace,
    spec: AcceleratorSpec,
    engine: Engine = "fast",
    *,
    threads: int | None = None,
    log: Callable[[str], None] | None = None,
) -> Activity:
    """Count what happens in one encoded layer on its inputs.

    Parameters
    ----------
    layer
        Encoded for ``spec``, or for one that stores it alike.
    inputs
        Which activations are non-zero, for every product of every sample.
    engine
        ``"fast"`` or ``"events"``; they agree in every number.
    threads
        For the fast engine.
    log
        For the event engine: called with a line for each cycle.

    Raises
    ------
    TraceError
        If the inputs do not have the layer's width.
    """
    workload = Workload.of_encoded(layer, {layer.name: inputs}, spec)
    return Stages(workload, how=How(engine=engine, threads=threads, log=log)).activity(0, spec)
