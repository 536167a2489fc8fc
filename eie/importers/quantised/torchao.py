"""torchao's tensors as it writes them to safetensors: int8 and 8-bit floats with scales.

Comes in: ``X._weight_qdata``, ``X._weight_scale``, perhaps ``X._weight_zero_point``; the header states, as JSON under
``X.weight``, which tensor class they are. Goes out: float32 = scale * (stored - zero point).

Source: torchao, prototype/safetensors/safetensors_support.py, ``flatten_tensor_state_dict``, and
quantization/quantize_/workflows. Classes that pack integers for a GPU kernel (Int4Tensor and others) are refused by
name; so are torchao's pickled ``.pt`` files, whose classes are not loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.files import Arrays, read_json
from eie.importers.quantised.group import Decoded, Group, Hints, beside, granularity, spread, with_tail

NAME = "torchao"
_READ = ("Int8Tensor", "Float8Tensor", "IntxUnpackedToInt8Tensor")


def recognise(arrays: Mapping[str, NDArray[Any]], hints: Hints) -> list[Group]:
    """Find tensors taken apart.

    Raises
    ------
    ModelError
        If a class packs its integers in an order of its own.
    """
    groups = []
    for head in with_tail(arrays, "_weight_qdata"):
        parts = beside(arrays, head, data="_weight_qdata", scale="_weight_scale", zero_point="_weight_zero_point")
        kind = _class(hints, f"{head}weight")
        if kind not in _READ:
            raise ModelError(
                f"{head}weight: a torchao {kind}: must be one of {', '.join(_READ)}: save the weights dequantised"
            )
        if "scale" in parts:
            groups.append(Group(weight=f"{head}weight", parts=parts))
    return groups


def decode(parts: Arrays, hints: Hints) -> Decoded:  # noqa: ARG001 - the class was looked at before
    """Return the weights."""
    stored, scale = parts["data"], parts["scale"]
    if stored.ndim < 2 or stored.dtype.kind not in "if":
        raise ModelError(f"its data are {stored.dtype} {stored.shape}: must be a matrix of int8 or 8-bit floats")
    weights = stored.astype(np.float32)
    if "zero_point" in parts:
        weights -= spread(parts["zero_point"], weights.shape)
    weights *= spread(scale, weights.shape)
    kind = "int8" if stored.dtype.kind == "i" else "8-bit floats"
    return Decoded(weights=weights, how=f"{kind}, {granularity(scale, weights.shape)}")


def _class(hints: Hints, name: str) -> str:
    # The header keeps a wrapper's prefix that the arrays have lost.
    texts = [text for key, text in hints.texts.items() if key == name or key.endswith(f".{name}")]
    text = texts[0] if len(texts) == 1 else None
    kind = read_json(text, name, ModelError).get("_type") if text is not None else None
    return kind if isinstance(kind, str) else "tensor of unknown class"
