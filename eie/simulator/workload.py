"""A model on its inputs: what is simulated, on whatever machine.

Comes in: a network, a layer or a path, or a compiled program, and activations. Goes out: a frozen `Workload` with a
content hash. Read by `stages`, and by whoever asks them: the verb, sweeps, the paper's bench, a search's prices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from eie.compiler.choice import Conv, sizes_of
from eie.compiler.encoded import EncodedLayer
from eie.compiler.lifetimes import layer_sizes
from eie.compiler.program import Program
from eie.compiler.scatter import unrolled
from eie.compression.bias import BiasPlace
from eie.importers.entrance import Model, as_network
from eie.model.dataflow import dataflow
from eie.model.fitting import Layout
from eie.model.geometry import Scatter, describe
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns
from eie.model.network import Network
from eie.model.trace import Trace
from eie.model.uses import by_layer, layer_of
from eie.show.listing import first_few
from eie.simulator.inputs import Given, Inputs, given_inputs
from eie.spec import AcceleratorSpec

# Enough names to find the place; a network may have hundreds.
LISTED = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Workload:
    """A model on its inputs.

    Attributes
    ----------
    model, trace
        Labels, unique as a pair within a sweep.
    network
        With its weights, to be encoded for any machine, or compiled for one.
    given
        Recorded inputs of every layer, or the network's own inputs: then the layers feed each other.
    bias
        Where sharing puts float biases; a program's have their place.
    conv
        How convolutions run, as of `eie.compile`; a program's have their way.
    incomplete
        Why the layers do not add up to the network, in words; empty if they do.
    unmodelled
        Layers of the model that are not run, in words.
    """

    model: str
    trace: str
    network: Network | Program
    given: Given
    bias: BiasPlace = "auto"
    conv: Conv = "auto"
    incomplete: tuple[str, ...] = ()
    unmodelled: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: Model | Program,
        inputs: Inputs = None,
        *,
        layout: Layout | None = None,
        bias: BiasPlace = "auto",
        conv: Conv = "auto",
    ) -> Workload:
        """Read the model if it is a path, and check that the inputs, arrays in ``layout``, fit it.

        Raises
        ------
        ModelError, TraceError
            If they cannot be used.
        """
        # Inputs are checked here, once: the stages ask for them layer by layer on every machine of a sweep.
        network = model if isinstance(model, Program) else as_network(model, examples=inputs, layout=layout)
        # A program keeps its graph; making it anew took a tenth of the call on a small layer.
        graph = network.dataflow if isinstance(network, Program) else dataflow(network)
        given = given_inputs(
            layers=network.layers, dataflow=graph, activations=inputs, own=network.trace, layout=layout
        )
        trace = network.trace if inputs is None else inputs
        counted = isinstance(trace, Trace)
        # What the recording saw and has no rows of; where the network runs itself, it knows better.
        missing = trace.unmodelled if isinstance(trace, Trace) and given.layers else ()
        unmodelled = tuple(dict.fromkeys((*network.unmodelled, *missing)))
        # Following every tensor to its end took a sixth of the call on a small layer, which has no map to be cut.
        if isinstance(network, Program) and any(layer.scatter for layer in network.layers):
            network = _on_rows(network, _map_sizes(network, given), given)
        return cls(
            model=network.name,
            trace=given.source,
            network=network,
            given=given,
            bias=bias,
            conv=conv,
            incomplete=_incomplete(network, given, unmodelled, counted=counted),
            unmodelled=unmodelled,
        )

    @classmethod
    def of_encoded(cls, layer: EncodedLayer, inputs: Mapping[str, LayerTrace], spec: AcceleratorSpec) -> Workload:
        """Wrap one encoded layer with the inputs of its uses, by their names."""
        # A program of one layer, so that a bare layer takes the same way through the stages as a network.
        program = Program(name=layer.name, spec=spec, layers=(layer,), sequential=True)
        return cls(model=layer.name, trace="arrays", network=program, given=Given(layers=inputs))

    @property
    def layers(self) -> Sequence[Layer] | Sequence[EncodedLayer]:
        """In order."""
        return self.network.layers

    @cached_property
    def uses(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the uses of each layer, in order; a layer that runs once has one, of its own name."""
        names = [layer.name for layer in self.layers]
        if not self.given.layers:
            network = self.network
            graph = network.dataflow if isinstance(network, Program) else dataflow(network)
            assert graph is not None
            return graph.uses_by_layer
        # All that was recorded is of a layer: `given_inputs` refuses other names.
        return by_layer({use: layer_of(use, names) or use for use in self.given.layers})

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over weights, structure, inputs and the place of biases; not over the labels."""
        if isinstance(self.network, Program):
            # The program's own hash covers its images and their structure; the inputs alone are to be added.
            sizes = f" {sorted(self.map_sizes.items())}" if self._scatters else ""
            return hashlib.sha256(f"{self.network.content_hash} {self.given.sha256}{sizes}".encode()).hexdigest()
        words = _content_hash(self.network, self.given, bias=self.bias, incomplete=self.incomplete)
        # As of 0.1 where every product is a row of inputs.
        if not self._scatters:
            return words
        return hashlib.sha256(f"{words} {self.conv} {sorted(self.map_sizes.items())}".encode()).hexdigest()

    @cached_property
    def stated_sizes(self) -> Mapping[str, tuple[int, ...]]:
        """What of them the way of a convolution is chosen by: what the network says, else what a first use reads."""
        if isinstance(self.network, Program):
            return {}
        read = {name: self.map_sizes[uses[0]] for name, uses in self.uses.items() if uses[0] in self.map_sizes}
        return {**read, **sizes_of(self.network)}

    @cached_property
    def _scatters(self) -> bool:
        """Whether a layer is, or may be, run in another way than a product a row of inputs."""
        if isinstance(self.network, Program):
            return any(layer.scatter for layer in self.network.layers)
        return self.conv != "im2col" and any(Scatter.of(layer.geometry) for layer in self.network.layers)

    @cached_property
    def map_sizes(self) -> Mapping[str, tuple[int, ...]]:
        """Height and width of the map that each use of a layer reads, where the graph or the inputs tell them."""
        return _map_sizes(self.network, self.given)

    @property
    def sizes(self) -> dict[str, Any]:
        """What the inputs say of the sizes of maps, as a memory plan takes it."""
        if self.given.layers:
            products = {name: rows.products for name, rows in self.given.layers.items()}
            return {"products": products, "sizes": self.map_sizes} if self._scatters else {"products": products}
        network = self.network
        graph = network.dataflow if isinstance(network, Program) else dataflow(network)
        assert graph is not None
        # Nothing where the graph says it all: the plan that a program keeps is then found without looking further.
        left_open = [name for name, shape in graph.inputs if -1 in shape]
        shapes = {name: np.shape(self.given.arrays[name][:1])[1:] for name in left_open}
        return {"shapes": shapes} if shapes else {}

    def refrozen(self) -> Workload:
        """Return it with read-only arrays again, for which kernels are compiled; pickling loses the flag."""
        if isinstance(self.network, Program):
            return self
        # numba compiles for read-only and writable arrays apart: without this, workers would compile kernels again.
        layers = tuple(replace(layer, matrix=_refrozen(layer.matrix)) for layer in self.network.layers)
        return replace(self, network=replace(self.network, layers=layers))


def open_sizes(network: Network, inputs: Inputs, layout: Layout | None = None) -> Mapping[str, tuple[int, ...]]:
    """Return height and width of the maps that convolutions read of ``inputs``, where the network leaves them open.

    As `Workload.stated_sizes` has them, for whoever compiles before there is a workload.

    Raises
    ------
    TraceError
        If the inputs do not fit.
    """
    convolutions = {layer.name for layer in network.layers if Scatter.of(layer.geometry) is not None}
    if not convolutions or convolutions <= set(sizes_of(network)):
        # The usual case, and inputs are not looked at twice.
        return {}
    return Workload.of(network, inputs, layout=layout).stated_sizes


def _map_sizes(network: Network | Program, given: Given) -> Mapping[str, tuple[int, ...]]:
    shapes = {name: np.shape(array[:1])[1:] for name, array in given.arrays.items()}
    sizes = layer_sizes(network, shapes)
    if not given.layers:
        return sizes
    geometries = {layer.name: layer.geometry for layer in network.layers}
    known = {use: rows.size or sizes.get(use, ()) for use, rows in given.layers.items()}
    # One window may stand for all of a map: then there is no map to cut strips of.
    return {
        use: size
        for use, size in known.items()
        if size and geometries[str(layer_of(use, geometries))].products(*size) == given.layers[use].products
    }


def _on_rows(program: Program, sizes: Mapping[str, tuple[int, ...]], given: Given) -> Program:
    """Run those layers by im2col whose recorded rows are not those of a whole map."""
    names = {layer.name for layer in program.layers}
    # One way for all uses of a layer: its images are there once.
    unknown = {layer_of(use, names) for use in given.layers if use not in sizes}
    without = [layer.name for layer in program.layers if layer.scatter and layer.name in unknown]
    if not without:
        return program
    layers = tuple(unrolled(layer, program.spec) if layer.name in without else layer for layer in program.layers)
    note = f"the recorded inputs are of no whole map, so run by im2col: {first_few(without, LISTED)}"
    return replace(program, layers=layers, notes=(*program.notes, note))


def _refrozen(matrix: SparseColumns) -> SparseColumns:
    return SparseColumns.of(shape=matrix.shape, starts=matrix.starts, rows=matrix.rows, data=matrix.data)


def _incomplete(
    network: Network | Program, given: Given, unmodelled: Sequence[str], *, counted: bool
) -> tuple[str, ...]:
    """Say why the layers do not add up to the network: a total of one window and a whole layer is of unlike things.

    ``counted``: inputs come from a trace, which counts the products of a sample.
    """
    reasons = []
    windows = [
        layer.name
        for layer in network.layers
        # A vector is one product; a map or a sequence is as many as only a trace or a run of the network knows.
        if not (counted or layer.geometry.takes_vectors)
        and layer.name in given.layers
        and given.layers[layer.name].products == 1
    ]
    # Of a layer on its own there is nothing that it could be unlike.
    if windows and len(network.layers) > 1:
        reasons.append(f"products a sample are not known (one was run; a trace has them): {first_few(windows, LISTED)}")
    if unmodelled:
        reasons.append(f"not modelled: {first_few(unmodelled, LISTED)}")
    return tuple(reasons)


def _content_hash(network: Network, given: Given, *, bias: BiasPlace, incomplete: Sequence[str]) -> str:
    # Labels as "synthetic" go in, since rows state them in their notes; so does what keeps totals out of them.
    digest = hashlib.sha256(f"{network.sequential} {given.synthetic} {bias}".encode())

    def add(label: object, *arrays: Any) -> None:
        # Zeros on both sides: no label can run into its neighbour's bytes and pass for another.
        digest.update(f"\0{label}\0".encode())
        for array in arrays:
            if array is not None:
                # Bytes alone are not enough: the same ones are other numbers in another type or shape.
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)

    for layer in network.layers:
        matrix = layer.matrix
        # `bias is None` is told apart, for arrays that are None leave no trace in the sum.
        label = (layer.name, matrix.shape, layer.relu, layer.synthetic, layer.bias is None, describe(layer.geometry))
        arrays = (matrix.starts, matrix.rows, matrix.data, layer.codebook, layer.bias, layer.bias_codes)
        add(label, *arrays)
    if network.alternatives or incomplete:
        add((network.alternatives, *incomplete))
    if network.graph is not None:
        add(network.graph.describe(), *network.graph.constants.values())
    for name, inputs in given.layers.items():
        add((name, inputs.sha256))
    for name, array in given.loaded().items():
        add(name, array)
    return digest.hexdigest()
