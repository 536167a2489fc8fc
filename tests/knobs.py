"""What each field of a machine moves, by trying it: the second table of docs/spec.md.

Comes in: nothing. Goes out: field -> the names of what changed. Read by ``freeze.py`` and ``test_spec.py``.

Small layers run on small machines: one whose weights stay, one whose weights are streamed, one cut for its
accumulators. A field moves what differs between any two of its values on any of them.
"""

from functools import cache

import numpy as np

import eie
from eie.energy.clock import fastest_mhz, timing_met
from eie.energy.prices import READINGS, prices

MOVES = ("cycles", "dynamic", "static", "area", "fit", "timing")
# Other values than the machine's own; what is not here is no number.
TRIED = {
    "name": ["other"],
    "n_pe": [1, 8, 128],
    "clock_mhz": [200.0, 1200.0],
    "act_queue_depth": [2, 64],
    "index_bits": [1, 6],
    "weight_bits": [2, 6],
    "spmat_row_bits": [32, 256],
    "spmat_kib": [2, 64],
    "ptr_kib": [4, 16],
    "ptr_bits": [24, 32],
    "act_kib": [1, 8],
    "act_registers": [2, 128],
    "data_bits": [8, 24],
    "node_nm": [28, 32],
    "io_bits": [8],
    "residency": ["ideal"],
    "stream": ["layer"],
    "stream_kib": [0.25, 2.0],
    "dram_gb_per_s": [0.5, 100.0],
    "dram_latency_ns": [0.0, 1000.0],
    "dram_burst_bytes": [8, 256],
    "dram_pj_per_bit": [4.0],
    "act_batches": ["paper"],
    "act_row_bits": [64],
    "clock_gated": [True],
}
SMALL = eie.EIE_64PE.replace(n_pe=4, act_queue_depth=4)
MACHINES = (
    SMALL,
    SMALL.replace(spmat_kib=2, stream_kib=1),
    SMALL.replace(n_pe=1, spmat_kib=4, ptr_kib=8),
)


@cache
def moved() -> dict[str, tuple[str, ...]]:
    """What changes with each field, in the order of `MOVES`."""
    found = {}
    for field, values in TRIED.items():
        changed = set()
        for machine in MACHINES:
            before = _seen(machine)
            for value in values:
                try:
                    after = _seen(machine.replace(**{field: value}))
                except eie.EieError:
                    # An SRAM that CACTI's table does not span, or a layer that no longer fits: nothing to compare.
                    continue
                changed |= {name for name in MOVES if before[name] != after[name]}
        found[field] = tuple(name for name in MOVES if name in changed)
    return found


@cache
def _model():
    rng = np.random.default_rng(0)
    # Two layers, so that a map lies between them; 600 inputs make a pointer SRAM of 1 KiB too small.
    first = eie.Layer.from_weights("first", rng.normal(size=(300, 600)) * (rng.random((300, 600)) < 0.1))
    second = eie.Layer.from_weights("second", rng.normal(size=(40, 300)) * (rng.random((40, 300)) < 0.2))
    inputs = np.maximum(rng.normal(size=600), 0) * np.linspace(1e-3, 1, 600)
    return eie.Network(name="two", layers=(first, second), sequential=True), inputs


def _seen(spec):
    """Everything that a field may move, rounded to what floats hold."""
    result = eie.simulate(*_model(), spec=spec)
    static = [
        # Of the whole machine: a cycle of its clock, and a microsecond.
        (round(sum(each.clock_pj.values()) * spec.n_pe, 9), round(sum(each.leakage_mw.values()), 9), spec.clock_gated)
        for each in (prices(spec, reading=reading) for reading in READINGS)
    ]
    return {
        # What the host's link takes is beside the latency, and time all the same.
        "cycles": ([layer.total_cycles for layer in result.layers], [row.cycles for row in result.transfers]),
        "dynamic": round(result.energy().kind_nj()["dynamic"] + result.energy().kind_nj()["dram"], 9),
        "static": static,
        "area": round(eie.area(spec).total_mm2, 12),
        "fit": (
            [(layer.place, layer.entries, layer.pointers) for layer in result.memory.layers],
            [(memory.capacity_kib, memory.wanted_kib) for memory in result.memory.memories],
            [(layer.fit.passes, layer.fits) for layer in result.layers],
        ),
        # A slower clock than could be is no change of the machine.
        "timing": (round(fastest_mhz(spec), 6), timing_met(spec)),
    }


def knob_table() -> str:
    """The table: a field a row, a mark under what it moves."""
    lines = [f"| knob | {' | '.join(MOVES)} |", "|---" * (1 + len(MOVES)) + "|"]
    for field, names in moved().items():
        marks = ["x" if name in names else "" for name in MOVES]
        lines.append(f"| `{field}` | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"
