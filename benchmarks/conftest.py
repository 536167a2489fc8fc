"""The layer that every benchmark runs, and the yardstick: the same product by scipy, on this machine, in this run."""

from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import eie
from eie.compiler.encode import Encoding
from eie.simulator.records import Pattern

# Kernels are timed as they are, whatever the memories hold.
IDEAL = eie.EIE_64PE.replace(residency="ideal")


@dataclass(frozen=True)
class Alex6:
    """4096 x 9216, 9 % of the weights, 35.1 % of the inputs (EIE paper, Table III), random masks.

    Inputs and levels are real numbers, as a user's are: with ones the products would be whole and the branches guessed.
    """

    dense: np.ndarray
    inputs: np.ndarray
    encoding: Encoding
    pattern: Pattern
    product: Any


@pytest.fixture(scope="session")
def alex6():
    rng = np.random.default_rng(0)
    levels = rng.standard_normal(15).astype(np.float32)
    mask = rng.random((4096, 9216), np.float32) < 0.09
    dense = np.zeros(mask.shape, np.float32)
    dense[mask] = rng.choice(levels, int(mask.sum()))
    inputs = np.abs(rng.standard_normal(9216)).astype(np.float32) * (rng.random(9216, np.float32) < 0.351)
    encoding = eie.compile(eie.Layer.from_weights("Alex-6", dense), IDEAL).layers[0].passes[0]
    pattern = Pattern.of(eie.LayerTrace.from_dense(inputs), encoding)
    matrix = scipy.sparse.csc_matrix(dense)
    return Alex6(dense, inputs, encoding, pattern, lambda: matrix @ inputs)


def median_seconds(call, rounds=25):
    """Median of several timed calls."""
    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    return float(np.median(seconds))


@pytest.fixture
def against_product(alex6):
    """Time ``call`` and scipy's CSC product in turn, so that a machine that slows down slows both; return the ratio."""

    def compare(call, calls_a_round=20):
        def several():
            for _ in range(calls_a_round):
                call()

        pairs = [(median_seconds(alex6.product, 3), median_seconds(several, 3) / calls_a_round) for _ in range(15)]
        ratios = [product / ours for product, ours in pairs]
        product, ours = (float(np.median(column)) for column in zip(*pairs, strict=True))
        return float(np.median(ratios)), min(ratios), product, ours

    return compare


@pytest.fixture
def processor_share(alex6):
    """Return ``call``'s processor time over that of ``products`` products, each warm, the least of several in turn."""

    def compare(call, products=1, rounds=5):
        def once(run, times):
            start = process_time()
            for _ in range(times):
                run()
            return process_time() - start

        def seconds(run, times):
            # Warm: behind the other one it takes a handful of calls until all tables are in the caches again.
            return min(once(run, times) for _ in range(10))

        pairs = [(seconds(alex6.product, products), seconds(call, 1)) for _ in range(rounds)]
        product, ours = (min(column) for column in zip(*pairs, strict=True))
        return ours / product, ours, product / products

    return compare
