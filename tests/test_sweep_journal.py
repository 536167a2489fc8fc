"""Sweeps that are interrupted, killed, torn and run twice."""

import gc
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from kills import hears_ctrl_c

import eie
from eie.energy import prices
from eie.errors import SweepError
from eie.sweeps import run as runs
from eie.sweeps.journal import Journal, entry_of, line_of
from eie.sweeps.large import LargeJournal

VARY = {"n_pe": [1, 2, 4], "act_queue_depth": [2, 4]}


@pytest.fixture
def work():
    rng = np.random.default_rng(0)
    fc = eie.Layer.from_weights("fc", rng.choice([0.0, 0.0, 1.0], (30, 40)))
    return fc, rng.random((2, 40)) < 0.5


@pytest.fixture
def evaluated(monkeypatch):
    """Collects the jobs that were really done."""
    from eie.sweeps import workers

    done, really = [], workers.layer_outcome

    def counted(stages, layer, spec, cell):
        done.append((spec.n_pe, spec.act_queue_depth))
        return really(stages, layer, spec, cell)

    monkeypatch.setattr(workers, "layer_outcome", counted)
    return done


def test_an_entry_survives_its_line():
    entry = {"key": "k", "text": 'a "quote", \n, ü', "number": 0.1 + 0.2}
    line = line_of(entry)
    assert line.count(b"\n") == 1
    assert json.loads(line)["entry"] == entry
    assert entry_of(line[:-1]) == entry
    for end in range(len(line) - 1):
        assert entry_of(line[:end]) is None


def test_a_second_run_does_nothing_and_says_the_same(work, tmp_path, evaluated):
    first = eie.sweep(work, VARY, journal=tmp_path / "new" / "journal.jsonl")
    assert sorted(evaluated) == sorted((p, q) for p in VARY["n_pe"] for q in VARY["act_queue_depth"])
    evaluated.clear()
    again = eie.sweep(work, VARY, journal=tmp_path / "new" / "journal.jsonl")
    assert evaluated == []
    assert again.to_csv() == first.to_csv() == eie.sweep(work, VARY).to_csv()
    assert again.rows == first.rows


def test_a_journal_serves_other_grids(work, tmp_path, evaluated):
    path = tmp_path / "journal.jsonl"
    eie.sweep(work, VARY, journal=path)
    evaluated.clear()
    more = eie.sweep(work, {"act_queue_depth": [4, 8], "n_pe": [8, 2]}, journal=path)
    assert sorted(evaluated) == [(2, 8), (8, 4), (8, 8)]
    assert more.to_csv() == eie.sweep(work, {"act_queue_depth": [4, 8], "n_pe": [8, 2]}).to_csv()


@pytest.mark.parametrize("change", ["weights", "inputs", "engine", "cell"])
def test_other_content_is_another_point(work, tmp_path, evaluated, monkeypatch, change):
    path, vary = tmp_path / "journal.jsonl", {"n_pe": [2]}
    layer, inputs = work
    eie.sweep((layer, inputs), vary, journal=path)
    evaluated.clear()
    options = {}
    if change == "weights":
        layer = eie.Layer.from_weights("fc", layer.weights * 2)
    elif change == "inputs":
        inputs = ~inputs
    elif change == "cell":
        options["cell"] = "itrs-lstp"
    else:
        monkeypatch.setattr("eie.sweeps.plan.engine_digest", lambda: "another")
    eie.sweep((layer, inputs), vary, journal=path, **options)
    assert evaluated == [(2, 8)]


def test_torn_at_any_byte_it_goes_on(work, tmp_path, evaluated):
    path = tmp_path / "journal.jsonl"
    vary = {"act_queue_depth": [2, 4, 8]}
    whole = eie.sweep(work, vary, journal=path).to_csv()
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == 10]
    cuts = {0, 1, ends[0] - 1, ends[0], ends[1] - 1, ends[1], ends[1] + 1, ends[2] - 2, *range(3, len(content), 997)}
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        evaluated.clear()
        assert eie.sweep(work, vary, journal=path).to_csv() == whole
        kept = max(0, sum(end <= cut for end in ends) - 1)
        assert len(evaluated) == 3 - kept
        lines = path.read_bytes().splitlines()
        assert len(lines) == 4
        assert all(entry_of(line) is not None for line in lines)


