"""A million points planned, simulated, journalled, killed, resumed and reduced to a front: how much memory that takes.

    python benchmarks/million_points.py [POINTS] [--in FOLDER] [--kill-after SECONDS]

Every point is simulated and priced. The sweep is a process of its own, killed (SIGKILL) whenever it has had so many
seconds of a processor and started again until it ends, then run once more over the finished journal. Each time the
peak of its memory is printed; more than 1 GiB fails. In the end the front is held to one that is made in another way
from the journal's lines, and lines drawn at random to sweeps of their points alone. No part of `make bench`: a million
points take half an hour of a processor.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import eie

OBJECTIVES = ("latency", "energy", "area")
COLUMNS = ("latency_us", "energy_activity_nj", "area_mm2")
LIMIT_GIB = 1.0
CHECKED = 500


def work():
    """A small layer, so that the sweep is measured rather than the engine."""
    rng = np.random.default_rng(0)
    return eie.Layer.from_weights("fc", rng.choice([0.0, 0.0, 1.0], (30, 40))), rng.random((1, 40)) < 0.5


def vary(points):
    """Five PE counts, two SRAM widths, a thousand clocks, and queue depths by the hundred."""
    return {
        "n_pe": [1, 2, 4, 8, 16],
        "spmat_row_bits": [32, 64],
        "act_queue_depth": list(range(2, 2 + max(1, points // 10_000))),
        "clock_mhz": list(range(200, 1200)),
    }


def sweep(points, folder):
    """Sweep to the end in this process, and leave the front behind."""
    result = eie.sweep(work(), vary(points), front=OBJECTIVES, journal=folder / "journal.jsonl", threads=1)
    front = [[row[field] for field in (*result.vary, *COLUMNS)] for row in result.front]
    (folder / "front.json").write_text(json.dumps({"evaluated": result.evaluated, "front": front}))


def run(points, folder, kill_after_s):
    """Sweep in a process of its own, killed after so many seconds of a processor; return whether it came to its end."""
    journal, begun = folder / "journal.jsonl", time.monotonic()
    child = subprocess.Popen([sys.executable, __file__, str(points), "--in", str(folder), "--sweep"])
    killed = False
    while True:
        # Not `Popen.wait`: the system says here what the process took, killed or not.
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        if kill_after_s and not killed and processor_s(child.pid) > kill_after_s:
            os.kill(child.pid, signal.SIGKILL)
            killed = True
        time.sleep(0.2)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"the sweep ended with {child.returncode}")
    peak_gib, took_s = used.ru_maxrss / 2**20, used.ru_utime + used.ru_stime
    print(
        f"{'to its end' if child.returncode == 0 else 'killed'}, {lines_of(journal):,} points in the journal; "
        f"{time.monotonic() - begun:.0f} s, {took_s:.0f} s of a processor, peak {peak_gib:.2f} GiB",
        flush=True,
    )
    if peak_gib > LIMIT_GIB:
        sys.exit(f"more than {LIMIT_GIB} GiB")
    return child.returncode == 0


def processor_s(pid):
    """Seconds that a process has had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def lines_of(journal):
    """Lines behind the header."""
    with journal.open("rb") as lines:
        return sum(1 for _ in lines) - 1


def check(points, folder):
    """Hold the front to the journal's lines, and some of these to sweeps of a single point."""
    said = json.loads((folder / "front.json").read_text())
    fields, names = list(vary(points)), None
    values, buildable, drawn, seen = np.empty((said["evaluated"], 7)), [], [], 0
    draw = random.Random(0)
    with (folder / "journal.jsonl").open() as lines:
        next(lines)
        for line in lines:
            entry = json.loads(line)["entry"]
            names = entry.get("names", names)
            total = dict(zip(names["total"], entry["values"][0], strict=True))
            values[seen] = [*(entry["changes"][field] for field in fields), *(total[column] for column in COLUMNS)]
            buildable.append(total["timing_met"] is not False)
            seen += 1
            if draw.random() < CHECKED / points:
                drawn.append((entry["changes"], total))
    assert seen == said["evaluated"] == len(np.unique(values[:, :4], axis=0))
    best = front_of(values[buildable])
    assert sorted(map(tuple, best.tolist())) == sorted(tuple(map(float, row)) for row in said["front"])
    for changes, total in drawn:
        (row,) = eie.sweep(work(), {field: [value] for field, value in changes.items()}).totals
        assert all(row[column] == value for column, value in total.items()), changes
    print(f"{seen:,} points, {len(best)} on the front, as made anew; {len(drawn)} lines swept anew: equal")


def front_of(rows):
    """Drop whatever a better point beats until nothing is left to ask; the last three columns are to be small."""
    best, left = [], rows
    while len(left):
        # The smallest sum of ranks is beaten by nobody that is left.
        scale = np.abs(left[:, -3:]).max(axis=0)
        point = left[np.argmin((left[:, -3:] / scale).sum(axis=1))]
        best.append(left[(left[:, -3:] == point[-3:]).all(axis=1)])
        left = left[~(left[:, -3:] >= point[-3:]).all(axis=1)]
    return np.concatenate(best)


def whole(points, folder, kill_after_s):
    """Kill and resume to the end, once more over the finished journal, then check."""
    folder.mkdir(exist_ok=True)
    while not run(points, folder, kill_after_s):
        pass
    first = (folder / "front.json").read_bytes()
    run(points, folder, 0)
    assert (folder / "front.json").read_bytes() == first
    check(points, folder)
    size = (folder / "journal.jsonl").stat().st_size
    print(f"journal: {size / 2**30:.2f} GiB, {size / points / 1000:.2f} kB a point")


def main():
    """Read the words of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("points", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--in", dest="folder", type=Path)
    parser.add_argument("--kill-after", type=float, default=240)
    parser.add_argument("--sweep", action="store_true", help="what each process is started with")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        if asked.sweep:
            sweep(asked.points, folder)
        else:
            whole(asked.points, folder, asked.kill_after)


if __name__ == "__main__":
    main()
