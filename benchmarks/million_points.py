"""A million points planned, journalled, resumed and reduced to a front: how much memory that takes.

    python benchmarks/million_points.py [POINTS] [--engine]

Prints seconds and the peak of memory of a run that is stopped half-way, of the one that goes on, and of one more over
the finished journal. Every point has the numbers of one layer, scaled by its clock, so that it is the sweep that is
measured; with --engine each is simulated. No part of `make bench`: it takes minutes, with --engine the better part of
an hour.
"""

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import eie
from eie.sweeps import workers
from eie.sweeps.outcome import layer_outcome

KNOWN = []
LIMIT_GIB = 1.0


def work():
    """A small layer: what is measured is the sweep, not the engine."""
    rng = np.random.default_rng(0)
    return eie.Layer.from_weights("fc", rng.choice([0.0, 0.0, 1.0], (30, 40))), rng.random((1, 40)) < 0.5


def vary(points):
    """1,000 clocks, 2 SRAM widths and queue depths by the hundred: cheap fields, so that planning is what counts."""
    return {
        "spmat_row_bits": [32, 64],
        "act_queue_depth": list(range(2, 2 + max(1, points // 2000))),
        "clock_mhz": list(range(200, 1200)),
    }


def scaled(stages, layer, spec, cell):
    """Give the outcome of one machine for all of them, its time and energy scaled."""
    if not KNOWN:
        KNOWN.append(layer_outcome(stages=stages, layer=layer, spec=spec, cell=cell))
    known = KNOWN[0]
    share = 1 / spec.clock_mhz
    record = {**known.record, "latency_us": known.record["latency_us"] * share}
    nj = {method: values * (share + spec.act_queue_depth) for method, values in known.nj.items()}
    return replace(known, record=record, nj=nj)


def run(journal, points, stop_at):
    """Sweep in a process of its own, stopped behind ``stop_at`` points."""

    def stop(done, _):
        if stop_at and done >= stop_at:
            raise KeyboardInterrupt

    begun = time.monotonic()
    try:
        result = eie.sweep(work(), vary(points), front=("latency", "energy"), journal=journal, threads=1, progress=stop)
        said = f"{result.evaluated:,} points, {len(result.front)} on the front"
    except KeyboardInterrupt as interrupt:
        said = str(interrupt).split(":")[0]
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{said}; {time.monotonic() - begun:.0f} s, {time.process_time():.0f} s of a processor, peak {peak_gib:.2f} GiB"
    )
    if peak_gib > LIMIT_GIB:
        sys.exit(f"more than {LIMIT_GIB} GiB")


def main(points):
    """Run half, go on to the end, and once more over a finished journal."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        for stop_at in (points // 2, 0, 0):
            words = [str(points), str(journal), str(stop_at), *(["--engine"] if "--engine" in sys.argv else [])]
            subprocess.run([sys.executable, __file__, *words], check=True)
        print(f"journal: {journal.stat().st_size / points / 1000:.2f} kB a point")


if __name__ == "__main__":
    if "--engine" not in sys.argv:
        workers.layer_outcome = scaled
    numbers = [word for word in sys.argv[1:] if word != "--engine"]
    if len(numbers) > 1:
        run(numbers[1], int(numbers[0]), int(numbers[2]))
    else:
        main(int(numbers[0]) if numbers else 1_000_000)
