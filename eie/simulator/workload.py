"""A model on its inputs: what is simulated, on whatever machine.

Comes in: a network, a layer or a path, and activations. Goes out: a frozen `Workload` with a content hash. Read by
`stages` and by sweeps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eie.importers import load
from eie.model.geometry import describe
from eie.model.matrix import SparseColumns
from eie.model.network import Layer, Network, dataflow
from eie.simulator.inputs import Given, Inputs, given_inputs

Model = Network | Layer | str | Path


@dataclass(frozen=True, eq=False, kw_only=True)
class Workload:
    """A model on its inputs.

    Attributes
    ----------
    model, trace
        Labels, unique as a pair within a sweep.
    given
        Recorded inputs of every layer, or the network's own inputs: then the layers feed each other.
    content_hash
        SHA-256 over weights, structure and inputs; not over the labels.
    """

    model: str
    trace: str
    network: Network
    given: Given
    content_hash: str

    @classmethod
    def of(cls, model: Model, inputs: Inputs = None) -> Workload:
        """Read the model if it is a path, and check that the inputs fit it.

        Raises
        ------
        ModelError, TraceError
            If they cannot be used.
        """
        network = load(model) if isinstance(model, str | Path) else Network.of(model)
        given = given_inputs(layers=network.layers, dataflow=dataflow(network), activations=inputs, own=network.trace)
        return cls(
            model=network.name,
            trace=given.source,
            network=network,
            given=given,
            content_hash=_content_hash(network, given),
        )

    def refrozen(self) -> Workload:
        """Return it with read-only arrays again, for which kernels are compiled; pickling loses the flag."""
        layers = tuple(
            replace(
                one,
                matrix=SparseColumns.of(
                    shape=one.matrix.shape, starts=one.matrix.starts, rows=one.matrix.rows, data=one.matrix.data
                ),
            )
            for one in self.network.layers
        )
        return replace(self, network=replace(self.network, layers=layers))


def _content_hash(network: Network, given: Given) -> str:
    digest = hashlib.sha256(f"{network.sequential} {given.synthetic}".encode())

    def add(label: object, *arrays: Any) -> None:
        digest.update(f"\0{label}\0".encode())
        for array in arrays:
            if array is not None:
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)

    for layer in network.layers:
        matrix = layer.matrix
        label = (layer.name, matrix.shape, layer.relu, layer.synthetic, layer.bias is None, describe(layer.geometry))
        arrays = (matrix.starts, matrix.rows, matrix.data, layer.codebook, layer.bias, layer.bias_codes)
        add(label, *arrays)
    if network.graph is not None:
        add(network.graph.describe(), *network.graph.constants.values())
    for name, inputs in given.layers.items():
        add((name, inputs.width, inputs.products), inputs.bits, inputs.values)
    for name, array in given.arrays.items():
        add(name, array)
    return digest.hexdigest()
