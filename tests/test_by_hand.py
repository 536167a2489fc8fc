"""Every field of every machine's `LayerCost`, and every unit's price, power and area, against arithmetic written out.

Each is taken at a *second* machine, unlike the one its defaults describe: other PEs, clock, node and SRAMs, rows unlike
columns, a batch, groups, overlapping windows. The numbers come from docs/baselines.md, docs/assumptions.md and the
rows of `eie/energy/data` and `eie/machines/data`, written here once more.
"""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

import eie
from eie.energy.area import area_mm2
from eie.energy.clock import fastest_mhz, timing_met, timing_notes
from eie.energy.estimate import loading_nj, powers_mw
from eie.energy.prices import prices, prices_pj
from eie.energy.split import unit_areas, unit_powers
from eie.energy.tables import published_table, sram
from eie.machines import (
    dense,
    dense_here,
    measured,
    published,
    reports,
    roofline,
    scalesim,
    scalesim_config,
    systolic,
    tensor_core,
    timing,
)
from eie.machines.choose import choose
from eie.machines.match import match
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.workload import LayerWork, Workload
from eie.model.geometry import Conv2d

# 3 groups of 20 outputs x 36 inputs, 10 output pixels, of each window 12 inputs are new; 500 of 2,160 weights kept.
GROUPED = LayerWork(
    name="grouped", outputs=20, inputs=36, products=10, groups=3, kept_weights=500, fresh_inputs=12, has_bias=True
)
# 40 outputs x 25 inputs, 6 steps one after the other.
CHAIN = LayerWork(name="chain", outputs=40, inputs=25, steps=6, kept_weights=300)
BOTH = Workload("both", (GROUPED, CHAIN))
SPEC = eie.EIE_64PE.replace(n_pe=12, data_bits=12)


def holds(record, **expected):
    """Compare a record field by field; a field left out must be what it is by default."""
    defaults = {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in fields(record)
    }
    unknown = set(expected) - set(defaults)
    assert not unknown
    for name, value in {**defaults, **expected}.items():
        ours = getattr(record, name)
        numbers = isinstance(value, tuple) and value and isinstance(value[0], float)
        if isinstance(value, str | tuple | bool | eie.AcceleratorSpec) or value is None:
            assert ours == (pytest.approx(value, rel=1e-12) if numbers else value), name
        else:
            assert ours == pytest.approx(value, rel=1e-12), name


# -- dense ------------------------------------------------------------------------------------------------------------


def test_dense():
    """ceil(outputs / PEs) * (inputs + bias) * products cycles; 12 bits a value."""
    baseline = dense.run(BOTH, SPEC)
    grouped, chain = baseline.layers
    # 60 rows over 12 PEs: 5 x 37 columns x 10 products.
    holds(
        grouped,
        layer="grouped",
        latency_us=1850 / 800,
        cycles=1850,
        energy_nj=1850 / 800 * 12 * 9.157,
        utilisation=60 * 36 * 10 / (1850 * 12),
        bytes_moved=(2160 * 10 + 108 * 10 + 60 * 10) * 12 / 8,
        dram_bytes=0,
        weights="on chip",
        shape=(60, 108, 10),
    )
    # 40 rows over 12 PEs: 4 x 25 columns x 6 steps.
    holds(
        chain,
        layer="chain",
        latency_us=600 / 800,
        cycles=600,
        energy_nj=600 / 800 * 12 * 9.157,
        utilisation=1000 * 6 / (600 * 12),
        bytes_moved=(1000 * 6 + 25 * 6 + 40 * 6) * 12 / 8,
        dram_bytes=0,
        weights="on chip",
        shape=(40, 25, 6),
    )
    machine = baseline.machine
    assert (machine.name, machine.how, machine.clock_mhz, machine.node_nm) == ("dense:12", "modelled", 800, 45)
    assert (machine.batch, machine.dram, machine.area_mm2, machine.power_w) == (1, False, None, None)
    assert (machine.memory, machine.weight_bits) == ("same DRAM", 12)
    assert baseline.latency_us == pytest.approx(2450 / 800)
    assert baseline.energy_nj == pytest.approx(2450 / 800 * 12 * 9.157)


def test_dense_weights_that_do_not_fit_come_from_dram():
    """12 PEs with 1 + 1 KiB hold 196,608 bits, 9,830 of them as a buffer of 0.1 KiB a PE: one of two layers stays.

    GROUPED has 2,160 weights and 60 biases of 12 bits, 26,640: 53 bursts of 512 bits. WIDE, 1,500 outputs x 10 inputs,
    180,000 bits: 352 bursts, 180,224 bits, at 64 bits a cycle 2,816 cycles; it computes 125 x 10 = 1,250. It saves
    1,566 cycles on 180,224 bits by staying, GROUPED nothing (424 cycles against 1,850); and it fits.
    """
    spec = SPEC.replace(spmat_kib=1, ptr_kib=1, stream_kib=0.1)
    wide = LayerWork(name="wide", outputs=1500, inputs=10, kept_weights=15_000)
    moved = replace(GROUPED, map_dram_bits=1024, map_bus_cycles=2000)
    baseline = dense.run(Workload("both", (moved, wide)), spec)
    grouped, kept = baseline.layers
    assert (kept.cycles, kept.dram_bytes, kept.weights) == (1250, 0, "on chip")
    # Its maps keep the bus busy for 2,000 cycles, its weights for 53 x 8: longer than the 1,850 of computing.
    assert (grouped.cycles, grouped.dram_bytes, grouped.weights) == (2424, (53 * 512 + 1024) / 8, "streamed")
    assert grouped.energy_nj == pytest.approx(2424 / 800 * 12 * 9.157 + (53 * 512 + 1024) * 20e-3)
    assert baseline.machine.dram is True
    assert baseline.notes == ("its 12-bit weights streamed in 1 of 2 layers, same SRAMs and DRAM",)
    # Four samples share a load: neither would wait for weights, so the first stays, and its maps set its pace.
    four = dense.run(Workload("both", (moved, wide), batch=4), spec)
    assert four.machine.batch == 4
    assert [(layer.cycles, layer.dram_bytes) for layer in four.layers] == [(2000, 128), (1250, 180224 / 4 / 8)]
    # A share that is no whole number: ten times the outputs, 3,516 bursts, over five samples.
    five = dense.run(Workload("large", (replace(wide, outputs=15_000),), batch=5), spec)
    assert [layer.dram_bytes for layer in five.layers] == [3516 * 512 / 5 / 8]
    ideal = dense.run(Workload("both", (moved, wide)), spec.replace(residency="ideal"))
    assert [(layer.cycles, layer.dram_bytes, layer.weights) for layer in ideal.layers] == [
        (1850, 0, "not paid"),
        (1250, 0, "not paid"),
    ]
    assert (ideal.machine.memory, ideal.machine.dram, ideal.notes) == ("not paid", False, ())
    # Layers that are no network have the chip to themselves.
    alone = dense.run(Workload("both", (replace(moved, alone=True), replace(wide, alone=True))), spec)
    assert [layer.weights for layer in alone.layers] == ["on chip", "on chip"]


@pytest.mark.parametrize(("outputs", "weights"), [(1300, ["on chip", "streamed"]), (1310, ["streamed", "on chip"])])
def test_a_buffer_takes_its_room_from_dense_weights_that_stay(outputs, weights):
    """12 PEs with 1 + 1 KiB hold 196,608 bits; a buffer of 0.25 KiB a PE takes 24,576 of them and leaves 172,032.

    1,300 outputs x 11 inputs of 12 bits, 171,600 bits, are 336 bursts: 172,032. 1,310 are 338 bursts, 173,056, for
    which there would be room but for the buffer. The other layer computes for longer than its weights take on the
    bus, so it saves nothing by staying and comes second.
    """
    spec = SPEC.replace(spmat_kib=1, ptr_kib=1, stream_kib=0.25)
    eager = LayerWork(name="eager", outputs=outputs, inputs=11, kept_weights=1000)
    patient = LayerWork(name="patient", outputs=600, inputs=10, products=100, kept_weights=1000)
    assert [cost.weights for cost in dense.run(Workload("both", (eager, patient)), spec).layers] == weights


