"""What a network or examples are, in one number: SHA-256 over weights, structure and what was recorded.

Comes in: a `Network`, `Samples`. Goes out: hexadecimal digits. Read by whatever keeps results and must not hand them
out for another network.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from eie.model.geometry import describe
from eie.model.network import Network
from eie.model.samples import Samples

# Samples hashed at a time: pictures may be read from a folder one by one.
AT_A_TIME = 1024


def network_digest(network: Network) -> str:
    """Return the SHA-256 of layers, graph and trace, labels and values included; names of sources are no part of it."""
    digest = hashlib.sha256(f"{network.name} {network.sequential} {network.alternatives}".encode())
    for layer in network.layers:
        matrix = layer.matrix
        label = (layer.name, matrix.shape, layer.relu, layer.synthetic, describe(layer.geometry))
        arrays = (matrix.starts, matrix.rows, matrix.data, layer.codebook, layer.bias, layer.bias_codes)
        _add(digest, label, *arrays)
    _add(digest, network.unmodelled)
    if network.graph is not None:
        _add(digest, network.graph.describe(), *network.graph.constants.values())
    if network.trace is not None:
        trace = network.trace
        for name, inputs in trace.layers.items():
            _add(digest, (name, inputs.sha256))
        _add(digest, "labels", trace.labels)
    return digest.hexdigest()


def samples_digest(samples: Samples) -> str:
    """Return the SHA-256 of inputs and labels."""
    digest = hashlib.sha256(str(samples.count).encode())
    _add(digest, "labels", samples.labels)
    for name in samples.arrays:
        for start in range(0, samples.count, AT_A_TIME):
            _add(digest, name, np.asarray(samples.arrays[name][start : start + AT_A_TIME]))
    return digest.hexdigest()


def _add(digest: Any, label: object, *arrays: Any) -> None:
    # Zeros on both sides: no label can run into its neighbour's bytes and pass for another.
    digest.update(f"\0{label}\0".encode())
    for i, array in enumerate(arrays):
        # None leaves its place behind, so that a bias and a codebook are told apart.
        digest.update(f"{i} None".encode() if array is None else f"{i} {array.dtype} {array.shape}".encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
