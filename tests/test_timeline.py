"""Timelines: spans that add up to the shares, agree with the event engine cycle by cycle, and files that read back."""

import gzip
import io
import json
import re
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_accounting import cases
from test_uses import STEPS, tied_and_copied

import eie
from eie.errors import EieError
from eie.kernels import timeline as kernels
from eie.results.accounting import SHARES
from eie.results.raster import Raster
from eie.results.told import SCANNER

ENGINES = ("fast", "events")
IDLE = {"idle_broadcast": "broadcast", "idle_stall": "stall", "idle_scan": "dead"}


def simulated(case, engine="fast"):
    layer, inputs, fields, how = case
    return eie.simulate(layer, inputs, spec=eie.EIE_64PE.replace(**fields), engine=engine, **how)


def small(n_pe=4, samples=2, **fields):
    """Two layers that feed each other."""
    rng = np.random.default_rng(0)
    layers = [
        eie.Layer.from_weights(name, (rng.random(shape) < 0.4) * rng.standard_normal(shape), relu=True)
        for name, shape in (("one", (24, 20)), ("two", (10, 24)))
    ]
    network = eie.Network(name="small", layers=tuple(layers), sequential=True)
    return eie.simulate(network, rng.random((samples, 20)), spec=eie.EIE_64PE.replace(n_pe=n_pe, **fields))


def cells(timeline):
    """Cycle by cycle what every PE does, as a grid of (PEs, cycles); every cell is told of once."""
    grid = np.full((len(timeline.pes), len(timeline.cycles)), -1)
    for pe, start, stop, what, _ in timeline.spans.tolist():
        here = grid[pe - timeline.pes.start, start - timeline.cycles.start : stop - timeline.cycles.start]
        assert start < stop
        assert (here == -1).all()
        here[:] = what
    assert (grid >= 0).all()
    return grid


def states(timeline):
    """Cycle by cycle what the scanner does; nothing where its scan is over."""
    told = {}
    for start, stop, what in timeline.scanner.tolist():
        for cycle in range(start, stop):
            assert cycle not in told
            told[cycle] = SCANNER[what]
    return told


def fullness(timeline):
    """How full each queue is, cycle by cycle."""
    grid = np.zeros((len(timeline.pes), len(timeline.cycles)), int)
    for pe, start, stop, value in timeline.queues.tolist():
        grid[pe - timeline.pes.start, start - timeline.cycles.start : stop - timeline.cycles.start] += value
    return grid