@pytest.mark.parametrize("changes", [{"clock_mhz": 500}, {"node_nm": 28}, {"node_nm": 32, "clock_mhz": 1000}])
def test_dense_has_no_energy_where_table_ii_does_not_hold(changes):
    baseline = dense.run(BOTH, SPEC.replace(**changes))
    assert [layer.energy_nj for layer in baseline.layers] == [None, None]
    assert baseline.energy_nj is None
    assert baseline.layers[0].latency_us == pytest.approx(1850 / changes.get("clock_mhz", 800))
    assert baseline.machine.clock_mhz == changes.get("clock_mhz", 800)
    assert baseline.machine.node_nm == changes["node_nm"] if "node_nm" in changes else 45


# -- systolic arrays --------------------------------------------------------------------------------------------------

# 5 x 7, unequal SRAMs, 2 bytes a word. 90 % of an SRAM is active: 460, 1,382 and 921 words of 1, 3 and 2 KiB.
ARRAY = systolic.SystolicArray(
    rows=5,
    columns=7,
    ifmap_kib=1,
    filter_kib=3,
    ofmap_kib=2,
    word_bytes=2,
    read_words=1,
    write_words=7,
    clock_mhz=500,
)
SWAPPED = replace(ARRAY, ifmap_kib=3, filter_kib=1)
# Of 11 products a sample and 2 samples: M = 22 vectors, N = 20 outputs, K = 36 inputs; 3 groups / 2 samples = 1.5.
WINDOWS = replace(GROUPED, products=11)


@pytest.mark.parametrize(
    ("array", "flow", "cycles", "stall", "first", "last", "words", "mapping", "compute"),
    [
        # K over rows: 8 folds; N over columns: 3; each 22 + 5 + 7 - 2 + 5 = 37: 24 * 37 - 1 = 887. Inputs are padded to
        # 22 * 40 = 880 words, more than 460: brought in 3 times; weights to 36 * 21 = 756, which fit. The first fill
        # takes max(460, 756), the rest of 2,640 words 1,884, which is 997 more than 887. Out: 22 * 20 * 8 = 3,520.
        (ARRAY, "ws", 887, 997, 756, 131, 2640 + 756 + 3520, 720 / 840, 22 / (37 + 6)),
        # With the SRAMs swapped inputs fit (first fill max(880, 460)) and weights do not; those are read once anyhow.
        (SWAPPED, "ws", 887, 0, 880, 131, 880 + 756 + 3520, 720 / 840, 22 / (37 + 6)),
        # M over rows: 5; N over columns: 3; each 36 + 5 + 7 - 2 = 46: 15 * 46 - 1 = 689. Inputs 36 * 25 = 900 words, 3
        # times; weights 36 * 21 = 756. 2,700 - 756 - 689 = 1,255. Out: 22 * 20 = 440, gone in ceil(440 / 7) - 1 = 62.
        (ARRAY, "os", 689, 1255, 756, 62, 2700 + 756 + 440, 440 / 525, 36 / 46),
        (SWAPPED, "os", 689, 0, 900, 62, 900 + 756 + 440, 440 / 525, 36 / 46),
        # K over rows: 8; M over columns: 4; each 20 + 5 + 7 - 2 + 5 = 35: 32 * 35 - 1 = 1,119. Now weights enter along
        # the rows, 20 * 40 = 800 words, inputs along the columns, 36 * 28 = 1,008. Weights fit their 1,382 ...
        (ARRAY, "is", 1119, 0, 800, 131, 800 + 1008 + 3520, 792 / 1120, 20 / (35 + 6)),
        # ... but not 460: 4 times 800 = 3,200 - 1,008 - 1,119 = 1,073.
        (SWAPPED, "is", 1119, 1073, 1008, 131, 3200 + 1008 + 3520, 792 / 1120, 20 / (35 + 6)),
    ],
)
def test_systolic(array, flow, cycles, stall, first, last, words, mapping, compute):
    baseline = systolic.run(Workload("w", (WINDOWS,)), replace(array, dataflow=flow), 2)
    total = cycles + stall
    holds(
        baseline.layers[0],
        layer="grouped",
        latency_us=total * 1.5 / 500,
        cycles=total * 1.5,
        utilisation=22 * 20 * 36 / (total * 35),
        bytes_moved=words * 2 * 1.5,
        shape=(60, 108, 11),
        details={
            "cycles_incl_prefetch": (total + first + last) * 1.5,
            "stall_cycles": stall * 1.5,
            "mapping_efficiency_pct": 100 * mapping,
            "compute_util_pct": 100 * mapping * compute,
        },
    )
    holds(
        baseline.machine,
        name=f"systolic:5x7:{flow}",
        how="modelled",
        source=systolic.SOURCE,
        clock_mhz=500.0,
        batch=2,
        dram=stall > 0,
        memory="own DRAM",
        weight_bits=16,
    )
    assert baseline.notes == (
        (f"grouped: operands exceed the SRAMs; {stall * 1.5:,.0f} cycles of waiting by bandwidth",) if stall else ()
    )


def test_a_systolic_array_of_which_only_the_size_is_said():
    """docs/baselines.md: SRAMs of 1 MiB each, a byte a word, 50 words read and 1,024 written a cycle, 800 MHz."""
    array = systolic.SystolicArray(rows=3, columns=5)
    assert (array.dataflow, array.ifmap_kib, array.filter_kib, array.ofmap_kib) == ("ws", 1024, 1024, 1024)
    assert (array.word_bytes, array.read_words, array.write_words, array.clock_mhz) == (1, 50, 1024, 800.0)


def test_a_missing_configuration_is_named_with_its_reason(tmp_path):
    with pytest.raises(eie.EieError, match=r"none\.cfg: cannot be read: No such file or directory$"):
        scalesim_config.read(tmp_path / "none.cfg", 800.0)


def test_systolic_bandwidth_is_words_a_cycle():
    """Three words a cycle: 2,640 words take 880, the first fill max(154, 252), so nothing waits."""
    baseline = systolic.run(Workload("w", (WINDOWS,)), replace(ARRAY, read_words=3), 2)
    assert baseline.layers[0].cycles == 887 * 1.5
    assert baseline.layers[0].details["cycles_incl_prefetch"] == (887 + 252 + 131) * 1.5


def test_systolic_steps_follow_each_other():
    """40 outputs x 25 inputs on 5 x 7: 5 * 6 folds of 1 + 5 + 7 - 2 + 5 = 16 cycles, six times; at 800 MHz."""
    (layer,) = choose("systolic:5x7", Workload("w", (CHAIN,)), SPEC).layers
    assert layer.cycles == 6 * (30 * 16 - 1)
    assert layer.latency_us == pytest.approx(6 * 479 / 800)
    # Inputs 1 * 25, weights 25 * 42, partial sums 40 * 5; one byte a word.
    assert layer.bytes_moved == 6 * (25 + 1050 + 200)


# -- tensor cores -----------------------------------------------------------------------------------------------------


def of_a100(layer, arithmetic_us, memory_us, times, done, moved, shape, sparse):
    """432 cores of 312 TFLOP/s, 1,555 GB/s, 1,410 MHz, 400 W; ``times`` makes a sample of a group and batch."""
    latency_us = max(arithmetic_us, memory_us) * times
    holds(
        layer,
        layer=layer.layer,
        latency_us=latency_us,
        cycles=latency_us * 1410,
        energy_nj=latency_us * 400e3,
        utilisation=done / (latency_us * 312e6),
        bytes_moved=moved,
        shape=shape,
        details={"arithmetic_us": arithmetic_us * times, "memory_us": memory_us * times, "n_of_m": sparse},
    )


