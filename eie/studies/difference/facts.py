"""What differs between two sides before a cycle is counted: the machine, the model, the inputs, and how it was run.

Comes in: two `Side` records. Goes out: `Fact` records, none of which is alike on both. Read by the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from eie.show.brief import Brief
from eie.show.listing import first_few
from eie.show.numbers import count, number, percent
from eie.spec import AcceleratorSpec
from eie.studies.difference.sides import Side

About = Literal["machine", "model", "inputs", "run"]
# Of a hash: enough to tell two files apart, and to find one by.
HASH_LETTERS = 12
MOST_NAMES = 3  # of layers that differ in the same way; more are counted


@dataclass(frozen=True, kw_only=True, repr=False)
class Fact(Brief):
    """One thing that is not alike; ``-`` where a side does not say."""

    about: About
    what: str
    a: str
    b: str


def facts(a: Side, b: Side) -> tuple[Fact, ...]:
    """Return what differs, machine first."""
    of_kind = _result_facts if a.kind == "result" else _sweep_facts
    listed = [*_machine(a, b), *of_kind(a, b), *_pairs("run", {"eie": (a.version, b.version)})]
    return tuple(fact for fact in listed if fact.a != fact.b)


def _machine(a: Side, b: Side) -> Iterator[Fact]:
    # What both vary is no property of either: the points are matched by it.
    varied = set(a.values.get("vary", ())) & set(b.values.get("vary", ()))
    fields = {name: (getattr(a.spec, name), getattr(b.spec, name)) for name in AcceleratorSpec.model_fields}
    yield from _pairs("machine", {name: pair for name, pair in fields.items() if name not in varied})
    areas = tuple(_area(side) for side in (a, b))
    yield from _pairs("machine", {"area, mm2": (areas[0], areas[1])})


def _area(side: Side) -> str | None:
    area: Mapping[str, float] | None = side.values.get("area_mm2")
    return None if area is None else number(sum(area.values()))


def _result_facts(a: Side, b: Side) -> Iterator[Fact]:
    both = (a.values, b.values)
    yield from _pairs("model", {key: _of(both, key) for key in ("network", "source")})
    hashes = tuple(_of(both, key) for key in ("model_sha256", "program_hash"))
    yield from _pairs("model", {"file, SHA-256": _cut(hashes[0])})
    # A program holds its machine: only on one machine does another hash say that the model is another.
    if a.spec == b.spec and None not in hashes[1]:
        yield from _pairs("model", {"compiled program": _cut(hashes[1])})
    yield from _pairs("model", {"weights that are not zero": (_density(a), _density(b))})
    yield from _layer_facts(a, b)
    inputs = ({}, {}) if None in _of(both, "inputs") else tuple(side["inputs"] for side in both)
    yield from _pairs("inputs", {key: _of((inputs[0], inputs[1]), key) for key in ("source", "samples", "synthetic")})
    yield from _pairs("inputs", {"SHA-256": _cut(_of((inputs[0], inputs[1]), "sha256"))})
    yield from _pairs("inputs", {key: _of(both, key) for key in ("batch", "drive")})
    yield from _pairs("run", {"engine": _of(both, "engine")})
    priced = tuple((side.get("energy") or {}).get("activity", {}) for side in both)
    yield from _pairs("run", {"SRAM cell": _of((priced[0], priced[1]), "cell")})


# Keys of a layer's record that say what was run, and how they are said.
_OF_LAYERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "shape": lambda row: f"{row['outputs']} x {row['inputs']}",
    "kind": lambda row: row.get("kind"),
    "products": lambda row: None if row.get("products") is None else count(row["products"]),
    "groups": lambda row: row.get("groups"),
    "bias column": lambda row: row.get("bias"),
    "weights drawn": lambda row: row.get("synthetic_weights"),
    "memory": lambda row: row.get("residency"),
}


def _layer_facts(a: Side, b: Side) -> Iterator[Fact]:
    theirs = {row["layer"]: row for row in b.values["layers"]}
    pairs = [(row, theirs[row["layer"]]) for row in a.values["layers"] if row["layer"] in theirs]
    for what, say in _OF_LAYERS.items():
        alike: dict[tuple[str, str], list[str]] = {}
        for ours, other in pairs:
            said = _said(say(ours)), _said(say(other))
            # By what they differ in: a lowering that changed is one line and not one a layer.
            alike.setdefault(said, []).append(str(ours["layer"]))
        for (before, after), names in alike.items():
            yield Fact(about="model", what=f"{what} of {first_few(names, MOST_NAMES)}", a=before, b=after)


def _sweep_facts(a: Side, b: Side) -> Iterator[Fact]:
    varied = dict.fromkeys([*a.values["vary"], *b.values["vary"]])
    values = {f"{name} varied": tuple(_list(side.values["vary"].get(name)) for side in (a, b)) for name in varied}
    yield from _pairs("machine", {name: (pair[0], pair[1]) for name, pair in values.items()})
    for about, key in (("model", "model"), ("inputs", "trace")):
        names = tuple(_list(dict.fromkeys(load[key] for load in side.values["workloads"])) for side in (a, b))
        yield from _pairs(about, {key: (names[0], names[1])})
    yield from _pairs("run", {"SRAM cell": _of((a.values, b.values), "sram_cell")})
    yield from _pairs("run", {"points that failed": _of((a.values, b.values), "failed")})


def _pairs(about: Any, pairs: Mapping[str, tuple[Any, Any]]) -> Iterator[Fact]:
    for what, (before, after) in pairs.items():
        yield Fact(about=about, what=what, a=_said(before), b=_said(after))


def _of(both: tuple[Mapping[str, Any], Mapping[str, Any]], key: str) -> tuple[Any, Any]:
    return both[0].get(key), both[1].get(key)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    # :g as a spec's file has 800.0 for a clock of 800.
    return "-" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def _cut(hashes: tuple[Any, Any]) -> tuple[Any, Any]:
    before, after = (None if text is None else str(text)[:HASH_LETTERS] for text in hashes)
    return before, after


def _density(side: Side) -> str:
    """Of all weights that a result has, not a mean of its layers' shares."""
    sizes = [row["outputs"] * row["inputs"] // max(1, row.get("groups") or 1) for row in side.values["layers"]]
    kept = sum(row["weight_density"] * size for row, size in zip(side.values["layers"], sizes, strict=True))
    return f"{percent(kept / max(1, sum(sizes)), 2)} %"


def _list(values: Any) -> str:
    return "" if values is None else ", ".join(map(_said, values))
