"""A layer's account, to be made when somebody asks for it.

Comes in: what `eie.simulate` timed the uses of a layer with. Goes out: an `Account`, on a call. Kept by
`eie.LayerResult`: a bit an input, which is little beside the outputs that it keeps as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account, Activity
from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import MemoryPlan
from eie.compiler.program import Program
from eie.model.layer_trace import LayerTrace
from eie.simulator.counting import How
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Recount:
    """One encoded layer, the inputs of all its uses and what was counted of them, by name.

    ``plan`` is that of the whole network.
    """

    layer: EncodedLayer
    inputs: Mapping[str, LayerTrace]
    activities: Mapping[str, Activity]
    spec: AcceleratorSpec
    plan: MemoryPlan
    threads: int | None = None

    def __repr__(self) -> str:
        return f"<Recount: {self.layer.name}>"

    @classmethod
    def of_layers(
        cls,
        program: Program,
        uses: Mapping[str, tuple[str, ...]],
        read: Mapping[str, LayerTrace],
        *,
        counted: Mapping[str, Activity],
        plan: MemoryPlan,
        threads: int | None,
    ) -> dict[str, Recount]:
        """Keep, by layer, the patterns of what its uses ``read``; nothing where none were kept."""
        return {
            layer.name: cls(
                layer=layer,
                inputs={use: read[use] for use in uses[layer.name]},
                activities={use: counted[use] for use in uses[layer.name]},
                spec=program.spec,
                plan=plan,
                threads=threads,
            )
            for layer in program.layers
            if read
        }

    def __call__(self) -> Account:
        """Count what PEs idled for, added up over the uses."""
        stages = self.stages()
        total = Account.blank(next(iter(self.inputs.values())).samples, self.spec.n_pe)
        for place in stages.places_of(0):
            account = stages.account(place, self.spec)
            total.broadcast[:] += account.broadcast
            total.stall[:] += account.stall
        return total

    def padding(self) -> NDArray[np.int64]:
        """Count the padding entries of each PE, int64 (N, P)."""
        stages = self.stages()
        padding: NDArray[np.int64] = np.sum([stages.padding(place, self.spec) for place in stages.places_of(0)], axis=0)
        return padding

    def stages(self) -> Stages:
        """Return the way from the layer and its inputs to whatever is counted of them."""
        workload = Workload.of_encoded(self.layer, self.inputs, self.spec)
        return Stages(workload, how=How(batch=self.plan.batch, threads=self.threads), plan=self.plan)
