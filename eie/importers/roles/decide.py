"""A decision for each array of a file, with all the evidence that the file has.

Comes in: plain named arrays, what the user said of them. Goes out: a `Reading`. Called by `eie.importers.tensors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.importers.roles.asked import Asked
from eie.importers.roles.attention import Split, split
from eie.importers.roles.embeddings import is_norm, table_role
from eie.importers.roles.families import owner_of
from eie.importers.roles.groups import STATISTICS, Joined, bare_layers, join
from eie.importers.roles.left_out import left_out
from eie.importers.roles.names import natural, running, segments
from eie.importers.roles.neither import followed, role_of
from eie.importers.roles.plans import File, plans
from eie.importers.roles.records import Arrays, Decision, Group, Reading

NOTHING_ASKED = Asked()
_MOST_AXES = 4
# Rows to columns. Layers that widen as much are heads, and a head has a name.
_TALL = 16
_HEADS = ("lm_head", "head", "embed_out", "output", "classifier", "decoder", "unembed")


def decide(
    arrays: Arrays,
    stem: str,
    asked: Asked = NOTHING_ASKED,
    samples: NDArray[Any] | None = None,
    *,
    others: int = 0,
    upright: bool = False,
) -> Reading:
    """Decide what each array is, and how each layer is built.

    Parameters
    ----------
    stem
        Name of a layer whose arrays have no owner.
    asked
        What the user said; believed before everything else.
    samples
        Recorded inputs of the first layer, whose channels are evidence.
    others
        How many layers of the file are known already and not among ``arrays``.
    upright
        Whether the format says that matrices are (outputs, inputs) and kernels (out, in, rows, columns).

    Raises
    ------
    ModelError
        If nothing in the file says which of two things an array is; the text says how to answer.
    """
    pieces = split(arrays)
    decisions, rest = _by_name(pieces, asked, stem)
    joined = join(pieces.arrays, rest)
    layers = []
    for group in joined.groups.values():
        role = _role(group, joined, pieces.arrays, stem=stem, asked=asked)
        if role is None and not (group.name or upright) and _may_be_a_table(group, pieces.arrays, asked):
            raise ModelError(_question(str(group.main), pieces.arrays))
        if role is None:
            layers.append(group if group.name else replace(group, name=stem))
        else:
            decisions |= _neither(group, role, stem)
    for group in _tied(layers, pieces.arrays):
        decisions |= _neither(group, "embedding", stem)
        layers.remove(group)
    layers += _loose(joined, pieces.arrays, asked, alone=not layers and not others)
    for group in layers:
        decisions |= {key: Decision(role="layer", layer=group.name, part=part) for part, key in group.parts.items()}
    decisions |= {key: _unnamed(pieces.arrays[key]) for key in joined.loose if key not in decisions}
    _check_names([group.name for group in layers])
    file = File(split=pieces, stem=stem, asked=asked, joined=joined, samples=samples, upright=upright)
    made, notes = plans(file, sorted(layers, key=lambda group: running(group.name)))
    for plan in made:
        norm = plan.norm
        if norm is not None:
            decisions |= {key: Decision(role="folded", layer=norm.name, part=part) for part, key in norm.parts.items()}
    # By the names in the file; what was split has a decision for each piece, and they agree.
    original = {pieces.origins.get(key, key): decision for key, decision in sorted(decisions.items())}
    return Reading(
        arrays=pieces.arrays,
        plans=tuple(made),
        decisions=original,
        notes=(*notes, *left_out(pieces.arrays, decisions)),
    )


def _check_names(names: Sequence[str]) -> None:
    twice = {name for name, times in Counter(names).items() if times > 1}
    if twice:
        raise ModelError(f"two layers would be called {min(twice)!r}, one of them for want of a name: rename one")


def _by_name(pieces: Split, asked: Asked, stem: str) -> tuple[dict[str, Decision], list[str]]:
    """Take away what names or the user rule out; return what is left to be joined."""
    decisions: dict[str, Decision] = {}
    averages, rest = [], []
    known = frozenset(pieces.arrays)
    for key in sorted(pieces.arrays, key=natural):
        names = (key, pieces.origins.get(key, key), owner_of(key, pieces.arrays[key].ndim, known) or stem)
        role = "excluded" if asked.is_excluded(*names) else role_of(key, pieces.arrays[key], known)
        if role is None and followed(key, pieces.arrays):
            role = "ema"
        if role is None or (role != "excluded" and asked.is_layer(*names)):
            rest.append(key)
        elif role == "ema":
            averages.append(key)
        else:
            decisions[key] = Decision(role=role)
    # A file of nothing but averages is a model; beside the weights they are copies.
    if not any(pieces.arrays[key].ndim > 1 for key in rest):
        return decisions, rest + averages
    return decisions | {key: Decision(role="ema") for key in averages}, rest


def _role(group: Group, joined: Joined, arrays: Arrays, *, stem: str, asked: Asked) -> str | None:
    """Return why a group is no layer, or None if it is one."""
    owner = group.name or stem
    if group.main is None:
        return "norm" if group.name in joined.norms else "small"
    weight = arrays[group.main]
    if not 1 < weight.ndim <= _MOST_AXES:
        return "norm" if weight.ndim < 2 else "volume"
    if "codes" in group.parts or asked.is_layer(group.main, owner):
        return None
    bias = arrays[group.parts["bias"]] if "bias" in group.parts else None
    # A LayerNorm over several axes has a bias of the weight's own shape: each value is multiplied by one.
    elementwise = bias is not None and bias.ndim > 1 and bias.shape == weight.shape
    if elementwise or "running_mean" in group.parts or is_norm(owner, weight):
        return "norm"
    biased = bias is not None and bias.ndim == 1 and len(bias) in weight.shape
    return table_role(owner, weight, biased=biased)


def _unnamed(array: NDArray[Any]) -> Decision:
    return Decision(role="unnamed" if array.ndim > 1 else "small")


def _may_be_a_table(group: Group, arrays: Arrays, asked: Asked) -> bool:
    """Say whether a weight without name and bias is as tall as an Embedding's alone: nothing else tells it apart."""
    key = str(group.main)
    if set(group.parts) != {"weight"} or arrays[key].ndim != 2 or asked.is_layer(key) or asked.is_transposed(key):
        return False
    rows, columns = arrays[key].shape
    return bool(rows >= _TALL * columns > 0)