def test_a_damaged_line_is_passed_over(work, tmp_path, evaluated):
    path = tmp_path / "journal.jsonl"
    whole = eie.sweep(work, VARY, journal=path).to_csv()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"values", b"valves", 1)
    path.write_bytes(b"".join(lines))
    with Journal(path) as journal:
        assert (len(journal.entries), journal.damaged) == (5, 1)
    evaluated.clear()
    assert eie.sweep(work, VARY, journal=path).to_csv() == whole
    assert len(evaluated) == 1


def test_what_is_kept_is_points_and_not_lines(work, tmp_path):
    """A damaged line is no point, and a point tried again stands in the file twice."""
    path = tmp_path / "journal.jsonl"
    eie.sweep(work, VARY, journal=path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"values", b"valves", 1)
    path.write_bytes(b"".join([*lines, lines[-1]]))
    with Journal(path) as journal:
        assert journal.kept() == len(journal.entries) == 5


@pytest.mark.parametrize("content", [b"hello\n", b'{"crc32": "00000000", "entry": {}}\n', b"\n", b"\xff" * 300])
def test_a_foreign_file_is_left_alone(tmp_path, content):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(SweepError, match=r"journal.jsonl: not a sweep journal of this version"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_journal_in_use_is_refused(work, tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path), pytest.raises(SweepError, match=r"journal.jsonl: locked by another sweep"):
        eie.sweep(work, VARY, journal=path)
    eie.sweep(work, VARY, journal=path)


def test_a_folder_is_not_a_journal(work, tmp_path):
    with pytest.raises(SweepError, match="cannot be opened: Is a directory"):
        eie.sweep(work, VARY, journal=tmp_path)


def test_failed_points_are_kept_and_retried_on_request(work, tmp_path, monkeypatch):
    from eie.simulator import counting

    path, really = tmp_path / "journal.jsonl", counting.queue_pass

    def broken(*given, **options):
        if options["act_queue_depth"] == 4:
            raise MemoryError
        return really(*given, **options)

    monkeypatch.setattr(counting, "queue_pass", broken)
    failed = eie.sweep(work, VARY, journal=path)
    assert [row["error"] for row in failed.failed] == ["layer 'fc': out of memory"] * 3
    monkeypatch.setattr(counting, "queue_pass", really)
    assert eie.sweep(work, VARY, journal=path).to_csv() == failed.to_csv()
    retried = eie.sweep(work, VARY, journal=path, retry_failed=True)
    assert not retried.failed
    assert retried.to_csv() == eie.sweep(work, VARY, journal=path).to_csv() == eie.sweep(work, VARY).to_csv()


def test_ctrl_c_says_how_to_go_on(work, tmp_path, evaluated):
    path = tmp_path / "journal.jsonl"

    def stop(done, total):
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"\d points are kept in .*journal.jsonl: the same command goes on"):
        eie.sweep(work, VARY, journal=path, progress=stop, threads=1)
    with Journal(path) as journal:
        kept = len(journal.entries)
    assert 2 <= kept < 6
    evaluated.clear()
    assert eie.sweep(work, VARY, journal=path).to_csv() == eie.sweep(work, VARY).to_csv()
    assert len(evaluated) == 6 - kept + 6


def test_completion_order_does_not_matter(work, monkeypatch):
    class Backwards(runs.Threads):
        def outcomes(self, jobs):
            yield from reversed(list(super().outcomes(jobs)))

    whole = eie.sweep(work, VARY).to_csv()
    monkeypatch.setattr(runs, "Threads", Backwards)
    assert eie.sweep(work, VARY).to_csv() == whole


MODEL = """
name = "{name}"
[[layer]]
name = "fc"
inputs = 1200
outputs = 900
weight_density = 0.1
activation_density = 0.4
"""
WORDS = ["--vary", "n_pe=1:64", "--vary", "act_queue_depth=2,4,8,16,32,64", "--threads", "1"]


def command(folder, *more):
    return [sys.executable, "-m", "eie", "sweep", str(folder / "model.toml"), *WORDS, "-o", str(folder / "out"), *more]


def finished_points(path):
    return len(path.read_bytes().splitlines()) - 1 if path.exists() else 0


