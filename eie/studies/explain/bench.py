"""What a network costs in a setting: a machine, a way of convolutions, forms of the layers.

Comes in: `Forms`, and settings. Goes out: frozen `Cost` records, by layer. Read by `advise`. What two settings have in
common, images, reads, cycles, is made once: `eie.simulator.stages` knows which field costs which stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.choice import Conv, encode_conv
from eie.compiler.demand import Demand
from eie.compiler.encoded import EncodedLayer
from eie.compiler.memory import plan_of
from eie.compiler.places import MemoryPlan
from eie.compiler.program import Program
from eie.energy.area import area
from eie.energy.clock import timing_met
from eie.energy.estimate import estimate
from eie.energy.tables import Cell
from eie.errors import EieError, EnergyError
from eie.model.graph import Graph
from eie.show.brief import Brief
from eie.simulator.cache import Cache
from eie.simulator.counting import How
from eie.simulator.images import encoding_key
from eie.simulator.inputs import Given
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.studies.explain.forms import Form, Forms, Pruning
from eie.studies.explain.grown import activity_of_whole, demand_of_whole, plan_for_window


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Setting(Brief):
    """What is run.

    Attributes
    ----------
    spec
        The machine.
    conv
        How convolutions run.
    permuted
        Whether rows that can move lie in the order that is even for this machine.
    pruned
        By layer: how much of its weights stays.
    """

    spec: AcceleratorSpec
    conv: Conv = "auto"
    permuted: bool = False
    pruned: Mapping[str, Pruning] = field(default_factory=dict)

    @property
    def key(self) -> Hashable:
        """Equal for settings that are the same."""
        return self.spec, self.conv, self.permuted, tuple(sorted(self.pruned.items(), key=lambda item: item[0]))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Cost(Brief):
    """What a setting costs a sample, and what it takes.

    Attributes
    ----------
    latency_us, energy_nj
        float64 (layers,), in the network's order. Energy and area are NaN where an SRAM has no price.
    fits
        Whether every memory holds all that the network needs of it.
    timing_met
        Whether logic and SRAMs are as fast as the clock, as far as that is known.
    """

    latency_us: NDArray[np.float64]
    energy_nj: NDArray[np.float64]
    area_mm2: float
    fits: bool
    timing_met: bool

    @property
    def priced(self) -> bool:
        """Whether every SRAM has a price."""
        return not math.isnan(self.area_mm2 + float(self.energy_nj.sum()))


@dataclass(frozen=True, eq=False, kw_only=True)
class Known(Workload):
    """A workload under a short name: what it is made of is known here, and a hash over all images takes a while."""

    token: str

    @cached_property
    def content_hash(self) -> str:
        """The name."""
        return self.token


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Whole(Brief):
    """What does not depend on the setting.

    Attributes
    ----------
    graph
        How tensors flow, for the plan of the maps.
    map_sizes
        Of what each use reads, where that is known.
    stated_sizes
        What of them the network itself says: by that the way of a convolution is chosen.
    plan_sizes
        What the run knew of the sizes of maps, as a memory plan takes it.
    """

    graph: Graph | None
    alternatives: bool
    map_sizes: Mapping[str, tuple[int, ...]]
    stated_sizes: Mapping[str, tuple[int, ...]]
    plan_sizes: Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Images:
    """A layer's images with what they ask of the memories, their form, and a name for both beside the machine."""

    encoded: EncodedLayer
    demand: Demand
    form: Form
    token: str


