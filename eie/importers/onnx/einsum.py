"""Einsum of an activation and constant weights: axes brought in order, then one product over the last.

Comes in: a node and the `Builder`. Goes out: a layer and the nodes around it. Called by `reader`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eie.errors import ModelError
from eie.importers.onnx.builder import Builder, Tap
from eie.importers.onnx.parts import expect, weights_of
from eie.importers.onnx.products import linear
from eie.model.operators.from_onnx import OnnxNode, UnsupportedError, Value


@dataclass(frozen=True, kw_only=True)
class _Letters:
    """What each axis is, the batch's letter apart.

    Attributes
    ----------
    kept
        Of the activation alone, in its order.
    summed
        Of both, not in the result.
    made
        Of the weights alone, in the result's order.
    """

    batch: str
    kept: str
    summed: str
    made: str


def einsum(node: OnnxNode, into: Builder) -> None:
    """One constant operand of two: letters of both that the result lacks are summed over."""
    at = [i for i, name in enumerate(node.inputs) if name in into.constants]
    if len(node.inputs) != 2 or len(at) != 1:
        raise UnsupportedError(f"of {len(node.inputs)} operands, {len(at)} of them constant")
    weights, place = weights_of(node, into, at[0]), 1 - at[0]
    x = into.known(node.inputs[place])
    if x is None:
        raise UnsupportedError("the shape of its input is not known")
    terms, result = _terms(str(node.attributes.get("equation", "")), len(x.shape), place)
    theirs, ours = terms[at[0]], terms[place]
    if len(theirs) != weights.ndim or len(ours) != len(x.shape):
        raise ModelError(f"equation {node.attributes.get('equation')!r} for {x.shape} and weights of {weights.shape}")
    letters = _sorted(ours, theirs, result, batch=ours[x.batch])
    sizes = {**dict(zip(ours, x.shape, strict=True)), **dict(zip(theirs, weights.shape, strict=True))}
    for letter in letters.summed:
        expect(x.shape[ours.index(letter)], weights.shape[theirs.index(letter)], f"of {letter!r}")
    matrix = weights.transpose([theirs.index(letter) for letter in letters.made + letters.summed])
    matrix = matrix.reshape(math.prod(sizes[letter] for letter in letters.made), -1)
    out, batch_first = node.outputs[0], letters.batch + ours.replace(letters.batch, "")
    order = tuple(batch_first.index(letter) for letter in letters.batch + letters.kept + letters.summed)
    tap = Tap(
        layer="", tensor=node.inputs[place], batch=x.batch, node=node.index, order=order, inputs=len(letters.summed)
    )
    made = linear(
        node=node,
        into=into,
        x=_rows(into=into, x=x, order=order, summed=len(letters.summed), out=out),
        tap=tap,
        weights=matrix,
        names=(node.inputs[at[0]], ""),
        # The file's name goes to the last that is made.
        out=f"{out} [rows]" if len(letters.made) != 1 or _turned(letters, result) else out,
    )
    assert made is not None
    into.set(out, _back(into=into, made=made, letters=letters, sizes=sizes, result=result, out=out))


def _terms(equation: str, rank: int, place: int) -> tuple[list[str], str]:
    """Return the operands' letters and the result's; an ellipsis becomes letters of its own."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != 2:
        raise ModelError(f"equation {equation!r}: must have two operands")
    if not arrow:
        # Without a result, it has the letters that stand once, in the order of the alphabet.
        letters = left.replace(",", "").replace("...", "")
        right = "..." * ("..." in left) + "".join(sorted(c for c in letters if letters.count(c) == 1))
    if "..." in terms[1 - place]:
        raise UnsupportedError("an ellipsis in the weights")
    # Letters that no file can have stand for the axes of an ellipsis.
    dots = "".join(chr(0x3B1 + i) for i in range(max(0, rank - len(terms[place].replace("...", "")))))
    return [term.replace("...", dots) for term in terms], right.replace("...", dots)


def _sorted(ours: str, theirs: str, result: str, *, batch: str) -> _Letters:
    if any(len(set(term)) != len(term) for term in (ours, theirs, result)):
        raise UnsupportedError("a letter twice in an operand")
    summed = "".join(c for c in ours if c in theirs and c not in result)
    kept = "".join(c for c in ours if c not in theirs and c != batch)
    made = "".join(c for c in result if c in theirs)
    if batch not in result or batch in theirs:
        raise UnsupportedError("works across the batch")
    if not summed or any(c in ours for c in made) or set(kept + made + batch) != set(result):
        raise UnsupportedError(f"letters {ours}, {theirs} -> {result} are no product with one matrix")
    return _Letters(batch=batch, kept=kept, summed=summed, made=made)


def _rows(*, into: Builder, x: Value, order: Sequence[int], summed: int, out: str) -> Value:
    """Bring the summed axes last and make them one."""
    rows = Value(x.name, x.batch_first, 0)
    if tuple(order) != tuple(range(len(order))):
        rows = into.emit("transpose", [rows], f"{out} [turned]", axes=tuple(order))
    if summed == 1:
        return rows
    return into.emit(
        "reshape", [rows], f"{out} [flat]", shape=(0, *rows.shape[1:-summed], math.prod(rows.shape[-summed:]))
    )


def _turned(letters: _Letters, result: str) -> tuple[int, ...]:
    """Return how the axes of the rows are put in the file's order; empty if they are."""
    now = letters.batch + letters.kept + letters.made
    order = tuple(now.index(letter) for letter in letters.batch + result.replace(letters.batch, ""))
    return order if order != tuple(range(len(order))) else ()


def _back(*, into: Builder, made: Value, letters: _Letters, sizes: dict[str, int], result: str, out: str) -> Value:
    """Give rows (batch, kept..., outputs) the axes that the file has."""
    order = _turned(letters, result)
    if len(letters.made) != 1:
        shape = (0, *made.shape[1:-1], *(sizes[letter] for letter in letters.made))
        made = into.emit("reshape", [made], f"{out} [parts]" if order else out, shape=shape)
    if order:
        made = into.emit("transpose", [made], out, axes=order)
    place = result.index(letters.batch)
    sample = made.shape[1:]
    return Value(made.name, (*sample[:place], made.shape[0], *sample[place:]), place)
