"""What a network costs in a setting: a machine, a way of convolutions, forms of the layers.

Comes in: `Forms`, and settings. Goes out: frozen `Cost` records, by layer. Read by `advise`. What two settings have in
common, images, reads, cycles, is made once: `eie.simulator.stages` knows which field costs which stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.choice import Conv, chosen, encode_conv
from eie.compiler.demand import Demand
from eie.compiler.encoded import EncodedLayer
from eie.compiler.memory import plan_of
from eie.compiler.places import MemoryPlan
from eie.compiler.program import Program
from eie.compiler.scatter import applies
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
from eie.spec import AcceleratorSpec, fields_of
from eie.studies.explain.band import activity_of_all, plan_for_band
from eie.studies.explain.forms import Form, Forms, Pruning
from eie.studies.explain.grown import activity_of_whole, demand_of_whole, plan_for_window
from eie.studies.explain.told import demand_told


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
        # (2, layers): what latency and energy weigh in the whole, over what they are here.
        self._scale = np.ones((2, len(forms.names)))
        self._own_scale: dict[str, NDArray[np.float64]] = {}
        self._from: tuple[Bench, Setting] | None = None
        self._plans: dict[Hashable, MemoryPlan] = {}
        # By form and machine: the fewest bits of an index with which nothing is padded, and those it was encoded with.
        self._unpadded: dict[Hashable, tuple[int, int]] = {}
        self._stands: Mapping[str, str] = {name: name for name in forms.names}

    @property
    def sampled(self) -> bool:
        """Whether some layers stand for others."""
        return len(set(self._stands.values())) < len(self._stands)

    def screening(
        self, base: Setting, samples: int, window: int | None, band: int | None, stands: Mapping[str, str]
    ) -> Bench:
        """Return a bench that runs the first samples only, of large layers a window or a band.

        Each layer weighs in it what it weighs here in a setting that runs; ``stands``: by layer the one that is run.
        """
        few = Bench(self.forms.heads(samples, window, band), self.whole, batch=self._batch, cell=self._cell)
        few._stands = stands
        # Images do not depend on the inputs.
        few._cache, few._unpadded = self._cache, self._unpadded
        whole, part = self.cost(base), few._run(base)
        assert whole is not None, "what has just been run can be run"
        few._from = self, base
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

    def ran(
        self, setting: Setting, layers: Sequence[EncodedLayer], activities: Sequence[Activity], *, plan: MemoryPlan
    ) -> None:
        """Keep what a run in a setting has made and counted, so that neither is done again."""
        for encoded in layers:
            key = ("images", *self._named(encoded.name, setting), encoding_key(setting.spec))
            self._cache.get(key, partial(_with_demand, encoded))
        clock = setting.spec.clock_mhz
        self._costs[setting.key] = self._cost(
            setting.spec,
            latency=np.array([activity.total_cycles.mean() / clock for activity in activities]),
            energy=np.array([self._nj(activity, setting.spec) for activity in activities]),
            plan=plan,
        )

    def _run(self, setting: Setting) -> Cost:
        names = self.forms.names
        # A layer that is changed on its own stands for itself.
        stands = [name if name in setting.pruned else self._stands[name] for name in names]
        costs, plan = self._costs_of(setting, dict.fromkeys(stands))
        scale = [self._alone(name) if name in setting.pruned else self._scale[:, i] for i, name in enumerate(names)]
        latency, energy = np.array([costs[name] for name in stands]).T * np.array(scale).T
        return self._cost(setting.spec, latency=latency, energy=energy, plan=plan)

    def _cost(
        self, spec: AcceleratorSpec, *, latency: NDArray[np.float64], energy: NDArray[np.float64], plan: MemoryPlan
    ) -> Cost:
        return Cost(
            latency_us=latency,
            energy_nj=energy,
            area_mm2=_or_nan(lambda: area(spec, self._cell).total_mm2),
            fits=plan.fits,
            timing_met=timing_met(spec, self._cell),
        )

    def _alone(self, name: str) -> NDArray[np.float64]:
        """(2,): what a layer weighs that stands for itself."""
        if name not in self._own_scale:
            self._own_scale[name] = np.ones(2)
            if self._from is not None:
                whole, base = self._from
                now, place = whole.cost(base), self.forms.names.index(name)
                assert now is not None
                part = self._costs_of(base, {name: None, **dict.fromkeys(self._stands.values())})[0][name]
                self._own_scale[name] = np.array([now.latency_us[place] / part[0], now.energy_nj[place] / part[1]])
        return self._own_scale[name]

    def _costs_of(self, setting: Setting, names: Iterable[str]) -> tuple[dict[str, tuple[float, float]], MemoryPlan]:
        """Run some layers; return (latency, energy) of each, and the plan of all."""
        spec = setting.spec
        run = {name: self._images(name, setting) for name in names}
        # A plan reads no depth of a queue, for one, and following all maps of a deep network takes a while.
        fields = tuple(getattr(spec, field) for field in fields_of("plan", spec))
        key = fields, setting.conv, setting.permuted, tuple(setting.pruned.items()), tuple(run)
        if key not in self._plans:
            self._plans[key] = self._plan([self._demand(name, run, spec) for name in self.forms.names], spec)
        plan = self._plans[key]
        costs = {}
        for name, images in run.items():
            encoded = images.encoded
            load = Known(
                model=encoded.name,
                trace="recorded",
                # A program of one layer, on the machine of this setting.
                network=Program(name=encoded.name, spec=spec, layers=(encoded,), sequential=True),
                given=Given(layers=images.form.uses),
                token=images.token,
            )
            activity = self._activity(load, spec, plan=plan, form=images.form)
            costs[name] = float(activity.total_cycles.mean() / spec.clock_mhz), self._nj(activity, spec)
        return costs, plan

    def _demand(self, name: str, run: Mapping[str, _Images], spec: AcceleratorSpec) -> Demand:
        """What a layer asks of the memories; of one that is not run, what the one that stands for it tells."""
        if name in run:
            return run[name].demand
        like = run[self._stands[name]]
        padded = like.demand.entries.sum() / max(1, int(self.forms.weights(like.form.layer.name).sum()))
        scattered = like.encoded.scatter is not None
        layer, weights = self.forms.layer(name), self.forms.weights(name)
        return demand_told(layer, weights, spec, scattered=scattered, padded=float(padded))

    def _activity(self, load: Known, spec: AcceleratorSpec, *, plan: MemoryPlan, form: Form) -> Activity:
        """Count a layer; one of which there is a window, as of the whole."""
        layer, cut = load.model, form.cut_from
        placed = plan if cut is None else plan_for_window(plan, layer)
        if form.grown > 1:
            placed = plan_for_band(plan)
        stages = Stages(load, self._cache, How(batch=self._batch, threads=1), plan=placed)
        activity = stages.whole_activity(0, spec)
        if form.grown > 1:
            maps = plan.maps.of_uses(layer, list(form.uses))
            strips = stages.encoded(0, spec).scatter is not None
            return activity_of_all(activity, form.grown, maps=maps, strips=strips)
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

    def _named(self, name: str, setting: Setting) -> tuple[str, Conv]:
        """Return a name of a layer's form, and the way it is run."""
        # What was recorded of no whole map has no strips, whichever way was asked for.
        whole = set(self.forms.uses(name)) <= set(self.whole.map_sizes)
        # Rows that move, and PEs that hold alike, are so for one number of PEs, which the images' key has too.
        window = self.forms.window if name in self.forms.cut else None
        return f"{name} {setting.permuted} {setting.pruned.get(name)} {window}", setting.conv if whole else "im2col"

    def _images(self, name: str, setting: Setting) -> _Images:
        n_pe, pruning = setting.spec.n_pe, setting.pruned.get(name)
        form = self.forms.form(name, n_pe=n_pe, permuted=setting.permuted, pruning=pruning)
        named, conv = self._named(name, setting)
        cut = name in self.forms.cut
        size = self.whole.stated_sizes.get(name, ()) if conv == "auto" else ()

        def encode() -> tuple[EncodedLayer, Demand]:
            encoded = chosen(
                applies(form.layer, setting.spec),
                setting.spec,
                conv=conv,
                size=size,
                encoded=lambda way: self._encoded(form, setting.spec, named, way=way),
            )
            demand = Demand.of(encoded)
            return encoded, demand_of_whole(demand, form, pruning) if cut else demand

        encoded, demand = self._cache.get(("images", named, conv, encoding_key(setting.spec)), encode)
        token = f"{named} {conv} {self.forms.samples} {name in self.forms.grown}"
        return _Images(encoded=encoded, demand=demand, form=form, token=token)

    def _encoded(
        self, form: Form, spec: AcceleratorSpec, name: str, *, way: Literal["im2col", "scatter"]
    ) -> EncodedLayer:
        """Encode a form one way, once for all settings that ask for it so.

        Images that pad nothing are the same for every index that holds their longest run; counting reads no other bit.
        """
        fields = tuple(getattr(spec, field) for field in fields_of("encoded", spec) if field != "index_bits")
        bits, place = spec.index_bits, (name, way, fields)
        least, known = self._unpadded.get(place, (bits + 1, bits))
        # A row of the SRAM has to hold an entry, of the wider index too.
        if least <= bits and spec.weight_bits + known <= spec.spmat_row_bits:
            bits = known
        stored = spec if bits == spec.index_bits else spec.replace(index_bits=bits)
        encoded = self._cache.get(("way", place, bits), lambda: encode_conv(form.layer, form.report, stored, conv=way))
        if place not in self._unpadded and not encoded.padding:
            longest = max(int(part.runs.max(initial=0)) for part in encoded.passes)
            self._unpadded[place] = longest.bit_length(), bits
        return encoded

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


def _with_demand(encoded: EncodedLayer) -> tuple[EncodedLayer, Demand]:
    return encoded, Demand.of(encoded)


def _or_nan(priced: Callable[[], float]) -> float:
    try:
        return priced()
    except EnergyError:
        return math.nan
