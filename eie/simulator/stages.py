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

The first four are in `eie.simulator.images`; slices are counted in `eie.simulator.counting`.

A stage is made anew only when a spec field that it, or a stage before it, reads has changed: `eie.spec` says beside
each field who reads it (docs/spec.md), and the keys of the cache come from there. The event engine counts in one stage,
``events``, what the fast one counts in two.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account, Activity
from eie.compiler.encoded import EncodedLayer
from eie.compiler.map_rows import LayerMaps
from eie.compiler.strips import pixels_of
from eie.errors import TraceError
from eie.model.dataflow import dataflow
from eie.model.layer_trace import LayerTrace
from eie.simulator.accounting import account_pass, padding_pass
from eie.simulator.agreement import Agree
from eie.simulator.arriving import Arriving
from eie.simulator.batches import batch_cycles
from eie.simulator.counting import Counted, Counting, How, count_slices, count_whole
from eie.simulator.images import Images
from eie.simulator.layer import (
    SLICE_ELEMENTS,
    Engine,
    Slice,
    activity_of,
    in_one_piece,
    products_timed,
    slices,
    with_biases,
)
from eie.simulator.network import Ran, Settings, Tensor, run_network
from eie.simulator.records import PassTiming, QueueTiming, Tally
from eie.simulator.turns import in_parts
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec


class Stages(Images):
    """The stages of one workload; ``layer`` is a layer's place in the network, and that of its first use.

    Further uses of layers have places behind those of all layers. What a stage makes of weights is the layer's; inputs
    and what is counted of them are the use's. Parameters are those of `Images`.
    """

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
            beside = batch_cycles(
                placed,
                read,
                spec=spec,
                how=self._how,
                cycles=timing.cycles,
                arriving=lambda cut: self._arriving(layer=layer, spec=spec, encoded=cut, inputs=read),
            )
            maps = self._maps_in_groups(layer, spec, placed=placed, inputs=read)
            if bits := self._place(layer, spec).bias_bits:
                timing = with_biases(timing, bits, spec=spec, batch=self._how.batch)
            return activity_of(
                encoded,
                read,
                spec,
                sent=sent,
                walks=walks,
                total=timing,
                streamed=self._streamed(layer, spec),
                batches=beside,
                maps=maps,
            )

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
        if not (several and self._streamed(layer, spec)):
            return encoded
        if self._cache is None:
            return in_parts(encoded, self._place(layer, spec), spec)
        # Under what its slices are kept by, which are made of these parts.
        key = "placed", self._key("slices", layer, spec)
        return self._cache.get(key, lambda: in_parts(encoded, self._place(layer, spec), spec))

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

        def count(due: Sequence[str]) -> dict[str, Counted]:
            asked = [stage for stage in stages if stage in due]
            parts = self._slices(layer=layer, spec=spec, encoded=encoded, inputs=inputs)
            arriving = self._arriving(layer=layer, spec=spec, encoded=encoded, inputs=inputs)
            name, how = encoded.name, self._how
            if in_one_piece(encoded, inputs):
                (whole,) = parts
                return count_whole(asked, whole, how=how, spec=spec, name=name, arriving=arriving)
            samples = inputs.samples
            return count_slices(asked, parts, how=how, spec=spec, name=name, samples=samples, arriving=arriving)

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

    def _slices(
        self, *, layer: int, spec: AcceleratorSpec, encoded: EncodedLayer, inputs: LayerTrace
    ) -> Iterable[Slice]:
        """Scan positions of the non-zero inputs, pass by pass; those of a large batch are made anew, piece by piece."""
        if self._cache is None or inputs.rows * inputs.width > SLICE_ELEMENTS:
            # Kept, the slices of a large batch would push everything else out of the cache.
            return slices(encoded, inputs, spec)
        return self._once(stage="slices", layer=layer, spec=spec, make=lambda: list(slices(encoded, inputs, spec)))


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
