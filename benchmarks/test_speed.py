"""How fast the simulator is: ratios against scipy's CSC product of the same layer, measured in the same run.

``make bench`` prints the table that docs/performance.md quotes. Nothing here is part of CI.
"""

import subprocess
import sys
import tracemalloc
from dataclasses import fields
from pathlib import Path
from time import perf_counter, process_time

import numba
import numpy as np
import pytest
from conftest import median_seconds

import eie
from eie.compression.share import share
from eie.kernels import tallies, timing
from eie.model.matrix import aligned
from eie.simulator import events, fast
from eie.simulator.accounting import account_pass
from eie.simulator.records import Pattern, QueueTiming, Tally
from eie.simulator.stages import time_layer

ROOT = Path(__file__).parent.parent


def report(name, text):
    print(f"\n{name:34s} {text}")


def cycles_only(encoding, pattern, spec):
    """Return a call that counts the cycles of one input, what every run and sweep calls, its arrays made beforehand."""
    counts = encoding.counts.reshape(-1)
    number = fast.backlog_type(encoding, spec.act_queue_depth)
    room = np.empty(encoding.counts.shape[1] + timing.LANES, number)
    timed = QueueTiming.blank(1, encoding.n_pe)
    sizes = (
        encoding.inputs,
        encoding.scan_rows,
        encoding.n_pe,
        encoding.n_pe,
        spec.act_queue_depth,
        np.iinfo(number).max,
    )
    out = [getattr(timed, field.name) for field in fields(timed)]

    def call():
        timing.queue_samples(pattern.starts, pattern.positions, counts, *sizes, room, *out)
        return int(timed.cycles[0])

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
    spec = eie.EIE_64PE.replace(n_pe=n_pe, act_queue_depth=depth, residency="ideal")
    encoding = eie.compile(eie.Layer.from_weights("Alex-6", alex6.dense), spec).layers[0].passes[0]
    pattern = Pattern.of(eie.LayerTrace.from_dense(alex6.inputs), encoding)
    call = cycles_only(encoding, pattern, spec)
    silicon_us = call() / spec.clock_mhz
    ratio, _, _, ours = against_product(call)
    kind = np.dtype(fast.backlog_type(encoding, depth))
    report(f"   {n_pe:3d} PEs, queue {depth:2d} ({kind})", f"{ratio:.0f}x; {silicon_us / (1e6 * ours):.2f}x real time")


def counts_only(encoding, pattern, spec):
    """Return a call that counts what no queue changes, its arrays and tables made beforehand."""
    table, counts = encoding.row_table(spec.entries_per_row), encoding.counts.reshape(-1)
    rows = table.rows.reshape(-1)
    counted = Tally.blank(1, encoding.n_pe)
    room = np.empty(2 * encoding.counts.shape[1] + timing.LANES, counts.dtype)
    sizes = encoding.inputs, encoding.n_pe, np.iinfo(counts.dtype).max // encoding.largest_slot
    out = [getattr(counted, field.name) for field in fields(counted)]

    def call():
        tables = counts, rows, table.totals
        tallies.tally_samples(pattern.starts, pattern.positions, *tables, *sizes, room, *out)

    return call


def test_every_count(benchmark, alex6, against_product):
    """b: all counts and per-PE cycles, at least 30 times faster than the product."""
    queues = cycles_only(alex6.encoding, alex6.pattern, eie.EIE_64PE)
    tallies = counts_only(alex6.encoding, alex6.pattern, eie.EIE_64PE)

    def call():
        queues()
        tallies()

    benchmark(call)
    ratio, worst, _, ours = against_product(call)
    report("b. every count of the contract", f"{ratio:.0f}x (worst {worst:.0f}x); {1e6 * ours:.1f} us")


@pytest.mark.parametrize("n_pe", [64, 256, 1024])
def test_the_split(alex6, n_pe):
    """b: why PEs idle, the queues' walk included, at most four times the queue kernel."""
    spec = eie.EIE_64PE.replace(n_pe=n_pe, residency="ideal")
    encoding = eie.compile(eie.Layer.from_weights("Alex-6", alex6.dense), spec).layers[0].passes[0]
    pattern = Pattern.of(eie.LayerTrace.from_dense(alex6.inputs), encoding)
    queues = cycles_only(encoding, pattern, spec)

    def split():
        account_pass(encoding, pattern, spec.act_queue_depth, threads=1)

    queues()
    split()
    ours, theirs = least_seconds(split), least_seconds(queues)
    report(f"b. the split, {n_pe} PEs", f"{1e6 * ours:.0f} us, {ours / theirs:.2f} times the queues (target 4)")


def registers_only(encoding, pattern):
    """Return a call that makes the loads, stores and vector operations of `timing.queue_samples` and waits for none."""
    counts, stride = encoding.counts.reshape(-1), encoding.counts.shape[1]
    backlog = aligned((stride,), np.uint8)

    @numba.njit
    def move(positions, counts, backlog):
        for k in range(positions.shape[0]):
            start = np.uint64(positions[k]) * np.uint64(backlog.shape[0])
            for at in range(np.uint64(0), np.uint64(backlog.shape[0]), np.uint64(128)):
                for lane in range(np.uint64(128)):
                    waiting = backlog[at + lane]
                    left = np.uint8(waiting - 3) if waiting > 3 else np.uint8(0)
                    backlog[at + lane] = np.uint8(left + counts[start + at + lane])

    return lambda: move(pattern.positions, counts, backlog)


