"""Whether one layer feeds the next: only where their names say so.

Comes in: layers' names. Goes out: the rule by which they are one numbered row, or None. Read by `decide` and
`orientation`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_lowercase

from eie.importers.roles.names import running, segments, vocabulary

# Layers that read one input side by side, whatever numbers stand around them.
_PARALLEL = vocabulary(
    "q k v q_proj k_proj v_proj query key value to_q to_k to_v wq wk wv q_lin k_lin v_lin fc_q fc_k fc_v lin_l lin_r "
    "gate_proj up_proj gate up w1 w2 w3 wi_0 wi_1"
)
# What ends a numbered row without a number of its own.
_LAST = vocabulary("out output fc_out head classifier logits lm_head last final prediction predictions")
_FEWEST = 2


def numbering(names: Sequence[str]) -> str | None:
    """Return how names are numbered through, as ``fc1, fc2, fc3``, or None if they are not one row.

    One row is: the same name but for one number (Keras leaves out the first), each number once, or ``a, b, c`` and so
    on from a; the last layer may be called ``output``, ``head`` or the like instead.
    """
    ordered = sorted(names, key=running)
    if any(is_parallel(name) for name in ordered):
        return None
    numbered = ordered
    if len(ordered) > _FEWEST and segments(ordered[-1])[-1].lower() in _LAST:
        numbered = ordered[:-1]
    if len(numbered) < _FEWEST or not (_differ_in_one_number(numbered) or _are_lettered(numbered)):
        return None
    return ", ".join(ordered if len(ordered) <= 4 else [*ordered[:2], "...", ordered[-1]])


def is_parallel(name: str) -> bool:
    """Say whether a layer is by its name one of several that read the same input."""
    # W1 without a module around it is a layer of a plain row, w1 inside a block a gate: those have a weight below them.
    path = segments(name)
    return path[-1].lower() in _PARALLEL


def _differ_in_one_number(names: Sequence[str]) -> bool:
    texts, numbers = zip(*(_taken_apart(name) for name in names), strict=True)
    # dense, dense_1, dense_2: the first has no number.
    if len(set(texts)) == 2 and texts[0] != texts[1] and len(set(texts[1:])) == 1:
        return texts[1] in (f"{texts[0]}_#", f"{texts[0]}#") and len(set(numbers[1:])) == len(numbers) - 1
    if len(set(texts)) != 1 or len(set(numbers)) != len(numbers):
        return False
    return sum(len(set(column)) > 1 for column in zip(*numbers, strict=True)) == 1


def _are_lettered(names: Sequence[str]) -> bool:
    heads, letters = zip(*(name.rpartition(".")[::2] for name in names), strict=True)
    return len(set(heads)) == 1 and "".join(letters).lower() == ascii_lowercase[: len(letters)]


def _taken_apart(name: str) -> tuple[str, tuple[int, ...]]:
    return re.sub(r"[0-9]+", "#", name), tuple(int(number) for number in re.findall(r"[0-9]+", name))