TILE_US = 2 * 16 * 8 * 16 * 432 / 312e6  # all cores, one tile each


def test_tensor_core_bound_by_arithmetic():
    """2 groups, 50 products, 3 samples: 150 vectors; of 70 inputs 17 * 2 + 2 = 36 stay; 14 of a window are new.

    ceil(40 / 16) * ceil(150 / 8) = 57 tiles on 432 cores: one round of ceil(36 / 16) = 3 steps.
    """
    layer = LayerWork(name="a", outputs=40, inputs=70, products=50, groups=2, kept_weights=5600, fresh_inputs=14)
    baseline = choose("nm:2:4:b3", Workload("w", (layer,)), SPEC)
    moved = (40 * 36 * 18 + (14 + 40) * 150 * 16) / 8
    assert moved / 1555e3 < 3 * TILE_US
    of_a100(
        layer=baseline.layers[0],
        arithmetic_us=3 * TILE_US,
        memory_us=moved / 1555e3,
        times=2 / 3,
        done=2 * 40 * 36 * 150 * 2 / 3,
        moved=moved * 2 / 3,
        shape=(80, 140, 50),
        sparse=True,
    )
    holds(
        baseline.machine,
        name="A100 (40 GB) 2:4 (bound)",
        how="bound",
        source=baseline.machine.source,
        clock_mhz=1410,
        node_nm=7,
        batch=3,
        dram=True,
        memory="own DRAM",
        weight_bits=16,
        area_mm2=826,
        power_w=400,
    )


def test_tensor_core_bound_by_memory_step_after_step():
    """6 steps of 400 x 300 at 1:8: 37 * 1 + 1 = 38 inputs stay, each with ceil(log2 8) = 3 bits of index."""
    layer = LayerWork(name="a", outputs=400, inputs=300, steps=6, kept_weights=120_000)
    (cost,) = choose("nm:1:8", Workload("w", (layer,)), SPEC).layers
    moved = (400 * 38 * 19 + (300 + 400) * 16) / 8
    arithmetic = 1 * 3 * TILE_US  # 25 tiles, ceil(38 / 16) = 3
    assert moved / 1555e3 > arithmetic
    of_a100(
        layer=cost,
        arithmetic_us=arithmetic,
        memory_us=moved / 1555e3,
        times=6,
        done=2 * 400 * 38 * 6,
        moved=moved * 6,
        shape=(400, 300, 6),
        sparse=True,
    )


def test_tensor_core_takes_more_rounds_than_one():
    """40 * 38 = 1,520 tiles on 432 cores: four rounds; dense: no index bits, all 33 inputs in 3 steps."""
    layer = LayerWork(name="a", outputs=640, inputs=33, products=100, kept_weights=640 * 33)
    (cost,) = choose("nm:4:4:b3", Workload("w", (layer,)), SPEC).layers
    moved = (640 * 33 * 16 + (33 + 640) * 300 * 16) / 8
    of_a100(
        layer=cost,
        arithmetic_us=4 * 3 * TILE_US,
        memory_us=moved / 1555e3,
        times=1 / 3,
        done=2 * 640 * 33 * 300 / 3,
        moved=moved / 3,
        shape=(640, 33, 100),
        sparse=False,
    )


def test_tensor_core_as_it_is():
    """The layer that keeps 2 of 4 runs so, the other one dense; costs are per sample of a batch of two."""
    kept = np.tile([1.0, 0, 2.0, 0], (24, 10))
    full = np.ones((24, 40))
    layers = tuple(
        LayerWork(name=name, outputs=24, inputs=40, kept_weights=one.astype(bool).sum(), matrix=matrix)
        for name, one in (("kept", kept), ("full", full))
        for matrix in (eie.Layer.from_weights(name, one).matrix,)
    )
    baseline = choose("tensor-core:b2", Workload("w", layers), SPEC)
    for cost, inputs, bits, sparse in zip(baseline.layers, (20, 40), (18, 16), (True, False), strict=True):
        moved = (24 * inputs * bits + (40 + 24) * 2 * 16) / 8
        of_a100(
            layer=cost,
            arithmetic_us=math.ceil(inputs / 16) * TILE_US,
            memory_us=moved / 1555e3,
            times=1 / 2,
            done=2 * 24 * inputs,
            moved=moved / 2,
            shape=(24, 40, 1),
            sparse=sparse,
        )
    assert (baseline.machine.name, baseline.machine.batch) == ("A100 (40 GB) tensor cores (bound)", 2)
    assert baseline.notes == ("kept has 2:4 weights and the higher rate",)
    (alone,) = tensor_core.run_as_is(Workload("w", layers[1:]), tensor_core.TensorCore()).notes
    assert alone == "no layer has 2:4 weights and the higher rate"


# -- rooflines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "peak", "bandwidth", "power", "clock", "node", "area"),
    [
        ("titan-x", 6605e3, 336.5e3, 159, 1075, 28, 601),
        ("tegra-k1", 327e3, 14.9e3, 5.1, 852, 28, None),
        ("i7-5930k", 672e3, 68e3, 73, 3500, 22, 356),
    ],
)
@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_roofline(machine, peak, bandwidth, power, clock, node, area, storage):
    """4 samples: 40 vectors a group. Dense: 720 weights, 12 new inputs a vector; CSR: 500 / 3, gathered one by one."""
    baseline = choose(f"roofline:{machine}:{storage}:b4", BOTH, SPEC)
    kept = 720 if storage == "dense" else 500 / 3
    moved = 4 * 720 + 4 * (12 + 20) * 40 if storage == "dense" else 8 * kept + 4 * 21 + 4 * (kept + 20) * 40
    arithmetic_us, memory_us = 2 * kept * 40 / peak * 3 / 4, moved / bandwidth * 3 / 4
    latency_us = max(arithmetic_us, memory_us)
    holds(
        baseline.layers[0],
        layer="grouped",
        latency_us=latency_us,
        cycles=latency_us * clock,
        energy_nj=latency_us * power * 1e3,
        utilisation=arithmetic_us / latency_us,
        bytes_moved=moved * 3 / 4,
        shape=(60, 108, 10),
        details={"arithmetic_us": arithmetic_us, "memory_us": memory_us},
    )
    # The chain: 6 steps, its windows do not overlap; 1,000 weights or 300 of them.
    moved = 4 * 1000 + 4 * (25 + 40) * 4 if storage == "dense" else 8 * 300 + 4 * 41 + 4 * (300 + 40) * 4
    assert baseline.layers[1].bytes_moved == pytest.approx(moved * 6 / 4)
    assert baseline.layers[1].shape == (40, 25, 6)
    holds(
        baseline.machine,
        name=f"{dict(zip(KEYS, NAMES, strict=True))[machine]} roofline {storage} b4 (bound)",
        how="bound",
        source=baseline.machine.source,
        clock_mhz=clock,
        node_nm=node,
        batch=4,
        dram=True,
        memory="own DRAM",
        weight_bits=32,
        area_mm2=area,
        power_w=power,
    )
    assert baseline.notes == (
        "a roofline assumes full bandwidth and peak arithmetic; nothing is published for this batch size",
    )


KEYS = ("i7-5930k", "titan-x", "tegra-k1")
NAMES = ("Core i7-5930K", "GeForce Titan X", "Tegra K1")