@pytest.mark.parametrize("n_pe", [128, 256, 512, 1024])
def test_against_this_processors_limit(alex6, n_pe):
    """g: the queue kernel within 1.5 of what its memory traffic and vector operations take alone."""
    spec = eie.EIE_64PE.replace(n_pe=n_pe, residency="ideal")
    encoding = eie.compile(eie.Layer.from_weights("Alex-6", alex6.dense), spec).layers[0].passes[0]
    pattern = Pattern.of(eie.LayerTrace.from_dense(alex6.inputs), encoding)
    call, limit = cycles_only(encoding, pattern, spec), registers_only(encoding, pattern)
    silicon_us = call() / spec.clock_mhz
    limit()
    pairs = [(least_seconds(call), least_seconds(limit)) for _ in range(5)]
    ours, least = (1e6 * min(column) for column in zip(*pairs, strict=True))
    report(
        f"g. {n_pe} PEs against the limit",
        f"{ours:.0f} us, limit {least:.0f} us ({ours / least:.2f}x), the chip {silicon_us:.1f} us",
    )


def least_seconds(call, rounds=20):
    """Least processor time of several calls: what else the machine does adds to it, and takes nothing away."""
    seconds = []
    for _ in range(rounds):
        start = process_time()
        call()
        seconds.append(process_time() - start)
    return min(seconds)


@pytest.mark.parametrize(("n_pe", "target"), [(64, 1.0), (1024, 2.0)])
@pytest.mark.parametrize("datapath", ["fixed", "none"])
def test_what_a_user_calls(alex6, processor_share, n_pe, target, datapath):
    """f: `eie.simulate`, warm, one thread: both datapaths and all counts, or counts only (1/8 at 64 PEs)."""
    spec = eie.EIE_64PE.replace(n_pe=n_pe, residency="ideal")
    program = eie.compile(eie.Layer.from_weights("Alex-6", alex6.dense), spec)
    ratio, ours, product = processor_share(lambda: eie.simulate(program, alex6.inputs, datapath=datapath, threads=1))
    wanted = target if datapath == "fixed" else 1 / 8
    report(
        f"f. simulate, {n_pe} PEs, {datapath}",
        f"{ratio:.3f} of the product (target {wanted:g}); {1e6 * ours:.0f} us, product {1e6 * product:.0f} us",
    )


def test_a_batch(alex6, processor_share):
    """f: 64 inputs at once, processor time a sample, threads as they come."""
    program = eie.compile(eie.Layer.from_weights("Alex-6", alex6.dense), eie.EIE_64PE.replace(residency="ideal"))
    rng = np.random.default_rng(2)
    batch = np.abs(rng.standard_normal((64, 9216))) * (rng.random((64, 9216)) < 0.351)
    ratio, ours, _ = processor_share(lambda: eie.simulate(program, batch), products=64, rounds=3)
    report("f. simulate, a batch of 64", f"{ratio:.2f} of 64 products (target 0.9); {1e3 * ours / 64:.2f} ms a sample")


def test_a_small_call():
    """f: what `eie.simulate` itself costs, on an 8 x 8 layer."""
    rng = np.random.default_rng(0)
    program = eie.compile(eie.Layer.from_weights("8 x 8", rng.standard_normal((8, 8))))
    inputs = rng.random(8)
    eie.simulate(program, inputs)
    # All of it is the interpreter, which memory does not slow: a loop in Python is the fairer yardstick here.
    pairs = [(least_seconds(lambda: eie.simulate(program, inputs), 100), least_seconds(a_loop, 100)) for _ in range(5)]
    seconds, loop = (min(column) for column in zip(*pairs, strict=True))
    report(
        "f. simulate, 8 x 8",
        f"{1e6 * seconds:.0f} us (target 250); {seconds / loop:.2f} of 5,000 rounds of a loop, {1e6 * loop:.0f} us",
    )


def a_loop():
    """What the interpreter is measured by."""
    total = 0
    for i in range(5000):
        total += i * i % 7
    return total


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


@pytest.mark.parametrize("bits", [4, 8])
def test_clustering(bits):
    """g: 10^7 weights; beside it, what sorting them alone takes here."""
    weights = np.random.default_rng(0).standard_normal((10_000_000, 1)).astype(np.float32)
    share(eie.Layer.from_weights("warm", weights[:10_000]), bits)
    layer = eie.Layer.from_weights("wide", weights)
    ours = least_seconds(lambda: share(layer, bits), 3)
    sorting = least_seconds(lambda: np.sort(weights[:, 0]), 3)
    report(
        f"g. clustering 10^7 weights, {bits} bits",
        f"{ours:.2f} s of processor time, {ours / sorting:.1f} times that of sorting them (target 2 s)",
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
    """e: import and help at most 0.35 s, the shipped model at most 1.2 s with a warm cache."""

    def call():
        subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT)

    call()
    bare = median_seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True), 5)
    start = perf_counter()
    seconds = median_seconds(call, 5)
    assert perf_counter() > start
    report(f"e. python {' '.join(words)[:24]}", f"{seconds:.2f} s ({bare:.2f} s of it Python itself)")
