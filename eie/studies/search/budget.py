"""What a pruned network costs on one machine, fast enough to be asked a thousand times, and how much it may cost.

Comes in: a `Network` whose layers' inputs are recorded, a machine, a budget in words. Goes out: a `Price` that knows
the cost of every pruned form of that network. Read by `search`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from eie.compiler.demand import Demand
from eie.compiler.encoded import EncodedLayer
from eie.compiler.memory import plan_of
from eie.compiler.places import MemoryPlan
from eie.compression.share import share
from eie.energy.estimate import estimate
from eie.errors import WordError
from eie.formats.shares import share_of
from eie.machines.choose import choose, depends_on_the_network
from eie.machines.records import LayerCost
from eie.machines.workload import Workload as MachineWorkload
from eie.machines.workload import layer_work
from eie.model.dataflow import dataflow
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.network import Network
from eie.model.recorded import recorded_of, recorded_uses
from eie.model.trace import Trace
from eie.simulator.cache import Cache
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec
from eie.studies.machines import EIE

Quantity = Literal["latency_us", "energy_nj"]
_UNITS: Mapping[Quantity, Mapping[str, float]] = {
    "latency_us": {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6},
    "energy_nj": {"pj": 1e-3, "nj": 1.0, "uj": 1e3, "mj": 1e6, "j": 1e9},
}


def unit(quantity: Quantity) -> str:
    """``us`` or ``nJ``."""
    return {"latency_us": "us", "energy_nj": "nJ"}[quantity]


@dataclass(frozen=True)
class Budget:
    """How much a network may cost a sample.

    Attributes
    ----------
    share
        Of what the unpruned network costs, or None where ``amount`` is absolute.
    amount
        Microseconds or nanojoules.
    """

    quantity: Quantity
    share: float | None = None
    amount: float | None = None

    @classmethod
    def parse(cls, quantity: Quantity, text: str) -> Budget:
        """Read ``0.5x`` or ``50%``, or ``120us`` and ``1.5ms``, or ``300nJ``.

        Raises
        ------
        WordError
            If it is none of these, or not positive; a share must be below 1.
        """
        words = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([a-zA-Z]+|%)", text.strip())
        unit = "" if words is None else words[2].lower()
        value = 0.0 if words is None else float(words[1])
        if unit in ("x", "%") and 0 < share_of(text.lower()) < 1:
            return cls(quantity, share=share_of(text.lower()))
        if unit in _UNITS[quantity] and value > 0:
            return cls(quantity, amount=value * _UNITS[quantity][unit])
        units = ", ".join(_UNITS[quantity])
        raise WordError(
            f"budget {text!r}: must be a share of the unpruned network's, as 0.5x or 50% (below 1x), or in {units}"
        )

    def limit(self, unpruned: float) -> float:
        """Return the budget in microseconds or nanojoules."""
        return unpruned * self.share if self.share is not None else self.amount or 0.0


class Price:
    """The cost of pruned forms of one network on one machine, layer by layer on the inputs recorded for it.

    On EIE the memories are planned for every form as a whole, and every layer is simulated on what the unpruned
    network's layer read (columns that pruning took away are gone); weights are not clustered, since only their pattern
    counts (a small bias that clustering would make zero counts as an entry here), and a bias is a column where sharing
    the unpruned layer makes it one. A layer that was priced before is not simulated again.

    Raises
    ------
    WordError
        For a machine that is measured or imported, or states no energy where energy is asked for.
    """

    def __init__(self, network: Network, machine: str, quantity: Quantity, spec: AcceleratorSpec) -> None:
        if machine != EIE and (machine.startswith("measured") or not depends_on_the_network(machine)):
            raise WordError(f"machine {machine}: a search needs a modelled machine: eie, dense, systolic, nm, roofline")
        assert network.trace is not None
        self._machine, self._quantity, self._spec = machine, quantity, spec
        # Only prices and demands are kept, little a form: its images are made anew if it is placed otherwise.
        self._prices = Cache()
        # Once a layer, on its unpruned weights: clustering every form would take longer than pricing it.
        self._columns = {
            layer.name: machine in (EIE, "dense") and share(layer, spec.weight_bits)[0].bias_codes is not None
            for layer in network.layers
        }
        self._demands: dict[str, Demand] = {}
        self.by_layer(network)

    def total(self, network: Network) -> float:
        """Cost of all layers a sample."""
        return sum(self.by_layer(network).values())

    def by_layer(self, network: Network) -> dict[str, float]:
        """Cost of each layer a sample."""
        if self._machine == "dense":
            return self._dense(network)
        recorded = _recorded(network)
        if self._machine != EIE:
            return {layer.name: self._other(layer, recorded[layer.name]) for layer in network.layers}
        alone = [self._alone(layer, recorded[layer.name]) for layer in network.layers]
        encoded: dict[str, EncodedLayer] = {}
        plan = self.plan(network, alone, encoded)
        prices = {}
        for layer, workload in zip(network.layers, alone, strict=True):
            place = plan.by_name[layer.name]
            # A layer costs the same wherever it stays, and whatever the others are.
            moved = tuple(plan.maps.of(use) for use in recorded[layer.name])
            key = workload.content_hash, place.place, place.turn, moved

            def price(layer: Layer = layer, workload: Workload = workload) -> float:
                made = encoded.get(layer.name)
                if made is None:
                    made = Stages(workload).encoded(0, self._spec)
                return self._simulated(made, workload.given.layers, plan)

            prices[layer.name] = self._prices.get(key, price)
        return prices

    def plan(
        self, network: Network, alone: Sequence[Workload] = (), encoded: dict[str, EncodedLayer] | None = None
    ) -> MemoryPlan:
        """Plan the memories of a form of the network.

        Parameters
        ----------
        alone
            Its layers with their inputs, where the caller has them already.
        encoded
            Filled with the images that had to be made.
        """
        assert network.trace is not None
        recorded = _recorded(network)
        demands = []
        for workload in alone or [self._alone(layer, recorded[layer.name]) for layer in network.layers]:
            key = workload.content_hash
            if key not in self._demands:
                made = Stages(workload).encoded(0, self._spec)
                self._demands[key] = Demand.of(made)
                if encoded is not None:
                    encoded[made.name] = made
            demands.append(self._demands[key])
        return plan_of(
            demands,
            self._spec,
            graph=dataflow(network),
            alternatives=network.alternatives,
            products={name: rows.products for name, rows in network.trace.layers.items()},
        )

    def _alone(self, layer: Layer, uses: Mapping[str, LayerTrace]) -> Workload:
        pattern = pattern_only(layer, column=self._columns[layer.name])
        return Workload.of(pattern, Trace(layers={use: inputs.without_values() for use, inputs in uses.items()}))

    def _dense(self, network: Network) -> dict[str, float]:
        """Price the layers together: whether the weights of one stay on the chip depends on the others."""
        recorded = _recorded(network)
        works = tuple(
            replace(
                layer_work(
                    layer=layer,
                    products=sum(inputs.products for inputs in recorded[layer.name].values()),
                    kept_weights=layer.matrix.nnz,
                    alone=network.alternatives,
                    uses=len(recorded[layer.name]),
                ),
                # Where EIE stores a column for it, as in `eie run` and `compare`: both set their accumulators alike.
                has_bias=self._columns[layer.name],
            )
            for layer in network.layers
        )
        costs = choose(self._machine, MachineWorkload(network.name, works), self._spec).layers
        return {cost.layer: self._figure(cost) for cost in costs}

    def _figure(self, cost: LayerCost | None) -> float:
        figure = None if cost is None else getattr(cost, self._quantity)
        if figure is None:
            what = self._quantity.partition("_")[0]
            raise WordError(f"machine {self._machine}: states no {what}: choose another machine or budget")
        return float(figure)

    def _other(self, layer: Layer, uses: Mapping[str, LayerTrace]) -> float:
        return self._prices.get(self._alone(layer, uses).content_hash, lambda: self._modelled(layer, uses))

    def _simulated(self, encoded: EncodedLayer, uses: Mapping[str, LayerTrace], plan: MemoryPlan) -> float:
        workload = Workload.of_encoded(encoded, uses, self._spec)
        activity = Stages(workload, plan=plan).whole_activity(0, self._spec)
        if self._quantity == "latency_us":
            return float((activity.total_cycles / self._spec.clock_mhz).mean())
        return float(estimate(activity=activity, spec=self._spec).nj.mean())

    def _modelled(self, layer: Layer, uses: Mapping[str, LayerTrace]) -> float:
        inputs = recorded_of(Trace(layers=uses), layer.name, (layer.name,))
        assert inputs is not None
        work = layer_work(
            layer=layer,
            products=inputs.products,
            kept_weights=layer.matrix.nnz,
            activation_density=inputs.density,
            matrix=layer.matrix,
            uses=len(uses),
        )
        costs = choose(self._machine, MachineWorkload(layer.name, (work,)), self._spec).layers
        return self._figure(costs[0] if len(costs) == 1 else None)


def _recorded(network: Network) -> dict[str, dict[str, LayerTrace]]:
    """Return what each use of each layer read."""
    assert network.trace is not None
    names = {layer.name for layer in network.layers}
    return {name: recorded_uses(network.trace, name, names) for name in names}


def pattern_only(layer: Layer, *, column: bool = True) -> Layer:
    """Return a layer with the same zeros whose other weights are all alike: enough for time and energy.

    Parameters
    ----------
    column
        Whether a bias is a column; else the accumulators start from it.
    """
    ones = layer.matrix.with_data(np.ones(layer.matrix.nnz, np.uint8))
    biases = layer.bias if layer.bias_codes is None else layer.bias_codes
    pattern = None if biases is None or not column else (biases != 0).astype(np.uint8)
    # Their values cost nothing, but each is written, zeros too.
    started = None if biases is None or column else np.zeros(len(biases), np.float32)
    return replace(layer, matrix=ones, codebook=np.array([0, 1], np.float32), bias=started, bias_codes=pattern)