def test_roofline_bound_by_arithmetic():
    """1,024 vectors on 512 x 256: 2 * 131,072 * 1,024 operations against 4 * (131,072 + 768 * 1,024) bytes."""
    layer = LayerWork(name="a", outputs=512, inputs=256, products=1024, kept_weights=512 * 256)
    (cost,) = roofline.run(Workload("w", (layer,)), "tegra-k1").layers
    assert cost.latency_us == pytest.approx(2 * 131072 * 1024 / 327e3)
    assert cost.utilisation == 1
    assert cost.bytes_moved == 4 * (131072 + 768 * 1024)


# -- measured, published, read ----------------------------------------------------------------------------------------


@pytest.fixture
def steady_clock(monkeypatch):
    """A clock that moves one millisecond a look: each call seems to take half of one."""
    looks = iter(range(1 << 30))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(looks) * 1e-3)


@pytest.mark.parametrize(
    ("storage", "times", "stored"),
    # A dense product of BLAS is one group's; onnxruntime's operator, CSR and CSC hold all three; 8 bytes a non-zero.
    [
        ("blas", (3 / 4, 6 / 4), (2160, 1000)),
        ("dense", (1 / 4, 6 / 4), (2160, 1000)),
        ("csr", (1 / 4, 6 / 4), (1000, 600)),
        ("csc", (1 / 4, 6 / 4), (1000, 600)),
    ],
)
def test_measured(steady_clock, monkeypatch, storage, times, stored):
    """A run repeats a call of 1 ms twice to fill 2 ms, so one counts as half of it; 4 samples share the weights."""
    pytest.importorskip({"dense": "onnxruntime", "blas": "numpy"}.get(storage, "scipy"))
    if storage == "blas":
        monkeypatch.setattr(dense_here, "has_onnxruntime", lambda: False)
        storage = "dense"
    baseline = choose(f"measured:{storage}:b4", BOTH, SPEC)
    values = ((108 + 60) * 10, (25 + 40) * 6)
    steps = (1, 6)
    for i, shape in enumerate(((60, 108, 10), (40, 25, 6))):
        holds(
            baseline.layers[i],
            layer=BOTH.layers[i].name,
            latency_us=500 * times[i],
            samples_us=(500 * times[i],) * 13,
            bytes_moved=4 * (stored[i] * steps[i] / 4 + values[i]),
            shape=shape,
        )
    holds(
        baseline.machine,
        name=f"measured {storage} b4",
        how="measured",
        source=baseline.machine.source,
        batch=4,
        dram=True,
        memory="own DRAM",
        weight_bits=32,
    )


