"""What each use of a layer has made in a run: timed on the inputs that it has just had, as the run goes.

Comes in: a use, what it read, what it computed. Goes out: `Timed`, which holds counts and outputs of all uses. Filled
by `eie.simulator.run`, read by `eie.simulation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from eie.activity import Activity
from eie.model.layer_trace import LayerTrace
from eie.simulator.functional import LayerOutputs
from eie.simulator.keeping import Kept
from eie.simulator.stages import Stages
from eie.spec import AcceleratorSpec

# By use of a layer: what was counted and computed.
UseRuns = dict[str, tuple[Activity, LayerOutputs | None]]


class Progress:
    """Products that are timed of each layer, told to whoever asked: called as ``tell(layer, done, total)``."""

    def __init__(self, layers: Iterable[str], tell: Callable[[str, int, int], None] | None) -> None:
        self._tell = tell
        # By layer and use: what there is to time.
        self._due: dict[str, dict[str, int]] = {name: {} for name in layers}
        self._told = Counter[str]()

    @property
    def asked(self) -> bool:
        """Whether anybody asked."""
        return self._tell is not None

    def expect(self, layer: str, use: str, products: int) -> None:
        """Take note of what a use of a layer will take, before the first of it is timed."""
        self._due[layer][use] = products

    def advanced(self, layer: str, count: int) -> None:
        """Tell of products that were just timed."""
        if self._tell is not None:
            # Parts of the samples may be run again: no bar goes beyond its end.
            whole = sum(self._due[layer].values())
            count = min(count, whole - self._told[layer])
            self._told[layer] += count
            self._tell(layer, count, whole)


@dataclass(frozen=True, eq=False, kw_only=True)
class Timed:
    """Counts and outputs of the uses of layers, as they come.

    Attributes
    ----------
    kept
        Whose outputs stay.
    samples
        Of the whole run, for progress.
    shares
        Whether to count at once where the cycles went.
    patterned
        Whether to keep which inputs were non-zero, to count that from later.
    rows, read
        By use: what it has made, and the pattern of its inputs.
    """

    stages: Stages
    spec: AcceleratorSpec
    kept: Kept
    progress: Progress
    samples: int
    shares: bool
    patterned: bool
    rows: UseRuns = field(default_factory=dict)
    read: dict[str, LayerTrace] = field(default_factory=dict)

    def ran(self, use: str, inputs: LayerTrace, computed: LayerOutputs | None) -> None:
        """Time a use of a layer on the inputs it has just had."""
        stages, spec = self.stages, self.spec
        place = stages.places[use]
        if self.progress.asked:
            products = self.samples * stages.products_timed(place, spec, inputs)
            self.progress.expect(stages.layer_of(place), use, products)
        # Timed while the inputs are at hand: kept until the run is over, those of all layers would lie in memory
        # together.
        activity = stages.activity(place, spec, inputs)
        if self.shares:
            # Of outputs that are not kept nothing is left to count from later.
            activity = stages.accounted(place, spec, inputs, activity=activity, padding=not self.patterned)
        if self.patterned:
            self.read[use] = stages.pattern(place, spec, inputs)
        self.rows[use] = activity, self.kept.part(stages.layer_of(place), computed)
