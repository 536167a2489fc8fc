"""Quantised layouts written out slowly, integer by integer: what the readers have to undo. Shares nothing with them."""

import numpy as np


def words(integers, bits):
    """One row of unsigned integers as 32-bit words: one long number, the first integer in its lowest bits."""
    number = sum(int(value) << (bits * i) for i, value in enumerate(integers))
    count = -(-len(integers) * bits // 32)
    return [(number >> (32 * i)) & 0xFFFFFFFF for i in range(count)]


def padded_words(integers, bits):
    """The same where an integer does not go on in the next word."""
    each = 32 // bits
    return [word for i in range(0, len(integers), each) for word in words(integers[i : i + each], bits)[:1]]


def rows_of_words(matrix, bits, pack=words):
    return np.array([pack(row, bits) for row in matrix], np.uint32).view(np.int32)


def gptq(codes, *, zeros, scales, bits, group_of=None, stored_less=1):
    """``codes`` (inputs, outputs), ``zeros`` and ``scales`` (groups, outputs)."""
    parts = {
        "qweight": np.ascontiguousarray(rows_of_words(codes.T, bits).T),
        "qzeros": rows_of_words((zeros - stored_less) % (1 << bits), bits),
        "scales": scales.astype(np.float16),
    }
    return parts if group_of is None else parts | {"g_idx": group_of.astype(np.int32)}


def awq(codes, *, zeros, scales):
    """``codes`` (inputs, outputs), outputs a multiple of 8."""
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def packed(matrix):
        return np.array(
            [[words(row[i : i + 8][order], 4)[0] for i in range(0, len(row), 8)] for row in matrix], np.uint32
        ).view(np.int32)

    return {"qweight": packed(codes), "qzeros": packed(zeros), "scales": scales.astype(np.float16)}


def bitmask(weights, keep):
    """Kept weights row by row, and a bit for each place, the first in the lowest bit of its byte."""
    rows = []
    for row in keep:
        octets = [0] * -(-len(row) // 8)
        for i, bit in enumerate(row):
            octets[i // 8] |= int(bit) << (i % 8)
        rows.append(octets)
    return {"compressed": weights[keep], "bitmask": np.array(rows, np.uint8), "shape": np.array(weights.shape)}


def save_safetensors(path, arrays, texts=None, foreign=None):
    """Write a file by hand, types that NumPy does not have included: ``foreign`` maps names to (type, bytes array)."""
    import json
    import struct

    names = {"float32": "F32", "float16": "F16", "int32": "I32", "int64": "I64", "int8": "I8", "uint8": "U8"}
    header = {"__metadata__": texts} if texts else {}
    data = b""
    for name, array in {**arrays, **(foreign or {})}.items():
        kind, stored = array if isinstance(array, tuple) else (names[array.dtype.name], array)
        content = np.ascontiguousarray(stored).tobytes()
        shape = list(stored.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path
