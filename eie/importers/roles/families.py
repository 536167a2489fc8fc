"""Naming conventions: what frameworks call a layer's arrays and how they store them.

Comes in: an array's name. Goes out: whose it is, and what of it. Read by `groups`, `orientation` and `kernels`.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from eie.importers.roles.names import segments

# What an array is called: what of its layer it is.
PARTS = {
    "weight": "weight",
    "weights": "weight",
    "kernel": "weight",
    "w": "weight",
    "bias": "bias",
    "biases": "bias",
    "b": "bias",
    "codes": "codes",
    "codebook": "codebook",
    "bias_codes": "bias_codes",
    "depthwise_kernel": "depthwise",
    "pointwise_kernel": "pointwise",
}
# Of a normalisation: what torch calls it. "weight" and "bias" may be a layer's, these may not.
NORM_PARTS = {
    "running_mean": "running_mean",
    "running_var": "running_var",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "moving_var": "running_var",
    "num_batches_tracked": "num_batches_tracked",
}
# Words too plain to mean this alone: Keras' and Flax' own, and Haiku's.
_PLAIN_NORM_PARTS = {
    "gamma": "weight",
    "beta": "bias",
    "scale": "weight",
    "offset": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


@dataclass(frozen=True)
class Family:
    """A convention.

    Attributes
    ----------
    inputs_first
        Whether matrices are stored (inputs, outputs); a bias that says otherwise is believed.
    kernels
        Order of a convolution's axes: ``"OIHW"`` or ``"HWIO"``.
    """

    inputs_first: bool
    kernels: str


FAMILIES = {
    # torch, Caffe, MXNet and eie's own files.
    "torch": Family(inputs_first=False, kernels="OIHW"),
    # Keras, TensorFlow and Flax.
    "keras": Family(inputs_first=True, kernels="HWIO"),
    # Conv1D of GPT-2 and its heirs, which others write as a plain Linear of the same name: shapes tell them apart.
    "gpt2": Family(inputs_first=False, kernels="OIHW"),
    # CLIP's text_projection and proj: bare parameters, multiplied from the right.
    "parameter": Family(inputs_first=True, kernels="OIHW"),
    # W0, b0 and matrices of any name: nothing is known.
    "bare": Family(inputs_first=False, kernels="OIHW"),
}
_GPT2 = ("c_attn", "c_proj", "c_fc", "q_attn")
_NUMBERED = re.compile(r"(?P<word>[WwBb])(?P<number>\d*)|(?P<words>weights?|bias|biases|kernel)_?(?P<digits>\d+)")
_JOINED = re.compile(
    r"(?P<owner>.+)_(?P<part>weights?|kernel|[wW]|bias|biases|[bB]|gamma|beta|(?:running|moving)_(?:mean|var|variance))"
)
_BIASES = ("bias", "biases", "b")
_SIBLINGS = frozenset((*NORM_PARTS, *_PLAIN_NORM_PARTS, "bias"))
_WEIGHTS = frozenset(("weight", "kernel", "w", "qweight", "weight_packed"))
PARAMETERS = ("proj", "text_projection", "image_projection")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Whose an array is (empty for the file's only layer), what of it, and by which convention."""

    owner: str
    part: str
    family: str
    is_norms: bool = False


def place(key: str, ndim: int, names: Set[str]) -> Place | None:
    """Find out what an array's name says.

    Parameters
    ----------
    ndim
        Of the array: ``b`` is a bias if it has one axis, a matrix of that name if it has two.
    names
        All arrays of the file: ``fc1_weight`` is a layer's weight only beside ``fc1_bias``.
    """
    path = segments(key)
    owner, tail = ".".join(path[:-1]), path[-1]
    if not owner and (numbered := _numbered(tail, ndim)) is not None:
        return numbered
    if tail in NORM_PARTS:
        return Place(owner=owner, part=NORM_PARTS[tail], family="torch", is_norms=True)
    if tail in _PLAIN_NORM_PARTS and ndim <= 1 and _in_norm(key, tail, names):
        return Place(owner=owner, part=_PLAIN_NORM_PARTS[tail], family="torch", is_norms=True)
    # One letter is enough with an owner only; a bare W or b is one of the numbered, and a matrix b is no bias.
    part = PARTS.get(tail) if len(tail) > 1 else PARTS.get(tail.lower() if owner else "")
    if part is not None and not (len(tail) == 1 and part == "bias" and ndim > 1):
        return Place(owner=owner, part=part, family=_family(path, key))
    return _joined(key, path, names)


def owner_of(key: str, ndim: int, names: Set[str]) -> str:
    """Return whose an array is, as its layer is called; its name up to the last dot if nothing else is known."""
    spot = place(key, ndim, names)
    return ".".join(segments(key)[:-1]) if spot is None else spot.owner


def _in_norm(key: str, tail: str, names: Set[str]) -> bool:
    """Say whether a plainly named array has siblings that only a normalisation has, and none that a layer has."""
    head, end = key.removesuffix(":0").removesuffix(tail), ":0" if key.endswith(":0") else ""
    siblings = {word for word in (*_SIBLINGS, *_WEIGHTS) if head + word + end in names}
    return not siblings & _WEIGHTS and len(siblings - {tail, "bias"}) > 0


def _family(path: tuple[str, ...], key: str) -> str:
    tail = path[-1]
    if tail.endswith("kernel") or tail == "w" or (tail in ("weights", "biases") and "/" in key):
        return "keras"
    if len(path) > 1 and path[-2] in _GPT2:
        return "gpt2"
    return "torch"


def _numbered(tail: str, ndim: int) -> Place | None:
    match = _NUMBERED.fullmatch(tail)
    if match is None:
        return None
    word, number = (match["word"] or match["words"]).lower(), match["number"] or match["digits"] or ""
    is_bias = word in _BIASES
    # A matrix called b is a matrix, as any other name.
    if ndim not in ((1,) if is_bias else (2, 3, 4)):
        return None
    return Place(owner=f"layer{number}", part="bias" if is_bias else "weight", family="bare")


def _joined(key: str, path: tuple[str, ...], names: Set[str]) -> Place | None:
    match = _JOINED.fullmatch(path[-1])
    if match is None:
        return None
    stem = key[: len(key) - len(path[-1])] + match["owner"]
    owner = ".".join((*path[:-1], match["owner"]))
    part = match["part"].lower()
    if part in NORM_PARTS:
        return Place(owner=owner, part=NORM_PARTS[part], family="torch", is_norms=True)
    if part in _PLAIN_NORM_PARTS:
        is_norms = any(f"{stem}_{other}" in names for other in _SIBLINGS - {part, "bias"})
        return Place(owner=owner, part=_PLAIN_NORM_PARTS[part], family="torch", is_norms=True) if is_norms else None
    # Both halves must be there, else the underscore may be part of any name.
    others = ("weight", "weights", "kernel", "w", "W") if part in _BIASES else (*_BIASES, "B")
    if not any(f"{stem}_{other}" in names for other in others):
        return None
    return Place(owner=owner, part=PARTS[part], family="torch")