class Bench:
    """Runs forms of a network on machines; counts only, no number is computed.

    Parameters
    ----------
    batch
        Samples for which a layer that is streamed is loaded once.
    cell
        CACTI cell by which SRAMs are priced.
    """

    def __init__(self, forms: Forms, whole: Whole, *, batch: int = 1, cell: Cell = "itrs-lop") -> None:
        self.forms, self.whole = forms, whole
        self._batch, self._cell = batch, cell
        self._cache = Cache()
        self._costs: dict[Hashable, Cost | None] = {}
        self._scale: NDArray[np.float64] | float = 1.0

    def screening(self, base: Setting, samples: int, window: int | None = None) -> Bench:
        """Return a bench that runs the first samples only, of large fully connected layers a window.

        Each layer weighs in it what it weighs here in a setting that runs.
        """
        few = Bench(self.forms.heads(samples, window), self.whole, batch=self._batch, cell=self._cell)
        # Images do not depend on the inputs.
        few._cache = self._cache
        whole, part = self.cost(base), few._run(base)
        assert whole is not None, "what has just been run can be run"
        few._scale = np.stack([whole.latency_us / part.latency_us, whole.energy_nj / part.energy_nj])
        return few

    def cost(self, setting: Setting) -> Cost | None:
        """Return what a setting costs; None where it cannot be, as where a half of the buffer holds no column."""
        key = setting.key
        if key not in self._costs:
            try:
                self._costs[key] = self._run(setting)
            except EieError:
                self._costs[key] = None
        return self._costs[key]

    def _run(self, setting: Setting) -> Cost:
        spec = setting.spec
        mm2 = _or_nan(lambda: area(spec, self._cell).total_mm2)
        layers = [self._images(name, setting) for name in self.forms.names]
        plan = self._plan([images.demand for images in layers], spec)
        latency, energy = np.zeros((2, len(layers)))
        for place, images in enumerate(layers):
            encoded = images.encoded
            load = Known(
                model=encoded.name,
                trace="recorded",
                # A program of one layer, on the machine of this setting.
                network=Program(name=encoded.name, spec=spec, layers=(encoded,), sequential=True),
                given=Given(layers=images.form.uses),
                token=images.token,
            )
            activity = self._activity(load, spec, plan, images.form)
            latency[place] = activity.total_cycles.mean() / spec.clock_mhz
            energy[place] = self._nj(activity, spec)
        latency, energy = np.stack([latency, energy]) * self._scale
        return Cost(
            latency_us=latency,
            energy_nj=energy,
            area_mm2=mm2,
            fits=plan.fits,
            timing_met=timing_met(spec, self._cell),
        )

    def _activity(self, load: Known, spec: AcceleratorSpec, plan: MemoryPlan, form: Form) -> Activity:
        """Count a layer; one of which there is a window, as of the whole."""
        layer, cut = load.model, form.cut_from
        placed = plan if cut is None else plan_for_window(plan, layer)
        stages = Stages(load, self._cache, How(batch=self._batch, threads=1), plan=placed)
        activity = stages.whole_activity(0, spec)
        if cut is None:
            return activity
        return activity_of_whole(
            activity,
            cut.columns / form.layer.matrix.shape[1],
            spec,
            maps=plan.maps.of_uses(layer, list(form.uses)),
            place=plan.by_name[layer],
            # With the first sample of a batch, for each use anew.
            loads=(np.arange(activity.samples) % self._batch == 0) * len(form.uses),
        )

    def _nj(self, activity: Activity, spec: AcceleratorSpec) -> float:
        return _or_nan(lambda: float(estimate(activity=activity, spec=spec, cell=self._cell).nj.mean()))

    def _images(self, name: str, setting: Setting) -> _Images:
        n_pe, pruning = setting.spec.n_pe, setting.pruned.get(name)
        form = self.forms.form(name, n_pe=n_pe, permuted=setting.permuted, pruning=pruning)
        # What was recorded of no whole map has no strips, whichever way was asked for.
        whole = set(form.uses) <= set(self.whole.map_sizes)
        conv: Conv = setting.conv if whole else "im2col"
        # Rows that move, and PEs that hold alike, are so for one number of PEs, which the images' key has too.
        cut = name in self.forms.cut
        moved = f"{name} {setting.permuted} {pruning} {conv} {self.forms.window if cut else None}"
        size = self.whole.stated_sizes.get(name, ()) if conv == "auto" else ()

        def encode() -> tuple[EncodedLayer, Demand]:
            encoded = encode_conv(form.layer, form.report, setting.spec, conv=conv, size=size)
            demand = Demand.of(encoded)
            return encoded, demand_of_whole(demand, form, pruning) if cut else demand

        encoded, demand = self._cache.get(("images", moved, encoding_key(setting.spec)), encode)
        return _Images(encoded=encoded, demand=demand, form=form, token=f"{moved} {self.forms.samples}")

    def _plan(self, demands: list[Demand], spec: AcceleratorSpec) -> MemoryPlan:
        sizes = dict(self.whole.plan_sizes)
        # As a run takes them: a plan asks for maps only where a layer cuts strips of them.
        if "products" in sizes:
            sizes.pop("sizes", None)
            sizes |= {"sizes": self.whole.map_sizes} if any(demand.scatter for demand in demands) else {}
        return plan_of(
            demands=demands,
            spec=spec,
            batch=self._batch,
            graph=self.whole.graph,
            alternatives=self.whole.alternatives,
            **sizes,
        )


def changed(setting: Setting, spec: Mapping[str, Any]) -> Setting:
    """Return a setting with some fields of the machine changed.

    Raises
    ------
    SpecError
        If there is no such machine.
    """
    return replace(setting, spec=setting.spec.replace(**spec)) if spec else setting


def _or_nan(priced: Callable[[], float]) -> float:
    try:
        return priced()
    except EnergyError:
        return math.nan
