"""What can be changed: one knob each, its values, how a change is said and how it is made.

Comes in: a setting, and what binds the network. Goes out: frozen `Change` records that make another setting of one.
Read by `advise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from eie.compiler.choice import Conv
from eie.errors import SpecError
from eie.model.geometry import Scatter
from eie.show.brief import Brief
from eie.show.numbers import percent
from eie.studies.explain.bench import Setting, Whole, changed
from eie.studies.explain.diagnosis import Diagnosis
from eie.studies.explain.forms import Forms, Pruning

Knob = Literal["PEs", "queue", "conv", "rows", "even pruning", "index bits", "SRAM width", "density", "residency"]
KNOBS: tuple[Knob, ...] = (
    "PEs", "queue", "conv", "rows", "index bits", "SRAM width", "residency", "density", "even pruning",
)  # fmt: skip
# Factors on what the machine has.
PE_FACTORS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 2, 4)
MOST_PES = 1024
WIDTH_FACTORS = (1 / 4, 1 / 2, 2, 4)
WIDTHS = (16, 1024)
QUEUES = (2, 4, 8, 16, 32, 64)
INDEX_BITS = (3, 4, 5, 6, 8)
# Of the weights that a layer has.
DENSITIES = (0.75, 0.5)
EVEN = 0.9
# Layers that are tried on their own: those that take longest.
MOST_LAYERS = 3
# Tried from so much that even work, or deeper queues, could gain.
LEAST_GAIN = 0.01
LARGEST_KIB = 4096


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Change(Brief):
    """One change.

    Attributes
    ----------
    knob
        What is turned; two changes of one knob exclude each other.
    layer
        The layer that it is of; empty for the whole machine or network.
    words
        What to do.
    typed
        How it is tried on the command line; empty where it takes a recipe.
    retrains
        Whether the network computes something else afterwards, and needs fine-tuning.
    make
        Makes the changed setting.
    """

    knob: Knob
    layer: str = ""
    words: str
    typed: str = ""
    retrains: bool = False
    make: Callable[[Setting], Setting] = field(compare=False)

    @property
    def turns(self) -> tuple[str, str]:
        """What it turns: changes of the same exclude each other."""
        # Two ways to prune the same layer are one knob.
        return ("pruning" if self.retrains else self.knob), self.layer


def changes_of(
    base: Setting, forms: Forms, whole: Whole, *, layers: Sequence[Diagnosis], streams: Mapping[str, Any]
) -> list[Change]:
    """Return every single change of a setting that a bound does not rule out.

    Parameters
    ----------
    layers
        What binds each layer.
    streams
        Fields of the machine with which all weights and maps stay on the chip; empty where they do, or no size does.
    """
    listed = [*_machine(base), *_convs(base, forms, whole)]
    if streams:
        said = ", ".join(f"{name}={value}" for name, value in streams.items())
        listed.append(
            Change(
                knob="residency",
                words=f"SRAMs that hold all: {said}",
                typed=_typed(streams),
                make=lambda setting: changed(setting, streams),
            )
        )
    uneven = [layer for layer in layers if layer.balance_saves + layer.queue_saves >= LEAST_GAIN]
    if not base.permuted and uneven and any(layer.name in forms.moved(base.spec.n_pe) for layer in uneven):
        listed.append(
            Change(
                knob="rows",
                words="rows in an order that is even for the PEs",
                make=lambda setting: replace(setting, permuted=True),
            )
        )
    longest = sorted(layers, key=lambda layer: -layer.latency_us)[:MOST_LAYERS]
    for layer in longest:
        listed += [_pruned(layer.name, Pruning(share)) for share in DENSITIES]
        if layer.balance_saves >= LEAST_GAIN:
            listed.append(_pruned(layer.name, Pruning(EVEN, even=True)))
    return listed


def _machine(base: Setting) -> Iterator[Change]:
    spec = base.spec
    pes = [round(spec.n_pe * factor) for factor in PE_FACTORS if spec.n_pe * factor >= 1]
    widths = [round(spec.spmat_row_bits * factor) for factor in WIDTH_FACTORS]
    # Knob, field, what one of it is called, of what, and the values to try.
    values: tuple[tuple[Knob, str, str, str, Sequence[int]], ...] = (
        ("PEs", "n_pe", "PE", "", [n_pe for n_pe in pes if n_pe <= max(MOST_PES, spec.n_pe)]),
        ("queue", "act_queue_depth", "queue slot", "", QUEUES),
        ("index bits", "index_bits", "index bit", "", INDEX_BITS),
        ("SRAM width", "spmat_row_bits", "bit", " of sparse-matrix SRAM width", widths),
    )
    for knob, name, what, of_what, listed in values:
        now = getattr(spec, name)
        for value in listed:
            if value == now or (knob == "SRAM width" and not WIDTHS[0] <= value <= WIDTHS[1]):
                continue
            try:
                # A row has to hold an entry, for one.
                spec.replace(**{name: value})
            except SpecError:
                continue
            yield Change(
                knob=knob,
                words=f"{value:,} {what}{'s' if value != 1 else ''}{of_what} instead of {now:,}",
                typed=_typed({name: value}),
                make=_setter({name: value}),
            )


def _setter(fields: Mapping[str, Any]) -> Callable[[Setting], Setting]:
    return lambda setting: changed(setting, fields)


def _typed(fields: Mapping[str, Any]) -> str:
    return " ".join(f"--set {name}={value}" for name, value in fields.items())


def _convs(base: Setting, forms: Forms, whole: Whole) -> Iterator[Change]:
    """Other ways of convolutions, where there are any that have several."""
    several = [name for name in forms.names if Scatter.of(forms.layer(name).geometry) is not None]
    if base.conv == "winograd" or not any(set(forms.uses(name)) <= set(whole.map_sizes) for name in several):
        return
    ways: tuple[tuple[Conv, str], ...] = (
        ("auto", "each convolution in whichever way takes fewer cycles"),
        ("im2col", "convolutions by im2col"),
        ("scatter", "convolutions by scatter, each activation broadcast once"),
    )
    for conv, words in ways:
        if conv != base.conv:
            yield Change(knob="conv", words=words, typed=f"--conv {conv}", make=_way(conv))


def _way(conv: Conv) -> Callable[[Setting], Setting]:
    return lambda setting: replace(setting, conv=conv)


def _pruned(name: str, pruning: Pruning) -> Change:
    where = ", as many in each PE" if pruning.even else ""
    return Change(
        knob="even pruning" if pruning.even else "density",
        layer=name,
        words=f"{name} pruned to {percent(pruning.share, 0)} % of its weights{where}",
        retrains=True,
        make=lambda setting: replace(setting, pruned={**setting.pruned, name: pruning}),
    )
