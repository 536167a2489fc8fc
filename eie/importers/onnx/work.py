"""What operators multiply: which do at all, what of their inputs they multiply by, and how often for one sample.

Comes in: operators with their inputs, and shapes. Goes out: counts. Read by `placement`, which tells layers from work
for a host, by `submodel`, which counts products of two activations, and by `unmodelled`, which writes the rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eie.model.operators.from_onnx import OnnxNode

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
# Operators that multiply by a matrix or a kernel, whether that is constant or not; with them all of a name's kind.
PRODUCTS = frozenset(
    (
        *("Attention", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "GRU", "Gemm", "LSTM", "MatMul"),
        *("MatMulInteger", "MatMulNBits", "MultiHeadAttention", "QAttention", "QGemm", "QLinearConv", "QLinearMatMul"),
        "RNN",
    )
)
# Where an operator's weights are an attribute: models of ONNX's own domain for them.
HELD = {
    "LinearClassifier": "coefficients",
    "LinearRegressor": "coefficients",
    "SVMClassifier": "support_vectors",
    "SVMRegressor": "support_vectors",
}
# Of others, of onnxruntime's own domain above all, names tell: there are dozens, and more with each release.
_STEMS = ("Attention", "Conv", "GatedRelativePositionBias", "Gemm", "LSTM", "MatMul", "MoE")
# Which inputs an operator multiplies by, where they are not all: not masks, biases, tables of angles and past keys.
_PROJECTING = frozenset(
    f"com.microsoft.{op}" for op in ("Attention", "DecoderMaskedSelfAttention", "PackedAttention", "QAttention")
)
_FACTORS: Mapping[str, tuple[int, ...]] = {
    "Attention": (0, 1, 2),
    **dict.fromkeys(_PROJECTING, (0, 1)),
    "com.microsoft.DecoderAttention": (0, 1, 2, 3),
    "com.microsoft.LongformerAttention": (0, 1, 4),
}
# Which input is the kernel.
_KERNELS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "DeformConv": 1, "QLinearConv": 3}
# Which inputs are the matrices.
_MATRICES = {
    **dict.fromkeys(("FusedGemm", "FusedMatMul", "Gemm", "MatMul", "MatMulBnb4"), (0, 1)),
    **dict.fromkeys(("MatMulInteger", "MatMulNBits"), (0, 1)),
    **dict.fromkeys(("QGemm", "QLinearMatMul"), (0, 3)),
}
# Where the keys of earlier steps are, which queries meet too.
_PAST = {
    "Attention": 4,
    "com.microsoft.DecoderMaskedMultiHeadAttention": 5,
    "com.microsoft.GroupQueryAttention": 3,
    "com.microsoft.MultiHeadAttention": 6,
}


def kind(op: str) -> str:
    """Return an operator's name without its domain."""
    return op.rpartition(".")[2]


def multiplies(op: str) -> bool:
    """Whether an operator multiplies by more than single numbers, in whatever form."""
    name = kind(op)
    return name in PRODUCTS or name in HELD or any(stem in name for stem in _STEMS)


