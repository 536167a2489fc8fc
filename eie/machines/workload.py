"""What a baseline is asked to run: each layer as matrix products, whatever its kind.

Comes in: a network (or a program's layers) and its trace, or a result's rows. Goes out: a frozen `Workload`. Read by
every baseline. A convolution is one product of (outputs x inputs) with as many vectors as it has output pixels; an LSTM
is a chain of steps, one vector each; a grouped convolution is one such product a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from eie.errors import TraceError
from eie.machines.rows import ResultRow
from eie.model.geometry import Geometry, kind_of_record
from eie.model.matrix import SparseColumns
from eie.model.network import Network
from eie.model.recorded import recorded_of, recorded_uses
from eie.model.trace import Trace
from eie.show.brief import Brief


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LayerWork(Brief):
    """One layer, one sample.

    Attributes
    ----------
    outputs, inputs
        Of one product of one group.
    products
        Vectors that share the weights and may run together: a convolution's output pixels.
    steps
        Products that must follow each other: an LSTM's time steps.
    groups
        Independent products side by side.
    blocks
        Of the groups those that take turns, each over all PEs: 16 of a Winograd tile.
    kept_weights
        Non-zeros over all groups.
    fresh_inputs
        Of a product's inputs those that no product before it has read: fewer than ``inputs`` where a convolution's
        windows overlap, so that a machine with a memory on the chip fetches them once. None if that is not known.
    activation_density
        Non-zero inputs over all inputs, or None without a trace.
    matrix
        The weights' pattern and values where they are at hand, as the layer holds them or put away; `columns` reads it.
    geometry
        The layer's kind with its sizes, where it is known, for who runs it as a framework does.
    alone
        It is no part of a network: it has the machine to itself.
    map_dram_bits, map_bus_cycles
        What of its maps EIE's activation SRAMs do not hold, and for how long that keeps the bus busy: any machine with
        the same memories moves it too.
    uses
        How often the weights are taken up in a sample: uses that are alike are steps too, since the second may need
        what the first makes; of others no machine is held to the order.
    """

    name: str
    outputs: int
    inputs: int
    products: int = 1
    steps: int = 1
    groups: int = 1
    blocks: int = 1
    kept_weights: int = 0
    fresh_inputs: int | None = None
    activation_density: float | None = None
    has_bias: bool = False
    matrix: SparseColumns | None = None
    geometry: Geometry | None = None
    alone: bool = False
    map_dram_bits: int = 0
    map_bus_cycles: int = 0
    uses: int = 1

    @property
    def columns(self) -> SparseColumns | None:
        """The weights as the layer holds them; None where they are not at hand."""
        # A record of its own: a list of rows that is asked for goes with it, and those of all forms would stay.
        return None if self.matrix is None else replace(self.matrix)

    @property
    def weights(self) -> int:
        """Weights before pruning."""
        return self.outputs * self.inputs * self.groups

    @property
    def macs(self) -> int:
        """Multiplications of the dense layer."""
        return self.weights * self.products * self.steps

    @property
    def kept_macs(self) -> int:
        """Multiplications with a weight that is not zero."""
        return self.kept_weights * self.products * self.steps

    @property
    def weight_density(self) -> float:
        """Non-zeros over all weights."""
        return self.kept_weights / self.weights

    @property
    def fetched_inputs(self) -> int:
        """Inputs of a product that have to be fetched, windows overlapping where that is known."""
        return self.inputs if self.fresh_inputs is None else self.fresh_inputs

    @property
    def input_values(self) -> int:
        """Inputs of all products (a convolution's windows overlap; each counts)."""
        return self.inputs * self.groups * self.products * self.steps

    @property
    def output_values(self) -> int:
        """Outputs of all products."""
        return self.outputs * self.groups * self.products * self.steps

    @property
    def shape(self) -> tuple[int, int, int]:
        """(outputs, inputs, products) over all groups and steps, as results and reports give it."""
        return self.outputs * self.groups, self.inputs * self.groups, self.products * self.steps


@dataclass(frozen=True, eq=False, repr=False)
class Workload(Brief):
    """Layers to be run, in order; on EIE ``batch`` samples run together (other machines are told theirs by name)."""

    name: str
    layers: tuple[LayerWork, ...]
    batch: int = 1

    def put_away(self) -> Workload:
        """Return the same with matrices in as little memory as they take, for machines that run later."""
        layers = (
            layer if layer.matrix is None else replace(layer, matrix=layer.matrix.put_away()) for layer in self.layers
        )
        return replace(self, layers=tuple(layers))

    @classmethod
    def of_network(cls, network: Network, trace: Trace | None = None) -> Workload:
        """Describe a network; a convolution or LSTM needs a trace that says how many products a sample has.

        Raises
        ------
        TraceError
            If a convolution or LSTM is not in the trace.
        """
        trace = trace or network.trace
        names = {layer.name for layer in network.layers}
        listed = []
        for layer in network.layers:
            inputs = None if trace is None else recorded_of(trace, layer.name, names)
            if inputs is None and not layer.geometry.takes_vectors:
                raise TraceError(
                    f"layer {layer.name!r}: the trace does not hold it, so its products a sample are not known: record "
                    "its inputs, or compare a simulated result"
                )
            # What was recorded knows how often it ran, else the graph.
            graphed = {} if network.graph is None else network.graph.uses_by_layer
            uses = len(recorded_uses(trace, layer.name, names) if trace and inputs else graphed.get(layer.name, "1"))
            products = uses if inputs is None else inputs.products
            listed.append(
                layer_work(
                    layer=layer,
                    products=products,
                    kept_weights=layer.matrix.nnz,
                    activation_density=None if inputs is None else inputs.density,
                    matrix=layer.matrix,
                    alone=network.alternatives,
                    uses=uses,
                )
            )
        return cls(network.name, tuple(listed))


class Shaped(Protocol):
    """A layer, compiled or not."""

    @property
    def name(self) -> str: ...
    @property
    def outputs(self) -> int: ...
    @property
    def inputs(self) -> int: ...
    @property
    def has_bias(self) -> bool: ...
    @property
    def geometry(self) -> Geometry: ...


class MapTraffic(Protocol):
    """What of a layer's maps goes over the bus, a sample."""

    @property
    def dram_bits(self) -> int: ...
    @property
    def bus_cycles(self) -> int: ...


def layer_work(
    layer: Shaped,
    products: int,
    kept_weights: int,
    activation_density: float | None = None,
    matrix: SparseColumns | None = None,
    moved: MapTraffic | None = None,
    *,
    alone: bool = False,
    uses: int = 1,
) -> LayerWork:
    """Describe one layer that runs ``products`` rows of inputs a sample, over all its ``uses``.

    Parameters
    ----------
    moved
        What of its maps goes over the bus.
    alone
        It has the machine to itself.
    """
    groups = layer.geometry.diagonal_blocks
    products, steps = _in_turn(*layer.geometry.products_and_steps(products), uses)
    return LayerWork(
        name=layer.name,
        outputs=layer.outputs // groups,
        inputs=layer.inputs // groups,
        products=products,
        steps=steps,
        groups=groups,
        blocks=layer.geometry.products_per_row,
        kept_weights=kept_weights,
        fresh_inputs=layer.geometry.fresh_inputs,
        activation_density=activation_density,
        has_bias=layer.has_bias,
        matrix=matrix,
        geometry=layer.geometry,
        alone=alone,
        map_dram_bits=0 if moved is None else moved.dram_bits,
        map_bus_cycles=0 if moved is None else moved.bus_cycles,
        uses=uses,
    )


def _in_turn(products: int, steps: int, uses: int) -> tuple[int, int]:
    """Put uses that are alike one behind the other; others are taken together, which favours whoever runs them."""
    return (products // uses, steps * uses) if products % uses == 0 else (products, steps)


def work_of_rows(name: str, rows: Sequence[ResultRow], *, alternatives: bool = False, batch: int = 1) -> Workload:
    """Describe the layers of a result; groups and an LSTM's steps are told by ``kind`` and ``groups``."""
    return Workload(name, tuple(_of_row(row, alone=alternatives) for row in rows), batch)


def _of_row(row: ResultRow, *, alone: bool) -> LayerWork:
    kind = kind_of_record(row.kind)
    # A record counts the products of a row one by one, a workload has them side by side as groups.
    products = row.products // row.groups if kind.products_per_row > 1 else row.products
    products, steps = _in_turn(*kind.products_and_steps(products), row.uses)
    outputs, inputs = row.outputs // row.groups, row.inputs // row.groups
    return LayerWork(
        name=row.layer,
        outputs=outputs,
        inputs=inputs,
        products=products,
        steps=steps,
        groups=row.groups,
        blocks=kind.products_per_row,
        kept_weights=round(row.weight_density * outputs * row.inputs),
        fresh_inputs=row.fresh_inputs,
        activation_density=row.activation_density,
        has_bias=row.bias,
        alone=alone,
        map_dram_bits=row.map_dram_bits,
        map_bus_cycles=row.map_bus_cycles,
        uses=row.uses,
    )
