"""What every baseline returns: a machine, and what each layer costs on it.

Comes in: nothing. Goes out: frozen `Machine`, `LayerCost`, `Baseline`, and machines as a table. Written by every
baseline, read by the comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from eie.machines import noise
from eie.show.brief import Brief
from eie.show.numbers import known
from eie.show.sections import Column, Grid
from eie.spec import AcceleratorSpec

WHOLE = "(whole network)"  # the one layer of a baseline that knows the network as a whole only
# A bound is what no program on the machine can beat: peak arithmetic or full bandwidth, and nothing between.
How = Literal["modelled", "bound", "measured", "published", "imported"]
# Of what is not in the machine's own SRAMs: over the DRAM that the EIE of the comparison has, over one of its own
# (modelled, measured or published with it), or for nothing.
Memory = Literal["same DRAM", "own DRAM", "not paid"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Machine(Brief):
    """What ran, and under which conditions; None where that is not known.

    Attributes
    ----------
    batch
        Samples that ran together; costs are per sample.
    dram
        Whether time and energy contain fetching weights or maps from outside the chip.
    memory
        Who pays for what the machine's SRAMs do not hold: `Memory`.
    weight_bits
        Of one weight as the machine stores it, index and pointers not counted.
    spec
        Of an EIE, by which it is told apart from others.
    source
        Where the figures come from.
    """

    name: str
    how: How
    source: str
    clock_mhz: float | None = None
    node_nm: int | None = None
    batch: int | None = 1
    dram: bool | None = None
    memory: Memory | None = None
    weight_bits: int | None = None
    area_mm2: float | None = None
    power_w: float | None = None
    spec: AcceleratorSpec | None = None

    def content(self) -> dict[str, Any]:
        """Return what files say of it: a machine of ours is named by its spec, which its result's file has."""
        return {name: value for name, value in vars(self).items() if name != "spec"}


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerCost(Brief):
    """One layer on one machine, per sample; None where the machine or its source says nothing.

    Attributes
    ----------
    shape
        (outputs, inputs, products) of the layer, where the source states it.
    utilisation
        Useful multiplications over what the machine could have done in the time, 0 to 1.
    bytes_moved
        Over the boundary that the machine's model counts: between DRAM and chip, or between SRAM and PEs.
    dram_bytes
        Between DRAM and chip, where the machine pays for it as EIE does.
    energy_bounds_nj
        The least and the most that ``energy_nj`` may be, where the machine's model states them.
    weights
        Where its weights come from: ``"on chip"``, ``"streamed"`` or ``"not paid"``; empty where the machine as a whole
        says it, see `Machine.memory`.
    details
        Further figures of this kind of machine, by name.
    samples_us
        Of what was measured: every run, in the order in which all that it is to be compared with ran too.
    """

    layer: str
    latency_us: float | None
    cycles: float | None = None
    energy_nj: float | None = None
    utilisation: float | None = None
    bytes_moved: float | None = None
    dram_bytes: float | None = None
    weights: str = ""
    shape: tuple[int, int, int] | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    samples_us: tuple[float, ...] = ()
    energy_bounds_nj: tuple[float, float] | None = None


@dataclass(frozen=True, repr=False)
class Baseline(Brief):
    """A machine's answer for a network.

    Attributes
    ----------
    notes
        What a reader must know before believing the numbers.
    """

    machine: Machine
    layers: tuple[LayerCost, ...]
    notes: tuple[str, ...] = ()

    @property
    def latency_us(self) -> float | None:
        """Microseconds a sample over all layers; None where a layer has no figure. Of runs the median."""
        runs = self.samples_us
        # Not the sum of the layers' medians: that can be below the shortest run.
        return noise.middle(runs) if runs else total(layer.latency_us for layer in self.layers)

    @property
    def energy_nj(self) -> float | None:
        """Nanojoules a sample over all layers; None where a layer has no figure."""
        return total(layer.energy_nj for layer in self.layers)

    @property
    def samples_us(self) -> tuple[float, ...]:
        """Microseconds a sample over all layers, run by run; empty unless every layer was measured."""
        return runs_of(layer.samples_us for layer in self.layers)


def runs_of(samples: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Add layers up run by run; slow layers have fewer runs, and the sum has as many as all of them have."""
    return tuple(map(sum, zip(*samples, strict=False)))


def total(values: Iterable[float | None]) -> float | None:
    """Sum, or None as soon as one is missing."""
    known = list(values)
    # A sum of the known layers would look like the network's.
    if any(value is None for value in known):
        return None
    return sum(value for value in known if value is not None)


def machines_grid(machines: Iterable[Machine], caption: str = "") -> Grid:
    """Return machines as a table; what a source does not say is a dash."""
    columns = (
        Column("machine", "machine", "text"),
        Column("how", "how", "text"),
        Column("mhz", "MHz", "word"),
        Column("nm", "nm", "word"),
        Column("batch", "batch", "word"),
        Column("dram", "DRAM", "word"),
        Column("memory", "memory", "word"),
        Column("bits", "weight bits", "word"),
        Column("mm2", "mm2", "word"),
        Column("w", "W", "word"),
        Column("source", "source", "prose"),
    )
    rows = tuple(
        {
            "machine": machine.name,
            "how": machine.how,
            "mhz": known(machine.clock_mhz),
            "nm": known(machine.node_nm),
            "batch": known(machine.batch),
            "dram": {True: "yes", False: "no", None: "?"}[machine.dram],
            "memory": machine.memory or "?",
            "bits": known(machine.weight_bits),
            "mm2": known(machine.area_mm2),
            "w": known(machine.power_w),
            "source": machine.source,
        }
        for machine in machines
    )
    return Grid(caption=caption, columns=columns, rows=rows).without_empty()
