"""A layer's account, to be made when somebody asks for it.

Comes in: what `eie.simulate` timed a layer with. Goes out: an `Account`, on a call. Kept by `eie.LayerResult`: a bit an
input, which is little beside the outputs that it keeps as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eie.activity import Account
from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import MemoryPlan
from eie.model.trace import LayerTrace
from eie.simulator.stages import How, Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True)
class Recount:
    """One encoded layer and its inputs; ``batch`` and ``plan`` are those of the whole network.

    ``size`` is that of the map that the inputs are windows of, where the layer runs on whole maps.
    """

    layer: EncodedLayer
    inputs: LayerTrace
    spec: AcceleratorSpec
    batch: int
    plan: MemoryPlan
    size: tuple[int, ...] = ()
    threads: int | None = None

    def __call__(self) -> Account:
        """Count."""
        inputs = replace(self.inputs, size=self.size) if self.size else self.inputs
        workload = Workload.of_encoded(self.layer, inputs, self.spec)
        stages = Stages(workload, how=How(batch=self.batch, threads=self.threads), plan=self.plan)
        return stages.account(0, self.spec, inputs)