def kill_after(folder, points, how, root):
    """Start the command and send ``how`` once ``points`` are in the journal."""
    journal = folder / "out" / "journal.jsonl"
    process = subprocess.Popen(
        command(folder), cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hears_ctrl_c
    )
    try:
        for _ in range(6000):
            if finished_points(journal) >= points or process.poll() is not None:
                break
            time.sleep(0.01)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors.decode(), finished_points(journal)


@pytest.mark.long
def test_killed_and_started_again(tmp_path, root):
    """SIGKILL twice, Ctrl-C once, then to the end: the same bytes as in one go, every point done once."""
    (tmp_path / "model.toml").write_text(MODEL.format(name="victim"))
    journal = tmp_path / "out" / "journal.jsonl"
    status, _, first = kill_after(tmp_path, 5, signal.SIGKILL, root)
    assert status == -signal.SIGKILL
    assert 5 <= first < 384
    with journal.open("ab") as file:
        file.write(b'{"crc32": "0123abcd", "entry": {"key": "to')
    status, _, second = kill_after(tmp_path, first + 20, signal.SIGKILL, root)
    assert status == -signal.SIGKILL
    assert first + 20 <= second < 384
    status, errors, third = kill_after(tmp_path, second + 20, signal.SIGINT, root)
    assert status == 130
    assert f"interrupted; {third} points are kept in {journal}: the same command goes on from there" in errors
    assert "Traceback" not in errors
    done = subprocess.run(command(tmp_path), cwd=root, capture_output=True, text=True, check=True)
    assert "wrote 384 points" in done.stderr
    keys = [json.loads(line)["entry"].get("key") for line in journal.read_bytes().splitlines()[1:]]
    assert len(keys) == len(set(keys)) == 384
    vary = {"n_pe": list(range(1, 65)), "act_queue_depth": [2, 4, 8, 16, 32, 64]}
    assert (tmp_path / "out" / "points.csv").read_text() == eie.sweep(tmp_path / "model.toml", vary).to_csv()


def test_two_processes_on_one_journal(tmp_path, root):
    (tmp_path / "model.toml").write_text(MODEL.format(name="twice"))
    with Journal(tmp_path / "out" / "journal.jsonl"):
        second = subprocess.run(command(tmp_path), cwd=root, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "locked by another sweep" in second.stderr
    assert "Traceback" not in second.stderr


def test_nothing_is_lost_when_the_disk_is_full(work, tmp_path, monkeypatch):
    def full(handle, data):
        raise OSError(28, os.strerror(28))

    with Journal(tmp_path / "journal.jsonl") as journal:
        monkeypatch.setattr("eie.sweeps.journal.os.write", full)
        with pytest.raises(SweepError, match="cannot be written: No space left on device"):
            journal.append({"key": "k"})
        assert journal.entries == {}


def test_points_are_kept_without_the_names_of_their_columns(work, tmp_path):
    """5.9 KB a point in 0.1: names stand with the first one and each `REPEAT`-th."""
    path = tmp_path / "journal.jsonl"
    vary = {"clock_mhz": list(range(100, 150))}
    whole = eie.sweep(work, vary, journal=path).to_csv()
    lines = path.read_bytes().splitlines(keepends=True)
    assert [b'"names"' in line for line in lines[1:]] == [True, *[False] * 49]
    assert len(lines[-1]) < 2100
    # Wherever the names stand: a journal can be put together of several.
    path.write_bytes(b"".join([lines[0], *lines[:0:-1]]))
    assert eie.sweep(work, vary, journal=path).to_csv() == whole


def test_points_whose_names_are_lost_are_done_again(work, tmp_path, evaluated):
    path = tmp_path / "journal.jsonl"
    whole = eie.sweep(work, VARY, journal=path).to_csv()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *lines[2:]]))
    evaluated.clear()
    assert eie.sweep(work, VARY, journal=path).to_csv() == whole
    assert len(evaluated) == 6


# -- fronts of grids that no memory holds -----------------------------------------------------------------------------

LARGE = {"n_pe": [1, 2, 4, 8], "act_queue_depth": "2:5", "clock_mhz": [400, 800, 1200]}


def front_of(result):
    return [row for row in result.rows if row["pareto"]]


