"""The kernels that walk strips, against the rules word by word, in every number type that they choose."""

import numpy as np
import pytest

from eie.compiler.scatter import listed_ranges
from eie.kernels.scatter import NARROW, range_queues
from eie.kernels.scatter_tallies import SHORT, range_tallies
from eie.model.matrix import frozen

N_PE, COLUMNS, ROWS = 5, 12, 40


def strips(seed: int, most: int):
    """Pointers with up to ``most`` entries in a column and PE, and three strips, the second of which is empty."""
    rng = np.random.default_rng(seed)
    entries = rng.integers(0, most + 1, (COLUMNS, N_PE)) * rng.integers(0, 2, (COLUMNS, N_PE))
    pointers = frozen(np.concatenate((np.zeros((1, N_PE)), np.cumsum(entries, axis=0))), np.int32)
    sizes = [30, 0, 45]
    starts = frozen(np.cumsum([0, *sizes]), np.int64)
    places = [np.sort(rng.choice(ROWS * N_PE, size, replace=False)) for size in sizes]
    begins = frozen(rng.integers(0, COLUMNS - 3, sum(sizes)), np.int32)
    ends = frozen(begins + rng.integers(1, 4, sum(sizes)), np.int32)
    return starts, frozen(np.concatenate(places), np.int32), begins, ends, pointers


@pytest.mark.parametrize("most", [3, NARROW])
def test_queues(most: int) -> None:
    starts, positions, begins, ends, pointers = strips(most, most)
    cycles, stall, dead = np.zeros((3, 3), np.int64)
    free, depth = np.zeros((3, N_PE), np.int64), 4
    scan_rows = frozen([ROWS] * 3, np.int64)
    sent = np.empty(0, np.int64)
    listed = listed_ranges(begins, ends)
    range_queues(starts, positions, *listed, scan_rows, pointers, depth, cycles, stall, dead, free, sent)
    for s in (0, 2):
        # When each PE is free, and has taken each activation: a queue of Q holds Q - 1.
        ready, taken, broadcast, row = np.zeros(N_PE, np.int64), [], 1, 0
        before = -1
        for k in range(starts[s], starts[s + 1]):
            steps = positions[k] // N_PE - row
            free_step = before >= 0 and steps > 0 and before % N_PE == N_PE - 1
            row, before = positions[k] // N_PE, positions[k]
            broadcast += 1 + steps - free_step
            if len(taken) >= depth - 1:
                broadcast = max(broadcast, taken[-(depth - 1)] + 1)
            begun = np.maximum(ready, broadcast + 1)
            taken.append(begun.max())
            ready = begun + np.maximum(pointers[ends[k]] - pointers[begins[k]], 1)
        assert free[s].tolist() == ready.tolist()
    assert cycles[1] == 1 + ROWS


@pytest.mark.parametrize("most", [3, 4 * SHORT])
def test_tallies(most: int) -> None:
    starts, _, begins, ends, pointers = strips(most, most)
    padding_before = frozen(np.arange(COLUMNS + 1), np.int64)
    reads, entries, padding = np.zeros((3, 3), np.int64)
    issue, empty = np.zeros((2, 3, N_PE), np.int64)
    listed = listed_ranges(begins, ends)
    range_tallies(starts, *listed, pointers, 2, padding_before, reads, entries, padding, issue, empty)
    for s in range(3):
        counted, held = [0, 0, 0], [-1] * N_PE
        for k in range(starts[s], starts[s + 1]):
            counted[2] += ends[k] - begins[k]
            for pe in range(N_PE):
                for at in range(pointers[begins[k], pe], pointers[ends[k], pe]):
                    counted[0] += at // 2 != held[pe]
                    counted[1] += 1
                    held[pe] = at // 2
        assert [reads[s], entries[s], padding[s]] == counted
        assert issue[s].sum() == counted[1]
