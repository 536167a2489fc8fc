"""What stands beside the time of the layers: inputs from the host, outputs to it, the first load of what stays.

Comes in: a memory plan, encoded layers, the spec. Goes out: frozen `Transfer` records and a table. Read by `Result`.

None of it is in a latency: the host's link works while the network before or behind is running, and a chip that runs
more than one sample loads what stays once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eie.compiler.encoded import EncodedLayer
from eie.compiler.places import MemoryPlan
from eie.energy.estimate import loading_nj
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.show.brief import Brief
from eie.show.sections import Column, Grid
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, kw_only=True, repr=False)
class Transfer(Brief):
    """Something that crosses the chip's border beside the layers.

    Attributes
    ----------
    what
        ``"input"``, ``"output"`` or ``"cold load"``.
    how_often
        ``"each sample"`` or ``"once"``.
    bits, cycles, us
        What crosses, and how long that takes by itself.
    nj
        Of DRAM, of the rows that are written, and of the clock and leakage of PEs that wait meanwhile, by the activity
        method. None for the host's link, of which the paper gives no figure; of DRAM alone where no figure exists
        for an SRAM.
    """

    what: str
    how_often: str
    bits: int
    cycles: int
    us: float
    nj: float | None = None


def transfers(
    layers: Sequence[EncodedLayer], memory: MemoryPlan, spec: AcceleratorSpec, cell: Cell = "itrs-lop"
) -> tuple[Transfer, ...]:
    """Return what crosses the border beside the layers; nothing where residency is ideal."""
    if memory.residency == "ideal":
        return ()
    maps = memory.maps
    listed = [
        _over_the_link(what, elements * spec.data_bits, spec)
        for what, elements in (("input", maps.host_in), ("output", maps.host_out))
        # 0: not known, or layers that are no network.
        if elements
    ]
    stay = [layer for layer in layers if memory.by_name[layer.name].place == "resident"]
    # Each layer is one transfer of neighbouring bytes.
    bits = sum(spec.in_bursts(layer.image_bits(spec)) for layer in stay)
    if bits:
        cycles = spec.bus_cycles(bits)
        try:
            nj = loading_nj(spec, bits=bits, cycles=cycles, cell=cell)
        except EnergyError:
            # Without a figure for an SRAM, that of DRAM is still known.
            nj = bits * spec.dram_pj_per_bit * 1e-3
        listed.append(Transfer(what="cold load", how_often="once", bits=bits, cycles=cycles, us=spec.us(cycles), nj=nj))
    return tuple(listed)


def _over_the_link(what: str, bits: int, spec: AcceleratorSpec) -> Transfer:
    cycles = -(-bits // spec.io_bits)
    return Transfer(what=what, how_often="each sample", bits=bits, cycles=cycles, us=spec.us(cycles))


_WORDS = {
    "input": "input from the host",
    "output": "output to the host",
    "cold load": "first load of the weights that stay",
}


def transfers_grid(listed: Sequence[Transfer]) -> Grid:
    """Return a row a transfer."""
    columns = (
        Column("what", "beside the layers", "prose"),
        Column("often", "", "word"),
        Column("kib", "KiB"),
        Column("cycles", "cycles", "count"),
        Column("us", "us"),
        Column("nj", "nJ"),
    )
    rows = tuple(
        {
            "what": _WORDS[row.what],
            "often": row.how_often,
            "kib": row.bits / 8192,
            "cycles": row.cycles,
            "us": row.us,
            "nj": row.nj,
        }
        for row in listed
    )
    return Grid(caption="Not in the latency", columns=columns, rows=rows)