class TestLaws:
    @given(cases(), st.sampled_from(ENGINES))
    @settings(max_examples=25, deadline=None)
    def test_a_full_timeline_adds_up_to_the_table(self, case, engine):
        result = simulated(case, engine)
        timeline = result.timeline()
        assert timeline.whole
        assert not timeline.cut
        for layer in result.layers:
            assert timeline.share_cycles[layer.name] == layer.share_cycles
            told, counted = timeline.pe_cycles[layer.name], layer.pe_cycles
            for name in SHARES:
                # By scatter, what falls outside the map is told of each PE here, and counted over all of them there.
                if layer.encoded.scatter is None or name not in ("useful", "padding"):
                    assert told[name].tolist() == counted[name].tolist(), name
            worked = told["useful"] + told["padding"]
            assert worked.tolist() == (counted["useful"] + counted["padding"]).tolist()

    @given(cases())
    @settings(max_examples=15, deadline=None)
    def test_every_cycle_of_every_pe_is_told_once(self, case):
        result = simulated(case)
        timeline = result.timeline()
        grid = cells(timeline)
        assert grid.shape[1] == result.layers[0].activity.total_cycles.sum() == timeline.total
        assert fullness(timeline).max(initial=0) < result.spec.act_queue_depth

    @given(cases())
    @settings(max_examples=15, deadline=None)
    def test_who_waits_waits_for_what_the_scanner_does_in_that_cycle(self, case):
        timeline = simulated(case).timeline()
        scanner = states(timeline)
        for _, start, stop, what, _ in timeline.spans.tolist():
            if SHARES[what] in IDLE:
                # Once it is through, it has nothing to hand out either.
                seen = {scanner.get(cycle, "dead") for cycle in range(start, stop)}
                assert seen == {IDLE[SHARES[what]]}

    @given(cases(), st.data())
    @settings(max_examples=15, deadline=None)
    def test_a_window_is_cut_out_of_the_whole(self, case, data):
        result = simulated(case)
        whole = result.timeline()
        first = data.draw(st.integers(1, whole.total))
        stop = data.draw(st.integers(first + 1, whole.total + 1))
        low = data.draw(st.integers(0, result.spec.n_pe - 1))
        high = data.draw(st.integers(low + 1, result.spec.n_pe))
        part = result.timeline(cycles=range(first, stop), pes=range(low, high))
        assert cells(part).tolist() == cells(whole)[low:high, first - 1 : stop - 1].tolist()
        assert fullness(part).tolist() == fullness(whole)[low:high, first - 1 : stop - 1].tolist()
        assert states(part) == {cycle: what for cycle, what in states(whole).items() if first <= cycle < stop}
        for track, stretches in part.tracks.items():
            clipped = [(max(a, first), min(b, stop), name) for a, b, name in whole.tracks[track]]
            assert list(stretches) == [stretch for stretch in clipped if stretch[0] < stretch[1]], track

    @given(cases(), st.integers(200, 2000))
    @settings(max_examples=15, deadline=None)
    def test_a_limit_ends_the_window_earlier(self, case, limit):
        result = simulated(case)
        whole = result.timeline()
        part = result.timeline(limit=limit)
        assert part.cycles.start == 1
        assert cells(part).tolist() == cells(whole)[:, : len(part.cycles)].tolist()
        assert bool(part.cut) == (part.cycles != whole.cycles)
        assert len([event for event in written(part) if event["ph"] != "M"]) <= limit

    @given(STEPS, st.integers(0, 1000), st.integers(1, 3))
    @settings(max_examples=10, deadline=None)
    def test_uses_stand_where_the_graph_has_them(self, steps, seed, batch):
        rng = np.random.default_rng(seed)
        network, copied = tied_and_copied(steps, rng)
        x, spec = rng.standard_normal((3, 8)), eie.EIE_64PE.replace(n_pe=4)
        tied, copies = (eie.simulate(net, x, spec=spec, batch=batch).timeline() for net in (network, copied))
        assert cells(tied).tolist() == cells(copies).tolist()
        names = [name.partition("#")[0] for _, _, name in tied.tracks["layers"]]
        assert names == steps * (-(-3 // batch))
        for layer, cycles in tied.share_cycles.items():
            of = [f"copy{i}" for i, step in enumerate(steps) if step == layer]
            for share, count in cycles.items():
                assert count == sum(copies.share_cycles[name][share] for name in of)


class TestAgainstTheEventEngine:
    """A line a cycle, as the registers stood when it began: what is broadcast, queued, and left to issue."""

    @given(cases())
    @settings(max_examples=10, deadline=None)
    def test_queues_slots_and_broadcasts(self, case):
        layer, inputs, fields, how = case
        lines = []
        spec = eie.EIE_64PE.replace(**{**fields, "act_batches": "free"})
        # One sample: the engine takes all samples through a pass before the next, which changes no count.
        result = eie.simulate(layer, inputs[:1], spec=spec, engine="events", log=lines.append, **how)
        timeline = result.timeline()
        grid, queued, scanner = cells(timeline), fullness(timeline), states(timeline)
        works = [SHARES.index(name) for name in ("useful", "padding", "empty_column")]
        # The engine has no cycle beyond the contract.
        logged = iter(lines)
        assert len(lines) == result.layers[0].activity.cycles.sum()
        beyond = {cycle for a, b, name in timeline.tracks["loads"] if name == "bus" for cycle in range(a, b)}
        for cycle in timeline.cycles:
            if cycle in beyond:
                continue
            line = next(logged)
            here = re.match(r"cycle +\d+(.*?)queues \[(.*?)\]  to issue \[(.*?)\]", line)
            sent, waiting, issue = here[1], here[2].split(), here[3].split()
            assert ("broadcast" in sent) == (scanner.get(cycle) == "broadcast"), line
            assert queued[:, cycle - 1].tolist() == [int(word) for word in waiting], line
            assert np.isin(grid[:, cycle - 1], works).tolist() == [word != "0" for word in issue], line

    def test_padding_and_what_a_slot_is_of(self):
        """40 rows on one PE, the last alone not zero: two entries that pad, then the weight, in cycles 4 to 6."""
        spec = eie.EIE_64PE.replace(n_pe=1, residency="ideal")
        layer = eie.Layer.from_weights("fc", np.eye(40)[:, 38:])
        timeline = eie.timeline(layer, np.ones(2), spec=spec)
        worked = [
            (SHARES[what], start, stop, label)
            for _, start, stop, what, label in timeline.spans.tolist()
            if SHARES[what] in ("useful", "padding")
        ]
        assert worked == [("padding", 4, 6, 0), ("useful", 6, 7, 0), ("padding", 7, 9, 1), ("useful", 9, 10, 1)]

    def test_a_wait_of_one_cycle_for_a_column(self):
        """Eight columns of two entries, one cycle of the bus each from cycle 3 on: read in 4, 6, 8 (cycle-model.md)."""
        spec = eie.EIE_64PE.replace(
            n_pe=1, ptr_bits=4, stream="columns", dram_burst_bytes=4, dram_gb_per_s=3.2, dram_latency_ns=1.25
        )
        timeline = eie.timeline(eie.Layer.from_weights("fc", np.ones((2, 8))), np.ones(8), spec=spec)
        waits = [(start, stop) for _, start, stop, what, _ in timeline.spans.tolist() if SHARES[what] == "idle_load"]
        assert waits == [(4, 5)]
        works = [start for _, start, _, what, _ in timeline.spans.tolist() if SHARES[what] == "useful"]
        assert works == list(range(5, 21, 2))
        assert timeline.tracks["loads"] == tuple((at, at + 1, "weights") for at in range(3, 11))

    def test_a_bias_is_called_so(self):
        layer = eie.Layer.from_weights("fc", np.ones((2, 3)), np.ones(2))
        timeline = eie.simulate(layer, np.ones(3), spec=eie.EIE_64PE.replace(n_pe=2), bias="column").timeline()
        assert timeline.spans[timeline.spans[:, 3] == 0][:, 4].tolist() == [0, 1, 2, -2] * 2
        inputs = [event["args"]["input"] for event in written(timeline) if event["name"] == "useful"]
        assert inputs == [0, 1, 2, "bias"] * 2


class TestTracks:
    def test_layers_and_samples(self):
        result = small()
        tracks = result.timeline().tracks
        lasts = [layer.activity.total_cycles.tolist() for layer in result.layers]
        order = [("one", lasts[0][0]), ("two", lasts[1][0]), ("one", lasts[0][1]), ("two", lasts[1][1])]
        assert [(name, stop - start) for start, stop, name in tracks["layers"]] == order
        # A sample runs through all layers; between them it is one stretch.
        assert [name for _, _, name in tracks["samples"]] == ["sample 0", "sample 1"]
        assert tracks["products"] == tracks["loads"] == ()

    def test_batches_go_layer_by_layer(self):
        rng = np.random.default_rng(0)
        network = eie.Network(
            name="net",
            layers=tuple(eie.Layer.from_weights(name, rng.standard_normal((6, 6))) for name in "ab"),
            sequential=True,
        )
        tracks = eie.timeline(network, rng.random((3, 6)), spec=eie.EIE_64PE.replace(n_pe=2), batch=2).tracks
        assert [name for _, _, name in tracks["layers"]] == ["a", "b", "a", "b"]
        assert [name[-1] for _, _, name in tracks["samples"]] == ["0", "1", "0", "1", "2"]

    def test_products_of_passes_and_strips(self):
        spec = eie.EIE_64PE.replace(n_pe=1, act_registers=4)
        passes = eie.timeline(eie.Layer.from_weights("fc", np.ones((10, 3))), np.ones(3), spec=spec)
        assert [name for _, _, name in passes.tracks["products"]] == [f"pass {i}, product 0" for i in range(3)]
        conv = eie.Layer.from_conv("conv", np.ones((1, 1, 2, 2), np.float32))
        strips = eie.simulate(conv, np.ones((1, 1, 3, 5)), spec=spec, conv="scatter").timeline()
        assert [name for _, _, name in strips.tracks["products"]] == ["strip 0", "strip 1"]

    @given(cases())
    @settings(max_examples=20, deadline=None)
    def test_loads_take_the_bus_as_long_as_the_table_says(self, case):
        result = simulated(case)
        counts = result.layers[0].activity.counts
        lasts = Counter()
        loads = result.timeline().tracks["loads"]
        for start, stop, name in loads:
            lasts[name] += stop - start
        # Spans of a track must nest or lie apart, and these are of one bus.
        ordered = sorted(loads)
        assert all(stop <= start for (_, stop, _), (start, _, _) in pairwise(ordered))
        assert lasts["weights"] == (counts["bus_cycles"] - counts["map_bus_cycles"]).sum()
        assert lasts["bus"] == counts["bus_wait_cycles"].sum()
        assert lasts["registers"] == counts["act_batch_cycles"].sum()

    @pytest.mark.parametrize("conv", ["im2col", "scatter"])
    @pytest.mark.parametrize("stream", ["columns", "layer"])
    def test_what_serves_several_products_comes_once(self, conv, stream):
        """A kernel that does not stay on the chip, for all pixels of two samples in one turn."""
        layer = eie.Layer.from_conv("conv", np.ones((4, 3, 2, 2), np.float32))
        spec = eie.EIE_64PE.replace(n_pe=2, ptr_bits=4, stream=stream, act_registers=8, dram_gb_per_s=1.6)
        result = eie.simulate(layer, np.ones((3, 3, 4, 4)), spec=spec, conv=conv, batch=2)
        [row] = result.layers
        assert row.place.place == "streamed"
        timeline = result.timeline()
        assert timeline.share_cycles["conv"] == row.share_cycles
        lasts = sum(stop - start for start, stop, name in timeline.tracks["loads"] if name == "weights")
        counts = row.activity.counts
        assert lasts == (counts["bus_cycles"] - counts["map_bus_cycles"]).sum()
        # Twice in all: for the batch of two, and for the third sample.
        assert counts["dram_bits"].astype(bool).tolist() == [True, False, True]

    def test_reloads_stand_ahead_of_each_sample(self):
        """As program files of 0.1 were cut: every pass is brought in anew, for every sample."""
        spec = eie.EIE_64PE.replace(n_pe=1, act_registers=4)
        program = eie.compile(eie.Layer.from_weights("fc", np.ones((10, 3))), spec)
        program = replace(program, layers=(replace(program.layers[0], reloads=True),))
        result = eie.simulate(program, np.ones((2, 3)))
        reload = result.layers[0].activity.reload_cycles
        assert reload > 0
        timeline = result.timeline()
        assert timeline.share_cycles["fc"] == result.layers[0].share_cycles
        samples = [start for start, _, _ in timeline.tracks["samples"]]
        assert timeline.tracks["loads"] == tuple((start, start + reload, "reload") for start in samples)
        assert (cells(timeline)[:, samples[1] - 1 : samples[1] - 1 + reload] == SHARES.index("idle_load")).all()

    def test_a_host_takes_no_cycles(self, tmp_path):
        pytest.importorskip("onnxruntime")
        from test_host import SPEC, TOKENS, block

        program = eie.compile(eie.load(block(tmp_path)), SPEC)
        ids = np.arange(2 * TOKENS).reshape(2, TOKENS) % 7
        shapes = {name: shape for name, shape in program.graph.inputs if name != "ids"}
        result = eie.simulate(program, {"ids": ids, **{name: np.ones((2, *shape)) for name, shape in shapes.items()}})
        assert result.host
        timeline = result.timeline()
        assert timeline.total == sum(layer.activity.total_cycles.sum() for layer in result.layers)
        assert timeline.share_cycles == {layer.name: layer.share_cycles for layer in result.layers}


def written(timeline):
    """Events of a timeline's file."""
    with tempfile.TemporaryDirectory() as folder:
        timeline.save(f"{folder}/t.json")
        return json.loads(Path(folder, "t.json").read_text())["traceEvents"]


def check_tracks(events):
    """Hold events to what viewers ask beyond the fields of each: https://perfetto.dev/docs/faq."""
    spans, counts, names = defaultdict(list), defaultdict(list), {}
    for event in events:
        # Of 32 bits in viewers, and thread 0 is an idle processor.
        assert 0 < event["pid"] < 1 << 31
        assert 0 < event["tid"] < 1 << 31
        track = event["pid"], event["tid"]
        if event["ph"] == "M":
            # Each track is named once.
            assert names.setdefault((event["name"], *track), event["args"]) is event["args"]
        elif event["ph"] == "X":
            assert type(event["ts"]) is int
            assert type(event["dur"]) is int
            spans[track].append((event["ts"], event["ts"] + event["dur"]))
        else:
            assert type(event["ts"]) is int
            counts[event["pid"], event["name"]].append(event["ts"])
    for told in spans.values():
        # In the file as in time, the outer ahead of the inner.
        assert told == sorted(told, key=lambda span: (span[0], -span[1]))
        opened = []
        for start, stop in told:
            while opened and opened[-1] <= start:
                opened.pop()
            assert not opened or stop <= opened[-1]
            opened.append(stop)
    # One value of a counter in a cycle.
    assert all(before < after for told in counts.values() for before, after in pairwise(told))
    called = [value["name"] for (what, *_), value in names.items() if what == "thread_name"]
    assert len(set(called)) == len(called)


class TestTraceEvents:
    def test_every_event_is_one_of_the_format(self, tmp_path):
        """Phases, and what each must have, by the Trace Event Format."""
        small(dram_gb_per_s=0.4, ptr_bits=4).timeline().save(tmp_path / "t.json")
        document = json.loads((tmp_path / "t.json").read_text())
        assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
        assert document["displayTimeUnit"] in ("ns", "ms")
        named = set()
        for event in document["traceEvents"]:
            assert isinstance(event["pid"], int)
            assert isinstance(event["tid"], int)
            assert isinstance(event["name"], str)
            assert isinstance(event["args"], dict)
            if event["ph"] == "M":
                [(key, value)] = event["args"].items()
                assert (event["name"], key) in {
                    ("process_name", "name"),
                    ("thread_name", "name"),
                    ("process_sort_index", "sort_index"),
                    ("thread_sort_index", "sort_index"),
                }
                assert isinstance(value, str if key == "name" else int)
                named.add((event["name"].partition("_")[0], event["pid"], event["tid"]))
                continue
            assert event["ts"] >= 1
            assert ("process", event["pid"], event["pid"]) in named
            if event["ph"] == "X":
                assert event["dur"] >= 1
                assert isinstance(event["cat"], str)
                assert ("thread", event["pid"], event["tid"]) in named
            else:
                assert event["ph"] == "C"
                assert isinstance(event["args"]["activations"], int)

    @given(cases(), st.data())
    @settings(max_examples=20, deadline=None)
    def test_what_a_viewer_asks_of_tracks(self, case, data):
        """Spans of a track nest or lie apart, as Perfetto wants them; numbers are whole; a name is one track's."""
        timeline = simulated(case).timeline()
        if data.draw(st.booleans()):
            start = data.draw(st.integers(1, timeline.total))
            timeline = simulated(case).timeline(cycles=range(start, data.draw(st.integers(start + 1, start + 400))))
        check_tracks(written(timeline))

    @pytest.mark.parametrize("ending", ["json", "json.gz"])
    @pytest.mark.parametrize("words", [(), ("--cycles", "3:40", "--pes", "1:3"), ("--batch", "2")])
    def test_what_a_viewer_asks_of_a_file(self, cli, tmp_path, words, ending):
        code, _, _ = cli("run", "lenet-300-100", "--samples", "3", "--timeline", f"t.{ending}", *words)
        assert code == 0
        content = (tmp_path / f"t.{ending}").read_bytes()
        check_tracks(json.loads(gzip.decompress(content) if ending == "json.gz" else content)["traceEvents"])

    @given(cases(), st.sampled_from(ENGINES))
    @settings(max_examples=10, deadline=None)
    def test_durations_add_up_to_the_shares(self, case, engine):
        result = simulated(case, engine)
        events_of = written(result.timeline())
        lasts = Counter()
        for event in events_of:
            if event["ph"] == "X" and event["pid"] == 2:
                lasts[event["name"]] += event["dur"]
        assert {name: lasts[name] for name in SHARES} == result.layers[0].share_cycles

    def test_counters_are_what_the_spans_say(self):
        timeline = small().timeline()
        now, told = defaultdict(int), defaultdict(dict)
        for event in written(timeline):
            if event["ph"] == "C":
                told[event["name"]][event["ts"]] = event["args"]["activations"]
        grid = np.zeros((4, timeline.total), int)
        for cycle in timeline.cycles:
            for pe in range(4):
                now[pe] = told[f"queue of PE {pe}"].get(cycle, now[pe])
                grid[pe, cycle - 1] = now[pe]
        assert grid.tolist() == fullness(timeline).tolist()
        sends, value = set(), 0
        for cycle in timeline.cycles:
            value = told["broadcast"].get(cycle, value)
            sends |= {cycle} if value else set()
        assert sends == {cycle for cycle, what in states(timeline).items() if what == "broadcast"}

    def test_packed_is_the_same_and_the_same_each_time(self, tmp_path):
        timeline, again = small().timeline(), small().timeline()
        for name in ("t.json", "t.json.gz", "t.vcd"):
            timeline.save(tmp_path / name)
            again.save(tmp_path / f"again-{name}")
            assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
        assert gzip.decompress((tmp_path / "t.json.gz").read_bytes()) == (tmp_path / "t.json").read_bytes()
        assert not list(tmp_path.glob(".*"))

    def test_names_of_files_are_quoted(self, tmp_path):
        layer = eie.Layer.from_weights('a" $end\\', np.eye(4))
        network = eie.Network(name="n\x1b $end\n", layers=(layer,), sequential=True)
        timeline = eie.timeline(network, np.ones(4), spec=eie.EIE_64PE.replace(n_pe=2))
        assert layer.name in {event["name"] for event in written(timeline)}
        timeline.save(tmp_path / "t.vcd")
        assert "\x1b" not in (tmp_path / "t.vcd").read_text()
        assert (tmp_path / "t.vcd").read_text().count("$enddefinitions") == 1


def dumped(path):
    """Read a VCD file back: times and, by scope and name, (time, value)."""
    reader = pytest.importorskip("vcd.reader", reason="needs the vcd extra")
    changes, names, scope, now = defaultdict(list), {}, [], 0
    times, unit = [], None
    for token in reader.tokenize(io.BytesIO(path.read_bytes())):
        if token.kind is reader.TokenKind.SCOPE:
            scope.append(token.scope.ident)
        elif token.kind is reader.TokenKind.UPSCOPE:
            scope.pop()
        elif token.kind is reader.TokenKind.TIMESCALE:
            unit = str(token.timescale)
        elif token.kind is reader.TokenKind.VAR:
            names[token.var.id_code] = (*scope[1:], token.var.reference)
        elif token.kind is reader.TokenKind.CHANGE_TIME:
            now = token.time_change
            times.append(now)
        elif token.kind is reader.TokenKind.CHANGE_STRING:
            change = token.string_change
            changes[names[change.id_code]].append((now, change.value))
        elif token.kind is reader.TokenKind.CHANGE_VECTOR:
            change = token.vector_change
            changes[names[change.id_code]].append((now, change.value))
    return times, unit, changes


class TestValueChanges:
    def test_it_reads_back(self, tmp_path):
        timeline = small().timeline()
        timeline.save(tmp_path / "t.vcd")
        times, unit, changes = dumped(tmp_path / "t.vcd")
        assert unit == "1 ns"
        assert (times[0], times[-1]) == (1, timeline.total + 1)
        grid, queued = cells(timeline), fullness(timeline)
        for pe in range(4):
            for name, rows in (("does", grid), ("queue", queued)):
                known = dict(changes[f"PE_{pe}", name])
                held = None
                for cycle in timeline.cycles:
                    held = known.get(cycle, held)
                    expected = rows[pe, cycle - 1]
                    assert held == (SHARES[expected] if name == "does" else expected)
        layers = [(at, name) for at, name in changes["network", "layers"] if name]
        assert layers == [(start, name) for start, _, name in timeline.tracks["layers"]]
        samples = [name.replace("\\x20", " ") for _, name in changes["network", "samples"]]
        assert [name for name in samples if name] == ["sample 0", "sample 1"]

    def test_without_pyvcd(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "vcd", None)
        with pytest.raises(EieError, match=r"t.vcd: VCD files need pyvcd: pip install 'eie\[vcd\]'"):
            small().timeline().save(tmp_path / "t.vcd")
        assert not list(tmp_path.iterdir())


class TestRefusals:
    @pytest.mark.parametrize(
        ("window", "words"),
        [
            ({"cycles": range(5, 3)}, "cycles=5:3: must be the first and the one behind the last"),
            ({"cycles": range(0, 9)}, "cycles=0:9: the run takes .* must lie within 1:"),
            ({"cycles": range(1, 9, 2)}, "cycles=1:9: must be"),
            ({"cycles": range(99_999, 100_000)}, "the run takes"),
            ({"pes": range(5)}, "pes=0:5: the machine has 4 PEs: must lie within 0:4"),
            ({"limit": 0}, "limit=0: must be >= 1"),
            ({"limit": 9}, "limit=9: one cycle of 4 PEs has more events"),
        ],
    )
    def test_windows(self, window, words):
        with pytest.raises(EieError, match=words):
            small().timeline(**window)

    def test_a_run_may_end_before_the_window_does(self):
        timeline = small().timeline(cycles=range(10, 1 << 40))
        assert timeline.cycles == range(10, timeline.total + 1)
        assert not timeline.whole

    def test_endings(self, tmp_path):
        with pytest.raises(EieError, match=r"t.txt: a timeline's file must end in .json, .json.gz or .vcd"):
            small().timeline().save(tmp_path / "t.txt")

    def test_nothing_kept(self):
        program = eie.compile(eie.Layer.from_weights("fc", np.eye(8)))
        with pytest.raises(EieError, match=r"keep_outputs=False .* keep_patterns=True"):
            eie.simulate(program, np.ones(8), keep_outputs=False).timeline()


class TestWhatIsKept:
    def test_patterns_without_outputs_tell_the_same(self, monkeypatch):
        network = eie.load("lenet-5")
        samples = network.trace.layers["input"].dense()[:3].reshape(3, 1, 28, 28)
        kept = eie.simulate(network, samples)
        # A sample a part, so that patterns are put together.
        monkeypatch.setattr("eie.simulator.parts.PART_NUMBERS", 1)
        cut = eie.simulate(network, samples, keep_outputs=False, keep_patterns=True)
        assert cut.layers[0].outputs is None
        assert cut.shares == kept.shares
        last = kept.timeline(cycles=range(kept.timeline(pes=range(1)).total - 300, 1 << 40))
        again = cut.timeline(cycles=last.cycles)
        assert again.spans.tolist() == last.spans.tolist()
        assert again.tracks == last.tracks
        assert last.tracks["samples"][-1][2] == "sample 2"

    def test_in_one_call_and_of_a_result(self):
        layer, x = eie.Layer.from_weights("fc", np.eye(8)), np.ones(8)
        result = eie.simulate(layer, x, spec=eie.EIE_64PE.replace(n_pe=2))
        spans = eie.timeline(layer, x, spec=result.spec).spans
        assert spans.tolist() == eie.timeline(result).spans.tolist() == result.timeline().spans.tolist()


class TestAlexNetFc8:
    def test_adds_up_and_fits(self, fc8, tmp_path):
        result = eie.simulate(eie.compile(fc8[0]), fc8[1])
        timeline = result.timeline()
        assert timeline.whole
        assert timeline.total == 7_926
        assert timeline.share_cycles["fc8"] == result.layers[0].share_cycles
        timeline.save(tmp_path / "fc8.json.gz")
        events_of = json.loads(gzip.decompress((tmp_path / "fc8.json.gz").read_bytes()))["traceEvents"]
        issued = sum(event["dur"] for event in events_of if event["ph"] == "X" and event["name"] == "useful")
        assert issued == 453_748
        assert sum(event["name"] == "broadcast" and event["ph"] == "X" for event in events_of) <= 1_760


class TestPictures:
    def test_pe_over_time_is_what_the_timeline_tells(self):
        result = small(samples=1)
        timeline = result.timeline()
        raster = Raster.of_timeline(timeline)
        assert raster.cycles_a_bin == 1
        assert raster.most_of.tolist() == cells(timeline).tolist()
        assert raster.queued.tolist() == fullness(timeline).tolist()
        first = Raster.of_layer(result.layers[0])
        lasts = len(first.cycles)
        assert first.most_of.tolist() == cells(timeline)[:, :lasts].tolist()
        figure = np.ravel(timeline.plot())[0].figure
        shares, does, queues, bar = figure.axes
        assert [axes.get_ylabel() for axes in (shares, does, queues)] == ["PE cycles", "PE", "PE"]
        assert queues.get_xlabel() == "cycle"
        assert does.images[0].get_array().tolist() == cells(timeline).tolist()
        assert bar.get_ylim() == (0, result.spec.act_queue_depth - 1)
        names = {text.get_text() for text in figure.legends[0].get_texts()}
        did = timeline.share_cycles
        assert names == {name.replace("_", " ") for name in SHARES if any(cycles[name] for cycles in did.values())}

    def test_bins_hold_every_cycle_once(self):
        layer = eie.Layer.from_weights("fc", np.ones((400, 3)))
        result = eie.simulate(layer, np.ones(3), spec=eie.EIE_64PE.replace(n_pe=1, residency="ideal"))
        raster = Raster.of_layer(result.layers[0])
        assert raster.cycles_a_bin > 1
        assert raster.did.sum(axis=(0, 1)).tolist() == [result.layers[0].pe_cycles[name].sum() for name in SHARES]
        assert raster.shares.sum(axis=1) == pytest.approx(1)
        # The third column waits to cycle 802; a window of 599 cycles has a last bin of one.
        window = Raster.of_timeline(result.timeline(cycles=range(1, 600)))
        assert window.cycles_a_bin == 2
        assert window.queued[0, -1] == 1
        assert window.shares.sum(axis=1) == pytest.approx(1)

    def test_a_long_layer_shows_its_beginning(self, monkeypatch):
        monkeypatch.setattr("eie.results.raster.MOST", 4)
        result = eie.simulate(
            eie.Layer.from_weights("fc", np.ones((800, 1))), np.ones(1), spec=eie.EIE_64PE.replace(n_pe=1)
        )
        raster = Raster.of_layer(result.layers[0])
        assert raster.title == "fc: sample 0, cycles 1 to 480 of 904"
        assert raster.did.sum() == 480

    def test_many_pes_share_rows(self):
        layer = eie.Layer.from_weights("fc", np.ones((600, 2)))
        result = eie.simulate(layer, np.ones(2), spec=eie.EIE_64PE.replace(n_pe=600))
        _, does, _, _ = np.ravel(result.layers[0].plot(only="pe-time"))[0].figure.axes
        assert does.images[0].get_array().shape == (200, result.layers[0].cycles)
        assert does.get_ylim() == (599.5, -0.5)


class TestCommandLine:
    @pytest.fixture
    def model(self, tmp_path):
        rng = np.random.default_rng(0)
        np.savez(tmp_path / "m.npz", fc=(rng.random((16, 12)) < 0.5) * rng.standard_normal((16, 12)))
        return tmp_path / "m.npz"

    def test_files_and_a_note(self, cli, model, tmp_path):
        words = ("run", model, "--set", "n_pe=4", "--cycles", "3:9", "--pes", ":2", "--timeline", "t.json.gz")
        code, out, err = cli(*words)
        assert code == 0
        assert "fc " in out
        assert "wrote t.json.gz: m on EIE_64PE: cycles: 3 to 8 of" in err
        assert "PEs: 0 to 1 of 4" in err
        document = json.loads(gzip.decompress((tmp_path / "t.json.gz").read_bytes()))
        assert {event["ts"] for event in document["traceEvents"] if event["ph"] == "X"} <= set(range(3, 9))
        assert document["otherData"]["pes"] == "0 to 1 of 4"

    def test_a_program_too(self, cli, model, tmp_path):
        assert cli("compile", model, "-o", "p.safetensors")[0] == 0
        code, _, err = cli("simulate", "p.safetensors", "--timeline", "t.vcd", "--cycles", "5:")
        assert code == 0
        assert "wrote t.vcd" in err
        assert (tmp_path / "t.vcd").read_text().startswith("$comment")

    def test_cycles_alone_is_a_line_a_cycle_wherever_it_stands(self, cli, model):
        for words in (("--cycles", model, "--engine", "events"), (model, "--engine", "events", "--cycles")):
            code, _, err = cli("run", *words)
            assert code == 0
            assert "cycle     1 " in err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--timeline", "t.json", "--cycles", "5:3"), "--cycles 5:3: must be FIRST:STOP"),
            (("--timeline", "t.json", "--pes", "8"), "--pes 8: must be FIRST:STOP"),
            (("--timeline", "t.json", "--pes", "0:65"), "--pes 0:65: the machine has 64 PEs: must lie within 0:64"),
            (("--timeline", "t.json", "--cycles", "999999:"), "cycles=999999:: the run takes"),
            (("--timeline", "t.txt"), "t.txt: a timeline's file must end in .json, .json.gz or .vcd"),
            (("--cycles", "1:5"), "--cycles 1:5: is a window of a timeline: needs --timeline FILE"),
            (("--pes", "1:5"), "--pes 1:5: is a window of a timeline: needs --timeline FILE"),
            (("--timeline", "t.json", "--json", "t.json"), "t.json: is written twice by this command"),
        ],
    )
    def test_refusals(self, cli, model, tmp_path, words, message):
        code, _, err = cli("run", model, *words)
        # How long a run takes is known when it has run; everything else is a matter of words.
        assert code == (1 if "the run takes" in message else 2)
        assert message in err
        assert not (tmp_path / "t.json").exists()

    def test_what_is_cut_is_said(self, cli, model, monkeypatch):
        monkeypatch.setattr(
            "eie.results.result.Result.timeline.__kwdefaults__", {"cycles": None, "pes": None, "limit": 900}
        )
        _, _, err = cli("run", model, "--timeline", "t.json")
        assert re.search(r"note: cut behind cycle \d+ of 1 to \d+, since a file holds 900 events", err)


def test_kernels_and_shares_go_by_the_same_order():
    order = ["USEFUL", "PADDING", "EMPTY", "BROADCAST", "SCAN", "STALL", "LOAD", "DRAIN"]
    names = [name.removeprefix("idle_").removesuffix("_column") for name in SHARES]
    assert [getattr(kernels, name) for name in order] == list(range(8))
    assert [name.lower() for name in order] == names


def test_the_schedule_of_a_layer_that_sees_nothing():
    """No activation: a row to load and one dead cycle for each of three rows, in which the PEs wait."""
    spec = eie.EIE_64PE.replace(n_pe=2, residency="ideal")
    timeline = eie.timeline(eie.Layer.from_weights("fc", np.eye(6)), np.zeros(6), spec=spec)
    assert timeline.spans.tolist() == [[0, 1, 5, 4, -1], [1, 1, 5, 4, -1]]
    assert timeline.scanner.tolist() == [[1, 5, 1]]
    assert len(timeline.queues) == 0
