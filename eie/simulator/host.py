"""Host parts in the interpreter: each runs once a datapath, and what stays on the host keeps its type.

Comes in: a node ``host`` and its inputs. Goes out: its outputs. Called by `eie.simulator.network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.graph import Node
from eie.model.host import run_part

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Beside:
    """A tensor that stays on the host, on both datapaths, batch first: ids, shapes, masks."""

    fixed: Array
    float32: Array


def run_host(node: Node, values: Sequence[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Run a part; pairs are of the fixed-point and of the float32 datapath.

    Raises
    ------
    ModelError
        If it cannot be run, or makes activations that are not finite.
    """
    float32 = run_part(node, [value for _, value in values])
    # What hangs on no layer is the same on both.
    same = all(fixed is real for fixed, real in values)
    fixed = float32 if same else run_part(node, [value for value, _ in values])
    return list(zip(fixed, float32, strict=True))


def activation(node: Node, name: str, values: Array) -> NDArray[np.float32]:
    """Return an output that a layer reads as float32.

    Raises
    ------
    ModelError
        If it is not finite.
    """
    with np.errstate(over="ignore"):
        made = np.asarray(values, np.float32)
    if not np.isfinite(made).all():
        raise ModelError(f"node {node.name!r} (host): its output {name!r} holds NaN or infinity")
    return made
