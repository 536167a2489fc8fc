"""How fast sweeps are. ``make bench`` prints the table; docs/sweeps.md quotes it. Nothing here is part of CI.

Seconds of this machine as it is, wall clock and processor time (user + system, all threads): where other work runs
beside it, the second is the one to compare.
"""

import os
from time import perf_counter

import pytest

import eie
from eie.sweeps.vary import check_vary

GRID = {"n_pe": "1:256:x2", "act_queue_depth": "2:512:x2"}


@pytest.fixture(scope="module")
def network():
    """The nine layers of the paper's benchmark; kernels compiled beforehand."""
    network = eie.load("eie-benchmark")
    eie.sweep(network, {"n_pe": [1, 256], "act_queue_depth": [2, 512]})
    return network


def measured(call):
    """Return (result, wall seconds, processor seconds)."""
    before, start = os.times(), perf_counter()
    result = call()
    wall, after = perf_counter() - start, os.times()
    return result, wall, after.user - before.user + after.system - before.system


def report(name, result, wall, busy):
    points = len(result.layers)
    print(f"\n{name:44s} {points} points x layers: {wall:.2f} s, {busy:.2f} s of processor time; "
          f"{1e3 * busy / points:.2f} ms each")  # fmt: skip


def test_grid(benchmark, network):
    """729 points in at most 15 s on two cores."""
    results = []
    benchmark.pedantic(lambda: results.append(measured(lambda: eie.sweep(network, GRID))), rounds=3)
    report("9 layers x 9 PE counts x 9 queue depths", *min(results, key=lambda one: one[1]))


@pytest.mark.parametrize(
    ("name", "vary"),
    [
        ("queue depth", {"act_queue_depth": "2:512:2"}),
        ("clock", {"clock_mhz": "100:2660:10"}),
        ("memory sizes", {"spmat_kib": "32:288"}),
    ],
)
def test_cheap_fields(network, name, vary):
    """Under 1 ms a point and layer after encoding: what the first point costs is taken off."""
    first = {field: values[:1] for field, values in check_vary(vary).items()}
    alone = measured(lambda: eie.sweep(network, first, threads=1))
    result, wall, busy = measured(lambda: eie.sweep(network, vary, threads=1))
    report(f"{name}, after encoding, one thread", result, wall - alone[1], busy - alone[2])