def _question(key: str, arrays: Arrays) -> str:
    rows, columns = arrays[key].shape
    return (
        f"{key!r} {(rows, columns)} may be an Embedding ({rows} rows that are looked up) or a Linear without bias "
        f"({columns} to {rows}), and nothing says which: say --layers {key} if it is a layer"
    )


def _neither(group: Group, role: str, stem: str) -> dict[str, Decision]:
    return {
        key: Decision(role="statistic" if part in STATISTICS else role, layer=group.name or stem, part=part)
        for part, key in group.parts.items()
    }


def _tied(layers: Sequence[Group], arrays: Arrays) -> list[Group]:
    """Return the layers that are the head's table under another name: what is looked up at the network's entrance."""
    heads = [arrays[group.parts["weight"]] for group in layers if _is_head(group) and "weight" in group.parts]
    return [
        group
        for group in layers
        if set(group.parts) == {"weight"}
        and not _is_head(group)
        and any(_is_copy(head, arrays[group.parts["weight"]]) for head in heads)
    ]


def _is_copy(head: NDArray[Any], other: NDArray[Any]) -> bool:
    # Constants are alike without being copies.
    alike = head.ndim == 2 and head.shape == other.shape and head.size > 0 and head.flat[0] == other.flat[0]
    return bool(alike and np.array_equal(head, other) and (head != head.flat[0]).any())


def _is_head(group: Group) -> bool:
    return segments(group.name)[-1].lower() in _HEADS


def _loose(joined: Joined, arrays: Arrays, asked: Asked, *, alone: bool) -> list[Group]:
    """Return the layers among arrays that no module owns: those asked for, and matrices that nothing else claims."""
    forced = [key for key in joined.loose if asked.is_layer(key) and 1 < arrays[key].ndim <= _MOST_AXES]
    made = [Group(name=key, family="bare", parts={"weight": key}) for key in forced]
    return made + bare_layers(arrays, [key for key in joined.loose if key not in forced], alone=alone and not made)
