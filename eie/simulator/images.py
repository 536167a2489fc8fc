"""What the stages make of weights, and what two values of a stage must agree in to be the same.

Comes in: a `Workload`, a cache or none, and, call by call, a spec. Goes out: shared weights, images, the memory plan.
Read by `eie.simulator.stages`, which runs and counts on them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Literal, TypeVar

from eie.compiler.choice import encode_conv
from eie.compiler.demand import Demand
from eie.compiler.encoded import EncodedLayer
from eie.compiler.lower import Lowering, lower
from eie.compiler.map_rows import LayerMaps
from eie.compiler.memory import plan_of
from eie.compiler.places import LayerPlace, MemoryPlan
from eie.compiler.program import Program
from eie.compression.share import ShareReport, share
from eie.model.dataflow import dataflow
from eie.model.layer import Layer
from eie.simulator.cache import Cache
from eie.simulator.counting import Counting, How
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec, Stage, fields_of

T = TypeVar("T")


class Images:
    """What one workload's weights become; ``layer`` is a layer's place in the network, and that of its first use.

    Further uses of layers have places behind those of all layers; what is made of weights is the layer's.

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

    def layer_of(self, place: int) -> str:
        """Return the name of the layer that the use at a place is of."""
        return self.workload.layers[self._uses[place][1]].name

    def places_of(self, layer: int) -> list[int]:
        """Return the places of the layer's uses, in order."""
        return [place for place, (_, of) in enumerate(self._uses) if of == layer]

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