@pytest.mark.parametrize(("processor", "name"), [("a Z80", "a Z80"), ("", "z80")])
def test_a_processor_that_linux_does_not_name(monkeypatch, processor, name):
    def unreadable(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(measured.Path, "read_text", unreadable)
    monkeypatch.setattr(measured.platform, "processor", lambda: processor)
    monkeypatch.setattr(measured.platform, "machine", lambda: "z80")
    assert measured.cpu_name() == name


def test_published():
    """Table IV's Tegra K1, sparse, batch 64: NT-We (600 x 4096) 236.3 us at 5.1 W (Table V)."""
    baseline = choose("published:mgpu_sparse_b64", BOTH, SPEC)
    assert [layer.layer for layer in baseline.layers][6] == "NT-We"
    holds(baseline.layers[6], layer="NT-We", latency_us=236.3, energy_nj=236.3 * 5.1 * 1e3, shape=(600, 4096, 1))
    holds(
        baseline.machine,
        name="Tegra K1 sparse b64 (Table IV)",
        how="published",
        source=published.SOURCE,
        clock_mhz=852,
        node_nm=28,
        batch=64,
        dram=True,
        memory="own DRAM",
        power_w=5.1,
    )
    holds(
        choose("published:eie_actual", BOTH, SPEC).machine,
        name="EIE 64PE actual (Table IV)",
        how="published",
        source=published.SOURCE,
        clock_mhz=800,
        node_nm=45,
        batch=1,
        dram=False,
        memory="not paid",
        area_mm2=40.8,
        power_w=0.59,
    )
    assert published.platform("EIE 64PE").frames_per_s_mm2 == pytest.approx(81967 / 40.8)
    assert published.platform("mgpu").frames_per_s_mm2 is None
    assert published.shapes()["NT-We"] == (600, 4096, 0.1)


def test_scalesim(root):
    """The report's second layer at 400 MHz, beside its accesses: 46,100 + 1,200 + 23,040 words through DRAM."""
    baseline = choose(f"{root / 'tests/fixtures/scalesim/COMPUTE_REPORT.csv'}@400", BOTH, SPEC)
    layer = baseline.layers[1]
    holds(
        layer,
        layer="layer 1",
        latency_us=3109 / 400,
        cycles=3109,
        utilisation=0.4342232229012544,
        bytes_moved=46100 + 1200 + 23040,
        details=layer.details,
    )
    assert layer.details["Mapping Efficiency %"] == 46.875
    assert layer.details["Total Cycles (incl. prefetch)"] == 4053
    assert layer.details["DRAM Filter Reads"] == 1200
    assert layer.details["Avg OFMAP DRAM BW"] == 1001.7391304347826
    assert not any("Cycle" in name and name.endswith(("Start Cycle", "Stop Cycle")) for name in layer.details)
    holds(
        baseline.machine,
        name="SCALE-Sim scalesim",
        how="imported",
        source=str(root / "tests/fixtures/scalesim/COMPUTE_REPORT.csv"),
        clock_mhz=400.0,
        dram=False,
        memory="own DRAM",
    )
    assert baseline.notes == ()
    assert scalesim.CLOCK_MHZ == 800


def test_a_table_of_any_other_machine(tmp_path):
    """Every quantity in every unit that a column may have."""
    file = tmp_path / "profile.csv"
    file.write_text(
        "op,ns,ms,s,us,cycles,pj,uj,mj,j,nj,share,pct,bytes,m,k,v\n"
        "first,1500,0.25,2e-6,3,700,4000,5,0.5,1e-9,8,0.5,12.5,900,30,40,6\n"
        "second,500,0.5,1e-6,2,100,2000,6,0.25,2e-9,9,0.25,25,800,10,20,3\n"
    )
    sizes = {"layer": "op", "outputs": "m", "inputs": "k", "products": "v", "bytes_moved": "bytes"}
    for column, first, second in (("ns", 1.5, 0.5), ("us", 3, 2), ("ms", 250, 500), ("s", 2, 1)):
        for energy, before, after in (("pj", 4, 2), ("nj", 8, 9), ("uj", 5e3, 6e3), ("mj", 5e5, 2.5e5), ("j", 1, 2)):
            shares = {"utilisation": "share"} if energy == "pj" else {"utilisation_pct": "pct"}
            columns = {**sizes, f"latency_{column}": column, f"energy_{energy}": energy, **shares}
            baseline = reports.read(file, columns)
            for cost, name, us, nj, share, moved, shape in zip(
                baseline.layers,
                ("first", "second"),
                (first, second),
                (before, after),
                (0.5, 0.25) if energy == "pj" else (0.125, 0.25),
                (900, 800),
                ((30, 40, 6), (10, 20, 3)),
                strict=True,
            ):
                holds(cost, layer=name, latency_us=us, energy_nj=nj, utilisation=share, bytes_moved=moved, shape=shape)
    by_cycles = reports.read(file, {"layer": "op", "cycles": "cycles"}, 350)
    holds(by_cycles.layers[0], layer="first", latency_us=2.0, cycles=700)
    holds(by_cycles.machine, name="profile", how="imported", source=str(file), clock_mhz=350, batch=None)
    assert by_cycles.notes == ()
    unsaid = reports.read(file, {"layer": "op", "cycles": "cycles"})
    assert (unsaid.layers[1].latency_us, unsaid.machine.clock_mhz) == (100 / 800, 800)
    assert unsaid.notes == ("profile.csv states no clock: 800 MHz taken (FILE@MHZ sets another)",)


def test_our_own_result_as_a_machine(tmp_path):
    """A full 6 x 4 layer on 3 PEs at 400 MHz: 2 entries a column and PE, so 3 + 4 * 2 + 5 = 16 cycles."""
    spec = eie.EIE_64PE.replace(name="small", n_pe=3, clock_mhz=400.0)
    result = eie.simulate(eie.compile(eie.Layer.from_weights("fc", np.ones((6, 4))), spec), np.ones(4))
    result.to_json(str(tmp_path / "result.json"))
    baseline = choose(str(tmp_path / "result.json"), BOTH, SPEC)
    holds(
        baseline.layers[0],
        layer="fc",
        latency_us=16 / 400,
        cycles=16,
        energy_nj=result.energy().total_nj,
        energy_bounds_nj=(result.energy().low_nj, result.energy().high_nj),
        utilisation=24 / (3 * 16),
        dram_bytes=0,
        shape=(6, 4, 1),
    )
    # Three PEs of 638,024 um2 and one LNZD unit of 189.
    holds(
        baseline.machine,
        name="small 3 PEs",
        how="modelled",
        source="result.json",
        clock_mhz=400,
        node_nm=45,
        batch=1,
        dram=False,
        memory="same DRAM",
        weight_bits=4,
        area_mm2=(3 * (758 + 121849 + 469412 + 3110 + 18934 + 23961) + 189) * 1e-6,
        spec=result.spec,
    )


def test_no_field_of_a_cost_or_a_machine_is_left_out():
    """`holds` takes what is not stated for the default; a field that is new must be stated above."""
    assert [field.name for field in fields(LayerCost)] == [
        "layer",
        "latency_us",
        "cycles",
        "energy_nj",
        "utilisation",
        "bytes_moved",
        "dram_bytes",
        "weights",
        "shape",
        "details",
        "samples_us",
        "energy_bounds_nj",
    ]
    assert [field.name for field in fields(Machine)] == [
        "name",
        "how",
        "source",
        "clock_mhz",
        "node_nm",
        "batch",
        "dram",
        "memory",
        "weight_bits",
        "area_mm2",
        "power_w",
        "spec",
    ]


def test_what_a_layer_asks_of_a_machine():
    """GROUPED: 3 groups of 20 x 36, 10 products; CHAIN: 40 x 25, 6 steps."""
    assert (GROUPED.weights, GROUPED.macs, GROUPED.kept_macs) == (2160, 21600, 5000)
    assert (GROUPED.input_values, GROUPED.output_values, GROUPED.fetched_inputs) == (1080, 600, 12)
    assert GROUPED.weight_density == pytest.approx(500 / 2160)
    assert (CHAIN.weights, CHAIN.macs, CHAIN.kept_macs) == (1000, 6000, 1800)
    assert (CHAIN.input_values, CHAIN.output_values, CHAIN.fetched_inputs) == (150, 240, 25)
    assert (GROUPED.shape, CHAIN.shape) == ((60, 108, 10), (40, 25, 6))


def test_layers_of_equal_shape_are_taken_one_after_the_other():
    """None is left out, none taken twice, and none from further up than the last one taken."""

    def cost(name, shape):
        return LayerCost(layer=name, latency_us=1.0, shape=shape)

    a, b = (3, 4, 1), (5, 6, 1)
    theirs = Baseline(
        Machine(name="m", how="imported", source="here"),
        tuple(cost(name, shape) for name, shape in (("p", b), ("q", a), ("r", a), ("s", b), ("t", a))),
    )
    found = match({"one": a, "two": a, "three": b, "four": b, "five": a}, theirs)
    assert {name: taken.layer for name, taken in found.costs.items()} == {
        "one": "q",
        "two": "r",
        "three": "s",
        "five": "t",
    }
    assert found.notes[-2:] == ("no figure for four", "not among our layers: p")


def test_windows_that_overlap_are_fetched_once_by_every_machine_with_a_memory():
    """A 3 x 3 kernel of stride 1 on 4 channels: of 36 inputs 4 are new; dense and systolic count all of them."""
    conv = Conv2d(in_channels=4, out_channels=20, kernel=(3, 3), pads=(1, 1, 1, 1))
    layer = eie.Layer.from_conv(name="c", weights=np.ones((20, 4, 3, 3)), bias=None, conv=conv)
    trace = eie.Trace(layers={"c": eie.LayerTrace.from_dense(np.ones((50, 36)), products=50)})
    workload = Workload.of_network(eie.Network(name="n", layers=(layer,)), trace)
    moved = {name: choose(name, workload, SPEC).layers[0].bytes_moved for name in ("roofline:titan-x", "nm:1:1")}
    assert moved["roofline:titan-x"] == 4 * 720 + 4 * (4 + 20) * 50
    assert moved["nm:1:1"] == (720 * 16 + (4 + 20) * 50 * 16) / 8
    assert choose("dense", workload, SPEC).layers[0].bytes_moved == (720 * 50 + 36 * 50 + 20 * 50) * 12 / 8


# -- energy and area --------------------------------------------------------------------------------------------------

# 100 PEs: 25 + 7 + 2 + 1 LNZD units; SRAMs of other sizes and widths; 28 nm at 1,000 MHz; two memory cells.
# 5-bit codes, 32 activation registers, numbers of 20 bits.
OTHER = eie.EIE_64PE.replace(
    n_pe=100,
    act_queue_depth=12,
    weight_bits=5,
    act_registers=32,
    data_bits=20,
    clock_mhz=1000.0,
    node_nm=28,
    spmat_kib=64,
    spmat_row_bits=128,
    ptr_kib=16,
    ptr_bits=32,
    act_kib=8,
)
LNZD = 25 + 7 + 2 + 1
MW = {"act_queue": 0.112, "ptr_read": 1.807, "spmat_read": 4.955, "arithm": 1.162, "act_rw": 1.122}
UM2 = {"act_queue": 758, "ptr_read": 121849, "spmat_read": 469412, "arithm": 3110, "act_rw": 18934, "filler": 23961}
FC8_PJ = 64 * 9.9075e3  # of a milliwatt in each of 64 PEs
# Table II by unit and kind, mW (docs/energy.md; how they are come by is test_energy's): memory, what of it itrs-lop
# leaks, clock, registers, logic. Units add up to the printed power x 9.157 / 9.158.
CELLS = {
    "act_queue": (0, 0, 0.0576397625, 0.0315573086, 0.0227906992),
    "ptr_read": (1.5550167420, 0.82842, 0.1295934546, 0.0709513791, 0.0512411105),
    "spmat_read": (3.7898625500, 2.79514, 0.5994141979, 0.3281744755, 0.2370077197),
    "arithm": (0, 0, 0.5465312894, 0.2992215064, 0.3161203206),
    "act_rw": (0.0711207080, 0.06803, 0.5408212956, 0.2960953305, 0.2138401501),
}
# Square micrometres: memory, clock, registers, logic.
CELLS_UM2 = {
    "act_queue": (0, 35.0242558, 382.7997473, 340.1759969),
    "ptr_read": (121287.5275368, 25.9434765, 283.5508140, 251.9781727),
    "spmat_read": (468556.8290005, 39.5141528, 431.8723516, 383.7844950),
    "arithm": (0, 118.9852987, 1300.4571041, 1690.5575972),
    "act_rw": (4941.6434627, 646.5328162, 7066.3199829, 6279.5037382),
}


def test_cells_of_table_ii():
    for unit, (memory, leakage, clock, register, logic) in CELLS.items():
        assert vars(unit_powers()[unit]) == pytest.approx(
            {
                "memory": memory,
                "leakage": leakage,
                "clock_network": clock,
                "register": register,
                "combinational": logic,
            }
        )
    for unit, cells in CELLS_UM2.items():
        names = ("memory", "clock_network", "register", "combinational")
        assert vars(unit_areas()[unit]) == pytest.approx(dict(zip(names, cells, strict=True)))


def by_hand(
    *, static, node=1.0, lnzd=21, slot=1.0, wires=0.0, spmat=1.0, ptr=1.0, act=1.0, bits=None, logic=None, writes
):
    """Every action's price from `CELLS`; ratios of memories, of registers and of logic are those of the machine."""
    bits = bits or dict.fromkeys(CELLS, 1.0)
    logic = logic or bits

    def memory(unit):
        return CELLS[unit][0] - static * CELLS[unit][1]

    def pj(milliwatts, actions):
        return milliwatts * FC8_PJ * node / actions

    row = pj(memory("spmat_read"), 100900) * spmat
    spmat_write, act_write, act_write_before = writes
    read = pj(memory("act_rw"), 4096 + 1000 * act_write_before) * act

    def switched(unit, actions):
        return pj(CELLS[unit][3] * bits[unit] + CELLS[unit][4] * logic[unit], actions)

    return {
        "act_queue": switched("act_queue", 112640),
        "ptr_read": pj(memory("ptr_read"), 112640) * ptr + switched("ptr_read", 112640),
        "spmat_read": row + pj(CELLS["spmat_read"][3] * bits["spmat_read"], 100900),
        "entry": pj(CELLS["spmat_read"][4] * logic["spmat_read"], 453748),
        "arithm": switched("arithm", 453748),
        "act_rw": switched("act_rw", 453748),
        "lnzd": 0.023 * lnzd * 9.9075e3 * node / 1760 * slot + wires,
        "spmat_write": row * spmat_write,
        "act_sram_read": read,
        "act_sram_write": read * act_write,
    }


@pytest.mark.parametrize(("reading", "static"), [("none", 0), ("lop", 1)])
def test_prices_of_the_papers_machine(reading, static):
    """CACTI 7, itrs-lop, 45 nm: writes over reads of 128 KiB x 64 bits and of 2 KiB x 16 bits."""
    priced = prices(eie.EIE_64PE, reading=reading)
    act_write = 0.7832 / 0.9986
    expected = by_hand(static=static, writes=(10.5387 / 15.545, act_write, act_write))
    assert priced.action_pj == pytest.approx(expected)
    assert priced.clock_pj == pytest.approx({unit: cells[2] / 800 * 1e3 for unit, cells in CELLS.items()})
    assert sum(priced.clock_pj.values()) == pytest.approx(1.874 / 0.8)
    leakage = {"act_queue": 0, "ptr_read": 2 * 0.41421, "spmat_read": 2.79514, "arithm": 0, "act_rw": 0.06803}
    assert priced.leakage_mw == pytest.approx({unit: 64 * static * mw for unit, mw in leakage.items()})


# Bits of OTHER over EIE_64PE's: the index of a column takes 12 bits and not 14, since 16 KiB hold 4,096 pointers of 32.
OTHER_BITS = {
    "act_queue": 12 * (20 + 12) / (8 * (16 + 14)),
    "ptr_read": 2.0,
    "spmat_read": (128 + 32) / (64 + 16),
    "arithm": (32 * 20 + 5 * 20 + 9 + 5) / (16 * 16 + 5 * 16 + 8 + 6),
    "act_rw": 32 * 20 / (64 * 16),
}
OTHER_LOGIC = {**OTHER_BITS, "arithm": (20 * 20 + 32 * 20) / (16 * 16 + 16 * 16)}


@pytest.mark.parametrize(("reading", "static"), [("none", 0), ("lop", 1)])
@pytest.mark.parametrize("cell", ["itrs-lop", "itrs-lstp"])
def test_prices_of_another_machine(root, cell, reading, static):
    """100 PEs at 28 nm: all of CACTI is at 45 nm, and the node a factor."""
    small, large = cacti(root, 45, cell, 128, 64), cacti(root, 45, cell, 64, 128)
    ptr = cacti(root, 45, cell, 8, 32)["read_pj"] / cacti(root, 45, cell, 16, 16)["read_pj"]
    act_before, act = cacti(root, 45, cell, 2, 16), cacti(root, 45, cell, 8, 16)
    # A tree over 1 + 36 / 64 blocks of 64 PEs: 0.5625 edges as long as the side of a block, 32 wires of 0.121 pJ a mm.
    areas = area_mm2(OTHER, cell)
    wires_mm = 0.5625 * math.sqrt(64 * (sum(areas.values()) - areas["lnzd"]) / 100)
    priced = prices(OTHER, cell, reading)
    assert priced.action_pj == pytest.approx(
        by_hand(
            static=static,
            node=0.6706,
            lnzd=LNZD,
            slot=32 / 30,
            wires=32 * wires_mm * 0.121 * 0.6706,
            spmat=large["read_pj"] / small["read_pj"],
            ptr=ptr,
            act=act["read_pj"] / act_before["read_pj"],
            bits=OTHER_BITS,
            logic=OTHER_LOGIC,
            writes=(
                large["write_pj"] / large["read_pj"],
                act["write_pj"] / act["read_pj"],
                act_before["write_pj"] / act_before["read_pj"],
            ),
        )
    )
    assert priced.clock_pj == pytest.approx(
        {unit: cells[2] / 800 * 1e3 * OTHER_BITS[unit] * 0.6706 for unit, cells in CELLS.items()}
    )
    # Leakage is the low-operating-power cell's in both.
    leakage = {"act_queue": 0, "ptr_read": 2 * 0.22168, "spmat_read": 1.39979, "arithm": 0, "act_rw": 0.22346}
    assert priced.leakage_mw == pytest.approx({unit: static * 100 * mw * 0.6706 for unit, mw in leakage.items()})


def test_prices_in_a_file_are_the_mean_of_both_readings():
    both = [prices(OTHER, reading=reading) for reading in ("none", "lop")]
    flat = prices_pj(OTHER)
    for action in both[0].action_pj:
        assert flat[action] == pytest.approx(sum(each.action_pj[action] for each in both) / 2)
    assert flat["clock"] == pytest.approx(sum(both[0].clock_pj.values()))
    # Half of a PE's leakage at 1,000 MHz.
    assert flat["leakage"] == pytest.approx(0.5 * (2 * 0.22168 + 1.39979 + 0.22346) * 0.6706)
    assert set(flat) == {*both[0].action_pj, "clock", "leakage"}


def test_ideal_residency_counts_no_rows_of_the_activation_sram():
    """What fc8 moves there is in the price of a multiply-add."""
    auto, ideal = (prices(eie.EIE_64PE.replace(residency=residency)) for residency in ("auto", "ideal"))
    assert set(auto.action_pj) - set(ideal.action_pj) == {"act_sram_read", "act_sram_write"}
    assert ideal.action_pj["act_rw"] - auto.action_pj["act_rw"] == pytest.approx(CELLS["act_rw"][0] * FC8_PJ / 453748)


@pytest.mark.parametrize(("node", "scale"), [(45, 1.0), (32, 0.7504), (28, 0.6706)])
@pytest.mark.parametrize(("n_pe", "lnzd"), [(1, 1), (4, 1), (5, 3), (16, 5), (17, 5 + 2 + 1), (64, 21)])
def test_lnzd_at_other_pe_counts_and_nodes(n_pe, lnzd, node, scale):
    spec = eie.EIE_64PE.replace(n_pe=n_pe, node_nm=node)
    assert spec.lnzd_units == lnzd
    assert prices_pj(spec)["lnzd"] == pytest.approx(0.023 * lnzd * 9.9075e3 * scale / 1760)
    assert powers_mw(spec)["lnzd"] == pytest.approx(0.023 * lnzd * scale)
    assert area_mm2(spec)["lnzd"] == pytest.approx(189 * lnzd * (node / 45) ** 2 * 1e-6)


@pytest.mark.parametrize(("node", "scale"), [(45, 1.0), (28, 0.6706)])
def test_broadcast_wires_beyond_64_pes(node, scale):
    """256 PEs are four blocks of 64, joined by three edges as long as a block's side; 30 wires, 0.28 um apart."""
    spec = eie.EIE_64PE.replace(n_pe=256, node_nm=node)
    side_mm = math.sqrt(64 * 0.638024) * node / 45
    lnzd = 64 + 16 + 4 + 1
    assert prices_pj(spec)["lnzd"] == pytest.approx(
        0.023 * lnzd * 9.9075e3 * scale / 1760 + 30 * 3 * side_mm * 0.121 * scale
    )
    wires_mm2 = 30 * 3 * side_mm * 0.28e-3 * node / 45
    assert area_mm2(spec)["lnzd"] == pytest.approx(189 * lnzd * (node / 45) ** 2 * 1e-6 + wires_mm2)


def test_powers():
    """The five units of a PE print 9.158 mW together, the PE 9.157; all scale with the clock and the node."""
    scale = 0.6706 * 1000 / 800
    expected = {unit: mw * 100 * 9.157 / 9.158 * scale for unit, mw in MW.items()}
    assert powers_mw(OTHER) == pytest.approx({**expected, "lnzd": 0.023 * LNZD * scale}, rel=1e-9)


def cacti(root, node, cell, kib, bits):
    """A row of the file, by its columns."""
    names, *lines = (root / "eie/energy/data/sram_cacti7.csv").read_text().splitlines()
    for line in lines:
        words = line.split(",")
        if (float(words[0]), words[1], int(words[2]), int(words[3])) == (node, cell, kib * 1024, bits):
            return {name: float(word) for name, word in zip(names.split(","), words, strict=True) if name != "cell"}
    raise AssertionError((node, cell, kib, bits))


@pytest.mark.parametrize("node", [45, 32, 28])
def test_areas(node):
    """CACTI's areas at 45 nm (lop): what an SRAM grows by is added; registers and logic go by their bits."""
    spec = OTHER.replace(node_nm=node)
    um2 = {
        unit: memory + (clock + register) * OTHER_BITS[unit] + logic * OTHER_LOGIC[unit]
        for unit, (memory, clock, register, logic) in CELLS_UM2.items()
    }
    # 64 KiB x 128 bits instead of 128 KiB x 64 bits
    um2["spmat_read"] += (0.22754 - 0.42967) * 1e6
    # two banks of 8 KiB x 32 bits instead of two of 16 KiB x 16 bits
    um2["ptr_read"] += 2 * (0.02566 - 0.05082) * 1e6
    # 8 KiB x 16 bits instead of 2 KiB x 16 bits
    um2["act_rw"] += (0.02568 - 0.00709) * 1e6
    um2["filler"] = 23961
    shrink = (node / 45) ** 2
    expected = {unit: value * 100 * shrink * 1e-6 for unit, value in um2.items()}
    wires_mm2 = 32 * 0.5625 * math.sqrt(64 * sum(expected.values()) / 100) * 0.28e-3 * node / 45
    expected["lnzd"] = 189 * LNZD * 32 / 30 * shrink * 1e-6 + wires_mm2
    assert area_mm2(spec) == pytest.approx(expected)
    assert eie.area(spec).unit_mm2 == area_mm2(spec)


def test_areas_by_another_cell():
    """The low-standby-power cell, 256 KiB x 32 bits and two pointer banks of 32 KiB x 16 bits: 15 bits of an index."""
    spec = eie.EIE_64PE.replace(n_pe=7, spmat_kib=256, spmat_row_bits=32, ptr_kib=64)
    areas = area_mm2(spec, "itrs-lstp")
    memory, *rest = CELLS_UM2["spmat_read"]
    row = memory + (0.82162 - 0.42959) * 1e6 + sum(rest) * 48 / 80
    assert areas["spmat_read"] == pytest.approx(7 * row * 1e-6)
    assert areas["ptr_read"] == pytest.approx(7 * (0.121849 + 2 * (0.10558 - 0.05081)))
    assert areas["act_rw"] == pytest.approx(7 * 0.018934)
    assert areas["act_queue"] == pytest.approx(7 * 758e-6 * 31 / 30)
    assert set(areas) == {*UM2, "lnzd"}


@pytest.mark.parametrize(
    ("kib", "share"),
    [(80, math.log2(80 / 64)), (96, math.log2(96 / 64)), (120, math.log2(120 / 64))],
)
def test_sizes_between_two_rows_of_cacti(kib, share):
    """log-log between 64 and 128 KiB x 64 bits: nearer to the end that is nearer."""
    memory = sram(kib=kib, width_bits=64, node_nm=45, cell="itrs-lop")
    assert memory.read_pj == pytest.approx(13.069 ** (1 - share) * 15.545**share)
    assert memory.area_mm2 == pytest.approx(0.20908 ** (1 - share) * 0.42967**share)
    assert memory.write_pj == pytest.approx(8.0627 ** (1 - share) * 10.5387**share)
    assert memory.leakage_mw == pytest.approx(1.39757 ** (1 - share) * 2.79514**share)
    assert memory.cycle_ns == pytest.approx(1.1681)
    assert memory.interpolated


def test_sizes_and_widths_between_four_rows_of_cacti():
    """24 KiB x 48 bits: between 16 and 32 KiB, 32 and 64 bits, at 32 nm."""
    share = math.log2(1.5)  # of the way from 16 to 32, and from 32 to 64

    def between(low, high):
        return low ** (1 - share) * high**share

    memory = sram(kib=24, width_bits=48, node_nm=28, cell="itrs-lop")
    assert memory.read_pj == pytest.approx(between(between(2.0637, 2.522), between(2.4485, 3.1845)))
    assert memory.area_mm2 == pytest.approx(between(between(0.02999, 0.032), between(0.06186, 0.06716)))
    assert memory.cycle_ns == pytest.approx(0.4157)
    assert memory.interpolated


def test_energy_of_a_run_by_both_methods(root):
    """Half of 100 x 300 on 5 PEs of 2 KiB, streamed: counts x prices, clock, leakage; time x powers; bits x 20 pJ."""
    spec = eie.EIE_64PE.replace(
        n_pe=5, clock_mhz=500.0, node_nm=32, spmat_kib=2, stream_kib=1, ptr_kib=16, stream="layer", dram_burst_bytes=4
    )
    rng = np.random.default_rng(0)
    layer = eie.Layer.from_weights("a", (rng.random((100, 300)) < 0.5) * 1.0)
    result = eie.simulate(eie.compile(layer, spec), (rng.random((3, 300)) < 0.4).astype(np.float32))
    row = result.layers[0]
    activity = row.activity
    # Every column: entries of 8 bits, a pointer of 16 bits a PE, in whole bursts of 32.
    (image,) = row.encoded.passes
    columns = np.diff(image.pointers, axis=0).sum(axis=1)
    bits_of_dram = sum(math.ceil((int(entries) * 8 + 5 * 16) / 32) * 32 for entries in columns)
    assert activity.counts["dram_bits"].tolist() == [bits_of_dram] * 3
    assert activity.total_cycles.tolist() == activity.cycles.tolist()
    counts = {name: float(np.mean(values)) for name, values in activity.counts.items()}
    assert counts["broadcasts"] == np.mean(activity.active_inputs)
    assert counts["ptr_reads"] == pytest.approx(5 * counts["broadcasts"])
    lop, reading = cacti(root, 45, "itrs-lop", 2, 64), cacti(root, 45, "itrs-lop", 128, 64)
    act = cacti(root, 45, "itrs-lop", 2, 16)
    ptr = cacti(root, 45, "itrs-lop", 8, 16)["read_pj"] / cacti(root, 45, "itrs-lop", 16, 16)["read_pj"]
    totals = []
    for static in (0, 1):
        act_write = act["write_pj"] / act["read_pj"]
        # A bank of 8 KiB over one of 16, and 2 KiB over 128; 12 bits more of an index are 13: 8,192 pointers.
        bits = dict.fromkeys(CELLS, 1.0) | {"act_queue": 29 / 30}
        pj = by_hand(
            static=static, node=0.7504, lnzd=2 + 1, slot=29 / 30, bits=bits, ptr=ptr,
            spmat=lop["read_pj"] / reading["read_pj"], writes=(lop["write_pj"] / lop["read_pj"], act_write, act_write),
        )  # fmt: skip
        done = {
            "act_queue": counts["ptr_reads"], "ptr_read": counts["ptr_reads"], "spmat_read": counts["spmat_reads"],
            "entry": counts["entries"], "arithm": counts["macs"], "act_rw": counts["macs"],
            "lnzd": counts["broadcasts"], "spmat_write": counts["dram_bits"] / 64,
            # A number a row.
            "act_sram_read": 300, "act_sram_write": 100,
        }  # fmt: skip
        dynamic = sum(pj[action] * times for action, times in done.items())
        clock = sum(cells[2] * bits[unit] for unit, cells in CELLS.items()) / 0.8 * 0.7504 * 5 * row.total_cycles
        # 2 KiB, two banks of 8 KiB, 2 KiB: mW x us = nJ.
        leakage = static * (lop["leakage_mw"] + 2 * 0.22346 + 0.06803) * 0.7504 * 5 * row.latency_us * 1e3
        totals.append((dynamic, clock, leakage))
    by_actions = result.energy()
    middle = np.mean(totals, axis=0) * 1e-3
    kinds = dict(zip(("dynamic", "clock", "leakage"), middle, strict=True))
    assert by_actions.kind_nj() == pytest.approx({**kinds, "dram": bits_of_dram * 20e-3})
    sums = sorted(sum(total) * 1e-3 + bits_of_dram * 20e-3 for total in totals)
    assert [by_actions.low_nj, by_actions.high_nj] == pytest.approx(sums)
    assert by_actions.total_nj == pytest.approx(sum(sums) / 2)
    assert sum(by_actions.unit_nj().values()) == pytest.approx(by_actions.total_nj)
    us, scale = row.latency_us, 0.7504 * 500 / 800
    assert us == pytest.approx(np.mean(activity.total_cycles) / 500)
    powers = {unit: mw * 5 * 9.157 / 9.158 * scale * us for unit, mw in MW.items()}
    assert result.energy("published-power").unit_nj() == pytest.approx(
        {**powers, "lnzd": 0.023 * 3 * scale * us, "dram": bits_of_dram * 20e-3}
    )


def test_calibration_is_the_cycle_contracts_fc8():
    """docs/cycle-model.md: 7,926 cycles at 800 MHz, 1,760 broadcasts, 100,900 rows read, 453,748 MACs on 64 PEs."""
    table = published_table()
    assert table["calibration.time"] == pytest.approx(7926 / 800)
    counts = [table[f"calibration.{name}"] for name in ("broadcasts", "ptr_reads", "spmat_reads", "macs")]
    assert counts == [1760, 1760 * 64, 100900, 453748]
    # 4,096 activations come out of the activation SRAMs and 1,000 go in: they are part of act_rw.
    assert (table["calibration.act_sram_reads"], table["calibration.act_sram_writes"]) == (4096, 1000)


def test_loading_pays_for_dram_writes_clock_and_leakage():
    """1,000 rows of 64 bits in 8,000 cycles: a bus of 8 bits a cycle."""
    static = 2.79514 + 2 * 0.41421 + 0.06803
    write = 10.5387 / 15.545
    rows = 1000 * (3.78986255 - 2.79514 / 2) * FC8_PJ / 100900 * write
    waiting = 8000 * 64 * (1.874 / 0.8 + static / 2 / 0.8)
    assert loading_nj(eie.EIE_64PE, bits=64000, cycles=8000) == pytest.approx((64000 * 20 + rows + waiting) * 1e-3)
    gated = loading_nj(eie.EIE_64PE.replace(clock_gated=True), bits=64000, cycles=8000)
    assert gated == pytest.approx((64000 * 20 + rows + 8000 * 64 * static / 2 / 0.8) * 1e-3)


def test_notes_on_slow_and_unknown_memories():
    """CACTI's cycle of 256 KiB x 64 bits is 1.17 ns and 3.21 ns, of a pointer bank of 16 KiB 0.72 and 1.10 ns."""
    spec = eie.EIE_64PE.replace(spmat_kib=256, clock_mhz=850.0)
    assert timing_notes(spec) == ()
    logic, lop = timing_notes(spec.replace(clock_mhz=900.0))
    assert logic == ("the clock is too fast: the critical path at 45 nm is 1.15 ns, too slow for 1.11 ns at 900 MHz")
    assert lop == (
        "the clock is too fast: sparse-matrix SRAM 256 KiB x 64 bits (itrs-lop, 45 nm): CACTI 7 gives a cycle of 1.17 "
        "ns, too slow for 1.11 ns at 900 MHz"
    )
    _, *both = timing_notes(spec.replace(clock_mhz=1000.0), "itrs-lstp")
    assert [note.split(": ")[1] for note in both] == [
        "sparse-matrix SRAM 256 KiB x 64 bits (itrs-lstp, 45 nm)",
        "pointer bank SRAM 16 KiB x 16 bits (itrs-lstp, 45 nm)",
    ]
    unknown, between = timing_notes(eie.EIE_64PE.replace(spmat_row_bits=8, ptr_kib=24))
    assert unknown.startswith("sparse-matrix SRAM: no CACTI row near 128 KiB x 8 bits")
    assert unknown.endswith("; its clock is not checked")
    assert between == "pointer bank SRAM 12 KiB x 16 bits lies between CACTI's rows: interpolated"
    _, node = timing_notes(eie.EIE_64PE.replace(node_nm=28, clock_mhz=1500.0))
    assert "(itrs-lop, 32 nm): CACTI 7 gives a cycle of 0.73 ns, too slow for 0.67 ns at 1500 MHz" in node
    (act,) = timing_notes(eie.EIE_64PE.replace(act_kib=64, act_row_bits=64, clock_mhz=860.0))[-1:]
    assert act.startswith("the clock is too fast: activation SRAM 64 KiB x 64 bits")


@pytest.mark.parametrize(
    ("changes", "nanoseconds"),
    [
        ({}, 1.1681),  # 128 KiB x 64 bits
        ({"spmat_kib": 16}, 1.15),  # logic
        ({"ptr_kib": 128, "spmat_kib": 16, "ptr_bits": 32}, 1.15),  # a bank of 64 KiB x 32 bits: 1.0765
        ({"spmat_row_bits": 512}, 1.3618),
        ({"act_kib": 512, "act_row_bits": 64}, 2.4769),
        ({"node_nm": 28}, 0.7264),
        ({"node_nm": 28, "spmat_kib": 16}, 0.7156),
        ({"node_nm": 32, "spmat_kib": 16}, 0.8178),
    ],
)
def test_the_fastest_clock(changes, nanoseconds):
    spec = eie.EIE_64PE.replace(**changes)
    assert fastest_mhz(spec) == pytest.approx(1e3 / nanoseconds)
    assert timing_met(spec.replace(clock_mhz=999.9 / nanoseconds))
    assert not timing_met(spec.replace(clock_mhz=1000.1 / nanoseconds))
