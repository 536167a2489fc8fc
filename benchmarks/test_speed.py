"""How fast the simulator is: ratios against scipy's CSC product of the same layer, measured in the same run.

``make bench`` prints the table that docs/performance.md quotes. Nothing here is part of CI.
"""

import subprocess
import sys
import tracemalloc
from dataclasses import fields
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from conftest import median_seconds

import eie
from eie.kernels import timing
from eie.simulator import events, fast
from eie.simulator.records import Pattern, QueueTiming, Tally
from eie.simulator.stages import time_layer

ROOT = Path(__file__).parent.parent


def report(name, text):
    print(f"\n{name:34s} {text}")


def cycles_only(encoding, pattern, spec):
    """Return a call that counts the cycles of one input, what every run and sweep calls, its arrays made beforehand."""
    slots = encoding.slots.reshape(-1)
    backlog = np.empty(encoding.slots.shape[1], fast.backlog_type(encoding, spec.act_queue_depth))
    one = QueueTiming.blank(1, encoding.n_pe)
    sizes = (encoding.inputs, encoding.scan_rows, encoding.n_pe, spec.act_queue_depth)
    out = [getattr(one, field.name) for field in fields(one)]

    def call():
        timing.queue_samples(pattern.starts, pattern.positions, slots, *sizes, backlog, *out)
        return int(one.cycles[0])

    return call


def test_cycles_only(benchmark, alex6, against_product):
    """a: at least 100 times faster than the product, and faster than the silicon."""
    call = cycles_only(alex6.encoding, alex6.pattern, eie.EIE_64PE)
    silicon_us = benchmark(call) / 800
    ratio, worst, product, ours = against_product(call)
    report(
        "a. cycles only, Alex-6, 64 PEs",
        f"{ratio:.0f}x faster than the product (worst of 15: {worst:.0f}x); {1e6 * ours:.1f} us, product "
        f"{1e6 * product:.0f} us, the chip {silicon_us:.1f} us ({silicon_us / (1e6 * ours):.2f}x real time)",
    )


@pytest.mark.parametrize("n_pe", [1, 4, 16, 64, 128, 256])
@pytest.mark.parametrize("depth", [2, 8, 64])
def test_cycles_only_elsewhere(alex6, against_product, n_pe, depth):
    """a, for other machines: where the simulator outruns the chip it simulates, and where not."""
    spec = eie.EIE_64PE.replace(n_pe=n_pe, act_queue_depth=depth)
    encoding = eie.compile(eie.Layer.from_weights("Alex-6", alex6.dense), spec).layers[0].passes[0]
    pattern = Pattern.of(eie.LayerTrace.from_dense(alex6.inputs), encoding)
    call = cycles_only(encoding, pattern, spec)
    silicon_us = call() / spec.clock_mhz
    ratio, _, _, ours = against_product(call)
    kind = np.dtype(fast.backlog_type(encoding, depth))
    report(f"   {n_pe:3d} PEs, queue {depth:2d} ({kind})", f"{ratio:.0f}x; {silicon_us / (1e6 * ours):.2f}x real time")


def test_every_count(benchmark, alex6, against_product):
    """b: all counts and per-PE cycles, at least 25 times faster than the product."""

    spec, queue, tally = eie.EIE_64PE, QueueTiming.blank(1, 64), Tally.blank(1, 64)
    slots = alex6.encoding.slots.reshape(-1)
    table = alex6.encoding.sram_table(spec.entries_per_row).reshape(-1)
    totals = alex6.encoding.column_totals(spec.entries_per_row)
    backlog = np.empty(64, fast.backlog_type(alex6.encoding, spec.act_queue_depth))
    state = np.empty(256, table.dtype)
    timed, counted = ([getattr(one, field.name) for field in fields(one)] for one in (queue, tally))
    starts, positions, columns = alex6.pattern.starts, alex6.pattern.positions, alex6.encoding.inputs
    scan_rows, depth = alex6.encoding.scan_rows, spec.act_queue_depth

    def call():
        timing.queue_samples(starts, positions, slots, columns, scan_rows, 64, depth, backlog, *timed)
        timing.tally_samples(starts, positions, table, totals, columns, 64, state, *counted)

    benchmark(call)
    ratio, worst, _, ours = against_product(call)
    report("b. every count of the contract", f"{ratio:.0f}x (worst {worst:.0f}x); {1e6 * ours:.1f} us")


def test_compile(alex6):
    """c: from float32 with zeros in at most 1.5 s and twice the dense array."""
    layer = eie.Layer.from_weights("warm", alex6.dense[:64])
    eie.compile(layer)
    seconds = median_seconds(lambda: eie.compile(eie.Layer.from_weights("Alex-6", alex6.dense)), 5)
    noisy = alex6.dense + (alex6.dense != 0) * np.random.default_rng(1).random(alex6.dense.shape, np.float32)
    clustered = median_seconds(lambda: eie.compile(eie.Layer.from_weights("Alex-6", noisy)), 5)
    tracemalloc.start()
    eie.compile(eie.Layer.from_weights("Alex-6", noisy))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    report(
        "c. compile Alex-6 from float32",
        f"{seconds:.2f} s shared already, {clustered:.2f} s with clustering; peak {1 + peak / noisy.nbytes:.2f} x the "
        "dense array, itself included",
    )


def test_events():
    """d: the readable engine, for the record."""
    rng = np.random.default_rng(0)
    layer = eie.Layer.from_weights("square", (rng.random((256, 256)) < 0.1) * 1.0)
    program, trace = eie.compile(layer), eie.LayerTrace.from_dense(rng.random(256) < 0.4)
    encoding = program.layers[0].passes[0]
    pattern = Pattern.of(trace, encoding)
    seconds = median_seconds(lambda: events.time_pass(encoding, pattern, program.spec), 5)
    quick = median_seconds(lambda: time_layer(program.layers[0], trace, program.spec), 5)
    report("d. events, 256 x 256, 64 PEs", f"{seconds:.2f} s; the fast engine, all in, {1e3 * quick:.2f} ms")


@pytest.mark.parametrize(
    "words",
    [["-c", "import eie"], ["-m", "eie", "--help"], ["-m", "eie", "run", str(ROOT / "models/lenet-300-100.toml")]],
)
def test_start_up(words):
    """e: import and help at most 0.35 s, the shipped model at most 3 s with a warm cache."""

    def call():
        subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT)

    call()
    bare = median_seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True), 5)
    start = perf_counter()
    seconds = median_seconds(call, 5)
    assert perf_counter() > start
    report(f"e. python {' '.join(words)[:24]}", f"{seconds:.2f} s ({bare:.2f} s of it Python itself)")
