"""A layer's account, to be made when somebody asks for it.

Comes in: what `eie.simulate` timed a layer with. Goes out: an `Account`, on a call. Kept by `eie.LayerResult`: a bit an
input, which is little beside the outputs that it keeps as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eie.activity import Account, Activity
from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import MemoryPlan
from eie.model.trace import LayerTrace
from eie.simulator.stages import How, Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Recount:
    """One encoded layer and its inputs; ``plan`` is that of the whole network.

    ``size`` is that of the map that the inputs are windows of, where the layer runs on whole maps.
    """

    layer: EncodedLayer
    inputs: LayerTrace
    spec: AcceleratorSpec
    plan: MemoryPlan
    size: tuple[int, ...] = ()
    threads: int | None = None

    def __repr__(self) -> str:
        return f"<Recount: {self.layer.name}>"

    @classmethod
    def of(
        cls,
        layer: EncodedLayer,
        inputs: LayerTrace,
        *,
        workload: Workload,
        plan: MemoryPlan,
        spec: AcceleratorSpec,
        threads: int | None,
    ) -> Recount:
        """Keep the pattern of what a layer of a workload has just read."""
        # Recorded rows do not tell the size of their map, the graph does.
        size = inputs.size or workload.map_sizes.get(layer.name, ()) if layer.scatter else ()
        pattern = inputs.without_values()
        return cls(layer=layer, inputs=pattern, spec=spec, plan=plan, size=size, threads=threads)

    def kept(self, keep: bool) -> dict[str, Recount]:
        """Return itself by its layer's name, or nothing."""
        return {self.layer.name: self} if keep else {}

    def added_to(self, activity: Activity) -> Activity:
        """Return the activity with its account, counted now unless the engine has."""
        return activity if activity.account is not None else replace(activity, account=self())

    def __call__(self) -> Account:
        """Count."""
        inputs = replace(self.inputs, size=self.size) if self.size else self.inputs
        workload = Workload.of_encoded(self.layer, inputs, self.spec)
        stages = Stages(workload, how=How(batch=self.plan.batch, threads=self.threads), plan=self.plan)
        return stages.account(0, self.spec, inputs)
