"""Writes Deep Compression's .net format, slowly and from its description; numpy only."""

import numpy as np


def encode(weights, codebook):
    """Codes and runs of the flattened weights, each of which is in ``codebook`` (level 0 is zero)."""
    codes, runs, zeros = [], [], 0
    for value in np.ravel(weights):
        if value == 0:
            zeros += 1
            continue
        while zeros > 15:
            codes.append(0)
            runs.append(15)
            zeros -= 16
        codes.append(int(np.flatnonzero(codebook == value)[0]))
        runs.append(zeros)
        zeros = 0
    return codes, runs


def pack(numbers, bits):
    if bits == 8:
        return bytes(numbers)
    padded = [*numbers, *([0] * (len(numbers) % 2))]
    return bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))


def net_file(layers):
    """Bytes of a file; ``layers`` holds (weights, codebook, bias)."""
    head, body = b"", b""
    for weights, codebook, bias in layers:
        bits = 8 if np.ndim(weights) == 4 else 4
        codes, runs = encode(weights, codebook)
        assert len(codebook) == 1 << bits
        head += np.uint32(len(codes)).tobytes()
        body += codebook.astype("<f4").tobytes() + bias.astype("<f4").tobytes() + pack(codes, bits) + pack(runs, 4)
    return head + body


def random_layer(rng, shape, density):
    """(weights, codebook, bias) with every weight in the codebook."""
    levels = 256 if len(shape) == 4 else 16
    codebook = np.concatenate(([0], rng.permutation(np.arange(1, levels) / 64 - 1.015))).astype(np.float32)
    codes = np.where(rng.random(shape) < density, rng.integers(1, levels, shape), 0)
    return codebook[codes], codebook, rng.standard_normal(shape[0]).astype(np.float32)