@pytest.mark.parametrize("slab", [5, 4096])
def test_the_front_is_that_of_the_whole_grid(work, tmp_path, monkeypatch, slab):
    """However it is cut: the same rows as where all are in memory, which read the same journal too."""
    monkeypatch.setattr("eie.sweeps.large.SLAB", slab)
    path, told = tmp_path / "journal.jsonl", []
    whole = eie.sweep(work, LARGE).pareto("latency", "area")
    front = eie.sweep(
        work, LARGE, front=("latency", "area"), journal=path, progress=lambda done, total: told.append((done, total))
    )
    assert list(front.rows) == front_of(whole)
    assert 0 < len(front.totals) < 48
    assert (front.evaluated, front.not_evaluated, told[-1]) == (48, 0, (48, 48))
    assert "48 points over" in front.headline()
    assert front.about()["points"] == 48
    assert eie.sweep(work, LARGE, journal=path).to_csv() == eie.sweep(work, LARGE).to_csv()


def test_a_front_goes_on_where_it_was(work, tmp_path, monkeypatch, evaluated):
    monkeypatch.setattr("eie.sweeps.large.SLAB", 10)
    path = tmp_path / "journal.jsonl"

    def stop(done, total):
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"\d+ points are kept in .*journal.jsonl: the same command goes on"):
        eie.sweep(work, LARGE, front="latency", journal=path, progress=stop, threads=1)
    # Torn in the middle of a line, as by a kill.
    path.write_bytes(path.read_bytes()[:-7])
    first = len(evaluated)
    resumed = eie.sweep(work, LARGE, front="latency", journal=path)
    assert len(evaluated) == 48 + 1
    assert first < 48
    assert list(resumed.rows) == front_of(eie.sweep(work, LARGE).pareto("latency"))


def test_a_front_of_points_that_fail(work, tmp_path):
    base = eie.EIE_64PE.replace(n_pe=1, stream_kib=0.02, index_bits=1)
    vary = {"ptr_bits": [4, 16], "spmat_row_bits": [4, 64], "weight_bits": [4, 2]}
    whole = eie.sweep(work, vary, spec=base)
    front = eie.sweep(work, vary, spec=base, front="latency", journal=tmp_path / "j.jsonl")
    assert front.not_evaluated == len(whole.failed) > 0
    assert f"{len(whole.failed)} points failed, first: " in front.notes[1]
    assert list(front.rows) == front_of(whole.pareto("latency"))


def test_a_front_reads_no_foreign_file(work, tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"hello\n" * 100)
    with pytest.raises(SweepError, match="not a sweep journal of this version"):
        eie.sweep(work, LARGE, front="latency", journal=path)
    path.write_bytes(b'{"crc32"')
    eie.sweep(work, {"n_pe": [1]}, front="latency", journal=path)


def test_a_front_keeps_places_and_not_points(work, tmp_path, monkeypatch):
    """What a point takes in memory, once it is in the journal: a key and a number."""
    path = tmp_path / "journal.jsonl"
    eie.sweep(work, {"clock_mhz": list(range(100, 400))}, front="latency", journal=path)
    with LargeJournal(path) as book:
        assert len(book.entries) == 300
        sizes = [sys.getsizeof(key) + sys.getsizeof(at) for key, at in book.entries._places.items()]
        assert max(sizes) < 100
        assert sys.getsizeof(book.entries._places) / 300 < 120


def test_points_that_are_done_leave_no_machines_behind(work, tmp_path, monkeypatch):
    """Points that share a plan, too: kept with it, what the dense machine takes grew by 2 KiB a point."""
    monkeypatch.setattr("eie.sweeps.large.SLAB", 32)
    monkeypatch.setattr(prices, "_prices", prices._prices.__wrapped__)
    alive = {}

    def count(done, _):
        if done in (224, 448):
            gc.collect()
            alive[done] = sum(type(thing) is eie.AcceleratorSpec for thing in gc.get_objects())

    # Streamed, so that the price of DRAM counts and one point is the front.
    base = eie.EIE_64PE.replace(n_pe=1, spmat_kib=2, stream_kib=1)
    fc = eie.Layer.from_weights("fc", np.tile(work[0].weights, (8, 8)))
    vary = {"dram_pj_per_bit": [100 + i / 4 for i in range(448)]}
    eie.sweep(
        (fc, np.ones(320)), vary, spec=base, front="energy", journal=tmp_path / "j.jsonl", progress=count, threads=1
    )
    assert alive[448] - alive[224] < 64
