"""Verdicts under real load, which takes minutes: ``make noise``. `test_noise` judges invented and recorded timings.

The same study several times while every core is kept busy by others, then on the machine as it is: whatever the times
are, no statement may be a pass once and a FAIL another time.
"""

import multiprocessing
import os
import time

import numpy as np

from eie.studies.granularity.claims import statements
from eie.studies.granularity.study import granularity

STUDIES = 5
MACHINES = ["measured:dense", "measured:csr"]
VARIANTS = ["fine:0.5", "fine:0.8", "fine:0.9", "channel:0.3", "channel:0.5"]


def _bother(seed):
    """Work and rest at random, in memory and in registers, as other people's jobs do."""
    rng = np.random.default_rng(seed)
    block = rng.standard_normal((1 << 21,), np.float32)
    while True:
        end = time.monotonic() + rng.uniform(0.001, 0.3)
        while time.monotonic() < end:
            block *= 1.0000001
        time.sleep(rng.uniform(0.0, 0.1))


def _verdicts():
    study = granularity("lenet-300-100-dense", VARIANTS, MACHINES, samples=1, with_search=False)
    for row in study.found:
        for machine in MACHINES:
            print(f"  {row.variant!s:14} {machine:16} {study.speedup_interval(row, machine)}")
    return {statement.claim: statement for statement in statements(study)}


def test_no_verdict_changes_with_the_load():
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=_bother, args=(seed,), daemon=True) for seed in range(2 * (os.cpu_count() or 1))]
    for process in others:
        process.start()
    try:
        busy = [_verdicts() for _ in range(STUDIES)]
    finally:
        for process in others:
            process.terminate()
            process.join()
    runs = [*busy, _verdicts()]
    for claim in runs[0]:
        said = [run[claim].holds for run in runs]
        print(f"{said} {claim}")
        for run in runs:
            print(f"    {run[claim].found[:160]}")
        assert not {True, False} <= set(said), f"{claim}: {said}"
