"""The network that release 0.1 stored, shared as 0.1 shared it: weights and biases clustered together, one codebook."""

from dataclasses import replace

import numpy as np

import eie


def shared_by_0_1(folder):
    """The float network of ``folder`` at the levels of the program that 0.1 compiled it to."""
    network, program = eie.load(folder / "network.safetensors"), eie.Program.load(folder / "program.safetensors")
    layers = tuple(_at(layer, old.codebook) for layer, old in zip(network.layers, program.layers, strict=True))
    return replace(network, layers=layers)


def _at(layer, codebook):
    weights = layer.weights
    # A weight that is kept takes no zero; a bias may.
    codes = np.where(weights != 0, _nearest(weights, codebook[1:]) + 1, 0)
    bias = None if layer.bias is None else _nearest(layer.bias, codebook)
    shared = eie.Layer.from_codes(name=layer.name, codes=codes, codebook=codebook, bias_codes=bias, relu=layer.relu)
    return replace(shared, synthetic=layer.synthetic)


def _nearest(values, levels):
    return np.abs(values[..., None].astype(float) - levels).argmin(axis=-1)
