"""Workloads of other simulators (``.yaml``): ZigZag's layers and Timeloop's problems, of which shapes are read.

Comes in: a path. Goes out: a `Network` of synthetic layers, as `topology` makes them. Read with PyYAML's safe loader,
of which nothing but texts, numbers, lists and mappings come.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from eie.errors import ModelError
from eie.formats.files import first_line, read_bytes
from eie.importers.einsum import Einsum, Window
from eie.importers.topology import network_of
from eie.importers.topology_table import Row, Table, listed, told_apart
from eie.model.network import Network

# Pure Python takes seconds for a megabyte; a network of a thousand layers is a tenth of this.
LARGEST_YAML_BYTES = 4 << 20
LARGEST_SIZE = 10**9
# Aliases make much of little: ten lines of them may stand for 10^9 values.
LARGEST_WRITTEN = 1_000_000
ROUND = "write its layers as lines of a topology (.csv), docs/formats.md says which loop is which column"
# Of one data space: sums of terms, each a loop and perhaps its factor.
_Space = tuple[tuple[tuple[str, ...], ...], ...]
_OPERAND = r"(\w+)((?:\[\w+\])+)"
_EQUATION = re.compile(rf"{_OPERAND}\+?={_OPERAND}([*+]){_OPERAND}")
_RELATION = re.compile(r"(\w+)=(?:(\d{1,9})\*)?(\w+)\+(?:(\d{1,9})\*)?(\w+)")
# What Timeloop takes where a problem names no shape of its own.
_CNN_INPUTS = ((("N",),), (("C",),), (("S", "Hdilation"), ("Q", "Hstride")), (("R", "Wdilation"), ("P", "Wstride")))


def read(path: Path, density: float | None = None) -> Network:
    """Read a workload.

    Raises
    ------
    ModelError
        Naming the layer and key of what cannot be used.
    """
    content = _parsed(path)
    if isinstance(content, list) and content and all(isinstance(entry, Mapping) for entry in content):
        return network_of(_zigzag(path, content), path, density)
    if isinstance(content, Mapping) and isinstance(content.get("problem"), Mapping):
        return network_of(_timeloop(path, content["problem"]), path, density)
    raise ModelError(f"{path}: neither a ZigZag workload (a list of layers) nor a Timeloop problem (problem: ...)")


def _parsed(path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise ModelError(f"{path}: reading it needs the workloads extra: pip install 'eie[workloads]'") from None
    try:
        value = yaml.load(read_bytes(path, ModelError, LARGEST_YAML_BYTES), _distinct_loader())
        # Whoever shows or copies a value with aliases writes all that it stands for.
        if _written_out(value, {}) > LARGEST_WRITTEN:
            raise ValueError(f"its aliases stand for more than {LARGEST_WRITTEN:,} values")
        return value
    # Beside PyYAML's own: text that is none, dates that are none, numbers of too many digits, lists in lists in lists.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not YAML that can be read safely: {first_line(error)[:120]}; {ROUND}") from None


def _written_out(value: Any, known: dict[int, int]) -> int:
    """Count the values that a value holds, those behind aliases as often as they stand there.

    Raises
    ------
    ValueError
        If it holds itself.
    """
    if not isinstance(value, list | dict):
        return 1
    if id(value) not in known:
        # Entered before it is counted: who comes back to it on the way has gone in a circle.
        known[id(value)] = -1
        inner = value if isinstance(value, list) else (*value, *value.values())
        known[id(value)] = 1 + sum(_written_out(item, known) for item in inner)
    if known[id(value)] < 0:
        raise ValueError("an alias stands within itself")
    return known[id(value)]


@cache
def _distinct_loader() -> type[Any]:
    """PyYAML's safe loader, but for names that stand twice: it would take the last of them."""
    import yaml

    class Distinct(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            # << may stand several times: it brings in other tables.
            if twice := [name for name, many in Counter(names).items() if many > 1 and name != "<<"]:
                raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice in one table")
            return super().construct_mapping(node, deep)

    return Distinct


def _zigzag(path: Path, entries: list[Mapping[str, Any]]) -> Table:
    rows: list[Row] = []
    passed: list[str] = []
    for place, entry in enumerate(entries):
        name = str(entry.get("name") or f"layer {entry.get('id', place)}")
        where = f"{path}: layer {name!r}"
        einsum = _of_layer(entry, name, where)
        if einsum is None:
            passed.append(f"{name} ({entry.get('operator_type', 'no operator')})")
        else:
            rows.append(einsum.row())
    unread = [f"not read, since they have no weights of their own: {listed(passed)}"] if passed else []
    return _table(path, rows, unread)


def _of_layer(entry: Mapping[str, Any], name: str, where: str) -> Einsum | None:
    """Return a layer's product; None where it has no weights of its own, as pooling and additions."""
    equation = _EQUATION.fullmatch(re.sub(r"\s", "", str(entry.get("equation"))))
    if equation is None:
        raise ModelError(f"{where}: equation {entry.get('equation')!r}: must be O[..]+=W[..]*I[..]; {ROUND}")
    operands = {equation[at]: _loops(equation[at + 1]) for at in (1, 3, 6)}
    source = entry.get("operand_source")
    # Weights are a layer's own; those of another layer are its results, and the product is of two activations.
    of = source.get("W") if isinstance(source, Mapping) else None
    other = isinstance(of, int) and of != entry.get("id", of)
    if equation[5] != "*" or set(operands) != {"O", "W", "I"} or other or not operands["W"] & operands["O"]:
        return None
    dims, sizes = (_list(entry.get(key), f"{where}: {key}") for key in ("loop_dims", "loop_sizes"))
    if len(dims) != len(sizes):
        raise ModelError(f"{where}: loop_dims and loop_sizes must be lists of the same length; {ROUND}")
    loops = {str(dim).lower(): _size(size, f"{where}: {dim}") for dim, size in zip(dims, sizes, strict=True)}
    relations = _list(entry.get("dimension_relations"), f"{where}: dimension_relations")
    windows = [_RELATION.fullmatch(re.sub(r"\s", "", str(text)).lower()) for text in relations]
    moved = {match[1]: (match[3], match[5], match[2], match[4]) for match in windows if match is not None}
    return _einsum(name=name, where=where, loops=loops, operands=operands, moved=moved)


def _einsum(
    *,
    name: str,
    where: str,
    loops: dict[str, int],
    operands: Mapping[str, frozenset[str]],
    moved: Mapping[str, tuple[str, str, str | None, str | None]],
) -> Einsum:
    inputs: set[str] = set()
    windows: dict[str, Window] = {}
    for index in operands["I"]:
        if index in moved and index not in loops:
            first, second, *factors = moved[index]
            sizes = [_size(int(factor or 1), f"{where}: {index}") for factor in factors]
            # Either order is written: the position is what the output has too.
            (position, stride), (other, dilation) = sorted(
                zip((first, second), sizes, strict=True), key=lambda term: term[0] not in operands["O"]
            )
            windows[index] = Window(position=position, filter=other, stride=stride, dilation=dilation)
            inputs |= {position, other}
        else:
            inputs.add(index)
    used = operands["O"] | operands["W"] | inputs
    if unknown := sorted(used - set(loops)):
        raise ModelError(f"{where}: no loop over {', '.join(unknown)} in loop_dims; {ROUND}")
    return Einsum(
        name=name,
        sizes=loops,
        output=operands["O"],
        weights=operands["W"],
        inputs=frozenset(inputs),
        # Rows before columns: iy before ix.
        windows=tuple(windows[index] for index in sorted(windows, reverse=True)),
    )


def _timeloop(path: Path, problem: Mapping[str, Any]) -> Table:
    instance = problem.get("instance", problem)
    if not isinstance(instance, Mapping):
        raise ModelError(f"{path}: problem.instance must be a mapping of loops to sizes")
    name, spaces, defaults = _problem_shape(path, problem.get("shape", "cnn-layer"), instance)
    names = {kind: frozenset(term[0] for terms in space for term in terms) for kind, space in spaces.items()}
    loops = sorted(frozenset().union(*names.values()))
    sizes = {loop: _size(instance.get(loop), f"{path}: problem: {loop}") for loop in loops}
    windows: list[tuple[bool, Window]] = []
    for terms in spaces["inputs"]:
        if len(terms) == 2:
            # Either order is written: the position is what the output has too.
            position, other = sorted(terms, key=lambda term: term[0] not in names["outputs"])
            stride, dilation = (
                _size(instance.get(term[1], defaults.get(term[1], 1)), f"{path}: problem: {term[1]}") if term[1:] else 1
                for term in (position, other)
            )
            across = not any(factor.lower().startswith("h") for factor in (*position[1:], *other[1:]))
            window = Window(position=position[0], filter=other[0], stride=stride, dilation=dilation)
            windows.append((across, window))
    einsum = Einsum(
        name=name,
        sizes=sizes,
        output=names["outputs"],
        weights=names["weights"],
        inputs=names["inputs"],
        # Rows before columns, whichever the file names first.
        windows=tuple(window for _, window in sorted(windows, key=lambda window: window[0])),
    )
    dense = "densities" in problem or "densities" in instance
    unread = ["the problem's densities are not read: every weight and activation is non-zero"] if dense else []
    return _table(path, [einsum.row()], unread)


def _problem_shape(
    path: Path, shape: object, instance: Mapping[str, Any]
) -> tuple[str, dict[str, _Space], dict[str, Any]]:
    """Return a problem's name, which loops index what, and factors where the instance states none."""
    if isinstance(shape, Mapping):
        spaces = _spaces(path, shape.get("data-spaces", shape.get("data_spaces")))
        coefficients = _list(shape.get("coefficients"), f"{path}: problem.shape.coefficients")
        defaults = {str(c.get("name")): c.get("default", 1) for c in coefficients if isinstance(c, Mapping)}
        return str(shape.get("name") or path.stem), spaces, defaults
    if str(shape).lower() not in ("cnn-layer", "cnn_layer"):
        raise ModelError(f"{path}: problem.shape {shape!r} is kept elsewhere: put it into the file; or {ROUND}")
    # Both letters are written for the filters.
    filters = "M" if "M" in instance else "K"
    spaces = {
        "weights": tuple(((loop,),) for loop in ("C", filters, "R", "S")),
        "inputs": _CNN_INPUTS,
        "outputs": tuple(((loop,),) for loop in ("N", filters, "P", "Q")),
    }
    return path.stem, spaces, {}


def _spaces(path: Path, spaces: Any) -> dict[str, _Space]:
    """Return which loops index weights, inputs and outputs."""
    by_kind: dict[str, _Space] = {}
    for space in spaces if isinstance(spaces, list) else []:
        name = str(space.get("name", "")).lower() if isinstance(space, Mapping) else ""
        kind = next((kind for kind in ("weights", "inputs", "outputs") if name.rstrip("s") == kind.rstrip("s")), None)
        projection = space.get("projection") if kind else None
        if kind is None or not isinstance(projection, list):
            continue
        try:
            by_kind[kind] = tuple(tuple(tuple(map(str, term)) for term in terms) for terms in projection)
        except TypeError:
            continue
    if set(by_kind) != {"weights", "inputs", "outputs"} or not all(
        all(terms) for space in by_kind.values() for terms in space
    ):
        raise ModelError(
            f"{path}: problem.shape: must have data spaces Weights, Inputs and Outputs with lists of loops; {ROUND}"
        )
    return by_kind


def _table(path: Path, rows: list[Row], notes: list[str]) -> Table:
    if not rows:
        raise ModelError(f"{path}: holds no layer with weights")
    apart, renamed = told_apart(rows)
    return Table(apart, (*notes, *renamed))


def _list(value: object, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ModelError(f"{where} must be a list; {ROUND}")
    return value


def _loops(indices: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", indices.lower()))


def _size(value: object, where: str) -> int:
    # bool is an int, and `yes` is true in YAML.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST_SIZE:
        raise ModelError(f"{where}={value!r}: must be an integer from 1 to {LARGEST_SIZE:,}")
    return value