def factors(op: str, inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the inputs that an operator multiplies, or multiplies by."""
    # Of queries, keys and values otherwise: whatever the operator of somebody is called, they stand in front.
    default = (0, 1, 2) if "Attention" in kind(op) else None
    places = _FACTORS.get(op, default)
    named = inputs if places is None else [inputs[i] for i in places if i < len(inputs)]
    return tuple(name for name in named if name)


def of_two_activations(node: OnnxNode, rank: Mapping[str, int]) -> bool:
    """Whether a node multiplies activations by each other; ``rank`` is that of constants, by name."""
    if node.op in _PROJECTING:
        return True
    constant = any(name in rank for name in node.inputs[:2]) or kind(node.op) in HELD
    # A bias is no factor.
    return multiplies(node.op) and not constant and all(rank.get(name, 0) < 2 for name in factors(node.op, node.inputs))


def held(node: OnnxNode) -> int:
    """Count the weights that a node has as an attribute, or packed into bytes, of which attributes tell the size."""
    if "MatMul" in kind(node.op) and (packed := _stated(node, "K") * _stated(node, "N")):
        return packed
    values = node.attributes.get(HELD.get(kind(node.op), ""), ())
    return len(values) if isinstance(values, list | tuple) else 0


def _stated(node: OnnxNode, key: str) -> int:
    """Return a size that an attribute states; 0 where it is none."""
    value = node.attributes.get(key)
    return max(value, 0) if isinstance(value, int) else 0


def multiplications(node: OnnxNode, shapes: Shapes, weights: int = 0) -> int | None:
    """Count a node's multiplications for one sample; None where that is not known.

    Of a node that holds ``weights`` those by them; of one that holds none those of two activations.
    """
    op = kind(node.op)
    # Looking up a row of a table multiplies nothing.
    if op in ("Gather", "GatherElements", "GatherND"):
        return 0
    sizes = [shapes.get(name) for name in node.inputs]
    if op == "Einsum":
        return _einsum(str(node.attributes.get("equation", "")), sizes)
    first = sizes[0] if sizes else None
    if not first:
        return None
    if weights and (rows := _rows(node, first)) is not None:
        return rows * weights
    if "Attention" in op:
        return _attention(node, first, sizes=sizes)
    return _product(node, shapes.get(node.outputs[0]), sizes=sizes)


def _rows(node: OnnxNode, first: Shape) -> int | None:
    """Return how often each weight multiplies, where that is told by the first input."""
    if kind(node.op) in ("GRU", "LSTM", "RNN"):
        return math.prod(first[:2])
    return math.prod(first[:-1]) if kind(node.op) in HELD or node.op in _PROJECTING else None


def _product(node: OnnxNode, out: Shape | None, *, sizes: Sequence[Shape | None]) -> int | None:
    op, first = kind(node.op), sizes[0] or ()
    if (at := _KERNELS.get(op)) is not None:
        # Each input of a transposed convolution meets a kernel, of others each output.
        maps, kernel = first if op == "ConvTranspose" else out, sizes[at] if at < len(sizes) else None
        return None if maps is None or kernel is None else math.prod(maps) * math.prod(kernel[1:])
    # Of others nobody here knows.
    if op not in _MATRICES or out is None:
        return None
    # Of A transposed, the rows are summed over.
    return math.prod(out) * first[-2 if node.attributes.get("transA") and len(first) > 1 else -1]


def _attention(node: OnnxNode, first: Shape, *, sizes: Sequence[Shape | None]) -> int | None:
    """Each query meets each key, and each of those weights meets a value: twice queries times keys times width."""
    past_at = _PAST.get(node.op, len(sizes))
    past = sizes[past_at] if past_at < len(sizes) else None
    earlier = past[-2] if past is not None and len(past) > 1 else 0
    second = sizes[1] if len(sizes) > 1 else None
    if node.op in _PROJECTING:
        # Queries, keys and values are made here as well, of equal widths unless it says so.
        if second is None or len(first) < 2 or node.attributes.get("qkv_hidden_sizes"):
            return None
        return 2 * math.prod(first[:-1]) * (second[-1] // 3) * (first[-2] + earlier)
    if second is not None and len(second) > 1:
        return 2 * math.prod(first) * (second[-2] + earlier)
    heads, keys = _stated(node, "num_heads"), _stated(node, "kv_num_heads")
    if kind(node.op) == "GroupQueryAttention" and len(first) == 3 and heads and keys:
        # Packed: of the width, queries are one part, keys and values the others.
        return 2 * math.prod(first) * heads // (heads + 2 * keys) * (first[1] + earlier)
    if kind(node.op) == "MultiHeadAttention" and len(first) == 5:
        return 2 * math.prod(first) // 3 * (first[1] + earlier)
    return None


def _einsum(equation: str, sizes: Sequence[Shape | None]) -> int | None:
    terms = equation.replace(" ", "").split("->")[0].split(",")
    loops: dict[str, int] = {}
    for term, shape in zip(terms, sizes, strict=False):
        if shape is None or len(term) != len(shape):
            return None
        loops.update(zip(term, shape, strict=True))
    return math.prod(loops.values())
